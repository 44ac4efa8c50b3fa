"""pytest's option `--tunebench-method NAME`: the contract that every method must keep, as tests, in any package.

Importing this module imports nothing heavy, since pytest does so wherever tunebench is installed.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bench.contract import Case, Clause, Outcome

FAMILIES = "llama,gpt2,bert,t5"
PROPERTY = "tunebench"  # of a test's report, which travels from xdist's processes to the one that prints


class Broken(Exception):
    """A clause is broken; the message is the outcome's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("tunebench")
    group.addoption(
        "--tunebench-method", action="append", default=[], metavar="NAME",
        help="run the contract of tunebench's methods on this one, also if no test asks for it; may be given again",
    )  # fmt: skip
    group.addoption(
        "--tunebench-family", default=FAMILIES, metavar="NAME,...",
        help=f"the families of tiny models to try it on (default: {FAMILIES})",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """A place for the outcomes."""
    config.pluginmanager.register(Counts())


def properties(method: str, family: str, outcomes: "Iterable[Outcome]") -> list[tuple[str, Any]]:
    """Outcomes as properties of a test's report, for the counts at the end of the run."""
    return [(PROPERTY, (method, family, each.name, each.broken, each.unsupported)) for each in outcomes]


class Counts:
    """Gathers the outcomes of all tests, whatever process ran them, and ends the run's report with their counts."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[Outcome]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test found."""
        told: list[tuple[str, Any]] = report.user_properties
        found = [values for key, values in told if key == PROPERTY and report.when == "call"]
        if not found:
            return
        from bench.contract import Outcome

        for method, family, *outcome in found:
            self._found.setdefault((method, family), []).append(Outcome(*outcome))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How many pairs and clauses passed, are unsupported with which reason, and failed."""
        if self._found:
            terminalreporter.section("tunebench contract")
            for line in summary(self._found):
                terminalreporter.line(line)


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """With a method and no path named, nothing else is run."""
    alone = config.args_source is not pytest.Config.ArgsSource.ARGS
    return True if config.getoption("tunebench_method") and alone else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each clause, method and family."""
    names = config.getoption("tunebench_method")
    if not names:
        return
    from bench.contract import CLAUSES

    families = config.getoption("tunebench_family").split(",")
    cases = Cases()
    for name in names:
        for family in families:
            for clause in CLAUSES:
                title = f"{name}-{family}-{clause.__name__}"
                items.append(Item.from_parent(session, name=title, cases=cases, pair=(name, family), clause=clause))


class Cases:
    """The methods on tiny models, each made and trained once, when its first clause asks for it."""

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory()
        self._found: dict[tuple[str, str], Case | str] = {}
        self._folders: dict[str, str] = {}

    def find(self, pair: tuple[str, str]) -> "Case | str":
        """The case, or the reason why the method does not support the model.

        Raises:
            ValueError: there is no such method or family.
        """
        from bench.contract import Case
        from bench.contract.named import named

        if pair not in self._found:
            method = named(pair[0])
            try:
                self._found[pair] = Case(method, self._folder(pair[1]))
            except ValueError as error:
                self._found[pair] = str(error)
        return self._found[pair]

    def _folder(self, family: str) -> str:
        from bench.contract import tiny_model
        from bench.method import did_you_mean
        from bench.models.families import FAMILIES

        if family not in FAMILIES:
            raise pytest.UsageError(f"there is no family {family!r}{did_you_mean(family, FAMILIES)}")
        if family not in self._folders:
            self._folders[family] = tiny_model(Path(self._place.name) / family, family)
        return self._folders[family]


class Item(pytest.Item):
    """One clause of one method on one family of models."""

    def __init__(self, cases: Cases, pair: tuple[str, str], clause: "Clause", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._cases, self._pair, self._clause = cases, pair, clause

    def runtest(self) -> None:
        """Run the clause.

        Raises:
            Broken: it is.
        """
        from bench.contract import Outcome

        case = self._cases.find(self._pair)
        name = self._clause.__name__
        outcome = Outcome(name, unsupported=case) if isinstance(case, str) else self._clause(case)
        self.user_properties += properties(*self._pair, [outcome])
        if outcome.broken:
            raise Broken(outcome.broken)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What was expected, what was seen and where to look, without pytest's traceback."""
        return str(excinfo.value) if isinstance(excinfo.value, Broken) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """As pytest names it."""
        return self.path, 0, f"contract {self.name}"


def summary(outcomes: "dict[tuple[str, str], list[Outcome]]") -> list[str]:
    """The reasons for what is unsupported, with the pairs that give them, and the counts."""
    reasons: dict[str, dict[str, None]] = {}
    for (method, family), found in outcomes.items():
        for outcome in found:
            if outcome.unsupported:
                reasons.setdefault(outcome.unsupported, {})[f"{method} on {family}"] = None
    words = [[outcome.word for outcome in found] for found in outcomes.values()]
    pairs = ["broken" if "broken" in w else "kept" if "kept" in w else "unsupported" for w in words]
    clauses = [word for found in words for word in found]
    return [
        *(f"unsupported: {reason} ({', '.join(where)})" for reason, where in reasons.items()),
        f"methods on models: {_counts(pairs, 'passed')}",
        f"clauses: {_counts(clauses, 'kept')}",
    ]


def _counts(words: Iterable[str], kept: str) -> str:
    found = list(words)
    return (
        f"{found.count('kept')} {kept}, {found.count('unsupported')} unsupported with a reason, "
        f"{found.count('broken')} failed"
    )
