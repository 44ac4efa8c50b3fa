"""What the untouched model makes of both answers of every pair: computed once for a base and a data set.

Objectives with a reference compare with it in every step. It does not change, so it is computed beforehand, in batches
of rows of one length, and kept in the user's cache folder under what decides it: the weights, the tokens, the
precision, the libraries and this code. Runs that differ in seed, method or learning rate share it.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load, save
from torch import Tensor, nn

import bench.models
from bench.config import Run
from bench.data.tokens import PadRight, Tokens, training_row, widths
from bench.models.logits import completion_log_probs, inner_model
from bench.objective import of
from bench.records import kept
from bench.records.cache_dir import cache_dir
from bench.train.budget import total_steps

if TYPE_CHECKING:
    from datasets import Dataset

SHARE = 4  # a run that sees at least this part of the rows has the reference of all of them computed beforehand


def precomputes(run: Run, dataset: "Dataset", lengths: np.ndarray) -> bool:
    """Whether the reference's log-probabilities, where an objective needs them, are computed before training.

    That costs one pass over the rows, for all runs together, and saves one per row seen. A method that changes base
    weights has no reference left once it trains, so there it is the only way; and so has a run that goes on with what
    another has trained, whose reference is not the base but what it starts from. What is in the cache decides nothing:
    the two ways differ in the last bits.
    """
    if run.method is None or not of(run.method).reference:
        return False
    if run.goes_on() or run.method.trains_base_weights():
        return True
    steps = total_steps(run.budget, lengths, run.train.batch_size)
    return steps is not None and SHARE * steps * run.train.batch_size >= len(dataset)


def with_reference(model: nn.Module, dataset: "Dataset", tokenizer: Any, batch_size: int) -> "Dataset":
    """The rows with all completions' summed log-probabilities under `model`, as it is before training."""
    path = _path(model, dataset, batch_size)
    known = None if path is None else _read(path)
    if known is None:
        model.eval()
        known = {
            name: _log_probs(model, dataset, name, tokenizer, batch_size) for name in answers(dataset.column_names)
        }
        if path is not None:
            kept.write(path, save(known))
    for name, values in known.items():
        dataset = dataset.add_column(f"ref_{name}_logps", values.tolist())
    return dataset


def answers(columns: Sequence[str]) -> list[str]:
    """The completions that stand behind the prompt of a pair, by the names of its columns: `chosen`, `rejected`, ..."""
    return [name.removesuffix("_ids") for name in columns if name.endswith("_ids") and name != "prompt_ids"]


@torch.no_grad()
def _log_probs(model: nn.Module, dataset: "Dataset", answer: str, tokenizer: Any, batch_size: int) -> Tensor:
    """Of one completion of every row, [rows]; the longest rows come first, so that what does not fit shows at once."""
    collate, device = PadRight(tokenizer.pad_token_id), inner_model(model).device
    order = torch.tensor(widths(dataset)).argsort(descending=True, stable=True)
    found = torch.empty(len(dataset))
    for places in order.split(batch_size):
        part = dataset[places.tolist()]
        pairs = zip(part["prompt_ids"], part[f"{answer}_ids"], strict=True)
        batch = collate([training_row(Tokens(prompt, completion)) for prompt, completion in pairs])
        found[places] = completion_log_probs(model, {k: v.to(device) for k, v in batch.items()}).float().cpu()
    return found


def _path(model: nn.Module, dataset: "Dataset", batch_size: int) -> Path | None:
    """Where the values of this model and these rows are kept; None where nothing shall be."""
    folder = cache_dir()
    if folder is None:
        return None
    device = inner_model(model).device
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    settings = {k: v for k, v in inner_model(model).config.to_dict().items() if not k.startswith("_")}
    libraries = (torch.__version__, transformers.__version__, peft.__version__)
    code = kept.code(Path(bench.models.__path__[0]), Path(__file__).parent)
    key = hashlib.blake2b(repr((chip, autocast, settings, libraries, code, batch_size)).encode(), digest_size=16)
    for name, weight in model.state_dict().items():
        key.update(f"{name} {getattr(weight, 'shape', weight)} {getattr(weight, 'dtype', '')}".encode())
        if isinstance(weight, Tensor):
            key.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for column in dataset.column_names:
        key.update(repr((column, dataset[column][:])).encode())
    return folder / "references" / f"{key.hexdigest()}.safetensors"


def _read(path: Path) -> dict[str, Tensor] | None:
    """What was kept; None if there is nothing that can be trusted."""
    if not kept.own(path.parent):
        return None
    try:
        found = load(path.read_bytes())
        os.utime(path)
    except Exception as error:  # safetensors has an exception of its own, and a damaged file costs time alone
        if not isinstance(error, OSError):
            path.unlink(missing_ok=True)
        return None
    return found
