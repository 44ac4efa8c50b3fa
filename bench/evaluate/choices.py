"""Score every choice for every prompt, the prompt computed once.

A prompt runs through the model once and leaves its keys and values; all choices then continue from there in
one pass. Soft prompts are in those keys and values already, so the continuation needs the inner model alone.
A model that keeps no such keys and values (state-space models, encoder-decoders) gets prompt and choice together
instead.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.data.tokens import PadRight, Tokens, pad, training_row
from bench.models.logits import completion_log_probs, inner_model, logits_only_at


@torch.no_grad()
def choice_log_probs(model: nn.Module, prompts: Sequence[list[int]], choices: Sequence[list[int]]) -> Tensor:
    """Summed log-probability of each choice after each prompt, [prompts, choices], on the model's device.

    Args:
        model: a causal language model in evaluation mode, with or without an adapter.
        prompts: token ids, at least one each; they are padded to one batch.
        choices: token ids, at least one each, the end token included where it counts.
    """
    if inner_model(model).config.is_encoder_decoder:
        return _apart(model, prompts, choices)
    device = inner_model(model).device
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids = pad(prompts, 0).to(device)
    mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
    last = torch.arange(ids.shape[1], device=device) == lengths[:, None] - 1
    with logits_only_at(model, last):
        output = model(input_ids=ids, attention_mask=mask, use_cache=True)
    cache = output.get("past_key_values")
    if cache is None or not hasattr(cache, "batch_repeat_interleave"):
        return _apart(model, prompts, choices)

    scores = output.logits.float().log_softmax(-1)[:, [choice[0] for choice in choices]]
    longest = max(len(choice) for choice in choices)
    if longest == 1:
        return scores
    virtual = cache.get_seq_length() - ids.shape[1]
    cache.batch_repeat_interleave(len(choices))
    inputs = pad([choice[:-1] for choice in choices], 0).to(device)
    targets = pad([choice[1:] for choice in choices], 0).to(device)
    counted = pad([[1] * (len(choice) - 1) for choice in choices], 0).to(device)
    seen = torch.cat([torch.ones(len(prompts), virtual, dtype=mask.dtype, device=device), mask], dim=1)
    seen = torch.cat([seen.repeat_interleave(len(choices), 0), counted.repeat(len(prompts), 1)], dim=1)
    positions = (virtual + lengths).repeat_interleave(len(choices))[:, None] + torch.arange(longest - 1, device=device)
    logits = inner_model(model)(
        input_ids=inputs.repeat(len(prompts), 1),
        attention_mask=seen,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).logits
    log_probs = logits.float().log_softmax(-1).gather(-1, targets.repeat(len(prompts), 1)[..., None])[..., 0]
    return scores + (log_probs * counted.repeat(len(prompts), 1)).sum(-1).view(len(prompts), len(choices))


def _apart(model: nn.Module, prompts: Sequence[list[int]], choices: Sequence[list[int]]) -> Tensor:
    """Every choice with its prompt as a row of its own."""
    device = inner_model(model).device
    kind = "seq2seq" if inner_model(model).config.is_encoder_decoder else "causal"
    rows = []
    for prompt in prompts:
        batch = PadRight(0)([training_row(Tokens(prompt, choice), kind) for choice in choices])
        rows.append(completion_log_probs(model, {key: value.to(device) for key, value in batch.items()}))
    return torch.stack(rows)
