"""One trained case for each method and tiny model, and the count of all outcomes at the end of the run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.contract import Case, Outcome, tiny_model
from bench.contract.named import named

TESTS = Path(__file__).parent / "test_contract.py"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The folder of a family's tiny model."""
    folders: dict[str, str] = {}

    def find(family: str) -> str:
        if family not in folders:
            folders[family] = tiny_model(tmp_path_factory.mktemp(f"tiny-{family}"), family)
        return folders[family]

    return find


@pytest.fixture(scope="session")
def case_of(tiny: Callable[[str], str]) -> Callable[[str, str], Case]:
    """The case of a method or named variant on a family's tiny model; asked again, the same one.

    Raises:
        ValueError: the method does not support it.
    """
    cases: dict[tuple[str, str], Case] = {}

    def find(name: str, family: str) -> Case:
        if (name, family) not in cases:
            cases[name, family] = Case(named(name), tiny(family))
        return cases[name, family]

    return find


@pytest.fixture(scope="session")
def outcomes() -> dict[tuple[str, str], list[Outcome]]:
    """What this process has found so far, by method and family."""
    return {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a method's tests follow each other, so that one of xdist's processes has most of what they share."""
    places = [place for place, item in enumerate(items) if item.path == TESTS]
    ours = sorted((items[place] for place in places), key=_method)
    for place, item in zip(places, ours, strict=True):
        items[place] = item


def _method(item: pytest.Item) -> str:
    return (
        str(item.callspec.params.get("name", ""))
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else ""
    )
