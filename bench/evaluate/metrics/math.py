"""Metric of mathematical answers: the number or expression, whatever words stand around it."""

import re
from collections.abc import Sequence

from bench.evaluate.metrics.registry import metric

# What marks the final answer, the surest mark first; the last occurrence counts.
_MARKS = (
    re.compile(r"####\s*(.+)"),
    re.compile(r"\\boxed\s*(\{(?:[^{}]|\{[^{}]*\})*\})"),
    re.compile(r"(?:the\s+)?(?:final\s+)?answer\s*(?:is|:|=)\s*:?\s*(.+)", re.IGNORECASE),
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_NUMBER = re.compile(
    r"\\d?frac\s*\{[^{}]+\}\s*\{[^{}]+\}"  # a LaTeX fraction
    r"|-?\s?\$?\s?\d+\s*/\s*\d+"  # a plain one
    r"|-?\s?\$?\s?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
)
_UNIT = re.compile(r"\s*(?:%|\\%|[€£¥]|°.*|(?:(?<=\s)|(?=[^\W\d_]{2}))[^\W\d_][^+*=^\\]*)?")  # a word, or none
_DIGITS = 6  # of a decimal answer that have to agree


def _signature() -> str:
    from importlib.metadata import version

    return f"math-verify {version('math-verify')}, {_DIGITS} digits"


@metric(version=1, signature=_signature)
def math(prediction: str, references: Sequence[str]) -> float:
    r"""Share of answers that equal the right one as numbers or expressions (math-verify).

    The answer is what stands behind `####`, inside `\boxed{}` or behind "the answer is", else the last number.
    Thousands separators, currency signs, units, per cent signs and words around it do not count.
    """
    found = final_answer(prediction)
    right = [_marked(text) or _bare(text) for text in references]
    return float(found is not None and any(_equal(found, answer) for answer in right))


def final_answer(text: str) -> str | None:
    """The final answer in a text, without what is written around it; None if there is none."""
    marked = _marked(text)
    if marked is not None:
        return marked or None
    numbers = _NUMBER.findall(_THOUSANDS.sub("", text))
    return _plain(numbers[-1]) if numbers else None


def _marked(text: str) -> str | None:
    """What the surest mark in the text marks."""
    found = next((hits[-1] for mark in _MARKS if (hits := mark.findall(text))), None)
    if found is None:
        return None
    return _bare(found[1:-1] if found.startswith("{") else found.splitlines()[0])


def _bare(answer: str) -> str:
    """A number without its unit; anything longer (an expression, a set) whole."""
    inner = _THOUSANDS.sub("", answer).strip().rstrip(".").strip("$ ")
    number = _NUMBER.match(inner)
    return _plain(number[0]) if number and _UNIT.fullmatch(inner, number.end()) else inner


def _plain(number: str) -> str:
    return re.sub(r"[\s$]", "", number)


def _equal(one: str, two: str) -> bool:
    try:
        return round(float(one), _DIGITS) == round(float(two), _DIGITS)
    except ValueError:
        pass  # not both plain numbers
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    # without time-outs: they are signals, which only a main thread may set, and answers here are short
    configs = [LatexExtractionConfig(), ExprExtractionConfig()]
    left, right = (
        parse(f"${text}$", configs, parsing_timeout=None, raise_on_error=False) for text in (two[:200], one[:200])
    )
    return bool(verify(left, right, float_rounding=_DIGITS, timeout_seconds=None, raise_on_error=False))
