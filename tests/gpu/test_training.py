"""Llama-3.2-3B and Llama-3.1-8B shapes on this machine's GPU, in every loop; printed with `-rP`.

python -m pytest -m gpu -rP tests/gpu/test_training.py
"""

import pytest
import torch

from bench.advise import cards
from tests.benchmarks.jobs import SEVEN
from tests.gpu.training import Cell, Figures, cells, measure, model, table

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(7200)]
SHAPES = ((1, 512), (4, 1024), (4, 2048), (2, 4096))
MFU, MEMORY = 0.45, 0.6  # of LoRA, on either shape; peak memory by that of peft-style


@pytest.fixture(scope="module", params=["llama-3.2-3b", "llama-3.1-8b"])
def measured(request: pytest.FixtureRequest, gpu: str) -> dict[Cell, Figures]:
    shape = model(request.param)
    every = list(cells(SEVEN, SHAPES, compiler="inductor", attention="flash_attention_2"))
    found = {cell: measure(cell, shape, "cuda") for cell in every}
    card = cards.load(gpu, torch.cuda.get_device_properties().total_memory)
    print(f"{request.param} on {gpu}\n{table(list(found.values()), card.half_flops)}")
    return found


def test_lora_uses_the_gpu_and_little_memory(measured: dict[Cell, Figures], gpu: str):
    card = cards.load(gpu, torch.cuda.get_device_properties().total_memory)
    found = measured[Cell("lora", "ours", 4, 2048)]
    assert not found.failed
    assert found.flops_per_s / card.half_flops >= MFU
    theirs = measured[Cell("lora", "peft-style", 4, 2048)]
    if theirs.failed:
        assert "OutOfMemoryError" in theirs.failed
    else:
        assert found.peak_bytes <= MEMORY * theirs.peak_bytes
