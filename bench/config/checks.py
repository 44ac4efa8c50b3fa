"""Checks that the parts of a configuration share; each answer begins with the key."""


def choice(key: str, value: str, *allowed: str) -> list[str]:
    """A sentence if `value` is none of those allowed."""
    return [] if value in allowed else [f"{key} must be one of {', '.join(allowed)}, got {value!r}"]


def at_least(key: str, value: float, least: float) -> list[str]:
    """A sentence if `value` is too small."""
    return [] if value >= least else [f"{key} must be >= {least:g}, got {value:g}"]
