"""What every method must keep, as clauses that can be run on any method and any small base model.

    for clause in contract.check(method, contract.tiny_model(folder)):
        print(clause.name, clause.broken or "kept")

A clause is a function that takes a `Case` and returns None, or one sentence that says what was expected and what
was seen. The tests run all clauses over every registered method; a plugin's own tests run them too.
"""

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bench.config import Model, Run, from_dict, to_dict
from bench.method import Context, Method
from bench.models import checkpoint
from bench.models.load import info, load
from bench.models.tiny import TEXT, tiny_model
from bench.objective import of
from bench.train.losses import Pairs, preference_loss

__all__ = ["CLAUSES", "Case", "Clause", "check", "tiny_model"]

STEPS = 16
NEW_TOKENS = 8


@dataclass(frozen=True)
class Clause:
    """One clause's outcome: `broken` is None if it is kept, else what was expected and what was seen."""

    name: str
    broken: str | None


class Case:
    """A method on a base model in a folder; trains once, for all clauses that look at a trained model."""

    def __init__(self, method: Method, folder: str) -> None:
        """Ask the method whether it supports the model.

        Raises:
            ValueError: it does not.
        """
        self.method = method
        self.model = Model(name="tiny", path=folder, dtype="float32")
        self.info = info(self.model, "cpu")
        reason = method.supports(self.info)
        if reason is not None:
            raise ValueError(f"method={method.name} does not support this model: {reason}")

    def base(self, dtype: torch.dtype = torch.float32) -> tuple[Any, Context]:
        """The base model as the method wants it loaded, and the method's context."""
        model, tokenizer = load(self.model, "cpu", self.method.quantization(), dtype)
        return model, Context(self.info, tokenizer, TEXT[0], TEXT[1:])

    def batch(self, context: Context) -> dict[str, Tensor]:
        """Four pairs of a right and a wrong answer, padded on the right; rows 0 to 3 are the right ones."""
        prompts = [text.rpartition(" ")[0] for text in TEXT]
        right = [f" {text.rpartition(' ')[2]}" for text in TEXT]
        tokenizer = context.tokenizer
        starts = [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
        texts = [p + a for p, a in zip(prompts * 2, right + right[1:] + right[:1], strict=True)]
        batch = dict(tokenizer(texts, padding=True, return_tensors="pt"))
        places = torch.arange(batch["input_ids"].shape[1])
        answers = (places >= torch.tensor(starts * 2)[:, None]) & batch["attention_mask"].bool()
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "answers": answers}

    def train(self, seed: int) -> "Trained":
        """Adapt under a seed and take some AdamW steps at the method's own learning rate, on two rows at a time."""
        base, context = self.base()
        before = {name: tensor.detach().clone() for name, tensor in _tensors(base)}
        batch = self.batch(context)
        with torch.no_grad():
            reference = log_probabilities(base.eval(), batch)
        torch.manual_seed(seed)
        base_tensors = dict(_tensors(base))
        model = self.method.adapt(base, context)
        first = self._loss(model.eval(), batch, reference, list(range(4))).item()
        training = [p for p in model.parameters() if p.requires_grad]
        groups: list[Any] = self.method.param_groups(model) or training
        optimizer = torch.optim.AdamW(groups, lr=self.method.learning_rate, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        order = torch.Generator().manual_seed(seed)
        losses = []
        for _ in range(STEPS):
            rows = torch.randperm(4, generator=order)[:2].tolist()
            loss = self._loss(model.train(), batch, reference, rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(training, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        with torch.no_grad():
            last = self._loss(model.eval(), batch, reference, list(range(4))).item()
        return Trained(model, context, batch, before, base_tensors, [first, *losses, last])

    def _loss(self, model: nn.Module, batch: dict[str, Tensor], reference: Tensor, rows: list[int]) -> Tensor:
        picked = rows + [row + 4 for row in rows]
        sums = log_probabilities(model, {key: value[picked] for key, value in batch.items()})
        if of(self.method).preferences:
            # no divergence from the base, which would be asked about answers to other prompts
            pairs = Pairs(sums, batch["answers"][picked].sum(1), reference[picked], divergence=sums.new_zeros(()))
            return preference_loss(self.method, pairs)
        return -sums[: len(rows)].sum() / batch["answers"][rows].sum()

    @cached_property
    def trained(self) -> "Trained":
        """The model trained under seed 0; clauses only read it."""
        return self.train(0)


@dataclass
class Trained:
    """What `Case.train` leaves; `losses` begins and ends with the loss of the whole batch in evaluation mode."""

    model: Any
    context: Context
    batch: dict[str, Tensor]
    base_before: dict[str, Tensor]
    base_after: dict[str, Tensor]
    losses: list[float]

    def logits(self, model: nn.Module | None = None) -> Tensor:
        """Logits of the batch by this or another model in evaluation mode."""
        with torch.no_grad():
            return logits((model or self.model).eval(), self.batch)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def logits(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Logits (rows, tokens, vocabulary) of the real tokens: virtual ones, which come first, are cut off."""
    out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return out[:, -batch["input_ids"].shape[1] :].float().contiguous()


def log_probabilities(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Sum of the log-probabilities of each row's answer, shape (rows,)."""
    scores = logits(model, batch)[:, :-1].log_softmax(-1)
    chosen = scores.gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return (chosen * batch["answers"][:, 1:]).sum(-1)


def settings(case: Case) -> str | None:
    """Defaults are valid, bad values are named by their key, and the configuration survives JSON."""
    method = case.method
    if method.errors():
        return f"expected defaults without errors, saw: {'; '.join(method.errors())}"
    if not method.summary():
        return "expected a docstring whose first line says what the method does, saw none"
    bad = [f.name for f in fields(method) if not isinstance(getattr(method, f.name), int | float | str | list | Method)]
    if bad:
        return f"expected hyper-parameters of type int, float, str, bool, list or Method, saw another in {bad[0]}"
    run = Run(method)
    again = from_dict(json.loads(json.dumps(to_dict(run))))
    if again != run:
        return f"expected the same configuration after a round trip through JSON, saw {again.method} for {method}"
    method.learning_rate, good = -1.0, method.learning_rate
    found = method.errors()
    method.learning_rate = good
    if not any(error.startswith("method.learning_rate ") for error in found):
        return f"expected errors() to name method.learning_rate when it is -1, saw {found}; does it call super()?"
    return None


def trainable(case: Case) -> str | None:
    """Something trains, in float32 whatever the base's dtype, and base weights only where the method says so."""
    base, context = case.base(torch.bfloat16)
    own = {id(parameter) for parameter in base.parameters()}
    model = case.method.adapt(base, context)
    training = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not training:
        return "expected parameters that train, saw none with requires_grad"
    in_base = [name for name, p in training.items() if id(p) in own]
    if case.method.trains_base_weights() and not in_base:
        return "expected weights of the base to train, as trains_base_weights() says, saw only new ones"
    if in_base and not case.method.trains_base_weights():
        return f"expected the base to be frozen, as trains_base_weights() says, saw {in_base[0]} train"
    other = next(((name, p.dtype) for name, p in training.items() if p.dtype != torch.float32), None)
    return f"expected trained parameters in float32, saw {other[1]} in {other[0]}" if other else None


def base_weights(case: Case) -> str | None:
    """After training the base's weights are what they were, or have changed where the method says so."""
    trained = case.trained
    changed = [n for n, before in trained.base_before.items() if not torch.equal(before, trained.base_after[n])]
    if case.method.trains_base_weights():
        return None if changed else f"expected weights of the base to change in {STEPS} steps, saw none change"
    if changed:
        return f"expected the base untouched after {STEPS} steps, saw a change in {changed[0]}"
    if hasattr(trained.model, "disable_adapter"):
        base, _ = case.base()
        with trained.model.disable_adapter():
            off = _distance(trained.logits(), trained.logits(base))
        if off > 1e-5:
            return f"expected the base's logits with the adapter disabled, saw them differ by {off:.2g}"
    return None


def loss_falls(case: Case) -> str | None:
    """The loss on a small fixed batch falls, at the method's own learning rate."""
    first, last = case.trained.losses[0], case.trained.losses[-1]
    if math.isfinite(last) and last < 0.995 * first:
        return None
    return f"expected the loss of a fixed batch to fall in {STEPS} steps, saw {first:.4f} become {last:.4f}"


def reload_same(case: Case) -> str | None:
    """Saved and put back on a fresh base model, it computes the same logits."""
    with tempfile.TemporaryDirectory() as folder:
        size = checkpoint.save(case.trained.model, folder)
        base, context = case.base()
        torch.manual_seed(1)
        model = checkpoint.reload(base, folder, case.method, context)
    if size <= 0:
        return f"expected a checkpoint with weights, saw {size} bytes"
    off = _distance(case.trained.logits(), case.trained.logits(model))
    return None if off <= 1e-5 else f"expected the same logits after saving and reloading, saw them differ by {off:.2g}"


def generation(case: Case) -> str | None:
    """Greedy generation, which uses the cache, gives the tokens that the model chooses without one."""
    trained, model = case.trained, case.trained.model.eval()
    start = trained.batch["input_ids"][:1, :6]
    expected = start
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            step = {"input_ids": expected, "attention_mask": torch.ones_like(expected)}
            expected = torch.cat([expected, logits(model, step)[:, -1:].argmax(-1)], 1)
            if expected[0, -1] == trained.context.tokenizer.eos_token_id:
                break
        seen = model.generate(
            input_ids=start,
            attention_mask=torch.ones_like(start),
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            use_cache=True,
        )
    if seen.tolist() == expected.tolist():
        return None
    tokens, others = expected[0, start.shape[1] :].tolist(), seen[0, start.shape[1] :].tolist()
    return f"expected generate() to give the tokens {tokens} that the logits choose without a cache, saw {others}"


def seeds(case: Case) -> str | None:
    """The same seed gives the same losses to the last bit, another seed others; adapt() draws from torch's seed."""
    again, other = case.train(0).losses, case.train(1).losses
    if torch.initial_seed() != 1:
        return f"expected adapt() to leave torch's seed at 1, saw {torch.initial_seed()}"
    if again != case.trained.losses:
        return f"expected the losses of seed 0 again, saw {again[-1]!r} for {case.trained.losses[-1]!r} at the end"
    return None if other != again else "expected other losses under another seed, saw the same"


def _distance(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


CLAUSES: tuple[Callable[[Case], str | None], ...] = (
    settings,
    trainable,
    base_weights,
    loss_falls,
    reload_same,
    generation,
    seeds,
)


def check(method: Method, folder: str) -> list[Clause]:
    """Run all clauses for a method on the model in `folder`, best a tiny one; what the method raises passes through.

    Raises:
        ValueError: the method does not support the model.
    """
    case = Case(method, folder)
    return [Clause(clause.__name__, clause(case)) for clause in CLAUSES]
