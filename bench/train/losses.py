"""What the preference objectives minimise, from the log-probabilities of both answers of some pairs.

These are the losses of TRL's trainers, which compute them only inside a forward pass of their own; tests hold the two
to the same values. The contract suite trains by them too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class Pairs:
    """Pairs of answers, [2 x pairs] each: first all right answers, then the rejected ones in the same order.

    Attributes:
        log_probs: summed over the tokens of an answer.
        tokens: number of them.
        reference: log-probabilities of the same answers under the untouched base, for objectives that need them.
        divergence: from the base, for those that need it: the mean gain of answers to other prompts.
    """

    log_probs: Tensor
    tokens: Tensor
    reference: Tensor | None = None
    divergence: Tensor | None = None

    @property
    def gains(self) -> Tensor:
        """Log-probabilities minus those of the base."""
        assert self.reference is not None
        return self.log_probs - self.reference

    @property
    def means(self) -> Tensor:
        """Log-probabilities per token."""
        return self.log_probs / self.tokens

    def cross_entropy(self) -> Tensor:
        """Of the right answers, in nats per token."""
        right = len(self.log_probs) // 2
        return -self.log_probs[:right].sum() / self.tokens[:right].sum()


def dpo(method: Any, pairs: Pairs) -> Tensor:
    """Mean of -log sigmoid(beta x (gain of the right answer - gain of the wrong one)), or another loss of that margin.

    `loss_type`: "sigmoid" (Rafailov et al. 2023, arXiv:2305.18290), "hinge" (Liu et al. 2023, arXiv:2309.06657), "ipo"
    (Azar et al. 2023, arXiv:2310.12036, equation 17, of gains per token) or "robust" (Chowdhury et al. 2024,
    arXiv:2403.00409), which takes a share `label_smoothing` of the pairs to be the wrong way round.
    """
    if method.loss_type == "ipo":
        right, wrong = (pairs.gains / pairs.tokens).chunk(2)
        return (right - wrong - 1 / (2 * method.beta)).square().mean()
    right, wrong = pairs.gains.chunk(2)
    margin = method.beta * (right - wrong)
    if method.loss_type == "hinge":
        return torch.relu(1 - margin).mean()
    if method.loss_type == "robust":
        swapped = method.label_smoothing
        return (((swapped - 1) * logsigmoid(margin) + swapped * logsigmoid(-margin)) / (1 - 2 * swapped)).mean()
    return -logsigmoid(margin).mean()


def kto(method: Any, pairs: Pairs) -> Tensor:
    """Mean of one minus the value of every answer by itself (Ethayarajh et al. 2024, arXiv:2402.01306, equation 7).

    The point from which gain and loss are counted is the divergence from the base, estimated by mismatched answers.
    """
    assert pairs.divergence is not None
    divergence = pairs.divergence.clamp(min=0).detach()
    right, wrong = pairs.gains.chunk(2)
    desirable = 1 - torch.sigmoid(method.beta * (right - divergence))
    undesirable = 1 - torch.sigmoid(method.beta * (divergence - wrong))
    return torch.cat((method.desirable_weight * desirable, method.undesirable_weight * undesirable)).mean()


def orpo(method: Any, pairs: Pairs) -> Tensor:
    """Cross-entropy, and -beta x log sigmoid(log odds ratio) (Hong et al. 2024, arXiv:2403.07691, equations 6 and 7).

    The odds are those of an answer's geometric mean probability. As everywhere here, the cross-entropy is that of the
    answer; TRL's, alone in this point, has the prompt's too.
    """
    right, wrong = pairs.means.chunk(2)
    log_odds_ratio = (right - wrong) - (_log_of_the_rest(right) - _log_of_the_rest(wrong))
    return pairs.cross_entropy() - method.beta * logsigmoid(log_odds_ratio).mean()


def _log_of_the_rest(log_probs: Tensor) -> Tensor:
    """log(1 - p), exact for probabilities near 0 and near 1."""
    near_one = torch.log(-torch.expm1(log_probs))
    return torch.where(log_probs < -math.log(2), torch.log1p(-log_probs.exp()), near_one)


def cpo(method: Any, pairs: Pairs) -> Tensor:
    """A loss of the answers' margin without a reference, and alpha x cross-entropy (Xu et al. 2024, arXiv:2401.08417).

    `loss_type`: "sigmoid" and "hinge" of the summed log-probabilities; "ipo" and "simpo" (Meng et al. 2024,
    arXiv:2405.14734, equation 6, with the target margin `gamma`) of those per token.
    """
    right, wrong = (pairs.means if method.loss_type in ("ipo", "simpo") else pairs.log_probs).chunk(2)
    margin = right - wrong
    if method.loss_type == "ipo":
        loss = (margin - 1 / (2 * method.beta)).square()
    elif method.loss_type == "hinge":
        loss = torch.relu(1 - method.beta * margin)
    else:
        target = method.gamma if method.loss_type == "simpo" else 0.0
        loss = -logsigmoid(method.beta * margin - target)
    return loss.mean() + method.alpha * pairs.cross_entropy()


LOSSES: dict[str, Callable[[Any, Pairs], Tensor]] = {"dpo": dpo, "kto": kto, "orpo": orpo, "cpo": cpo}


def preference_loss(method: Any, pairs: Pairs) -> Tensor:
    """The loss of a method's objective, one that learns from preferences."""
    return LOSSES[method.objective](method, pairs)
