"""Downloads from real servers on loopback: whole or not at all, tried again, cached, and silent about credentials."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config import Data
from bench.data.rows import Row
from bench.data.sources import fetch, rows
from bench.data.sources.fetch import content

LINES = b'{"text": "one"}\n{"text": "two"}\n'
TEXTS = ["one", "two"]


def texts(location: str, settings: Data) -> list[str]:
    found = list(rows(location, settings))
    assert all(isinstance(row, Row) for row in found)
    return [row.fields["text"] for row in found]


def cached(settings: Data) -> list[Path]:
    return list((Path(settings.cache) / "content").glob("*"))


def test_a_file_of_a_web_server(web, settings: Data):
    web.files["a.jsonl"] = LINES
    files: dict[str, str] = {}
    found = list(rows(f"{web.url}/fine/a.jsonl", settings, files))
    assert [row.fields["text"] for row in found] == TEXTS
    assert {row.file for row in found} == {f"{web.url}/fine/a.jsonl"} == set(files)
    assert [path.name for path in cached(settings)] == list(files.values())


def test_a_second_reading_asks_for_the_version_alone(web, settings: Data):
    web.files["a.jsonl"] = LINES
    texts(f"{web.url}/fine/a.jsonl", settings)
    before = web.gets
    assert texts(f"{web.url}/fine/a.jsonl", settings) == TEXTS
    assert web.gets == before
    web.files["a.jsonl"], web.tag = LINES.replace(b"one", b"uno"), "2"
    assert texts(f"{web.url}/fine/a.jsonl", settings) == ["uno", "two"]
    assert len(cached(settings)) == 2


def test_the_same_content_is_stored_once_and_a_damaged_one_is_fetched_anew(web, settings: Data):
    web.files |= {"a.jsonl": LINES, "b.jsonl": LINES}
    assert texts(f"{web.url}/fine/a.jsonl", settings) == texts(f"{web.url}/fine/b.jsonl", settings) == TEXTS
    (one,) = cached(settings)
    one.write_bytes(b"damaged")
    assert texts(f"{web.url}/fine/a.jsonl", settings) == TEXTS
    assert one.read_bytes() == LINES
    for note in (Path(settings.cache) / "index").glob("*"):
        note.write_text("{damaged")
    assert texts(f"{web.url}/fine/a.jsonl", settings) == TEXTS


def test_a_server_that_answers_500_twice_is_asked_again(web, settings: Data):
    web.files["a.jsonl"] = LINES
    assert texts(f"{web.url}/twice/a.jsonl", settings) == TEXTS
    assert web.failures["/twice/a.jsonl"] == 3


def test_a_server_that_dies_half_way_leaves_nothing_behind(web, settings: Data):
    web.files["a.jsonl"] = LINES * 1000
    with pytest.raises(ValueError, match=r"/dies/a\.jsonl could not be had in 3 tries: "):
        texts(f"{web.url}/dies/a.jsonl", settings)
    assert cached(settings) == []
    assert texts(f"{web.url}/dies-once/a.jsonl", settings) == TEXTS * 1000


def test_a_server_that_is_too_slow(web, settings: Data):
    web.files["a.jsonl"] = LINES
    with pytest.raises(ValueError, match=r"/slow/a\.jsonl could not be had in 1 try: "):
        texts(f"{web.url}/slow/a.jsonl", replace(settings, timeout=0.3, retries=0))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fine/none.jsonl", "does not exist"),
        ("secret/a.jsonl", "may not be read: the credentials are missing or not allowed to"),
    ],
)
def test_what_will_not_pass_is_said_at_once(path: str, message: str, web, settings: Data):
    web.files["a.jsonl"] = LINES
    with pytest.raises(ValueError, match=f"^{re.escape(f'{web.url}/{path} {message}')}$"):
        texts(f"{web.url}/{path}", settings)
    assert web.gets <= 1


def test_a_file_that_is_too_large(web, settings: Data):
    web.files["a.jsonl"] = LINES * 100
    with pytest.raises(ValueError, match=r"a\.jsonl is larger than data\.max_gib=1e-06 allows$"):
        texts(f"{web.url}/fine/a.jsonl", replace(settings, max_gib=1e-6))
    assert cached(settings) == []


def test_a_server_that_is_gone_leaves_the_copy(web, settings: Data, caplog: pytest.LogCaptureFixture):
    web.files["a.jsonl"] = LINES
    url = f"{web.url}/fine/a.jsonl"
    texts(url, settings)
    (index,) = (Path(settings.cache) / "index").glob("*.json")
    gone = "http://127.0.0.1:9/fine/a.jsonl"  # nothing listens there
    import hashlib

    index.rename(index.with_name(f"{hashlib.sha256(f' {gone}'.encode()).hexdigest()}.json"))
    assert texts(gone, replace(settings, retries=0)) == TEXTS
    assert f"{gone} cannot be reached; its copy in {settings.cache} is used" in caplog.text


def test_a_signed_url_is_named_without_its_signature(web, settings: Data):
    web.files["a.jsonl"] = LINES
    (file,) = fetch(f"{web.url}/fine/a.jsonl?Signature=do-not-tell", settings)
    assert file.name == f"{web.url}/fine/a.jsonl"
    with pytest.raises(ValueError, match="does not exist") as error:
        fetch(f"{web.url}/fine/b.jsonl?Signature=do-not-tell", settings)
    assert "do-not-tell" not in str(error.value)
    assert not any("do-not-tell" in path.read_text() for path in (Path(settings.cache) / "index").glob("*"))


def test_a_password_in_a_url_is_refused(settings: Data):
    for url in ("https://me:secret@example.org/a.jsonl", "ftp://me@example.org/a.jsonl"):
        with pytest.raises(ValueError, match=r"^data: leave the credentials out of the URL of example\.org") as error:
            fetch(url, settings)
        assert "secret" not in str(error.value)
    assert content(Data(train="https://example.org/a.jsonl")) == ""


def test_an_unknown_scheme(settings: Data):
    with pytest.raises(
        ValueError, match=r"^data: there is no way to read gopher://, only http, https, ftp, s3, gs, hf"
    ):
        fetch("gopher://example.org/a.jsonl", settings)


def test_a_file_of_an_ftp_server(ftp, settings: Data):
    (ftp.folder / "a.jsonl").write_bytes(LINES)
    assert texts(f"{ftp.url}/a.jsonl", settings) == TEXTS
    with pytest.raises(ValueError, match=r"none\.jsonl does not exist$") as error:
        texts(f"{ftp.url}/none.jsonl", settings)
    assert ftp.password not in str(error.value)


def test_an_ftp_server_that_refuses_the_login(ftp, settings: Data, tmp_path: Path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login reader password wrong-one\n")
    with pytest.raises(ValueError, match=r"may not be read") as error:
        texts(f"{ftp.url}/a.jsonl", settings)
    assert "wrong-one" not in str(error.value)


def test_an_object_of_a_bucket_and_all_objects_below_a_folder(s3, settings: Data):
    s3.put("deep/a.jsonl", LINES)
    s3.put("deep/b.jsonl", LINES.replace(b"one", b"uno"))
    s3.put("deep/notes.pdf", b"no data")
    there = replace(settings, endpoint=s3.endpoint)
    assert texts(f"{s3.url}/deep/a.jsonl", there) == TEXTS
    assert texts(f"{s3.url}/deep", there) == [*TEXTS, "uno", "two"]
    with pytest.raises(ValueError, match=r"/none\.jsonl does not exist$"):
        texts(f"{s3.url}/none.jsonl", there)
    with pytest.raises(ValueError, match=r"/empty holds no file that ends in "):
        texts(f"{s3.url}/empty", there)


def test_a_changed_object_is_seen(s3, settings: Data):
    there = replace(settings, endpoint=s3.endpoint)
    s3.put("a.jsonl", LINES)
    assert texts(f"{s3.url}/a.jsonl", there) == TEXTS
    s3.put("a.jsonl", LINES.replace(b"one", b"uno"))
    assert texts(f"{s3.url}/a.jsonl", there) == ["uno", "two"]


def test_a_bucket_without_credentials(s3, settings: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"may not be read: "):
        texts(f"{s3.url}/a.jsonl", replace(settings, endpoint=s3.endpoint))
