"""The metrics against scikit-learn's."""

import random

import pytest
from sklearn.metrics import accuracy_score, f1_score

from bench.evaluate import metrics
from bench.records.schema import Metric

CLASSES = [" json", " xml", " http", " email"]


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_and_accuracy_are_scikit_learn_s(seed: int):
    rng = random.Random(seed)
    answers = rng.choices(CLASSES[:3], k=40)
    predictions = [a if rng.random() < 0.5 else rng.choice(CLASSES) for a in answers]
    expected = f1_score(answers, predictions, average="macro", zero_division=0)
    assert metrics.macro_f1(answers, predictions).value == pytest.approx(expected, abs=1e-12)
    correct = [a == p for a, p in zip(answers, predictions, strict=True)]
    assert metrics.accuracy(correct).value == accuracy_score(answers, predictions)


def test_a_class_that_is_never_answered_counts():
    assert metrics.macro_f1(["a", "b"], ["a", "a"]).value == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.preference_accuracy, metrics.exact_match])
def test_shares(metric):
    assert metric([True, False, False, True]) == Metric(0.5, version=1, higher_is_better=True)
    assert metric([True]).value == 1
    assert metric([False]).value == 0
