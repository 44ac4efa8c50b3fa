"""Import the deep-learning libraries in two thirds of the time, with nothing missing afterwards."""

import functools
import gc
import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.records.cache_dir import cache_dir
from bench.records.kept import own, write

# What transformers and accelerate import where they find it, for things that nothing here does (detection of objects,
# assisted generation, training on SageMaker). Inside the block they do not find it.
OPTIONAL = ("scipy", "sklearn", "boto3")


@contextmanager
def lean_imports() -> Iterator[None]:
    """A block for imports alone.

    Nothing of what is imported is garbage, so no collection looks for it. What others decorate with `torch.compile`
    is compiled when it is called: bitsandbytes decorates fallbacks of its kernels, and would load the compiler for it.
    """
    import torch

    remember_models()
    compile_now, collecting = torch.compile, gc.isenabled()
    hidden = [name for name in OPTIONAL if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    torch.compile = _compile_when_called  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        torch.compile = compile_now
        for name in hidden:
            del sys.modules[name]
        if collecting:
            gc.enable()


def _compile_when_called(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`torch.compile`, which begins with the first call."""
    if function is None:
        return functools.partial(_compile_when_called, **options)
    compiled: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        import torch

        if not compiled:
            compiled.append(torch.compile(function, **options))
        return compiled[0](*args, **kwargs)

    return call


def remember_models() -> None:
    """Let transformers, if it is not there yet, not read the sources of all its models when it is imported.

    It looks in two thousand files, twice, for the names that they define. What it finds is kept in the user's cache
    folder, under a hash of when the files were changed.
    """
    if "transformers" not in sys.modules and not any(isinstance(each, _ModelsFinder) for each in sys.meta_path):
        sys.meta_path.insert(0, _ModelsFinder())


class _ModelsFinder(MetaPathFinder):
    """Finds the one module of transformers that reads them, and has it loaded with one function altered."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The specification of that module; None for all others."""
        if name != "transformers.utils.import_utils":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _ModelsLoader(name, spec.loader.path)
        return spec


class _ModelsLoader(SourceFileLoader):
    """Loads that module, whose function for the folder of all models remembers then what it found."""

    def exec_module(self, module: ModuleType) -> None:
        """Carry out the module, and alter it."""
        super().exec_module(module)
        read = getattr(module, "create_import_structure_from_path", None)
        if read is not None:
            models = Path(self.path).parents[1] / "models"
            content = functools.cache(lambda: _remembered(models, Path(self.path), read))
            module.create_import_structure_from_path = (  # type: ignore[attr-defined]
                lambda path: pickle.loads(content()) if Path(path) in (models, models / "__init__.py") else read(path)
            )


def _remembered(models: Path, reader: Path, read: Callable[[Path], Any]) -> bytes:
    """What `read` finds in a folder, pickled; from the cache, which is the user's alone, if no file has changed.

    Args:
        models: the folder.
        reader: the file with `read`.
        read: takes the folder.
    """
    kept = None
    with suppress(Exception):  # it is not there, or damaged, which may show as anything
        if (folder := cache_dir()) is not None:
            kept = folder / "imports" / f"{_state(models, reader)}.pickle"
            if own(kept.parent):
                content = kept.read_bytes()
                pickle.loads(content)
                with suppress(OSError):
                    os.utime(kept)  # it is used
                return content
    found = pickle.dumps(read(models))
    if kept is not None:
        write(kept, found)
    return found


def _state(folder: Path, reader: Path) -> str:
    """A hash that changes with the files below a folder, with the file that reads them, and with Python."""
    state = hashlib.blake2b(os.fsencode(f"{sys.version} {reader} {reader.stat().st_mtime_ns}"), digest_size=16)
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if each != "__pycache__")
        for name in sorted(files):
            facts = os.stat(os.path.join(place, name))
            state.update(os.fsencode(f"{place} {name} {facts.st_mtime_ns} {facts.st_size}\n"))
    return state.hexdigest()
