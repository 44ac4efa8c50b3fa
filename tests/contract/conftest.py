"""One trained case for each method and tiny model, and the count of all outcomes at the end of the run."""

from collections.abc import Callable

import pytest

from bench.contract import Case, Outcome, tiny_model
from bench.contract.named import named
from bench.pytest_plugin import summary

OUTCOMES: dict[tuple[str, str], list[Outcome]] = {}


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
    """What was found, by method and family; its counts end the report of the run."""
    return OUTCOMES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = summary(OUTCOMES)
    if lines:
        terminalreporter.section("contract")
        for line in lines:
            terminalreporter.line(line)
