"""Which files can be read, told by their names."""

import hashlib
from pathlib import Path

FORMATS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt")
COMPRESSIONS = (".gz", ".zst")
ENDINGS = ", ".join(FORMATS)


def kind_of(name: str) -> tuple[str, str] | None:
    """The format and the compression of a file by its ending, such as (".jsonl", ".gz"); None if it cannot be read."""
    lower = name.lower()
    compression = next((ending for ending in COMPRESSIONS if lower.endswith(ending)), "")
    lower = lower.removesuffix(compression)
    found = next((ending for ending in FORMATS if lower.endswith(ending)), None)
    return None if found is None else (found, compression)


def readable(folder: Path) -> list[Path]:
    """The readable files of a folder and of those in it, in the order of their names."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and kind_of(p.name))


def sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
