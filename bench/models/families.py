"""A tiny member of every family of base models: the facts of its architecture, from which one can be built.

The tests run every method on each of them, and `tunebench models --matrix` lists what they found to work. This
module imports nothing, so that the list needs no deep-learning library.
"""

from dataclasses import dataclass
from typing import Any

VOCABULARY, HIDDEN, LAYERS, HEADS, POSITIONS = 320, 64, 2, 4, 256
END_ID, PAD_ID, BEGIN_ID = 0, 1, 2  # of the tiny models' tokenizer; an encoder's alone has a begin token


@dataclass(frozen=True)
class Family:
    """One family. `facts` are its `model_type` and sizes, as transformers' configuration names them."""

    facts: dict[str, Any]
    kind: str = "causal"
    attention: str = "sdpa"  # "eager" for those that transformers has no other attention for

    @property
    def architecture(self) -> str:
        """Its `model_type`."""
        return str(self.facts["model_type"])


_ENDS = {"bos_token_id": END_ID, "eos_token_id": END_ID, "pad_token_id": PAD_ID}
# the weights are larger than usual, or the outputs would hardly depend on the inputs
_PLAIN = {"vocab_size": VOCABULARY, **_ENDS}
_BASE = {**_PLAIN, "initializer_range": 0.1}
_SIZE = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
_WIDE = {"intermediate_size": 2 * HIDDEN, "max_position_embeddings": POSITIONS}
_GPT = {"n_embd": HIDDEN, "n_layer": LAYERS, "n_head": HEADS, "n_positions": POSITIONS}
_SHARED = {"num_key_value_heads": 2}  # grouped-query attention
_GEMMA = {"head_dim": 16, "sliding_window": 32, "layer_types": ["sliding_attention", "full_attention"]}
_LLAMA = {"model_type": "llama", **_BASE, **_SIZE, **_WIDE, **_SHARED, "tie_word_embeddings": True}
_GPT2 = {"model_type": "gpt2", **_BASE, **_GPT}
_FALCON = {"model_type": "falcon", **_BASE, **_SIZE, "alibi": False}
_OPT = {"ffn_dim": 2 * HIDDEN, "word_embed_proj_dim": HIDDEN, "max_position_embeddings": POSITIONS, "init_std": 0.1}
_T5 = {
    "vocab_size": VOCABULARY,
    "d_model": HIDDEN,
    "d_kv": 16,
    "d_ff": 2 * HIDDEN,
    "num_layers": LAYERS,
    "num_heads": HEADS,
    "eos_token_id": END_ID,
    "pad_token_id": PAD_ID,
}
_RWKV = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "attention_hidden_size": HIDDEN}
_MT5 = {"initializer_factor": 0.3, "decoder_start_token_id": PAD_ID, "tie_word_embeddings": False}
_MAMBA = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "state_size": 8}

FAMILIES: dict[str, Family] = {
    "llama": Family(_LLAMA),
    "qwen2": Family({"model_type": "qwen2", **_BASE, **_SIZE, **_WIDE, **_SHARED}),
    "qwen3": Family({"model_type": "qwen3", **_BASE, **_SIZE, **_WIDE, **_SHARED, "head_dim": 16}),
    "mistral": Family({"model_type": "mistral", **_BASE, **_SIZE, **_WIDE, **_SHARED}),
    "gemma3": Family({"model_type": "gemma3_text", **_BASE, **_SIZE, **_WIDE, **_SHARED, **_GEMMA}),
    "phi3": Family({"model_type": "phi3", **_BASE, **_SIZE, **_WIDE, **_SHARED}),
    "glm": Family({"model_type": "glm", **_BASE, **_SIZE, **_WIDE, **_SHARED, "head_dim": 16}),
    "falcon, one key and value": Family({**_FALCON, "multi_query": True}),
    "falcon, new decoder": Family({**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "gpt2": Family(_GPT2),
    "gptj": Family({"model_type": "gptj", **_BASE, **_GPT, "rotary_dim": 8}, attention="eager"),
    "gpt_neox": Family({"model_type": "gpt_neox", **_BASE, **_SIZE, **_WIDE}),
    "opt": Family({"model_type": "opt", **_PLAIN, **_SIZE, **_OPT}),
    "bloom": Family(
        {"model_type": "bloom", **_BASE, "hidden_size": HIDDEN, "n_layer": LAYERS, "n_head": HEADS}, attention="eager"
    ),
    "rwkv": Family({"model_type": "rwkv", **_RWKV, "intermediate_size": 2 * HIDDEN}, attention="eager"),
    "mamba": Family({"model_type": "mamba", **_BASE, **_MAMBA}, attention="eager"),
    "bert": Family({"model_type": "bert", **_BASE, **_SIZE, **_WIDE}, "classifier"),
    "roberta": Family({"model_type": "roberta", **_BASE, **_SIZE, **_WIDE}, "classifier"),
    "llama, classifier": Family(_LLAMA, "classifier"),
    "gpt2, classifier": Family(_GPT2, "classifier"),
    "t5": Family({"model_type": "t5", **_T5}, "seq2seq"),
    "mt5": Family({"model_type": "mt5", **_T5, **_MT5}, "seq2seq"),
}

TRIED = ("llama", "gpt2", "bert", "t5")  # one of each kind: those on which the contract's suite tries every method
