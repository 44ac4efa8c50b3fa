"""From a location to files on this machine, with their hashes; what is remote goes through a cache."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.config import Data
from bench.data.sources.files import ENDINGS, kind_of, readable, sha256

SCHEMES = ("http", "https", "ftp", "s3", "gs", "hf")
LOCATIONS = ("train", "validation", "test", "general")  # keys of Data


@dataclass(frozen=True)
class Fetched:
    """A file that can be read here. `name` is what the user called it, without the query of a signed URL."""

    name: str
    path: Path
    sha256: str


def fetch(location: str, settings: Data) -> list[Fetched]:
    """The files of a location, remote ones downloaded.

    Raises:
        ValueError: there is no such file, it cannot be had, or it is larger than `data.max_gib`.
    """
    if is_remote(location):
        from bench.data.sources.remote import download

        return download(location, settings)
    return [Fetched(name, path, sha256(path)) for name, path in _local(location, _key(location, settings))]


def is_remote(location: str) -> bool:
    """Whether a location is a URL.

    Raises:
        ValueError: a URL of a scheme that is not supported, or one with a password.
    """
    scheme, separator, _ = location.partition("://")
    if not separator or scheme == "file":
        return False
    if scheme not in SCHEMES:
        raise ValueError(f"data: there is no way to read {scheme}://, only {', '.join(SCHEMES)} and local files")
    parts = urlsplit(location)
    if parts.password or (parts.username and scheme in ("http", "https", "ftp")):
        raise ValueError(
            f"data: leave the credentials out of the URL of {parts.hostname}, it goes into records; "
            "they are read from the environment and ~/.netrc"
        )
    return True


def content(settings: Data) -> str:
    """SHA-256 over all local files that the settings name, or "" if none is local: other bytes are another task.

    Raises:
        ValueError: there is no such file or folder; the message begins with the key.
    """
    hashes = []
    for key in LOCATIONS:
        location = getattr(settings, key)
        if location and not is_remote(location):
            hashes += [f"{key} {sha256(path)}" for _, path in _local(location, f"data.{key}")]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest() if hashes else ""


def _key(location: str, settings: Data) -> str:
    return next((f"data.{key}" for key in LOCATIONS if getattr(settings, key) == location), "data")


def _local(location: str, key: str) -> list[tuple[str, Path]]:
    path = Path(location.removeprefix("file://")).expanduser()
    if path.is_dir():
        found = [(str(file), file) for file in readable(path)]
        if not found:
            raise ValueError(f"{key}: the folder {location} holds no file that ends in {ENDINGS} (or .gz, .zst)")
        return found
    if not path.is_file():
        raise ValueError(f"{key}: there is no file or folder {location}")
    if kind_of(path.name) is None:
        raise ValueError(f"{key}: {location} does not end in {ENDINGS} (or .gz, .zst)")
    return [(location, path)]
