"""Scores of all choices after a prompt: with the prompt's keys and values reused, as without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM

from bench.evaluate.choices import _apart, choice_log_probs
from bench.method import Method
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora

Adapted = Callable[..., tuple[Any, Any]]
METHODS = [None, Lora(), Qlora(), Prefix(virtual_tokens=5), Prompt(virtual_tokens=5), PTuning(virtual_tokens=5)]
PROMPTS = [[0, 9, 30, 31, 32, 60], [0, 7], [3], [0, 200, 201, 202, 203, 204, 205, 206, 207, 9]]
CHOICES = [[40, 0], [41, 50, 51, 0], [0], [41, 50, 52, 53, 54, 0]]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name if m else "base")
def test_the_cache_changes_no_score(architecture: str, method: Method | None, adapted: Adapted):
    model, _ = adapted(architecture, method)
    scores = choice_log_probs(model, PROMPTS, CHOICES)
    assert scores.shape == (4, 4)
    assert scores.std() > 0.5
    with torch.no_grad():
        torch.testing.assert_close(scores, _apart(model, PROMPTS, CHOICES), atol=1e-4, rtol=1e-5)


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
    passes = []
    handle = model.get_base_model().register_forward_pre_hook(lambda *_: passes.append(1))
    scores = choice_log_probs(model, PROMPTS, [[5], [6], [7]])
    handle.remove()
    assert len(passes) == 1
    with torch.no_grad():
        torch.testing.assert_close(scores, _apart(model, PROMPTS, [[5], [6], [7]]), atol=1e-4, rtol=1e-5)


def test_a_model_that_keeps_no_keys_and_values_is_scored_too():
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, state_size=4)
    model = MambaForCausalLM(config).eval()
    with torch.no_grad():
        expected = _apart(model, PROMPTS, CHOICES)
    assert torch.equal(choice_log_probs(model, PROMPTS, CHOICES), expected)
