"""The page's part that says which method fits which card: what it shows is what the advisor's own figures say."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bench.advise import cli
from bench.records.store import run_folder, write
from tests.advise.conftest import FakeTracer
from tests.browser.conftest import write_report
from tests.report.conftest import make_record

pytestmark = pytest.mark.browser
ASK = ("--model", "tiny-llama", "--task", "pydoc", "--examples", "1000")


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A report of one run of the model that the advisor was asked about."""
    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TUNEBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "answers", FakeTracer())
    assert cli.main([*ASK, "--gpu", "rtx-4090"]) == 0
    record = make_record("lora")
    write(record, run_folder(tmp_path / "results", "cpu-test-2", record.run_id))
    return write_report(tmp_path / "results", tmp_path / "report.html")


def shown(page: Page) -> dict[str, list[str]]:
    rows = page.locator("#advice tbody tr")
    cells = [rows.nth(place).locator("th, td").all_inner_texts() for place in range(rows.count())]
    return {name: rest for name, *rest in cells}


def test_it_shows_what_the_advisor_says_of_the_card(page: Page, address: str, capsys: pytest.CaptureFixture[str]):
    page.goto(address)
    for card in ("rtx-4090", "a100-80gb", "b200"):
        page.locator("#card").select_option(card)
        capsys.readouterr()
        assert cli.main([*ASK, "--gpu", card, "--json"]) == 0
        told = {each["candidate"]: each["predicted"] for each in json.loads(capsys.readouterr().out)["candidates"]}
        rows = shown(page)
        assert rows.keys() == told.keys()
        for name, (_, memory, *_rest, verdict) in rows.items():
            assert verdict == told[name]["verdict"]
            assert float(memory.split()[0]) <= told[name]["device_bytes"]["value"] / 2**30 + 0.06


def test_more_examples_take_longer(page: Page, address: str):
    page.goto(address)
    before = {name: float(cells[2].split()[0]) for name, cells in shown(page).items()}
    page.locator("#examples").fill("1000000")
    after = {name: float(cells[2].split()[0]) for name, cells in shown(page).items()}
    assert all(after[name] > 500 * before[name] for name in before)


def test_without_an_answer_for_its_models_the_page_has_no_such_part(page: Page, address: str, tmp_path: Path):
    record = make_record("lora")
    record.model = "another"
    write(record, run_folder(tmp_path / "others", "cpu-test-2", record.run_id))
    page.goto(write_report(tmp_path / "others", tmp_path / "others.html"))
    expect(page.locator("#plots")).to_be_visible()
    expect(page.locator("#advice")).to_have_count(0)
