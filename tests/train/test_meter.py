"""What is measured of the steps: time alone where it is spent, tokens by hand, the end of a diverging run."""

import json
import time

import pytest

from bench.data.tokens import PadRight, tokenise
from bench.records import store
from bench.records.build import NON_FINITE
from bench.train.meter import Diverged
from bench.train.trainers import SftTrainer
from methods.dpo import Dpo
from methods.lora import Lora

NAP = 0.05


def nap(*_: object) -> None:
    time.sleep(NAP)


def test_a_slower_forward_lengthens_the_step_and_a_slower_collator_does_not(fit, monkeypatch):
    plain = fastest(fit(Lora(), steps=10, warmup_steps=2))
    slow = fastest(fit(Lora(), steps=10, warmup_steps=2, prepare=lambda m: m.register_forward_pre_hook(nap)))
    collate = PadRight.__call__

    def collate_slowly(self, rows):
        nap()
        return collate(self, rows)

    monkeypatch.setattr(PadRight, "__call__", collate_slowly)
    began = time.perf_counter()
    fetched = fastest(fit(Lora(), steps=10, warmup_steps=2))
    assert time.perf_counter() - began > 10 * NAP  # it did sleep
    assert slow - plain == pytest.approx(NAP, abs=0.4 * NAP)
    assert fetched - plain == pytest.approx(0, abs=0.4 * NAP)


def fastest(fitted) -> float:
    """Seconds of the step that other programs have disturbed least."""
    return min(line["seconds"] for line in fitted.lines if not line["warmup"])


def test_times_leave_out_the_warm_up_and_the_rest_does_not(fit):
    fitted = fit(Lora(), steps=6, warmup_steps=2)
    times = [line["seconds"] for line in fitted.lines]
    training = fitted.training
    assert [line["warmup"] for line in fitted.lines] == [True, True, False, False, False, False]
    assert (training.steps, training.warmup_steps) == (6, 2)
    assert training.seconds == pytest.approx(sum(times))
    assert min(times[2:]) <= training.step_s.p10 <= training.step_s.median <= training.step_s.p90 <= max(times[2:])
    tokens = [line["tokens"] for line in fitted.lines]
    assert training.tokens == sum(tokens)
    assert training.tokens_per_s == pytest.approx(sum(tokens[2:]) / sum(times[2:]))


def test_a_training_no_longer_than_its_warm_up_is_timed_whole(fit):
    training = fit(Lora(), steps=2, warmup_steps=5).training
    assert training.warmup_steps == 0
    assert training.step_s.median == pytest.approx(training.seconds / 2)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_tokens_by_hand(accumulation: int, fit, examples, adapted):
    rows = examples[:8]
    tokens = tokenise(rows, adapted("llama", None)[1], 64)
    seen, trained = sum(len(t.prompt) + len(t.completion) for t in tokens), sum(len(t.completion) for t in tokens)
    assert len({len(t.prompt) for t in tokens}) > 2  # there is padding, and it must not count
    fitted = fit(Lora(), rows=rows, epochs=3, gradient_accumulation=accumulation)
    training = fitted.training
    assert (training.tokens, training.trained_tokens) == (3 * seen, 3 * trained)
    assert sum(line["tokens"] for line in fitted.lines[:2]) == seen
    assert sum(line["trained_tokens"] for line in fitted.lines[:2]) == trained
    assert training.tokens_per_s == pytest.approx(3 * seen / training.seconds)
    assert training.trained_tokens_per_s == pytest.approx(3 * trained / training.seconds)


def test_tokens_of_pairs_by_hand(fit, examples, adapted):
    tokens = tokenise(examples[:8], adapted("llama", None)[1], 64)
    trained = sum(len(t.completion) + len(t.rejected) for t in tokens)
    training = fit(Dpo(), rows=examples[:8], epochs=1).training
    assert training.trained_tokens == trained
    assert training.tokens == trained + 2 * sum(len(t.prompt) for t in tokens)
    assert training.examples == 8


def test_the_record_of_a_training(fit):
    fitted = fit(Lora(learning_rate=2e-3), steps=20)
    training = fitted.training
    assert training.first_loss == fitted.losses[0]
    assert training.final_loss == pytest.approx(sum(fitted.losses[-2:]) / 2)
    assert training.final_loss < training.first_loss
    assert (training.learning_rate, training.default_learning_rate) == (2e-3, Lora().learning_rate)
    assert (training.precision, training.trainable_dtype, training.loss) == ("float32", "float32", "labelled")
    assert training.optimizer == "adamw_torch_fused"


def test_progress_is_told_at_the_first_step_every_few_and_the_last(fit):
    fitted = fit(Lora(), steps=8, log_every=3)
    assert [event["step"] for event in fitted.events] == [1, 3, 6, 8]
    for event in fitted.events:
        assert event["event"] == "step"
        assert event["steps"] == 8
        assert event["loss"] == fitted.losses[event["step"] - 1]
        assert event["budget"] == event["step"] / 8
        tokens = sum(line["tokens"] for line in fitted.lines[: event["step"]])
        assert event["tokens_per_s"] == pytest.approx(tokens / event["seconds"])
    assert json.loads(json.dumps(fitted.events)) == fitted.events


def test_a_loss_that_is_not_finite_ends_the_training_and_keeps_its_steps(fit):
    with pytest.raises(Diverged, match=r"^the loss became nan at step 2$"):
        fit(Lora(learning_rate=1e20), steps=30, log_every=100)
    assert [line["step"] for line in fit.lines] == [1, 2]
    assert fit.lines[0]["loss"] > 0
    assert fit.lines[-1]["loss"] == NON_FINITE[0]


def test_a_loss_that_explodes_ends_the_training(fit, monkeypatch):
    scale = iter([1.0, 1.0, *[40.0] * 30])
    compute = SftTrainer.compute_loss
    monkeypatch.setattr(SftTrainer, "compute_loss", lambda *args, **kwargs: compute(*args, **kwargs) * next(scale))
    with pytest.raises(Diverged, match=r"^the loss exploded: .* up to step 10 \(train\.explosion=20\)$"):
        fit(Lora(learning_rate=1e-6), steps=30, explosion=20)
    assert len(fit.lines) == 10


def test_a_loss_that_is_high_for_a_moment_or_near_nothing_goes_on(fit, monkeypatch):
    scale = iter([0.001, *[0.05] * 10, 90.0, *[0.05] * 10])  # fifty times the first, but nothing to speak of
    compute = SftTrainer.compute_loss
    monkeypatch.setattr(SftTrainer, "compute_loss", lambda *args, **kwargs: compute(*args, **kwargs) * next(scale))
    assert fit(Lora(learning_rate=1e-6), steps=22, explosion=70).training.steps == 22


def test_every_step_is_written_when_it_is_done(fit, tmp_path):
    written = []

    def look(*_: object) -> None:
        written.append(sum(len(store.read_lines(path)) for path in tmp_path.rglob(store.STEPS)))

    fit(Lora(), steps=4, log_every=100, prepare=lambda model: model.register_forward_pre_hook(look))
    assert written == [0, 1, 2, 3]
