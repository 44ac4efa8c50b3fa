"""`tunebench advise --validate`: predictions beside measurements, from hand-made records and traces."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.advise import cli, errors, tracer
from bench.advise.baselines import Facts
from bench.advise.card import DEFAULTS
from bench.advise.errors import Fit, Summary
from bench.advise.fitting import Measured, fit
from bench.advise.memory import Verdict
from bench.advise.points import OURS, Compared, Point, compare, facts_of
from bench.advise.questions import PEFT_LOOP, question_of
from bench.advise.refit import without_own
from bench.advise.speed import estimate
from bench.advise.trace import NotTraceable, Question, Trace, Workload
from bench.advise.units import GIB
from bench.advise.validate import main
from bench.config import Run, to_dict
from bench.imports.peft_method_comparison import read
from bench.method import get
from bench.records import store
from bench.records.schema import (
    Environment,
    Parameters,
    Phase,
    PredictedBytes,
    PredictedSeconds,
    Prediction,
    Quantiles,
    Record,
    Status,
    Training,
)
from tests.advise.published import FULL, measured

IMPORTED = Path(__file__).parents[1] / "imports" / "peft_method_comparison"
PUBLISHED = Path(__file__).parent / "published.json"
BATCHES = Workload(rows=4, mean_tokens=50, longest_tokens=80)
TRACE = Trace(
    live_bytes=10, allocated_bytes=19 * 10**9, reserved_bytes=20 * 10**9, static_bytes=1, breakdown={},
    peak_operation="mm", trainable_parameters=1, total_parameters=2, checkpoint_bytes=1, operations=(), dispatches=1,
    tokens=1, layers=1,
)  # fmt: skip


def make_record(method: str = "lora", device: str = "cpu", measured: int = 1000, predicted: int = 1100) -> Record:
    """A finished run that predicted its memory and step time."""
    bounds = PredictedBytes(predicted, predicted - 150, predicted + 50)
    prediction = Prediction(asdict(BATCHES), evidence="traced", step_s=PredictedSeconds(0.5, 0.4, 0.7))
    phase = Phase("train", 9.0, "glibc" if device == "cpu" else "cuda", measured)
    if device == "cpu":
        prediction.live_bytes = bounds
    else:
        prediction.allocated_bytes = prediction.reserved_bytes = bounds
        phase.peak_reserved_bytes = measured + 200
    training = Training(
        10, 2, 40, 2000, 100, 5.0, Quantiles(0.4, 0.3, 0.5), 400.0, 20.0, 2.0, 1.0, 1e-3, "adamw", "float32", "float32",
        "labelled",
    )  # fmt: skip
    environment = Environment("a-card", device, "A", None, None, None, None, None, "Linux", None, {})
    return Record(
        f"{method}-{device}-{measured}", "g", method, "tiny", "t", 0, Status.OK, "2026-01-01", "2026-01-01",
        to_dict(Run(get(method)())), environment=environment, parameters=Parameters(100, 1100), phases=[phase],
        training=training, prediction=prediction,
    )  # fmt: skip


def none(questions: Sequence[Question]) -> list[Trace | NotTraceable]:
    assert questions == []
    return []


def point(measured: float, predicted: float | None, spread: float = 0.0, **others: Any) -> Point:
    value = predicted or 0.0
    made = Point("id", "lora", "m", "c", "reserved", measured, {OURS: predicted}, value - spread, value + spread)
    return replace(made, **others)


def test_a_run_gives_a_point_for_each_figure_that_it_predicted_and_measured() -> None:
    compared = compare([make_record(), make_record(device="cuda")], none)
    found, left_out = compared.points, compared.left_out
    assert not left_out
    assert [(p.figure, p.measured, p.predicted[OURS], p.low, p.high) for p in found] == [
        ("live", 1000, 1100, 950, 1150),
        ("step", 0.4, 0.5, 0.4, 0.7),
        ("reserved", 1200, 1100, 950, 1150),
        ("allocated", 1000, 1100, 950, 1150),
        ("step", 0.4, 0.5, 0.4, 0.7),
    ]
    assert found[0].error == pytest.approx(0.1)
    assert found[0].predicted["ZeRO states (DeepSpeed)"] == 16 * 1000
    assert list(found[1].predicted) == [OURS]


def test_what_gives_no_point_is_counted() -> None:
    silent, refused, crashed, base = (make_record() for _ in range(4))
    silent.prediction = None
    refused.prediction = Prediction(asdict(BATCHES), reason="its shapes depend on data")
    crashed.status = Status.CRASHED
    base.method, base.training = "base", None
    compared = compare([silent, refused, crashed, base], none)
    found, left_out = compared.points, compared.left_out
    assert found == []
    assert left_out == {
        "made without a prediction": 1, "not predicted: its shapes depend on data": 1, "did not end well": 1,
    }  # fmt: skip


def test_own_runs_can_be_predicted_anew() -> None:
    asked: list[Question] = []

    def traced(questions: Sequence[Question]) -> list[Trace | NotTraceable]:
        asked.extend(questions)
        return [TRACE for _ in questions]

    found = compare([make_record(device="cuda")], traced, again=True).points
    assert [question.workload for question in asked] == [BATCHES]
    assert asked[0].run["train"]["precision"] == "float32"
    assert {p.figure: p.predicted[OURS] for p in found} == {
        "reserved": TRACE.reserved_bytes, "allocated": TRACE.allocated_bytes,
    }  # fmt: skip


def test_an_imported_run_is_asked_about_by_its_configuration() -> None:
    record = read(IMPORTED / "lora--llama-3.2-3B-rank32.json", None).record
    question = question_of(record, longest=700)
    assert question is not None
    assert question.run["loop"] == PEFT_LOOP
    assert question.run["method"]["peft_config"]["r"] == 32
    assert question.run["model"]["architecture"]["num_hidden_layers"] == 28
    assert question.run["train"]["batch_size"] == 4
    assert question.workload == Workload(rows=4, mean_tokens=210, longest_tokens=700, labelled=1.0)
    record.config["model"]["path"] = "nobody/knows-it"
    assert question_of(record) is None

    compared = compare([record], none)
    found, left_out = compared.points, compared.left_out
    assert (found, left_out) == ([], {"imported, and too little is known of their training": 1})


def test_an_imported_run_is_compared_by_what_was_reserved_and_its_mean_step() -> None:
    record = read(IMPORTED / "full-finetuning--llama-3.2-3B-lr_0.00001.json", None).record
    found = compare([record], lambda questions: [TRACE for _ in questions]).points
    [memory] = [p for p in found if p.figure != "step"]
    assert memory.figure == "reserved"
    assert memory.measured == record.phases[0].peak_reserved_bytes
    assert memory.predicted[OURS] == TRACE.reserved_bytes
    assert memory.predicted["LLaMA-Factory's table"] == pytest.approx(8 * 3212749824)


def test_the_published_rows_have_the_sizes_that_formulas_need() -> None:
    rows = json.loads(PUBLISHED.read_text(encoding="utf-8"))["rows"]
    assert len(rows) == 10
    assert {row["model_id"] for row in rows} == {"meta-llama/Llama-3.2-3B"}
    assert all("rank_pattern" not in (row["peft_config"] or {}) for row in rows)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("lora", {"parameters": 1000, "full": False, "weight_bytes": 4.0, "rows": 4}),
        ("qlora", {"parameters": 1000, "full": False, "weight_bytes": 0.5, "rows": 4}),
        ("full", {"parameters": 1100, "full": True, "weight_bytes": 4.0, "rows": 4}),
        ("dpo", {"parameters": 1000, "full": False, "weight_bytes": 4.0, "rows": 8}),
    ],
)
def test_what_formulas_ask_of_a_run(method: str, expected: dict[str, Any]) -> None:
    record = make_record(method)
    question = question_of(record)
    assert question is not None
    found = facts_of(record, question)
    assert isinstance(found, Facts)
    assert {name: getattr(found, name) for name in expected} == expected
    assert (found.tokens, found.layers, found.hidden, found.vocabulary) == (80, 6, 128, 2048)


def test_errors_by_hand() -> None:
    found = [point(100, 110, 10), point(100, 97, 2), point(100, 99, 2), point(200, 200)]
    assert errors.summary(found) == Summary(
        count=4, mape=pytest.approx(0.035), median=pytest.approx(0.02), p95=pytest.approx(0.0895),
        bias=pytest.approx(0.015), under=0.25, inside=0.75,
    )  # fmt: skip
    assert errors.summary(found, "another") is None
    assert errors.summary([point(100, None)]) is None


def test_percentiles_are_numpy_s() -> None:
    numbers = sorted(np.random.default_rng(0).random(37).tolist())
    assert errors.percentile(numbers, 0.95) == pytest.approx(np.percentile(numbers, 95))
    assert errors.percentile([3.0], 0.95) == 3.0


def test_errors_of_groups() -> None:
    found = errors.groups([point(100, 110), point(100, 130), point(100, 100, method="full")], "method")
    assert {name: (each.count, pytest.approx(each.mape)) for name, each in found.items()} == {
        "full": (1, 0.0), "lora": (2, 0.2),
    }  # fmt: skip


def test_what_fits_by_hand() -> None:
    # measured at 20 GiB: cards of 12 and 16 are too small. Predicted 23 to 25: tight on 24, and fits on what is larger
    on_cards = errors.fit([point(20 * GIB, 24 * GIB, 1 * GIB)], cards=True)
    assert on_cards == Fit({"fits": 3, "tight": 1, "does not fit": 0}, {"fits": 0, "tight": 0, "does not fit": 2})
    # predicted 10 to 11 of 12.5: the card of 12 would have been promised, and 16 rightly so
    promised = errors.fit([point(12.5 * GIB, 10.5 * GIB, 0.5 * GIB)], cards=True)
    assert promised.not_fitting == {"fits": 1, "tight": 0, "does not fit": 0}
    assert promised.wrong == 1
    around = errors.fit([point(100, 100)], cards=False)
    assert around == Fit({"fits": 3, "tight": 0, "does not fit": 0}, {"fits": 0, "tight": 0, "does not fit": 3})
    assert point(1, 100, 5).ours.verdict(102) is Verdict.TIGHT


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Runs on a CPU and a GPU, an imported one, and one without a prediction."""
    silent = make_record(measured=3)
    silent.prediction = None
    imported = read(IMPORTED / "lora--llama-3.2-3B-rank32.json", None).record
    every = [make_record(), make_record("full", predicted=900), make_record(device="cuda"), silent, imported]
    for number, record in enumerate(every):
        store.write(record, tmp_path / "runs" / str(number))
    return tmp_path


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracer, "traces", lambda questions, progress=None: [TRACE for _ in questions])


