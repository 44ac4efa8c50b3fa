"""The dtype of the computation: bfloat16 where the hardware has it, float32 where it would be emulated."""

import torch


def compute_precision(asked: str, device: str) -> str:
    """`float32` or `bfloat16` for `train.precision` on a device."""
    if asked != "auto":
        return asked
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        native = False
    return "bfloat16" if native else "float32"
