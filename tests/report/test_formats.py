"""Every format holds the same table, and no text breaks out of it."""

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from rich.cells import cell_len
from rich.console import Console

from bench.records.schema import Record, Status
from bench.report.formats import FORMATS
from bench.report.table import Table, build
from bench.report.terminal import Sheet, print_table, render, render_terminal

Make = Callable[..., Record]
NASTY = '=HYPERLINK("x")|<b>&{a}_b%$#~^\\ ±'


@pytest.fixture
def table(make: Make) -> Table:
    records = [make(seed=s, loss=0.4 + s / 10, accuracy=0.7) for s in range(3)]
    nasty = make("prompt", status=Status.CRASHED)
    nasty.reason, nasty.failed_phase = NASTY, None
    return build([*records, make("sft", loss=0.3, accuracy=0.9, test=False), make("base", loss=6.0), nasty])


def rows_of(text: str) -> dict[str, dict[str, str]]:
    return {row["method"]: row for row in csv.DictReader(io.StringIO(text))}


def test_markdown(table: Table) -> None:
    lines = FORMATS["md"](table).splitlines()
    assert lines[0] == "### tiny-llama · pydoc · cpu-test-2 · short (300 steps)"
    grid = [line for line in lines if line.startswith("|")]
    assert grid[0].startswith("| method | trainable | share (%) | val. loss | accuracy |")
    assert grid[1].startswith("| --- | ---: |")
    assert grid[2].startswith("| base |")
    assert "| **0.300** | 0.900 ᵛ |" in grid[3], "what validation gave is never the best of a test"
    assert "0.500 ±0.248" in grid[4]
    columns = {len(re.findall(r"(?<!\\)\|", line)) for line in grid}
    assert len(columns) == 1, "a bar in a text is escaped"
    assert grid[5].endswith(r'| 0 | crashed: =HYPERLINK("x")\|\<b\>&{a}\_b%$#~^\\ ± |')
    assert any(line.startswith("- **Hardware**: Test CPU") for line in lines)