def test_the_command_shows_errors_and_what_it_left_out(
    results: Path, traced: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["--validate", str(results)]) == 0
    shown = capsys.readouterr().out
    assert "peak memory in use on a CPU: errors of predictions" in shown
    assert "tunebench by method" in shown
    assert "Hugging Face regression" in shown
    assert "1 runs left out: made without a prediction" in shown
    assert "the longest batch is taken as 704 tokens" in shown


def test_the_command_gives_everything_as_json(results: Path, traced: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(results), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["figures"]["live"]["errors"][OURS]["count"] == 2
    assert data["figures"]["live"]["errors"][OURS]["mape"] == pytest.approx(0.1)
    assert data["figures"]["live"]["by"]["method"].keys() == {"lora", "full"}
    assert data["figures"]["reserved"]["fit"].keys() == {"fitting", "not_fitting"}
    assert data["left_out"] == {"made without a prediction": 1}
    assert len(data["points"]) == 3 + 4 + 1


def test_advise_hands_over(results: Path, traced: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(results), "--validate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_without_results_the_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, traced: None
) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert f"there is no {tmp_path / 'none'}" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "there are no results here" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    err = f"tunebench advise --validate: no records in {tmp_path}; `tunebench sweep` makes some\n"
    assert capsys.readouterr() == ("", err)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "record.json").write_text("{")
    assert main([str(tmp_path)]) == 2
    assert f"no record in {tmp_path} can be used" in capsys.readouterr().err


