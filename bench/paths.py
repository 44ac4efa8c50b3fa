"""Where tunebench finds the files that it ships, in a checkout, an editable installation and a wheel alike.

In a checkout the folder `conf` stands beside the package, where people look for it. A wheel carries the same
files as `bench/_conf` (`pyproject.toml` says so), because a top-level folder `conf` in site-packages would
belong to nobody. An editable installation points at the checkout and needs no rule of its own.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def conf_dir(package: Path = PACKAGE) -> Path:
    """The absolute folder of the Hydra configuration that belongs to the `bench` package in `package`.

    Raises:
        ValueError: neither place has it; the installation is damaged.
    """
    places = (package / "_conf", package.parent / "conf")
    for place in places:
        if place.is_dir():
            return place
    raise ValueError(f"tunebench is installed without its configuration: there is no {places[0]} and no {places[1]}")


def methods_dir(package: Path = PACKAGE) -> Path:
    """The folder of the `methods` package, which stands beside `bench` wherever that is installed."""
    return package.parent / "methods"
