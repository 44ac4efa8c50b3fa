"""The whole answer to one question, as data: every part of it by name, and what it rests on."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.advise.candidates import candidates, errors, overrides
from bench.advise.memory import Estimate
from bench.advise.outlook import Figures, Outlook, Tracer, predict, time_evidence
from bench.advise.quality import qualities, unheard_of
from bench.advise.reasons import changes, reasons
from bench.advise.recommend import Answer, Choice, recommend
from bench.advise.relief import Longest, Relief, longest, relief
from bench.advise.request import FILE, Request
from bench.advise.untraced import Rough
from bench.records.schema import Record

if TYPE_CHECKING:
    from bench.advise.card import Card

VERSION = 1  # of the JSON


@dataclass(frozen=True)
class Advice:
    """One answer.

    Attributes:
        reasons: why the best one is; empty where nothing can be taken.
        changes: what would make another one the best.
        relief: what would help where nothing can be taken.
        command: that starts the best one; empty where there is none.
        longest: figures of the best one with the longest rows that fit, where that was asked.
        assumptions: what nobody said and the figures rest on.
        left_out: titles of methods that were not looked at, since nothing is known of how well they learn.
    """

    request: Request
    card: "Card"
    answer: Answer
    reasons: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    relief: list[Relief] = field(default_factory=list)
    command: str = ""
    longest: Longest | None = None
    assumptions: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def advise(
    request: Request,
    card: "Card",
    tracer: Tracer,
    cards: Sequence["Card"],
    records: dict[Path, Record],
    with_longest: bool = False,
) -> Advice:
    """Answer a question.

    Args:
        request: the question.
        card: where it shall run.
        tracer: as `bench.advise.tracer.traces`.
        cards: all that are known, for what a bigger one would change.
        records: measured ones by their folders.
        with_longest: look for the longest rows that fit too, which takes further traces.

    Raises:
        ValueError: a method is asked for that there is not, or the runs could not be carried out at all.
    """
    found = candidates(request)
    unknown = [] if request.methods or request.every else unheard_of(found, records)
    found = [each for each in found if each.title not in unknown] or found
    wrong = errors(found, request)
    if wrong:
        raise ValueError("\n".join(wrong))
    outlooks = predict(found, request, card, tracer)
    _check_model(outlooks)
    parameters = min((each.figures.trace.total_parameters for each in outlooks if each.figures), default=0)
    answer = recommend(outlooks, qualities(found, request, parameters, records), request)
    left_out = [title for title in unknown if title not in {each.title for each in found}]
    advice = Advice(request, card, answer, assumptions=_assumptions(request, card), left_out=left_out)
    best = answer.best
    if best is None:
        return replace(advice, relief=relief(answer, request, card, tracer, cards))
    command = ["tunebench", "run", *overrides(best.outlook.candidate, request, best.figures.rows)]
    return replace(
        advice,
        reasons=reasons(answer, request, card),
        changes=changes(answer, request, card, cards),
        command=shlex.join(command),
        longest=longest(best.outlook, request, card, tracer) if with_longest else None,
    )


def _check_model(outlooks: Sequence[Outlook]) -> None:
    """Refuse a model that cannot be built: what is wrong with it is the same for every method.

    Raises:
        ValueError: with the reason.
    """
    reasons = {each.reason for each in outlooks if each.figures is None}
    if len(reasons) == 1 and not any(each.figures for each in outlooks):
        key, _, reason = reasons.pop().partition(": ")
        if key.startswith("model."):
            raise ValueError(f"--model: {reason}")


def _assumptions(request: Request, card: "Card") -> list[str]:
    """What the figures rest on, beside the trace."""
    task, dtype = request.task.part, request.model.part.dtype
    stored = dtype if dtype != "auto" else "float32" if card.family == "cpu" else "bfloat16"
    said = [
        f"{request.examples:,} training examples, {request.epochs:g} time{'s' if request.epochs != 1 else ''}, "
        f"{request.batch_size} a step: {request.steps:,} steps; evaluation and loading take their time beside it",
        f"rows of {request.mean_tokens:,} tokens in a typical batch, padding included, {request.seq:,} in the longest",
        f"{request.labelled:.2%} of the tokens carry loss",
        f"computation in {card.precision}{' (autocast)' if card.native_bfloat16 else ''}, a frozen base in {stored} "
        "unless its method quantises it, what trains in float32",
        "the defaults of each method, as `tunebench run --cfg job` prints them",
    ]
    if card.family not in ("cuda", "cpu"):
        said.append(f"kernels and allocator of {card.title} as those of CUDA, which they are not")
    if task.source == "file":
        said.append(f"{FILE} in the command stands for your own data")
    return said


def as_json(advice: Advice) -> dict[str, Any]:
    """The answer for machines; results/README.md describes it."""
    request, card, best = advice.request, advice.card, advice.answer.best
    return {
        "version": VERSION,
        "question": {
            "model": request.model.part.name,
            "task": request.task.part.name,
            "kind": request.task.part.kind,
            "objective": request.objective,
            "examples": request.examples,
            "epochs": request.epochs,
            "longest_tokens": request.seq,
            "mean_tokens": request.mean_tokens,
            "labelled": request.labelled,
            "batch_size": request.batch_size,
            "gpus": request.gpus,
            "hours": request.hours or None,
            "max_checkpoint_bytes": request.checkpoint_bytes or None,
            "must_merge": request.must_merge,
            "must_share": request.must_share,
        },
        "card": {
            "name": card.name,
            "title": card.title,
            "memory_bytes": card.memory_bytes,
            "evidence": "calibrated" if card.calibrated else "data sheet",
        },
        "assumptions": advice.assumptions,
        "left_out": advice.left_out,
        "candidates": [_candidate(each, request, each is best) for each in advice.answer.choices],
        "recommendation": None
        if best is None
        else {
            "candidate": best.label,
            "reasons": advice.reasons,
            "changes": advice.changes,
            "command": advice.command,
            "longest_tokens_that_fit": advice.longest.figures.seq if advice.longest else None,
            "longest_stopped_by": advice.longest.stopped_by if advice.longest else None,
        },
        "relief": [{"text": each.text, "evidence": each.evidence} for each in advice.relief],
    }


def _candidate(choice: Choice, request: Request, best: bool) -> dict[str, Any]:
    candidate, found, rough = choice.outlook.candidate, choice.outlook.figures, choice.outlook.rough
    return {
        "candidate": choice.label,
        "method": candidate.title,
        "gradient_checkpointing": candidate.checkpointing,
        "mergeable": candidate.mergeable,
        "shares_base": candidate.shares_base,
        "quantised": candidate.quantised,
        "recommended": best,
        "pareto": choice.front,
        "obstacles": choice.obstacles,
        "tight": list(choice.tight),
        "quality": _quality(choice),
        "predicted": None if found is None else _predicted(found),
        "closed_form": None if rough is None else _rough(rough),
        "overrides": None if found is None else overrides(candidate, request, found.rows),
    }


def _quality(choice: Choice) -> dict[str, Any]:
    quality = choice.quality
    return {"text": quality.text, "evidence": quality.evidence, "where": quality.where or None}


def _predicted(found: Figures) -> dict[str, Any]:
    memory, speed = found.memory, found.speed
    return {
        "verdict": str(found.verdict),
        "micro_batch_size": found.rows,
        "device_bytes": _interval(memory.device),
        "allocated_bytes": _interval(memory.allocated),
        "reserved_bytes": _interval(memory.reserved),
        "breakdown_bytes": memory.breakdown,
        "peak_operation": memory.peak_operation,
        "checkpoint_bytes": found.trace.checkpoint_bytes,
        "trainable_parameters": found.trace.trainable_parameters,
        "memory_evidence": memory.evidence,
        "step_s": _interval(speed.step),
        "hours": _interval(found.hours),
        "bound": speed.bound,
        "time_evidence": time_evidence(found),
    }


def _rough(found: Rough) -> dict[str, Any]:
    device = _interval(found.device)
    return {"verdict": str(found.verdict), "micro_batch_size": found.rows, "device_bytes": device}


def _interval(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}
