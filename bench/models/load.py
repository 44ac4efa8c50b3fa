"""Load a base model and its tokenizer: frozen, on its device, quantised where a method asks for it.

What a default of some library would decide is decided here: safetensors only, attention and dtype explicit, the
model's own generation settings never inherited, the tokenizer padded on the right.
"""

import logging
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# On some CPUs bitsandbytes warns, when peft first imports it, of an optional kernel package; that decides nothing here.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from bench.config import Model  # noqa: E402
from bench.method import ModelInfo, Quantization  # noqa: E402
from bench.models.locate import resolve  # noqa: E402
from bench.records.schema import Parameters  # noqa: E402

RANDOM_SEED = 0  # of the weights of model.weights=random: the base is the same for every seed of a run


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
        ValueError: there is no such model, or it is not a decoder-only language model.
    """
    config = _config(model)
    text = config.get_text_config()
    return ModelInfo(
        name=model.name,
        architecture=config.model_type,
        hidden_size=text.hidden_size,
        layers=text.num_hidden_layers,
        vocabulary=text.vocab_size,
        gradient_checkpointing=gradient_checkpointing,
        device=device,
    )


def load(
    model: Model, device: str, quantization: Quantization | None, dtype: torch.dtype
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base model with every parameter frozen, and its tokenizer.

    Args:
        model: which one.
        device: "cuda", "mps" or "cpu".
        quantization: 4-bit storage of all linear layers but the head; None for none.
        dtype: of all weights that are not quantised, and of the computation with those that are.

    Raises:
        ValueError: the model cannot be loaded; the message names the key that is to blame.
    """
    quiet()
    config = _config(model)
    tokenizer = _tokenizer(model)
    with _reporting(model):
        if model.weights == "random":
            loaded = _random(model, config, device, quantization, dtype)
        else:
            loaded = _pretrained(model, resolve(model.path), device, quantization, dtype)
    loaded.requires_grad_(False)
    keep_gradients_right(loaded)
    own = loaded.generation_config
    loaded.generation_config = GenerationConfig(
        bos_token_id=own.bos_token_id if own else config.bos_token_id,
        eos_token_id=own.eos_token_id if own else config.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return loaded, tokenizer


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


def _config(model: Model) -> PretrainedConfig:
    with _reporting(model):
        config = AutoConfig.from_pretrained(resolve(model.path), **_source(model))
    custom = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if config.is_encoder_decoder or not (custom or config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        raise ValueError(f"model.path: {model.path} is a {config.model_type}, not a decoder-only language model")
    return config


def _tokenizer(model: Model) -> PreTrainedTokenizerBase:
    with _reporting(model):
        tokenizer = AutoTokenizer.from_pretrained(resolve(model.path), padding_side="right", **_source(model))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ValueError(f"model.path: the tokenizer of {model.path} has no token to pad with")
    return tokenizer


def _pretrained(
    model: Model, source: str, device: str, quantization: Quantization | None, dtype: torch.dtype
) -> PreTrainedModel:
    quantized: dict[str, Any] = {}
    if quantization is not None:
        quantized["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantization.data_type,
            bnb_4bit_use_double_quant=quantization.double,
            bnb_4bit_compute_dtype=dtype,
        )
    # accelerate refuses to train quantised weights on "cuda" where it expects "cuda:0"
    place = torch.cuda.current_device() if device == "cuda" else device
    return AutoModelForCausalLM.from_pretrained(
        source,
        dtype=dtype,
        attn_implementation=model.attention,
        device_map={"": place},
        use_safetensors=True,
        **quantized,
        **_source(model),
    )


def _random(
    model: Model, config: PretrainedConfig, device: str, quantization: Quantization | None, dtype: torch.dtype
) -> PreTrainedModel:
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(RANDOM_SEED)
        built = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation=model.attention, trust_remote_code=model.trust_remote_code
        )
    if quantization is None:
        return built
    with tempfile.TemporaryDirectory() as folder:  # transformers quantises only what it reads from a file
        built.save_pretrained(folder)
        del built
        return _pretrained(model, folder, device, quantization, dtype)


def _source(model: Model) -> dict[str, Any]:
    return {"revision": model.revision, "trust_remote_code": model.trust_remote_code}


@contextmanager
def _reporting(model: Model) -> Iterator[None]:
    """Turn what transformers raises for a model that is missing or unfit into one sentence for the user."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        lines = str(error).strip().splitlines()
        if isinstance(error, ValueError) and lines[:1] and lines[0].startswith("model."):
            raise
        key = f"model.attention={model.attention}" if "attention" in str(error).lower() else "model.path"
        raise ValueError(f"{key}: cannot load {model.path}: {lines[0] if lines else type(error).__name__}") from error
