"""How long the command takes to start: what is typed is what runs, from its start to its end."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.command import environment
from tests.benchmarks.conftest import Hold
from tests.benchmarks.ratio import Ratio, compared
from tests.benchmarks.synthetic import make_store

pytestmark = pytest.mark.benchmark
HELP_S, TABLE_S, RECORDS, ROUNDS = 0.5, 1.0, 1_000, 7
# the least that has a help of Hydra's
BARE = """
import hydra

@hydra.main(version_base=None, config_path=".", config_name="config")
def main(settings):
    pass

main()
"""


def call(folder: Path, *arguments: str) -> float:
    """Seconds of one call of Python."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment(folder), capture_output=True, check=True)
    return time.perf_counter() - began


def seconds(folder: Path, *arguments: str) -> float:
    """The median of some calls after the first, which compiles what was never imported and reads what is kept."""
    first, *found = (call(folder, "-m", "bench", *arguments) for _ in range(ROUNDS + 1))
    print(f"\ntunebench {' '.join(arguments)}: {first:.2f} s, then {median(found):.2f} s")
    return median(found)


@pytest.mark.parametrize(
    "arguments", [pytest.param(("--help",), marks=pytest.mark.regression), ("methods",), ("table", "--help")]
)
def test_help(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert seconds(tmp_path, *arguments) < HELP_S


def test_help_of_what_hydra_configures(tmp_path: Path, hold: Hold) -> None:
    """Hydra writes it, which takes longer than HELP_S for any application: beside that of one with a single key."""
    (tmp_path / "bare.py").write_text(BARE)
    (tmp_path / "config.yaml").write_text("key: value\n")
    ratio = compared(
        lambda: call(tmp_path, "-m", "bench", "run", "--help"), lambda: call(tmp_path, "bare.py", "--help")
    )
    hold("start: run --help / of a bare Hydra application", ratio, at_most=1.25)
    hold(f"start: run --help / {HELP_S} s", Ratio.of([(seconds(tmp_path, "run", "--help"), HELP_S)]), at_most=1)


@pytest.mark.regression
def test_a_table_of_1_000_records(tmp_path: Path) -> None:
    make_store(tmp_path / "runs", RECORDS)
    assert seconds(tmp_path, "table", "runs") < TABLE_S


def test_a_table_of_1_000_records_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is read and checked, every statistic computed."""
    make_store(tmp_path / "runs", RECORDS)
    (tmp_path / "cache").write_text("no folder can be made here")
    assert seconds(tmp_path, "table", "runs") < TABLE_S
