"""Files that are kept to save time and can be made again: whose they are, how they are written, what they depend on.

They lie in folders of `bench.records.cache_dir` that are the user's alone, and depend on the code that made them. What
was read from a file that had changed just before is not kept, as the file is not `settled`: another change within the
same tick of the clock would leave its signature as it is.
"""

import contextlib
import functools
import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import __version__
from bench.records.find import Signature, signature

TICK_NS = 100_000_000  # no clock of a file system is coarser, but those of whole seconds
COARSE_TICK_NS = 2_000_000_000
RECORDS = Path(__file__).parent  # all that is kept depends on what records are
UNUSED_S = 60 * 24 * 3600  # a file that nobody has used for so long goes
ROOM_BYTES = 20 * 2**30  # of a folder; in one with more, the files that were used last stay
AT_WORK_S = 3600  # a file that was used so lately stays in any case


def settled(signature: Signature, now_ns: int) -> bool:
    """Whether a file with this signature, read at `now_ns`, would have another one after any later change."""
    changed = max(signature[1], signature[3])
    return changed < now_ns - (TICK_NS if changed % 1_000_000_000 else COARSE_TICK_NS)


def own(folder: Path) -> bool:
    """Whether `folder` is the user's, and nobody else may write there."""
    try:
        found = os.stat(folder)
    except OSError:
        return False
    if os.name != "posix":
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def write(path: Path, content: bytes) -> None:
    """Put `content` into a folder of the cache, whole or not at all; that this cannot be done is no error."""
    with contextlib.suppress(OSError):  # nothing may be written there
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        if own(path.parent):
            make(path, lambda temporary: temporary.write_bytes(content))


def make(path: Path, write: Callable[[Path], object]) -> bool:
    """Let `write` make the file `path` under another name, so that it is there whole or not at all.

    Returns:
        Whether it is there: there may be no room.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another process clears it too
        _clear(path.parent)
    return True


@functools.cache
def code(*packages: Path) -> str:
    """What the meaning of a file depends on: the versions, and the sources of `bench.records` and of `packages`."""
    files = (path for package in (RECORDS, *packages) for path in package.rglob("*.py"))
    sources = sorted((str(path), signature(str(path))) for path in files)
    whole = (__version__, sys.version, sources)
    return hashlib.blake2b(repr(whole).encode(), digest_size=16).hexdigest()


def _clear(folder: Path) -> None:
    """Remove what nobody has used for long, also what a killed writer left, and of too much the longest unused."""
    now, room = time.time(), ROOM_BYTES
    found = [(path, path.stat()) for path in folder.iterdir()]
    for path, facts in sorted(found, key=lambda each: each[1].st_mtime, reverse=True):
        room -= facts.st_size
        unused = now - facts.st_mtime
        if unused > UNUSED_S or (room < 0 and unused > AT_WORK_S):
            path.unlink(missing_ok=True)
