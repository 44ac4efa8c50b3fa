"""The record of one run: the only contract between what measures and what reports.

Names carry units: `_bytes` are integers, `_s` seconds, `_j` joules. `None` always means "was not measured"; some of
what tunebench always measures may be None in a record with a `source`, which others measured.
When a field changes its meaning, `SCHEMA_VERSION` goes up.

The classes have slots: readers hold many thousands of records, which take a fifth less time and memory with them.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 2


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    OOM = "oom"  # out of device or host memory
    DIVERGED = "diverged"  # the loss became NaN or infinite, or exploded
    UNSUPPORTED = "unsupported"  # this method does not work on this model or task; the reason says why
    TIMEOUT = "timeout"
    CRASHED = "crashed"  # killed by a signal, or ended without a record
    FAILED = "failed"  # an exception
    INTERRUPTED = "interrupted"

    @property
    def final(self) -> bool:
        """Whether launching the same sweep again leaves this run alone."""
        return self in (Status.OK, Status.OOM, Status.DIVERGED, Status.UNSUPPORTED)


@dataclass(slots=True)
class Phase:
    """One phase of a run (load, adapt, train, evaluate, save) with its duration and the peaks inside it.

    `peak_allocated_bytes` is what the allocator had in use at most: torch's allocator on CUDA and MPS,
    glibc's heap (and memory-mapped weights) on a CPU. It is the figure to compare methods by.
    """

    name: str
    seconds: float
    memory_source: str  # "cuda", "mps", "glibc" or "resident": which meter read peak_allocated_bytes
    peak_allocated_bytes: int | None
    peak_reserved_bytes: int | None = None  # CUDA: held by the caching allocator
    peak_device_bytes: int | None = None  # CUDA: in use on the whole device, other processes included
    peak_resident_bytes: int | None = None  # the process's resident set, high-water mark inside the phase
    energy_j: float | None = None  # CUDA: NVML's energy counter over the phase


@dataclass(slots=True)
class Quantiles:
    """Median, 10th and 90th percentile."""

    median: float
    p10: float
    p90: float


@dataclass(slots=True)
class Parameters:
    """Parameter counts; a quantised weight counts as many as it stands for."""

    trainable: int
    total: int  # adapter included


@dataclass(slots=True)
class Training:
    """The steps of training. Timing leaves out the first `warmup_steps`, which stand in steps.jsonl marked as such."""

    steps: int
    warmup_steps: int
    examples: int
    tokens: int  # non-padding tokens seen
    trained_tokens: int | None  # tokens that carry loss
    seconds: float  # sum of all step times
    step_s: Quantiles | None
    tokens_per_s: float  # non-padding tokens / step time
    trained_tokens_per_s: float | None  # tokens with loss / step time
    first_loss: float | None
    final_loss: float | None  # mean of the last tenth of the steps
    learning_rate: float
    optimizer: str
    precision: str  # "float32" or "bfloat16": the dtype of the computation
    trainable_dtype: str
    loss: str  # "labelled": logits computed where a label is; "full": at every position
    processes: int = 1  # that trained together; tokens_per_s is their sum
    micro_batch_size: int | None = None  # examples at once in one process
    gradient_accumulation: int | None = None  # micro batches of one process that make up a step
    resumed_at: int | None = None  # the step after which an interrupted training went on
    foreign_cpu_cores: float | None = None  # cores that others kept busy; > 0.2 disturbs
    default_learning_rate: float | None = None  # the method's own; another was set where the two differ


@dataclass(slots=True)
class Metric:
    """A metric's value with what a reader needs to compare it."""

    value: float
    version: int
    higher_is_better: bool
    signature: str = ""  # of the library that computed it, where the value depends on its settings


@dataclass(slots=True)
class Scores:
    """One split, evaluated: mean loss in nats per completion token, and the task's metrics by name."""

    examples: int
    loss: float | None
    metrics: dict[str, Metric] = field(default_factory=dict)


@dataclass(slots=True)
class Evaluation:
    """What the trained model (in a base record: the untouched one) scores."""

    validation: Scores
    test: Scores | None = None  # None where the run was told not to look at the test split
    general_loss: float | None = None  # nats per token on held-out general text
    forgetting: float | None = None  # general_loss minus that of the base model; positive: it forgot
    decoding: dict[str, Any] = field(default_factory=dict)
    halved: list[str] = field(default_factory=list)  # batches that did not fit in memory and came again in halves


