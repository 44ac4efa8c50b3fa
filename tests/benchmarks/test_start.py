"""How long the command takes to start: what is typed is what runs, from its start to its end."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from tests.benchmarks.synthetic import make_store

pytestmark = pytest.mark.benchmark
ROOT = Path(__file__).parents[2]
HELP_S, TABLE_S, RECORDS, ROUNDS = 0.5, 1.0, 1_000, 7


def seconds(folder: Path, *arguments: str) -> float:
    """The median of some calls after the first, which compiles what was never imported and reads what is kept."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TUNEBENCH_CACHE": str(folder / "cache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed command is not compiled at every start
    found = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bench", *arguments], cwd=folder, env=environment, capture_output=True, check=True
        )
        found.append(time.perf_counter() - began)
    print(f"\ntunebench {arguments[0]}: {found[0]:.2f} s, then {median(found[1:]):.2f} s")
    return median(found[1:])


@pytest.mark.parametrize(
    "arguments",
    [pytest.param(("--help",), marks=pytest.mark.regression), ("run", "--help"), ("methods",), ("table", "--help")],
)
def test_help(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert seconds(tmp_path, *arguments) < HELP_S


@pytest.mark.regression
def test_a_table_of_1_000_records(tmp_path: Path) -> None:
    make_store(tmp_path / "runs", RECORDS)
    assert seconds(tmp_path, "table", "runs") < TABLE_S


def test_a_table_of_1_000_records_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every record is read and checked, every statistic computed."""
    make_store(tmp_path / "runs", RECORDS)
    (tmp_path / "cache").write_text("no folder can be made here")
    assert seconds(tmp_path, "table", "runs") < TABLE_S
