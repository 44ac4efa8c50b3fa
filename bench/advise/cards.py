"""The cards: what a device can hold and how fast it is, from a table of files, from the user or from the device itself.

A card is a file in the folder `facts` beside this module. It is not in `conf`, where every folder is a group of a run's
settings that `tunebench run` lists and overrides: a run chooses a device, and nobody can choose how fast that is. Files
of the user's own, in the folder `cards` of the user's data folder, come first; `tunebench calibrate` writes one there.
A card that is in neither place has no facts here, and none are made up.
"""

import functools
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.advise.card import Card, card_from
from bench.advise.files import read_yaml
from bench.advise.units import GIB, MIB
from bench.method import did_you_mean

SHIPPED = Path(__file__).parent / "facts"
VARIABLE = "TUNEBENCH_DATA"
SIMILAR = 0.12  # two sizes of memory that differ by less are one card's: drivers keep up to a tenth

# Words in a device's name that do not tell cards apart. The PCIe and NVL forms of a card are others than its SXM form.
_NOISE = re.compile(r"\b(nvidia|geforce|rtx|tesla|amd|instinct|apple|gpu|oam|sxm\d?|hbm\d?e?)\b|^\d+x\b|\((r|tm|c)\)")
_SIZE = re.compile(r"\b(\d+) ?gi?b\b")


class UnknownCard(ValueError):
    """There are no facts of this card; the message says how to give them."""


def data_dir() -> Path:
    """The user's data folder, or the one that the variable TUNEBENCH_DATA names; it need not exist yet."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("tunebench"))


def own_folder() -> Path:
    """Where the user's own cards are."""
    return data_dir() / "cards"


def listed() -> list[Card]:
    """Every card there are facts of, by name; a file of the user's own hides the one that it is named after.

    A file of the user's own that is no card is left out, which is said once on standard error.
    """
    return _read_all(None)


def _read_all(wanted: str | None) -> list[Card]:
    """Every card by name.

    Raises:
        ValueError: a shipped file is no card, or one of the user's own that may be the card called `wanted`.
    """
    files = {file.stem: file for folder in (SHIPPED, own_folder()) for file in sorted(folder.glob("*.yaml"))}
    found = []
    for name in sorted(files):
        try:
            found.append(card_from(read_yaml(files[name]), name))
        except ValueError as error:
            reason = str(error) if str(files[name]) in str(error) else f"{files[name]}: {error}"
            if files[name].parent == SHIPPED or (wanted is not None and _may_be(name, wanted)):
                raise ValueError(f"card: {reason}") from error
            _say(reason)
    return found


@functools.cache
def _say(reason: str) -> None:
    print(f"tunebench: a card of your own is left out: {reason}", file=sys.stderr)


def load(name: str, memory_bytes: int | None = None) -> Card:
    """The card of this name, as people, drivers or results spell it: `RTX 4090`, `NVIDIA L40S`, `2x-nvidia-l40s`.

    Args:
        name: of the card.
        memory_bytes: what the device itself says of its memory, which then chooses among cards of one name.

    Raises:
        UnknownCard: there are no facts of it.
        ValueError: the facts are in a file of the user's own that is no card.
    """
    wanted, size = _key(name)
    cards = _read_all(name)
    found = [card for card in cards if any(_key(each)[0] == wanted for each in (card.name, *card.aliases))]
    exact = [card for card in found if card.name == name.strip().lower()]
    if not found and wanted.startswith("cpu"):
        found = exact = [card for card in cards if card.name == "cpu"]
    if memory_bytes is not None:
        alike = [card for card in found if card.unified_memory or _similar(card.memory_bytes, memory_bytes)]
        if alike:
            near = min(alike, key=lambda card: abs(card.memory_bytes - memory_bytes))
            return replace(near, memory_bytes=memory_bytes)
    elif exact:
        return exact[0]
    elif size is not None:
        found = [card for card in found if card.nominal_gb == size]
    elif any(_key(card.name)[1] for card in found):  # the table knows it by its size alone
        raise UnknownCard(f"card {name!r}: of which size? there is: {', '.join(card.name for card in found)}")
    if memory_bytes is None and found:
        return found[0]
    raise UnknownCard(_unknown(name, cards))


def here(device: str = "cuda") -> Card | None:
    """The card of the machine at hand, its memory taken from the device itself.

    Args:
        device: `cuda`; or `mps` or `cpu`, of which the caller knows that the machine has them.

    Returns:
        None if the machine has no NVIDIA GPU and `cuda` is asked for.

    Raises:
        UnknownCard: it has one of which there are no facts.
    """
    from bench.launch.gpus import gpus
    from bench.measure.environment import hardware_name

    if device == "cpu":
        return load(hardware_name("cpu"), host_memory())
    if device == "mps":
        return load(apple_name())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = None if visible is None else visible.split(",")[0].strip()
    for gpu in gpus():
        if first is None or first in (gpu.index, gpu.uuid):
            return _of_device(gpu.name, gpu.total * MIB)
    return None


def host_memory() -> int:
    """Bytes of this machine's memory."""
    import psutil

    return int(psutil.virtual_memory().total)


def apple_name() -> str:
    """The name of this machine's card if it is one of Apple's: the same chip comes with more memory or less."""
    from bench.measure.environment import hardware_name

    return f"{hardware_name('mps')}-{round(host_memory() / GIB)}gb"


def _of_device(name: str, total: int) -> Card:
    """A card as nvidia-smi names and measures it; the table's memory is what CUDA gives of that."""
    if not total:  # memory shared with the host is not told
        return load(name)
    card = load(name, total)
    return replace(card, memory_bytes=min(total, load(card.name).memory_bytes))


def _similar(one: float, other: float) -> bool:
    return abs(one - other) <= SIMILAR * max(one, other)


def _key(name: str) -> tuple[str, int | None]:
    """What is left of a name when maker, form, size and separators are not looked at; and the size."""
    text = re.sub(r"[^a-z0-9.()]+", " ", name.lower())
    size = _SIZE.search(text)
    text = re.sub(r"^(?:rtx|geforce)(?=\d)", "", _NOISE.sub(" ", _SIZE.sub(" ", text)).strip())
    return re.sub(r"[^a-z0-9.]", "", text), int(size[1]) if size else None


def _may_be(name: str, wanted: str) -> bool:
    """Whether a card of this name may be the one that is called `wanted`."""
    (key, size), (other, asked) = _key(name), _key(wanted)
    return key == other and (size == asked or asked is None)


def _unknown(name: str, cards: Sequence[Card]) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    hint = did_you_mean(slug, [card.name for card in cards])
    return f"card: there is no {name!r} (`tunebench hardware --help` says how to add one){hint}"
