"""Readers: every format, compressed or not, gives the same rows; what is wrong is named with its place."""

import csv
import gzip
import io
import json
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from bench.config import Data
from bench.data.rows import DataError, Row
from bench.data.sources import content, fetch, rows

ROWS = [
    {"text": "eins, zwei", "label": "a"},
    {"text": '日本語 "x"\nnext', "label": "b"},
    {"text": "مرحبا 👨‍👩‍👧", "label": "a"},
]


def _csv(delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    table = csv.DictWriter(out, ["text", "label"], delimiter=delimiter)
    table.writeheader()
    table.writerows(ROWS)
    return out.getvalue().encode()


def _parquet(table: pyarrow.Table | None = None) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(table or pyarrow.Table.from_pylist(ROWS), out)
    return out.getvalue()


def _damaged(data: bytes, start: int, size: int) -> bytes:
    return data[:start] + b"\x13" * size + data[start + size :]


FORMATS = {
    "json": json.dumps(ROWS, ensure_ascii=False).encode(),
    "jsonl": "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode(),
    "csv": _csv(","),
    "tsv": _csv("\t"),
    "parquet": _parquet(),
}
PACKED = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


def read(path: Path) -> list[Row | DataError]:
    return list(rows(str(path), Data()))


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_packed_in_every_way(form: str, ending: str, tmp_path: Path):
    path = tmp_path / f"a.{form}{ending}"
    path.write_bytes(PACKED[ending](FORMATS[form]))
    found = read(path)
    assert [row.fields for row in found if isinstance(row, Row)] == ROWS
    assert {row.file for row in found} == {str(path)}


@pytest.mark.parametrize("ending", PACKED)
def test_a_text_file_is_one_row(ending: str, tmp_path: Path):
    path = tmp_path / f"a.TXT{ending}"
    path.write_bytes(PACKED[ending]("﻿one\r\ntwo 🙂\n".encode()))
    (row,) = read(path)
    assert isinstance(row, Row)
    assert row.fields == {"text": "one\r\ntwo 🙂\n"}


def test_an_object_with_one_list_of_rows(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"version": "1.1", "data": ROWS}))
    assert [row.fields for row in read(path) if isinstance(row, Row)] == ROWS
    path.write_text(json.dumps({"train": ROWS, "test": ROWS}))
    with pytest.raises(DataError, match=r"expected a list of rows, or an object with one list of rows, found an obj"):
        read(path)


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n\n{"n": 2}\n[3]\n{"n": 4\n{"n": 5}')
    found = read(path)
    assert [row.line for row in found] == [1, 3, 4, 5, 6]
    assert [str(row) for row in found if isinstance(row, DataError)] == [
        f"{path}, line 4: expected an object with fields, found a list",
        f"{path}, line 5: expected JSON, found the end of the line at column 8 (Expecting ',' delimiter)",
    ]


def test_a_table_with_rows_of_other_lengths(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\none,a\ntwo\nthree,b,c\nfour,d\n")
    found = read(path)
    assert [row.fields["text"] for row in found if isinstance(row, Row)] == ["one", "four"]
    assert [str(row) for row in found if isinstance(row, DataError)] == [
        f"{path}, line 3: expected 2 cells, found 1",
        f"{path}, line 4: expected 2 cells, found 3",
    ]


MANY = b"".join(b'{"n": %d, "text": "row number %d of many"}\n' % (i * i, i) for i in range(200))
TALL = pyarrow.table({"text": [f"row number {i} of many" for i in range(200)]})
LATE = pyarrow.table({"day": pyarrow.array([10**8], pyarrow.int32()).cast(pyarrow.date32())})


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", "expected rows, found an empty file"),
        ("a.jsonl", "{}".encode("utf-16"), "expected text in UTF-8, found what looks like UTF-16"),
        ("a.json", b"5", "expected a list of rows, found a number"),
        ("a.json", b"[" + b"9" * 5000 + b"]", "expected numbers of at most 4300 digits, found a longer one"),
        ("a.json", b"[" * 99999, "expected JSON, found lists or objects nested too deep"),
        ("a.parquet", b"no parquet", "expected a parquet file, found "),
        (
            "a.parquet",
            _damaged(_parquet(TALL), 40, 300),
            "expected a parquet file, found Corrupt snappy compressed data",
        ),
        ("a.parquet", _parquet(LATE), "expected a parquet file, found date value out of range"),
        (
            "a.parquet",
            _parquet(pyarrow.table([[1], [2]], names=["text", "text"])),
            "expected columns of different names, found 'text' 2 times",
        ),
        ("a.jsonl.gz", b"no gzip", "expected a whole .gz file, found a damaged one ("),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9],
            "expected a whole .gz file, found a damaged one (",
        ),
        (
            "a.jsonl.gz",
            _damaged(gzip.compress(MANY, mtime=0), 60, 30),
            "expected a whole .gz file, found a damaged one (Error -3 while decompressing data: ",
        ),
        ("a.jsonl.zst", b"no zstandard", "expected a whole .zst file, found a damaged one ("),
    ],
)
def test_files_that_cannot_be_read(name: str, data: bytes, message: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {message}")


ARRAY = "this looks like a JSON array: rename the file to .json"
SEVERAL = "this looks like JSON over several lines: .jsonl needs every object on a line of its own"
LINES = "this looks like JSON lines: rename the file to .jsonl"
LATIN = '{"a": "1"}\n\n{"a": "\xe9"}\n'.encode("latin-1")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", LATIN, "3: expected text in UTF-8, found the byte 0xe9"),
        ("a.jsonl.gz", gzip.compress(LATIN, mtime=0), "3: expected text in UTF-8, found the byte 0xe9"),
        ("a.txt.zst", PACKED[".zst"](LATIN), "3: expected text in UTF-8, found the byte 0xe9"),
        ("a.jsonl", b'{"a": "x \\ud83d"}', r"1: expected whole characters, found half a surrogate pair, \ud83d"),
        ("a.json", b'[{}, {"\\uDC00": 1}]', r"2: expected whole characters, found half a surrogate pair, \udc00"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "1: expected numbers of at most 4300 digits, found a longer one"),
        ("a.jsonl", b'\n[{"a": 1}]', f"2: expected an object with fields, found a list; {ARRAY}"),
        (
            "a.jsonl",
            b'[{"a": 1},',
            f"1: expected JSON, found the end of the line at column 11 (Expecting value); {ARRAY}",
        ),
        (
            "a.jsonl",
            b"{",
            "1: expected JSON, found the end of the line at column 2 "
            f"(Expecting property name enclosed in double quotes); {SEVERAL}",
        ),
        (
            "a.json",
            b'{"a": 1}\n{"a": 2}\n',
            f"2: expected JSON, found '{{' at column 1 (Extra data); {LINES}",
        ),
        ("a.json", b'{\n"a": 1}\n{"a": 2}\n', "3: expected JSON, found '{' at column 1 (Extra data)"),
        ("a.csv", b'"te"xt,label\na,b\n', "1: expected cells in quotes or without, found ',' expected after '\"'"),
        ("a.csv", b"text,label,text\na,b,c\n", "1: expected columns of different names, found 'text' 2 times"),
        (
            "a.csv",
            b"text;label\na;b\n",
            "1: expected columns parted by commas, found what seem to be columns parted by semicolons",
        ),
        (
            "a.csv",
            b'"text"\t"label"\na\tb\n',
            "1: expected columns parted by commas, found what seem to be columns parted by tabs",
        ),
        (
            "a.tsv",
            b"text,label\na,b\n",
            "1: expected columns parted by tabs, found what seem to be columns parted by commas",
        ),
    ],
)
def test_what_is_wrong_in_a_line(name: str, data: bytes, message: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(data)
    errors: list[DataError] = []
    try:
        errors += [item for item in read(path) if isinstance(item, DataError)]
    except DataError as error:
        errors.append(error)
    assert [str(error) for error in errors] == [f"{path}, line {message}"]


@pytest.mark.parametrize(
    ("name", "data", "first"),
    [
        ("a.csv", b'"one; two"\nx\n', {"one; two": "x"}),
        ("a.csv", b"text;more,label\nx,y\n", {"text;more": "x", "label": "y"}),
        ("a.csv", b"text,,\nx,y,z\n", {"text": "x", "": "z"}),
        ("a.jsonl", b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
    ],
)
def test_what_only_looks_wrong(name: str, data: bytes, first: dict[str, str], tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(data)
    assert [row.fields for row in read(path) if isinstance(row, Row)] == [first]


def test_a_folder_is_all_its_readable_files_in_order(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.jsonl").write_text('{"n": 1}')
    (tmp_path / "deep" / "c.jsonl").write_text('{"n": 2}')
    (tmp_path / "notes.md").write_text("no data")
    (tmp_path / ".hidden.jsonl").write_text('{"n": 3}')
    files: dict[str, str] = {}
    found = [row.fields["n"] for row in rows(str(tmp_path), Data(), files) if isinstance(row, Row)]
    assert found == [1, 2]
    assert [Path(name).name for name in files] == ["b.jsonl", "c.jsonl"]
    assert [file.sha256 for file in fetch(str(tmp_path), Data())] == list(files.values())


ENDINGS = ".json, .jsonl, .csv, .tsv, .parquet, .txt (or .gz, .zst)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.jsonl", "data.validation: there is no file or folder TMP/none.jsonl"),
        ("notes.md", f"data.validation: TMP/notes.md does not end in {ENDINGS}"),
        ("empty", f"data.validation: the folder TMP/empty holds no file that ends in {ENDINGS}"),
    ],
)
def test_places_that_hold_no_data_are_named_with_their_key(name: str, message: str, tmp_path: Path):
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "empty").mkdir()
    settings = Data(train="https://example.org/a.jsonl", validation=str(tmp_path / name))
    with pytest.raises(ValueError, match=f"^{re.escape(message.replace('TMP', str(tmp_path)))}$"):
        content(settings)


def test_the_hash_of_the_content_follows_the_bytes_and_not_the_name(tmp_path: Path):
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    one.write_text("1")
    two.write_text("1")
    assert content(Data()) == ""
    assert content(Data(train=str(one))) == content(Data(train=str(two)))
    assert content(Data(train=str(one))) != content(Data(test=str(one)))
    two.write_text("2")
    assert content(Data(train=str(one))) != content(Data(train=str(two)))
