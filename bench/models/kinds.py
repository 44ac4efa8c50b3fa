"""The kinds of base models: built as the class that transformers has for each, and a classifier's head."""

import inspect
from typing import Any

import torch
from peft import PeftModel, PeftModelForCausalLM
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from bench.models.config import Plan
from bench.models.logits import inner_model

CLASSES: dict[str, Any] = {
    "causal": AutoModelForCausalLM,
    "classifier": AutoModelForSequenceClassification,
    "seq2seq": AutoModelForSeq2SeqLM,
}


def build(plan: Plan, dtype: torch.dtype) -> PreTrainedModel:
    """A model with random weights, made in `dtype` from the start, on torch's default device."""
    model = plan.model
    built = CLASSES[plan.kind].from_config(
        plan.config, dtype=dtype, attn_implementation=model.attention, trust_remote_code=model.trust_remote_code
    )
    head, embeddings = built.get_output_embeddings(), built.get_input_embeddings()
    if head is not None and head.weight is embeddings.weight and model.architecture.get("tie_word_embeddings") is False:
        # transformers 5 ties the head of every T5 and mT5 that it builds, though only the first T5 is tied; what it
        # loads from a file is right
        head.weight = nn.Parameter(torch.randn_like(embeddings.weight))
        built.all_tied_weights_keys = {k: v for k, v in built.all_tied_weights_keys.items() if k != "lm_head.weight"}
    return built


def heads(model: PreTrainedModel) -> list[str]:
    """Names of the modules that a classifier has beyond its pretrained part; they always train."""
    children = model.named_children()
    return [name for name, child in children if child is not model.base_model and any(True for _ in child.parameters())]


def pretrained(model: PreTrainedModel, kind: str) -> dict[int, str]:
    """The names of a base model's weights by their identity, without a classifier's head, which is new."""
    new = tuple(f"{name}." for name in heads(model)) if kind == "classifier" else ()
    return {id(p): name for name, p in model.named_parameters() if not (new and name.startswith(new))}


def train_heads(model: nn.Module) -> None:
    """Let a classifier's new head train where a method left it frozen; peft trains a copy of it by itself."""
    inner = inner_model(model)
    for name in heads(inner):
        head = inner.get_submodule(name)
        if not any(parameter.requires_grad for parameter in head.parameters()):
            head.requires_grad_(True)


def settle(model: PreTrainedModel, kind: str) -> None:
    """Make a classification head independent of what a method puts around the model; other kinds stay as they are.

    The head trains, so it is in float32 whatever the dtype of the rest. And the class of a decoder is read from the
    last token that the attention mask shows: transformers finds it by the ids of the input, which it does not see
    when soft prompts stand in front.
    """
    if kind != "classifier":
        return
    shown: dict[str, Tensor | None] = {}

    def remember(_: nn.Module, __: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        shown["mask"] = inputs.get("attention_mask")

    def in_float32(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0].float(), *inputs[1:])

    def at_last_token(_: nn.Module, __: tuple[Tensor, ...], logits: Tensor) -> Tensor | None:
        mask = shown.pop("mask", None)
        if mask is None or logits.dim() < 3:  # an encoder's head gives the classes alone
            return None
        mask = mask[:, -logits.shape[1] :]
        last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(-1)
        return logits[torch.arange(len(last), device=last.device), last][:, None].expand_as(logits)

    model.base_model.register_forward_pre_hook(remember, with_kwargs=True)  # peft may call past the model's own hooks
    for name in heads(model):
        head = model.get_submodule(name).float()
        head.register_forward_pre_hook(in_float32)
        head.register_forward_hook(at_last_token)


def settle_adapter(adapted: PeftModel) -> None:
    """Make an adapter of peft's work as the only one of a model that is trained on one task."""
    for encoder in getattr(adapted, "prompt_encoder", {}).values():
        if hasattr(encoder, "num_tasks"):  # it would have to be told with every input
            encoder.register_forward_pre_hook(lambda _, inputs: (inputs[0], torch.zeros_like(inputs[0][:, 0])))
    read_prompt_once(adapted)


def read_prompt_once(adapted: PeftModel) -> None:
    """Let a recurrent model with a soft prompt read it once in a generation.

    peft puts the prompt in front of the input of every step that comes without keys and values. A recurrent model
    never has any: it keeps a state, in which the prompt is contained after the first step.
    """
    if not isinstance(adapted, PeftModelForCausalLM) or not adapted.active_peft_config.is_prompt_learning:
        return
    if "past_key_values" in inspect.signature(adapted.get_base_model().forward).parameters:
        return
    with_prompt = adapted.prepare_inputs_for_generation

    # transformers checks what generate() is given against the names of these parameters, `kwargs` among them
    def prepare(*args: Any, is_first_iteration: bool = False, use_cache: bool = True, **kwargs: Any) -> dict[str, Any]:
        reads = is_first_iteration or not use_cache
        inner = with_prompt if reads else adapted.base_model_prepare_inputs_for_generation
        return inner(*args, is_first_iteration=is_first_iteration, use_cache=use_cache, **kwargs)

    adapted.prepare_inputs_for_generation = prepare
