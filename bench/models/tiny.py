"""Tiny random base models with a real tokenizer, on which the contract suite and the tests run in seconds."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from bench.config import Model
from bench.models import kinds
from bench.models.config import plan
from bench.models.families import BEGIN_ID, END_ID, FAMILIES, PAD_ID, VOCABULARY
from bench.models.load import quiet
from bench.models.tokenizer import mark_ends

END, PAD, BEGIN = "<|endoftext|>", "<|pad|>", "<|begin|>"
TEXT = (
    "Return the number of words in the text.",
    "Which module does this docstring belong to? json",
    "Open the file and read its lines one by one.",
    "Which module does this docstring belong to? random",
)


def tiny_model(folder: str | Path, architecture: str = "llama") -> str:
    """Write a random two-layer model and a byte-level BPE tokenizer to `folder`, and return the folder.

    Args:
        folder: where to.
        architecture: one of `bench.models.families.FAMILIES`. `llama` has grouped-query attention, tied embeddings
            and no biases; `gpt2` has biases and `Conv1D` layers. A classifier is written with two classes.
    """
    quiet()
    family = FAMILIES[architecture]
    settings = Model(name="tiny", kind=family.kind, architecture=family.facts, attention=family.attention)
    planned = plan(settings, facts=True, labels=("no", "yes"))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        kinds.build(planned, torch.float32).save_pretrained(folder)
    tokenizer = _tokenizer(planned.encoder)
    mark_ends(tokenizer, planned.kind, planned.encoder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _tokenizer(begin: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {END: END_ID, PAD: PAD_ID} | ({BEGIN: BEGIN_ID} if begin else {})
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    start = BEGIN if begin else END
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=start, eos_token=END, pad_token=PAD)
