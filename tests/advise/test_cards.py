"""The cards: files of facts, names as people and drivers spell them, and the card of the machine at hand."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from bench import listing
from bench.advise import cards, cli
from bench.advise.card import FAMILIES, Card, card_from
from bench.advise.units import GIB
from bench.launch import gpus
from bench.launch.gpus import Gpu

FILES = sorted(cards.SHIPPED.glob("*.yaml"))
FACTS = {
    "title": "Mine", "family": "cuda", "nominal_gb": 20, "memory_gib": 19.5, "bandwidth_gb_s": 500,
    "half_tflops": 80, "float32_tflops": 40,
}  # fmt: skip


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """An empty data folder; the fixture writes a card of the user's own into it."""
    monkeypatch.setenv(cards.VARIABLE, str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def write(name: str, **facts: object) -> None:
        (tmp_path / "cards").mkdir(exist_ok=True)
        (tmp_path / "cards" / f"{name}.yaml").write_text(yaml.safe_dump(FACTS | facts), encoding="utf-8")

    return write


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_a_card_with_facts_that_can_be(file: Path):
    card = cards.load(file.stem)
    assert card.name == file.stem
    assert card.family in FAMILIES
    assert 0.6 * card.nominal_gb < card.memory_bytes / GIB <= card.nominal_gb
    assert 40e9 < card.bandwidth < 10e12
    assert 0.5e12 < card.float32_flops <= card.half_flops < 3e15
    operations_per_byte = card.half_flops / card.bandwidth  # the ridge of the roofline: of no device far from these
    assert 10 < operations_per_byte < 450
    assert card.context_bytes == 0 if card.unified_memory else 0.3 <= card.context_bytes / GIB <= 1.5
    assert card.constants.evidence == "default"
    first, second, *_ = file.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ")
    assert second.startswith("# Source: ")


def test_the_cards_that_the_documentation_promises_are_there():
    assert {card.name for card in cards.listed()} == {file.stem for file in FILES} >= {
        "rtx-3060-12gb", "rtx-3090", "rtx-4060-ti-16gb", "rtx-4090", "rtx-5090", "t4", "l4", "a10g", "l40s",
        "a100-40gb", "a100-80gb", "h100", "h200", "b200", "mi300x", "apple-m3-max-64gb", "cpu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("RTX 4090", "rtx-4090"),
        ("rtx4090", "rtx-4090"),
        ("4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("rtx-4090-24gb", "rtx-4090"),
        ("RTX 4060 Ti 16 GB", "rtx-4060-ti-16gb"),
        ("nvidia-l40s", "l40s"),
        ("2x-nvidia-l40s", "l40s"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100 80GB PCIe", "a100-80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100-40gb"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("AMD Instinct MI300X OAM", "mi300x"),
        ("M3 Max 64GB", "apple-m3-max-64gb"),
        ("cpu-amd-epyc-2c", "cpu"),
    ],
)
def test_a_card_is_found_as_people_drivers_and_results_spell_it(spelt: str, name: str):
    assert cards.load(spelt).name == name


def test_memory_chooses_among_cards_of_one_name():
    assert cards.load("NVIDIA A100", 40 * GIB).name == "a100-40gb"
    assert cards.load("NVIDIA A100", 80 * GIB).name == "a100-80gb"
    less = cards.load("apple-m3-max", 27 * GIB)  # of the same chip with less memory
    assert (less.name, less.memory_bytes) == ("apple-m3-max-64gb", 27 * GIB)


HELP = "(`tunebench hardware --help` says how to add one)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rtx-4091", f"card: there is no 'rtx-4091' {HELP}; did you mean 'rtx-4090'?"),
        ("RTX 4060 Ti", "card 'RTX 4060 Ti': of which size? there is: rtx-4060-ti-16gb"),
        ("a100", "card 'a100': of which size? there is: a100-40gb, a100-80gb"),
    ],
)
def test_a_card_that_is_not_in_the_table_is_an_error_with_a_hint(name: str, message: str):
    with pytest.raises(cards.UnknownCard) as error:
        cards.load(name)
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["NVIDIA H100 PCIe", "NVIDIA H100 NVL", "RTX 4090 Laptop GPU", "a100-64gb", ""])
def test_what_only_looks_like_a_card_is_not_taken_for_it(name: str):
    with pytest.raises(cards.UnknownCard):
        cards.load(name)


def test_a_card_of_the_same_name_with_other_memory_is_another_card():
    with pytest.raises(cards.UnknownCard):
        cards.load("NVIDIA GeForce RTX 4060 Ti", 8 * GIB)


