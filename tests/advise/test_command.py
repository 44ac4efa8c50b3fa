"""`tunebench advise`: every kind of answer, from the command line on, with a tracer that traces nothing."""

import shlex
from pathlib import Path

import pytest

from bench.app import plan
from bench.method import discover
from tests.advise.conftest import ASK, Ask, FakeTracer, answer, by_name


def test_every_method_of_the_objective_stands_with_and_without_checkpointing(ask: Ask):
    supervised = {name for name, cls in discover().items() if cls.objective == "sft"}
    every = by_name(answer(ask, *ASK, "--all"))
    assert every.keys() == {f"{n}{c}" for n in supervised for c in ("", " + checkpointing")}
    preferences = answer(ask, "--model", "llama-3.1-8b", "--gpu", "h200", "--objective", "dpo")
    assert {"dpo", "dpo-qlora", "dpo-full"} <= by_name(preferences).keys()
    assert {each["method"].partition("-")[0] for each in preferences["candidates"]} == {"dpo"}


def test_it_recommends_what_fits_surely_learns_best_and_is_fastest(ask: Ask):
    found = answer(ask, *ASK)
    rows = by_name(found)
    best = rows[found["recommendation"]["candidate"]]
    able = [each for each in found["candidates"] if not each["obstacles"] and not each["tight"]]
    first = [each for each in able if each["quality"]["text"] == "rank 1 of 2"]
    assert best in first
    assert best["predicted"]["hours"]["value"] == min(each["predicted"]["hours"]["value"] for each in first)
    assert best["pareto"]
    assert best["predicted"]["device_bytes"]["high"] <= found["card"]["memory_bytes"]
    assert rows["full"]["obstacles"]["memory"].startswith("needs ")
    assert rows["full"]["predicted"]["verdict"] == "does not fit"


def test_as_many_rows_at_once_as_fit_and_no_fewer(ask: Ask, tracer: FakeTracer):
    memory = answer(ask, *ASK)["card"]["memory_bytes"]
    for name, each in by_name(answer(ask, *ASK)).items():
        rows = each["predicted"]["micro_batch_size"]
        more = answer(ask, *ASK, "--method", each["method"], "--batch", str(min(16, 2 * rows)))
        high = by_name(more)[name]["predicted"]["device_bytes"]["high"]
        assert rows == 16 or high > memory, name
        assert each["obstacles"].get("memory") or each["predicted"]["device_bytes"]["high"] <= memory


def test_it_asks_for_few_traces(ask: Ask, tracer: FakeTracer):
    answer(ask, *ASK)
    assert len(tracer.asked) <= 2 * 2 * len(discover())


