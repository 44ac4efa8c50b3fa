"""Greedy answers to prompts."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from bench.config import Task
from bench.data.tokens import pad
from bench.evaluate.batches import batches
from bench.models.logits import inner_model


@torch.no_grad()
def generate(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], task: Task, batch_size: int, kind: str = "causal"
) -> list[str]:
    """The model's greedy answer to each prompt, without what follows the first of the task's stop texts.

    An answer ends at the tokenizer's end token, at one of the model's own, at a stop text or after
    `task.max_new_tokens`. A causal model's batch holds prompts of one length, so nothing is padded and no method's
    positions shift; an encoder's input is padded.
    """
    settings = greedy(model, tokenizer, task)
    device = inner_model(model).device
    answers = [""] * len(prompts)
    for batch in batches([len(prompt) for prompt in prompts], batch_size, one_length=kind == "causal"):
        ids = pad([prompts[i] for i in batch], tokenizer.pad_token_id).to(device)
        mask = pad([[1] * len(prompts[i]) for i in batch], 0).to(device)
        output = model.generate(
            input_ids=ids, attention_mask=mask, generation_config=settings, tokenizer=tokenizer if task.stop else None
        )
        new = output[:, ids.shape[1] :] if kind == "causal" else output
        for i, row in zip(batch, new, strict=True):
            answers[i] = cut(tokenizer.decode(row, skip_special_tokens=True), task.stop)
    return answers


def greedy(model: Any, tokenizer: Any, task: Task) -> GenerationConfig:
    """The settings of a greedy generation, of which none is the model's own but the tokens that end an answer."""
    own = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])} - {None}
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        max_new_tokens=task.max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=model.generation_config.decoder_start_token_id,
        stop_strings=list(task.stop) or None,
    )


def cut(text: str, stops: Sequence[str]) -> str:
    """The text without the first of the stop texts and what follows it."""
    ends = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