def test_a_file_of_the_user_s_own_adds_a_card_and_hides_one_of_the_table(own: Callable[..., None]):
    own("mine")
    own("rtx-4090", title="Undervolted", constants={"matmul": 0.5, "evidence": "calibrated"}, calibrated="2026-01-02")
    mine, changed = cards.load("mine"), cards.load("NVIDIA GeForce RTX 4090")
    assert (mine.memory_bytes, mine.bandwidth, mine.half_flops) == (19.5 * GIB, 500e9, 80e12)
    assert (mine.native_bfloat16, mine.unified_memory, mine.context_bytes) == (True, False, GIB // 2)
    assert changed.constants.matmul == 0.5
    assert changed.constants.host_s == mine.constants.host_s
    assert changed.summary().endswith(", calibrated 2026-01-02")
    assert len(cards.listed()) == len(FILES) + 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"bandwith_gb_s": 1}, "card x: there is no key 'bandwith_gb_s'; did you mean 'bandwidth_gb_s'?"),
        ({"family": "vulkan"}, "card x: family must be one of cuda, rocm, mps, cpu, got 'vulkan'"),
        ({"memory_gib": 0}, "card x: memory_gib must be a number > 0, got 0"),
        ({"half_tflops": "fast"}, "card x: half_tflops must be a number > 0, got 'fast'"),
        ({"context_gib": -1}, "card x: context_gib must be a number >= 0, got -1"),
        ({"constants": {"matmul": 0}}, "card x: constants.matmul must be a number > 0, got 0"),
        (
            {"constants": {"evidence": "felt"}},
            "card x: constants.evidence must be one of default, fitted, calibrated, got 'felt'",
        ),
        ({"constants": [1]}, "card x: constants must be keys with values, got [1]"),
        ({"aliases": "mine"}, "card x: aliases must be a list, got 'mine'"),
        ({"constants": {"matmull": 1}}, "card x: there is no key 'constants.matmull'; did you mean 'matmul'?"),
    ],
)
def test_facts_that_cannot_be_are_refused(facts: dict[str, object], message: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        card_from(FACTS | facts, "x")
    assert str(error.value) == message


def test_a_missing_fact_and_a_file_that_is_no_yaml_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match="card x: family is missing"):
        card_from({key: value for key, value in FACTS.items() if key != "family"}, "x")
    (tmp_path / "cards").mkdir()
    for content in ("a: [", "only text"):
        (tmp_path / "cards" / "broken.yaml").write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=r"broken\.yaml"):
            cards.load("broken")
        assert len(cards.listed()) == len(FILES)


def _machine(monkeypatch: pytest.MonkeyPatch, *found: Gpu) -> None:
    monkeypatch.setattr(gpus, "gpus", lambda: list(found))


def test_here_is_the_gpu_that_cuda_sees_first(monkeypatch: pytest.MonkeyPatch):
    _machine(
        monkeypatch,
        Gpu("0", "GPU-a", "NVIDIA GeForce RTX 4090", 0, 24564),
        Gpu("1", "GPU-b", "NVIDIA L40S", 0, 46068),
    )
    assert [cards.here().name, cards.here().memory_bytes] == ["rtx-4090", cards.load("rtx-4090").memory_bytes]
    for visible in ("1", "GPU-b, GPU-a"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert cards.here().name == "l40s"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cards.here() is None


def test_here_takes_the_memory_from_the_device(monkeypatch: pytest.MonkeyPatch):
    _machine(monkeypatch, Gpu("0", "GPU-a", "NVIDIA A100-SXM4-80GB", 0, 77 * 1024))
    assert cards.here().memory_bytes == 77 * GIB
    _machine(monkeypatch, Gpu("0", "GPU-a", "NVIDIA Unheard 9000", 0, 24564))
    with pytest.raises(cards.UnknownCard, match="NVIDIA Unheard 9000"):
        cards.here()
    _machine(monkeypatch)
    assert cards.here() is None


def test_here_on_a_cpu_has_this_machine_s_memory():
    import psutil

    card = cards.here("cpu")
    assert (card.family, card.memory_bytes) == ("cpu", psutil.virtual_memory().total)


def test_bfloat16_goes_at_the_rate_of_float32_where_it_is_emulated():
    old, new = cards.load("t4"), cards.load("l40s")
    assert [old.peak("bfloat16"), old.peak("float16"), old.peak("float32")] == [8.1e12, 65e12, 8.1e12]
    assert [new.peak("bfloat16"), new.peak("float32")] == [362e12, 91.6e12]


def test_they_are_listed_with_the_option_that_chooses_them(
    capsys: pytest.CaptureFixture[str], own: Callable[..., None], tmp_path: Path
):
    assert listing.main("hardware") == 0
    out = capsys.readouterr().out
    assert "--gpu=l40s                  L40S: 44.4 GiB of 48 GB, 864 GB/s, 362 TFLOP/s in 16 bits\n" in out
    assert listing.main("hardware", ["--help"]) == 0
    assert str(tmp_path / "cards") in capsys.readouterr().out


def test_a_file_of_the_user_s_own_that_is_no_card_stops_no_other_one(
    capsys: pytest.CaptureFixture[str], own: Callable[..., None], tmp_path: Path
):
    own("broken", family="vulkan")
    file = tmp_path / "cards" / "broken.yaml"
    reason = f"{file}: card broken: family must be one of cuda, rocm, mps, cpu, got 'vulkan'"
    assert listing.main("hardware") == 0
    out, err = capsys.readouterr()
    assert "--gpu=l40s " in out
    assert err == f"tunebench: a card of your own is left out: {reason}\n"
    assert cards.load("RTX 4090").name == "rtx-4090"
    assert capsys.readouterr().err == ""  # said once
    own("a100-40gb", memory_gib="much")
    assert cards.load("A100 80 GB").name == "a100-80gb"
    assert f"{tmp_path / 'cards' / 'a100-40gb.yaml'}: card a100-40gb: memory_gib must be" in capsys.readouterr().err
    with pytest.raises(ValueError) as error:  # noqa: PT011
        cards.load("Broken")
    assert str(error.value) == f"card: {reason}"


def test_names_of_all_cards_are_told_apart(own: Callable[..., None]):
    known = cards.listed()
    seen: dict[tuple[str, int | None], Card] = {}
    for card in known:
        for name in (card.name, *card.aliases):
            assert seen.setdefault(cards._key(name), card) == card


def test_the_cards_of_the_examples_are_known() -> None:
    named = re.findall(r"--gpu (\S+)", cli.EXAMPLES)
    assert len(named) > 2
    assert all(cards.load(name) for name in named)
