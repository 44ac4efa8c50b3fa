"""Counts the tokens of texts beside everything else: in a process of its own, as the tokenizer holds Python's lock."""

import multiprocessing
import os
import re
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.config.model import Model
from bench.models.locate import resolve
from bench.paths import conf_dir

BARS = 12
_PATH = re.compile(r"^path: (\S+)$", re.MULTILINE)  # in the configuration of a model
_AHEAD = 8  # batches that may wait, so that memory stays flat
_tokenizer: Any = None  # of the counting process


class TokenCounter:
    """Counts the tokens of texts with a model's tokenizer, without torch."""

    def __init__(self, model: str) -> None:
        """Find the tokenizer of a model by the name that `tunebench models` lists, a folder or a Hub id.

        Raises:
            ValueError: there is none.
        """
        self.name = model
        file = _file(model)
        _load(file)  # here too, for the error
        others = max(1, (os.cpu_count() or 2) - 1)
        self._background = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=_start, initargs=(file, others)
        )
        self._counted: list[Future[list[int]]] = []

    def add(self, texts: list[str]) -> None:
        """Count the tokens of each text, in the background."""
        if len(self._counted) >= _AHEAD:
            self._counted[-_AHEAD].result()
        self._counted.append(self._background.submit(_count, texts))

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of every text, when all are added."""
        found = [length for batch in self._counted for length in batch.result()]
        self._background.shutdown()
        return found

    def quantiles(self) -> dict[str, int]:
        """Of the lengths; empty without texts."""
        ordered = sorted(self.lengths)
        if not ordered:
            return {}
        places = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
        found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in places.items()}
        return found | {"total": sum(ordered)}

    def histogram(self) -> list[tuple[int, int, int]]:
        """Numbers of texts in ranges of equal width up to the 99th percentile, and in a last one for all longer."""
        if not self.lengths:
            return []
        width = max(1, -(-(self.quantiles()["p99"] + 1) // BARS))
        counts = Counter(min(length // width, BARS) for length in self.lengths)
        last = max(self.lengths)
        return [
            (bar * width, (bar + 1) * width - 1 if bar < BARS else last, counts[bar]) for bar in range(max(counts) + 1)
        ]

    def above(self, length: int) -> int:
        """How many texts are longer."""
        return sum(one > length for one in self.lengths)


def _file(model: str) -> Path:
    """The file of a model's tokenizer, downloaded where the model lies on the Hub."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import logging

    named = conf_dir() / "model" / f"{model}.yaml"
    path = _PATH.search(named.read_text("utf-8")) if "/" not in model and named.is_file() else None
    try:
        place = resolve(path[1] if path else model)
    except ValueError as error:
        raise ValueError(str(error).replace("model.path", "--model", 1)) from error
    if Path(place).is_dir():
        return Path(place) / "tokenizer.json"
    logging.set_verbosity_error()  # else every attempt to reach the Hub is told
    try:
        return Path(hf_hub_download(place, "tokenizer.json"))
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        default = Model().name
        raise ValueError(f"--model: no tokenizer.json of {place}: {reason}; {default} comes with tunebench") from error


def _load(file: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare exceptions
        raise ValueError(f"--model: cannot read the tokenizer {file}: {error}") from error
    found.no_truncation()
    found.no_padding()
    return found


def _start(file: Path, threads: int) -> None:
    global _tokenizer
    os.environ["RAYON_NUM_THREADS"] = str(threads)  # of the library; one core is left to the parent
    _tokenizer = _load(file)


def _count(texts: list[str]) -> list[int]:
    return [len(one) for one in _tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
