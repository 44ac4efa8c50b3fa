"""Preferences: every loss has the values of TRL, and is trained, counted and resumed as the others are."""

import math
import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from bench.config import Model
from bench.contract.case import Case
from bench.data.example import Example
from bench.data.tokens import Tokens, mismatched_row, tokenise, training_row
from bench.method import Method, discover, get
from bench.models.load import info
from bench.objective import OBJECTIVES, of
from bench.train import loop
from bench.train.losses import LOSSES, Pairs, dpo, kto, orpo
from bench.train.trainers import trainer_class
from methods.cpo import Cpo
from methods.dpo import Dpo
from methods.full import Full
from methods.kto import Kto
from methods.lora import Lora
from methods.orpo import Orpo
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora

THEIRS = {"dpo": DPOTrainer, "kto": KTOTrainer, "cpo": CPOTrainer, "orpo": ORPOTrainer}
LOSS_TYPES = [
    Dpo(),
    Dpo(loss_type="ipo"),
    Dpo(loss_type="ipo", beta=0.7),
    Dpo(loss_type="hinge"),
    Dpo(loss_type="robust", label_smoothing=0.2),
    Kto(),
    Kto(beta=0.5, desirable_weight=1.5, undesirable_weight=0.5),
    Orpo(),
    Orpo(beta=0.7),
    Cpo(),
    Cpo(loss_type="hinge", alpha=0.5),
    Cpo(loss_type="ipo"),
    Cpo(loss_type="simpo", beta=2.0, gamma=1.0, alpha=0.0),
]
ONE_OF_EACH = [Dpo(), Kto(), Orpo(), Cpo()]
NEW = ONE_OF_EACH[1:]


def named(method: Method) -> str:
    return method.title()


def test_every_objective_has_a_loss_and_a_trainer():
    paired = {name for name, objective in OBJECTIVES.items() if objective.preferences}
    assert paired == LOSSES.keys() == THEIRS.keys()
    for name in paired:
        assert issubclass(trainer_class(name, "causal"), THEIRS[name])


WAYS = [(method, False) for method in LOSS_TYPES]
WAYS += [(method, True) for method in LOSS_TYPES if OBJECTIVES[method.objective].reference]


@pytest.mark.parametrize(
    ("method", "reference"), WAYS, ids=lambda each: each.title() if isinstance(each, Method) else str(each)
)
def test_losses_are_those_of_trl(method: Any, reference: bool, fit, monkeypatch):
    theirs = []
    compute = THEIRS[method.objective].compute_loss

    def watched(self, *args, **kwargs):
        theirs.append(1)
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(THEIRS[method.objective], "compute_loss", watched)
    labelled = fit(method, reference=reference, loss="labelled").losses
    assert not theirs
    full = fit(method, reference=reference, loss="full").losses
    assert len(theirs) == 5
    assert labelled[0] == pytest.approx(full[0], rel=1e-6, abs=1e-6)
    assert labelled == pytest.approx(full, rel=1e-4, abs=1e-5)
    assert labelled[-1] != pytest.approx(labelled[0], abs=1e-4)


def test_orpo_is_trl_s_but_for_the_cross_entropy_of_prompts(fit, examples, monkeypatch):
    without = tuple(Example(e.id, "", e.completion, e.rejected) for e in examples)
    ours, of_answers = fit(Orpo(), loss="full").losses, fit(Orpo(), rows=without).losses
    monkeypatch.setattr(trainer_class("orpo", "causal"), "concatenated_forward", ORPOTrainer.concatenated_forward)
    assert fit(Orpo(), rows=without, loss="full").losses == pytest.approx(of_answers, rel=1e-5)
    assert abs(fit(Orpo(), loss="full").losses[0] - ours[0]) > 0.01


def test_a_hinge_leaves_alone_what_is_far_enough_apart():
    pairs = Pairs(torch.tensor([0.0, 0.0, -30.0, -5.0]), torch.ones(4), torch.zeros(4))
    assert dpo(Dpo(loss_type="hinge"), pairs).item() == pytest.approx((0 + 0.5) / 2)


