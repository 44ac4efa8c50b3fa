"""The task metrics. One is added with one function and a decorator; a task names those that it is judged by."""

from collections.abc import Sequence

from bench.config import Task
from bench.evaluate.metrics import choice, code, likelihood, math, text  # noqa: F401  (they register their metrics)
from bench.evaluate.metrics.registry import REGISTRY, Definition, metric, split_metric
from bench.evaluate.outcome import Outcome
from bench.method import did_you_mean
from bench.records.schema import Metric

__all__ = ["DEFAULTS", "REGISTRY", "Definition", "errors", "measure", "metric", "named", "split_metric"]

# What a kind of task is judged by, unless the task names its own metrics.
DEFAULTS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1", "matthews"),
    "multiple_choice": ("accuracy", "accuracy_norm"),
    "question_answering": ("squad_exact_match", "token_f1"),
    "math": ("math",),
    "summarisation": ("rouge1", "rouge2", "rougeL"),
    "translation": ("bleu", "chrf"),
    "code": ("exact_match", "syntax"),
    "generation": ("exact_match", "perplexity", "bits_per_byte"),
    "preference": (),
    "text": ("perplexity", "bits_per_byte"),
}
PAIRS = ("preference_accuracy", "preference_margin")  # wherever every example has a rejected answer


def errors(task: Task) -> list[str]:
    """Metrics that the task names and that do not exist."""
    unknown = [name for name in task.metrics if name not in REGISTRY]
    return [f"task.metrics: there is no metric {name!r}{did_you_mean(name, REGISTRY)}" for name in unknown]


def named(metrics: Sequence[str], kind: str) -> tuple[str, ...]:
    """The metrics of a task: those that it names, else those of its kind."""
    return tuple(metrics) or DEFAULTS[kind]


def measure(names: Sequence[str], outcomes: Sequence[Outcome], bounded: bool = True) -> dict[str, Metric]:
    """Compute metrics over the outcomes of a split and note each example's part in its outcome.

    Args:
        names: of registered metrics.
        outcomes: of all examples of the split.
        bounded: false where losses are not those of a text (a classifier's), so that no likelihood of text exists.
    """
    pairs = PAIRS if all(o.margin is not None for o in outcomes) else ()
    found = {}
    for name in dict.fromkeys((*names, *pairs)):
        definition = REGISTRY[name]
        if definition.of_text_loss and not bounded:
            continue
        value, each = definition.compute(outcomes)
        for outcome, part in zip(outcomes, each or [], strict=bool(each)):
            outcome.metrics[name] = part
        found[name] = Metric(value, definition.version, definition.higher_is_better, definition.signature())
    return found
