"""What the whole suite shares: tiny base models on disk. torch is imported by the fixtures, not by every test run."""

import gc
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.method import Method


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_no_garbage() -> Iterator[None]:
    """Every training collects garbage, for which what the test modules import need not be looked through."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def pytest_configure() -> None:
    """Heed the signals that tests send, also where a shell that runs the suite in the background has them ignored."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session", autouse=True)
def _own_device_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests from waiting for a sweep that somebody runs on this machine meanwhile, and its cache as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNEBENCH_LOCKS", str(tmp_path_factory.mktemp("locks")))
        patch.setenv("TUNEBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a two-layer Llama with grouped-query attention and tied embeddings, and its tokenizer."""
    from bench.models.tiny import tiny_model

    return tiny_model(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a two-layer GPT-2, which has biases, and its tokenizer."""
    from bench.models.tiny import tiny_model

    return tiny_model(tmp_path_factory.mktemp("tiny-gpt2"), "gpt2")


@pytest.fixture(scope="session")
def on_model() -> Callable[..., tuple[Any, Any]]:
    """Puts a method on a model of given settings (None: the untouched base); returns it and its tokenizer.

    What trains is moved away from its start by noise, because a fresh LoRA changes nothing.
    """
    import torch

    from bench.method import Context
    from bench.models.load import info, load
    from bench.models.tiny import TEXT

    def make(settings: Any, method: Method | None, noise: float = 0.05) -> tuple[Any, Any]:
        model, tokenizer = load(settings, "cpu", method.quantization() if method else None, torch.float32)
        if method is None:
            return model.eval(), tokenizer
        torch.manual_seed(0)
        model = method.adapt(model, Context(info(settings, "cpu"), tokenizer, TEXT[0], TEXT[1:]))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(noise * torch.randn_like(parameter))
        return model.eval(), tokenizer

    return make


@pytest.fixture(scope="session")
def adapted(request: pytest.FixtureRequest, on_model: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """Puts a method on a tiny `llama` or `gpt2`, as `on_model` does."""
    from bench.config import Model

    def make(architecture: str, method: Method | None, noise: float = 0.05) -> tuple[Any, Any]:
        settings = Model(name="tiny", path=request.getfixturevalue(f"tiny_{architecture}"))
        return on_model(settings, method, noise)

    return make