def test_records_without_predictions_are_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    silent = make_record()
    silent.prediction = None
    store.write(silent, tmp_path / "one")
    assert main([str(tmp_path)]) == 0
    assert "no run has both a prediction and a measurement" in capsys.readouterr().out


def test_step_times_told_by_constants_that_never_saw_the_method() -> None:
    """Ten published runs, with real traces of their steps."""
    rows = measured()
    found = [
        Point(name, name.partition("/")[0], "m", "l40s", "step", each.step_seconds, {OURS: 0.0}, 0.0, 0.0)
        for name, each in rows.items()
    ]
    traces = {at: (each.trace, each.card) for at, each in enumerate(rows.values())}
    compared = Compared(found, Counter(), traces)
    told = errors.summary(without_own(compared, "method"))
    assert told is not None
    assert told.count == 10
    assert 0 < told.mape < 0.1
    assert without_own(compared, "card") == without_own(compared, "model") == []  # there is one of each


def test_constants_are_fitted_to_the_others_alone() -> None:
    rows = measured()
    card, other = rows[FULL].card, replace(rows[FULL].card, name="other")
    slow = [Point(n, "m", "m", c, "step", t, {OURS: 0.0}, 0.0, 0.0) for n, c, t in (("a", "x", 0.3), ("b", "y", 9.0))]
    compared = Compared(slow, Counter(), {0: (rows[FULL].trace, card), 1: (rows[FULL].trace, other)})
    first, second = without_own(compared, "card")
    assert first.predicted[OURS] == pytest.approx(
        estimate(rows[FULL].trace, card, fit([Measured(rows[FULL].trace, 9.0, other)], DEFAULTS["cuda"])).step.value
    )
    assert (first.predicted[OURS] or 0) > (second.predicted[OURS] or 0)
