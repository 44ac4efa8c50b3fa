"""What the methods built on peft share."""

import math
from typing import TYPE_CHECKING, Any

from bench.method import Context

if TYPE_CHECKING:
    from torch import Tensor, nn


def attach(model: "nn.Module", config: Any) -> Any:
    """A `PeftModel`: the frozen model with the adapter of a `PeftConfig`, whose weights are float32 and alone train."""
    from peft import get_peft_model

    return get_peft_model(model, config)


def soft_prompt(model: Any) -> dict[str, Any]:
    """Settings of a `PeftConfig` for virtual tokens that are embeddings.

    The width is read from the embeddings, and the number of heads is not used: peft would look both up in the
    model's configuration, where models without attention have none.
    """
    width = model.get_input_embeddings().embedding_dim
    return {"task_type": "CAUSAL_LM", "token_dim": width, "num_attention_heads": 1}


def start_tokens(model: Any, context: Context, count: int) -> "Tensor":
    """Exactly `count` token ids of the task's instruction and examples, repeated where they are too short.

    Returns:
        Shape (1, count), on the model's device.

    Raises:
        ValueError: the task has no text.
    """
    import torch

    ids = context.tokenizer("\n".join((context.instruction, *context.examples)).strip())["input_ids"]
    if not ids:
        raise ValueError("method.init=text needs a task with an instruction; use another method.init")
    return torch.tensor([(ids * math.ceil(count / len(ids)))[:count]], device=model.device)


def at_least_one(**values: int) -> list[str]:
    """One sentence for every hyper-parameter below 1."""
    return [f"method.{key} must be >= 1, got {value}" for key, value in values.items() if value < 1]


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> list[str]:
    """A sentence if `value` is none of those allowed."""
    return [] if value in allowed else [f"method.{key} must be one of {', '.join(allowed)}, got {value!r}"]
