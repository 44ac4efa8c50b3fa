"""The dtype of the computation: bfloat16 where the hardware has units for it, float32 where it would be slower."""

import torch


def compute_precision(asked: str, device: str) -> str:
    """`float32` or `bfloat16` for `train.precision` on a device.

    `auto` is bfloat16 on GPUs that have it and on CPUs with AMX. AVX512-BF16 alone is not enough: its products took 1.7
    times as long as those in float32 where that was measured, from 128 to 4,096 columns, and its attention twice.
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
