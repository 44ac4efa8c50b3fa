"""Score every choice for every prompt, the prompt computed once.

A prompt runs through the model once and leaves its keys and values; all choices then continue from there in
one pass. Soft prompts are in those keys and values already, so the continuation needs the inner model alone.
Prompts are of one length, because padding between prompt and choice would change the scores of some models: it fills
the window of sliding or chunked attention, and it counts where a model is not told positions.
A model that keeps no such keys and values (state-space models, also as a part of the layers, encoder-decoders) gets
prompt and choice together instead.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import LinearAttentionCacheLayerMixin

from bench.data.tokens import PadRight, Tokens, pad, training_row
from bench.models.logits import completion_log_probs, inner_model, logits_only_at


@torch.no_grad()
def choice_log_probs(model: nn.Module, prompts: Sequence[list[int]], choices: Sequence[list[int]]) -> Tensor:
    """Summed log-probability of each choice after each prompt, [prompts, choices], on the model's device.

    Args:
        model: a causal language model in evaluation mode, with or without an adapter.
        prompts: token ids, at least one each; those of a causal model all of one length.
        choices: token ids, at least one each, the end token included where it counts.
    """
    if inner_model(model).config.is_encoder_decoder:
        return _apart(model, prompts, choices)
    device = inner_model(model).device
    ids = torch.tensor(prompts, device=device)
    last = torch.zeros_like(ids, dtype=torch.bool)
    last[:, -1] = True
    with logits_only_at(model, last):
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True)
    cache = output.get("past_key_values")
    if not _continues(cache):
        return _apart(model, prompts, choices)

    scores = output.logits.float().log_softmax(-1)[:, [choice[0] for choice in choices]]
    if max(len(choice) for choice in choices) == 1:
        return scores
    cache.batch_repeat_interleave(len(choices))
    # no mask: what is padded comes after all that counts
    inputs = pad([choice[:-1] for choice in choices], 0).to(device).repeat(len(prompts), 1)
    targets = pad([choice[1:] for choice in choices], 0).to(device).repeat(len(prompts), 1)
    counted = pad([[1] * (len(choice) - 1) for choice in choices], 0).to(device).repeat(len(prompts), 1)
    logits = inner_model(model)(input_ids=inputs, past_key_values=cache, use_cache=True).logits
    log_probs = logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return scores + (log_probs * counted).sum(-1).view(len(prompts), len(choices))


def _continues(cache: object) -> bool:
    """Whether several tokens can go on from a cache: from keys and values alone, not from a recurrent state."""
    recurrent = LinearAttentionCacheLayerMixin
    return isinstance(cache, DynamicCache) and not any(isinstance(layer, recurrent) for layer in cache.layers)


def _apart(model: nn.Module, prompts: Sequence[list[int]], choices: Sequence[list[int]]) -> Tensor:
    """Every choice with its prompt as a row of its own."""
    device = inner_model(model).device
    kind = "seq2seq" if inner_model(model).config.is_encoder_decoder else "causal"
    rows = []
    for prompt in prompts:
        batch = PadRight(0)([training_row(Tokens(prompt, choice), kind) for choice in choices])
        rows.append(completion_log_probs(model, {key: value.to(device) for key, value in batch.items()}))
    return torch.stack(rows)
