"""Before a run trains: what its batches will be, and the prediction of what training on them takes.

The prediction is made from the configuration and the lengths of the rows, by another process that sees neither this
one's memory nor its random numbers, and while nothing is timed. It is told to the log and to the launcher's view, and
kept in the record beside what is measured afterwards.
"""

import math
from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from bench.advise import children
from bench.advise.predict import card_of, predict
from bench.advise.questions import DEVICES, question
from bench.advise.trace import NOT_COMPILED, Workload
from bench.advise.units import MIB
from bench.config import Run, to_dict
from bench.data.tokens import labelled, widths
from bench.records.schema import Environment, PredictedBytes, Prediction
from bench.trace.serve import fork
from bench.train import loop, ranks
from bench.train.meter import Send
from bench.train.order import PARTS, TOGETHER, Grouped

DRAWN = 1 << 16  # rows that stand for all where there are more, a hundred batches at least


def be_ready() -> None:
    """Fork the process that will trace the run, which then need not import everything anew.

    To be called before this process computes. Where that cannot be done, one is started when it is needed.
    """
    child = fork()
    if child is not None:
        children.keep(child)


def forecast(
    run: Run, rows: Dataset, micro_batch_size: int, where: Environment, precision: str, classes: int, send: Send
) -> Prediction:
    """Predict a training, and say so.

    Args:
        run: its configuration.
        rows: that it trains on, tokenised.
        micro_batch_size: examples at once.
        where: it runs.
        precision: of the computation, `float32` or `bfloat16`.
        classes: of a classifier.
        send: takes progress events.
    """
    batches = workload(run, rows, micro_batch_size, loop.precomputes_reference(run, rows), classes)
    device = where.device
    why = _unpredicted(run, device)
    if why is not None:
        found = Prediction(vars(batches).copy(), reason=why)
    else:
        found = predict(question(to_dict(run), batches, device, precision), card_of(where))
    peak = found.live_bytes or found.reserved_bytes or found.allocated_bytes
    print(f"prediction: {_words(found.reason, peak)}", flush=True)
    if peak is not None:
        send({"event": "prediction", "memory_bytes": peak.value})
    return found


def _unpredicted(run: Run, device: str) -> str | None:
    """Why nothing is predicted of a training, or None."""
    if device not in DEVICES:
        return f"there is no model of memory on {device}"
    if run.train.compile:
        return NOT_COMPILED
    return "several processes train it" if ranks.world() > 1 else None


def _words(reason: str | None, peak: PredictedBytes | None) -> str:
    if peak is None:
        return f"none, {reason}"
    value, low, high = (each / MIB for each in (peak.value, peak.low, peak.high))
    instead = f", by the closed form: {reason}" if reason else ""
    return f"peak memory of training {value:,.0f} MiB, between {low:,.0f} and {high:,.0f}{instead}"


def workload(run: Run, rows: Dataset, micro_batch_size: int, reference: bool = True, classes: int = 2) -> Workload:
    """The batches that the run makes of these rows, `micro_batch_size` at once.

    They are drawn as by the seed 0 for every seed, which changes next to nothing, so that the runs of a sweep that
    differ in their seeds have one trace. Of more than `DRAWN` rows the mean is that of so many, and that of labels of
    fewer; the longest row is that of all.
    """
    lengths = widths(rows)
    most = lengths.max()
    enough = max(DRAWN, PARTS * TOGETHER * run.train.batch_size)
    some = lengths if len(lengths) <= enough else np.random.default_rng(0).choice(lengths, enough)
    if run.train.packing:
        mean, most = some.mean(), np.sort(lengths)[-micro_batch_size:].mean()
    elif run.train.group_by_length:
        mean = float(Grouped(some, run.train.batch_size, seed=0).longest(micro_batch_size).mean())
    else:
        mean = mean_longest(some, micro_batch_size)
    return Workload(
        rows=micro_batch_size,
        mean_tokens=round(mean),
        longest_tokens=math.ceil(most),
        labelled=min(1.0, labelled(rows) / mean),
        padded=not run.train.packing and micro_batch_size > 1 and bool((lengths != lengths[0]).any()),
        reference=reference,
        classes=classes,
    )


def mean_longest(lengths: Sequence[int] | np.ndarray, count: int) -> float:
    """The expected longest of `count` lengths that are drawn with replacement."""
    chance = (np.arange(len(lengths) + 1) / len(lengths)) ** count  # that all are among the so many shortest
    return float(np.sort(lengths) @ np.diff(chance))
