"""The report page as text: what it says, what it lets through, and the files of its plots."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from bench import capabilities
from bench.__main__ import main
from bench.records.schema import Status
from bench.records.store import append_line
from bench.report.page import charts, curves, figures
from bench.report.page.render import Origin, report
from bench.report.page.runs import BYTES, LINES, log_tail
from bench.report.page.settings import memory_rows, throughput_rows
from bench.report.page.summary import sentences
from bench.report.table import build

MIB = 2**20


def made(records, folders=None) -> str:
    return report(build(records, folders), Origin("results", []))


def test_the_policy_names_exactly_the_page_s_scripts(make):
    text = made([make()])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    assert len(hashes) == 2
    assert re.findall(r"'sha256-([^']*)'", policy) == hashes
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_data_cannot_end_its_element_and_comes_back_as_it_was(make):
    record = make()
    record.reason = "</script><!-- <script> & \u2028 'x' \"y\""
    record.status = Status.FAILED
    text = made([record])
    inside = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    assert not set("<>&\u2028") & set(inside)
    assert json.loads(inside)["runs"][0]["reason"] == record.reason


def test_a_diverged_loss_is_text_in_the_data(make):
    record = make(status=Status.DIVERGED, loss=float("nan"))
    inside = re.search(r'id="data">(.*?)</script>', made([record]), re.DOTALL)[1]
    assert json.loads(inside)["runs"][0]["status"] == "diverged"


def test_runs_share_their_environment_and_configuration(make):
    inside = re.search(r'id="data">(.*?)</script>', made([make(seed=s) for s in range(4)]), re.DOTALL)[1]
    data = json.loads(inside)
    assert len(data["runs"]) == 4
    assert len(data["parts"]) == 3
    assert data["parts"][data["runs"][3]["environment"]]["device_name"] == "Test CPU"


def test_the_summary_names_the_best_what_it_costs_and_what_failed(make):
    records = [
        make("base", accuracy=0.5),
        *[make("lora", seed=s, accuracy=0.7 + s / 100, peak=200 * MIB, step=0.1) for s in range(3)],
        *[make("full", seed=s, accuracy=0.9 + s / 100, peak=400 * MIB, step=0.2) for s in range(3)],
        make("bad", accuracy=0.4, peak=300 * MIB, step=0.3),
        make("huge", status=Status.OOM),
    ]
    found = sentences(build(records).sections[0])
    assert found[0].startswith("Best accuracy: full, 0.910 ±0.025; the untouched model has 0.500")
    assert "Not better than the untouched model: bad." in found
    assert "Least memory in training: lora, 200.0 MiB; among the best: full, 400.0 MiB." in found
    assert "1 of 5 configurations gave no result: huge (oom)." in found


def test_the_page_says_what_its_methods_can_do(make):
    text = made([make("base"), make("prefix"), make("somebody-s")])
    part = re.search(r'<section id="capabilities">.*?</section>', text, re.DOTALL)[0]
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", part, re.DOTALL)]
    known = capabilities.known()["prefix"].cells()
    unknown = capabilities.NOT_PROBED
    assert rows == [["method", *capabilities.HEADERS], ["prefix", *known], ["somebody-s", unknown]]
    assert 'id="capabilities"' not in made([make("base")])


def test_a_loss_curve_is_the_mean_and_the_range_of_the_seeds(make, store):
    records = [make(seed=s) for s in (0, 1)]
    folders = [store(record) for record in records]
    for seed, folder in enumerate(folders):
        for step in (1, 2, 3)[: 3 - seed]:  # the second seed stops a step earlier
            line = {"step": step, "loss": step + seed, "tokens": 10, "seconds": 0.5 + seed}
            append_line(folder / "steps.jsonl", line)
    group = build(records, folders).sections[0].rows[0].group
    assert curves.curve(group) == {
        "steps": [1, 2], "tokens": [10, 20], "seconds": [1.0, 2.0],
        "mean": [1.5, 2.5], "low": [1, 2], "high": [2, 3],
    }  # fmt: skip


def test_a_long_curve_is_averaged_over_neighbours_and_one_that_diverges_stops(make, store):
    record = make()
    folder = store(record)
    for step in range(1, 2 * curves.POINTS + 1):
        append_line(folder / "steps.jsonl", {"step": step, "loss": step % 2, "tokens": 1, "seconds": 1})
    append_line(
        folder / "steps.jsonl", {"step": 2 * curves.POINTS + 1, "loss": float("nan"), "tokens": 1, "seconds": 1}
    )
    curve = curves.curve(build([record], [folder]).sections[0].rows[0].group)
    assert len(curve["steps"]) == curves.POINTS
    assert set(curve["mean"]) == {0.5}
    assert curve["tokens"][-1] == 2 * curves.POINTS


def test_stacked_memory_adds_up_to_the_highest_peak(make):
    section = build([make(peak=300 * MIB)]).sections[0]
    rows = memory_rows(section)
    assert [(row["phase"], round(row["added"])) for row in rows] == [("load", 150), ("train", 150), ("evaluate", 0)]
    assert rows[2]["shown"] == "100.0 MiB"


def test_methods_differ_in_colour_or_shape(make):
    labels = [f"m{n}" for n in range(len(charts.COLOURS) * len(charts.SHAPES))]
    styles = charts.styles(["base", *labels], ["base"])
    assert len({(each["color"], each["shape"]) for each in styles}) == len(styles)
    assert styles[0]["color"] == charts.BASE_COLOUR


def test_the_end_of_a_long_log_is_kept(tmp_path: Path):
    (tmp_path / "worker.log").write_bytes(b"\xff" + "\n".join(f"line {n}" for n in range(10_000)).encode())
    lines = log_tail(tmp_path).splitlines()
    assert lines[-1] == "line 9999"
    assert len(lines) == LINES
    assert sum(map(len, lines)) <= BYTES
    assert log_tail(tmp_path / "absent") == ""


def test_figures_are_pictures_with_the_names_of_the_methods(make, store, tmp_path: Path):
    records = [make("lora"), make("prefix", accuracy=0.6)]
    folders = [store(record) for record in records]
    append_line(folders[0] / "steps.jsonl", {"step": 1, "loss": 2.0, "tokens": 10, "seconds": 0.1})
    written = figures.write(build(records, folders), tmp_path / "figures")
    names = [path.name for path in written]
    assert [name.rpartition("-")[2] for name in names] == [
        f"{name}.{ending}" for name in ("pareto", "loss", "memory", "throughput") for ending in ("svg", "png")
    ]
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG")
        else:
            assert content.startswith(b"<svg")
            assert b">lora<" in content


def test_figures_of_every_section_have_names_of_their_own(make, tmp_path: Path):
    records = []
    for model in ("Modell_a", "modell-A", "модель", "m" * 150 + "1", "m" * 150 + "2"):
        record = make(model__name=model)
        record.model = model
        records.append(record)
    table = build(records)
    written = figures.write(table, tmp_path)
    assert len({path.name.lower() for path in written}) == len(written) == len(list(tmp_path.iterdir()))
    assert any("модель" in path.name for path in written)


def test_the_summary_passes_over_what_is_no_number(make):
    records = [make("a", accuracy=float("nan")), make("b", accuracy=float("inf")), make("c", accuracy=0.7)]
    section = build([*records, make("d", accuracy=0.5)]).sections[0]
    assert sentences(section)[0] == "Best accuracy: c, 0.700."


def test_what_failed_has_no_throughput_and_faint_memory(make):
    failed = make("huge", status=Status.OOM)
    failed.training = make().training
    section = build([make(), failed]).sections[0]
    assert [row["label"] for row in throughput_rows(section)] == ["lora"]
    assert {(row["label"], row["ok"]) for row in memory_rows(section)} == {("lora", True), ("huge", False)}


def test_the_command_writes_the_page_and_says_so(make, store, tmp_path: Path, monkeypatch, capsys):
    store(make())
    (tmp_path / "runs" / "cpu" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "cpu" / "x" / "record.json").write_text("[]")
    out = tmp_path / "deep" / "page.html"
    monkeypatch.setattr("sys.argv", ["tunebench", "report", str(tmp_path), "--out", str(out)])
    assert main() == 0
    said = capsys.readouterr().err
    assert "x/record.json" in said
    assert f"wrote {out}" in said
    text = out.read_text(encoding="utf-8")
    assert "x/record.json" in text
    assert "tiny-llama · pydoc" in text
    assert "http://" not in text.partition('id="data"')[0]  # nothing is fetched from anywhere


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "/proc/none/page.html"], "cannot write /proc/none/page.html"),
        (["nowhere"], "there is no file or folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tunebench", "report", *arguments])
    assert main() == 2
    said = capsys.readouterr().err
    assert said.startswith("tunebench report: ")
    assert message in said
    assert said.count("\n") == 1
