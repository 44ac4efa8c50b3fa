"""`tunebench new-method`: what it writes keeps the contract as it stands; what it cannot write, it refuses."""

from pathlib import Path

import pytest

import bench.method
from bench import scaffold


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scaffolded"
    folder.mkdir()
    bench.method.discover()
    monkeypatch.setattr(bench.method, "_registry", dict(bench.method._registry))  # forgets what a test registers
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_what_is_written_keeps_the_contract(package: Path, capsys: pytest.CaptureFixture[str]):
    assert scaffold.main(["my-method", "--folder", str(package)]) == 0
    test = package.parent / "tests" / "methods" / "test_my_method.py"
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {package / 'my_method.py'}",
        f"wrote {test}",
        f"wrote {package / 'my_method.md'}",
        "next: in pyproject.toml:",
        '      [project.entry-points."tunebench.methods"]',
        '      my-method = "scaffolded.my_method"',
        "      pip install -e .",
        "      tunebench check method=my-method",
        "      tunebench sweep method=lora,my-method",
    ]
    assert (package / "my_method.md").read_text(encoding="utf-8").startswith("# MyMethod\n")
    ini = package.parent / "pytest.ini"
    ini.write_text("[pytest]\n")

    outcomes: list[str] = []

    class Count:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.when == "call":
                outcomes.append(report.outcome)

    assert pytest.main(["-q", "-c", str(ini), "-p", "no:cacheprovider", str(test)], plugins=[Count()]) == 0
    assert outcomes == ["passed"] * 5
    assert bench.method.get("my-method")(scale=2.0).title() == "my-method"


@pytest.mark.parametrize("name", ["Mine", "2nd", "a b", "a_b", "-x", "x-", "base", "ä", "", "class"])
def test_a_bad_name_is_refused(name: str, package: Path, capsys: pytest.CaptureFixture[str]):
    assert scaffold.main(["--folder", str(package), "--", name]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"tunebench new-method: {name!r} cannot name a method; use lower-case letters, digits and '-', "
        "beginning with a letter\n"
    )
    assert not list(package.iterdir())


def test_a_taken_name_or_file_is_refused(package: Path, capsys: pytest.CaptureFixture[str]):
    assert scaffold.main(["lora", "--folder", str(package)]) == 2
    assert capsys.readouterr().err == "tunebench new-method: there is a method 'lora' already\n"
    (package / "mine.py").write_text("kept")
    assert scaffold.main(["mine", "--folder", str(package)]) == 2
    assert capsys.readouterr().err == f"tunebench new-method: {package / 'mine.py'} exists already\n"
    assert (package / "mine.py").read_text() == "kept"


def test_a_missing_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert scaffold.main(["mine"]) == 2
    assert capsys.readouterr().err == (
        "tunebench new-method: there is no folder methods; run this in a checkout, "
        "or name your package's folder with --folder\n"
    )
