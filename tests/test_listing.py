"""The lists of what there is."""

from pathlib import Path

import pytest

from bench import capabilities, listing
from bench.method import discover


def test_choices_in_a_folder_come_last_under_its_name_and_preferences_are_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "task"
    (folder / "bench-of-many").mkdir(parents=True)
    (folder / "words.v1.yaml").write_text("# Words\nname: words\n", encoding="utf-8")
    (folder / "pairs.yaml").write_text("# Pairs\nname: pairs\npreferences: true\n", encoding="utf-8")
    (folder / "bench-of-many" / "a.yaml").write_text("# A set\nname: a\n", encoding="utf-8")
    (folder / "empty.yaml").touch()
    monkeypatch.setattr(listing, "conf_dir", lambda: tmp_path)
    assert listing.named("task") == [
        ("empty", ""),
        ("pairs", "Pairs [preferences]"),
        ("words.v1", "Words"),
        ("bench-of-many/a", "A set"),
    ]


def test_the_tasks_are_listed_with_their_overrides(capsys: pytest.CaptureFixture[str]):
    assert listing.main("tasks") == 0
    lines = capsys.readouterr().out.splitlines()
    (rte,) = [line for line in lines if line.startswith("task=peftbench/rte ")]
    assert rte.endswith(" (nyu-mll/glue, rte) [preferences]")
    assert sum(line.startswith("task=peftbench/") for line in lines) == 27


def test_every_list_says_what_it_is(capsys: pytest.CaptureFixture[str]):
    about = "What there is to choose from, one a line, with the override that chooses it: tunebench run"
    assert listing.main("tasks", ["--help"]) == 0
    assert capsys.readouterr().out == f"usage: tunebench tasks\n\n{about} task=NAME\n"
    assert listing.main("models", ["-h"]) == 0
    assert capsys.readouterr().out == (
        f"usage: tunebench models [--matrix]\n\n{about} model=NAME\n\n"
        "  --matrix  which method runs on which family of base models, and why not on the others\n"
    )


def test_an_option_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]):
    assert listing.main("tasks", ["--matrix"]) == 2
    assert capsys.readouterr() == ("", "tunebench tasks: there is no option --matrix\n")


def test_every_method_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]):
    assert listing.main("methods") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0].removeprefix("method=") for line in lines][: len(discover())] == list(discover())
    assert max(map(len, lines)) < 160
    (lora,) = [line for line in lines if line.startswith("method=lora ")]
    assert lora.endswith("  LoRA: train a low-rank update beside every linear layer, with the base weights frozen. "
                         "(learning rate 0.01)")  # fmt: skip


def test_what_methods_can_do_is_a_table(capsys: pytest.CaptureFixture[str]):
    assert listing.main("methods", ["--capabilities"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    starts = [head.index(f"  {title}") + 2 for title in capabilities.HEADERS]
    assert head.startswith("method ")
    (lora,) = [row for row in rows if row.startswith("lora ")]
    cells = [lora[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    assert cells == capabilities.known()["lora"].cells()
    assert cells[:3] == ["answers", "yes", "yes"]
    assert rows[-1] == capabilities.LEGEND.splitlines()[-1]


def test_a_method_that_nobody_has_tried_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(listing, "methods", lambda: [("lora", ""), ("new-one", "")])
    assert listing.main("methods", ["--capabilities"]) == 0
    assert f"new-one  {capabilities.NOT_PROBED}" in capsys.readouterr().out.splitlines()
