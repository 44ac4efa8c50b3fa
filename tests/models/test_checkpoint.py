"""Checkpoints: their size, their three forms, and that neither saving nor reloading asks the network."""

import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bench.config import Model
from bench.method import Context, Method, discover
from bench.models import checkpoint
from bench.models.load import info, load


class Norms(Method):
    """Train the norms alone, which are weights of the base."""

    def adapt(self, model: nn.Module, context: Context) -> nn.Module:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("norm" in name)
        return model


def adapted(folder: str, method: Method) -> tuple[nn.Module, Context]:
    model, tokenizer = load(Model(name="tiny", path=folder), "cpu", method.quantization(), torch.float32)
    model.name_or_path = "nobody/nothing"  # as if it came from the Hub
    context = Context(info(Model(name="tiny", path=folder), "cpu"), tokenizer, "Name the module.")
    return method.adapt(model, context), context


def test_only_what_trained_is_saved(tiny_llama: str, tmp_path: Path):
    model, context = adapted(tiny_llama, Norms())
    with torch.no_grad():
        model.model.norm.weight.add_(1.0)
    size = checkpoint.save(model, tmp_path)
    saved = load_file(tmp_path / checkpoint.TENSORS)
    assert set(saved) == {name for name, _ in model.named_parameters() if "norm" in name}
    assert 5 * 64 * 4 <= size < 5 * 64 * 4 + 1000

    fresh, _ = adapted(tiny_llama, Norms())
    again = checkpoint.reload(fresh, tmp_path, Norms(), context)
    assert torch.equal(again.model.norm.weight, model.model.norm.weight)


def test_an_adapter_is_small_and_a_whole_model_is_not(tiny_llama: str, tmp_path: Path):
    sizes = {
        name: checkpoint.save(adapted(tiny_llama, discover()[name]())[0], tmp_path / name) for name in ("lora", "full")
    }
    assert sizes["lora"] == (tmp_path / "lora" / "adapter_model.safetensors").stat().st_size
    assert 16384 * 4 < sizes["lora"] < 16384 * 4 + 8000
    assert 94528 * 4 < sizes["full"] < 94528 * 4 + 8000


@pytest.mark.parametrize("name", discover())
def test_no_network_is_asked(
    name: str, tiny_llama: str, tiny_gpt2: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def refuse(*args: object, **_: object) -> None:
        asked.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    method = discover()[name]()
    folder = tiny_gpt2 if name == "bitfit" else tiny_llama
    if name == "loftq":  # it needs the base's own file, which "nobody/nothing" has not on this machine
        with pytest.raises(ValueError, match="reads the weights as they were before the quantisation"):
            adapted(folder, method)
        assert not asked
        return
    model, context = adapted(folder, method)
    checkpoint.save(model, tmp_path)
    base, _ = load(Model(name="tiny", path=folder), "cpu", method.quantization(), torch.float32)
    checkpoint.reload(base, tmp_path, method, context)
    assert not asked


def test_what_is_no_checkpoint_is_refused(tiny_llama: str, tmp_path: Path):
    model, context = adapted(tiny_llama, Norms())
    with pytest.raises(ValueError, match=f"^there is no checkpoint in {tmp_path}$"):
        checkpoint.reload(model, tmp_path, Norms(), context)
    model.extra = nn.Parameter(torch.zeros(1))
    checkpoint.save(model, tmp_path)
    fresh, _ = adapted(tiny_llama, Norms())
    with pytest.raises(ValueError, match=r"is not of this method: it has the tensor extra$"):
        checkpoint.reload(fresh, tmp_path, Norms(), context)
