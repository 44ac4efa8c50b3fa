"""The dtype of the computation: bfloat16 where the hardware has units for it, float32 where it would be slower."""

import torch


def compute_precision(asked: str, device: str) -> str:
    """`float32` or `bfloat16` for `train.precision` on a device.

    `auto` is bfloat16 on CUDA GPUs that have it and on CPUs with AMX. AVX512-BF16 alone is not enough: on the one CPU
    of that kind that was measured a step took 1.3 to 1.5 times as long as in float32 (results/README.md).
    """
    if asked != "auto":
        return asked
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        native = torch.cpu._is_amx_tile_supported()
    else:
        native = False
    return "bfloat16" if native else "float32"
