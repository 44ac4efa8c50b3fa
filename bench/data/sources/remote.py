"""Downloads through fsspec into a cache: whole or not at all, tried again, checked against the hash of the content.

Under the cache folder, `content/` holds files by their SHA-256, so the same bytes are stored once, and `index/` says
which content a URL had, in which version (entity tag or time of change, and size). A URL is asked for its version
every time; a file is downloaded only if that changed, or if the stored one is damaged.
"""

import ftplib
import hashlib
import json
import logging
import netrc
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import fsspec
import platformdirs
from fsspec.callbacks import Callback

from bench.config import Data
from bench.data.sources.fetch import Fetched
from bench.data.sources.files import ENDINGS, kind_of, sha256

FIRST_PAUSE = 0.5  # seconds before the second try; doubled for each further one
_VERSION = ("ETag", "etag", "LastModified", "last_modified", "mtime", "modify", "generation", "blob_id")
log = logging.getLogger(__name__)
T = TypeVar("T")


class Transient(Exception):
    """A failure that may be gone at the next try."""


class _Limit(Callback):
    """Ends a download that grows past its limit, whatever size was announced."""

    def __init__(self, most: float, name: str) -> None:
        super().__init__()
        self.most, self.name = most, name

    def relative_update(self, inc: int = 1) -> None:
        super().relative_update(inc)
        _check_size(self.value, self.most, self.name)


def download(location: str, settings: Data) -> list[Fetched]:
    """The remote file, or every readable file below a remote folder of a bucket.

    Raises:
        ValueError: it is not there, not allowed, too large, or could not be had in `data.retries` further tries.
    """
    name = public_name(location)
    fs, path = _retried(lambda: fsspec.core.url_to_fs(location, **_options(location, settings)), settings, name)
    if kind_of(urlsplit(location).path) is not None:
        return [_one(fs, path, name, location, settings)]
    found = _retried(lambda: fs.find(path), settings, name) if "*" not in path else []
    inside = sorted(p for p in found if kind_of(p))
    if not inside:
        raise ValueError(f"{name} holds no file that ends in {ENDINGS} (or .gz, .zst)")
    scheme = location.partition("://")[0]
    return [_one(fs, p, f"{scheme}://{p}", f"{scheme}://{p}", settings) for p in inside]


def public_name(location: str) -> str:
    """A URL as it may be shown and recorded: without the query, which can be a signature."""
    return location.partition("?")[0].partition("#")[0]


def _one(fs: Any, path: str, name: str, location: str, settings: Data) -> Fetched:
    folder = _cache(settings)
    index = folder / "index" / f"{hashlib.sha256(f'{settings.endpoint} {location}'.encode()).hexdigest()}.json"
    known = _known(index)
    stored = None if known is None else _stored(folder, known["sha256"])
    try:
        info = _retried(lambda: fs.info(path), settings, name)
        _check_size(info.get("size") or 0, settings.max_gib * 2**30, name)
        version = [str(info[key]) for key in _VERSION if info.get(key)] + [str(info.get("size"))]
        if stored is not None and known is not None and known["version"] == version and len(version) > 1:
            return Fetched(name, stored, known["sha256"])
        path_here = _retried(lambda: _get(fs, path, info.get("size"), folder, settings, name), settings, name)
    except Unreachable:
        if stored is None or known is None:
            raise
        log.warning("%s cannot be reached; its copy in %s is used", name, folder)
        return Fetched(name, stored, known["sha256"])
    index.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(index, json.dumps({"name": name, "version": version, "sha256": path_here.name}).encode())
    return Fetched(name, path_here, path_here.name)


def _known(index: Path) -> dict[str, Any] | None:
    """What the cache knows of a URL; a damaged note is as good as none."""
    try:
        found = json.loads(index.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) and {"version", "sha256"} <= found.keys() else None


def _stored(folder: Path, digest: str) -> Path | None:
    """The cached content, if its bytes still are what they were."""
    path = folder / "content" / digest
    return path if path.is_file() and sha256(path) == digest else None


