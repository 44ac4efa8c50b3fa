"""Records that nobody measured: stores of any size with plausible figures, to time readers and to look at pages.

`python -m tests.benchmarks.synthetic FOLDER RUNS --details` writes RUNS records below FOLDER: models, tasks and
machines, in each of their combinations the untouched base and eight configurations with five seeds, and now and then
a failure. The same seed gives the same store. Small stores cover two models and two tasks, large ones some of each.
"""

import argparse
import json
import math
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice, product
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from bench.config import Budget, Model, Run, Task
from bench.config.run import to_dict
from bench.method import get
from bench.records.schema import (
    Data,
    Environment,
    Evaluation,
    Metric,
    Parameters,
    Phase,
    Quantiles,
    Record,
    Scores,
    Status,
    Training,
)
from bench.records.store import EXAMPLES, RECORD, STEPS, as_plain, plain

STEPS_OF_A_RUN, WARMUP, SEEDS, TEST = 100, 5, 5, 400
MIB, GIB = 2**20, 2**30
LIBRARIES = {
    "tunebench": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2", "trl": "1.16.0",
    "datasets": "5.2.0", "accelerate": "1.15.0", "bitsandbytes": "0.50.2", "hydra-core": "1.3.8",
    "tokenizers": "0.23.3", "numpy": "2.4.6",
}  # fmt: skip


class Variant(NamedTuple):
    """A configuration: its settings, how much of what can be learned it learns, its memory, speed and size."""

    method: str
    settings: dict[str, Any]
    strength: float
    bytes_per_parameter: float
    speed: float
    share: float  # of the parameters that it trains


VARIANTS = (
    Variant("full", {}, 1.00, 16.0, 1.00, 1.0),
    Variant("lora", {}, 0.93, 2.6, 1.15, 0.012),
    Variant("lora", {"rank": 32}, 0.95, 2.8, 1.05, 0.048),
    Variant("qlora", {}, 0.90, 1.2, 0.70, 0.012),
    Variant("dpo", {}, 0.70, 3.4, 0.45, 0.012),
    Variant("prefix", {}, 0.58, 2.4, 1.30, 0.004),
    Variant("prompt", {}, 0.40, 2.3, 1.35, 0.0002),
    Variant("ptuning", {}, 0.52, 2.4, 1.25, 0.003),
)
MODELS = (
    ("tiny-llama", "embedded:tiny-llama", 1_541_760), ("qwen3-0.6b", "Qwen/Qwen3-0.6B", 596_049_920),
    ("llama-3.2-1b", "meta-llama/Llama-3.2-1B", 1_235_814_400), ("gpt2", "openai-community/gpt2", 124_439_808),
    ("pythia-410m", "EleutherAI/pythia-410m", 405_334_016), ("opt-125m", "facebook/opt-125m", 125_239_296),
    ("pythia-70m", "EleutherAI/pythia-70m", 70_426_624), ("pythia-1b", "EleutherAI/pythia-1b", 1_011_781_632),
    ("llama-3.2-3b", "meta-llama/Llama-3.2-3B", 3_212_749_824),
    ("gpt2-large", "openai-community/gpt2-large", 774_030_080),
)  # fmt: skip
TASKS = (  # name, kind, main metric, what the base scores in it
    ("pydoc", "classification", "accuracy", 0.11), ("gsm8k", "math", "math", 0.02),
    ("sst2", "classification", "accuracy", 0.52), ("ag_news", "classification", "accuracy", 0.27),
    ("squad", "question_answering", "squad_exact_match", 0.08), ("sorting", "generation", "exact_match", 0.01),
    ("arithmetic", "math", "math", 0.03), ("metamathqa", "math", "math", 0.02),
    ("trec", "classification", "accuracy", 0.22), ("boolq", "multiple_choice", "accuracy", 0.55),
)  # fmt: skip


class Setting(NamedTuple):
    """Where the runs of one section differ from those of others: indices of machine, model and task."""

    machine: int
    model: int
    task: int


