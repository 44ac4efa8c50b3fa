"""Which configuration stands for its method, what it was picked by, and what the table says of the trials."""

import random
from collections.abc import Callable

import pytest

from bench.records.schema import Metric, Record, Source, Status
from bench.report.table import SectionTable, build

Make = Callable[..., Record]


def tuned(records: list[Record], criterion: str = "") -> SectionTable:
    """The one section of a tuned table."""
    (section,) = build(records, tuned=criterion).sections
    return section


def trial(make: Make, method: str, rate: float, validation: float, test: float, **more: object) -> Record:
    """A record whose accuracy differs between validation and test."""
    record = make(method, method__learning_rate=rate, **more)
    assert record.evaluation is not None
    assert record.evaluation.test is not None
    record.evaluation.validation.metrics["accuracy"].value = validation
    record.evaluation.test.metrics = {"accuracy": Metric(test, 1, True)}
    return record


def test_the_best_on_validation_is_shown_with_its_test_figure_and_settings(make: Make) -> None:
    section = tuned([
        make("base"),
        trial(make, "lora", 0.01, validation=0.7, test=0.6), trial(make, "lora", 0.1, validation=0.6, test=0.9),
        trial(make, "sft", 0.01, validation=0.5, test=0.5), trial(make, "sft", 0.03, validation=0.8, test=0.4),
    ])  # fmt: skip
    found = {row.label: (row.trials, row.cells["test_accuracy"].value) for row in section.rows}
    assert found == {
        "base": (None, 0.75),
        "lora (method.learning_rate=0.01)": (2, 0.6),
        "sft (method.learning_rate=0.03)": (2, 0.4),
    }
    assert next(c for c in section.shown if c.key == "trials").header == "trials"
    assert section.rows[1].cells["trials"].text() == "2"
    assert section.notes[0].startswith("Tuned: of each method's trials the one with the best val. accuracy is shown")
    assert "test figures had no part in the choice" in section.notes[0]
    assert not any("Unequal" in note for note in section.notes)


def test_the_test_figure_never_decides(make: Make) -> None:
    generator = random.Random(0)
    records = [trial(make, "lora", rate, validation=rate, test=0) for rate in (0.1, 0.2, 0.3)]
    for _ in range(10):
        for record in records:
            record.evaluation.test.metrics["accuracy"].value = generator.random()  # type: ignore[union-attr]
        assert [row.label for row in tuned(records).rows] == ["lora (method.learning_rate=0.3)"]


def test_seeds_are_averaged_before_the_choice(make: Make) -> None:
    values = {0.01: (0.9, 0.1), 0.1: (0.6, 0.6)}
    records = [
        trial(make, "lora", rate, validation=value, test=0.5, seed=seed)
        for rate, both in values.items()
        for seed, value in enumerate(both)
    ]
    (row,) = tuned(records).rows
    assert (row.label, row.seeds, row.trials) == ("lora (method.learning_rate=0.1)", 2, 2)


def test_unequal_numbers_of_trials_and_failures_are_said(make: Make) -> None:
    section = tuned([
        make("lora", method__learning_rate=0.01), make("lora", method__learning_rate=0.1, status=Status.DIVERGED),
        make("lora", method__learning_rate=0.3, accuracy=0.1), make("sft"),
    ])  # fmt: skip
    assert [(row.label, row.trials) for row in section.rows] == [("lora (method.learning_rate=0.01)", 3), ("sft", 1)]
    assert "Unequal chances: the numbers of trials differ (lora: 3; sft: 1)." in section.notes
    assert "Trials that failed and count as trials: 1 of lora." in section.notes


def test_a_method_whose_trials_all_failed_keeps_its_row(make: Make) -> None:
    records = [make("lora", method__rank=rank, status=Status.OOM) for rank in (8, 4)] + [make("sft")]
    last = tuned(records).rows[-1]
    assert (last.label, last.status, last.trials) == ("lora (method.rank=4)", "oom", 2)


def test_a_diverged_loss_is_never_picked(make: Make) -> None:
    records = [make("lora", method__rank=8, loss=float("nan")), make("lora", method__rank=4, loss=2.0)]
    assert [row.label for row in tuned(records, "loss").rows] == ["lora (method.rank=4)"]


def test_equal_scores_are_parted_by_the_loss_then_by_name_in_any_order(make: Make) -> None:
    records = [make("lora", method__rank=rank, loss=loss) for rank, loss in ((8, 0.5), (4, 0.4), (2, 0.4))]
    for order in (records, records[::-1]):
        assert [row.label for row in tuned(order).rows] == ["lora (method.rank=2)"]


def test_the_criterion_can_be_chosen(make: Make) -> None:
    records = [
        make("lora", method__rank=8, loss=0.5, accuracy=0.9),
        make("lora", method__rank=4, loss=0.4, accuracy=0.7),
    ]
    for name in ("loss", "validation_loss_nats"):
        assert [row.label for row in tuned(records, name).rows] == ["lora (method.rank=4)"]
    for name in ("", "macro_f1", "validation_accuracy"):
        assert [row.label for row in tuned(records, name).rows] == ["lora (method.rank=8)"]
    assert "best val. loss is shown" in tuned(records, "loss").notes[0]


def test_a_criterion_that_is_none_is_refused(make: Make) -> None:
    expected = (
        r"--tuned takes a metric of validation \(accuracy, loss_nats, macro_f1\), got 'acuracy'; did you mean 'accu"
    )
    with pytest.raises(ValueError, match=expected):
        tuned([make()], "acuracy")
    with pytest.raises(ValueError, match="--tuned picks on validation, never on test: got 'test_accuracy'"):
        tuned([make()], "test_accuracy")


def test_without_metrics_the_loss_decides_and_preferences_where_likelihood_is_not_trained(make: Make) -> None:
    records = []
    for method, rate, loss, preferred in (
        ("lora", 0.1, 0.4, 0.6), ("lora", 0.2, 0.5, 0.9), ("dpo", 0.1, 0.4, 0.6), ("dpo", 0.2, 0.5, 0.9),
    ):  # fmt: skip
        record = make(method, method__learning_rate=rate, loss=loss)
        assert record.evaluation is not None
        assert record.evaluation.test is not None
        for scores in (record.evaluation.validation, record.evaluation.test):
            scores.metrics = {
                "perplexity": Metric(2**loss, 1, False),
                "preference_accuracy": Metric(preferred, 1, True),
            }
        if method == "dpo":
            record.objective = "dpo"
        records.append(record)
    section = tuned(records)
    assert [row.label for row in section.rows] == ["lora (method.learning_rate=0.1)", "dpo (method.learning_rate=0.2)"]
    assert "val. perplexity for lora; val. pref. acc. for dpo" in section.notes[0]


def test_without_tuning_there_is_no_such_column(make: Make) -> None:
    (section,) = build([make()]).sections
    assert "trials" not in section.rows[0].cells
    with pytest.raises(ValueError, match="there is no column 'trials'"):
        build([make()], select=["trials"])
    (section,) = build([make()], select=["trials"], tuned="").sections
    assert [column.key for column in section.shown] == ["trials"]


def test_imported_rows_are_nobodys_trials(make: Make) -> None:
    theirs = make("lora", method__rank=2, accuracy=0.99)
    theirs.source = Source("theirs", "https://example.org", "a.json")
    records = [theirs, make("lora", method__rank=8), make("lora", method__rank=4, accuracy=0.1)]
    table = build(records, tuned="", mix=["source"])
    found = [(row.group.imported, row.trials) for section in table.sections for row in section.rows]
    assert sorted(found) == [(False, 2), (True, None)]
