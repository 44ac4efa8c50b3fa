"""Where tunebench keeps what it can compute again: never results."""

import os
from pathlib import Path

VARIABLE = "TUNEBENCH_CACHE"


def cache_dir() -> Path | None:
    """The user's cache folder, or the one that the variable TUNEBENCH_CACHE names; None where that is set but empty.

    The folder need not exist yet, and may be impossible to make.
    """
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named).expanduser() if named else None
    import platformdirs

    return Path(platformdirs.user_cache_dir("tunebench"))