def make_store(folder: Path, runs: int, *, seed: int = 0, details: bool = False) -> None:
    """Write `runs` synthetic records below `folder`, as run folders of a results folder's `runs`.

    Args:
        folder: takes the folders of the machines; made if need be.
        runs: how many records.
        seed: of all that is drawn.
        details: also write steps.jsonl and examples.jsonl, which agree with the record.
    """
    for number, (record, setting) in enumerate(islice(_records(seed), runs)):
        assert record.environment is not None
        target = folder / record.environment.hardware / record.run_id
        target.mkdir(parents=True, exist_ok=True)
        _write(target / RECORD, [as_plain(record)], indent=1)
        if details and record.evaluation is not None:
            _write(target / EXAMPLES, _examples(record, setting, random.Random(f"{seed} examples {number}")))
        if details and record.phase("train") is not None:
            _write(target / STEPS, _steps(record, random.Random(f"{seed} steps {number}")))


def _write(path: Path, objects: Iterable[Any], indent: int | None = None) -> None:
    """JSON lines without a flush to the disk, which would take minutes for a large store."""
    path.write_text("".join(json.dumps(plain(each), indent=indent) + "\n" for each in objects), encoding="utf-8")


def _settings() -> Iterator[Setting]:
    """All combinations, those of two models, two tasks and one machine first; machines never end."""
    seen: set[Setting] = set()
    for level in count(1):
        sizes = level // 2 + 1, min(level + 1, len(MODELS)), min(level + 1, len(TASKS))
        for machine, model, task in product(*map(range, sizes)):
            setting = Setting(sizes[0] - 1 - machine, model, task)  # the newest machine first
            if setting not in seen:
                seen.add(setting)
                yield setting


def _records(seed: int) -> Iterator[tuple[Record, Setting]]:
    started = datetime(2026, 1, 5, 8, tzinfo=UTC)
    for setting in _settings():
        for variant in (None, *VARIANTS):
            run = _run(setting, variant)
            for run.seed in range(SEEDS if variant else 1):
                generator = random.Random(f"{seed} {setting} {variant} {run.seed}")
                record = _record(run, setting, variant, started, generator)
                started = datetime.fromisoformat(record.finished_at)
                yield record, setting


def _run(setting: Setting, variant: Variant | None) -> Run:
    model, path, _ = MODELS[setting.model]
    task, kind, *_ = TASKS[setting.task]
    source = task if task in ("pydoc", "sorting", "arithmetic") else "hub"
    method = get(variant.method)(**variant.settings) if variant else None
    settings = Task(name=task, source=source, kind=kind, path="" if source == task else f"hub/{task}")
    return Run(method, Model(name=model, path=path), settings, budget=Budget(steps=STEPS_OF_A_RUN))


def _record(run: Run, setting: Setting, variant: Variant | None, started: datetime, generator: random.Random) -> Record:
    environment = _environment(setting.machine)
    task = TASKS[setting.task]
    record = Record(
        run_id=run.run_id(), group=run.group(), method=run.title(), model=run.model.name, task=run.task.name,
        seed=run.seed, status=Status.OK, started_at=started.isoformat(), finished_at="", config=to_dict(run),
        tunebench_version="0.1.0", environment=environment,
        data=Data(_fingerprint(run.task.name), {"train": 1600, "validation": 400, "test": TEST}, task[3], task[1]),
    )  # fmt: skip
    _measure(record, setting, variant, generator)
    _fail(record, setting, variant, generator)
    seconds = sum(phase.seconds for phase in record.phases) + 3
    record.finished_at = (started + timedelta(seconds=round(seconds))).isoformat()
    return record


def _fingerprint(task: str) -> str:
    return f"{random.Random(task).getrandbits(256):064x}"


def _environment(machine: int) -> Environment:
    cuda = machine % 2 == 1  # the first machine has none
    memory = (24 + 24 * (machine % 3)) * GIB if cuda else 32 * GIB
    name = f"Example GPU {machine}" if cuda else f"Example CPU {machine}"
    return Environment(
        hardware=f"{'cuda' if cuda else 'cpu'}-example-{machine}", device="cuda" if cuda else "cpu", device_name=name,
        device_memory_bytes=memory, host_memory_bytes=64 * GIB, cpu="Example CPU", cpu_cores=16, threads=16,
        platform="Linux-6.8.0-x86_64-with-glibc2.36", python="3.11.7", libraries=LIBRARIES,
        driver="570.86" if cuda else None, git_commit="0123456789abcdef0123456789abcdef01234567", git_dirty=False,
    )  # fmt: skip


