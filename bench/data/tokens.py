"""From examples to batches: tokenise once, pad on the right, mark the tokens that carry loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.data.example import Example

IGNORED = -100  # the label of a token without loss, as torch's cross entropy has it


@dataclass(frozen=True)
class Tokens:
    """One tokenised example: prompt and completion apart, the end token included in the completion."""

    prompt: list[int]
    completion: list[int]
    rejected: list[int] | None = None


def tokenise(examples: Sequence[Example], tokenizer: Any, max_length: int) -> list[Tokens]:
    """Tokenise prompt and completion apart, so that the boundary is the same wherever the completion comes from.

    An example longer than `max_length` loses the beginning of its prompt, and the end of its completion only if
    that alone is too long. A prompt keeps at least one token: a text without one begins with the tokenizer's
    begin token, or its end token where there is none.
    """

    def ids(texts: list[str]) -> list[list[int]]:
        return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    begin = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
    end = [tokenizer.eos_token_id]
    prompts = ids([e.prompt for e in examples])
    completions = ids([e.completion for e in examples])
    rejected = iter(ids([e.rejected for e in examples if e.rejected is not None]))
    found = []
    for example, prompt, completion in zip(examples, prompts, completions, strict=True):
        right = (completion + end)[: max_length - 1]
        wrong = None if example.rejected is None else (next(rejected) + end)[: max_length - 1]
        room = max_length - max(len(right), len(wrong or []))
        found.append(Tokens((begin + prompt)[-room:], right, wrong))
    return found


def training_row(tokens: Tokens) -> dict[str, list[int]]:
    """`input_ids` and `labels` of one example; labels are set on the completion alone."""
    return {
        "input_ids": tokens.prompt + tokens.completion,
        "labels": [IGNORED] * len(tokens.prompt) + tokens.completion,
    }


def preference_row(tokens: Tokens) -> dict[str, list[int]]:
    """The columns that TRL's DPOTrainer reads. Every example must have a rejected completion."""
    assert tokens.rejected is not None
    return {"prompt_ids": tokens.prompt, "chosen_ids": tokens.completion, "rejected_ids": tokens.rejected}


class PadRight:
    """Collate rows of `input_ids` and `labels` to tensors [batch, longest], padded on the right.

    Right padding leaves positions as they are, so an example's loss does not depend on its neighbours, with
    soft prompts in front of it too.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """The batch, with the mask of what is not padding."""
        return {
            "input_ids": pad([row["input_ids"] for row in rows], self.pad_id),
            "attention_mask": pad([[1] * len(row["input_ids"]) for row in rows], 0),
            "labels": pad([row["labels"] for row in rows], IGNORED),
        }


def pad(rows: Sequence[list[int]], value: int) -> torch.Tensor:
    """Rows of different lengths as one tensor [rows, longest], filled with `value` on the right."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
