"""`tunebench data inspect | clean` as a user types it."""

import json
from pathlib import Path

import pytest
from huggingface_hub.utils import logging

from bench.clean.tokens import TokenCounter
from bench.models.locate import EMBEDDED
from tests.clean.conftest import FILES, ROWS, Command, rows


def test_inspect_counts(alpaca: Path, command: Command):
    code, out, _ = command("inspect", alpaca, "--json", "--near", 0.6)
    assert code == 0
    found = json.loads(out)
    assert (found["format"], found["rows"], found["examples"], found["unusable"]) == ("alpaca", 6, 6, 0)
    assert (found["duplicates"], found["near_duplicates"], found["repetitive"]) == (1, 1, 1)
    assert found["personal"] == {"email": 1}
    counter = TokenCounter("tiny-llama")
    counter.add([f"{row['instruction']}\n{row['output']}" for row in ROWS])
    assert found["tokens"]["total"] == sum(counter.lengths)
    assert found["tokens"]["max"] == max(counter.lengths)
    assert sum(count for *_, count in found["histogram"]) == 6
    assert found["samples"][0] == ROWS[0]
    assert found["warnings"] == [
        "1 rows are the same as an earlier one",
        "1 rows are nearly the same as an earlier one",
        "1 texts mostly repeat themselves",
        "personal data or secrets: email 1",
    ]


@pytest.mark.parametrize("file", sorted(FILES.iterdir()), ids=lambda file: file.name)
def test_inspect_shows_every_format(file: Path, command: Command):
    code, out, _ = command("inspect", file, "--samples", 1)
    assert code == 0
    assert "Tokens of an example (tiny-llama)" in out
    assert f"{file}: format " in out
    assert "Sample 1" in out


