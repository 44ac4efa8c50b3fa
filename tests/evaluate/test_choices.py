"""Scores of all choices after a prompt: with the prompt's keys and values reused, as without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, FalconH1Config, Lfm2Config, MambaConfig

from bench.evaluate import choices
from bench.evaluate.choices import answer_log_probs, choice_log_probs
from bench.evaluate.reading import reader
from bench.method import Method
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora

Adapted = Callable[..., tuple[Any, Any]]
METHODS = [None, Lora(), Qlora(), Prefix(virtual_tokens=5), Prompt(virtual_tokens=5), PTuning(virtual_tokens=5)]
PROMPTS = [[0, 9, 30, 31, 32, 60], [0, 200, 201, 202, 203, 9], [7, 0, 7, 0, 7, 0]]


def apart(model: Any, prompts: list[list[int]], some: list[list[int]]) -> torch.Tensor:
    """Every choice with its prompt as a row of its own."""
    return torch.stack(choices._apart(model, prompts, [some] * len(prompts)))


CHOICES = [[40, 0], [41, 50, 51, 0], [0], [41, 50, 52, 53, 54, 0]]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name if m else "base")
def test_the_cache_changes_no_score(architecture: str, method: Method | None, adapted: Adapted):
    model, _ = adapted(architecture, method)
    scores = choice_log_probs(model, PROMPTS, CHOICES)
    assert scores.shape == (3, 4)
    assert scores.std() > 0.5
    with torch.no_grad():
        torch.testing.assert_close(scores, apart(model, PROMPTS, CHOICES), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name if m else "base")
def test_a_prompt_s_scores_do_not_depend_on_its_batch(architecture: str, method: Method | None, adapted: Adapted):
    model, _ = adapted(architecture, method)
    together = choice_log_probs(model, PROMPTS, CHOICES)
    alone = torch.cat([choice_log_probs(model, [prompt], CHOICES) for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-5)
    each = torch.cat([choice_log_probs(model, PROMPTS, [choice]) for choice in CHOICES], dim=1)
    torch.testing.assert_close(together, each, atol=1e-4, rtol=1e-5)


@torch.no_grad()
def test_a_score_is_the_sum_over_the_choice_s_tokens(adapted: Adapted):
    model, _ = adapted("llama", None)
    logits = model(input_ids=torch.tensor([PROMPTS[0] + CHOICES[1]])).logits[0].log_softmax(-1)
    by_hand = sum(float(logits[len(PROMPTS[0]) - 1 + i, token]) for i, token in enumerate(CHOICES[1]))
    assert float(choice_log_probs(model, PROMPTS, CHOICES)[0, 1]) == pytest.approx(by_hand, abs=1e-4)


def test_choices_of_one_token_need_no_second_pass(adapted: Adapted):
    model, _ = adapted("llama", Prompt(virtual_tokens=5))
    passes: list[int] = []
    reads = reader(model, PROMPTS)
    handle = model.get_base_model().register_forward_pre_hook(lambda *_: passes.append(1))
    scores = choice_log_probs(model, PROMPTS, [[5], [6], [7]], reads)
    handle.remove()
    assert len(passes) == 1
    with torch.no_grad():
        torch.testing.assert_close(scores, apart(model, PROMPTS, [[5], [6], [7]]), atol=1e-4, rtol=1e-5)


def test_a_prompt_may_be_a_single_token(adapted: Adapted):
    model, _ = adapted("llama", None)
    with torch.no_grad():
        torch.testing.assert_close(
            choice_log_probs(model, [[3], [9]], CHOICES), apart(model, [[3], [9]], CHOICES), atol=1e-4, rtol=1e-5
        )


SIZE = {"vocab_size": 320, "hidden_size": 32, "pad_token_id": 0}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 64}
RECURRENT = {
    "mamba": MambaConfig(**SIZE, num_hidden_layers=1, state_size=4),
    "lfm2": Lfm2Config(**SIZE, **HEADS, num_hidden_layers=2, layer_types=["conv", "full_attention"]),
    "falcon_h1": FalconH1Config(
        **SIZE, **HEADS, num_hidden_layers=1, mamba_d_ssm=32, mamba_n_heads=2, mamba_d_head=16, mamba_d_state=4
    ),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_a_model_with_a_recurrent_state_is_scored_too(name: str):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(RECURRENT[name]).eval()
    with torch.no_grad():
        expected = apart(model, PROMPTS, CHOICES)
    assert torch.equal(choice_log_probs(model, PROMPTS, CHOICES), expected)


SOME_ANSWERS = [[[40, 0]], [[41, 50, 51, 0], [9]], [[5, 6], [7, 8, 9], [40]]]
OF_ANY_LENGTH = [[0, 9, 30, 31, 32, 60, 8], [0, 200], [7, 0, 7, 0]]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name if m else "base")
def test_prompts_of_different_lengths_with_answers_of_their_own(method: Method | None, adapted: Adapted):
    model, _ = adapted("llama", method)
    together = answer_log_probs(model, reader(model, OF_ANY_LENGTH), OF_ANY_LENGTH, SOME_ANSWERS)
    assert [len(row) for row in together] == [1, 2, 3]
    with torch.no_grad():
        for prompt, some, found in zip(OF_ANY_LENGTH, SOME_ANSWERS, together, strict=True):
            torch.testing.assert_close(found, choices._apart(model, [prompt], [some])[0], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name if m else "base")
def test_an_encoder_reads_a_prompt_once(method: Method | None, adapted_t5: Adapted):
    model = adapted_t5(method)[0]
    read = []
    handle = model.get_encoder().register_forward_pre_hook(
        lambda _, __, given: read.append(len(given["attention_mask"])), with_kwargs=True
    )
    found = answer_log_probs(model, None, OF_ANY_LENGTH, SOME_ANSWERS)
    handle.remove()
    assert read == [3]
    with torch.no_grad():
        for prompt, some, scores in zip(OF_ANY_LENGTH, SOME_ANSWERS, found, strict=True):
            torch.testing.assert_close(scores, choices._apart(model, [prompt], [some])[0], atol=1e-4, rtol=1e-5)
