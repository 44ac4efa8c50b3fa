"""Models with methods on them whose answers are known by other means."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.method import Method

On = Callable[[Method | None], tuple[Any, Any]]


@pytest.fixture(scope="session")
def on_model() -> Callable[[Any, Method | None], tuple[Any, Any]]:
    """Puts a method on a model of given settings (None: the untouched base), its weights moved by noise."""
    import torch

    from bench.method import Context
    from bench.models.load import info, load
    from bench.models.tiny import TEXT

    def make(settings: Any, method: Method | None) -> tuple[Any, Any]:
        model, tokenizer = load(settings, "cpu", method.quantization() if method else None, torch.float32)
        if method is None:
            return model.eval(), tokenizer
        torch.manual_seed(0)
        model = method.adapt(model, Context(info(settings, "cpu"), tokenizer, TEXT[0], TEXT[1:]))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.02 * torch.randn_like(parameter))
        return model.eval(), tokenizer

    return make


@pytest.fixture(scope="session")
def adapted_t5(tmp_path_factory: pytest.TempPathFactory, on_model: Callable[..., tuple[Any, Any]]) -> On:
    """Puts a method on a tiny T5."""
    from bench.config import Model
    from bench.models.tiny import tiny_model

    settings = Model(name="tiny", path=tiny_model(tmp_path_factory.mktemp("tiny-t5"), "t5"), kind="seq2seq")
    return lambda method: on_model(settings, method)


@pytest.fixture(scope="session")
def embedded(on_model: Callable[..., tuple[Any, Any]]) -> On:
    """Puts a method on the embedded model."""
    from bench.config import Model

    return lambda method: on_model(Model(), method)
