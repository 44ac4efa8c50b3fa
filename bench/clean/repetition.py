"""Texts that mostly repeat themselves, by two rules of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A1)."""

from collections import Counter
from itertools import pairwise

LINES = 0.30  # share of lines that are duplicates of another
CHARACTERS = {2: 0.20, 3: 0.18, 4: 0.16}  # share of characters in the commonest run of so many words
_CHANCE = 2  # so often a run may come back in any text
SHORTEST = 20  # words; shorter texts repeat by chance


def repeats(text: str) -> str | None:
    """What repeats too much in a text, in words; None if nothing does."""
    words = text.split()
    if len(words) < SHORTEST:
        return None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 3 and 1 - len(set(lines)) / len(lines) > LINES:
        return "lines"
    pairs = Counter(pairwise(words))
    if max(pairs.values()) <= _CHANCE:
        return None  # no longer run comes back either; most texts end here
    length = sum(map(len, words))
    for size, most in CHARACTERS.items():
        runs = pairs if size == 2 else Counter(zip(*(words[i:] for i in range(size)), strict=False))
        run, count = runs.most_common(1)[0]
        if count > _CHANCE and count * sum(map(len, run)) > most * length:
            return f"runs of {size} words"
    return None
