"""What an answer leaves for the report's page: its figures on every card that its traces hold for."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.advise.advice import Advice
from bench.advise.memory import estimate
from bench.advise.outlook import Figures
from bench.records.kept import write
from bench.report.page.advice import VERSION, folder

if TYPE_CHECKING:
    from bench.advise.card import Card


def publish(advice: Advice, cards: Sequence["Card"]) -> None:
    """Leave the answer in the cache, in place of an earlier one to the same question, unless that is a narrow one."""
    place = folder()
    request = advice.request
    if place is None or request.gpus > 1 or request.methods or request.rows:
        return
    found = answer(advice, cards)
    name = hashlib.blake2b(f"{found['title']} {found['family']}".encode(), digest_size=16).hexdigest()
    write(place / f"{name}.json", json.dumps(found).encode())


def answer(advice: Advice, cards: Sequence["Card"]) -> dict[str, Any]:
    """The answer with the figures of every trace on every card of the same kind."""
    request, card = advice.request, advice.card
    alike = [each for each in cards if (each.family, each.native_bfloat16) == (card.family, card.native_bfloat16)]
    alike.sort(key=lambda each: each.memory_bytes)
    task = request.task.part
    title = f"{request.model.part.name} · {task.name} ({task.kind}) · {request.objective}"
    lengths = f"rows of {request.mean_tokens:,} to {request.seq:,} tokens"
    return {
        "version": VERSION,
        "model": request.model.part.name,
        "title": f"{title} · {lengths} · {request.batch_size} a step",
        "family": f"{card.family}{'' if card.native_bfloat16 else ' without bfloat16'}",
        "examples": round(request.examples * request.epochs),
        "batch_size": request.batch_size,
        "card": card.name,
        "cards": [{"name": each.name, "title": each.title, "memory_bytes": each.memory_bytes} for each in alike],
        "candidates": [
            {
                "label": choice.label,
                "quality": f"{choice.quality.text} [{choice.quality.evidence}]",
                "reason": choice.outlook.reason,
                "figures": [_figures(found, alike) for found in choice.outlook.traced],
            }
            for choice in advice.answer.choices
        ],
    }


def _figures(found: Figures, cards: Sequence["Card"]) -> dict[str, Any]:
    """Of one trace, by card: bytes and their upper end, seconds of a step and theirs."""
    from bench.advise import speed

    memory = {card.name: estimate(found.trace, card.context_bytes).device for card in cards}
    steps = {card.name: speed.estimate(found.trace, card).step for card in cards}
    return {
        "rows": found.rows,
        "checkpoint_bytes": found.trace.checkpoint_bytes,
        "device_bytes": {name: [each.value, each.high] for name, each in memory.items()},
        "step_s": {name: [each.value, each.high] for name, each in steps.items()},
    }
