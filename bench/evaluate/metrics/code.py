"""Metrics of programs."""

import ast
import re
from collections.abc import Sequence

from bench.evaluate.metrics.registry import metric

_FENCED = re.compile(r"```(?:\w+)?\n(.*?)(?:```|\Z)", re.DOTALL)


@metric(version=1)
def syntax(prediction: str, references: Sequence[str]) -> float:
    """Share of answers that this Python parses; a fenced block counts alone, and an empty answer is none."""
    fenced = _FENCED.search(prediction)
    program = (fenced[1] if fenced else prediction).strip()
    try:
        ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0.0
    return float(bool(program))
