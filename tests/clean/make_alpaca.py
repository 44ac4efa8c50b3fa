"""Writes an Alpaca file of realistic lengths, with exact and near duplicates, personal data and repetition.

python tests/clean/make_alpaca.py 100000 /tmp/alpaca.jsonl
"""

import json
import random
import sys
from pathlib import Path

from bench.data.stdlib import docstrings, sources

DUPLICATES, NEAR, PERSONAL, REPEATED = 0.02, 0.02, 0.01, 0.005


def make(rows: int, path: Path, seed: int = 0) -> None:
    """Write the file."""
    rng = random.Random(seed)
    texts = (docstring.text for source in sources() for docstring in docstrings(source))
    words = [word for text in texts for word in text.split()]

    def text(low: int, high: int) -> str:
        """A run of words as they stand in real text, begun anywhere, and a word that makes it rare."""
        size = rng.randint(low, high)
        start = rng.randrange(len(words) - size)
        return " ".join([*words[start : start + size], rng.choice(words)])

    made: list[dict[str, str]] = []
    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            drawn = rng.random()
            if made and drawn < DUPLICATES:
                row = rng.choice(made)
            elif made and drawn < DUPLICATES + NEAR:
                row = dict(rng.choice(made))
                row["output"] += f" {rng.choice(words)}"
            else:
                row = {"instruction": text(4, 20), "input": text(4, 30) if rng.random() < 0.4 else ""}
                row["output"] = text(5, 90)
                if rng.random() < PERSONAL:
                    row["output"] += f" Write to {rng.choice(words)}@example.org or call +49 30 1234567."
                if rng.random() < REPEATED:
                    row["output"] = "the same again " * 30
            if len(made) < 5000:
                made.append(row)
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    make(int(sys.argv[1]), Path(sys.argv[2]))
