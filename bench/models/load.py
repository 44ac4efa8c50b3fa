"""Load a base model and its tokenizer: frozen, on its device, quantised where a method asks for it.

What a default of some library would decide is decided here: safetensors only, attention and dtype explicit, the
model's own generation settings never inherited, the tokenizer padded on the right.
"""

import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# On some CPUs bitsandbytes warns, when peft first imports it, of an optional kernel package; that decides nothing here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import torch  # noqa: E402
from transformers import (  # noqa: E402
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.falcon import modeling_falcon  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from bench.config import Model  # noqa: E402
from bench.method import ModelInfo, Quantization  # noqa: E402
from bench.models import kinds, stored  # noqa: E402
from bench.models.config import Plan, plan, positions  # noqa: E402
from bench.models.locate import reporting, resolve, source  # noqa: E402
from bench.models.tokenizer import load_tokenizer  # noqa: E402
from bench.records.schema import Parameters  # noqa: E402

# Of the weights of model.weights=random and of a new classification head: the base is the same for every seed of a run.
RANDOM_SEED = 0
TEXT_PART = {r"^language_model\.model\.": "model.", r"^model\.language_model\.": "model."}  # of a multimodal checkpoint
OVERFLOW_FLOAT16 = ("t5", "mt5", "umt5", "longt5", "rwkv")


def quiet() -> None:
    """Keep transformers from printing progress bars and advice between the harness's own lines."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def pick_device(name: str) -> str:
    """The device for `hardware.device`: "cuda", "mps" or "cpu"; `auto` takes the first of these that is there.

    Raises:
        ValueError: the device asked for is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, usable in there.items() if usable)
    if not there[name]:
        raise ValueError(f"hardware.device={name}: torch finds no such device here; use cpu or auto")
    return name


def default_dtype(name: str, device: str) -> torch.dtype:
    """The dtype of the frozen weights for `model.dtype`: `auto` is bfloat16 on CUDA, else float32."""
    if name == "auto":
        name = "bfloat16" if device == "cuda" else "float32"
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    return dtypes[name]


def info(model: Model, device: str, gradient_checkpointing: bool = False) -> ModelInfo:
    """What a method may know of the model before it is loaded; reads its configuration, no weights.

    Raises:
        ValueError: there is no such model, or none of a kind that can be trained here.
    """
    planned = plan(model, facts=True)
    config = planned.config
    return ModelInfo(
        name=model.name,
        architecture=config.model_type,
        hidden_size=config.hidden_size,
        layers=config.num_hidden_layers,
        vocabulary=config.vocab_size,
        gradient_checkpointing=gradient_checkpointing,
        device=device,
        positions=positions(config),
        kind=planned.kind,
        quantised=stored.quantised(model, config),
    )


