"""Start a training from what another run has trained: its adapter trains on, or is merged into the base before.

In a training from preferences the reference is what it starts from in both cases, as in TRL: the log-probabilities of
a model whose adapter trains on are computed beforehand, and a merged model is the base of the new adapter.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from bench.config import Run
from bench.models import checkpoint
from bench.records import store
from bench.trained.find import Finished, with_weights
from bench.trained.model import base_dtype, merged


class CannotGoOn(ValueError):
    """A method's checkpoint does not hold what trains."""


def start_of(run: Run, folder: Path) -> Finished | None:
    """The run that `run`, whose files are in `folder`, starts from; None if that is the base.

    Raises:
        ValueError: it is not there, did not end well or has no weights.
    """
    if run.start is None:
        return None
    place = run.start_folder(folder)
    if not (place / store.RECORD).is_file():
        raise ValueError(f"method.start_from: there is no record of {run.start.run_id()} in {place.parent}")
    try:
        return with_weights(place, store.read(place / store.RECORD))
    except ValueError as error:
        raise ValueError(f"method.start_from: {error}") from error


def in_words(run: Run, start: Finished) -> str:
    """What a run starts from and how, for its record."""
    merged_or_not = "as the base" if start.is_model else "merged into the base"
    return f"{start.record.run_id}, {'which trains on' if run.goes_on() else merged_or_not}"


def merges(run: Run, start: Finished) -> bool:
    """Whether what the start trained is to be merged into the base before."""
    return not start.is_model and not run.goes_on()


@contextlib.contextmanager
def weights_of_base(run: Run, start: Finished, device: str, scratch: Path) -> Iterator[Path | None]:
    """Inside the block there is a folder with the whole model that stands in for the base; None: the base itself does.

    Args:
        run: that trains on it.
        start: the run that it starts from.
        device: to merge on.
        scratch: folder in which a merged model is put for the time.
    """
    if not merges(run, start):
        yield start.weights if start.is_model else None
        return
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        merged(start, device, base_dtype(start.run, device))[0].save_pretrained(folder)
        yield Path(folder)


def go_on(model: torch.nn.Module, start: Finished) -> None:
    """Give a model that the same method has adapted the values that the start has trained.

    Raises:
        CannotGoOn: the checkpoint lacks parameters that train: it holds what they compute.
    """
    if start.is_model:
        return  # it was loaded in the place of the base
    if not isinstance(model, PeftModel):
        checkpoint.load_trained(model, start.weights)
        return
    saved = load_file(start.weights / "adapter_model.safetensors")
    training = sum(p.numel() for p in model.parameters() if p.requires_grad)
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    fits = {key: value.shape for key, value in expected.items()} == {key: value.shape for key, value in saved.items()}
    if not fits or training > sum(value.numel() for value in saved.values()):
        title = start.method.title()
        instead = "; a run of another method can, with that merged into the base" if start.method.mergeable() else ""
        raise CannotGoOn(f"what {title} saves is not all that it trains, so no training can go on with it{instead}")
    set_peft_model_state_dict(model, saved)
