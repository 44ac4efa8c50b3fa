"""Training examples that contain what another split asks.

Overlap is a shared run of 13 words, as in the contamination study of GPT-3 (Brown et al. 2020, arXiv:2005.14165,
appendix C); shorter texts are compared whole, and scripts without spaces by runs of 50 characters. A run that very
many training examples share, such as a task's fixed instruction, says nothing and is not counted.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from bench.data.example import Example

WORDS = 13
CHARACTERS = 50
COMMON = 0.01  # share of the training examples from which on a run is the task's own wording
_FEW = 10  # that many may always share a run


class Overlap:
    """Counts the examples that overlap held-out ones, one after the other, without keeping them."""

    def __init__(self, held_out: Iterable[Example], instruction: str = "") -> None:
        """Note what is held out.

        Args:
            held_out: of the validation or test split.
            instruction: the task's fixed wording, which is taken out of all texts first.
        """
        self._instruction = instruction
        self._wanted = {run for example in held_out for run in self._runs(example)}
        self._hits: Counter[frozenset[int]] = Counter()  # how many examples share just these runs
        self._names: dict[frozenset[int], list[str]] = {}
        self._shared: Counter[int] = Counter()
        self._seen = 0

    def add(self, example: Example) -> None:
        """Compare one training example, and remember its id if it overlaps."""
        found = self.add_runs(self._runs(example))
        if found:
            self._names.setdefault(found, []).append(example.id)

    def add_runs(self, runs: Iterable[int]) -> frozenset[int]:
        """Compare one training example by its runs of words, which `runs_of` finds; returns those it shares."""
        self._seen += 1
        found = frozenset(self._wanted.intersection(runs))
        if found:
            self._hits[found] += 1
            self._shared.update(found)
        return found

    def names(self) -> list[str]:
        """The ids of the overlapping examples among those that were added whole so far."""
        return [name for found, names in self._names.items() if self._counts(found) for name in names]

    def count(self) -> int:
        """How many of those seen so far overlap."""
        return sum(number for found, number in self._hits.items() if self._counts(found))

    def _counts(self, found: frozenset[int]) -> bool:
        """Whether any of the runs is shared by so few that it says something."""
        most = max(_FEW, COMMON * self._seen)
        return any(self._shared[run] <= most for run in found)

    def _runs(self, example: Example) -> Iterator[int]:
        return runs_of(example, self._instruction)


def leaked(train: Iterable[Example], held_out: Iterable[Example], instruction: str = "") -> int:
    """How many training examples overlap one of the held-out examples; see `Overlap`."""
    return leaks(train, {"": held_out}, instruction)[""]


def leaks(train: Iterable[Example], held_out: Mapping[str, Iterable[Example]], instruction: str = "") -> dict[str, int]:
    """The same of several held-out splits, in one pass over the training examples."""
    overlaps = {name: Overlap(examples, instruction) for name, examples in held_out.items()}
    for example in train:
        found = list(runs_of(example, instruction))
        for overlap in overlaps.values():
            overlap.add_runs(found)
    return {name: overlap.count() for name, overlap in overlaps.items()}


def runs_of(example: Example, instruction: str = "") -> Iterator[int]:
    """Hashes of the runs of an example's text without the task's fixed wording."""
    text = whole_text(example)
    return runs(text.replace(instruction, "") if instruction else text)


def whole_text(example: Example) -> str:
    """The text of an example that could be known from elsewhere: question and answer."""
    if isinstance(example.prompt, str):
        return example.prompt + example.completion
    return "\n".join([*(message.content for message in example.prompt), example.completion])


def runs(text: str) -> Iterator[int]:
    """Hashes of all runs of words, or of characters where words are not parted by spaces; of a short text the whole."""
    words = text.lower().split()
    if sum(map(len, words)) > 20 * len(words):  # no script that parts its words has words that long
        letters = "".join(words)
        size, units = CHARACTERS, len(letters)
        for start in range(max(1, units - size + 1)):
            yield hash(letters[start : start + size])
        return
    for start in range(max(1, len(words) - WORDS + 1)):
        yield hash(tuple(words[start : start + WORDS]))