def test_csv_holds_plain_numbers_in_the_units_of_the_header(table: Table) -> None:
    rows = rows_of(FORMATS["csv"](table))
    assert list(rows) == ["base", "sft", "lora", "prompt"]
    lora = rows["lora"]
    assert lora["hardware"] == "cpu-test-2"
    assert lora["seeds"] == "3"
    assert float(lora["validation_loss_nats"]) == pytest.approx(0.5)
    assert float(lora["validation_loss_nats_ci95_low"]) == pytest.approx(0.2516, abs=1e-4)
    assert lora["peak_train_bytes"] == str(300 * 2**20)
    assert float(lora["step_median_s"]) == pytest.approx(0.1)
    assert lora["trainable_parameters"] == "164000"
    assert lora["disturbed"] == "0"
    assert rows["sft"]["test_accuracy"] == "", "a validation metric never stands in the column of the test"
    assert rows["sft"]["validation_accuracy"] == "0.9"
    assert "validation_loss_nats" in rows["sft"]["best_in"].split()
    assert rows["prompt"]["validation_loss_nats"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_csv_never_holds_a_formula(make: Make, start: str) -> None:
    record = make(method=f"{start}cmd|' /C calc'!A0", status=Status.FAILED)
    record.failed_phase, record.reason = None, "-2+3"
    (row,) = csv.DictReader(io.StringIO(FORMATS["csv"](build([record]))))
    assert row["method"] == f"'{start}cmd|' /C calc'!A0"
    assert row["reason"] == "'-2+3"


def test_csv_leaves_negative_numbers_numbers(make: Make) -> None:
    record = make()
    record.evaluation.forgetting = -0.25  # type: ignore[union-attr]
    assert rows_of(FORMATS["csv"](build([record])))["lora"]["forgetting_nats"] == "-0.25"


class Balanced(HTMLParser):
    """Fails on a tag that is not closed in order, and collects the texts of table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.best: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
            if ("class", "best") in attrs:
                self.best.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag == "meta"
        assert attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_html_is_one_well_formed_page_that_needs_nothing_else(table: Table) -> None:
    page = FORMATS["html"](table)
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert page.startswith("<!DOCTYPE html>")
    assert f"crashed: {NASTY}" in parser.cells
    assert "0.500 ±0.248" in parser.cells
    assert parser.best
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"<script|<link|src=|url\(|https?:", page)


def test_latex(table: Table) -> None:
    text = FORMATS["latex"](table)
    assert text.startswith("% \\usepackage{booktabs}")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    assert r"0.500 $\pm$0.248" in text
    assert r"\textbf{0.300}" in text
    assert r"0.900 \textsuperscript{v}" in text
    assert (
        r"crashed: =HYPERLINK(\textquotedbl{}x\textquotedbl{})\textbar{}\textless{}b\textgreater{}\&\{a\}\_b\%\$\#"
        r"\textasciitilde{}\textasciicircum{}\textbackslash{} $\pm$ \\"
    ) in text
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    columns = {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines() if line.endswith(r"\\")}
    assert len(columns) == 1
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_json(table: Table, make: Make) -> None:
    (section,) = json.loads(FORMATS["json"](table))["sections"]
    assert section["model"] == "tiny-llama"
    assert section["caption"]["Budget"] == "short (300 steps)"
    lora = next(row for row in section["rows"] if row["method"] == "lora")
    assert lora["seeds"] == [0, 1, 2]
    loss = lora["values"]["validation_loss_nats"]
    assert loss["value"] == pytest.approx(0.5)
    assert loss["ci95"] == pytest.approx([0.2516, 0.7484], abs=1e-4)
    assert not loss["best"]
    assert {"key": "tokens_per_s", "title": "tokens/s", "better": 1} in section["columns"]
    assert '"NaN"' in FORMATS["json"](build([make(loss=float("nan"))]))


@pytest.mark.parametrize("name", FORMATS)
def test_several_sections_stand_one_after_the_other(make: Make, name: str) -> None:
    text = FORMATS[name](build([make(), make("sft", budget__name="smoke", budget__steps=9)]))
    assert "short (300 steps)" in text
    assert "smoke (9 steps)" in text


@pytest.mark.parametrize("width", [80, 100, 120, 140, 300])
def test_the_terminal_table_fits_and_names_what_it_leaves_out(table: Table, width: int) -> None:
    text = render(table, width)
    assert max(map(len, text.splitlines())) <= width
    grid = text[: text.index("Model:")]
    assert all(label in grid for label in ("base", "lora", "sft", "prompt", "loss", "0.500 ±0.248", "crashed"))
    assert "…" not in grid, "no value is cut"
    section = table.sections[0]
    sheet = Sheet(section, Console(width=width))
    parts = [sheet.fit(block, ends=i == 0) for i, block in enumerate(sheet.blocks())]
    left_out = [column for _, missing in parts for column in missing]
    everything = [column.key for kept, missing in parts for column in [*kept, *missing]]
    assert sorted(everything) == sorted(c.key for c in section.shown)
    said = " ".join(text.split())
    assert ("Left out for want of width" in said) == bool(left_out)
    assert all(column.key in said for column in left_out)


def test_the_narrow_table_keeps_what_matters_most(table: Table) -> None:
    sheet = Sheet(table.sections[0], Console(width=80))
    keys = [c.key for i, block in enumerate(sheet.blocks()) for c in sheet.fit(block, ends=i == 0)[0]]
    peaks = {"peak_load_bytes", "peak_train_bytes", "peak_evaluate_bytes"}
    assert peaks | {"validation_loss_nats", "test_accuracy", "trainable_parameters", "tokens_per_s"} <= set(keys)
    assert "checkpoint_bytes" in keys


def test_a_wide_table_is_one_block_and_a_narrow_one_two(table: Table) -> None:
    assert len(Sheet(table.sections[0], Console(width=300)).blocks()) == 1
    quality, cost = Sheet(table.sections[0], Console(width=80)).blocks()
    assert all(column.quality for column in quality)
    assert not any(column.quality for column in cost)


def test_print_table_writes_to_the_console_it_is_given(make: Make) -> None:
    file = io.StringIO()
    print_table([make()], [None], Console(file=file, width=120))
    assert "tiny-llama · pydoc" in file.getvalue()
    assert "lora" in render_terminal([make()])


def test_text_in_brackets_is_no_markup_of_the_terminal(make: Make) -> None:
    record = make(status=Status.FAILED)
    record.reason = "[bold]shape[0][/bold]"
    assert "[bold]shape[0][/bold]" in render_terminal([record], width=300)


def test_a_very_narrow_table_keeps_the_metric_of_the_task_and_names_reasons_below(make: Make) -> None:
    failed = make("qlora", status=Status.FAILED, method__rank=16)
    failed.reason = "4-bit weights of this architecture cannot be trained on this machine"
    lora = [make(seed=seed, loss=0.5 + seed / 10, method__rank=32) for seed in range(2)]
    text = render(build([*lora, make(loss=0.7, method__rank=8), failed]), width=60)
    grid = text[: text.index("  qlora: failed: train: 4-bit weights")]
    assert max(map(len, text.splitlines())) <= 60
    assert "accuracy" in grid
    assert "4-bit" not in grid
    assert sum(line.startswith("qlora") for line in grid.splitlines()) == grid.count("method ")


@pytest.mark.parametrize("width", [60, 80, 300])
def test_chosen_columns_keep_their_order_on_the_terminal(make: Make, width: int) -> None:
    asked = [
        "tokens_per_s",
        "test_accuracy",
        "peak_train_bytes",
        "validation_loss_nats",
        "train_s",
        "trainable_percent",
    ]
    records = [make(seed=seed, loss=0.5 + seed / 10) for seed in range(3)]
    sheet = Sheet(build(records, select=asked).sections[0], Console(width=width))
    assert [column.key for block in sheet.blocks() for column in block] == asked
    assert [column.key for i, b in enumerate(sheet.blocks()) for column in sheet.fit(b, ends=i == 0)[0]] == asked


def test_a_wide_character_takes_two_columns(make: Make) -> None:
    lines = render(build([make("低秩"), make("sft")]), 200).splitlines()
    wide, narrow = (next(line for line in lines if line.startswith(name)) for name in ("低秩", "sft"))
    assert cell_len(wide[: wide.index("0.500")]) == cell_len(narrow[: narrow.index("0.500")])


def test_csv_has_every_field_once_whatever_is_asked_for(make: Make) -> None:
    text = FORMATS["csv"](build([make(), make(method__rank=4)], select=["method", "group", "status", "task", "seed"]))
    header = text.splitlines()[0].split(",")
    assert len(header) == len(set(header))
    assert set(rows_of(text)) == {"lora (method.rank=8)", "lora (method.rank=4)"}
