"""Where tunebench keeps what it could make anew: a folder of the user's own, never one of the results.

What lies there is trusted (some of it is unpickled, some is run in a browser), so nobody else may write to it.
"""

import os
from pathlib import Path

from platformdirs import user_cache_path

VARIABLE = "TUNEBENCH_CACHE"


def cache_dir() -> Path | None:
    """The folder, made if need be; None if `TUNEBENCH_CACHE` is set to nothing, or no folder can be made.

    `TUNEBENCH_CACHE` names another one.
    """
    named = os.environ.get(VARIABLE)
    if named == "":
        return None
    folder = Path(named) if named else user_cache_path("tunebench", appauthor=False)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder
