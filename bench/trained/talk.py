"""Answer typed prompts by a trained model and by its base, word by word."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftModel
from transformers import TextStreamer

from bench.data.example import Message
from bench.evaluate.generate import cut, greedy
from bench.models import load
from bench.models.logits import inner_model
from bench.trained.find import Finished
from bench.trained.frame import Frame, tokens
from bench.trained.model import base, base_dtype, on, tuned

PROBE = "The base model as it was before."
Say = Callable[[str], None]


@dataclass
class Speaker:
    """One model that answers, and the conversation with it."""

    label: str
    model: Any
    tokenizer: Any
    found: Finished
    kind: str
    positions: int  # that the model has; 0: any number
    frame: Frame
    untouched: bool = False  # answers without the adapter that is on the model
    history: list[Message] = field(default_factory=list)

    @torch.no_grad()
    def answer(self, text: str, say: Say, temperature: float = 0.0, new_tokens: int = 0) -> str:
        """Answer `text`, telling `say` what is new as it comes; an answer that is interrupted is told so far.

        Args:
            text: what was typed.
            say: takes pieces of the answer.
            temperature: 0 takes the most probable token each time, else tokens are drawn.
            new_tokens: of the answer, at most; 0: as many as in the run's evaluation.

        Raises:
            KeyboardInterrupt: the answer was interrupted.
            ValueError: the chat template refuses the conversation.
        """
        task = self.found.run.task
        ids = tokens(self.frame.prompt(text, self.history), self.tokenizer, self.found.run, self.kind)
        settings = greedy(self.model, self.tokenizer, task)
        settings.max_new_tokens = self._room(len(ids), new_tokens or task.max_new_tokens)
        if temperature > 0:
            settings.do_sample, settings.temperature = True, temperature
        streamer = _Pieces(self.tokenizer, say, task.stop)
        inputs = torch.tensor([ids], device=inner_model(self.model).device)
        alone = self.model.disable_adapter() if self.untouched else contextlib.nullcontext()
        try:
            with alone:
                self.model.generate(
                    input_ids=inputs, attention_mask=torch.ones_like(inputs), generation_config=settings,
                    streamer=streamer, tokenizer=self.tokenizer if task.stop else None,
                )  # fmt: skip
        finally:
            if self.frame.conversation:
                self.history += [Message("user", text), Message("assistant", streamer.text)]
        return streamer.text

    def _room(self, length: int, wanted: int) -> int:
        taken = (0 if self.kind == "seq2seq" else length) + getattr(self.found.method, "virtual_tokens", 0)
        return max(1, min(wanted, self.positions - taken)) if self.positions else wanted


class _Pieces(TextStreamer):
    """Tells the text as it comes, without the first stop text and what may be its beginning."""

    def __init__(self, tokenizer: Any, say: Say, stops: Sequence[str]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._say, self._stops, self._whole, self.text = say, stops, "", ""

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self._whole += text
        shown = cut(self._whole, self._stops)
        if not stream_end and shown == self._whole:
            shown = shown[: len(shown) - max(map(len, self._stops), default=1) + 1]
        if len(shown) > len(self.text):
            self._say(shown[len(self.text) :])
            self.text = shown


def speakers(found: Finished, device: str, frame: Frame, with_base: bool = True) -> list[Speaker]:
    """The trained model and, in front of it, its base.

    Both share the base's weights where the adapter leaves them as they were; some change them when they are put on.

    Raises:
        ValueError: the model gives classes and no text, or cannot be loaded.
    """
    run, info = found.run, load.info(found.run.model, device)
    if info.kind == "classifier":
        raise ValueError(f"{run.model.name} is a classifier: it gives a class, and no text to talk with")
    dtype = base_dtype(run, device)

    def speaker(label: str, model: Any, tokenizer: Any, untouched: bool = False) -> Speaker:
        return Speaker(label, model.eval(), tokenizer, found, info.kind, info.positions, frame, untouched)

    if not with_base:
        return [speaker("tuned", *tuned(found, device, dtype))]
    model, tokenizer = base(run, device, dtype)
    before = speaker("base", model, tokenizer)
    if not found.is_adapter:
        return [before, speaker("tuned", *tuned(found, device, dtype))]
    expected = _logits(model, tokenizer)
    adapted = on(model, tokenizer, found)
    assert isinstance(adapted, PeftModel)
    with adapted.disable_adapter():
        same = torch.equal(expected, _logits(adapted, tokenizer))
    alone = (adapted, tokenizer, True) if same else base(run, device, dtype)
    return [speaker("base", *alone), speaker("tuned", adapted, tokenizer)]


@torch.no_grad()
def _logits(model: Any, tokenizer: Any) -> torch.Tensor:
    inner = inner_model(model)
    ids = torch.tensor([tokenizer(PROBE)["input_ids"]], device=inner.device)
    more = {"decoder_input_ids": ids[:, :1]} if inner.config.is_encoder_decoder else {}
    return model.eval()(input_ids=ids, **more).logits
