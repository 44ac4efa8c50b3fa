"""Batches of training rows, for the starts that look at data."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.method import Context

if TYPE_CHECKING:
    from torch import Tensor

MOST = 4096  # rows that a start looks at


def batches(model: Any, context: Context, tokens: int = 0) -> Iterator[dict[str, "Tensor"]]:
    """Batches of at least so many tokens that are not padding, on the model's device; of one row each by default.

    The rows are taken in order. Where there are too few for one batch they are repeated, which adds nothing to what
    is seen of them.

    Raises:
        ValueError: the run has no rows.
    """
    from bench.data.tokens import PadRight

    rows = [_row(context.rows[i]) for i in range(min(MOST, len(context.rows)))]
    if not rows:
        raise ValueError("this start of the update needs training rows, and there are none")
    collate = PadRight(context.tokenizer.pad_token_id)
    part: list[dict[str, Any]] = []
    count, given = 0, False
    while True:
        for row in rows:
            part.append(row)
            count += len(row["input_ids"])
            if count >= tokens:
                yield {key: tensor.to(model.device) for key, tensor in collate(part).items()}
                part, count, given = [], 0, True
        if given:
            return


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """As it is, or the preferred one of a pair."""
    if "prompt_ids" not in row:
        return {"input_ids": row["input_ids"], "labels": row["labels"]}
    from bench.data.tokens import Tokens, training_row

    return training_row(Tokens(row["prompt_ids"], row["chosen_ids"]))
