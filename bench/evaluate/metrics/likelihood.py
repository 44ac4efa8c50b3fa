"""Metrics of probabilities: of a text, and of a right answer against a rejected one."""

import math
from collections.abc import Sequence

from bench.evaluate.metrics.registry import split_metric
from bench.evaluate.outcome import Outcome


def _loss(outcome: Outcome) -> float:
    return math.exp(outcome.loss / outcome.tokens)


@split_metric(version=1, higher_is_better=False, each=_loss, of_text_loss=True)
def perplexity(outcomes: Sequence[Outcome]) -> float:
    """exp of the mean loss per completion token, end token included; comparable within one tokenizer alone."""  # noqa: D403
    return math.exp(sum(o.loss for o in outcomes) / sum(o.tokens for o in outcomes))


def _bits(outcome: Outcome) -> float:
    return outcome.loss / math.log(2) / len(outcome.example.completion.encode())


@split_metric(version=1, higher_is_better=False, each=_bits, of_text_loss=True)
def bits_per_byte(outcomes: Sequence[Outcome]) -> float:
    """Loss in bits per UTF-8 byte of the completion: comparable between tokenizers (Gao et al. 2020, The Pile)."""
    return sum(o.loss for o in outcomes) / math.log(2) / sum(len(o.example.completion.encode()) for o in outcomes)


def _preferred(outcome: Outcome) -> float:
    return float(bool(outcome.preferred))


@split_metric(version=1, each=_preferred)
def preference_accuracy(outcomes: Sequence[Outcome]) -> float:
    """Share of pairs in which the right completion has the higher summed log-probability."""
    return sum(map(_preferred, outcomes)) / len(outcomes)


def _margin(outcome: Outcome) -> float:
    return outcome.margin or 0.0


@split_metric(version=1, each=_margin)
def preference_margin(outcomes: Sequence[Outcome]) -> float:
    """Mean log-probability of the right completion minus that of the rejected one, in nats."""
    return sum(map(_margin, outcomes)) / len(outcomes)
