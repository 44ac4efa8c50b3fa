"""Metrics of one answer among several."""

from collections.abc import Sequence

from bench.evaluate.metrics.registry import split_metric
from bench.evaluate.outcome import Outcome


def _correct(outcome: Outcome) -> float:
    return float(bool(outcome.correct))


@split_metric(version=1, each=_correct)
def accuracy(outcomes: Sequence[Outcome]) -> float:
    """Share of right answers."""
    return sum(map(_correct, outcomes)) / len(outcomes)


def _correct_by_length(outcome: Outcome) -> float:
    options = outcome.example.options
    if not options:
        return _correct(outcome)
    scores = [p / len(o.encode()) for p, o in zip(outcome.option_log_probs, options, strict=True)]
    return float(options[scores.index(max(scores))].strip() in outcome.references)


@split_metric(version=1, each=_correct_by_length)
def accuracy_norm(outcomes: Sequence[Outcome]) -> float:
    """Share of right answers when log-probabilities are taken per byte of the answer, as lm-evaluation-harness does."""
    return sum(map(_correct_by_length, outcomes)) / len(outcomes)


def _labels(outcomes: Sequence[Outcome]) -> tuple[list[str], list[str]]:
    return [o.example.completion.strip() for o in outcomes], [(o.prediction or "").strip() for o in outcomes]


@split_metric(version=1)
def macro_f1(outcomes: Sequence[Outcome]) -> float:
    """Mean over the classes that occur among answers or predictions of 2TP / (2TP + FP + FN)."""
    from sklearn.metrics import f1_score

    answers, predictions = _labels(outcomes)
    return float(f1_score(answers, predictions, average="macro", zero_division=0))


@split_metric(version=1)
def matthews(outcomes: Sequence[Outcome]) -> float:
    """Matthews correlation coefficient, in its form for several classes (Gorodkin 2004); 0 if all are one class."""
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(*_labels(outcomes)))