def test_robust_takes_a_share_of_the_pairs_for_the_wrong_way_round():
    pairs = Pairs(torch.tensor([2.0, -3.0]), torch.ones(2), torch.zeros(2))
    right, wrong = (math.log1p(math.exp(sign * 0.1 * 5)) for sign in (-1, 1))
    found = dpo(Dpo(loss_type="robust", label_smoothing=0.2), pairs).item()
    assert found == pytest.approx((0.8 * right - 0.2 * wrong) / 0.6)


def test_the_odds_of_answers_that_are_nearly_sure_or_nearly_impossible():
    for log_prob in (-1e-6, -0.5, -1.0, -60.0):
        one = torch.tensor([log_prob, log_prob], dtype=torch.float64, requires_grad=True)
        loss = orpo(Orpo(beta=1.0), Pairs(one, torch.ones(2)))
        assert loss.item() == pytest.approx(-log_prob + math.log(2))
        loss.backward()
        assert one.grad.isfinite().all()


def test_kto_s_first_loss_is_a_half_while_policy_and_reference_are_one(fit):
    for adapter, reference in ((Lora(), True), (Lora(), False), (Qlora(), False), (Full(), True)):
        assert fit(Kto(adapter=adapter), reference=reference).losses[0] == pytest.approx(0.5, abs=1e-6)


def test_kto_counts_from_the_divergence_where_that_is_above_zero():
    gains = {"log_probs": torch.tensor([1.0, -2.0]), "tokens": torch.ones(2), "reference": torch.zeros(2)}
    for divergence, point in ((0.5, 0.5), (-0.5, 0.0)):
        right, wrong = (1 / (1 + math.exp(sign * 0.1 * (value - point))) for sign, value in ((1, 1.0), (-1, -2.0)))
        found = kto(Kto(undesirable_weight=3.0), Pairs(**gains, divergence=torch.tensor(divergence)))
        assert found.item() == pytest.approx((right + 3 * wrong) / 2)


def test_every_prompt_is_read_with_the_answers_of_another_pair_once(make_run, examples, adapted):
    tokenizer = adapted("llama", None)[1]
    tokens = tokenise(examples, tokenizer, 64)

    def others(seed: int) -> list[int]:
        rows = loop.rows(make_run(Kto(), seed=seed), examples, tokenizer)
        assert [row["prompt_ids"] for row in rows] == [t.prompt for t in tokens]
        pairs = [(t.completion, t.rejected) for t in tokens]
        return [pairs.index((row["other_chosen_ids"], row["other_rejected_ids"])) for row in rows]

    first = others(0)
    assert sorted(first) == list(range(24))
    assert all(i != other for i, other in enumerate(first))
    assert first == others(0) != others(1)


def test_answers_of_another_pair_are_cut_to_the_longest_row():
    row = mismatched_row(Tokens([1] * 7, [2], [3]), Tokens([4], [5] * 6, [6, 6]), 10)
    assert (row["other_chosen_ids"], row["other_rejected_ids"]) == ([5] * 3, [6, 6])
    assert (row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) == ([1] * 7, [2], [3])


@pytest.mark.parametrize("method", NEW, ids=named)
def test_tokens_are_those_of_both_answers_of_each_pair(method: Method, fit, examples, adapted):
    tokens = tokenise(examples[:8], adapted("llama", None)[1], 64)
    trained = sum(len(t.completion) + len(t.rejected) for t in tokens)
    training = fit(method, rows=examples[:8], epochs=1).training
    assert (training.examples, training.trained_tokens) == (8, trained)
    assert training.tokens == trained + 2 * sum(len(t.prompt) for t in tokens)


@pytest.mark.parametrize("method", NEW, ids=named)
def test_the_same_seed_repeats_another_does_not_and_checkpointing_changes_nothing(method: Method, fit):
    once, again, other = (fit(method, seed=seed).losses for seed in (0, 0, 1))
    assert once == again != other
    assert fit(method, gradient_checkpointing=True).losses == pytest.approx(once, abs=1e-5)
    dropout = type(method)(adapter=Lora(dropout=0.5))
    assert fit(dropout).losses == once  # it is off, as in the reference


