"""`tunebench models --matrix`: which method runs on which family of base models, asked of the methods themselves.

The answers are those that a run asks before it loads anything; the tests train every pair that is said to run.
"""

from dataclasses import replace

from bench.method import ModelInfo, discover
from bench.models.families import FAMILIES, HIDDEN, LAYERS, VOCABULARY

KINDS = {"causal": "causal models", "classifier": "classifiers", "seq2seq": "encoder-decoders"}
Matrix = dict[str, dict[str, str | None]]


def matrix() -> Matrix:
    """Family -> method -> None if the pair runs, else the reason why it does not."""
    methods = {name: cls() for name, cls in discover().items()}
    return {
        family: {name: method.supports(family_info(family)) for name, method in methods.items()} for family in FAMILIES
    }


def family_info(family: str) -> ModelInfo:
    """What a method may know of a family's tiny member."""
    facts = FAMILIES[family]
    return ModelInfo(family, facts.architecture, HIDDEN, LAYERS, VOCABULARY, False, "cpu", facts.kind)


def main() -> int:
    """Print the matrix, a table for each kind of model, its reasons as footnotes, and the counts."""
    found = matrix()
    notes: dict[str, int] = {}
    for kind, plural in KINDS.items():
        families = {family: cells for family, cells in found.items() if FAMILIES[family].kind == kind}
        print(f"{plural}\n")
        _print_table(families, notes)
        print()
    for reason, number in notes.items():
        print(f"[{number}] {reason}")
    for method, reason in _with_gradient_checkpointing(found).items():
        print(f"{method} with train.gradient_checkpointing=true runs nowhere: {reason}")
    reasons = [reason for cells in found.values() for reason in cells.values()]
    print(f"{len(reasons)} pairs: {reasons.count(None)} run, {len(reasons) - reasons.count(None)} do not")
    return 0


def _print_table(found: Matrix, notes: dict[str, int]) -> None:
    """Methods as rows, families as columns; a reason is the number of its note, which it gets when it is new."""
    names = [family.replace(", ", " ").split() for family in found]  # one under the other
    lines = max(map(len, names))
    rows = [["" for _ in range(lines - len(words))] + words for words in names]
    heads = [["method" if n == lines - 1 else "", *line] for n, line in enumerate(zip(*rows, strict=True))]
    body = []
    for name in discover():
        reasons = [cells[name] for cells in found.values()]
        body.append([name, *("runs" if r is None else f"[{notes.setdefault(r, len(notes) + 1)}]" for r in reasons)])
    widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
    for row in [*heads, *body]:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _with_gradient_checkpointing(found: Matrix) -> dict[str, str]:
    """Methods that run without it on some family and with it on none, and why."""
    lost = {}
    for name, cls in discover().items():
        families = [family for family, cells in found.items() if cells[name] is None]
        reasons = {cls().supports(replace(family_info(family), gradient_checkpointing=True)) for family in families}
        if len(reasons) == 1 and (reason := reasons.pop()) is not None:
            lost[name] = reason
    return lost
