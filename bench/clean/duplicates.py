"""Duplicates: the same text after normalisation, and nearly the same by MinHash.

Near duplicates are found by locality-sensitive hashing of MinHash signatures (Broder 1997) with datasketch, and
confirmed by the true Jaccard similarity of the texts' shingles before anything is called a duplicate.
"""

import hashlib
import unicodedata
import zlib
from typing import Any

SHINGLE = 5  # words, or characters where words are not parted by spaces
PERMUTATIONS = 64


def normalised(text: str) -> str:
    """The text in compatibility form, without case and with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Exact:
    """Texts that were seen before, up to normalisation."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}

    def add(self, name: str, text: str) -> str | None:
        """Note a text; the name of the first one that is the same, or None."""
        digest = hashlib.blake2b(normalised(text).encode(), digest_size=16).digest()
        first = self._seen.setdefault(digest, name)
        return None if first is name else first


class Near:
    """Texts that nearly were seen before."""

    def __init__(self, threshold: float) -> None:
        """Take texts as near whose shingles have at least this Jaccard similarity.

        Args:
            threshold: above 0 and below 1.
        """
        from datasketch import MinHash, MinHashLSH

        self.threshold = threshold
        self._index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        self._empty = MinHash(num_perm=PERMUTATIONS, hashfunc=zlib.crc32)
        self._shingles: dict[str, Any] = {}

    def add(self, name: str, text: str) -> str | None:
        """Note a text, unless it is a near duplicate; then the name of the one that it is nearest to."""
        import numpy as np

        units = shingles(text)
        signature = self._empty.copy()
        signature.update_batch(units)
        own = np.unique(np.array([zlib.crc32(unit) for unit in units], dtype=np.uint32))
        best, first = 0.0, None
        for other in self._index.query(signature):
            theirs = self._shingles[other]
            shared = len(np.intersect1d(own, theirs, assume_unique=True))
            similarity = shared / (len(own) + len(theirs) - shared)
            if similarity >= self.threshold and similarity > best:
                best, first = similarity, other
        if first is None:
            self._index.insert(name, signature, check_duplication=False)
            self._shingles[name] = own
        return first


def shingles(text: str) -> list[bytes]:
    """All runs of five words, or of five characters where words are not parted by spaces; a short text whole."""
    plain = normalised(text)
    words = plain.split(" ")
    if len(plain) > 20 * len(words):
        letters = plain.replace(" ", "")
        return [letters[i : i + SHINGLE].encode() for i in range(max(1, len(letters) - SHINGLE + 1))]
    return [" ".join(words[i : i + SHINGLE]).encode() for i in range(max(1, len(words) - SHINGLE + 1))]