@dataclass(slots=True)
class Data:
    """The data a run saw: SHA-256 over all examples, sizes by split, accuracy of always giving the commonest answer."""

    fingerprint: str | None
    sizes: dict[str, int]
    majority_accuracy: float | None = None
    kind: str = ""  # of the task: what is asked, and so which metrics there are
    skipped: dict[str, int] = field(default_factory=dict)  # rows left out, by split and reason
    leaked: dict[str, int] = field(default_factory=dict)  # training examples whose text occurs in another split
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of every file that was read, by its name


@dataclass(slots=True)
class Environment:
    """Where and with what a run was made."""

    hardware: str  # the folder name of the results, such as "cpu-amd-epyc-2"
    device: str  # "cpu", "cuda" or "mps"
    device_name: str
    device_memory_bytes: int | None
    host_memory_bytes: int | None
    cpu: str | None
    cpu_cores: int | None
    threads: int | None
    platform: str
    python: str | None
    libraries: dict[str, str]
    driver: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None


@dataclass(slots=True)
class PredictedBytes:
    """A predicted amount of memory, and the interval in which 95 of 100 measured ones should lie."""

    value: int
    low: int
    high: int


@dataclass(slots=True)
class PredictedSeconds:
    """A predicted time, and the interval in which 95 of 100 measured ones should lie."""

    value: float
    low: float
    high: float


@dataclass(slots=True)
class Prediction:
    """What was predicted of the training before it began: from the configuration and the lengths of the rows alone.

    `workload` names the batches that it is for (rows, mean_tokens, longest_tokens, labelled, padded). Nothing that
    was measured goes into it, so that the error of predictions can be told from records.
    """

    workload: dict[str, Any]
    evidence: str | None = None  # "traced" or "closed form"; None: nothing could be predicted
    reason: str | None = None  # why no trace could be made
    live_bytes: PredictedBytes | None = None  # CPU: peak of what tensors hold
    allocated_bytes: PredictedBytes | None = None  # CUDA: peak of what the allocator has in use
    reserved_bytes: PredictedBytes | None = None  # CUDA: peak of what the caching allocator holds
    device_bytes: PredictedBytes | None = None  # CUDA: the same with the context of the process on the card
    step_s: PredictedSeconds | None = None  # the typical step
    breakdown: dict[str, int] = field(default_factory=dict)  # bytes at the peak, by what holds them
    tunebench_version: str = ""  # that predicted
    seconds: float | None = None  # that predicting took


@dataclass(slots=True)
class Source:
    """Where an imported record comes from. Others measured it, and `notes` say what they measured, and how."""

    name: str  # what is imported, such as "huggingface/peft method_comparison"
    url: str
    file: str  # the file of the source that this record was made from, relative to `url`
    commit: str | None = None  # of the source, where it is known
    license: str | None = None  # SPDX identifier
    notes: dict[str, str] = field(default_factory=dict)  # how a figure was measured, by the record's dotted key


@dataclass(slots=True)
class Record:
    """One run, whole. A failed run has what it reached; `reason` and `failed_phase` say what stopped it."""

    run_id: str
    group: str  # hash of the configuration without the seed: runs of a group differ in their seed alone
    method: str  # the method's title; "base" is the untouched model
    model: str
    task: str
    seed: int
    status: Status
    started_at: str  # ISO 8601, UTC
    finished_at: str
    config: dict[str, Any]
    schema_version: int = SCHEMA_VERSION
    tunebench_version: str = ""
    reason: str | None = None
    history: list[str] = field(default_factory=list)  # earlier attempts at this run, in words
    failed_phase: str | None = None
    traceback: str | None = None
    environment: Environment | None = None
    data: Data | None = None
    parameters: Parameters | None = None
    phases: list[Phase] = field(default_factory=list)
    training: Training | None = None
    evaluation: Evaluation | None = None
    checkpoint_bytes: int | None = None
    started_from: str | None = None  # the run whose result it trained on, and how; None: the untouched base
    prediction: Prediction | None = None  # made before the training; None: launch.predict was off
    source: Source | None = None  # of an imported record; None: tunebench measured this itself

    def phase(self, name: str) -> Phase | None:
        """The phase called `name`, if the run reached it."""
        for phase in self.phases:
            if phase.name == name:
                return phase
        return None
