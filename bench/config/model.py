"""Which base model, and in what form."""

from dataclasses import dataclass, field
from typing import Any

from bench.config.checks import choice

KINDS = ("causal", "classifier", "seq2seq")


@dataclass
class Model:
    """A base model. `path` is a folder, a Hub id, or `embedded:NAME` for one that comes with tunebench."""

    name: str = "tiny-llama"  # as tables and run ids call it; no '/'
    path: str = "embedded:tiny-llama"
    revision: str = "main"  # Hub branch, tag or commit
    kind: str = "auto"  # auto: told from the architecture | causal | classifier (an encoder) | seq2seq
    weights: str = "pretrained"  # pretrained | random: the architecture alone, for memory and speed
    architecture: dict[str, Any] = field(default_factory=dict)  # `model_type` and sizes as transformers names them
    tokenizer: str = ""  # folder or Hub id; empty: that of `path`, or the embedded one where nothing is downloaded
    dtype: str = "auto"  # of the frozen weights: auto (bfloat16 on CUDA, else float32) | float32 | bfloat16 | float16
    attention: str = "sdpa"  # sdpa | eager | flash_attention_2
    safetensors: bool = True  # false: also read pickled weights, which can run code when they are loaded
    trust_remote_code: bool = False  # run Python that comes with the model
    content: str = ""  # SHA-256 of a local model's files, set by tunebench: changed files are another model

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = choice("model.weights", self.weights, "pretrained", "random")
        found += choice("model.kind", self.kind, "auto", *KINDS)
        found += choice("model.dtype", self.dtype, "auto", "float32", "bfloat16", "float16")
        if not self.path:
            found.append("model.path must be given: a folder, or ORG/NAME on the Hugging Face Hub")
        if not self.name or "/" in self.name:
            found.append(f"model.name must be a plain name without '/', got {self.name!r}")
        if self.architecture and "model_type" not in self.architecture:
            found.append("model.architecture must have a model_type, such as llama")
        return found

    def bare(self) -> bool:
        """Whether the architecture alone makes the model, so that no file of `path` is read."""
        return self.weights == "random" and bool(self.architecture)
