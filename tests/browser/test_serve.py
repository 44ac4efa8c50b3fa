"""`tunebench serve` in a real browser: the page follows the results."""

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bench.records.store import run_folder, write
from tests.report.conftest import make_record

pytestmark = pytest.mark.browser


def keep(results: Path, method: str) -> None:
    record = make_record(method=method)
    write(record, run_folder(results, "cpu-test-2", record.run_id))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the results in `tmp_path`."""
    keep(tmp_path, "lora")
    command = [sys.executable, "-m", "bench", "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        yield process.stderr.readline().split()[1]
        process.terminate()


def test_the_page_shows_a_new_record_by_itself(page: Page, server: str, tmp_path: Path):
    page.allowed = (server, "data:")  # type: ignore[attr-defined]
    page.goto(server)
    expect(page.locator("section.setting tbody tr")).to_have_count(1)
    page.get_by_role("button", name="theme").click()
    keep(tmp_path, "prefix")
    expect(page.locator("section.setting tbody tr")).to_have_count(2, timeout=15_000)
    expect(page.get_by_role("button", name="theme: light")).to_be_visible()  # what was chosen stays


def test_other_names_and_other_paths_are_refused(server: str):
    port = int(server.rstrip("/").rpartition(":")[2])
    for host, path, expected in ((f"127.0.0.1:{port}", "/", 200), (f"evil.example:{port}", "/", 403),
                                 (f"localhost:{port}", "/../../etc/passwd", 404)):  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Host": host})
        assert connection.getresponse().status == expected
        connection.close()
