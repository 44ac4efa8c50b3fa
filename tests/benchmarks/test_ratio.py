"""The ratios themselves: what is compared is right, and what is held can fail."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.benchmarks.conftest import BASELINE, judge
from tests.benchmarks.ratio import Ratio, compared

FOUND = {"ratio": 1.02, "low": 1.01, "high": 1.04}


def test_a_known_delay():
    ratio = compared(lambda: time.sleep(0.03), lambda: time.sleep(0.01), rounds=5)
    assert ratio.value == pytest.approx(3, rel=0.3)
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.rounds == 5


def test_seconds_that_are_told_count_and_both_are_called_in_turns():
    calls = []

    def told(name: str, seconds: Iterator[float]) -> float:
        calls.append(name)
        return next(seconds)

    ours, other = iter([9.0, 1.0, 2.0, 3.0]), iter([1.0, 1.0, 1.0, 1.0])
    ratio = compared(lambda: told("a", ours), lambda: told("b", other), rounds=3)
    assert (ratio.value, ratio.low, ratio.high) == (2, 1, 3)
    assert "".join(calls) == "abbaabba"


def test_equal_pairs_have_no_noise():
    assert Ratio.of([(6, 3), (4, 2)]) == Ratio(2, 2, 2, 2)


@pytest.mark.parametrize(
    ("target", "known", "wrong"),
    [
        ({"at_most": 1.03}, {"low": 1.0, "high": 1.03}, None),
        ({"at_most": 1.015}, {"low": 1.0, "high": 1.03}, None),  # within the noise
        ({"at_most": 1.005}, {"low": 1.0, "high": 1.03}, "misses the target, at most 1.005"),
        ({"at_most": 1.005}, {"low": 1.0, "high": 1.03, "short": "because"}, None),
        ({"at_most": 1.03}, {"low": 0.9, "high": 0.95}, "is worse than the baseline"),
        ({"at_most": 1.005}, {"low": 0.9, "high": 0.95, "short": "because"}, "is worse than the baseline"),
        ({"at_most": 1.03}, None, "is not in baseline.json"),
        ({"at_least": 1.0}, {"low": 1.0, "high": 1.1}, None),
        ({"at_least": 1.05}, {"low": 1.0, "high": 1.1}, "misses the target, at least 1.05"),
        ({"at_least": 1.0}, {"low": 1.2, "high": 1.3}, "is worse than the baseline"),
    ],
)  # fmt: skip
def test_what_is_held_can_fail(target: dict[str, float], known: dict[str, float] | None, wrong: str | None):
    said = judge("a", FOUND | target, known and {"ratio": 1.0} | known)
    assert (said is None) if wrong is None else wrong in said


def test_every_ratio_of_the_baseline_reaches_its_target_or_says_why_not():
    for name, each in json.loads(BASELINE.read_text()).items():
        reached = each["ratio"] <= each["at_most"] if "at_most" in each else each["ratio"] >= each["at_least"]
        assert reached != bool(each.get("short")), name
