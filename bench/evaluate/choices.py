"""Score answers after prompts, each prompt computed once.

A prompt runs through the model once and leaves its keys and values; all answers to it then continue from there in
one pass. An encoder-decoder's encoder likewise reads a prompt once. A model that cannot go on from keys and values
(state-space models, also as a part of the layers) gets prompt and answer together instead.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.functional import pad as fill
from transformers.modeling_outputs import BaseModelOutput

from bench.data.tokens import PadRight, Tokens, pad, training_row
from bench.evaluate.reading import Reader, reader
from bench.models.logits import completion_log_probs, inner_model, logits_only_at

Answers = Sequence[Sequence[list[int]]]  # token ids of each answer, by prompt


def choice_log_probs(
    model: nn.Module, prompts: Sequence[list[int]], choices: Sequence[list[int]], reads: Reader | None = None
) -> Tensor:
    """Summed log-probability of each choice after each prompt, [prompts, choices], on the model's device.

    Args:
        model: in evaluation mode, with or without an adapter.
        prompts: token ids, at least one each.
        choices: token ids, at least one each, the end token included where it counts.
        reads: the reader of these prompts, or of more that begin as they do; by default one is made.
    """
    reads = reads or reader(model, prompts)
    return torch.stack(answer_log_probs(model, reads, prompts, [choices] * len(prompts)))


@torch.no_grad()
def answer_log_probs(
    model: nn.Module, reads: Reader | None, prompts: Sequence[list[int]], answers: Answers
) -> list[Tensor]:
    """Summed log-probability of each prompt's own answers, [answers] for every prompt.

    Args:
        model: in evaluation mode, with or without an adapter.
        reads: its reader; None where it has none.
        prompts: token ids, at least one each.
        answers: token ids, at least one each, the end token included where it counts.
    """
    if reads is not None:
        return _after_reading(reads, prompts, answers)
    if inner_model(model).config.is_encoder_decoder:
        return _after_encoding(model, prompts, answers)
    return _apart(model, prompts, answers)


def _after_reading(reads: Reader, prompts: Sequence[list[int]], answers: Answers) -> list[Tensor]:
    read = reads.read(prompts)

    def follow(rows: list[int], ids: Tensor, mask: Tensor) -> Tensor:
        there = read.select(rows)
        return reads.follow(there.cache, there.mask, ids, mask, mask.bool())

    return _scores(read.logits, answers, follow)


def _after_encoding(model: nn.Module, prompts: Sequence[list[int]], answers: Answers) -> list[Tensor]:
    inner = inner_model(model)
    ids = pad(prompts, inner.config.pad_token_id).to(inner.device)
    mask = pad([[1] * len(prompt) for prompt in prompts], 0).to(inner.device)
    start = torch.full_like(ids[:, :1], inner.config.decoder_start_token_id)
    output = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=True)
    encoded = output.encoder_last_hidden_state
    mask = fill(mask, (encoded.shape[1] - mask.shape[1], 0), value=1)  # soft prompts stand in front

    def follow(rows: list[int], ids: Tensor, counted: Tensor) -> Tensor:
        at = torch.tensor(rows, device=inner.device)
        cache = output.past_key_values
        cache.batch_select_indices(at)
        with logits_only_at(inner, counted.bool()):
            following = inner(
                encoder_outputs=BaseModelOutput(encoded[at]), attention_mask=mask[at], decoder_input_ids=ids,
                past_key_values=cache, use_cache=True,
            )  # fmt: skip
        return following.logits

    return _scores(output.logits[:, -1], answers, follow)


def _scores(first: Tensor, answers: Answers, follow: Callable[[list[int], Tensor, Tensor], Tensor]) -> list[Tensor]:
    """Sums over the tokens of all answers.

    Args:
        first: logits [prompts, vocabulary] of the first token of any answer.
        answers: by prompt.
        follow: gives the logits of what follows [counted, vocabulary], for one row after the prompts named in its
            first argument each: their token ids [rows, length] and the mask of those that count.
    """
    rows = [row for row, some in enumerate(answers) for _ in some]
    flat = [answer for some in answers for answer in some]
    device = first.device
    starts = torch.tensor([answer[0] for answer in flat], device=device)
    scores = first.float().log_softmax(-1)[torch.tensor(rows, device=device), starts]
    if max(map(len, flat)) > 1:
        # what is padded comes after all that counts
        inputs = pad([answer[:-1] or [0] for answer in flat], 0).to(device)
        mask = pad([[1] * (len(answer) - 1) or [0] for answer in flat], 0).to(device)
        targets = torch.tensor([token for answer in flat for token in answer[1:]], device=device)
        log_probs = -cross_entropy(follow(rows, inputs, mask).float(), targets, reduction="none")
        scores = scores.index_add(0, mask.nonzero()[:, 0], log_probs)
    return list(scores.split([len(some) for some in answers]))


def _apart(model: nn.Module, prompts: Sequence[list[int]], answers: Answers) -> list[Tensor]:
    """Every answer with its prompt as a row of its own."""
    device = inner_model(model).device
    kind = "seq2seq" if inner_model(model).config.is_encoder_decoder else "causal"
    pairs = [(prompt, answer) for prompt, some in zip(prompts, answers, strict=True) for answer in some]
    batch = PadRight(0)([training_row(Tokens(prompt, answer), kind) for prompt, answer in pairs])
    scores = completion_log_probs(model, {key: value.to(device) for key, value in batch.items()})
    return list(scores.split([len(some) for some in answers]))