@pytest.mark.parametrize("loss", ["labelled", "full"])
def test_a_micro_batch_may_be_a_single_pair(loss: str, fit):
    for method in NEW:
        assert all(map(math.isfinite, fit(method, gradient_accumulation=4, loss=loss, steps=2).losses))


def test_cpo_trains_with_accumulated_gradients_as_with_one_batch(fit):
    method = Cpo(alpha=0.0)
    parts = fit(method, batch_size=8, gradient_accumulation=2).losses
    assert parts == pytest.approx(fit(method, batch_size=8).losses, abs=2e-5)


def test_both_ways_to_kto_s_reference_give_the_same_losses(fit):
    for adapter in (Lora(), Prompt(virtual_tokens=4)):
        known, asked = (fit(Kto(adapter=adapter), reference=reference).losses for reference in (True, False))
        assert known == pytest.approx(asked, abs=1e-5)


@pytest.mark.parametrize("objective", ONE_OF_EACH, ids=named)
@pytest.mark.parametrize("adapter", [Full(), Prefix(), Prompt(), PTuning(), Qlora()], ids=named)
def test_every_objective_trains_every_kind_of_adapter(objective: Method, adapter: Method, fit):
    method = type(objective)(adapter=adapter, learning_rate=min(adapter.learning_rate, 1e-2))
    fitted = fit(method, steps=12, reference=isinstance(adapter, Full))
    assert sum(fitted.losses[-3:]) < sum(fitted.losses[:3])
    assert fitted.training.trainable_dtype == "float32"
    assert set(getattr(fitted.model, "peft_config", {"default": 0})) == {"default"}


ADAPTERS = [name for name, cls in discover().items() if not of(cls).preferences]
QUICK = ("lora", "trainable-tokens")  # the others are slow tests


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in ADAPTERS])
def test_every_adapter_learns_from_preferences_and_is_held_to_the_base(name: str, tiny_llama: str, monkeypatch):
    adapter = get(name)()
    dpo = Dpo(adapter=adapter, learning_rate=adapter.learning_rate)
    if (reason := adapter.supports(info(Model(path=tiny_llama), "cpu"))) is not None:
        with pytest.raises(ValueError, match=re.escape(reason)):
            Case(dpo, tiny_llama)
        return
    case, found = Case(dpo, tiny_llama), []
    for known in (True, adapter.trains_base_weights()):
        monkeypatch.setattr(loop, "precomputes_reference", lambda run, rows, known=known: known)
        found.append(case.train(case.run(steps=6)).losses)
    assert found[0] == pytest.approx(found[1], abs=1e-4)
    assert len(set(found[0])) > 3
    monkeypatch.setattr(loop, "precomputes_reference", lambda run, rows: False)
    orpo = Case(Orpo(adapter=adapter, learning_rate=adapter.learning_rate), tiny_llama)
    assert all(map(math.isfinite, orpo.train(orpo.run(steps=2)).losses))


@dataclass
class Watched(Lora):
    """LoRA that notes what it is told, and has all hooks."""

    seen: ClassVar[list[Any]] = []

    def adapt(self, model, context):
        self.seen.append([*context.rows])
        return super().adapt(model, context)

    def optimizer(self, model, groups, defaults):
        return torch.optim.SGD(groups[0]["params"], lr=0.1)

    def after_step(self, model, step, progress):
        self.seen.append((step, progress))

    def penalty(self, model):
        self.seen.append("penalty")


def test_the_hooks_are_those_of_the_adapter(fit):
    Watched.seen.clear()
    assert fit(Orpo(adapter=Watched()), steps=2).training.optimizer == "SGD"
    assert Watched.seen[1:] == ["penalty", (1, 0.5), "penalty", (2, 1.0)]


def test_an_adapter_is_started_from_the_right_answers(make_run, examples, adapted):
    tokenizer = adapted("llama", None)[1]
    for method in (Lora(), *ONE_OF_EACH):
        rows = loop.supervised(loop.rows(make_run(method), examples, tokenizer))
        assert [*rows] == [training_row(t) for t in tokenise(examples, tokenizer, 64)]
