"""4-bit and 8-bit weights without content: the modules of bitsandbytes with weights of the right size.

8-bit layers are traced as bitsandbytes trains them on a CPU, with a copy of the weight in the computation's dtype. On
CUDA its backward pass makes the same copy, and the forward pass none, but the columns with outliers: how many there
are depends on the data.
"""

from typing import Any

import bitsandbytes
import torch
from bitsandbytes.functional import QuantState
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.utils._python_dispatch import _disable_current_modes
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.quantizers.quantizer_bnb_8bit import Bnb8BitHfQuantizer

from bench.method import Quantization
from bench.models import kinds

BLOCK, OUTER = 64, 256  # weights with a common scale; scales with a common scale of their own


def quantise(model: PreTrainedModel, quantization: Quantization, dtype: torch.dtype, kind: str) -> None:
    """Replace the linear layers of `model` that transformers would quantise, with weights that are empty."""
    heads = kinds.heads(model) if kind == "classifier" else None
    if quantization.bits == 8:
        config = BitsAndBytesConfig(load_in_8bit=True)
        quantizer: Any = Bnb8BitHfQuantizer(config)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=quantization.data_type,
            bnb_4bit_use_double_quant=quantization.double,
            bnb_4bit_compute_dtype=dtype,
        )
        quantizer = Bnb4BitHfQuantizer(config)
    kept = quantizer.get_modules_to_not_convert(model, heads, model._keep_in_fp32_modules)
    biases = {name: module.bias for name, module in model.named_modules() if getattr(module, "bias", None) is not None}
    with _disable_current_modes(), unset_fake_temporarily():
        replace_with_bnb_linear(model, modules_to_not_convert=kept, quantization_config=config)
    for name, module in model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            _fill(module, quantization, dtype)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            _fill_8_bits(module)
        else:
            continue
        if name in biases:
            module.bias = biases[name]
    model.is_quantized = True
    setattr(model, f"is_loaded_in_{quantization.bits}bit", True)
    model.hf_quantizer, model.quantization_method = quantizer, config.quantization_method


def _fill(module: Any, quantization: Quantization, dtype: torch.dtype) -> None:
    shape = torch.Size((module.out_features, module.in_features))
    blocks = shape.numel() // BLOCK
    common = {"blocksize": BLOCK, "quant_type": quantization.data_type, "shape": shape, "dtype": dtype}
    code = torch.zeros(16)
    if quantization.double:
        inner = QuantState(
            absmax=torch.zeros(-(-blocks // OUTER)), blocksize=OUTER, code=torch.zeros(256), dtype=torch.float32
        )
        scales = torch.zeros(blocks, dtype=torch.uint8)
        state = QuantState(absmax=scales, code=code, offset=torch.zeros(()), state2=inner, **common)
    else:
        state = QuantState(absmax=torch.zeros(blocks), code=code, **common)
    weight: Any = nn.Parameter(torch.zeros(shape.numel() // 2, 1, dtype=torch.uint8), requires_grad=False)
    weight.quant_state, weight.quant_type, weight.compress_statistics = (
        state,
        quantization.data_type,
        quantization.double,
    )
    weight.blocksize, weight.bnb_quantized, weight.quant_storage, weight.module = BLOCK, True, torch.uint8, module
    module.weight, module.quant_state = weight, state
    module.support_avx512bf16_for_cpu = False


def _fill_8_bits(module: Any) -> None:
    """What a layer holds once it has computed, which moves the scales from the weight to the layer's state."""
    weight: Any = nn.Parameter(torch.zeros(module.out_features, module.in_features, dtype=torch.int8), False)
    weight.CB = weight.SCB = None
    module.state.CB, module.state.SCB = weight.data, torch.zeros(module.out_features)
    module.weight = weight


def constants(model: nn.Module) -> list[Tensor]:
    """The tensors of a quantised model that are neither parameters nor buffers."""
    found = []
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear8bitLt):
            found.append(module.state.SCB)
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            found += [state.absmax, state.code]
            if state.nested:
                found += [state.offset, state.state2.absmax, state.state2.code]
    return found