def _measure(record: Record, setting: Setting, variant: Variant | None, generator: random.Random) -> None:
    """Fill in what a run that succeeds would have measured."""
    assert record.environment is not None
    cuda = record.environment.device == "cuda"
    size = MODELS[setting.model][2]
    speed = (60.0 if cuda else 1.0) * (1 + 0.15 * (setting.machine % 5)) * 1e10 / (size + 1e6) ** 0.85
    weights = size * (2 if cuda else 4)

    def phase(name: str, seconds: float, peak: float) -> Phase:
        peak, source = round(peak * generator.uniform(0.99, 1.01)), "cuda" if cuda else "glibc"
        seconds *= generator.uniform(0.9, 1.1)
        reserved, device = (round(peak * 1.1), round(peak * 1.1) + 300 * MIB) if cuda else (None, None)
        energy = seconds * 180.0 if cuda else None
        return Phase(name, seconds, source, peak, reserved, device, peak + 350 * MIB, energy)

    trainable = 0 if variant is None else round(size * variant.share)
    total = size if variant is None or variant.share == 1 else size + trainable
    record.parameters = Parameters(trainable, total)
    record.phases = [phase("load", 0.2 + size / 1e9, weights + 7 * MIB)]
    record.evaluation = _evaluation(setting, variant, generator)
    if variant is not None:
        record.training = _training(record, speed * variant.speed, generator)
        record.phases.append(phase("adapt", 0.05 + size / 1e10, weights + 10 * MIB))
        peak = size * variant.bytes_per_parameter + 150 * MIB + 0.4 * weights
        record.phases.append(phase("train", record.training.seconds + 0.5, peak))
        record.checkpoint_bytes = 4 * trainable + 10_000
    record.phases.append(phase("evaluate", 9.0, weights + 120 * MIB))
    if variant is not None:
        record.phases.append(phase("save", 0.03 + 4 * trainable / 1e9, weights + 12 * MIB))


def _training(record: Record, tokens_per_s: float, generator: random.Random) -> Training:
    tokens, trained = 117_800, 3_530
    median = tokens / STEPS_OF_A_RUN / tokens_per_s * generator.uniform(0.97, 1.03)
    seconds = median * 1.01 * STEPS_OF_A_RUN
    assert record.evaluation is not None
    loss, rate = record.evaluation.validation.loss, record.config["method"]["learning_rate"]
    return Training(
        steps=STEPS_OF_A_RUN, warmup_steps=WARMUP, examples=16 * STEPS_OF_A_RUN, tokens=tokens, trained_tokens=trained,
        seconds=seconds, step_s=Quantiles(median, 0.88 * median, 1.15 * median), tokens_per_s=tokens / seconds,
        trained_tokens_per_s=trained / seconds, first_loss=_start(record.model) + generator.gauss(0, 0.03),
        final_loss=loss * generator.uniform(0.95, 1.0), learning_rate=rate, optimizer="adamw_torch_fused",
        precision="float32", trainable_dtype="float32", loss="labelled", micro_batch_size=16,
        gradient_accumulation=1, foreign_cpu_cores=0.4 * (generator.random() < 0.01), default_learning_rate=rate,
    )  # fmt: skip


def _start(model: str) -> float:
    return 2.6 - 0.06 * [name for name, *_ in MODELS].index(model)


def _evaluation(setting: Setting, variant: Variant | None, generator: random.Random) -> Evaluation:
    _, _, metric, chance = TASKS[setting.task]
    capable = 0.45 + 0.5 * min(1.0, math.log10(MODELS[setting.model][2] / 1e6) / 3.5)
    learned = 0.0 if variant is None else variant.strength * capable + generator.gauss(0, 0.012)
    loss = _start(MODELS[setting.model][0]) * (1 - 0.75 * learned)

    def scores(examples: int, loss: float) -> Scores:
        share = chance + (0.97 - chance) * learned
        right = sum(generator.random() < share for _ in range(40)) / 40 * 0.1 + share * 0.9  # some luck of the draw
        value = min(examples, max(0, round(right * examples))) / examples
        found = {metric: value, "preference_accuracy": round((0.55 + 0.4 * learned) * examples) / examples}
        if metric == "accuracy":
            found["macro_f1"] = value * generator.uniform(0.85, 0.97)
        return Scores(examples, loss, {name: Metric(found[name], 1, True) for name in found})

    validation, test = scores(400, loss), scores(TEST, loss * generator.uniform(0.99, 1.03))
    forgotten = None if variant is None else 0.05 + 0.25 * variant.share**0.2 * learned + generator.gauss(0, 0.01)
    decoding = {"method": "highest summed log-probability among the choices"} if "accuracy" in metric else {
        "method": "greedy", "max_new_tokens": 32,
    }  # fmt: skip
    return Evaluation(validation, test, 2.1 + (forgotten or 0.0), forgotten, decoding)


