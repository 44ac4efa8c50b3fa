"""The task metrics. A change of a metric's meaning raises its version, which tables show."""

from collections.abc import Sequence

from bench.records.schema import Metric


def accuracy(correct: Sequence[bool]) -> Metric:
    """Share of right answers."""
    return Metric(sum(correct) / len(correct), version=1, higher_is_better=True)


def macro_f1(answers: Sequence[str], predictions: Sequence[str]) -> Metric:
    """Mean over the classes that occur in `answers` or `predictions` of 2TP / (2TP + FP + FN)."""
    scores = []
    for label in sorted({*answers, *predictions}):
        hits = sum(a == p == label for a, p in zip(answers, predictions, strict=True))
        scores.append(2 * hits / (sum(a == label for a in answers) + sum(p == label for p in predictions)))
    return Metric(sum(scores) / len(scores), version=1, higher_is_better=True)


def preference_accuracy(preferred: Sequence[bool]) -> Metric:
    """Share of pairs in which the right completion has the higher summed log-probability."""
    return Metric(sum(preferred) / len(preferred), version=1, higher_is_better=True)


def exact_match(correct: Sequence[bool]) -> Metric:
    """Share of generated answers that equal the right one after stripping white space."""
    return Metric(sum(correct) / len(correct), version=1, higher_is_better=True)
