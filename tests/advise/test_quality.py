"""Quality is measured in one setting near the one in question, or a published order, or unknown; never made up."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.advise.candidates import candidates
from bench.advise.quality import Quality, qualities
from bench.advise.request import Request, find_model, find_task
from bench.method import discover
from bench.paths import conf_dir
from bench.records.schema import Record, Source
from tests.report.conftest import make_record

TINY = 1_541_760
REQUEST = Request(model=find_model("tiny-llama"), task=find_task("pydoc", None, None))


def store(*records: Record) -> dict[Path, Record]:
    return {Path(f"{number}/{record.run_id}"): record for number, record in enumerate(records)}


def ask(found: dict[Path, Record], request: Request = REQUEST, parameters: int = TINY) -> dict[str, Quality]:
    return qualities(candidates(request), request, parameters, found)


def test_measured_figures_have_their_interval_over_seeds_and_their_setting():
    runs = [make_record(method, seed, accuracy=value + seed / 100) for method, value in (("lora", 0.6), ("full", 0.8))
            for seed in range(3)]  # fmt: skip
    found = ask(store(*runs))
    assert found["lora"].evidence == "measured here"
    assert found["lora"].score == pytest.approx(0.61)
    assert found["lora"].low < 0.6 < 0.62 < found["lora"].high  # Student's, of three seeds
    assert all(part in found["lora"].where for part in ("accuracy", "tiny-llama", "pydoc", "3 seeds", "over seeds"))
    assert found["full"].better(found["lora"])
    assert found["lora"].better(found["full"]) is False
    assert found["qlora"].evidence == "unknown"
    assert found["full"].better(found["qlora"]) is None


def test_less_is_better_where_the_metric_says_so():
    runs = [make_record(method, loss=loss) for method, loss in (("lora", 0.5), ("full", 0.9))]
    for run in runs:
        assert run.evaluation is not None
        run.evaluation.test = None
        run.evaluation.validation.metrics = {}
    found = ask(store(*runs))
    assert found["lora"].score > found["full"].score
    assert "val. loss" in found["lora"].where


def test_without_records_the_published_order_stands_in_and_has_no_figures():
    found = ask({})
    assert {each.evidence for title, each in found.items() if title in ("full", "lora", "prompt")} == {"prior"}
    assert found["lora"].better(found["prompt"])
    assert found["lora"].better(found["full"]) is False
    assert "arXiv:2305.14314" in found["lora"].where


def test_of_an_objective_the_order_is_that_of_its_adapters():
    found = ask({}, replace(REQUEST, objective="dpo"))
    assert found["dpo-qlora"].better(found["dpo-prompt"])
    assert found["dpo"].where.startswith("of its adapter in supervised training: ")


def test_another_model_counts_if_it_is_of_a_like_size_and_another_kind_of_task_does_not():
    runs = store(make_record("lora", 0), make_record("full", 0))
    for run in runs.values():
        run.model = "another"
    assert ask(runs, parameters=5 * TINY)["lora"].evidence == "measured here"
    assert ask(runs, parameters=5000 * TINY)["lora"].evidence == "prior"
    assert ask(runs, replace(REQUEST, task=find_task("math", 256, None)))["lora"].evidence == "prior"


def test_one_method_alone_compares_with_nothing():
    assert ask(store(make_record("lora", 0)))["lora"].evidence == "prior"


def test_what_others_measured_is_marked():
    runs = store(make_record("lora", 0), make_record("full-finetuning", 0))
    for run in runs.values():
        run.source = Source("somebody", "https://example.org", "file.json")
    found = ask(runs)
    assert found["lora"].evidence == found["full"].evidence == "measured elsewhere"


def test_own_figures_go_before_those_of_others():
    own = [make_record("lora", 0, accuracy=0.5), make_record("full", 0, accuracy=0.6)]
    others = [make_record("lora", 1, accuracy=0.7), make_record("full", 1, accuracy=0.8)]
    for run in others:
        run.source = Source("somebody", "https://example.org", "file.json")
    assert ask(store(*others, *own))["lora"].score == 0.5


def test_the_published_order_names_methods_that_there_are():
    published = yaml.safe_load((conf_dir() / "prior.yaml").read_text("utf-8"))
    named = [name for names in published["ranks"] for name in names]
    assert {*named, *published["called"].values()} <= discover().keys()
    assert len(named) == len(set(named))
    assert published["source"]