def _fail(record: Record, setting: Setting, variant: Variant | None, generator: random.Random) -> None:
    """Make a failure of some runs: memory that does not suffice fails every seed, the rest is bad luck."""
    assert record.environment is not None
    if variant is None:
        return
    train, luck = record.phase("train"), generator.random()
    assert train is not None
    if train.peak_allocated_bytes > record.environment.device_memory_bytes * 0.3:
        _stop(record, Status.OOM, "train", f"the allocator wanted {train.peak_allocated_bytes / GIB:.1f} GiB")
    elif variant.method == "qlora" and setting.model % 4 == 1:
        _stop(record, Status.UNSUPPORTED, "adapt", "4-bit weights of this architecture cannot be trained here")
    elif luck < 0.015:
        _stop(record, Status.DIVERGED, "train", "the loss is not finite at step 41")
    elif luck < 0.025:
        _stop(record, Status.FAILED, "evaluate", "RuntimeError: the tokenizer's file is gone")
    elif luck < 0.03:
        _stop(record, Status.TIMEOUT, "train", "ran for 600 s, launch.timeout=600")


def _stop(record: Record, status: Status, phase: str, reason: str) -> None:
    names = [each.name for each in record.phases]
    record.status, record.failed_phase, record.reason = status, phase, reason
    record.phases = record.phases[: names.index(phase) + 1]
    record.evaluation = record.checkpoint_bytes = None
    if phase != "evaluate":
        record.training = None
    if phase == "adapt":
        record.parameters = None


def _examples(record: Record, setting: Setting, generator: random.Random) -> Iterator[dict[str, Any]]:
    """Outcomes of the test examples, whose means are the record's values; hard ones are hard for every run."""
    assert record.evaluation is not None
    assert record.evaluation.test is not None
    test, metric = record.evaluation.test, TASKS[setting.task][2]
    shared = random.Random(TASKS[setting.task][0])
    difficulty = [shared.gauss(0, 1) + generator.gauss(0, 0.6) for _ in range(test.examples)]

    def easiest(name: str) -> set[int]:
        order = sorted(range(test.examples), key=lambda i: difficulty[i])
        return set(order[: round(test.metrics[name].value * test.examples)])

    right, preferred = easiest(metric), easiest("preference_accuracy")
    losses = [math.exp(0.7 * d) for d in difficulty]
    scale = test.loss / fmean(losses)
    for i, loss in enumerate(losses):
        outcomes = {metric: int(i in right), "preference_accuracy": int(i in preferred)}
        answer, other = f" answer {i % 7}", f" answer {(i + 1) % 7}"
        yield {
            "id": f"{record.task}:{i}", "correct": outcomes[metric], "prediction": answer if i in right else other,
            "answer": answer, "loss": loss * scale, "preferred": int(i in preferred), "metrics": outcomes,
        }  # fmt: skip


def _steps(record: Record, generator: random.Random) -> Iterator[dict[str, Any]]:
    """The curve of the loss, which falls to the record's; that of a run that stopped early is cut off."""
    training, rate = record.training, record.config["method"]["learning_rate"]
    first, final = (training.first_loss, training.final_loss) if training else (_start(record.model), 1.0)
    median = training.step_s.median if training else 0.3
    last = STEPS_OF_A_RUN if training else 40
    for step in range(1, last + 1):
        falling = final + (first - final) * math.exp(-7 * (step - 1) / STEPS_OF_A_RUN)
        loss = falling * math.exp(generator.gauss(0, 0.06))
        if record.status is Status.DIVERGED:
            loss *= math.exp(max(0, step - 30) / 3)
        progress = step / STEPS_OF_A_RUN
        schedule = min(progress / 0.06, (1 + math.cos(math.pi * progress)) / 2)
        seconds = median * math.exp(generator.gauss(0, 0.1)) * (1.6 if step == 1 else 1)
        yield {
            "step": step, "loss": loss, "learning_rate": rate * schedule, "seconds": seconds, "tokens": 1178,
            "trained_tokens": 35, "warmup": step <= WARMUP,
        }  # fmt: skip


def main() -> None:
    """Write the store that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("runs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--details", action="store_true", help="also steps.jsonl and examples.jsonl of every run")
    options = parser.parse_args()
    make_store(options.folder, options.runs, seed=options.seed, details=options.details)


if __name__ == "__main__":
    main()
