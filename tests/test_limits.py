"""A run that has too few positions for its rows is refused before anything is loaded."""

from dataclasses import replace

import pytest

from bench.config import Measure, Model, Run, Task
from bench.limits import too_few_for_general_text, too_long
from bench.method import Method, ModelInfo
from methods.lora import Lora
from methods.prefix import Prefix

TASK = Task(name="sums", source="arithmetic", kind="generation", max_length=128, max_new_tokens=3)


def make_run(method: Method | None) -> Run:
    return Run(method, model=Model(name="tiny"), task=TASK)


@pytest.mark.parametrize(
    ("model", "kind", "method", "missing"),
    [
        ("causal", "generation", None, "task.max_length=128, task.max_new_tokens=3"),
        (
            "causal",
            "generation",
            Prefix(virtual_tokens=5),
            "task.max_length=128, task.max_new_tokens=3 and 5 virtual tokens",
        ),
        ("causal", "classification", None, "task.max_length=128"),
        ("causal", "auto", Prefix(virtual_tokens=5), "task.max_length=128 and 5 virtual tokens"),
        ("classifier", "generation", None, "task.max_length=128"),
        ("seq2seq", "generation", None, "task.max_length=128, task.max_new_tokens=3"),
    ],
)
def test_rows_need_places_for_what_is_put_around_them(model: str, kind: str, method: Method | None, missing: str):
    run = make_run(method)
    extra = 5 if method else 0
    needed = 128 + extra + (3 if model == "causal" and kind == "generation" else 0)
    info = ModelInfo("m", "gpt2", 32, 1, 64, False, "cpu", positions=needed, kind=model)
    assert too_long(run, info, kind) is None
    assert too_long(run, replace(info, positions=0), kind) is None
    reason = too_long(run, replace(info, positions=needed - 1), kind)
    assert reason == f"m has {needed - 1} positions, too few for {missing}"


def test_an_encoder_decoder_writes_answers_to_places_of_their_own():
    run = make_run(None)
    run = replace(run, task=replace(TASK, max_new_tokens=200))
    info = ModelInfo("m", "bart", 32, 1, 64, False, "cpu", positions=200, kind="seq2seq")
    assert too_long(run, info, "generation") is None
    assert too_long(run, replace(info, positions=199), "generation") == (
        "m has 199 positions, too few for task.max_length=128, task.max_new_tokens=200"
    )


@pytest.mark.parametrize(
    ("kind", "virtual", "needed"), [("causal", 0, 256), ("causal", 8, 264), ("seq2seq", 0, 128), ("classifier", 0, 1)]
)
def test_general_text_needs_places_too(kind: str, virtual: int, needed: int):
    run = make_run(Prefix(virtual_tokens=virtual) if virtual else Lora())
    info = ModelInfo("m", "gpt2", 8, 1, 100, False, "cpu", kind, positions=needed)
    assert too_few_for_general_text(run, info) is None
    short = replace(info, positions=needed - 1)
    if kind == "classifier":
        assert too_few_for_general_text(run, short) is None
    else:
        assert too_few_for_general_text(run, short) == (
            f"m has {needed - 1} positions, too few for the windows of measure.forgetting, {needed}"
        )
    assert too_few_for_general_text(replace(run, measure=Measure(forgetting=False)), short) is None