@pytest.mark.parametrize(("model", "place"), [("gpt2", "openai-community/gpt2"), ("acme/gpt2", "acme/gpt2")])
def test_a_model_is_a_name_that_is_listed_or_a_hub_id(
    model: str, place: str, alpaca: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    def download(repository: str, file: str) -> str:
        assert (repository, file) == (place, "tokenizer.json")
        return str(EMBEDDED / "tiny-llama" / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = json.loads(command("inspect", alpaca, "--model", model, "--json")[1])
    assert found["tokenizer"] == model
    assert found["tokens"] == json.loads(command("inspect", alpaca, "--json")[1])["tokens"]


def test_a_model_that_the_hub_has_not_is_told_in_one_line(
    alpaca: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    def download(repository: str, file: str) -> str:
        assert logging.get_verbosity() == logging.ERROR  # attempts that fail are warnings
        raise OSError("Repository not found\nfor url ...")

    logging.set_verbosity_warning()
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    message = "--model: no tokenizer.json of none: Repository not found; tiny-llama comes with tunebench\n"
    assert command("inspect", alpaca, "--model", "none") == (2, "", message)


def test_inspect_names_rows_that_cannot_be_used(alpaca: Path, command: Command):
    alpaca.write_text(alpaca.read_text() + '\n{"instruction": "x"}\n{"instruction"： 1}\n')
    _, out, _ = command("inspect", alpaca)
    assert "8 rows, 6 examples, 2 rows cannot be used" in out
    assert f"{alpaca}, line 8: expected JSON, found a fullwidth colon '：' at column 15" in out


def test_inspect_finds_overlaps(alpaca: Path, tmp_path: Path, command: Command):
    other = tmp_path / "test.jsonl"
    other.write_text(json.dumps(ROWS[0]))
    _, out, _ = command("inspect", alpaca, "--against", other)
    assert f"! 3 rows overlap {other}" in out


def test_clean_writes_what_stays_and_reports_what_went(alpaca: Path, tmp_path: Path, command: Command):
    out = tmp_path / "clean.jsonl"
    code, told, _ = command("clean", alpaca, "--out", out, "--near", 0.6)
    assert code == 0
    assert rows(out) == [ROWS[0], {**ROWS[3], "output": "Write to <EMAIL>."}, ROWS[5]]
    report = json.loads(Path(f"{out}.report.json").read_text())
    assert (report["rows"], report["kept"]) == (6, 3)
    assert report["dropped"] == {"duplicate": 1, "near duplicate": 1, "repeats runs of 2 words": 1}
    assert report["masked"] == {"email": 1}
    first = f"{alpaca}, line 1"
    assert report["rows_dropped"] == [
        {"row": f"{alpaca}, line 2", "reason": "duplicate", "of": first},
        {"row": f"{alpaca}, line 3", "reason": "near duplicate", "of": first},
        {"row": f"{alpaca}, line 5", "reason": "repeats runs of 2 words"},
    ]
    assert told.startswith(f"3 of 6 rows kept in {out}\n")
    again = tmp_path / "again.jsonl"
    command("clean", alpaca, "--out", again, "--near", 0.6)
    assert again.read_bytes() == out.read_bytes()


def test_clean_keeps_what_it_is_told_to_keep(alpaca: Path, tmp_path: Path, command: Command):
    out = tmp_path / "clean.jsonl"
    command("clean", alpaca, "--out", out, "--near", 0, "--keep-repetition", "--personal", "keep")
    assert rows(out) == [ROWS[0], *ROWS[2:]]
    command("clean", alpaca, "--out", out, "--force", "--personal", "drop", "--max-characters", 60)
    assert rows(out) == [ROWS[5]]


def test_clean_drops_what_overlaps_held_out_data(alpaca: Path, tmp_path: Path, command: Command):
    held_out = tmp_path / "test.jsonl"
    held_out.write_text(json.dumps(ROWS[5]))
    out = tmp_path / "clean.jsonl.gz"
    command("clean", alpaca, "--out", out, "--against", held_out)
    report = json.loads(Path(f"{out}.report.json").read_text())
    assert report["dropped"]["overlaps held-out data"] == 1


def test_clean_tells_rows_of_two_files_of_one_name_apart(tmp_path: Path, command: Command):
    for folder, row in (("a", ROWS[5]), ("b", ROWS[0])):
        (tmp_path / "own" / folder).mkdir(parents=True)
        (tmp_path / "own" / folder / "train.jsonl").write_text(json.dumps(row))
    out = tmp_path / "clean.jsonl"
    command("clean", tmp_path / "own", "--out", out, "--against", tmp_path / "own" / "a")
    assert rows(out) == [ROWS[0]]


def test_pairs_count_with_their_rejected_answers(tmp_path: Path, command: Command):
    own, out = tmp_path / "own.jsonl", tmp_path / "clean.jsonl"
    asked = {"prompt": "Who?", "chosen": "I do not know."}
    pairs = [asked | {"rejected": "Ask jane@example.org."}, asked | {"rejected": "You."}, asked | {"rejected": "you."}]
    own.write_text("\n".join(map(json.dumps, pairs)))
    command("clean", own, "--out", out, "--personal", "keep")
    assert rows(out) == pairs[:2]
    command("clean", own, "--out", out, "--force", "--personal", "drop")
    assert rows(out) == pairs[1:2]
    found = json.loads(command("inspect", own, "--json")[1])
    assert (found["duplicates"], found["personal"]) == (1, {"email": 1})


def test_clean_leaves_nothing_behind_when_a_row_is_wrong(alpaca: Path, tmp_path: Path, command: Command):
    alpaca.write_text(alpaca.read_text() + '\n{"instruction": "x", "output": 5}')
    out = tmp_path / "clean.jsonl"
    code, _, error = command("clean", alpaca, "--out", out)
    assert code == 2
    assert error == f"{alpaca}, line 7, field 'output': expected a text, found the number 5\n"
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]
    code, _, _ = command("clean", alpaca, "--out", out, "--on-error", "skip")
    report = json.loads(Path(f"{out}.report.json").read_text())
    assert code == 0
    assert sum(report["dropped"].values()) == report["rows"] - report["kept"] == len(report["rows_dropped"])
    assert report["dropped"]["cannot be used"] == 1
    assert report["rows_dropped"][-1] == {
        "row": f"{alpaca}, line 7",
        "reason": "cannot be used",
        "error": f"{alpaca}, line 7, field 'output': expected a text, found the number 5",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clean", "OWN", "--out", "TMP/own.jsonl"], "TMP/own.jsonl exists; --force overwrites it"),
        (["clean", "OWN", "--out", "TMP/x.csv"], "--out must end in .jsonl, .jsonl.gz, .jsonl.zst, got TMP/x.csv"),
        (["clean", "OWN", "--out", "TMP/no/x.jsonl"], "there is no folder TMP/no to write x.jsonl to"),
        (["clean", "OWN", "--out", "TMP/x.jsonl", "--near", "1.5"], "--near must be >= 0 and < 1, got 1.5"),
        (["inspect", "TMP/none.jsonl"], "data.train: there is no file or folder TMP/none.jsonl"),
        (
            ["inspect", "OWN", "--model", "./nowhere"],
            "--model: there is no folder ./nowhere",
        ),
        (
            ["inspect", "OWN", "--max-length", "0", "--samples", "-1", "--near", "1"],
            "--max-length must be > 0, got 0\n--samples must be >= 0, got -1\n--near must be >= 0 and < 1, got 1",
        ),
        (
            ["convert", "OWN", "--to", "messages", "--out", "TMP/x.jsonl", "--split", "a"],
            "--split must be two shares, as 0.1,0.1, got a",
        ),
        (
            ["convert", "OWN", "--to", "messages", "--out", "TMP/x.jsonl", "--split", "nan,0.1"],
            "--split must be two shares >= 0 that are together < 1, got nan,0.1",
        ),
        (
            ["convert", "OWN", "--to", "preference", "--out", "TMP/x.jsonl"],
            "OWN, line 1: expected what the format preference can say, found no rejected answer",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, alpaca: Path, tmp_path: Path, command: Command):
    def real(text: str) -> str:
        return text.replace("OWN", str(alpaca)).replace("TMP", str(tmp_path))

    code, out, error = command(*map(real, arguments))
    assert (code, out, error) == (2, "", f"{real(message)}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]


@pytest.mark.parametrize("arguments", [["clean"], ["convert", "--to", "messages"]])
def test_a_file_without_rows_is_an_error_even_where_wrong_rows_are_skipped(
    arguments: list[str], tmp_path: Path, command: Command
):
    own = tmp_path / "own.jsonl"
    own.write_text("\n\n")
    code, _, error = command(*arguments, own, "--out", tmp_path / "new.jsonl", "--on-error", "skip")
    assert (code, error) == (2, f"{own}: expected at least one row, found none\n")
    assert list(tmp_path.iterdir()) == [own]


@pytest.mark.slow
def test_a_hundred_thousand_rows_in_the_time_and_memory_that_is_promised(tmp_path: Path):
    """Inspecting takes at most 20 s of two cores and 1 GiB, cleaning at most 120 s."""
    import resource
    import subprocess
    import sys
    import time

    from tests.clean.make_alpaca import make

    make(100_000, tmp_path / "own.jsonl")
    for limit, arguments in (
        (20, ["inspect", "own.jsonl"]),
        (120, ["clean", "own.jsonl", "--out", "clean.jsonl"]),
    ):
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "bench", "data", *arguments], cwd=tmp_path, check=True)
        assert time.monotonic() - began < limit
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2**20  # KiB
