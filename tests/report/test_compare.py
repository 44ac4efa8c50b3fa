"""`tunebench compare`: differences with an interval where something pairs the sides, and a word where nothing does."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from bench.__main__ import main as tunebench
from bench.records.named import NotFound, named, one
from bench.records.schema import Record, Status
from bench.report.compare import Comparison, Figure, Pair, compare, listed
from bench.report.compare_cli import main
from bench.report.compare_formats import as_json, markdown
from bench.report.differences import Difference

Make = Callable[..., Record]
Keep = Callable[..., Path]


def only(comparison: Comparison) -> Pair:
    [pair] = comparison.pairs
    return pair


def figure(pair: Pair, key: str) -> Figure:
    return next(figure for figure in pair.figures if figure.column.key == key)


def side(*records: Record) -> dict[Path, Record]:
    return {Path(f"{number}-{record.run_id}"): record for number, record in enumerate(records)}


def test_two_runs_are_paired_over_the_examples_of_the_test(make: Make, store: Keep) -> None:
    first, second = [1, 1, 0, 0, 1, 0, 1, 0], [1, 0, 0, 0, 1, 0, 0, 0]
    a, b = make("lora", accuracy=0.5), make("full", accuracy=0.25)
    pair = only(compare({store(a, first): a}, {store(b, second): b}))
    assert pair.title == "lora · tiny-llama · pydoc and full · tiny-llama · pydoc"
    found = figure(pair, "test_accuracy")
    assert (found.first, found.second, found.difference, found.ratio) == (0.5, 0.25, -0.25, None)
    # Two of eight examples only the first got right; with half an example in each cell (see `paired_shares`) the middle
    # is -2 / 10, and half the width 1.959964 * sqrt(3 - 2^2 / 10) / 10 = 0.316035.
    assert found.interval == pytest.approx((-0.2 - 0.316035, -0.2 + 0.316035), abs=1e-6)
    assert found.basis == "paired over 8 examples"
    assert not found.clear  # two of eight


def test_a_difference_that_every_example_shows_is_clear(make: Make, store: Keep) -> None:
    a, b = make("lora", accuracy=0.0), make("full", accuracy=1.0)
    pair = only(compare({store(a, [0] * 8): a}, {store(b, [1] * 8): b}))
    found = figure(pair, "test_accuracy")
    # The middle is 8 / 10, half the width 1.959964 * sqrt(9 - 8^2 / 10) / 10 = 0.316035; no difference exceeds 1.
    assert found.interval == pytest.approx((0.8 - 0.316035, 1.0), abs=1e-6)
    assert found.clear


def test_common_seeds_are_paired_by_student_s_t(make: Make) -> None:
    first = [make("lora", seed=seed, loss=loss) for seed, loss in ((0, 0.5), (1, 0.6), (2, 0.7), (7, 9.0))]
    second = [make("full", seed=seed, loss=loss) for seed, loss in ((2, 0.62), (1, 0.55), (0, 0.4), (9, 9.0))]
    found = figure(only(compare(side(*first), side(*second))), "validation_loss_nats")
    gaps = [-0.1, -0.05, -0.08]
    low, high = stats.t.interval(0.95, 2, loc=sum(gaps) / 3, scale=stats.sem(gaps))
    assert (found.first, found.second) == (pytest.approx(0.6), pytest.approx(1.57 / 3))  # of the common seeds
    assert found.difference == pytest.approx(sum(gaps) / 3)
    assert found.interval == (pytest.approx(low), pytest.approx(high))
    assert found.basis == "paired over 3 seeds"


def test_costs_have_a_ratio(make: Make) -> None:
    pair = only(compare(side(make("lora", peak=2**28, step=0.1)), side(make("full", peak=2**29, step=0.05))))
    assert figure(pair, "peak_train_bytes").ratio == 2
    assert figure(pair, "step_median_s").ratio == 0.5
    assert figure(pair, "tokens_per_s").ratio == 2
    assert figure(pair, "tokens_per_s").interval is None
    assert figure(pair, "tokens_per_s").basis == "one run on each side"
    assert figure(pair, "checkpoint_bytes").basis == "exact"


def test_why_there_is_no_interval(make: Make, store: Keep) -> None:
    def basis(first: dict[Path, Record], second: dict[Path, Record]) -> str:
        return figure(only(compare(first, second)), "test_accuracy").basis

    a, b, c = make("lora", accuracy=0.5), make("full", accuracy=0.5), make("qlora", accuracy=0.25)
    whole, other, wrong = store(a, [1, 0]), store(b, [1, 0, 1, 0]), store(c, [1, 0])
    assert basis({whole: a}, {other: b}) == "other test examples"
    assert basis({whole: a}, {wrong: c}) == "no outcomes of examples"  # their mean is not the record's value
    assert basis({whole: a}, {Path("nowhere"): b}) == "no outcomes of examples"
    assert basis(side(make(seed=0), make(seed=1)), side(make(seed=2), make(seed=3))) == "no seeds in common"
    assert basis(side(make()), side(make(status=Status.OOM))) == "on one side only"
    nan = [make(seed=seed, accuracy=math.nan) for seed in (0, 1)]
    assert basis(side(*nan), side(make("full"), make("full", seed=1))) == "not finite"
    assert basis(side(make(), make(seed=1)), side(make("full"), make("full", seed=1))) == "the same in all 2 seeds"


def test_settings_and_environment_that_differ(make: Make, where: Callable[..., Any]) -> None:
    a = make("lora", method__rank=8)
    b = make("lora", method__rank=16, where=where(threads=4, libraries={"torch": "2.14.0"}))
    b.config["launch"] = {"rerun": "all"}
    pair = only(compare(side(a), side(b)))
    assert pair.settings == [Difference("method.rank", "8", "16")]
    assert pair.environment[:2] == [
        Difference("threads", "2", "4"), Difference("libraries.torch", "2.13.0", "2.14.0"),
    ]  # fmt: skip
    assert Difference("libraries.peft", "0.21.2", "") in pair.environment
    same = only(compare(side(a), side(a)))
    assert (same.settings, same.environment) == ([], [])


def test_sets_are_matched_by_configuration_then_by_method(make: Make) -> None:
    first = side(make("base"), make("lora"), make("full"), make("qlora", method__rank=4), make("qlora", method__rank=8))
    second = side(
        make("base"), make("lora", train__batch_size=32), make("prompt"), make("qlora", method__rank=8), make("full")
    )
    found = compare(first, second)
    assert [pair.title.split(" ")[0] for pair in found.pairs] == ["base", "full", "lora", "qlora"]
    settings = {pair.title.split(" ")[0]: pair.settings for pair in found.pairs}
    assert settings["lora"] == [Difference("train.batch_size", "16", "32")]
    assert settings["qlora"] == []  # rank 8 with rank 8
    assert found.only_first == ["qlora · tiny-llama · pydoc"]
    assert found.only_second == ["prompt · tiny-llama · pydoc"]


def test_two_machines_are_matched_run_by_run(make: Make, where: Callable[..., Any]) -> None:
    there = [make("lora", seed=seed, step=0.1 + seed / 100, where=where(hardware="gpu")) for seed in (0, 1)]
    pair = only(compare(side(make("lora"), make("lora", seed=1)), side(*there)))
    assert [d.key for d in pair.environment] == ["hardware"]
    assert figure(pair, "step_median_s").basis == "paired over 2 seeds"


def test_as_markdown(make: Make, store: Keep) -> None:
    a, b = make("lora", accuracy=0.0, peak=2**28), make("full", accuracy=1.0, peak=2**29)
    text = markdown(compare({store(a, [0] * 8): a}, {store(b, [1] * 8): b}, ("one", "two|three")))
    assert "- A: one (seed 0)\n- B: two\\|three (seed 0)" in text
    assert "| accuracy | 0.000 | 1.000 | **+1.000** | +0.484 to +1.000 |  | paired over 8 examples |" in text
    assert "| mem. train (MiB) | 256.0 | 512.0 | +256.0 |  | 2 | one run on each side |" in text
    assert "| method.name | lora | full |" in text
    assert "Environment: no difference" in text
    assert "- Bold: the interval of the difference leaves out 0." in text


def test_as_json_in_the_units_of_the_record(make: Make) -> None:
    failed = make("full", status=Status.OOM)
    data = json.loads(as_json(compare(side(make("lora", peak=2**28)), side(failed), ("x", "y"))))
    [pair] = data["pairs"]
    assert data["names"] == ["x", "y"]
    assert pair["second"][0]["status"] == "oom"
    assert pair["figures"]["peak_train_bytes"] == {
        "first": 2**28, "second": 300 * 2**20, "difference": 44 * 2**20, "ci95": None, "ratio": 300 / 256,
        "basis": "one run on each side",
    }  # fmt: skip


def test_the_command_on_the_terminal(
    make: Make, store: Keep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders = [store(make("lora", peak=2**28)), store(make("full", peak=2**29, status=Status.OOM))]
    monkeypatch.setenv("COLUMNS", "240")  # room for the folder, however long its name
    monkeypatch.setattr("sys.argv", ["tunebench", "compare", *map(str, folders)])
    assert tunebench() == 0
    out = capsys.readouterr().out
    assert "lora · tiny-llama · pydoc and full · tiny-llama · pydoc" in out
    assert "seed 0; oom: the allocator wanted 3 GiB more)" in out
    assert "mem. train (MiB)" in out
    assert "+256.0" in out
    assert "Environment: no difference" in out


def test_the_command_writes_files_and_names_the_damaged(
    make: Make, store: Keep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(make("lora"))
    store(make("full"))
    (tmp_path / "runs" / "cpu-test-2" / "torn").mkdir()
    (tmp_path / "runs" / "cpu-test-2" / "torn" / "record.json").write_text("{")
    runs = str(tmp_path / "runs")
    assert main([runs, runs, "--out", str(tmp_path / "new" / "c.json")]) == 0
    assert len(json.loads((tmp_path / "new" / "c.json").read_text())["pairs"]) == 2
    assert "left out" in capsys.readouterr().err
    assert main([runs, runs, "--out", str(tmp_path / "c.txt")]) == 2
    assert capsys.readouterr().err.endswith("--out: a comparison is written as .md or .json, got 'c.txt'\n")
    other = f"{runs}/cpu-test-2/full*"
    sides = [f"{runs}/cpu-test-2/[!f]*", f"{runs}/../runs"]
    assert main([other, sides[1]]) == 0
    assert "Only in B: lora · tiny-llama · pydoc" in capsys.readouterr().out


def test_sets_with_nothing_in_common(
    make: Make, store: Keep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("lora", "qlora", "full", "prompt"):
        store(make(method))
    names = str(tmp_path / "runs" / "*" / "*ora-*"), str(tmp_path / "runs" / "*" / "[fp]*")
    assert main([*names]) == 2
    assert capsys.readouterr().err == (
        f"tunebench compare: nothing in {names[0]} has its like in {names[1]}: lora · tiny-llama · pydoc; "
        "qlora · tiny-llama · pydoc against full · tiny-llama · pydoc; prompt · tiny-llama · pydoc\n"
    )


def test_what_has_no_like_is_listed_in_a_line() -> None:
    assert listed(["a", "b", "a"]) == "2 x a; b"
    assert listed([str(n) for n in range(11)]) == "0; 1; 2; 3; 4; 5; 6; 7; and 3 more"


def test_a_run_is_named_by_its_id_too(make: Make, store: Keep, tmp_path: Path) -> None:
    folder = store(make("lora"))
    store(make("full"))
    assert one(folder.name, tmp_path)[0] == folder
    assert one(str(folder / "record.json"), tmp_path)[0] == folder
    assert len(named(str(tmp_path / "runs"), tmp_path)[0]) == 2
    with pytest.raises(NotFound, match=f"no run of that id below .*; did you mean '{folder.name}'"):
        named(folder.name.replace("lora", "loar"), tmp_path)
    with pytest.raises(NotFound, match="holds 2 records; name one"):
        one(str(tmp_path / "runs"), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match=r"^no records in .*empty$"):
        named(str(tmp_path / "empty"), tmp_path)
    twin = tmp_path / "runs" / "other" / folder.name
    twin.mkdir(parents=True)
    (twin / "record.json").write_text((folder / "record.json").read_text())
    with pytest.raises(NotFound, match="lies in 2 folders; name one"):
        named(folder.name, tmp_path)


def test_control_characters_are_shown_and_never_obeyed(make: Callable[..., Record]) -> None:
    one, two = make("lo\x1b[2Jra", method__note="\x1b[31m"), make("sft\x9b1m")
    found = compare({Path("a"): one}, {Path("b"): two})
    shown = markdown(found) + as_json(found)
    assert not {"\x1b", "\x9b"} & set(shown)
    assert r"lo\\x1b" in shown
