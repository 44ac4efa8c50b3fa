"""Find the files of records below folders, each once however many ways lead to it.

Paths are texts here, since a `Path` for each of a hundred thousand files takes longer than finding them.
"""

import glob
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

RECORD = "record.json"
Signature = tuple[int, int, int, int]


@dataclass
class Listing:
    """The files of records below some roots.

    Attributes:
        files: the signature of each file by its resolved path, None where the file itself cannot be reached; by the
            folder under which the cache keeps them.
        unreadable: the errors of folders that cannot be listed.
        time_ns: when the listing began.
    """

    files: dict[str, dict[str, Signature | None]] = field(default_factory=dict)
    unreadable: list[OSError] = field(default_factory=list)
    time_ns: int = field(default_factory=time.time_ns)


def listing(roots: Iterable[Path]) -> Listing:
    """Every record.json below `roots`; see `bench.records.store.scan`."""
    made, seen = Listing(), set[str]()
    for root in [path for given in roots for path in expand(given)]:
        below = len(root) + len(os.sep) + len(RECORD)
        for path in files(root, seen, made.unreadable):
            folder = root if len(path) > below else os.path.dirname(os.path.dirname(path))
            made.files.setdefault(folder, {})[path] = signature(path)
    return made


def signature(path: str) -> Signature | None:
    """Size, times and inode, of which one changes whenever the file does; None if it cannot be reached."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns


def is_pattern(root: Path) -> bool:
    """Whether `root` is a pattern as shells know it (`*`, `?`, `[...]`, `**`), and no name of something that exists."""
    return glob.has_magic(str(root)) and not root.exists()


def expand(root: Path) -> list[str]:
    """The resolved paths that `root` stands for: itself, or the folders and record.json files that match a pattern."""
    if not is_pattern(root):
        return [os.path.realpath(root)]
    matches = glob.iglob(str(root), recursive=True)
    return sorted(
        {os.path.realpath(path) for path in matches if os.path.basename(path) == RECORD or os.path.isdir(path)}
    )


def files(root: str, seen: set[str], unreadable: list[OSError]) -> Iterator[str]:
    """The resolved path of every record.json below the folder `root`, or `root` itself if it is a file.

    Folders whose name begins with a dot hold what was moved out of the way, and are left out. Links are followed.

    Args:
        root: a resolved path; one that does not exist gives nothing.
        seen: resolved folders and files that were given already, which are left out; those found are added.
        unreadable: takes the errors of folders that cannot be listed.
    """
    if not os.path.isdir(root):
        if os.path.exists(root) and root not in seen:
            seen.add(root)
            yield root
        return
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name == RECORD:
                        path = _resolved(entry)
                        if path not in seen:
                            seen.add(path)
                            yield path
                    elif entry.name[0] != "." and entry.is_dir():
                        waiting.append(_resolved(entry))
        except OSError as error:
            unreadable.append(error)


def _resolved(entry: "os.DirEntry[str]") -> str:
    """Where a link leads; a broken one is left as it is, so that messages name it."""
    if not entry.is_symlink():
        return entry.path
    target = os.path.realpath(entry.path)
    return target if os.path.exists(target) else entry.path
