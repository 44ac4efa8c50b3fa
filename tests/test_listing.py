"""The lists of what there is."""

from pathlib import Path

import pytest

from bench import listing


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
