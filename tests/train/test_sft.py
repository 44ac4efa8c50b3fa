"""The supervised objective: the same losses as TRL's, the same data for everyone, nothing lost in between."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from bench.data.tokens import PadRight, tokenise, training_row
from bench.models.logits import inner_model
from methods.full import Full
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora


def trl_losses(model: Any, tokenizer: Any, examples: Any, folder: str, **settings: Any) -> list[float]:
    """The loss of every step of TRL's own trainer on the same rows, tokenised already."""
    losses: list[float] = []

    class Watched(SFTTrainer):
        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            loss = super().training_step(*args, **kwargs)
            losses.append(float(loss))
            return loss

    common = {
        "output_dir": folder,
        "max_steps": 5,
        "per_device_train_batch_size": 4,
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "seed": 0,
        "data_seed": 0,
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    rows = Dataset.from_list([training_row(t) for t in tokenise(examples, tokenizer, 64)])
    arguments = SFTConfig(**(common | settings))
    Watched(model, arguments, train_dataset=rows, processing_class=tokenizer).train()
    return losses


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_losses_are_those_of_trl(architecture: str, fit, adapted, examples, tmp_path):
    ours = fit(Lora(), architecture=architecture, group_by_length=False).losses
    model, tokenizer = adapted(architecture, Lora(), noise=0.0)
    theirs = trl_losses(model, tokenizer, examples, str(tmp_path), learning_rate=Lora().learning_rate)
    assert ours == pytest.approx(theirs, abs=1e-5)
    assert abs(ours[-1] - ours[0]) > 0.01


@pytest.mark.parametrize("method", [Lora(), Full(), Prompt(virtual_tokens=4)], ids=lambda m: m.name)
def test_where_logits_are_computed_changes_no_loss(method, fit):
    assert fit(method, loss="full").losses == pytest.approx(fit(method, loss="labelled").losses, abs=1e-5)


@pytest.mark.parametrize("accumulation", [2, 4, 8])
def test_accumulated_gradients_train_as_one_batch_does(accumulation: int, fit):
    whole = fit(Lora(), batch_size=8).losses
    assert fit(Lora(), batch_size=8, gradient_accumulation=accumulation).losses == pytest.approx(whole, abs=2e-5)


def test_gradient_checkpointing_changes_no_loss(fit):
    plain = fit(Lora())
    checkpointed = fit(Lora(), gradient_checkpointing=True)
    assert checkpointed.losses == pytest.approx(plain.losses, abs=1e-5)
    assert inner_model(checkpointed.model).is_gradient_checkpointing
    assert not inner_model(plain.model).is_gradient_checkpointing


@pytest.mark.parametrize("method", [Lora(dropout=0.3), Prefix(), PTuning()], ids=lambda m: m.name)
def test_the_same_seed_gives_the_same_losses_to_the_last_bit_and_another_does_not(method, fit):
    once, again, other = (fit(method, seed=seed).losses for seed in (0, 0, 1))
    assert once == again
    assert once != other


def test_everyone_sees_the_same_data_in_the_same_order_for_the_same_seed(fit, monkeypatch):
    collate, seen = PadRight.__call__, []

    def watched(self, rows):
        batch = collate(self, rows)
        seen[-1].append(batch["input_ids"].tolist())
        return batch

    monkeypatch.setattr(PadRight, "__call__", watched)
    for method, seed in ((Lora(), 0), (Prompt(), 0), (Full(), 0), (Lora(), 1)):
        seen.append([])
        fit(method, seed=seed, steps=8)  # more than an epoch
    lora, prompt, full, other = seen
    assert lora == prompt == full != other
    assert len(lora) >= 8
    first_epoch = [tuple(filter(lambda i: i != 1, row)) for batch in lora[:6] for row in batch]
    assert len(set(first_epoch)) == 24
    assert lora[:2] != lora[6:8]


@dataclass
class Grouped(Lora):
    """LoRA whose B matrices stay where they are."""

    def param_groups(self, model):
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        return [
            {"params": [p for name, p in named if "lora_A" in name], "lr": 1e-2},
            {"params": [p for name, p in named if "lora_B" in name], "lr": 0.0},
        ]


def test_a_method_s_parameter_groups_are_used(fit):
    fitted = fit(Grouped())
    assert all(float(p.abs().max()) == 0 for name, p in fitted.model.named_parameters() if "lora_B" in name)
    assert fitted.lines[-1]["learning_rate"] == 1e-2
    assert fitted.losses != fit(Lora()).losses


def test_weight_decay_reaches_every_group(fit):
    def norm(weight_decay: float) -> float:
        model = fit(Grouped(), weight_decay=weight_decay).model
        return sum(float(p.norm()) for name, p in model.named_parameters() if "lora_A" in name)

    assert norm(20.0) < 0.8 * norm(0.0)


def test_the_base_stays_and_the_adapter_keeps_float32(fit, adapted):
    fitted = fit(Qlora())
    assert {p.dtype for p in fitted.model.parameters() if p.requires_grad} == {torch.float32}
    assert fitted.training.trainable_dtype == "float32"
    base, _ = adapted("llama", None)
    trained = inner_model(fit(Lora()).model).state_dict()
    for name, weight in base.state_dict().items():
        kept = trained.get(name, trained.get(name.replace(".weight", ".base_layer.weight")))
        assert torch.equal(kept, weight), name


def test_bfloat16_computes_in_bfloat16_with_float32_weights(fit):
    dtypes = set()

    def watch(model):
        model.get_output_embeddings().register_forward_hook(lambda m, a, out: dtypes.add(out.dtype))

    fitted = fit(Full(), precision="bfloat16", prepare=watch)
    assert dtypes == {torch.bfloat16}
    assert (fitted.training.precision, fitted.training.trainable_dtype) == ("bfloat16", "float32")
    assert fitted.losses == pytest.approx(fit(Full()).losses, rel=0.02)
    assert fitted.losses != fit(Full()).losses
