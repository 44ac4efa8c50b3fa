"""Step times on a GPU, predicted from the configuration and the card's facts and measured; printed with `-rP`."""

import pytest

from tests.gpu.suite import Compared, share_outside, undisturbed

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(7200)]

OUTSIDE = 0.05  # share of step times that may be outside of the interval, which says what the constants rest on


def test_step_times(compared: list[Compared]):
    from bench.advise import cards, speed

    pairs = []
    for each in undisturbed(compared):
        where = each.record.environment
        found = speed.estimate(each.trace, cards.load(where.device_name, where.device_memory_bytes))
        measured = each.record.training.step_s.median
        print(f"{each.line(found.step.value, measured, unit=1e-3)}  {found.bound}, {found.evidence}")
        pairs.append((found.step, measured))
    assert share_outside(pairs) <= OUTSIDE
