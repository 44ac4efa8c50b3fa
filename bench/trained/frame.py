"""How a line that somebody types becomes a prompt, as the run's training had them.

A task's prompts are of one form: a conversation in a chat template, or a text that changes from example to example
inside words that do not. Those words are read off the training prompts, so that it does not matter what made them: a
template, a format or code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.config import Run
from bench.data import chat, tasks
from bench.data.example import Example, Message
from bench.data.tokens import tokenise


@dataclass(frozen=True)
class Frame:
    """What is put around a typed text."""

    before: str = ""
    after: str = ""
    conversation: bool = False
    system: str = ""  # of a conversation

    def prompt(self, text: str, history: Sequence[Message] = ()) -> str | tuple[Message, ...]:
        """The prompt of a text, in a conversation with what was said before."""
        if not self.conversation:
            return f"{self.before}{text}{self.after}"
        system = (Message("system", self.system),) if self.system else ()
        return (*system, *history, Message("user", text))


def frame_of(run: Run) -> Frame:
    """The frame of a run's training prompts.

    Raises:
        ValueError: the data cannot be read.
    """
    return around([example.prompt for example in tasks.load(run.task, run.data).train])


def around(prompts: Sequence[str | tuple[Message, ...]]) -> Frame:
    """What all prompts share: their first and last words, or that they are conversations and the system's message."""
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(texts) < len(prompts):
        said = {tuple(m.content for m in prompt if isinstance(m, Message) and m.role == "system") for prompt in prompts}
        [system] = said if len(said) == 1 else [()]
        return Frame(conversation=True, system="\n\n".join(system))
    before = _shared(texts)
    after = _shared([text[::-1] for text in texts])[::-1]
    if len(before) + len(after) > min(map(len, texts)):  # all are the same
        return Frame()
    # whole words alone: that all examples happen to begin with the same letter is no part of the task
    before = before[: max(before.rfind(" "), before.rfind("\n")) + 1]
    starts = [place for mark in " \n" if (place := after.find(mark)) >= 0]
    return Frame(before, after[min(starts) :] if starts else "")


def _shared(texts: Sequence[str]) -> str:
    """The characters with which all texts begin."""
    least, most = min(texts), max(texts)  # whatever these two share lies between them
    return least[: next((i for i, (a, b) in enumerate(zip(least, most, strict=False)) if a != b), len(least))]


def tokens(prompt: str | tuple[Message, ...], tokenizer: Any, run: Run, kind: str) -> list[int]:
    """The ids of a prompt as the run's training had them, cut in front to the task's length.

    Raises:
        ValueError: the chat template refuses the conversation.
    """
    example = Example("chat", prompt, "-")  # some answer, for which room is left
    (written,) = chat.render([example], tokenizer, run.data.template)
    [found] = tokenise([written], tokenizer, run.task.max_length, kind)
    return found.prompt
