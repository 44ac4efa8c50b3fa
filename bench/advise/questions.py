"""Records as questions: what a run was, as far as its memory and time depend on it, for the tracer to answer.

A run of tunebench is asked with the batches that its own prediction was made for. An imported one has no such thing:
its configuration says what was trained, and the one unknown, the longest batch, is an assumption that is stated.
"""

from typing import Any

from bench.advise.sizes import architecture
from bench.advise.trace import Question, Workload
from bench.records.schema import Record

# Parts of a run that say how it was started and where it went, and nothing of what a step costs.
ELSEWHERE = ("data", "launch", "hardware", "tracker", "results", "seed", "start")
DEVICES = ("cpu", "cuda")

# huggingface/peft's method_comparison: `max_seq_length` is 768, and the longest batch is not published. 704 was told
# from one of its runs, LoRA of rank 32, and is held for all of them.
PEFT_LOOP = "peft method_comparison"
PEFT_LONGEST = 704


def question(config: dict[str, Any], workload: Workload, device: str, precision: str) -> Question:
    """The question for a run of tunebench; runs that differ in the seed alone have the same.

    Args:
        config: of the run, as `bench.config.to_dict` makes it.
        workload: its batches.
        device: `cpu` or `cuda`.
        precision: of the computation, `float32` or `bfloat16`: what `auto` came to on that device.
    """
    run = {key: value for key, value in config.items() if key not in ELSEWHERE}
    return Question(run | {"train": config["train"] | {"precision": precision}}, workload, device)


def question_of(record: Record, longest: int = PEFT_LONGEST) -> Question | None:
    """The question for a finished run, or None where too little is known of it.

    Args:
        record: of tunebench, with a prediction; or imported from a source whose training loop is known.
        longest: tokens of the longest batch of an imported run.
    """
    if record.source is not None:
        return _imported(record, longest)
    if record.prediction is None or record.environment is None or record.environment.device not in DEVICES:
        return None
    training = record.training
    precision = training.precision if training is not None else record.config["train"]["precision"]
    workload = Workload(**record.prediction.workload)
    return question(record.config, workload, record.environment.device, precision)


def _imported(record: Record, longest: int) -> Question | None:
    """The mean is that of the tokens, padding left out: the lengths of the single rows are not published."""
    settings, training, environment = record.config.get("train_config"), record.training, record.environment
    if settings is None or training is None or environment is None or environment.device not in DEVICES:
        return None
    workload = Workload(
        rows=settings["batch_size"],
        mean_tokens=round(training.tokens / training.examples),
        longest_tokens=longest,
        labelled=1.0,
    )
    model: dict[str, Any] = record.config["model"]
    stated = architecture(model["path"])
    if not stated:
        return None
    run = {
        "method": {"peft_config": record.config.get("peft_config")},
        "model": model | {"architecture": stated, "weights": "random"},
        "task": {"kind": "generation"},
        "train": settings,
        "loop": PEFT_LOOP,
    }
    return Question(run, workload, environment.device)
