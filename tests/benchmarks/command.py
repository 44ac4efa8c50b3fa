"""What is typed is what is measured: commands in processes of their own, as they are after an installation."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(folder: Path) -> dict[str, str]:
    """Of a command that finds this checkout from anywhere, and whose cache lies in `folder`."""
    own = os.environ | {"PYTHONPATH": str(ROOT), "TUNEBENCH_CACHE": str(folder / "cache")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed command is not compiled at every start
    return own
