"""Save what a method trained, and put it back on a fresh base model.

A checkpoint holds what trained and nothing else, in one of three forms: an adapter of peft's, a whole model
where all weights trained, or the trained tensors by name for any other method.
"""

from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from bench.method import Context, Method
from bench.models import kinds

TENSORS = "trained.safetensors"


def save(model: torch.nn.Module, folder: str | Path) -> int:
    """Write the checkpoint of a trained model to `folder` and return the size of its weights on disk in bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        # asked to find out by itself whether embeddings trained, peft would look the base model up on the Hub
        model.save_pretrained(str(folder), save_embedding_layers=False)
    elif isinstance(model, PreTrainedModel) and all(p.requires_grad for p in model.parameters()):
        model.save_pretrained(folder)
    else:
        save_trained(model, folder)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def save_trained(model: torch.nn.Module, folder: str | Path) -> None:
    """Write every parameter that trains, by its name, to `folder`, which is made if need be."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    trained = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    save_file(trained, Path(folder) / TENSORS)


def load_trained(model: torch.nn.Module, folder: str | Path) -> None:
    """Put back what `save_trained` wrote, on a model of the same method.

    Raises:
        ValueError: the file has a tensor that the model has not.
    """
    unknown = model.load_state_dict(load_file(Path(folder) / TENSORS), strict=False).unexpected_keys
    if unknown:
        raise ValueError(f"{Path(folder) / TENSORS} is not of this method: it has the tensor {unknown[0]}")


def reload(base: PreTrainedModel, folder: str | Path, method: Method, context: Context) -> torch.nn.Module:
    """The model that `save` wrote to `folder`, on a base model freshly loaded the way the method wants it.

    Raises:
        ValueError: the folder holds no checkpoint, or not one of this method.
    """
    folder = Path(folder)
    if (folder / "adapter_config.json").is_file():
        adapted = PeftModel.from_pretrained(base, str(folder))
        kinds.settle_adapter(adapted)
        return adapted
    if (folder / TENSORS).is_file():
        model = method.adapt(base, context)
        load_trained(model, folder)
        return model
    if (folder / "config.json").is_file():
        whole = type(base).from_pretrained(folder, dtype=torch.float32, use_safetensors=True).to(base.device)
        kinds.settle(whole, context.info.kind)
        return whole
    raise ValueError(f"there is no checkpoint in {folder}")
