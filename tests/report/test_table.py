"""What is compared with what, in which order, and how it is marked."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.records.schema import Environment, Record, Status
from bench.report.table import Row, SectionTable, build

Make = Callable[..., Record]


def only(records: list[Record], folders: list[Path] | None = None) -> SectionTable:
    """The one section of a table of `records`."""
    (section,) = build(records, folders).sections
    return section


def row(section: SectionTable, label: str) -> Row:
    return next(each for each in section.rows if each.label == label)


def labels(section: SectionTable) -> list[str]:
    return [each.label for each in section.rows]


def text(section: SectionTable, label: str, key: str) -> str:
    return row(section, label).cells[key].text()


def test_the_base_comes_first_then_the_lowest_loss_and_failures_last(make: Make) -> None:
    section = only([
        make("prompt", loss=0.9), make("qlora", status=Status.OOM), make("sft", loss=0.3), make("base", loss=6.0),
        make("lora", loss=0.5),
    ])  # fmt: skip
    assert labels(section) == ["base", "sft", "lora", "prompt", "qlora"]
    failed = row(section, "qlora")
    assert failed.seeds == 0
    assert failed.outcome == "oom: train: the allocator wanted 3 GiB more than there is"
    assert failed.cells["peak_train_bytes"].text() == "300.0", "what it reached is shown"
    assert failed.cells["validation_loss_nats"].text() == ""


def test_seeds_are_averaged_with_an_interval(make: Make) -> None:
    section = only([make(seed=s, loss=loss) for s, loss in enumerate((0.4, 0.5, 0.6))])
    cell = row(section, "lora").cells["validation_loss_nats"]
    assert cell.value == pytest.approx(0.5)
    assert cell.text() == "0.500 ±0.248"  # 4.3027 * 0.1 / sqrt(3)
    assert row(section, "lora").seeds == 3
    assert text(section, "lora", "trainable_parameters") == "164,000", "what is known exactly has no interval"
    assert section.caption["Seeds"] == "0, 1, 2"


def test_the_same_seed_twice_counts_once_and_the_newer_wins(make: Make) -> None:
    old, new = make(loss=0.9), make(loss=0.4)
    new.started_at = "2026-02-01T00:00:00+00:00"
    section = only([new, old])
    assert text(section, "lora", "validation_loss_nats") == "0.400"
    assert any("Left out: 1 record of a configuration and seed that is here already" in n for n in section.notes)


def test_a_run_that_was_interrupted_never_hides_one_that_came_to_its_end(make: Make) -> None:
    old, new = make(loss=0.9), make(status=Status.INTERRUPTED)
    new.started_at = "2026-02-01T00:00:00+00:00"
    for records in ([new, old], [old, new]):
        assert row(only(records), "lora").status == "ok"
    new.status = Status.OOM
    assert row(only([old, new]), "lora").status == "oom", "a failure is a result"


def test_infinities_of_both_signs_and_very_large_values_break_nothing(make: Make) -> None:
    section = only([make(seed=0, loss=math.inf), make(seed=1, loss=-math.inf), make("sft", loss=0.3)])
    assert text(section, "lora", "validation_loss_nats") == "nan"
    section = only([make(seed=0, loss=1e200), make(seed=1, loss=1e180)])
    assert text(section, "lora", "validation_loss_nats") == "5e+199 ±6.35e+200"
    section = only([make(seed=0, loss=1e308), make(seed=1, loss=1e308)])
    assert text(section, "lora", "validation_loss_nats") == "inf"
    table = build([make(method__rank=10**400)], select=["method.rank"])
    assert text(table.sections[0], labels(table.sections[0])[0], "method.rank") == "inf"


def test_equal_results_of_all_seeds_are_not_called_certain(make: Make) -> None:
    section = only([make(m, seed=s, loss=x) for m, x in (("sft", 0.5), ("lora", 0.6)) for s in range(3)])
    cell = row(section, "lora").cells["validation_loss_nats"]
    assert (cell.text(), cell.interval, cell.p) == ("0.600", None, None)
    assert any(note.startswith("No test in some rows or in all") for note in section.notes)


def test_damage_is_named_in_its_own_section_and_in_the_whole_table(make: Make, store: Callable[..., Path]) -> None:
    records = [make(accuracy=0.5), make("sft", accuracy=0.5, budget__steps=50)]
    folders = [store(record, [1, 0]) for record in records]
    (folders[0] / "examples.jsonl").write_text("{\n{}\n")
    table = build(records, folders)
    said = [any("line 1 is not valid JSON" in note for note in section.notes) for section in table.sections]
    assert said == [section.rows[0].label == "lora" for section in table.sections]
    assert [error.path for error in table.damaged] == [folders[0] / "examples.jsonl"]


def test_columns_that_were_chosen_keep_the_front_and_the_trials_beside_them(make: Make) -> None:
    keys = ["validation_loss_nats", "peak_train_bytes"]
    (section,) = build([make(), make("sft")], select=keys, pareto=keys, tuned="").sections
    assert [column.key for column in section.shown] == [*keys, "trials", "pareto_front"]
    (section,) = build([make()], select=["pareto_front", *keys], pareto=keys).sections
    assert [column.key for column in section.shown] == ["pareto_front", *keys]


def test_a_front_takes_every_column_once(make: Make) -> None:
    with pytest.raises(ValueError, match="--pareto takes every column once, got test_accuracy 2 times"):
        build([make()], pareto=["test_accuracy", "test_accuracy:min"])


def test_a_group_with_failures_averages_the_others_and_says_so(make: Make) -> None:
    section = only([make(seed=0, loss=0.4), make(seed=1, loss=0.6), make(seed=2, status=Status.OOM)])
    found = row(section, "lora")
    assert (found.seeds, found.status) == (2, "2 ok, 1 oom")
    assert found.cells["validation_loss_nats"].value == pytest.approx(0.5)


def test_groups_of_one_title_are_told_apart_by_what_differs(make: Make) -> None:
    section = only([make(method__rank=8, loss=0.5), make(method__rank=16, loss=0.4), make("sft", loss=0.3)])
    assert labels(section) == ["sft", "lora (method.rank=16)", "lora (method.rank=8)"]


def test_settings_of_the_loop_are_named_on_every_row_that_they_part(make: Make) -> None:
    section = only([make(loss=0.5), make("sft", train__batch_size=32, loss=0.3), make("base", loss=6.0)])
    assert labels(section) == ["base", "sft (train.batch_size=32)", "lora (train.batch_size=16)"]


@pytest.mark.parametrize(
    "change", [{"task__max_length": 128}, {"budget__steps": 50}, {"model__dtype": "bfloat16"}, {"measure__test": False}]
)
def test_unlike_settings_are_never_in_one_section(make: Make, change: dict[str, object]) -> None:
    table = build([make(), make("sft", **change), make("base"), make("base", **change)])
    assert sorted(labels(section) for section in table.sections) == [["base", "lora"], ["base", "sft"]]


@pytest.mark.parametrize("change", [{"hardware": "cpu-other-8"}, {"threads": 1}, {"libraries": {"torch": "2.12.0"}}])
def test_unlike_places_and_versions_are_never_in_one_section(
    make: Make, where: Callable[..., Environment], change: dict[str, object]
) -> None:
    table = build([make(), make("sft", where=where(**change))])
    assert sorted(labels(section) for section in table.sections) == [["lora"], ["sft"]]


def test_other_data_or_another_version_of_tunebench_is_another_section(make: Make) -> None:
    data, version = make("sft"), make("dpo")
    data.data.fingerprint = "0" * 64  # type: ignore[union-attr]
    version.tunebench_version = "0.2.0"
    assert len(build([make(), data, version]).sections) == 3


def test_other_libraries_than_those_that_matter_do_not_part(make: Make, where: Callable[..., Environment]) -> None:
    other = where()
    other.libraries = {**other.libraries, "numpy": "9"}
    assert labels(only([make(loss=0.4), make("sft", where=other)])) == ["lora", "sft"]


def test_the_base_serves_every_budget_of_its_task_and_hardware(make: Make) -> None:
    table = build([make("base"), make(), make(budget__steps=50)])
    assert [labels(section) for section in table.sections] == [["base", "lora"], ["base", "lora"]]


def test_a_base_of_another_task_stands_alone(make: Make) -> None:
    base = make("base", task__max_length=99)
    assert sorted(labels(s) for s in build([base, make()]).sections) == [["base"], ["lora"]]


def test_a_base_from_other_versions_is_shown_and_said(make: Make, where: Callable[..., Environment]) -> None:
    old = make("base", where=where(libraries={"torch": "2.12.0"}))
    section = only([old, make()])
    assert "The base row was measured with other versions: torch 2.12.0." in section.notes
    assert not any("other versions" in note for note in only([old, make("base"), make()]).notes)


def test_a_run_that_never_said_where_it_was_joins_its_like(make: Make, store: Callable[..., Path]) -> None:
    lost = make("qlora", status=Status.CRASHED)
    lost.environment = lost.data = None
    lost.tunebench_version, lost.phases = "", []
    elsewhere = make("ptuning", status=Status.CRASHED)
    elsewhere.environment = None
    records = [lost, make(), elsewhere]
    folders = [store(lost), store(records[1]), Path("runs/gpu-h100-1/run")]
    table = build(records, folders)
    assert [labels(section) for section in table.sections] == [["lora", "qlora"], ["ptuning"]]
    assert table.sections[1].title == "tiny-llama · pydoc · gpu-h100-1 · short (300 steps)"


def test_bold_is_the_best_of_its_column_and_costs_leave_the_base_out(make: Make) -> None:
    section = only([make("base", loss=0.1, peak=2), make(loss=0.5, step=0.2), make("sft", loss=0.3, step=0.1)])
    best = {key: [r.label for r in section.rows if r.cells[key].best] for key in section.rows[0].cells}
    assert best["validation_loss_nats"] == ["base"], "a base that nothing beats is shown as such"
    assert best["step_median_s"] == best["tokens_per_s"] == ["sft"]
    assert best["peak_load_bytes"] == [], "where all are equal, nothing stands out"
    assert best["trainable_parameters"] == []


def test_failed_runs_are_never_the_best(make: Make) -> None:
    section = only([make(peak=500), make("sft", peak=400), make("qlora", peak=1, status=Status.OOM)])
    assert [r.label for r in section.rows if r.cells["peak_train_bytes"].best] == ["sft"]


def test_one_seed_takes_the_interval_over_examples_and_is_tied_by_a_paired_test(
    make: Make, store: Callable[..., Path]
) -> None:
    outcomes = {
        "sft": [1] * 30 + [0] * 10,
        "lora": [1] * 28 + [0] * 12,
        "prompt": [1] * 8 + [0] * 32,
    }
    records = [make(method, accuracy=sum(right) / 40) for method, right in outcomes.items()]
    folders = [store(r, outcomes[r.method]) for r in records]
    section = only(records, folders)
    assert text(section, "sft", "test_accuracy") == "0.750 ±0.152"  # Wilson: 0.598 to 0.858
    assert text(section, "lora", "test_accuracy").endswith("≈")
    assert not row(section, "prompt").cells["test_accuracy"].tied
    assert row(section, "sft").cells["test_accuracy"].best
    assert row(section, "sft").cells["test_macro_f1"].interval is None
    assert any("Wilson" in note for note in section.notes)


def test_outcomes_that_do_not_belong_to_the_record_decide_nothing(make: Make, store: Callable[..., Path]) -> None:
    records = [make(accuracy=0.75), make("sft", accuracy=0.5)]
    folders = [store(records[0], [1, 0]), store(records[1], [1, 0])]
    section = only(records, folders)
    assert text(section, "lora", "test_accuracy") == "0.750"
    assert not row(section, "sft").cells["test_accuracy"].tied


def test_a_damaged_file_of_outcomes_is_named(make: Make, store: Callable[..., Path]) -> None:
    records = [make(accuracy=0.5), make("sft", accuracy=0.5)]
    folders = [store(records[0], [1, 0]), store(records[1], [1, 0])]
    (folders[0] / "examples.jsonl").write_text("{\n{}\n")
    assert any("examples.jsonl: line 1 is not valid JSON" in note for note in only(records, folders).notes)


def test_several_seeds_are_tied_by_averages_over_examples(make: Make, store: Callable[..., Path]) -> None:
    right = {
        "sft": ([1] * 30 + [0] * 10, [1] * 29 + [0] * 11),
        "lora": ([0] + [1] * 28 + [0] * 11, [1] * 29 + [0] * 11),
        "prompt": ([0] * 32 + [1] * 8, [0] * 33 + [1] * 7),
    }
    records = [make(m, seed=s, accuracy=sum(each) / 40) for m, both in right.items() for s, each in enumerate(both)]
    folders = [store(r, right[r.method][r.seed]) for r in records]
    section = only(records, folders)
    ties = {r.label: r.cells["test_accuracy"].tied for r in section.rows}
    assert ties == {"sft": False, "lora": True, "prompt": False}


def test_losses_are_tied_by_a_paired_test_over_seeds(make: Make) -> None:
    losses = {"sft": (0.50, 0.52, 0.51), "lora": (0.51, 0.52, 0.515), "prompt": (0.9, 0.91, 0.93)}
    section = only([make(m, seed=s, loss=x) for m, each in losses.items() for s, x in enumerate(each)])
    assert [r.label for r in section.rows if r.cells["validation_loss_nats"].tied] == ["lora"]
    one = only([make("sft", loss=0.5), make(loss=0.5000001)])
    assert not any(r.cells["validation_loss_nats"].tied for r in one.rows), "one seed allows no test of a loss"


def test_without_a_test_split_validation_stands_in_and_is_marked(make: Make) -> None:
    section = only([make(test=False, accuracy=0.75)])
    assert text(section, "lora", "test_accuracy") == "0.750 ᵛ"
    assert any(note.startswith("ᵛ: on validation") for note in section.notes)


@pytest.mark.parametrize(("peak", "unit", "shown"), [(300 * 2**20, "MiB", "300.0"), (3 * 2**30, "GiB", "3.00")])
def test_memory_columns_share_one_unit(make: Make, peak: int, unit: str, shown: str) -> None:
    section = only([make(peak=peak), make("sft", peak=2**20)])
    assert {c.unit for c in section.columns if c.kind == "memory"} == {unit}
    assert text(section, "lora", "peak_train_bytes") == shown


def test_units_for_people(make: Make) -> None:
    section = only([make(step=0.125)])
    shown = {c.header: row(section, "lora").cells[c.key].text() for c in section.shown}
    assert shown == {
        "trainable": "164,000", "share (%)": "4.00", "val. loss": "0.500", "accuracy": "0.750", "macro F1": "0.700",
        "forgetting": "+0.100", "mem. load (MiB)": "150.0", "mem. train (MiB)": "300.0", "mem. eval (MiB)": "100.0",
        "tokens/s": "2,400", "step (ms)": "125.0", "train (s)": "37.5", "file (MiB)": "0.626",
    }  # fmt: skip


def test_a_disturbed_timing_is_marked_and_quality_is_not(make: Make) -> None:
    section = only([make(seed=0, foreign=0.05), make(seed=1, foreign=0.9), make("sft", foreign=0.05)])
    assert text(section, "lora", "tokens_per_s").endswith("†")
    assert not text(section, "lora", "test_accuracy").endswith("†")
    assert not text(section, "sft", "step_median_s").endswith("†")
    assert any(note.startswith("†") for note in section.notes)


def test_metrics_of_different_versions_are_not_averaged(make: Make) -> None:
    new = make(seed=1, accuracy=0.1)
    new.evaluation.test.metrics["accuracy"].version = 2  # type: ignore[union-attr]
    section = only([make(seed=0, accuracy=0.7), new])
    assert text(section, "lora", "test_accuracy_v1").startswith("0.700")
    assert text(section, "lora", "test_accuracy_v2").startswith("0.100")


def test_a_loss_that_is_no_number_breaks_nothing(make: Make) -> None:
    section = only([make(loss=math.nan), make("sft", loss=0.3)])
    assert labels(section) == ["sft", "lora"]
    assert text(section, "lora", "validation_loss_nats") == "nan"


def test_the_caption_says_what_the_rows_share(make: Make) -> None:
    section = only([make(), make("sft", method__learning_rate=0.003), make("base"), make("dpo", default_rate=None)])
    caption = section.caption
    assert section.title == "tiny-llama · pydoc · cpu-test-2 · short (300 steps)"
    assert "train 100, validation 20, test 8" in caption["Task"]
    assert "always guessing the commonest answer scores 0.250" in caption["Task"]
    assert caption["Hardware"] == "Test CPU, 2 cores, 2 threads, 16 GiB host memory"
    assert caption["Decoding"] == "greedy, max_new_tokens=32"
    assert caption["Precision"] == "computation float32, trained weights float32"
    assert caption["Versions"] == (
        "torch 2.13.0, transformers 5.23.0, peft 0.21.2, trl 1.16.0, tunebench 0.1.0, records of schema 2, "
        "commit 0123456789"
    )
    assert caption["Learning rates"] == (
        "default of each method: lora 0.001; tuned or set: sft 0.003 (default 0.001); of unknown origin: dpo 0.001"
    )


def test_memory_of_different_meters_is_called_incomparable(make: Make) -> None:
    assert "meter: glibc" in " ".join(only([make()]).notes)
    mixed = " ".join(only([make(), make("sft", memory_source="resident")]).notes)
    assert "do not compare" in mixed
    assert "for sft" in mixed


def test_sections_are_ordered_by_what_is_asked(make: Make) -> None:
    other = make("sft", task__name="arithmetic")
    other.task = "arithmetic"
    big = make("sft", model__name="alpha")
    big.model = "alpha"
    titles = [section.title for section in build([make(), other, big], by=["task"]).sections]
    assert [title.split(" · ")[:2] for title in titles] == [
        ["arithmetic", "tiny-llama"], ["pydoc", "alpha"], ["pydoc", "tiny-llama"],
    ]  # fmt: skip


def test_columns_are_chosen_and_ordered(make: Make) -> None:
    table = build([make()], select=["step_median_s", "learning_rate", "trainable_percent"])
    assert [c.key for c in table.sections[0].shown] == ["step_median_s", "learning_rate", "trainable_percent"]
    assert row(table.sections[0], "lora").cells["learning_rate"].text() == "0.001"


def test_unknown_columns_and_headings_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="there is no column 'validation_loss'; did you mean 'validation_loss_nats'"):
        build([make()], select=["validation_loss"])
    with pytest.raises(ValueError, match="--by: no record has a key 'tsk'; did you mean 'task'"):
        build([make()], by=["tsk"])


def test_no_records_make_an_empty_table() -> None:
    assert build([]).sections == []
