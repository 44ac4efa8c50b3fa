"""What the methods built on peft share."""

import math
from typing import TYPE_CHECKING, Any

from bench.method import Context

if TYPE_CHECKING:
    from torch import Tensor


HEAD_LEARNING_RATE = 3e-3  # as in full fine-tuning
RECURRENT = ("rwkv", "mamba", "mamba2", "falcon_mamba")
TASK_TYPES = {"causal": "CAUSAL_LM", "classifier": "SEQ_CLS", "seq2seq": "SEQ_2_SEQ_LM"}


def attach(model: Any, config: Any, context: Context) -> Any:
    """A `PeftModel`: the frozen model with the adapter of a `PeftConfig`, whose weights are float32 and alone train.

    A classifier's head, which is new, trains beside the adapter and is saved with it.
    """
    from peft import get_peft_model

    from bench.models.kinds import heads, settle_adapter

    config.task_type = TASK_TYPES[context.info.kind]
    if context.info.kind == "classifier":
        config.modules_to_save = heads(model)
    adapted = get_peft_model(model, config)
    in_float32(adapted)
    settle_adapter(adapted)
    return adapted


def in_float32(adapted: Any) -> None:
    """Let what trains be float32: peft leaves some adapters, such as copies of norms, in the base's dtype."""
    import torch

    for module in adapted.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
                setattr(module, name, torch.nn.Parameter(parameter.detach().float()))


def groups(model: Any) -> list[dict[str, Any]] | None:
    """What trains, with a learning rate of its own for a classifier's head: that of an adapter may be far too high."""
    training = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    head = [parameter for name, parameter in training if ".modules_to_save." in name]
    if not head:
        return None
    return [
        {"params": [parameter for name, parameter in training if ".modules_to_save." not in name]},
        {"params": head, "lr": HEAD_LEARNING_RATE},
    ]


def soft_prompt(model: Any) -> dict[str, Any]:
    """Settings of a `PeftConfig` for virtual tokens that are embeddings.

    The width is read from the embeddings, and the number of heads is not used: peft would look both up in the
    model's configuration, where models without attention have none. An encoder-decoder gets the tokens in front of
    what the encoder reads, and no second row of them that peft would make and never use.
    """
    width = model.get_input_embeddings().embedding_dim
    return {"token_dim": width, "num_attention_heads": 1, "num_transformer_submodules": 1}


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


def seed() -> int:
    """The run's seed, for what peft draws from a generator of its own; torch's is seeded already."""
    import torch

    return torch.initial_seed() % 2**31


def has_conv1d(model: Any) -> bool:
    """Whether layers are GPT-2's Conv1D, whose weights are stored as inputs times outputs."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def at_least_one(**values: int) -> list[str]:
    """One sentence for every hyper-parameter below 1."""
    return [f"method.{key} must be >= 1, got {value}" for key, value in values.items() if value < 1]


def above_zero(**values: float) -> list[str]:
    """One sentence for every hyper-parameter that is not above 0."""
    return [f"method.{key} must be > 0, got {value:g}" for key, value in values.items() if value <= 0]


def shares(**values: float) -> list[str]:
    """One sentence for every hyper-parameter outside [0, 1)."""
    wrong = {key: value for key, value in values.items() if not 0 <= value < 1}
    return [f"method.{key} must be >= 0 and < 1, got {value:g}" for key, value in wrong.items()]


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> list[str]:
    """A sentence if `value` is none of those allowed."""
    return [] if value in allowed else [f"method.{key} must be one of {', '.join(allowed)}, got {value!r}"]
