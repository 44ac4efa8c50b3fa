"""The report page in a real browser: what it draws, what its controls do, and that it lets nothing in or out."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bench.records.schema import Status
from bench.records.store import run_folder, scan, write
from tests.browser.conftest import write_report
from tests.report.conftest import make_record

pytestmark = pytest.mark.browser

CHARTS = ("pareto", "loss", "memory", "throughput")
EVIL = "<script>alert(1)</script>"


def opened(page: Page, address: str, charts: tuple[str, ...] = CHARTS) -> Page:
    page.goto(address)
    for name in charts:
        page.locator(f"#{name} .chart svg.marks").first.wait_for()
    return page


def cells(page: Page, section: int, header: str) -> list[str]:
    """The values of a column, as `data-value` has them, from top to bottom."""
    table = page.locator("section.setting").nth(section).locator("table")
    titles = table.locator("thead th").all_inner_texts()
    index = next(i for i, title in enumerate(titles) if title.split("\n")[0].strip() == header)
    rows = table.locator("tbody tr")
    return [rows.nth(i).locator("th, td").nth(index).get_attribute("data-value") or "" for i in range(rows.count())]


def test_all_plots_are_drawn_without_an_error_or_a_request(page: Page, address: str):
    opened(page, address)
    assert page.locator("section.setting").count() == 5
    assert (
        page.locator("#loss .chart svg path.mark-area, #loss .chart svg .mark-area path").count() > 0
    )  # the seeds' bands


def test_a_click_on_a_heading_sorts_and_failures_stay_last(page: Page, address: str):
    opened(page, address)
    first = page.locator("section.setting").first
    heading = first.get_by_role("button", name="math", exact=True)
    heading.click()
    values = cells(page, 0, "math")
    numbers = [float(value) for value in values if value]
    assert len(numbers) > 5
    assert numbers == sorted(numbers, reverse=True)
    assert values[len(numbers) :] == [""] * (len(values) - len(numbers))
    assert "failed" in (first.locator("tbody tr").last.get_attribute("class") or "")
    expect(first.locator("th[aria-sort=descending]")).to_have_count(1)
    heading.click()
    again = [float(value) for value in cells(page, 0, "math") if value]
    assert again == sorted(numbers)
    first.get_by_role("button", name="method", exact=True).click()
    labels = first.locator("tbody tr.method th, tbody tr.base th").all_inner_texts()
    assert labels == sorted(labels, key=str.lower)


def test_the_first_click_puts_the_best_on_top(page: Page, address: str):
    opened(page, address)
    page.locator("section.setting").first.get_by_role("button", name="val. loss", exact=True).click()
    numbers = [float(value) for value in cells(page, 0, "val. loss") if value]
    assert numbers == sorted(numbers)


def test_a_link_to_what_is_filtered_out_shows_it(page: Page, address: str):
    opened(page, address)
    page.locator("[data-filter=task]").select_option("pydoc")
    hidden = page.locator("section.setting", has_text="gsm8k").first
    expect(hidden).to_be_hidden()
    page.goto(f"{address}#{hidden.get_attribute('id')}")
    expect(hidden).to_be_visible()
    expect(page.locator("[data-filter=task]")).to_have_value("")


def test_what_was_chosen_on_one_report_says_nothing_of_another(page: Page, address: str, sweep: Path, tmp_path: Path):
    opened(page, address)
    page.locator("[data-filter=method]").select_option("lora")
    expect(page.locator(".words").first).to_be_hidden()  # they speak of all methods
    page.reload()
    expect(page.locator("[data-filter=method]")).to_have_value("lora")
    opened(page, write_report(sweep, tmp_path / "other.html"))
    expect(page.locator("[data-filter=method]")).to_have_value("")


def test_filters_hide_settings_and_rows_but_never_the_base(page: Page, address: str):
    opened(page, address)
    page.locator("[data-filter=task]").select_option("pydoc")
    page.locator("[data-filter=method]").select_option("lora")
    shown = page.locator("section.setting:visible")
    assert all("pydoc" in title for title in shown.locator("h2").all_inner_texts())
    assert 0 < shown.count() < 5
    labels = shown.first.locator("tbody tr:visible th").all_inner_texts()
    assert labels[0] == "base"
    assert len(labels) > 1
    assert all(label.startswith("lora") for label in labels[1:])
    expect(page.locator("#throughput .chart")).not_to_contain_text("prompt")
    assert page.locator("#setting option").count() == shown.count()


def test_the_axes_of_the_pareto_plot_can_be_chosen(page: Page, address: str):
    opened(page, address)
    expect(page.locator("#pareto .chart")).to_contain_text("mem. train")
    page.locator("[data-axis=x]").select_option("tokens_per_s")
    page.locator("[data-axis=y]").select_option("validation_loss_nats")
    expect(page.locator("#pareto .chart")).to_contain_text("tokens/s (more is better)")
    expect(page.locator("#pareto .chart")).to_contain_text("val. loss (less is better)")
    # Among these rows the front is what no other row beats in both.
    expected = page.evaluate(
        """() => {
          const section = data.sections[byId("setting").value];
          const points = section.rows
            .map(({ label, values }) => [label, values.tokens_per_s, values.validation_loss_nats])
            .filter(([label, x, y]) => x && y);
          return points.filter(([label, x, y]) => !points.some(([other, u, v]) =>
            u[0] >= x[0] && v[0] <= y[0] && (u[0] > x[0] || v[0] < y[0]))).map(([label]) => label).sort();
        }"""
    )
    drawn = page.locator("#pareto .chart svg .mark-text.role-mark text").all_text_contents()
    assert sorted(text for text in drawn if text) == expected


def test_loss_curves_run_over_steps_tokens_and_seconds(page: Page, address: str):
    opened(page, address)
    for over, title in (("tokens", "non-padding tokens"), ("seconds", "seconds of step time"), ("steps", "steps")):
        page.locator("[data-over]").select_option(over)
        expect(page.locator("#loss .chart")).to_contain_text(title)
    smooth = page.locator("#loss .chart svg .mark-line path").first.get_attribute("d")
    page.locator("[data-smooth]").select_option("")
    page.wait_for_function(
        "before => document.querySelector('#loss .chart svg .mark-line path')?.getAttribute('d') !== before", arg=smooth
    )


def test_a_run_has_a_page_with_its_configuration_environment_and_log(page: Page, address: str):
    opened(page, address)
    page.locator("section.setting tbody tr.method a").first.click()
    expect(page.locator("#overview")).to_be_hidden()
    run = page.locator("#run")
    expect(run.locator("h2")).to_contain_text("-s")
    for part in ("Configuration", "Environment", "Log (its end)", "What it gives", "Training", "Phases"):
        expect(run.get_by_text(part, exact=True)).to_be_visible()
    run.get_by_text("Configuration", exact=True).click()
    expect(run.get_by_text("budget.steps", exact=True)).to_be_visible()
    run.locator("a", has_text="seed").first.click()
    expect(run.locator("h2")).to_contain_text("-s")
    run.locator("a", has_text="←").click()
    expect(page.locator("#overview")).to_be_visible()
    expect(page.locator("#run")).to_be_hidden()


def test_a_name_that_is_markup_is_shown_as_text(page: Page, tmp_path: Path):
    record = make_record(method=EVIL, model__name=EVIL)
    record.model = record.task = EVIL
    record.reason = record.traceback = "</script>" + EVIL
    record.history = [EVIL]
    record.run_id = "evil"
    for each in (record, make_record(method="base"), make_record()):
        write(each, run_folder(tmp_path, "cpu", each.run_id))
    (run_folder(tmp_path, "cpu", "evil") / "worker.log").write_text(f"<!--{EVIL}", encoding="utf-8")
    opened(page, write_report(tmp_path, tmp_path / "report.html"), ("throughput",))
    expect(page.locator("h2", has_text=EVIL)).to_be_visible()
    assert page.locator("script").count() == 3
    page.locator("[data-filter=model]").select_option(EVIL)
    expect(page.locator("#throughput .chart")).to_contain_text("<script>alert(1)")
    page.locator("section.setting:visible tbody tr.method a").first.click()
    expect(page.locator("#run")).to_contain_text(EVIL)
    assert page.locator("script").count() == 3


def test_it_fits_a_phone_and_has_a_dark_theme(page: Page, address: str):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.get_by_role("button", name="theme: system").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
    page.locator("section.setting tbody a").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_folder_without_records_says_so(page: Page, tmp_path: Path):
    page.goto(write_report(tmp_path, tmp_path / "report.html"))
    expect(page.locator("main").first).to_contain_text("There are no records in")


def test_a_sweep_of_failures_and_a_base_alone_are_shown(page: Page, tmp_path: Path):
    for name, records in (("failed", [make_record(m, status=Status.OOM) for m in ("lora", "full")]),
                          ("base", [make_record("base")])):  # fmt: skip
        for each in records:
            write(each, run_folder(tmp_path / name, "cpu", each.run_id))
        page.goto(write_report(tmp_path / name, tmp_path / f"{name}.html"))
        page.locator("#memory .chart svg.marks").wait_for()
        expect(page.locator("#pareto")).to_be_hidden()
        assert page.locator("section.setting tbody tr").count() == len(records)


def test_sixty_methods_have_sixty_marks(page: Page, tmp_path: Path):
    for n in range(60):
        each = make_record(f"method-{n}", accuracy=0.5 + n / 200, peak=(100 + n) * 2**20)
        write(each, run_folder(tmp_path, "cpu", each.run_id))
    opened(page, write_report(tmp_path, tmp_path / "report.html"), ("pareto", "throughput"))
    assert page.locator("#pareto .chart svg .mark-symbol.role-mark path").count() == 60
    assert page.locator("#pareto .chart svg .role-legend-symbol path").count() == 60


def test_a_damaged_record_is_named_and_the_rest_shown(page: Page, tmp_path: Path):
    for each in (make_record(), make_record(method="full")):
        write(each, run_folder(tmp_path, "cpu", each.run_id))
    (tmp_path / "runs" / "cpu" / "x").mkdir()
    (tmp_path / "runs" / "cpu" / "x" / "record.json").write_text("{")
    opened(page, write_report(tmp_path, tmp_path / "report.html"), ("throughput",))
    expect(page.get_by_text("x/record.json")).to_be_visible()
    assert page.locator("section.setting tbody tr").count() == 2


def test_every_row_of_every_setting_is_a_link_to_its_runs(page: Page, address: str, sweep: Path):
    opened(page, address)
    found, _ = scan([sweep])
    links = page.locator("section.setting tbody td a")
    assert links.count() == len(found)