def _get(fs: Any, path: str, size: int | None, folder: Path, settings: Data, name: str) -> Path:
    """One try: download beside the final place, check the length, and move the whole file there."""
    content = folder / "content"
    content.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=content, prefix=".part-")
    os.close(handle)
    try:
        fs.get_file(path, scratch, callback=_Limit(settings.max_gib * 2**30, name))
        got = os.path.getsize(scratch)
        if size is not None and got != size:
            raise Transient(f"{got} of {size} bytes came")
        return _keep(Path(scratch), content)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _keep(scratch: Path, content: Path) -> Path:
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    place = content / sha256(scratch)
    scratch.replace(place)
    return place


def _write_whole(path: Path, data: bytes) -> None:
    scratch = path.with_suffix(f".{os.getpid()}")
    scratch.write_bytes(data)
    scratch.replace(path)


def _check_size(size: float, most: float, name: str) -> None:
    if size > most:
        raise ValueError(f"{name} is larger than data.max_gib={most / 2**30:g} allows")


class Unreachable(ValueError):
    """The server gave no usable answer in all tries."""


def _retried(action: Callable[[], T], settings: Data, name: str) -> T:
    """Do it, again where a failure may pass; every failure becomes one sentence without a word of the credentials."""
    for attempt in range(settings.retries + 1):
        try:
            return action()
        except ValueError:
            raise
        except Exception as error:  # every store's library has exceptions of its own
            reason = _permanent(error)
            if reason is not None:
                raise ValueError(f"{name} {reason}") from None
            if attempt == settings.retries:
                tries = f"{attempt + 1} tries" if attempt else "1 try"
                raise Unreachable(f"{name} could not be had in {tries}: {_words(error)}") from None
            time.sleep(FIRST_PAUSE * 2**attempt)
    raise AssertionError("unreachable")


def _permanent(error: BaseException) -> str | None:
    """Why trying again is of no use, or None; libraries wrap the server's answer, so causes are looked at too."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    statuses = [status for e in chain if isinstance(status := getattr(e, "status", None), int)]
    if any(status >= 500 or status in (408, 429) for status in statuses):
        return None
    refused = any(isinstance(e, ftplib.error_perm) and str(e).startswith("530") for e in chain)
    if 401 in statuses or 403 in statuses or refused or any(isinstance(e, PermissionError) for e in chain):
        return "may not be read: the credentials are missing or not allowed to"
    if any(type(e).__name__ in ("NoCredentialsError", "DefaultCredentialsError", "RefreshError") for e in chain):
        return "may not be read: there are no credentials in the environment"
    if 404 in statuses or any(isinstance(e, FileNotFoundError) for e in chain):
        connection = any(isinstance(e, ConnectionError | TimeoutError) for e in chain[1:])
        broken = any("Connect" in type(e).__name__ or "Timeout" in type(e).__name__ for e in chain)
        return None if connection or broken else "does not exist"
    return f"was refused with status {statuses[0]}" if statuses else None


def _words(error: BaseException) -> str:
    if isinstance(error, Transient):
        return str(error)
    status = getattr(error, "status", None) or getattr(error.__cause__, "status", None)
    return f"the server answered {status}" if status else type(error.__cause__ or error).__name__


def _options(location: str, settings: Data) -> dict[str, Any]:
    """Settings of fsspec for a scheme; credentials are left to what each store's own tools read."""
    scheme = location.partition("://")[0]
    common = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme in ("http", "https"):
        import aiohttp

        limits = aiohttp.ClientTimeout(total=None, sock_connect=settings.timeout, sock_read=settings.timeout)
        return common | {"client_kwargs": {"timeout": limits, "trust_env": True}}
    if scheme == "ftp":
        return common | {"timeout": settings.timeout, **_ftp_login(urlsplit(location).hostname or "")}
    if scheme == "s3":
        client = {"endpoint_url": settings.endpoint} if settings.endpoint else {}
        waits = {"connect_timeout": settings.timeout, "read_timeout": settings.timeout, "retries": {"max_attempts": 1}}
        return common | {"client_kwargs": client, "config_kwargs": waits, "anon": False}
    return common


def _ftp_login(host: str) -> dict[str, str]:
    try:
        found = netrc.netrc().authenticators(host)
    except FileNotFoundError:
        found = None
    return {} if found is None else {"username": found[0], "password": found[2] or ""}


def _cache(settings: Data) -> Path:
    folder = settings.cache or platformdirs.user_cache_path("tunebench")
    return Path(folder).expanduser()
