"""Training on what another run has trained: the same values to start with, and the right reference for preferences."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config import Run, from_dict, to_dict
from bench.data.tokens import PadRight, Tokens, training_row
from bench.method import Method
from bench.models import load
from bench.models.logits import completion_log_probs
from bench.records import store
from bench.records.schema import Record, Status
from bench.train import loop
from bench.trained.find import Finished
from bench.trained.model import merged, tuned
from bench.worker import work
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora
from tests.trained.conftest import RATE

IDS = torch.tensor([[5, 9, 14, 3, 22, 8, 31]])
LORA = Lora(learning_rate=RATE)


class Seen:
    """What a training was given, before its first step."""

    logits: torch.Tensor
    reference: dict[str, list[float]]
    trainable: int


@pytest.fixture
def begin(make_run: Any, carry_out: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Record, Seen]]:
    """Does a run that starts from another, and looks at what its training is given."""
    seen, real = Seen(), loop.train

    def look(run: Run, model: Any, tokenizer: Any, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            seen.logits = model.eval()(input_ids=IDS).logits[:, -7:].float()
        seen.reference = {name: dataset[name] for name in dataset.column_names if name.startswith("ref_")}
        seen.trainable = load.parameters(model).trainable
        return real(run, model, tokenizer, dataset, *args, **kwargs)

    def do(method: Method, first: Method) -> tuple[Record, Seen]:
        start = make_run(first)
        carry_out(start)
        method.start_from = first.name
        run = make_run(method, start=start)
        folder = store.run_folder(Path(run.results), "cpu-test", run.run_id())
        folder.mkdir(parents=True)
        monkeypatch.setattr(loop, "train", look)
        try:
            return work(run, folder, lambda event: None), seen
        finally:
            shutil.rmtree(folder)

    return do


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits[:, -7:].float()


@pytest.mark.parametrize(
    ("method", "first"),
    [
        (Lora(), LORA),
        (Dpo(), LORA),
        (Dpo(adapter=Qlora()), Qlora(learning_rate=RATE)),
        (Dpo(adapter=Full()), Full()),
        (Prompt(), Prompt(learning_rate=RATE)),
    ],
    ids=lambda m: m.title(),
)
def test_what_is_alike_trains_on_from_the_same_values(
    method: Method, first: Method, begin: Any, trained: Callable[..., Finished]
) -> None:
    record, seen = begin(method, first)
    start = trained(first)
    assert (record.status, record.reason) == (Status.OK, None)
    assert record.started_from == f"{start.record.run_id}, which trains on"
    assert record.method == f"{method.title()}-after-{first.title()}"
    assert torch.allclose(seen.logits, logits(tuned(start, "cpu", torch.float32)[0]), atol=1e-5)
    assert seen.trainable == start.record.parameters.trainable
    assert "merge" not in [phase.name for phase in record.phases]


@pytest.mark.parametrize(
    ("method", "first"),
    [(Lora(rank=4), LORA), (Dpo(), Full()), (Dpo(adapter=Full()), LORA), (Dpo(), Qlora(learning_rate=RATE))],
    ids=lambda m: m.title(),
)
def test_what_is_not_is_merged_into_the_base_before(
    method: Method, first: Method, begin: Any, trained: Callable[..., Finished]
) -> None:
    record, seen = begin(method, first)
    start = trained(first)
    assert (record.status, record.reason) == (Status.OK, None)
    how = "as the base" if first.trains_base_weights() else "merged into the base"
    assert record.started_from == f"{start.record.run_id}, {how}"
    # a fresh LoRA changes nothing
    assert torch.allclose(seen.logits, logits(merged(start, "cpu", torch.float32)[0].eval()), atol=1e-4)


def test_a_merged_start_can_be_stored_in_4_bits(begin: Any, trained: Callable[..., Finished]) -> None:
    record, seen = begin(Qlora(), LORA)
    assert record.status is Status.OK
    assert [phase.name for phase in record.phases][:2] == ["merge", "load"]
    off = (seen.logits - logits(tuned(trained(LORA), "cpu", torch.float32)[0])).abs().max()
    assert 1e-5 < off < 1.0


@pytest.mark.parametrize("first", [LORA, Full()], ids=lambda m: m.title())
def test_the_reference_of_preferences_is_the_model_that_training_starts_from(
    first: Method, begin: Any, trained: Callable[..., Finished], make_run: Any
) -> None:
    record, seen = begin(Dpo(), first)
    assert record.training.first_loss == pytest.approx(math.log(2), abs=1e-5)
    model, tokenizer = tuned(trained(first), "cpu", torch.float32)
    rows = loop.rows(make_run(Dpo()), _examples(), tokenizer)
    parts = [training_row(Tokens(row["prompt_ids"], row["chosen_ids"])) for row in rows]
    with torch.no_grad():
        expected = completion_log_probs(model, PadRight(tokenizer.pad_token_id)(parts))
    assert seen.reference["ref_chosen_logps"] == pytest.approx(expected.tolist(), abs=1e-3)


def _examples() -> Any:
    from bench.data import tasks
    from tests.trained.conftest import TASK

    return tasks.load(TASK).train


def test_a_checkpoint_without_what_trains_is_unsupported(begin: Any) -> None:
    record, _ = begin(Dpo(adapter=PTuning()), PTuning(learning_rate=RATE))
    assert record.status is Status.UNSUPPORTED
    assert record.reason == "what ptuning saves is not all that it trains, so no training can go on with it"


def test_a_start_that_is_not_there_is_said_before_anything_is_loaded(
    make_run: Any, carry_out: Any, trained: Callable[..., Finished]
) -> None:
    start = make_run(LORA, seed=7)
    record, _ = carry_out(make_run(Dpo(start_from="lora"), start=start))
    assert (record.status, record.phases) == (Status.FAILED, [])
    assert f"method.start_from: there is no record of {start.run_id()}" in record.reason

    folder = Path(start.results) / "runs" / "cpu-test" / start.run_id()
    lost = trained(LORA).record
    store.write(replace(lost, run_id=start.run_id(), config=to_dict(start), status=Status.OOM, reason="full"), folder)
    run = make_run(Dpo(start_from="lora"), start=start, seed=1)
    assert f"{start.run_id()} ended as oom (full)" in carry_out(run)[0].reason
    shutil.rmtree(folder)


def test_the_identity_contains_that_of_the_start(make_run: Any) -> None:
    plain = make_run(Dpo())
    first, other = make_run(Lora()), make_run(Lora(rank=4))
    run = make_run(Dpo(start_from="lora"), start=first)
    assert run.identity()["start"] == first.identity()
    assert len({plain.run_id(), run.run_id(), make_run(Dpo(start_from="lora"), start=other).run_id()}) == 3
    elsewhere = make_run(Dpo(start_from="/some/where"), start=first)
    assert elsewhere.run_id() == run.run_id()
    assert from_dict(to_dict(run)) == run
    assert run.base().run_id() == plain.base().run_id()
    # over seeds, each with a start of its own seed, it is one group
    again = make_run(Dpo(start_from="lora"), seed=1, start=make_run(Lora(), seed=1))
    assert again.group() == run.group()
    assert again.run_id() != run.run_id()


def test_runs_without_a_start_are_who_they_were(make_run: Any) -> None:
    identity = make_run(Dpo()).identity()
    assert "start" not in identity
    assert "start_from" not in identity["method"]
    assert "start_from" not in identity["method"]["adapter"]


@pytest.mark.parametrize(
    ("method", "first", "words"),
    [
        (Dpo(), None, "method.start_from names a run of the untouched base, from which every run starts by itself"),
        (
            Dpo(),
            Prompt(),
            "method.start_from: prompt cannot be merged into the base, and lora cannot go on with what prompt trained",
        ),
        (
            Prompt(virtual_tokens=4),
            Prompt(),
            "method.start_from: prompt cannot be merged into the base, and to go on, both need the same settings: "
            "virtual_tokens is 16 there, 4 here",
        ),
    ],
    ids=["base", "other", "settings"],
)
def test_stages_that_do_not_fit_are_refused(method: Method, first: Method | None, words: str, make_run: Any) -> None:
    assert make_run(method, start=make_run(first)).errors() == [words]


def test_another_model_and_a_start_of_the_adapter_are_refused(make_run: Any) -> None:
    start = make_run(Lora())
    run = make_run(Dpo(), start=replace(start, model=replace(start.model, path="other/model")))
    assert run.errors() == [
        f"method.start_from: lora trained another model: model.path is 'other/model' there, {start.model.path!r} here"
    ]
    nested = make_run(Dpo(adapter=Lora(start_from="x")))
    assert nested.errors() == ["method.adapter.start_from has no effect; set method.start_from"]
    assert make_run(Dpo(start_from="x")).errors() == ["method.start_from=x is no run that was found"]
