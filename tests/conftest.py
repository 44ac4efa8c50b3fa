"""What the whole suite shares: tiny base models on disk. torch is imported by the fixtures, not by every test run."""

import pytest


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
