"""A headless Chromium whose pages note every error and every request."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from bench.records.store import scan
from bench.report.page.render import Origin, report
from bench.report.table import build
from tests.benchmarks.synthetic import make_store

CHROMIUM = os.environ.get("TUNEBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page at 1440 pixels; after the test it has had no error, and asked for nothing but `page.allowed`."""
    made = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    errors: list[str] = []
    requests: list[str] = []
    made.allowed = ("file:", "data:", "blob:")  # type: ignore[attr-defined]
    made.on("console", lambda message: message.type in ("error", "warning") and errors.append(message.text))
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("dialog", lambda dialog: (errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    made.on("request", lambda request: requests.append(request.url))
    yield made
    assert errors == []
    assert [url for url in requests if not url.startswith(made.allowed)] == []  # type: ignore[attr-defined]
    made.context.close()


def write_report(results: Path, where: Path) -> str:
    """Writes the report of `results` to `where`; returns its address."""
    found, damaged = scan([results])
    table = build(list(found.values()), list(found))
    where.write_text(report(table, Origin(str(results), [str(each) for each in damaged])), encoding="utf-8")
    return where.as_uri()


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic sweep of 200 runs over several settings, some of them failures."""
    folder = tmp_path_factory.mktemp("sweep")
    make_store(folder, 200, details=True)
    return folder


@pytest.fixture(scope="session")
def address(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of that sweep's report."""
    return write_report(sweep, tmp_path_factory.mktemp("page") / "report.html")
