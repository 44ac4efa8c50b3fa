"""Pareto fronts, PSCP, ranks over tasks and corrected tests, as a table has them."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records.schema import Record, Status
from bench.report.formats import FORMATS
from bench.report.ranks import RankSummary
from bench.report.statistics.hypotheses import holm_against_best, mcnemar, paired_t
from bench.report.table import SectionTable, Table, build
from bench.report.terminal import render

Make = Callable[..., Record]
FRONT = ["validation_loss_nats", "peak_train_bytes"]


def only(records: list[Record], **wanted: object) -> SectionTable:
    (section,) = build(records, **wanted).sections  # type: ignore[arg-type]
    return section


def test_the_front_is_a_column_and_says_who_dominates(make: Make) -> None:
    section = only(
        [
            make("base", loss=0.01), make("sft", loss=0.3, peak=900), make("lora", loss=0.4, peak=300),
            make("qlora", loss=0.5, peak=400), make("prefix", loss=0.6, peak=950),
            make("dpo", status=Status.OOM, peak=1),
        ],
        pareto=FRONT,
    )  # fmt: skip
    found = {row.label: (row.front, row.dominated_by) for row in section.rows}
    assert found == {
        "base": (None, []),  # it costs no training, so it has no place on a front with a cost
        "sft": (1, []), "lora": (1, []), "qlora": (2, ["lora"]), "prefix": (3, ["sft", "lora"]), "dpo": (None, []),
    }  # fmt: skip
    assert [row.cells["pareto_front"].text() for row in section.rows] == ["", "1", "1", "2", "3", ""]
    assert "pareto_front" in [column.key for column in section.shown]
    assert any("Pareto front of val. loss ↓, mem. train ↓" in note for note in section.notes)


def test_the_base_takes_part_where_only_quality_counts(make: Make) -> None:
    records = [make("base", loss=0.1, accuracy=0.2), make("sft", loss=0.3, accuracy=0.9), make(loss=0.4, accuracy=0.8)]
    found = {row.label: row.front for row in only(records, pareto=["validation_loss_nats", "test_accuracy"]).rows}
    assert found == {"base": 1, "sft": 1, "lora": 2}


def test_the_direction_can_be_said(make: Make) -> None:
    records = [make("sft", loss=0.3), make(loss=0.4)]
    records[0].parameters.trainable = 1_000_000  # type: ignore[union-attr]
    section = only(records, pareto=["validation_loss_nats", "trainable_parameters:min"])
    assert [row.front for row in section.rows] == [1, 1]
    section = only(records, pareto=["validation_loss_nats", "trainable_parameters:max"])
    assert [row.front for row in section.rows] == [1, 2]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["validation_loss_nats"], "--pareto takes two or more columns, got validation_loss_nats"),
        (["validation_loss", "peak_train_bytes"], "no column 'validation_loss'; did you mean 'validation_loss_nats'?"),
        (["trainable_parameters", "peak_train_bytes"], "write trainable_parameters:min or trainable_parameters:max"),
        (["train_s:less", "peak_train_bytes"], "train_s takes :min or :max, got 'less'"),
    ],
)
def test_a_front_that_cannot_be_is_refused(make: Make, wanted: list[str], message: str) -> None:
    with pytest.raises(ValueError, match="--pareto") as error:
        build([make()], pareto=wanted)
    assert message in str(error.value)


def test_pscp_is_there_when_asked_for_with_its_constants(make: Make) -> None:
    record = make(accuracy=0.9, peak=47 * 10**9)
    record.parameters.trainable = 250_000_000  # type: ignore[union-attr]
    section = only([record, make("base")], select=["pscp"])
    base, lora = section.rows
    assert lora.cells["pscp"].value == pytest.approx(0.4)  # 0.9 / 1.5 / 1.5
    assert base.cells["pscp"].value is None
    note = next(note for note in section.notes if note.startswith("PSCP"))
    assert "P / ((1 + p/5e8) (1 + m/94))" in note
    assert "is left out" in note
    assert "pscp" not in [column.key for column in only([record]).shown]


def on_tasks(make: Make, accuracy: dict[str, list[float]], **change: object) -> list[Record]:
    """For each method its accuracy on task0, task1 and so on."""
    records = []
    for method, values in accuracy.items():
        for number, value in enumerate(values):
            record = make(method, accuracy=value, task__name=f"task{number}", **change)
            record.task = f"task{number}"
            records.append(record)
    return records


STEADY = {"sft": [0.9] * 9, "lora": [0.8] * 9, "prompt": [0.1] * 9}


def summary(records: list[Record], metric: str = "") -> RankSummary:
    (found,) = build(records, ranks=metric).ranks
    return found


def test_ranks_over_tasks(make: Make) -> None:
    found = summary(on_tasks(make, STEADY))
    assert found.title == "tiny-llama · cpu-test-2 · short (300 steps)"
    assert found.ranking.methods == ("sft", "lora", "prompt")
    assert found.ranking.ranks == (1, 2, 3)
    # Critical difference: 2.344 * sqrt(3 * 4 / (6 * 9)) = 1.105, so only neighbours cannot be told apart.
    assert found.ranking.critical_difference == pytest.approx(1.105, abs=1e-3)
    assert found.ranking.groups == (("sft", "lora"), ("lora", "prompt"))
    assert found.rows()[0] == ["sft", "1.00", *["0.900 (1)"] * 9]
    assert "p < 0.001" in found.notes()[0]
    assert found.notes()[1] == "Cannot be told apart: sft, lora; lora, prompt."


def test_a_failure_ranks_last_and_what_was_not_run_everywhere_is_left_out(make: Make) -> None:
    records = on_tasks(make, {"sft": [0.9, 0.8], "lora": [0.7, 0.7], "prefix": [0.99]})
    oom = make("prompt", status=Status.OOM, task__name="task0")
    oom.task = "task0"
    records += [oom, *on_tasks(make, {"prompt": [0.0, 0.95]})[1:]]
    found = summary(records)
    assert found.tasks[0].ranks == {"sft": 1, "lora": 2, "prompt": 3}
    assert found.tasks[0].values["prompt"] is None
    assert ["prompt", "2.00", "failed (3)", "0.950 (1)"] in found.rows()
    assert "Not run on every task, and left out: prefix." in found.notes()
    assert any(note.startswith("2 tasks are few") for note in found.notes())


def test_ranks_never_mix_budgets_or_machines(make: Make) -> None:
    records = on_tasks(make, {"sft": [0.9, 0.9], "lora": [0.8, 0.8]})
    records += on_tasks(make, {"sft": [0.1, 0.1], "lora": [0.2, 0.2]}, budget__name="smoke", budget__steps=9)
    first, second = build(records, ranks="").ranks
    assert {first.ranking.methods, second.ranking.methods} == {("sft", "lora"), ("lora", "sft")}


def test_ranks_follow_the_direction_of_their_metric_and_configurations(make: Make) -> None:
    records = on_tasks(make, {"sft": [0.9, 0.9], "lora": [0.8, 0.8]})
    for record in records:
        record.evaluation.validation.loss = 0.9 if record.method == "sft" else 0.3  # type: ignore[union-attr]
    assert summary(records, "validation_loss_nats").ranking.methods == ("lora", "sft")
    assert summary(records, "macro_f1").ranking.methods == ("sft", "lora")
    more = on_tasks(make, {"lora": [0.95, 0.95]}, method__rank=64)
    assert summary(records + more).ranking.methods == ("lora (method.rank=64)", "sft", "lora (method.rank=8)")
    (tuned,) = build(records + more, ranks="", tuned="").ranks
    assert tuned.ranking.methods == ("lora", "sft")


@pytest.mark.parametrize("metric", ["", "nonsense"])
def test_ranks_that_cannot_be_had_are_refused(make: Make, metric: str) -> None:
    records = [make(), make("sft")] if not metric else on_tasks(make, {"sft": [0.9, 0.8], "lora": [0.7, 0.7]})
    with pytest.raises(ValueError, match="--ranks needs two tasks or more"):
        build(records, ranks=metric)


@pytest.fixture
def everything(make: Make) -> Table:
    return build(on_tasks(make, STEADY), tuned="", pareto=FRONT, ranks="")


def test_every_format_shows_ranks(everything: Table) -> None:
    for name in ("md", "html", "latex"):
        text = FORMATS[name](everything)
        assert "Ranks over tasks" in text
        assert "0.900 (1)" in text
    assert "Ranks over tasks" in render(everything)
    latex = FORMATS["latex"](everything)
    assert latex.isascii()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 10


def test_json_and_csv_hold_trials_fronts_and_tests(everything: Table, make: Make, store: Callable[..., Path]) -> None:
    found = json.loads(FORMATS["json"](everything))
    (ranks,) = found["ranks"]
    assert ranks["average_ranks"] == {"sft": 1, "lora": 2, "prompt": 3}
    assert len(ranks["tasks"]) == 9
    row = found["sections"][0]["rows"][0]
    assert (row["trials"], row["pareto_front"], row["dominated_by"]) == (1, 1, [])
    assert "dominated_by" in FORMATS["csv"](everything).splitlines()[0].split(",")

    right = {"sft": [1] * 30 + [0] * 10, "lora": [1] * 28 + [0] * 12, "prompt": [1] * 8 + [0] * 32}
    records = [make(method, accuracy=sum(each) / 40) for method, each in right.items()]
    table = build(records, [store(record, right[record.method]) for record in records])
    p_values = [mcnemar(2, 0), mcnemar(22, 0)]  # against sft, which got 30 right
    adjusted = holm_against_best(p_values)
    rows = {row["method"]: row for row in json.loads(FORMATS["json"](table))["sections"][0]["rows"]}
    for method, p, corrected in zip(("lora", "prompt"), p_values, adjusted, strict=True):
        cell = rows[method]["values"]["test_accuracy"]
        assert (cell["p"], cell["p_adjusted"]) == pytest.approx((p, corrected))
        assert cell["tied"] == (corrected > 0.05)
    assert rows["sft"]["values"]["test_accuracy"]["p"] is None
    lines = {row["method"]: row for row in csv.DictReader(io.StringIO(FORMATS["csv"](table)))}
    assert float(lines["prompt"]["test_accuracy_p_adjusted"]) == pytest.approx(adjusted[1])
    assert lines["sft"]["test_accuracy_p"] == ""


def test_the_mark_of_a_tie_uses_the_corrected_p_value(make: Make) -> None:
    """Two rows that a test alone would part from the best at the 5% level, but not for being one of many."""
    losses = {"sft": (0.50, 0.52, 0.51), "lora": (0.54, 0.57, 0.58), "prompt": (0.55, 0.56, 0.575)}
    section = only([make(m, seed=s, loss=x) for m, each in losses.items() for s, x in enumerate(each)])
    cells = {row.label: row.cells["validation_loss_nats"] for row in section.rows}
    p_values = [paired_t([b - a for a, b in zip(losses["sft"], losses[m], strict=True)]) for m in ("lora", "prompt")]
    assert all(p is not None and p < 0.05 for p in p_values)
    assert [cells[m].p for m in ("lora", "prompt")] == pytest.approx(p_values)
    assert [cells[m].p_adjusted for m in ("lora", "prompt")] == pytest.approx(holm_against_best(p_values))  # type: ignore[arg-type]
    assert [cells[m].tied for m in ("sft", "lora", "prompt")] == [False, True, True]


def test_the_notes_say_how_many_examples_which_tests_and_which_correction(
    make: Make, store: Callable[..., Path]
) -> None:
    right = {"sft": [1] * 6 + [0] * 2, "lora": [1] * 5 + [0] * 3}
    records = [make(method, accuracy=sum(each) / 8, loss=sum(each)) for method, each in right.items()]
    (section,) = build(records, [store(record, right[record.method]) for record in records]).sections
    said = " ".join(section.notes)
    assert "where n is 1, over the 8 test examples" in said
    assert (
        "step by step as Holm's, but with m rows not yet told apart the smallest is multiplied by m (m + 1) / 2" in said
    )
    assert "the larger side where they differ" in said, "Wilson's interval is not symmetric"
    assert "bootstrap, Student's t beyond 5,000 examples" in said
    assert "one run stands against several: val. loss, macro F1." in said
