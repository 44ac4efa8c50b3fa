"""Log-probabilities of labels: where logits are computed changes neither a value nor a gradient."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from bench.data.tokens import IGNORED, PadRight
from bench.models import chunks
from bench.models.logits import completion_log_probs, inner_model, label_log_probs, logits_only_at
from methods.full import Full
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning

Adapted = Callable[..., tuple[Any, Any]]
METHODS = [None, Full(), Lora(), Prefix(virtual_tokens=5), Prompt(virtual_tokens=5), PTuning(virtual_tokens=5)]
CASES = [(a, m) for a in ("llama", "gpt2") for m in METHODS]
IDS = [f"{a}-{m.name if m else 'base'}" for a, m in CASES]
ROWS = [(7, 3), (2, 9), (11, 1), (1, 1)]  # tokens of prompt and of completion


def padded_batch() -> dict[str, Tensor]:
    drawn = torch.Generator().manual_seed(3)
    rows = []
    for prompt, completion in ROWS:
        ids = torch.randint(2, 320, (prompt + completion,), generator=drawn).tolist()
        rows.append({"input_ids": ids, "labels": [IGNORED] * prompt + ids[prompt:]})
    return PadRight(1)(rows)


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("architecture", "method"), CASES, ids=IDS)
def test_labelled_logits_full_logits_and_the_library_s_own_loss_agree(architecture, method, adapted: Adapted):
    model, _ = adapted(architecture, method)
    batch = padded_batch()
    labelled, full = label_log_probs(model, batch), label_log_probs(model, batch, full=True)
    assert labelled.shape == (sum(completion for _, completion in ROWS),)
    assert labelled.std() > 0.1
    torch.testing.assert_close(labelled, full, atol=1e-5, rtol=1e-5)
    theirs = model(**batch).loss
    torch.testing.assert_close(-labelled.mean(), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("architecture", "method"), CASES, ids=IDS)
def test_pieces_change_neither_values_nor_gradients(architecture, method, adapted: Adapted, monkeypatch):
    model, _ = adapted(architecture, method)
    batch = padded_batch()
    found, sizes = [], []
    count = lambda m, a, out: sizes.append(len(out))  # noqa: E731
    for size in (4, 1000):
        monkeypatch.setattr(chunks, "positions", lambda vocabulary, size=size: size)
        handle = inner_model(model).get_output_embeddings().register_forward_hook(count)
        values = label_log_probs(model, batch)
        handle.remove()
        with torch.no_grad():
            torch.testing.assert_close(label_log_probs(model, batch), values, atol=1e-6, rtol=1e-6)
        found.append(
            (values.detach(), gradients(model, (values * torch.linspace(-1, 2, len(values))).mean()) if method else {})
        )
    assert sizes == [0, 4, 4, 4, 2, 14]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("facts", [{"final_logit_softcapping": 2.0}, {"logit_scale": 0.3}, {"logits_scaling": 3.0}])
def test_pieces_know_what_families_do_to_their_logits(facts: dict[str, float], monkeypatch):
    kind = {"final_logit_softcapping": "Gemma2", "logit_scale": "Cohere", "logits_scaling": "Granite"}[
        next(iter(facts))
    ]
    sizes = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 1, "initializer_range": 0.5}
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**sizes, **heads, **facts)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval().requires_grad_(False)
    full = label_log_probs(model, padded_batch(), full=True)
    monkeypatch.setattr(chunks, "positions", lambda vocabulary: 4)
    torch.testing.assert_close(label_log_probs(model, padded_batch()), full, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(chunks, "logits_of", lambda head, config: head)
    assert not torch.allclose(label_log_probs(model, padded_batch()), full, atol=1e-2)


@pytest.mark.parametrize(
    ("architecture", "method"), [c for c in CASES if c[1]], ids=[i for i in IDS if "base" not in i]
)
def test_gradients_agree(architecture, method, adapted: Adapted):
    model, _ = adapted(architecture, method)
    batch = padded_batch()
    labelled = gradients(model, -label_log_probs(model, batch).mean())
    full = gradients(model, -label_log_probs(model, batch, full=True).mean())
    theirs = gradients(model, model(**batch).loss)
    assert labelled.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert max(float(gradient.abs().max()) for gradient in labelled.values()) > 1e-4
    for name, gradient in labelled.items():
        torch.testing.assert_close(gradient, full[name], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(gradient, theirs[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("architecture", "method"), CASES, ids=IDS)
@torch.no_grad()
def test_a_row_s_sum_depends_neither_on_its_neighbours_nor_on_padding(architecture, method, adapted: Adapted):
    model, _ = adapted(architecture, method)
    batch = padded_batch()
    together = completion_log_probs(model, batch)
    assert together.shape == (len(ROWS),)
    for i, (prompt, completion) in enumerate(ROWS):
        alone = {key: value[i : i + 1, : prompt + completion] for key, value in batch.items()}
        torch.testing.assert_close(completion_log_probs(model, alone)[0], together[i], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(label_log_probs(model, alone).sum(), together[i], atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_row_without_labels_sums_to_nothing(adapted: Adapted):
    model, _ = adapted("llama", None)
    batch = padded_batch()
    batch["labels"][1] = IGNORED
    assert (completion_log_probs(model, batch) == 0).tolist() == [False, True, False, False]


@torch.no_grad()
def test_the_head_sees_the_kept_positions_alone_and_afterwards_all_again(adapted: Adapted):
    model, _ = adapted("llama", Prompt(virtual_tokens=5))
    batch = padded_batch()
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    whole = model(**inputs).logits
    keep = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    keep[2, 4] = keep[0, 1] = keep[2, 0] = True
    seen: list[tuple[int, ...]] = []
    handle = inner_model(model).get_output_embeddings().register_forward_hook(lambda m, a, out: seen.append(out.shape))
    with logits_only_at(model, keep):
        logits = model(**inputs).logits
    handle.remove()
    assert seen == [(3, 320)]
    own = whole[:, 5:]  # without the virtual tokens
    torch.testing.assert_close(logits, torch.stack([own[0, 1], own[2, 0], own[2, 4]]))
    assert torch.equal(model(**inputs).logits, whole)


def test_the_hook_goes_when_the_forward_fails(adapted: Adapted):
    model, _ = adapted("llama", None)
    with pytest.raises(IndexError):
        label_log_probs(model, padded_batch() | {"input_ids": torch.full((4, 12), 9999)})
    assert not model.get_output_embeddings()._forward_pre_hooks
