"""Few-shot prompts: solved examples in front of every prompt, the same ones for all."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.data.example import Example, Message
from bench.data.spool import spool


def draw(train: Sequence[Example], count: int, seed: int) -> tuple[tuple[Example, ...], Sequence[Example]]:
    """Take `count` examples out of `train`: those drawn, and the others in their order.

    Raises:
        ValueError: nothing would be left to train on.
    """
    if count >= len(train):
        raise ValueError(f"task.shots must be < {len(train)}, the training examples there are, got {count}")
    chosen = random.Random(seed).sample(range(len(train)), count)
    taken = set(chosen)
    return tuple(train[i] for i in chosen), spool(e for i, e in enumerate(train) if i not in taken)


def with_shots(examples: Iterable[Example], shots: Sequence[Example]) -> Sequence[Example]:
    """The examples with the shots in front of their prompts: as text, or as turns behind the system prompt."""
    if not shots:
        return spool(examples)
    text = "".join(f"{shot.prompt}{shot.completion}\n\n" for shot in shots)
    turns = tuple(turn for shot in shots for turn in _turns(shot))
    return spool(replace(e, prompt=_in_front(e.prompt, text, turns)) for e in examples)


def _turns(shot: Example) -> tuple[Message, ...]:
    prompt = (Message("user", shot.prompt),) if isinstance(shot.prompt, str) else shot.prompt
    return (*(m for m in prompt if m.role != "system"), Message("assistant", shot.completion))


def _in_front(prompt: str | tuple[Message, ...], text: str, turns: tuple[Message, ...]) -> str | tuple[Message, ...]:
    if isinstance(prompt, str):
        return text + prompt
    system = tuple(m for m in prompt if m.role == "system")
    return (*system, *turns, *(m for m in prompt if m.role != "system"))
