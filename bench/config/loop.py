"""How long and how to train, what to measure, where to compute and how to start runs."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.config.checks import at_least, choice


@dataclass
class Budget:
    """How long to train: exactly one of the four is set, the others are 0."""

    name: str = "short"
    steps: int = 0  # optimizer steps
    tokens: int = 0  # non-padding tokens, rounded up to whole steps
    epochs: float = 0.0
    seconds: float = 0.0  # of step time: evaluation and loading do not count

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        limits = {key: getattr(self, key) for key in ("steps", "tokens", "epochs", "seconds")}
        found = [f"budget.{key} must be >= 0, got {value:g}" for key, value in limits.items() if value < 0]
        given = [f"{key}={value:g}" for key, value in limits.items() if value]
        if len(given) != 1:
            found.append(
                "budget must set exactly one of steps, tokens, epochs, seconds and leave the others at 0, "
                f"got {', '.join(given) or 'none'}"
            )
        return found


# Settings of `Train` that change nothing of what is measured, and so are no part of a run's identity.
WITHOUT_EFFECT = ("auto_batch", "log_every", "save_every")


@dataclass
class Train:
    """The settings of the common loop; the same for every method unless somebody says otherwise."""

    batch_size: int = 16  # examples per optimizer step
    gradient_accumulation: int = 1  # micro batches that make up one step
    group_by_length: bool = True  # rows of about the same length make a batch, which saves padding | any rows
    packing: bool = False  # the rows of a batch end to end, each attending to itself alone: no padding, same loss
    schedule: str = "cosine"  # cosine | linear | constant, after the warm-up
    warmup: float = 0.06  # share of the budget over which the learning rate rises
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: str = "auto"  # of the computation: auto (bfloat16 where that is faster) | float32 | bfloat16
    gradient_checkpointing: bool = False
    compile: str = ""  # a backend of torch.compile for the model's layers while they train, such as inductor; "": none
    loss: str = "labelled"  # labelled: logits only where a label is, same value, less memory | full
    explosion: float = 10.0  # diverged: ten steps with a mean loss this many times that of the first (at least 1)
    log_every: int = 5  # steps between two reports of the loss to the terminal
    auto_batch: bool = False  # out of memory: again with half the examples at once, the same number a step
    save_every: int = 0  # steps between two checkpoints, from which an interrupted run goes on; 0: none

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = choice("train.schedule", self.schedule, "cosine", "linear", "constant")
        found += choice("train.precision", self.precision, "auto", "float32", "bfloat16")
        found += choice("train.loss", self.loss, "labelled", "full")
        for key in ("batch_size", "gradient_accumulation", "log_every"):
            found += at_least(f"train.{key}", getattr(self, key), 1)
        if self.gradient_accumulation > 0 and self.batch_size % self.gradient_accumulation:
            found.append(
                f"train.batch_size must be a multiple of train.gradient_accumulation, "
                f"got {self.batch_size} and {self.gradient_accumulation}"
            )
        for key in ("weight_decay", "max_grad_norm", "save_every"):
            found += at_least(f"train.{key}", getattr(self, key), 0)
        if self.explosion <= 1:
            found.append(f"train.explosion must be > 1, got {self.explosion:g}")
        if not 0 <= self.warmup < 1:
            found.append(f"train.warmup must be >= 0 and < 1, got {self.warmup:g}")
        return found


@dataclass
class Measure:
    """What is measured beside the loss, and how."""

    warmup_steps: int = 5  # first steps left out of the timing
    memory_interval: float = 0.002  # seconds between two readings of the allocator, where it keeps no peak of its own
    eval_batch_size: int = (
        128  # rows at once, at most: halved where memory runs out; a prompt with 16 choices is 16 rows
    )
    test: bool = True  # false in a search: choices are made on validation
    forgetting: bool = True  # loss on general text
    general_tokens: int = 16384  # of that text

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = at_least("measure.warmup_steps", self.warmup_steps, 0)
        for key in ("eval_batch_size", "general_tokens"):
            found += at_least(f"measure.{key}", getattr(self, key), 1)
        if self.memory_interval <= 0:
            found.append(f"measure.memory_interval must be > 0, got {self.memory_interval:g}")
        return found


@dataclass
class Hardware:
    """Where a run computes."""

    device: str = "auto"  # auto: cuda, else mps, else cpu | cpu | cuda | mps
    threads: int = 0  # of the CPU; 0: torch's own choice
    memory_gib: float = 0.0  # that torch may reserve on a GPU, as if it were a smaller one; 0: all there is

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = choice("hardware.device", self.device, "auto", "cpu", "cuda", "mps")
        found += at_least("hardware.threads", self.threads, 0)
        found += at_least("hardware.memory_gib", self.memory_gib, 0)
        if self.memory_gib and self.device in ("cpu", "mps"):
            found.append(
                "hardware.memory_gib limits the memory of an NVIDIA GPU; "
                f"hardware.device must be auto or cuda with it, got {self.device!r}"
            )
        return found


@dataclass
class Launch:
    """How runs are started; none of it is part of a run's identity."""

    start: str = "forkserver"  # forkserver: one warm process forks every child | spawn: each imports anew
    rerun: str = "none"  # which finished runs are run again: none | failed | all
    predict: bool = True  # before a training predict its memory and time, log that and keep it in the record
    keep_adapter: bool = True  # keep what was trained beside the record, unless that is weights of the base itself
    keep_model: bool = False  # keep it also where weights of the base were trained: up to a whole model in float32
    timeout: float = 0.0  # seconds for one run; 0: none
    within: float = 0.0  # hours, after which a sweep starts no more runs; 0: no limit
    stall: float = 3600.0  # seconds without a step, a phase or an evaluated example; 0: none
    memory: float = 0.0  # GiB of host memory for one run; 0: nine tenths of what the machine has
    devices: list[str] = field(default_factory=list)  # GPUs by number or UUID; empty: all that CUDA would see
    per_device: int = 1  # runs that share a device; more than one disturb each other's timing
    busy: str = "wait"  # a GPU on which another program holds memory: wait | refuse | ignore
    processes: int = 1  # that train one run together, each on a GPU of its own (on a CPU: with a share of the cores)
    accelerate: str = ""  # file that `accelerate config` wrote, for FSDP or DeepSpeed

    def errors(self) -> list[str]:
        """Invalid settings in words."""
        found = choice("launch.start", self.start, "forkserver", "spawn")
        found += choice("launch.rerun", self.rerun, "none", "failed", "all")
        found += choice("launch.busy", self.busy, "wait", "refuse", "ignore")
        for key in ("timeout", "within", "stall", "memory"):
            found += at_least(f"launch.{key}", getattr(self, key), 0)
        for key in ("per_device", "processes"):
            found += at_least(f"launch.{key}", getattr(self, key), 1)
        if len(set(self.devices)) < len(self.devices):
            found.append(f"launch.devices must name each device once, got {', '.join(self.devices)}")
        if self.accelerate and not Path(self.accelerate).is_file():
            found.append(f"launch.accelerate: there is no file {self.accelerate}")
        return found
