"""How long tables of very many records take, on the real command: a reader must not have to wait.

The stores are synthetic, with records as large as real ones. The first table reads and checks every record; what is
measured are those after it: the same one again, and others, whole ones and parts, which are made from the cache.
"""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.command import ROOT, environment
from tests.benchmarks.synthetic import make_store

pytestmark = pytest.mark.benchmark
MEDIUM, LARGE = 10_000, 100_000
MEDIUM_S, LARGE_S = 2.0, 10.0


class Store(NamedTuple):
    """Records, and the environment of commands that read them."""

    folder: Path
    environment: dict[str, str]

    def table(self, *arguments: str, form: str = "csv") -> str:
        """What `tunebench table --format FORM` writes, from its start to its end."""
        command = [sys.executable, "-m", "bench", "table", str(self.folder), "--format", form, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout


def _store(runs: int, folder: Path) -> Store:
    make_store(folder / "runs", runs)
    made = Store(folder / "runs", environment(folder))
    made.table("--by", "model")  # the first time, with another question than any that is measured
    return made


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return _store(MEDIUM, tmp_path_factory.mktemp("medium"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return _store(LARGE, tmp_path_factory.mktemp("large"))


def _again(benchmark: BenchmarkFixture, store: Store) -> float:
    """Seconds of the second call with the same question, at the median of three."""
    first = store.table()
    assert first.count("\n") > 1000
    assert benchmark.pedantic(store.table, rounds=3) == first
    return float(benchmark.stats.stats.median)


def _parts(benchmark: BenchmarkFixture, store: Store) -> float:
    """Seconds of three tables that were not asked for before, at the median."""
    questions = iter(["tiny-llama", "gpt2", "qwen*"])
    found = benchmark.pedantic(lambda: store.table("--where", f"model={next(questions)}"), rounds=3)
    assert "qwen3-0.6b" in found
    return float(benchmark.stats.stats.median)


def test_a_whole_new_table_of_10_000_records(benchmark: BenchmarkFixture, medium: Store) -> None:
    questions = iter(["task", "budget", "hardware"])
    found = benchmark.pedantic(lambda: medium.table("--by", next(questions)), rounds=3)
    assert found.count("\n") > 1000
    assert benchmark.stats.stats.median < MEDIUM_S


def test_the_same_table_of_10_000_records_on_the_terminal(benchmark: BenchmarkFixture, medium: Store) -> None:
    first = medium.table(form="terminal")
    assert first.count("\n") > 1000
    assert benchmark.pedantic(lambda: medium.table(form="terminal"), rounds=3) == first
    assert benchmark.stats.stats.median < MEDIUM_S


def test_the_same_table_of_10_000_records(benchmark: BenchmarkFixture, medium: Store) -> None:
    assert _again(benchmark, medium) < MEDIUM_S


def test_parts_of_10_000_records(benchmark: BenchmarkFixture, medium: Store) -> None:
    assert _parts(benchmark, medium) < MEDIUM_S


@pytest.mark.timeout(900)
def test_the_same_table_of_100_000_records(benchmark: BenchmarkFixture, large: Store) -> None:
    assert _again(benchmark, large) < LARGE_S


@pytest.mark.timeout(900)
def test_parts_of_100_000_records(benchmark: BenchmarkFixture, large: Store) -> None:
    assert _parts(benchmark, large) < LARGE_S
