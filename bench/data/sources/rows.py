"""All rows of a location."""

from collections.abc import Iterator

from bench.config import Data
from bench.data.rows import DataError, Row
from bench.data.sources.fetch import fetch
from bench.data.sources.read import read


def rows(location: str, settings: Data, files: dict[str, str] | None = None) -> Iterator[Row | DataError]:
    """The rows of a file, of all files of a folder, or of a URL, one after the other.

    Args:
        location: path or URL (http, https, ftp, s3, gs, hf).
        settings: how remote files are fetched.
        files: takes the SHA-256 of every file that is read, by its name.

    Yields:
        A row, or the error that says why there is none at its place.

    Raises:
        ValueError: the location cannot be read.
    """
    for file in fetch(location, settings):
        if files is not None:
            files[file.name] = file.sha256
        yield from read(file.path, file.name)
