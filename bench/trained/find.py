"""The run that somebody means, with its weights; without a deep-learning library, so that a mistake is said at once."""

from dataclasses import dataclass
from pathlib import Path

from bench import config
from bench.config import Run
from bench.method import Method
from bench.models import locate
from bench.records import store
from bench.records.named import RESULTS, one
from bench.records.schema import Record, Status

BASES_OWN = "what a run trains of the base's own weights is kept only with launch.keep_model=true"


@dataclass(frozen=True)
class Finished:
    """A run that came to an end, with what it trained."""

    folder: Path
    record: Record
    run: Run

    @property
    def method(self) -> Method:
        """That trained; a base run is never `Finished`."""
        assert self.run.method is not None
        return self.run.method

    @property
    def weights(self) -> Path:
        """The folder of what was trained."""
        return self.folder / store.WEIGHTS

    @property
    def is_adapter(self) -> bool:
        """Whether peft wrote the weights."""
        return (self.weights / "adapter_config.json").is_file()

    @property
    def is_model(self) -> bool:
        """Whether the weights are a whole model, as transformers writes one."""
        return (self.weights / "config.json").is_file()


def finished(text: str, results: Path = RESULTS) -> Finished:
    """The run that `text` means: a run's folder, its record.json, its id below `results` or a part of that.

    Raises:
        ValueError: there is no such run, or no weights of it that can be used; the message says why, and what to do.
    """
    return with_weights(*one(text, results))


def with_weights(folder: Path, record: Record) -> Finished:
    """The run of a record in its folder.

    Raises:
        ValueError: the run has no weights that can be used.
    """
    name = record.run_id
    run = recorded(record)
    if run.method is None:
        raise ValueError(f"{name} is the untouched base model: nothing was trained")
    if record.status is not Status.OK:
        raise ValueError(f"{name} ended as {record.status}{f' ({record.reason})' if record.reason else ''}")
    found = Finished(folder, record, run)
    if not store.has_weights(folder):
        why = BASES_OWN if run.method.trains_base_weights() else "launch.keep_adapter was false, or they were removed"
        key = "keep_model" if run.method.trains_base_weights() else "keep_adapter"
        again = f"`tunebench reproduce {folder} launch.{key}=true` makes them again"
        raise ValueError(f"{name} has no weights: {why}; {again}")
    if locate.content(run.model) != run.model.content:
        raise ValueError(f"{name}: the files of its base model, {run.model.path}, are no longer what they were")
    return found


def recorded(record: Record) -> Run:
    """The run that a record is of, as this version understands its configuration.

    Raises:
        ValueError: others made the record, or it has settings that this version lacks.
    """
    if record.source is not None:
        raise ValueError(
            f"{record.run_id} is imported from {record.source.name}; only its own program can run it again"
        )
    try:
        unknown = config.unknown_keys(record.config)
        if unknown:
            said = f"tunebench {record.tunebench_version}" if record.tunebench_version else "another version"
            raise ValueError(f"{record.run_id}, made by {said}, has settings that are gone: {', '.join(unknown)}")
        return config.from_dict(record.config)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the configuration of {record.run_id} cannot be read: {error!r}") from error
