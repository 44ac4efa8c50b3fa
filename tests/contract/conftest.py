"""One trained case for each method and tiny model, shared by all clauses."""

from collections.abc import Callable

import pytest

from bench.contract import Case
from bench.method import Method


@pytest.fixture(scope="session")
def case_of(request: pytest.FixtureRequest) -> Callable[[str, Method], Case]:
    """The case of a method on `llama` or `gpt2`; asked again for an equal method, the same one."""
    cases: dict[str, Case] = {}

    def find(architecture: str, method: Method) -> Case:
        key = f"{architecture} {method!r}"
        if key not in cases:
            cases[key] = Case(method, request.getfixturevalue(f"tiny_{architecture}"))
        return cases[key]

    return find