def load(
    model: Model,
    device: str,
    quantization: Quantization | None,
    dtype: torch.dtype,
    labels: Sequence[str] = (),
    trained: str | Path | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model with every parameter frozen, and its tokenizer.

    Args:
        model: which one.
        device: "cuda", "mps" or "cpu".
        quantization: storage of all linear layers but the head in 4 or 8 bits; None for none.
        dtype: of all weights that are not quantised, and of the computation with those that are.
        labels: the classes of a classifier; the other kinds have none.
        trained: folder of a whole model of the same architecture, whose weights stand in for the model's own.

    Raises:
        ValueError: the model cannot be loaded; the message names the key that is to blame.
    """
    quiet()
    planned = plan(model, facts=model.weights == "random", labels=labels)
    _check(planned, dtype, labels)
    stored.check(model, planned.config, again=quantization is not None)
    tokenizer = load_tokenizer(planned)
    with reporting(model), torch.random.fork_rng():
        torch.manual_seed(RANDOM_SEED)
        if trained is not None:
            loaded = _pretrained(replace(planned, text_part=False), str(trained), device, quantization, dtype)
        elif model.weights == "random":
            loaded = _random(planned, device, quantization, dtype)
        else:
            loaded = _pretrained(planned, resolve(model.path), device, quantization, dtype)
    settle(planned, loaded, tokenizer)
    return loaded, tokenizer


def settle(planned: Plan, loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make a base model, wherever its weights come from, what every method gets: frozen, with its ends set."""
    loaded.requires_grad_(False)
    kinds.settle(loaded, planned.kind)
    keep_gradients_right(loaded)
    _set_ends(planned, loaded, tokenizer)


def keep_gradients_right(model: torch.nn.Module) -> None:
    """Keep bitsandbytes from repacking 4-bit weights for a CPU kernel that has no gradient.

    Where the CPU has AVX512-BF16, the first forward pass in evaluation mode repacks the weights of every
    `Linear4bit`, training does not undo it, and all later gradients are wrong without a word (bitsandbytes 0.50).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def parameters(model: torch.nn.Module) -> Parameters:
    """Count parameters; a shared one counts once, a quantised one as many as it stands for."""
    counts = [(_size(parameter), parameter.requires_grad) for parameter in model.parameters()]
    return Parameters(trainable=sum(n for n, trains in counts if trains), total=sum(n for n, _ in counts))


def _size(parameter: torch.nn.Parameter) -> int:
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else math.prod(state.shape)


def _check(planned: Plan, dtype: torch.dtype, labels: Sequence[str]) -> None:
    model, architecture = planned.model, planned.config.model_type
    if model.architecture:
        stated = plan(model, facts=True).config.model_type
        if stated != architecture:
            raise ValueError(f"model.architecture: {model.path} is a {architecture}, not a {stated}")
    if dtype == torch.float16 and architecture in OVERFLOW_FLOAT16:
        raise ValueError(f"model.dtype=float16: {architecture} overflows in it; use bfloat16 or float32")
    if planned.kind == "classifier" and len(labels) < 2:
        raise ValueError(f"model.kind: {model.name} is a classifier and needs a task with two classes or more")


def _pretrained(
    planned: Plan, place: str, device: str, quantization: Quantization | None, dtype: torch.dtype
) -> PreTrainedModel:
    model, classifier = planned.model, planned.kind == "classifier"
    quantized = {} if quantization is None else {"quantization_config": _quantised(planned, quantization, dtype)}
    loaded, report = kinds.CLASSES[planned.kind].from_pretrained(
        place,
        config=planned.config,
        dtype=dtype,
        attn_implementation=model.attention,
        # accelerate refuses to train quantised weights on "cuda" where it expects "cuda:0"
        device_map={"": torch.cuda.current_device() if device == "cuda" else device},
        use_safetensors=True if model.safetensors else None,
        ignore_mismatched_sizes=classifier,  # a head for other classes is replaced by a new one
        key_mapping=TEXT_PART if planned.text_part else None,
        output_loading_info=True,
        **quantized,
        **source(model),
    )
    if planned.text_part:
        loaded._weight_conversions = None  # or it would be saved under the multimodal model's names
    lacking = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if classifier:  # its head may be new, and with it what pools for the head
        lacking = {k for k in lacking if k.startswith(f"{loaded.base_model_prefix}.") and "pooler" not in k}
    if lacking:
        raise ValueError(f"model.path: {model.path} lacks {len(lacking)} of its weights, such as {min(lacking)}")
    if quantization is not None:
        _check_quantised(model, loaded, quantization)
    return loaded


def _quantised(planned: Plan, quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    if (
        planned.config.model_type == "falcon"
    ):  # only `nn.Linear` itself is quantised, not Falcon's class that is the same
        modeling_falcon.FalconLinear = torch.nn.Linear
    head = None  # transformers finds a language model's head by itself
    if planned.kind == "classifier":
        with torch.device("meta"):
            head = kinds.heads(kinds.build(planned, dtype))
    if quantization.bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=head)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.data_type,
        bnb_4bit_use_double_quant=quantization.double,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=head,
    )


def _check_quantised(model: Model, loaded: PreTrainedModel, quantization: Quantization) -> None:
    """Refuse a model that has most of its weights in modules that were left as they are, which nothing else says."""
    ends = (loaded.get_input_embeddings(), loaded.get_output_embeddings())
    outside = {id(end.weight) for end in ends if end is not None}
    layers = [p for p in loaded.parameters() if p.dim() > 1 and id(p) not in outside]
    share = sum(_size(p) for p in layers if not p.is_floating_point()) / sum(_size(p) for p in layers)
    if share < 0.5:
        what = f"of the weights in the layers of {model.path} can be in {quantization.bits} bits"
        raise ValueError(f"model.path: only {share:.0%} {what}")


def _random(planned: Plan, device: str, quantization: Quantization | None, dtype: torch.dtype) -> PreTrainedModel:
    with torch.device(device):
        built = kinds.build(planned, dtype)
    if quantization is None:
        return built
    with tempfile.TemporaryDirectory() as folder:  # transformers quantises only what it reads from a file
        built.save_pretrained(folder)
        del built
        return _pretrained(replace(planned, text_part=False), folder, device, quantization, dtype)


def _set_ends(planned: Plan, loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """The tokens that end and pad; of the model's own settings for generation nothing else is inherited."""
    if planned.kind == "classifier":
        loaded.config.pad_token_id = tokenizer.pad_token_id
        return
    random = planned.model.weights == "random"
    own = tokenizer if random or loaded.generation_config is None else loaded.generation_config
    loaded.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id,
        eos_token_id=own.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=planned.config.decoder_start_token_id if planned.kind == "seq2seq" else None,
    )
