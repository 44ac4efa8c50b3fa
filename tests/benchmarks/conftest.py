"""What every ratio is held to: its target, and what it was when `baseline.json` was written.

A ratio fails where it misses the target by more than the noise of its measuring, unless the baseline says in `short`
why it does, and where it is worse than the baseline by more than the noise of both and a small band. `--ratios FILE`
writes what was found as a baseline is written; with `--ratios tests/benchmarks/baseline.json` it becomes the next one.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.ratio import Ratio

BASELINE = Path(__file__).with_name("baseline.json")
BAND = 0.05  # share by which a ratio may be worse than the baseline, beyond the noise: machines differ
FOUND = pytest.StashKey[dict[str, dict[str, Any]]]()
Hold = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ratios", type=Path, metavar="FILE", help="write the measured ratios into FILE")


def judge(name: str, found: dict[str, Any], known: dict[str, Any] | None) -> str | None:
    """What is wrong with a ratio, if anything is.

    Args:
        name: of the ratio.
        found: its `ratio`, `low` and `high`, and its target, `at_most` or `at_least`.
        known: the same in the baseline, with `short` where the target is not reached; None if it is not there.
    """
    most = "at_most" in found
    target = found["at_most" if most else "at_least"]
    nearest = found["low" if most else "high"]  # in favour of what is measured
    said = f"{name}: {found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    if (nearest > target if most else nearest < target) and not (known and known.get("short")):
        return f"{said} misses the target, {'at most' if most else 'at least'} {target:g}"
    if known is None:
        return f"{said} is not in {BASELINE.name}; --ratios writes it"
    if nearest > known["high"] * (1 + BAND) if most else nearest < known["low"] * (1 - BAND):
        return f"{said} is worse than the baseline, {known['ratio']:.3f} ({known['low']:.3f} to {known['high']:.3f})"
    return None


@pytest.fixture
def hold(request: pytest.FixtureRequest) -> Hold:
    """`hold(name, ratio, at_most=...)` or `at_least=`: report a ratio and hold it to its target and the baseline."""
    config, baseline = request.config, json.loads(BASELINE.read_text())
    all_found = config.stash.setdefault(FOUND, {})

    def holds(name: str, ratio: Ratio, **target: float) -> None:
        assert list(target) in (["at_most"], ["at_least"]), target
        measured = asdict(ratio)
        known = baseline.get(name)
        found = {"ratio": measured.pop("value")} | measured | target
        all_found[name] = found | ({"short": known["short"]} if known and "short" in known else {})
        path = config.getoption("--ratios", None)
        if path is not None:
            _keep(path, name, all_found[name])
            known = known or found
        wrong = judge(name, found, known)
        if wrong:
            pytest.fail(wrong, pytrace=False)

    return holds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(FOUND, {})
    if not found:
        return
    terminalreporter.section("ratios")
    width = max(map(len, found))
    for name, each in found.items():
        limit = f"<= {each['at_most']:g}" if "at_most" in each else f">= {each['at_least']:g}"
        line = f"{name:{width}}  {each['ratio']:8.3f}  ({each['low']:.3f} to {each['high']:.3f})  {limit}"
        terminalreporter.write_line(line + (f"  short: {each['short']}" if "short" in each else ""))


def _keep(path: Path, name: str, found: dict[str, Any]) -> None:
    """Put a ratio into a file of ratios at once: a run that is stopped keeps what it has."""
    before = json.loads(path.read_text()) if path.exists() else {}
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    path.write_text(json.dumps(dict(sorted((before | {name: rounded}).items())), indent=2) + "\n")
