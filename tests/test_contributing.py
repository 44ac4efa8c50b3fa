"""The examples of CONTRIBUTING.md work as they stand."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench.config import Split, Task
from bench.data import templates
from bench.data.example import Example
from bench.data.rows import Row
from bench.evaluate import metrics
from bench.evaluate.outcome import Outcome

TEXT = (Path(__file__).resolve().parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_task_is_a_task_of_under_15_lines():
    source = block("yaml")
    assert len(source.splitlines()) < 15
    settings = OmegaConf.to_container(OmegaConf.create(source))
    assert isinstance(settings, dict)
    settings["validation"] = Split(**settings["validation"])
    task = Task(**settings)
    assert task.errors() == templates.errors(task) == metrics.errors(task) == []
    row = Row("trec", 1, {"text": "Who wrote it?", "coarse_label": 3})
    (example,) = templates.examples([row], task, "train")
    assert isinstance(example, Example)
    assert (example.prompt, example.completion) == ("Question: Who wrote it?\nIt asks for:", " a person")
    assert example.rejected


@pytest.fixture
def _no_traces() -> Iterator[None]:
    before = dict(metrics.REGISTRY)
    yield
    metrics.REGISTRY.clear()
    metrics.REGISTRY.update(before)


@pytest.mark.usefixtures("_no_traces")
def test_the_metric_is_registered_and_measures():
    names = "from collections.abc import Sequence\nfrom bench.evaluate.metrics import metric\n"
    exec(names + block("python"), {})
    found = [Outcome(Example(str(i), "q", " yes"), 1.0, 1, said) for i, said in enumerate((" yes, it is", " no"))]
    assert metrics.errors(Task(metrics=["prefix_match"])) == []
    assert metrics.measure(["prefix_match"], found)["prefix_match"].value == 0.5
    assert [o.metrics for o in found] == [{"prefix_match": 1.0}, {"prefix_match": 0.0}]
