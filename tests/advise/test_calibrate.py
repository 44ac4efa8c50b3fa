"""Calibration: the probes against what is known beforehand, and the card that is made of what they find."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from bench.advise import calibrate, cards
from bench.advise.units import GIB
from bench.measure.environment import cpu_cores, hardware_name
from bench.trace import calibrate as probes

FOUND = {
    "facts": {"device_name": "NVIDIA L40S", "memory_bytes": 44 * GIB},
    "context": GIB // 2,
    "float32": [40e12, 45.8e12, 60e12],
    "bfloat16": [181e12, 217.2e12, 253.4e12],
    "memory": [648e9, 734.4e9],
    "kernel": 2.5e-6,
    "host": 6e-6,
    "optimizer": 604.8e9,
    "busy": 0.0,
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cards.VARIABLE, str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of a hundredth of a second on little data."""
    monkeypatch.setattr(probes, "PROBE_S", 0.01)
    monkeypatch.setattr(probes, "PRODUCTS", {"cpu": ((64, 64, 64), (128, 128, 128))})
    monkeypatch.setattr(probes, "ELEMENTS", {"cpu": 2**18})


@pytest.mark.usefixtures("small")
def test_a_probe_tells_the_time_of_what_it_is_given():
    assert 0.01 <= probes.Probe("cpu").seconds(lambda: time.sleep(0.01)) < 0.015


@pytest.mark.usefixtures("small")
def test_rates_are_work_over_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes.Probe, "seconds", lambda self, work: (work(), 0.5)[1])
    probe = probes.Probe("cpu")
    assert probe.matmul(torch.float32) == [2 * 64**3 / 0.5, 2 * 128**3 / 0.5]
    assert probe.memory() == [2 * 4 * 2**18 / 0.5, 3 * 4 * 2**18 / 0.5]
    # AdamW reads parameter, gradient and two moments and writes all but the gradient
    assert probe.optimizer() == pytest.approx((4 + 3) * 4 * 2**16 / 0.5, rel=1e-4)


@pytest.mark.usefixtures("small")
def test_the_host_s_time_is_for_each_operation_that_is_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probes.Probe, "seconds", lambda self, work: 1.0)
    operations = 1 / probes.Probe("cpu").host()
    assert 24 < operations < 24 * 20  # 24 layers, forward and backward


@pytest.mark.usefixtures("small")
def test_the_child_tells_each_probe_before_and_after(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "argv", ["calibrate", "cpu"])
    with torch.no_grad():  # so that whatever the probes switch on is off again
        probes.main()
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["probe"] for event in events if "found" not in event] == list(calibrate.ABOUT)
    found = {event["probe"]: event["found"] for event in events if "found" in event}
    assert found.keys() == {*calibrate.ABOUT, "busy"}
    name, facts = calibrate.described("cpu", found, "2026-01-02")
    card = cards.card_from(facts, name)
    assert (card.name, card.family, card.calibrated) == (hardware_name("cpu"), "cpu", "2026-01-02")
    assert card.memory_bytes == pytest.approx(psutil.virtual_memory().total, rel=1e-2)
    assert 0 < card.constants.kernel_s < 1e-2
    assert 0 < card.constants.host_s < 1e-2


def test_of_a_card_in_the_table_the_facts_stay_and_the_shares_are_measured():
    name, facts = calibrate.described("cuda", FOUND, "2026-01-02")
    card, nominal = cards.card_from(facts, name), cards.load("l40s")
    assert (name, card.title, card.half_flops, card.bandwidth) == (
        "l40s",
        "L40S",
        nominal.half_flops,
        nominal.bandwidth,
    )
    assert (card.memory_bytes, card.context_bytes) == (44 * GIB, GIB // 2)
    constants = card.constants
    assert (constants.matmul, constants.bandwidth, constants.optimizer) == pytest.approx((0.6, 0.8, 0.7))
    assert (constants.kernel_s, constants.host_s, constants.evidence) == (2.5e-6, 6e-6, "calibrated")


def test_of_any_other_device_the_best_that_was_measured_stands_for_the_peak():
    found = FOUND | {"facts": {"device_name": "NVIDIA Unheard 9000", "memory_bytes": 20 * GIB}}
    _, facts = calibrate.described("cuda", found, "2026-01-02")
    card = cards.card_from(facts, "x")
    assert (card.title, card.nominal_gb) == ("NVIDIA Unheard 9000", 20)
    assert (card.half_flops, card.float32_flops, card.bandwidth) == pytest.approx((253.4e12, 60e12, 734.4e9))
    assert card.constants.matmul == pytest.approx(217.2 / 253.4, rel=1e-3)


def test_a_context_that_could_not_be_measured_stays_an_estimate():
    name, facts = calibrate.described("cuda", FOUND | {"context": None}, "2026-01-02")
    assert cards.card_from(facts, name).context_bytes == cards.load("l40s").context_bytes


def _main(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], *arguments: str) -> int:
    monkeypatch.setattr(
        calibrate, "measure", lambda device, progress: [progress(name) for name in calibrate.ABOUT] and found
    )
    return calibrate.main(["--device", "cuda", *arguments])


def test_the_card_is_written_where_it_is_found_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
):
    assert _main(monkeypatch, FOUND) == 0
    out, err = capsys.readouterr()
    assert "matrix products reach 60% of the peak, memory 80%, the optimizer's step 70%" in out
    assert "an operation takes the device at least 2.5 us and the host 6.0 us" in out
    assert out.endswith(f"written to {data / 'cards' / 'l40s.yaml'}\n")
    assert "busy" not in out
    assert err.splitlines() == [f"  {text} ..." for text in calibrate.ABOUT.values()]
    card = cards.load("NVIDIA L40S")
    assert card.constants.evidence == "calibrated"
    assert card.summary() in out


def test_what_was_measured_on_a_busy_machine_is_not_kept_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
):
    busy = FOUND | {"busy": 0.5 * cpu_cores()}
    assert _main(monkeypatch, busy) == 2
    message = f"other programs kept {0.5 * cpu_cores():.1f} cores busy: nothing is written without --out"
    assert capsys.readouterr().err.splitlines()[-1] == f"tunebench calibrate: {message}"
    assert not data.exists()
    assert _main(monkeypatch, busy, "--out", str(data / "new" / "mine.yaml")) == 0
    written = (data / "new" / "mine.yaml").read_text(encoding="utf-8")
    assert written.startswith("# L40S\n# Measured by `tunebench calibrate` on ")


def test_what_cannot_be_written_or_measured_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    assert _main(monkeypatch, FOUND, "--out", str(tmp_path)) == 2
    assert capsys.readouterr().err.endswith(f"tunebench calibrate: cannot write {tmp_path}: Is a directory\n")


def test_a_device_that_is_not_there_is_one_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert calibrate.main(["--device", "cuda"]) == 2
    message = "tunebench calibrate: cuda could not be measured: torch finds no such device here\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.slow
def test_this_machine_is_measured_in_under_three_minutes():
    began = time.monotonic()
    file = cards.own_folder() / f"{hardware_name('cpu')}.yaml"
    assert calibrate.main(["--device", "cpu", "--out", str(file)]) == 0  # busy or not
    assert time.monotonic() - began < 180
    card = cards.here("cpu")
    assert card is not None
    assert (card.name, card.constants.evidence) == (hardware_name("cpu"), "calibrated")
    assert 1e9 < card.float32_flops < 1e14
    assert 1e9 < card.bandwidth < 1e12
    assert 1e-7 < card.constants.host_s < 1e-3
