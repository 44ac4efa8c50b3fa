"""Formats: which one a row has, and what examples each gives. The files hold text in many languages and scripts."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.config import Data
from bench.config.task import FORMATS, KINDS
from bench.data import formats, sources
from bench.data.example import Example, Message
from bench.data.rows import DataError, Row

FILES = Path(__file__).with_name("files")
SYSTEM = Message("system", "Answer in the language of the question. 質問の言語で答えてください。")
FUJI = (
    Message("user", "日本で一番高い山は何ですか。"),
    Message("assistant", "富士山です。高さは三千七百七十六メートルあります。"),
)
HELLO = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]

# The format of each file, and how many examples it gives with all turns and with the last alone.
FOUND = {
    "alpaca.json": ("alpaca", 27, 25),
    "alpaca.jsonl": ("alpaca", 27, 25),
    "classification.csv": ("classification", 24, 24),
    "classification.jsonl": ("classification", 24, 24),
    "messages.jsonl": ("messages", 28, 24),
    "preference.jsonl": ("preference", 24, 24),
    "preference_implicit.jsonl": ("preference", 24, 24),
    "preference_messages.jsonl": ("preference", 24, 24),
    "preference_transcripts.jsonl": ("preference", 24, 24),
    "prompt_completion.jsonl": ("prompt_completion", 24, 24),
    "prompt_completion_messages.jsonl": ("prompt_completion", 24, 24),
    "sharegpt.json": ("sharegpt", 28, 24),
    "text.jsonl": ("text", 25, 25),
    "text.txt": ("text", 1, 1),
    "transcript.jsonl": ("transcript", 24, 24),
    "transcript.txt": ("transcript", 28, 24),
}


def read(file: str, **settings: Any) -> tuple[str | None, list[Example]]:
    """Format and examples of a file without a mistake."""
    data = Data(**settings)
    found = formats.examples(sources.rows(str(FILES / file), data), data)
    examples = list(found)
    assert all(isinstance(example, Example) for example in examples)
    return found.format, examples


def one(fields: dict[str, Any], format: str | None = None, turns: str = "all") -> Example:
    """The one example of a row."""
    (example,) = many(fields, format, turns)
    return example


def many(fields: dict[str, Any], format: str | None = None, turns: str = "all") -> list[Example]:
    """All examples of a row."""
    return formats.convert(Row("data/rows.jsonl", 7, fields), format or formats.detect(fields) or "", turns)


@pytest.mark.parametrize("file", FOUND)
def test_a_file_is_recognised_and_read_whole(file: str):
    format, examples = read(file)
    assert (format, len(examples)) == FOUND[file][:2]
    assert len(read(file, turns="last")[1]) == FOUND[file][2]
    assert read(file, format=format) == (format, examples)
    assert max(Counter(example.id for example in examples).values()) == 1


def test_every_format_has_a_file_and_a_kind_of_task():
    assert {format for format, _, _ in FOUND.values()} == set(FORMATS) == set(formats.FIELDS) == set(formats.KIND)
    assert set(formats.KIND.values()) <= set(KINDS)
    assert sorted(path.name for path in FILES.iterdir()) == sorted(FOUND)


@pytest.mark.parametrize("file", ["alpaca.json", "alpaca.jsonl", "text.jsonl"])
def test_no_character_is_normalised(file: str):
    """Decomposed accents, ligatures, full-width letters, joiners and direction stay as the file has them."""
    rows = json.loads((FILES / "alpaca.json").read_text(encoding="utf-8"))
    written = "".join(str(example) for example in read(file)[1])
    for row in rows:
        assert repr(row["output"])[1:-1] in written
    assert "".join(e.completion for e in read("text.jsonl")[1]).count("👨\u200d👩\u200d👧\u200d👦") == 2
    assert read(file)[1][-1].completion.endswith("ｃａｆｅ\u0301\u00a0ﬁｎｅ　が")


def test_conversations_of_all_formats_are_the_same():
    expected = {(e.prompt[-1].content, e.completion) for e in read("messages.jsonl")[1]}
    assert len(expected) == 24
    for file in ("sharegpt.json", "transcript.txt", "transcript.jsonl", "prompt_completion_messages.jsonl"):
        assert {(e.prompt[-1].content, e.completion) for e in read(file)[1]} == expected
    for file in ("preference_implicit.jsonl", "preference_messages.jsonl", "preference_transcripts.jsonl"):
        assert {(e.prompt[-1].content, e.completion) for e in read(file)[1]} == expected


def test_alpaca():
    examples = read("alpaca.json", turns="last")[1]
    assert examples[0] == Example("alpaca.json:1", FUJI[:1], FUJI[1].content)
    assert examples[1].prompt == (SYSTEM, Message("user", "英語に訳してください。\n\nありがとう"))
    assert examples[4].id == "alpaca.json:5#3"
    assert examples[4].prompt == (
        SYSTEM,
        *FUJI,
        Message("user", "东京和北京，哪个城市在东边？"),
        Message("assistant", "东京在北京的东边。"),
        Message("user", "한국의 수도는 어디입니까?"),
    )
    assert examples[4].completion == "한국의 수도는 서울입니다."


def test_alpaca_with_all_turns_makes_examples_of_its_history():
    of_row = [example for example in read("alpaca.json")[1] if example.id.startswith("alpaca.json:5")]
    assert [example.id for example in of_row] == ["alpaca.json:5#1", "alpaca.json:5#2", "alpaca.json:5#3"]
    assert of_row[0].prompt == (SYSTEM, FUJI[0])
    assert of_row[0].completion == FUJI[1].content


@pytest.mark.parametrize("empty", [None, ""])
def test_alpaca_s_optional_fields_may_be_null_or_empty(empty: str | None):
    fields = {"instruction": "Say yes.", "output": "Yes.", "input": empty, "system": empty, "history": empty}
    assert one(fields) == Example("rows.jsonl:7", (Message("user", "Say yes."),), "Yes.")


def test_alpaca_s_question_may_be_in_the_input_alone():
    assert one({"instruction": "", "input": "2 + 2", "output": "4"}).prompt == (Message("user", "2 + 2"),)


def test_sharegpt_takes_its_system_prompt_from_either_place():
    examples = {example.id: example for example in read("sharegpt.json")[1]}
    for key in ("sharegpt.json:3", "sharegpt.json:4"):
        assert examples[key].prompt[0] == SYSTEM
        assert [message.role for message in examples[key].prompt] == ["system", "user"]
    fields = {"system": "Be brief.", "conversations": [{"role": "system", "content": "Be brief."}, *HELLO]}
    assert one(fields).prompt == (Message("system", "Be brief."), Message("user", "Hi"))


def test_every_answer_has_what_came_before_as_its_prompt():
    first, second = (e for e in read("messages.jsonl")[1] if e.id.startswith("messages.jsonl:1#"))
    assert (first.prompt, first.completion) == ((SYSTEM, FUJI[0]), FUJI[1].content)
    assert second.prompt[:3] == (SYSTEM, *FUJI)
    assert second.prompt[3].role == "user"
    assert second.id == "messages.jsonl:1#2"
    assert [e for e in read("messages.jsonl", turns="last")[1] if e.id.startswith("messages.jsonl:1#")] == [second]


def test_names_of_roles_in_use():
    names = ["developer", "human", "function_call", "observation", "gpt", "User", "ASSISTANT"]
    said = [{"from": name, "value": name} for name in names]
    example = one({"conversations": said}, turns="last")
    roles = [message.role for message in example.prompt]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert example.completion == "ASSISTANT"


def test_content_in_parts_is_joined_and_an_empty_system_prompt_is_none():
    parts = [{"type": "text", "text": "안녕"}, {"type": "text", "text": "하세요"}]
    said = [{"role": "system", "content": " "}, {"role": "user", "content": parts}, HELLO[1]]
    assert one({"messages": said}).prompt == (Message("user", "안녕하세요"),)


def test_what_follows_the_last_answer_is_not_used():
    assert one({"messages": [*HELLO, {"role": "user", "content": "Bye"}]}).prompt == (Message("user", "Hi"),)


def test_prompt_and_completion_as_text_stay_raw_and_do_not_run_together():
    first = read("prompt_completion.jsonl")[1][0]
    assert first.prompt == "Q: 日本で一番高い山は何ですか。\nA:"
    assert first.completion == " 富士山です。高さは三千七百七十六メートルあります。"
    assert one({"prompt": "A: ", "completion": "yes"}).completion == "yes"
    assert one({"prompt": "A:", "completion": "\nyes "}).completion == "\nyes "


def test_prompt_and_completion_may_mix_text_and_messages():
    assert one({"prompt": "Hi", "completion": HELLO[1:]}).prompt == (Message("user", "Hi"),)
    assert one({"prompt": HELLO[:1], "completion": "Hello"}).completion == "Hello"


def test_an_answer_inside_the_prompt_is_no_example():
    fields = {"prompt": [*HELLO, {"role": "user", "content": "Bye"}], "completion": HELLO[1:]}
    assert len(one(fields).prompt) == 3


def test_preferences_as_text_stay_raw():
    first = read("preference.jsonl")[1][0]
    assert first.prompt == "日本で一番高い山は何ですか。\n"
    assert (first.completion, first.rejected) == (FUJI[1].content, "阿蘇山です。")
    spaced = one({"prompt": "Say yes.", "chosen": "Yes.", "rejected": "No."})
    assert (spaced.completion, spaced.rejected) == (" Yes.", " No.")


def test_the_common_beginning_of_two_message_lists_is_the_prompt():
    first = read("preference_implicit.jsonl")[1][0]
    assert first.prompt == (SYSTEM, FUJI[0])
    assert (first.completion, first.rejected) == (FUJI[1].content, "阿蘇山です。")


@pytest.mark.parametrize("prompt", ["Hi", HELLO[:1]])
@pytest.mark.parametrize("before", [[], HELLO[:1]])
def test_a_prompt_may_stand_beside_message_lists_or_in_them_too(prompt: Any, before: list[dict[str, str]]):
    rejected = [*before, {"role": "assistant", "content": "Go away"}]
    example = one({"prompt": prompt, "chosen": [*before, HELLO[1]], "rejected": rejected})
    assert example == Example("rows.jsonl:7", (Message("user", "Hi"),), "Hello", "Go away")


def test_messages_as_prompt_of_two_texts():
    example = one({"prompt": HELLO[:1], "chosen": "Hello", "rejected": "Go away"})
    assert example == Example("rows.jsonl:7", (Message("user", "Hi"),), "Hello", "Go away")


def test_transcripts_with_a_longer_beginning_in_common():
    begin = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Who?\n\nAssistant:"
    example = one({"chosen": f"{begin} I.", "rejected": f"{begin} You."})
    assert [message.role for message in example.prompt] == ["user", "assistant", "user"]
    assert (example.completion, example.rejected) == ("I.", "You.")


def test_classification():
    first = read("classification.csv")[1][0]
    assert first == Example("classification.csv:2", "日本で一番高い山は何ですか。\n\nLabel:", " geography")
    assert {e.completion for e in read("classification.jsonl")[1]} == {" 0", " 1", " 2", " 3"}


@pytest.mark.parametrize(("label", "completion"), [(3, " 3"), (3.0, " 3"), (True, " True"), (" 良い ", " 良い")])
def test_a_label_may_be_a_text_a_whole_number_or_a_truth_value(label: Any, completion: str):
    assert one({"text": "Fine.", "label": label}).completion == completion


def test_documents_are_completions_without_a_prompt():
    assert read("text.jsonl")[1][6] == Example("text.jsonl:7", "", "ما هي عاصمة مصر؟\n\nعاصمة مصر هي القاهرة.\n")
    assert read("text.txt")[1][0].completion == (FILES / "text.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    [
        "User: Hi</s> Assistant: Hello</s>",
        "<s>Human: Hi\n</s><s>Assistant: Hello\n</s>",
        "USER: Hi</s>ASSISTANT: Hello",
        "user: Hi</s>\nassistant: Hello</s>",
        "User: Hi\nAssistant: Hello\n",
        "\n\nHuman: Hi\n\nAssistant: Hello",
        "### Human: Hi### Assistant: Hello",
        "### User: Hi\n### Assistant: Hello",
        "User：Hi\nAssistant：Hello",
    ],
)
def test_ways_to_write_a_transcript(text: str):
    assert formats.detect({"text": text}) == "transcript"
    assert one({"text": text}) == Example("rows.jsonl:7", (Message("user", "Hi"),), "Hello")


def test_where_turns_have_an_end_a_role_in_a_line_is_content():
    example = one({"text": "System: Be brief.</s> User: Fix:\nuser: root\nUser: me</s> Assistant: Done:\nUser: me</s>"})
    assert example.prompt == (Message("system", "Be brief."), Message("user", "Fix:\nuser: root\nUser: me"))
    assert example.completion == "Done:\nUser: me"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("User: A</s> Assistant: Oh</s>\nUser: Who?</s> Assistant: I</s> User: We?</s> Assistant: No</s>\n", [1, 2, 2]),
        ("User: Hi\nAssistant: Hello\n\n\nUser: Who?\nAssistant: I.\n", [1, 5]),
        ("User: Hi\n\nAssistant: Hello\n\nUser: Who?\n\nAssistant: I.\n", [1, 1]),
        ("User: Hi</s>\nAssistant: Hello</s>\nUser: Who?</s>\nAssistant: I.</s>\n", [1, 1]),
    ],
)  # fmt: skip
def test_a_text_file_of_transcripts_falls_apart_into_conversations(text: str, lines: list[int]):
    found = list(formats.examples([Row("talk.txt", 1, {"text": text})], Data()))
    assert [int(example.id.split(":")[1].split("#")[0]) for example in found] == lines
    in_a_field = list(formats.examples([Row("talk.jsonl", 1, {"text": text})], Data()))
    assert {example.id.split("#")[0] for example in in_a_field} == {"talk.jsonl:1"}


@pytest.mark.parametrize(
    ("fields", "format"),
    [
        ({"instruction": "", "input": "", "output": "", "text": "Below is an instruction."}, "alpaca"),
        ({"prompt": "", "chosen": [], "rejected": [], "messages": []}, "preference"),
        ({"text": "User: Hi</s> Assistant: Hello</s>", "label": 1}, "classification"),
        ({"text": "User: I asked, and nobody answered."}, "text"),
        ({"text": "They said:\nUser: Hi\nAssistant: Hello"}, "text"),
        ({"text": 5}, "text"),
        ({"prompt": "Hi", "output": "Hello"}, None),
        ({}, None),
    ],
)
def test_where_several_formats_fit_the_richest_is_taken(fields: dict[str, Any], format: str | None):
    assert formats.detect(fields) == format


def test_the_first_row_that_has_a_format_decides():
    damaged = DataError("rows.jsonl", "JSON", "'，' at column 5", line=1)
    rows = [damaged, Row("rows.jsonl", 2, {"question": "Who?"}), Row("rows.jsonl", 3, {"text": "A", "label": "b"})]
    found = formats.examples([*rows, Row("rows.jsonl", 4, {"messages": HELLO})], Data())
    assert found.format is None
    first, second, third, fourth = found
    assert first is damaged
    assert isinstance(second, DataError)
    assert isinstance(third, Example)
    assert str(fourth) == (
        "rows.jsonl, line 4: expected the format classification (text, label), found the format messages (messages)"
    )
    assert found.format == "classification"


def test_a_source_without_rows():
    for on_error in ("stop", "skip"):
        with pytest.raises(DataError, match=r"^data: expected at least one row, found none$"):
            list(formats.examples([], Data(on_error=on_error)))


def test_labels_within_the_set_pass():
    examples = read("classification.csv")[1]
    choices = sorted({example.completion for example in examples})
    formats.check_labels(examples, choices)
    assert [formats.label_error(example, choices) for example in examples] == [None] * 24
    assert sum(formats.label_error(example, choices[1:]) is not None for example in examples) == 8
