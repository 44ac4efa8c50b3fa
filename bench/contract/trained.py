"""Clauses about the training: what trains, that it learns, and that it does so whatever the settings of the loop."""

import math

import torch
from torch import Tensor

from bench.contract.case import FEW, Case
from bench.contract.outcome import Unsupported, clause
from bench.limits import undeclared
from bench.models.kinds import pretrained

EXACT = 1e-5  # largest difference of logits that are the same
CLOSE = 0.1  # share by which losses in bfloat16 may be off


@clause("adapt")
def trainable(case: Case) -> str | None:
    """Something trains, in float32 whatever the base's dtype, and base weights only where the method says so."""
    base, tokenizer = case.base(torch.bfloat16)
    own = pretrained(base, case.info.kind)
    model = case.method.adapt(base, case.context(tokenizer))
    training = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not training:
        return "expected parameters that train, saw none with requires_grad"
    if case.method.trains_base_weights() and not any(id(p) in own for p in training.values()):
        return "expected weights of the base to train, as trains_base_weights() says, saw only new ones"
    wrong = undeclared(case.method, own, model)
    if wrong is not None:
        return wrong
    other = next(((name, p.dtype) for name, p in training.items() if p.dtype != torch.float32), None)
    return f"expected trained parameters in float32, saw {other[1]} in {other[0]}" if other else None


@clause("trains_base_weights")
def base_weights(case: Case) -> str | None:
    """After training the base's weights are what they were, or have changed where the method says so."""
    trained = case.trained
    base, _ = case.base()
    new = {name for name, _ in base.named_parameters()} - set(pretrained(base, case.info.kind).values())
    before, after = trained.before, trained.after
    changed = [name for name in before if name not in new and not torch.equal(before[name], after[name])]
    if case.method.trains_base_weights():
        return None if changed else f"expected weights of the base to change in {case.steps} steps, saw none change"
    if changed:
        return f"expected the base untouched after {case.steps} steps, saw a change in {changed[0]}"
    if (
        hasattr(trained.model, "disable_adapter") and case.info.kind != "classifier"
    ):  # whose prompts peft cannot disable
        untouched = case.logits(base)
        with trained.model.disable_adapter():
            off = distance(case.logits(trained.model), untouched)
        if off > EXACT:
            return f"expected the base's logits with the adapter disabled, saw them differ by {off:.2g}"
    return None


@clause("learning_rate")
def loss_falls(case: Case) -> str | None:
    """The loss on a few rows falls, at the method's own learning rate: the mean of an epoch, first and last."""
    losses = case.trained.losses
    first, last = sum(losses[:2]) / 2, sum(losses[-2:]) / 2
    if math.isfinite(last) and last < 0.995 * first:
        return None
    return f"expected the loss of four rows to fall in {case.steps} steps, saw {first:.4f} become {last:.4f}"


@clause("supports")
def checkpointing(case: Case) -> str | None:
    """With activations computed again in the backward pass the gradients are the same."""
    reason = case.method.supports(case.with_checkpointing())
    if reason is not None:
        raise Unsupported(reason)
    key, expected = "train.gradient_checkpointing=true", case.short.gradients
    seen = case.train(case.run(steps=1, max_grad_norm=0.0, gradient_checkpointing=True)).gradients
    if seen.keys() != expected.keys():
        names = sorted(seen.keys() ^ expected.keys())
        return f"expected gradients of the same parameters with {key}, saw {names[0]} differ"
    for name, gradient in expected.items():
        off = distance(seen[name], gradient)
        if not off <= 1e-4 * max(1e-3, gradient.abs().max().item()):
            return f"expected the same gradients with {key}, saw that of {name} off by {off:.2g}"
    return None


@clause("adapt")
def bfloat16(case: Case) -> str | None:
    """On a base in bfloat16, computed in bfloat16, the first loss is that of float32 within a tenth, others finite."""
    dtype = torch.float32 if case.method.trains_base_weights() else torch.bfloat16
    found = case.train(case.run(steps=FEW, max_grad_norm=0.0, precision="bfloat16"), dtype)
    first, expected = found.losses[0], case.short.losses[0]
    if not abs(first - expected) <= CLOSE * abs(expected):
        return f"expected a loss of {expected:.3f} in bfloat16 as in float32 at the first step, saw {first:.3f}"
    if not all(math.isfinite(loss) for loss in found.losses):
        return f"expected finite losses in bfloat16, saw {found.losses}"
    wrong = [(name, p.dtype) for name, p in found.model.named_parameters() if p.requires_grad]
    other = next(((name, dtype) for name, dtype in wrong if dtype != torch.float32), None)
    return f"expected trained parameters to stay in float32, saw {other[1]} in {other[0]}" if other else None


@clause("adapt")
def seeds(case: Case) -> str | None:
    """The same seed gives the same losses to the last bit, another seed others; adapt() draws from torch's seed."""
    again = case.train(case.run(steps=FEW, max_grad_norm=0.0))
    other = case.train(case.run(seed=1, steps=FEW, max_grad_norm=0.0))
    if other.seed != 1:
        return f"expected adapt() to leave torch's seed at 1, saw {other.seed}"
    if again.losses != case.short.losses:
        return f"expected the losses of seed 0 again, saw {again.losses[-1]!r} for {case.short.losses[-1]!r} at the end"
    return None if other.losses != again.losses else "expected other losses under another seed, saw the same"


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors' elements."""
    return (a.float() - b.float()).abs().max().item()
