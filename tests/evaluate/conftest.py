"""Models with methods on them whose answers are known by other means."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.method import Method

On = Callable[[Method | None], tuple[Any, Any]]


NOISE = 0.02  # by which what trains is moved


@pytest.fixture(scope="session")
def adapted_t5(tmp_path_factory: pytest.TempPathFactory, on_model: Callable[..., tuple[Any, Any]]) -> On:
    """Puts a method on a tiny T5."""
    from bench.config import Model
    from bench.models.tiny import tiny_model

    settings = Model(name="tiny", path=tiny_model(tmp_path_factory.mktemp("tiny-t5"), "t5"), kind="seq2seq")
    return lambda method: on_model(settings, method, NOISE)


@pytest.fixture(scope="session")
def embedded(on_model: Callable[..., tuple[Any, Any]]) -> On:
    """Puts a method on the embedded model."""
    from bench.config import Model

    return lambda method: on_model(Model(), method, NOISE)
