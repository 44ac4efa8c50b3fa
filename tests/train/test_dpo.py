"""Preferences: our loss is TRL's, the reference is the untouched base, and nothing of TRL's stays behind."""

import math

import pytest
import torch
from trl import DPOTrainer

from bench.data.tokens import tokenise
from bench.models.logits import completion_log_probs
from bench.train import loop
from bench.train.preferences import DpoTrainer
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prompt import Prompt
from methods.qlora import Qlora

LN2 = math.log(2)


@pytest.mark.parametrize("reference", [True, False], ids=["precomputed", "adapter-disabled"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_losses_are_those_of_trl(architecture: str, reference: bool, fit, monkeypatch):
    theirs = []
    compute = DPOTrainer.compute_loss

    def watched(self, *args, **kwargs):
        theirs.append(1)
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(DPOTrainer, "compute_loss", watched)
    labelled = fit(Dpo(), architecture=architecture, reference=reference, loss="labelled").losses
    assert not theirs
    full = fit(Dpo(), architecture=architecture, reference=reference, loss="full").losses
    assert len(theirs) == 5
    assert labelled == pytest.approx(full, abs=1e-5)
    assert abs(labelled[-1] - LN2) > 0.01


def test_the_first_loss_is_ln_2_while_policy_and_reference_are_one(fit):
    for adapter, reference in ((Lora(), True), (Lora(), False), (Qlora(), False), (Full(), True)):
        assert fit(Dpo(adapter=adapter), reference=reference).losses[0] == pytest.approx(LN2, abs=1e-6)


def test_both_ways_to_the_reference_give_the_same_losses(fit):
    assert fit(Dpo(), reference=True).losses == pytest.approx(fit(Dpo(), reference=False).losses, abs=1e-5)


def test_a_soft_prompt_is_held_to_the_base_without_it(fit):
    apart = fit(Dpo(adapter=Prompt(virtual_tokens=4)), reference=False).losses
    assert apart == pytest.approx(fit(Dpo(adapter=Prompt(virtual_tokens=4)), reference=True).losses, abs=1e-5)
    assert abs(apart[0] - LN2) > 1e-4


def test_a_step_s_loss_by_hand(fit, examples, adapted):
    method = Dpo(beta=0.5, learning_rate=1e-2)
    fitted = fit(method, rows=examples[:4], steps=2, reference=True)
    after_one = fit(method, rows=examples[:4], steps=1, reference=True).model.eval()
    base, tokenizer = adapted("llama", None)

    @torch.no_grad()
    def log_prob(model, prompt, completion):
        ids = torch.tensor([prompt + completion])
        labels = torch.tensor([[-100] * len(prompt) + completion])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        return float(completion_log_probs(model, batch))

    losses = []
    for t in tokenise(examples[:4], tokenizer, 64):
        gain, loss = (
            log_prob(after_one, t.prompt, c) - log_prob(base, t.prompt, c) for c in (t.completion, t.rejected)
        )
        losses.append(math.log1p(math.exp(-0.5 * (gain - loss))))
    assert fitted.losses[1] == pytest.approx(sum(losses) / 4, abs=1e-5)


def test_preferences_train_all_weights_too(fit, adapted):
    fitted = fit(Dpo(adapter=Full(), learning_rate=1e-3), steps=8, reference=True)
    assert fitted.losses[-1] < LN2 - 0.01
    base, _ = adapted("llama", None)
    assert not torch.equal(fitted.model.get_input_embeddings().weight, base.get_input_embeddings().weight)


def test_a_quantised_base_leaves_the_adapter_float32(fit):
    fitted = fit(Dpo(adapter=Qlora()))
    assert {p.dtype for p in fitted.model.parameters() if p.requires_grad} == {torch.float32}
    assert fitted.training.trainable_dtype == "float32"
    assert any(float(p.abs().max()) > 0 for name, p in fitted.model.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("reference", [True, False])
def test_no_copy_of_the_adapter_remains(reference: bool, fit):
    model = fit(Dpo(), reference=reference).model
    assert set(model.peft_config) == {"default"}
    assert not [name for name, _ in model.named_parameters() if ".ref." in name]
    assert model.active_adapter == "default"


@pytest.mark.parametrize("loss", ["labelled", "full"])
@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulated_gradients_train_as_one_batch_does(accumulation: int, loss: str, fit):
    whole = fit(Dpo(), batch_size=8, loss=loss).losses
    parts = fit(Dpo(), batch_size=8, loss=loss, gradient_accumulation=accumulation).losses
    assert parts == pytest.approx(whole, abs=2e-5)


def test_gradient_checkpointing_changes_no_loss(fit):
    plain = fit(Dpo()).losses
    assert fit(Dpo(), gradient_checkpointing=True).losses == pytest.approx(plain, abs=1e-5)


def test_the_same_seed_gives_the_same_losses_and_another_does_not(fit):
    once, again, other = (fit(Dpo(), seed=seed).losses for seed in (0, 0, 1))
    assert once == again
    assert once != other


@pytest.mark.parametrize(
    ("adapter", "budget", "expected"),
    [
        (Lora(), {"steps": 1}, False),  # 4 of 24 rows
        (Lora(), {"steps": 2}, True),
        (Lora(), {"epochs": 2}, True),
        (Lora(), {"seconds": 60}, False),
        (Full(), {"steps": 1}, True),
    ],
)
def test_reference_values_are_computed_beforehand_where_that_is_cheaper_or_the_only_way(
    adapter, budget, expected, make_run, examples, adapted
):
    run = make_run(Dpo(adapter=adapter), **budget)
    dataset = loop.rows(run, examples, adapted("llama", None)[1])
    assert loop.precomputes_reference(run, dataset) is expected
    supervised = make_run(Lora(), **budget)
    assert not loop.precomputes_reference(supervised, loop.rows(supervised, examples, adapted("llama", None)[1]))


def test_reference_values_are_the_base_model_s(make_run, examples, adapted):
    base, tokenizer = adapted("llama", None)
    dataset = loop.rows(make_run(Dpo()), examples, tokenizer)
    small, large = (loop.with_reference(base, dataset, tokenizer, size) for size in (5, 100))
    for column in ("ref_chosen_logps", "ref_rejected_logps"):
        assert small[column] == pytest.approx(large[column], abs=1e-4)
    assert small["ref_chosen_logps"] != small["ref_rejected_logps"]
    assert all(value < 0 for value in small["ref_chosen_logps"])


def test_dropout_is_off_for_both_policy_and_reference(fit):
    assert fit(Dpo(adapter=Lora(dropout=0.5))).losses == fit(Dpo(adapter=Lora(dropout=0.0))).losses


def test_our_loss_reads_what_trl_s_collator_makes():
    assert issubclass(DpoTrainer, DPOTrainer)
    assert DpoTrainer.get_train_dataloader is DPOTrainer.get_train_dataloader
