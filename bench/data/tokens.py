"""From examples to batches: tokenise once, pad on the right, mark the tokens that carry loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bench.data.example import Example

PAIR = ("prompt_ids", "chosen_ids", "rejected_ids")  # columns of rows of preferences
IGNORED = -100  # the label of a token without loss, as torch's cross entropy has it
COUNTED, RUN = 4096, 256  # rows whose labels are counted where there are more, and how many of them are neighbours


@dataclass(frozen=True)
class Tokens:
    """One tokenised example: prompt and answers apart, the end token included in every answer."""

    prompt: list[int]
    completion: list[int]
    rejected: list[int] | None = None
    options: tuple[list[int], ...] = ()


def tokenise(examples: Sequence[Example], tokenizer: Any, max_length: int, kind: str = "causal") -> list[Tokens]:
    """Tokenise prompt and answers apart, so that the boundary is the same wherever the answer comes from.

    A causal model reads prompt and answer as one row, so an example longer than `max_length` loses the beginning of
    its prompt, and the end of its answer only if that alone is too long. Its prompt keeps at least one token: a text
    without one begins with the tokenizer's begin token, or its end token where there is none. For the other kinds
    the prompt is the encoder's input, with the tokens that the tokenizer puts around one.

    Args:
        examples: with text prompts; conversations were written in a template before (`bench.data.chat`).
        tokenizer: of the base model.
        max_length: tokens of a row, or of the encoder's input and of the answer each.
        kind: of the model: "causal", "classifier" or "seq2seq".
    """

    def ids(texts: list[str], special: bool = False) -> list[list[int]]:
        return tokenizer(texts, add_special_tokens=special, verbose=False)["input_ids"] if texts else []

    causal = kind == "causal"
    begin = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id]
    end = [tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id]
    prompts = ids([str(e.prompt) for e in examples], special=not causal)
    answers = iter(ids([text for e in examples for text in _answers(e)]))
    found = []
    for example, prompt in zip(examples, prompts, strict=True):
        right, *others = [(next(answers) + end)[: max_length - causal] for _ in _answers(example)]
        wrong = None if example.rejected is None else others.pop(0)
        if causal:
            room = max_length - max(len(row) for row in (right, wrong or [], *others))
            prompt = (begin + prompt)[-room:]
        else:
            kept = 1 if kind == "classifier" and len(prompt) > max_length else 0  # the token that stands for the class
            prompt = prompt[:kept] + prompt[kept - max_length :]
        found.append(Tokens(prompt, right, wrong, tuple(others)))
    return found


def _answers(example: Example) -> list[str]:
    wrong = [] if example.rejected is None else [example.rejected]
    return [example.completion, *wrong, *example.options]


def training_row(tokens: Tokens, kind: str = "causal") -> dict[str, list[int]]:
    """`input_ids` and `labels` of one example; labels are set on the completion alone.

    To a causal model prompt and completion are one row; a seq2seq model reads the prompt and writes the completion.
    """
    if kind == "seq2seq":
        return {"input_ids": tokens.prompt, "labels": tokens.completion}
    return {
        "input_ids": tokens.prompt + tokens.completion,
        "labels": [IGNORED] * len(tokens.prompt) + tokens.completion,
    }


def class_row(tokens: Tokens, label: int) -> dict[str, list[int]]:
    """`input_ids` of the prompt and the index of its class as the one label."""
    return {"input_ids": tokens.prompt, "labels": [label]}


def preference_row(tokens: Tokens) -> dict[str, list[int]]:
    """The columns of a pair, named as TRL's DPOTrainer has them. Every example must have a rejected completion."""
    assert tokens.rejected is not None
    return {"prompt_ids": tokens.prompt, "chosen_ids": tokens.completion, "rejected_ids": tokens.rejected}


def mismatched_row(tokens: Tokens, other: Tokens, max_length: int) -> dict[str, list[int]]:
    """A pair with the answers of another one beside its own, cut to what `max_length` leaves behind the prompt."""
    assert other.rejected is not None
    room = max_length - len(tokens.prompt)
    others = {"other_chosen_ids": other.completion[:room], "other_rejected_ids": other.rejected[:room]}
    return preference_row(tokens) | others


def widths(rows: Any) -> np.ndarray:
    """Places that each training row takes in a batch; both answers of a pair are rows of it, each with the prompt."""
    if "prompt_ids" not in rows.column_names:
        return sizes(rows, "input_ids")
    prompt, right, wrong = (sizes(rows, name) for name in PAIR)
    return prompt + np.maximum(right, wrong)


def labelled(rows: Any) -> float:
    """Mean number of tokens of a row that carry loss, for each of the rows that a pair is.

    Of more than `COUNTED` rows with labels it is that of so many, in runs from everywhere: the labels of all are half
    of the file.
    """
    if "prompt_ids" in rows.column_names:
        return float((sizes(rows, "chosen_ids") + sizes(rows, "rejected_ids")).mean()) / 2
    column, count = _column(rows, "labels"), len(rows)
    runs = [column]
    if count > COUNTED:
        share = count / (COUNTED // RUN)  # of the rows, in the middle of which a run lies
        runs = [column.slice(int((number + 0.5) * share) - RUN // 2, RUN) for number in range(COUNTED // RUN)]
    labels = [part.flatten().to_numpy() for run in runs for part in run.chunks]
    return sum(int(np.count_nonzero(part != IGNORED)) for part in labels) / min(count, COUNTED)


def sizes(rows: Any, column: str) -> np.ndarray:
    """The length of every list in a column; of a data set by its offsets, which is quick for a million rows."""
    if not hasattr(rows, "data"):  # rows in a list
        return np.array([len(values) for values in rows[column]])
    import pyarrow.compute as pc

    found: np.ndarray = pc.list_value_length(_column(rows, column)).to_numpy()
    return found


def _column(rows: Any, name: str) -> Any:
    return (rows if rows._indices is None else rows.flatten_indices()).data.column(name)


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