@pytest.mark.parametrize(
    "arguments",
    [
        ASK,
        (*ASK, "--gpus", "2", "--epochs", "3"),
        ("--model", "tiny-llama", "--gpu", "t4", "--task", "pydoc", "--examples", "100", "--batch-size", "8"),
        ("--model", "llama-3.2-3b", "--gpu", "l4", "--objective", "dpo", "--method", "dpo-qlora"),
        ("--model", "meta-llama/Llama-3.2-1B", "--gpu", "b200", "--task", "gsm8k", "--method", "full"),
    ],
)
def test_the_command_it_prints_is_the_run_that_it_predicted(
    ask: Ask, tracer: FakeTracer, arguments: tuple[str, ...], tmp_path: Path
):
    found = answer(ask, *arguments)
    name = found["recommendation"]["candidate"]
    best = by_name(found)[name]
    program, command, *overrides = shlex.split(found["recommendation"]["command"])
    assert (program, command) == ("tunebench", "run")
    (tmp_path / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (run,) = plan("run", overrides)
    assert run.method is not None
    assert run.method.title() == best["method"]
    assert run.train.gradient_checkpointing is best["gradient_checkpointing"]
    together = run.train.gradient_accumulation * run.launch.processes
    assert run.train.batch_size // together == best["predicted"]["micro_batch_size"]
    assert run.launch.processes == found["question"]["gpus"]
    assert run.budget.epochs == found["question"]["epochs"]
    assert run.task.max_length == found["question"]["longest_tokens"]
    traced = [each.run for each in tracer.asked if each.workload.rows == best["predicted"]["micro_batch_size"]]
    assert any(each["method"]["name"] == run.method.name and each["model"]["name"] == run.model.name for each in traced)


def test_two_gpus_share_the_step_and_hold_gradients_twice(ask: Ask):
    one = by_name(answer(ask, *ASK, "--method", "qlora", "--batch", "1"))["qlora"]["predicted"]
    two = by_name(answer(ask, *ASK, "--method", "qlora", "--batch", "1", "--gpus", "2"))["qlora"]["predicted"]
    assert two["device_bytes"]["value"] - one["device_bytes"]["value"] == 4 * one["trainable_parameters"]
    assert two["hours"]["value"] == pytest.approx(one["hours"]["value"] / 2 / 0.9, rel=1e-6)
    assert "is an assumption" in ask(*ASK, "--method", "qlora", "--gpus", "2")[1]


def test_conditions_rule_out_and_say_so(ask: Ask):
    found = by_name(answer(ask, "--model", "llama-3.2-1b", "--gpu", "h200", "--must-merge", "--max-checkpoint", "1GB"))
    merged = {name for name, cls in discover().items() if cls().mergeable()}
    for each in found.values():
        assert ("merge" in each["obstacles"]) == (each["method"] not in merged)
        assert ("checkpoint" in each["obstacles"]) == (each["predicted"]["checkpoint_bytes"] > 10**9)
    shared = by_name(answer(ask, "--model", "llama-3.2-1b", "--gpu", "h200", "--must-share"))
    assert [name for name, each in shared.items() if each["obstacles"]] == ["full", "full + checkpointing"]


def test_conditions_that_nothing_meets_are_named(ask: Ask):
    code, out, _ = ask("--model", "llama-3.2-1b", "--gpu", "h200", "--max-checkpoint", "1KB")
    assert code == 1
    assert "Without --max-checkpoint: " in " ".join(out.split())


def test_too_little_time_says_how_far_it_gets_and_which_card_would_do(ask: Ask):
    found = answer(ask, *ASK, "--hours", "1")
    assert found["recommendation"] is None
    texts = [each["text"] for each in found["relief"]]
    assert "is the fastest that fits" in texts[0]
    assert "examples (--examples, --epochs)" in texts[1]
    assert texts[2].startswith("On ")
    able = [each for each in found["candidates"] if "memory" not in each["obstacles"]]
    assert all("hours" in each["obstacles"] for each in able)


def test_time_that_may_not_be_enough_is_tight(ask: Ask):
    hours = by_name(answer(ask, *ASK))["qlora"]["predicted"]["hours"]
    row = by_name(answer(ask, *ASK, "--hours", f"{(hours['value'] + hours['high']) / 2}"))["qlora"]
    assert row["tight"] == ["hours"]
    assert not row["obstacles"]


def test_memory_that_may_not_be_enough_is_tight(ask: Ask, tracer: FakeTracer):
    memory = answer(ask, *ASK)["card"]["memory_bytes"]
    tracer.token_bytes = 0
    tracer.parameters = (memory - 0.75 * 2**30) / 2.16  # bytes of each in LoRA: two, and sixteen for a hundredth
    row = by_name(answer(ask, *ASK))["lora"]
    assert row["predicted"]["verdict"] == "tight"
    assert row["tight"] == ["memory"]
    code, out, _ = ask(*ASK, "--method", "lora")
    assert code == 0
    assert "It may just fit" in out


def test_when_nothing_fits_it_says_what_would(ask: Ask, tracer: FakeTracer):
    code, out, _ = ask(*ASK, "--method", "lora", "--batch", "16")
    said = " ".join(out.split())
    assert code == 1
    assert "Nothing that was asked for can be run here." in said
    assert "--batch 1: lora + checkpointing would need" in said
    assert "which fits" in said
    assert "Another method: " not in said or "qlora" in said
    assert "Offloading: " in said
    assert "A bigger card: lora + checkpointing fits on" in said


def test_when_one_row_is_too_long_it_finds_the_longest_that_fits(ask: Ask, tracer: FakeTracer):
    asked = ("--model", "llama-3.1-8b", "--gpu", "rtx-3060-12gb", "--seq", "16384", "--method", "qlora")
    texts = [each["text"] for each in answer(ask, *asked)["relief"]]
    shorter = next(text for text in texts if text.startswith("Shorter rows: "))
    seq = int(shorter.split("--seq ")[1].rstrip("."))
    assert (
        by_name(answer(ask, *asked[:5], str(seq), *asked[6:]))["qlora + checkpointing"]["predicted"]["verdict"]
        == "fits"
    )
    much = by_name(answer(ask, *asked[:5], str(seq * 11 // 10), *asked[6:]))["qlora + checkpointing"]
    assert much["predicted"]["verdict"] != "fits"


def test_the_longest_rows_on_request(ask: Ask):
    found = answer(ask, *ASK, "--method", "qlora", "--longest")["recommendation"]
    assert found["longest_tokens_that_fit"] >= 2048
    assert found["longest_stopped_by"] == "the card's memory"
    said = " ".join(ask(*ASK, "--method", "qlora", "--longest")[1].split())
    assert "Longest rows that fit" in said
    assert "What stops longer ones: the card's memory." in said


def test_what_stops_longer_rows(ask: Ask, tracer: FakeTracer):
    tracer.parameters = 1e8
    short = ("--model", "gpt2", "--gpu", "h200", "--method", "lora", "--longest")
    found = answer(ask, *short)["recommendation"]
    assert (found["longest_tokens_that_fit"], found["longest_stopped_by"]) == (1024, "the model's 1,024 positions")
    tracer.token_bytes = 1
    endless = ("--model", "rwkv-4-169m", "--gpu", "h200", "--method", "full", "--longest")
    found = answer(ask, *endless)["recommendation"]
    assert (found["longest_tokens_that_fit"], found["longest_stopped_by"]) == (131_072, "nothing up to 131,072 tokens")


def test_a_model_too_large_for_every_card(ask: Ask, tracer: FakeTracer):
    tracer.parameters = 1e12
    texts = [each["text"] for each in answer(ask, *ASK)["relief"]]
    assert any(text.startswith("A bigger card: no card in the list holds") for text in texts)
