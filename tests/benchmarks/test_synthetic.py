"""The synthetic stores are such as runs would leave."""

from pathlib import Path
from statistics import fmean

import pytest

from bench.records.schema import Status
from bench.records.store import EXAMPLES, STEPS, read_lines, scan
from tests.benchmarks.synthetic import make_store


def test_a_store_has_as_many_whole_records_as_asked_for_and_is_the_same_every_time(tmp_path: Path) -> None:
    make_store(tmp_path / "one", 60)
    make_store(tmp_path / "two", 60)
    found, damaged = scan([tmp_path / "one"])
    again, _ = scan([tmp_path / "two"])
    assert len(found) == 60
    assert damaged == []
    assert list(found.values()) == list(again.values())
    assert {record.method for record in found.values()} >= {"base", "full", "lora", "qlora"}


def test_a_sweep_of_200_runs_has_several_of_everything_and_some_failures(tmp_path: Path) -> None:
    make_store(tmp_path, 200)
    records = scan([tmp_path])[0].values()
    for key in ("model", "task"):
        assert len({getattr(record, key) for record in records}) == 2
    assert {record.seed for record in records} == set(range(5))
    assert {Status.OK, Status.OOM, Status.UNSUPPORTED, Status.DIVERGED} <= {record.status for record in records}


def test_the_details_agree_with_the_record(tmp_path: Path) -> None:
    make_store(tmp_path, 41, details=True)
    seen = 0
    for folder, record in scan([tmp_path])[0].items():
        if record.evaluation is None or record.evaluation.test is None:
            continue
        seen += 1
        lines = read_lines(folder / EXAMPLES)
        for name, metric in record.evaluation.test.metrics.items():
            if name != "macro_f1":  # no mean over examples
                assert fmean(line["metrics"][name] for line in lines) == pytest.approx(metric.value, abs=1e-9)
        assert fmean(line["loss"] for line in lines) == pytest.approx(record.evaluation.test.loss)
        if record.training is not None:
            assert len(read_lines(folder / STEPS)) == record.training.steps
    assert seen > 30
