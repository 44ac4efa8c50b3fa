"""Answers written together against those of transformers' own `generate`, token for token, in float32."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config import Model, Task
from bench.evaluate.batches import Room
from bench.evaluate.generate import Writer, generate, greedy
from bench.evaluate.reading import reader
from bench.method import Method
from bench.models.load import load
from bench.models.tiny import tiny_model
from methods.dpo import Dpo
from methods.full import Full
from methods.lora import Lora
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora

Adapted = Callable[..., tuple[Any, Any]]
METHODS = [None, Full(), Lora(), Qlora(), Prefix(), Prompt(), PTuning(), Dpo(adapter=Lora())]
NAMES = [method.name if method else "base" for method in METHODS]
TEXTS = (
    "Return",
    "Open the file and read its lines",
    "Which module does this docstring belong to? one by one, then the words of the text",
    "the number of words",
    "random",
    "lines of the text, read from the file",
)
SHARED = "Return the number of words in the text. "
FREE = Task(name="g", kind="generation", max_new_tokens=24)
STOPPED = Task(name="g", kind="generation", max_new_tokens=24, stop=["e", "\n\n", "or"])


def prompts(tokenizer: Any, shared: str = "", begin: bool = True) -> list[list[int]]:
    first = [tokenizer.eos_token_id] if begin else []
    return [first + tokenizer(shared + text, add_special_tokens=not begin)["input_ids"] for text in TEXTS]


@torch.no_grad()
def one_by_one(model: Any, tokenizer: Any, rows: list[list[int]], task: Task) -> list[list[int]]:
    """What the library's `generate` writes after each prompt by itself."""
    found = []
    for row in rows:
        ids = torch.tensor([row])
        written = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            generation_config=greedy(model, tokenizer, task),
            tokenizer=tokenizer if task.stop else None,
        )
        found.append(written[0, len(row) :].tolist())
    return found


def written(model: Any, tokenizer: Any, rows: list[list[int]], task: Task, room: Room) -> list[list[int]]:
    reads = reader(model, rows)
    assert reads is not None
    writer = Writer(reads, tokenizer, rows, greedy(model, tokenizer, task))
    with torch.no_grad():
        writer.finish(room)
    return writer.written


@pytest.mark.parametrize("task", [FREE, STOPPED], ids=["free", "stopped"])
@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_each_method_on_the_embedded_model(method: Method | None, task: Task, embedded: Adapted):
    model, tokenizer = embedded(method)
    for rows in (prompts(tokenizer), prompts(tokenizer, SHARED)):
        expected = one_by_one(model, tokenizer, rows, task)
        assert written(model, tokenizer, rows, task, Room(4)) == expected
        assert len({tuple(row) for row in expected}) > 2


@pytest.mark.parametrize("task", [FREE, STOPPED], ids=["free", "stopped"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("method", METHODS[:6], ids=NAMES[:6])
def test_each_family_of_decoders(architecture: str, method: Method | None, task: Task, adapted: Adapted):
    model, tokenizer = adapted(architecture, method)
    for rows in (prompts(tokenizer), prompts(tokenizer, SHARED)):
        assert written(model, tokenizer, rows, task, Room(4)) == one_by_one(model, tokenizer, rows, task)


@pytest.mark.parametrize("method", [None, Lora(), Prefix(), Prompt()], ids=["base", "lora", "prefix", "prompt"])
def test_an_encoder_decoder(method: Method | None, adapted_t5: Adapted):
    model, tokenizer = adapted_t5(method)
    rows = prompts(tokenizer, begin=False)
    assert reader(model, rows) is None
    expected = []
    for row in rows:
        ids = torch.tensor([row])
        with torch.no_grad():
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=greedy(model, tokenizer, FREE),
            )
        expected.append(tokenizer.decode(output[0], skip_special_tokens=True))
    assert generate(model, tokenizer, rows, FREE, Room(4), "seq2seq") == expected


def test_batches_in_the_order_of_the_file_that_are_padded_on_the_left(embedded: Adapted):
    model, tokenizer = embedded(None)
    rows = prompts(tokenizer)
    longest = max(map(len, rows))
    ids = torch.tensor([[tokenizer.pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    output = model.generate(input_ids=ids, attention_mask=mask, generation_config=greedy(model, tokenizer, FREE))
    expected = tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    assert generate(model, tokenizer, rows, FREE, Room(3)) == expected


@pytest.mark.parametrize("architecture", ["gemma3", "opt", "bloom", "mamba"])
def test_windows_positions_from_the_mask_none_at_all_and_a_recurrent_state(architecture: str, tmp_path: Path):
    """The tiny Gemma 3 sees 32 tokens; some of these prompts are longer."""
    attention = "eager" if architecture in ("bloom", "mamba") else "sdpa"
    model, tokenizer = load(
        Model(name="tiny", path=tiny_model(tmp_path, architecture), attention=attention), "cpu", None, torch.float32
    )
    rows = prompts(tokenizer, SHARED)
    assert max(map(len, rows)) > 40
    assert (reader(model, rows) is None) == (architecture == "mamba")
    expected = [tokenizer.decode(row, skip_special_tokens=True) for row in one_by_one(model, tokenizer, rows, FREE)]
    assert generate(model, tokenizer, rows, FREE, Room(4)) == expected


def passes(model: Any, shapes: list[tuple[int, int]]) -> Any:
    """Notes the rows and the width of everything that goes through the model."""
    return model.register_forward_pre_hook(
        lambda _, __, given: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )


def test_a_finished_row_leaves_and_another_takes_its_place(embedded: Adapted):
    model, tokenizer = embedded(None)
    rows = prompts(tokenizer)
    shapes: list[tuple[int, int]] = []
    handle = passes(model, shapes)
    answers = written(model, tokenizer, rows, STOPPED, Room(3))
    handle.remove()
    assert len({len(answer) for answer in answers}) > 2
    steps = [n for n, width in shapes[1:] if width == 1]
    # the last token of an answer goes through no more, and the shortest prompt is one token after its begin
    assert sum(steps) == sum(len(answer) - 1 for answer in answers)
    assert max(n for n, _ in shapes) == 3


def test_what_prompts_share_is_read_once(embedded: Adapted):
    model, tokenizer = embedded(Lora())
    rows = prompts(tokenizer, SHARED)
    shared = len(tokenizer(SHARED.strip())["input_ids"]) + 1
    shapes: list[tuple[int, int]] = []
    handle = passes(model.get_base_model(), shapes)
    reads = reader(model, rows)
    assert reads is not None
    with torch.no_grad():
        reads.read(rows)
    handle.remove()
    assert reads.shared == shared
    assert shapes == [(1, shared), (len(rows), max(map(len, rows)) - shared)]


def test_out_of_memory_halves_what_is_at_work_and_changes_no_answer(embedded: Adapted):
    model, tokenizer = embedded(None)
    rows = prompts(tokenizer)
    expected = one_by_one(model, tokenizer, rows, FREE)
    widest: list[int] = []

    def full(_: Any, __: Any, given: dict[str, Any]) -> None:
        count, length = given["attention_mask"].shape
        if count * length > 80:  # while answers are written too, not only when prompts are read
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        widest.append(count)

    room = Room(6)
    handle = model.register_forward_pre_hook(full, with_kwargs=True)
    try:
        assert written(model, tokenizer, rows, FREE, room) == expected
    finally:
        handle.remove()
    assert max(widest) > 1
    assert room.tokens is not None
    assert room.history[0].startswith("out of memory with 6 rows of up to ")
    assert room.history[0].endswith("tokens at once, halved: CUDA out of memory. Tried to allocate 2 GiB")
