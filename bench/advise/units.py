"""Bytes, hours and counts in words."""

GIB, MIB, KIB = 2**30, 2**20, 2**10
MINUTES, SECONDS = 60, 3600  # of an hour


def size(value: float) -> str:
    """Bytes, in the unit that suits."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if value >= unit:
            return f"{value / unit:.1f} {name}"
    return f"{value / KIB:.1f} KiB"


def hours(value: float) -> str:
    """A time, in the unit that suits."""
    if value >= 1:
        return f"{value:,.1f} h"
    if value * MINUTES >= 1:
        return f"{value * MINUTES:.1f} min"
    return f"{value * SECONDS:.1f} s"


def read_size(text: str) -> int:
    """Bytes of a size such as `100MB`, `1.5GiB` or `2000000`.

    Raises:
        ValueError: it is none.
    """
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": KIB, "MIB": MIB, "GIB": GIB}
    number = text.rstrip("BbKkMmGgIi").strip()
    unit = text.strip()[len(number) :].strip().upper()
    try:
        found = float(number) * units[unit]
    except (ValueError, KeyError):
        raise ValueError(f"a size is a number with B, KB, MB, GB, KiB, MiB or GiB, got {text!r}") from None
    if not 0 < found < float("inf"):
        raise ValueError(f"a size must be > 0, got {text!r}")
    return round(found)
