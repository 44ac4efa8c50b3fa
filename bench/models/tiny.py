"""Tiny random base models with a real tokenizer, on which the contract suite and the tests run in seconds."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.models.load import quiet

VOCABULARY = 320
END, PAD = "<|endoftext|>", "<|pad|>"
TEXT = (
    "Return the number of words in the text.",
    "Which module does this docstring belong to? json",
    "Open the file and read its lines one by one.",
    "Which module does this docstring belong to? random",
)


def tiny_model(folder: str | Path, architecture: str = "llama") -> str:
    """Write a random two-layer model and a byte-level BPE tokenizer to `folder`, and return the folder.

    `llama` has grouped-query attention, tied embeddings and no biases; `gpt2` has biases and `Conv1D` layers.
    The weights are larger than usual, or its outputs would hardly depend on its inputs.
    """
    quiet()
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        if architecture == "llama":
            model = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=VOCABULARY,
                    hidden_size=64,
                    intermediate_size=128,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    max_position_embeddings=256,
                    initializer_range=0.1,
                    tie_word_embeddings=True,
                    **ends,
                )
            )
        else:
            size = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
            model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, initializer_range=0.1, **size, **ends))
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return str(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END, PAD], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=PAD)
