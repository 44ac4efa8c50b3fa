"""One wrong file for each kind of mistake, and the exact message about it."""

import json
from pathlib import Path

import pytest

from bench.config import Data
from bench.data import formats, sources
from bench.data.rows import DataError

WRONG = Path(__file__).with_name("wrong")
FORMATS = (
    "the fields of a format (preference: chosen, rejected; sharegpt: conversations; messages: messages; "
    "alpaca: instruction, output; prompt_completion: prompt, completion; classification: text, label; text: text)"
)
PARTED = "expected one answer of the assistant after what 'chosen' and 'rejected' have in common"
PAIRS = "expected a list of [user, assistant] pairs of texts"

# The file, what its message says behind the file's name, and how many examples its other rows give.
MESSAGES = {
    "another_format.jsonl": (
        ", line 2: expected the format alpaca (instruction, output), found the format sharegpt (conversations)",
        1,
    ),
    "answer_first.jsonl": (
        ", line 1, field 'conversations': expected a message of the user before the first answer, "
        "found the answer first",
        0,
    ),
    "conversation_not_a_list.jsonl": (
        ", line 1, field 'conversations': expected a list of messages with 'from' and 'value', "
        "found the text 'Human: Hi'",
        0,
    ),
    "empty.jsonl": (": expected rows, found an empty file", 0),
    "empty_answer.jsonl": (", line 1, field 'messages[1].content': expected a text, found an empty text", 0),
    "empty_completion.jsonl": (", line 1, field 'completion': expected a text, found an empty text", 0),
    "empty_conversation.jsonl": (
        ", line 1, field 'messages': expected a list of messages with 'role' and 'content', found an empty list",
        0,
    ),
    "empty_instruction.jsonl": (", line 1, field 'instruction': expected a text, found an empty text", 0),
    "empty_label.csv": (
        ", line 2, field 'label': expected a label: a text, a whole number, true or false, found an empty text",
        0,
    ),
    "empty_list.json": (": expected at least one row, found none", 0),
    "empty_output.jsonl": (", line 1, field 'output': expected a text, found an empty text", 0),
    "empty_text.jsonl": (", line 2, field 'text': expected a text, found an empty text", 1),
    "empty_turn.txt": (
        ", line 2, field 'text': expected a text after every role, found an empty turn of the assistant",
        2,
    ),
    "full_width_comma.jsonl": (", line 2: expected JSON, found a fullwidth comma '，' at column 26", 1),
    "header_alone.csv": (": expected at least one row, found none", 0),
    "history_not_a_list.jsonl": (
        f", line 1, field 'history': {PAIRS}, found the text 'What is two times two? Four.'",
        0,
    ),
    "history_of_objects.jsonl": (
        f", line 1, field 'history[0]': {PAIRS}, found the object "
        '{"user": "What is two times two?", "assistant": "Four."}',
        0,
    ),
    "history_of_triples.jsonl": (
        f', line 1, field \'history[1]\': {PAIRS}, found the list ["And three?", "Six.", "Twelve."]',
        0,
    ),
    "image.jsonl": (
        ", line 1, field 'messages[0].content': expected parts of type text, found the list "
        '[{"type": "image_url", "image_url": {"url": "cat.png"}}]',
        0,
    ),
    "input_of_wrong_type.jsonl": (
        ', line 1, field \'input\': expected a text or nothing, found the list ["a", "b"]',
        0,
    ),
    "label_of_wrong_type.jsonl": (
        ", line 1, field 'label': expected a label: a text, a whole number, true or false, found the list [\"good\"]",
        0,
    ),
    "missing_output.jsonl": (
        ", line 2, field 'output': expected a text, found no such field; there are: input, instruction",
        1,
    ),
    "missing_output_everywhere.jsonl": (
        f", line 1: expected {FORMATS}, found instruction, input; the format alpaca needs output too",
        0,
    ),
    "misspelt_field.jsonl": (
        f", line 1: expected {FORMATS}, found instuction, output; "
        "did you mean 'instruction' in place of 'instuction' (alpaca)?",
        0,
    ),
    "misspelt_field_later.jsonl": (
        ", line 2, field 'output': expected a text, found no such field; did you mean 'ouput'?",
        1,
    ),
    "no_answer.jsonl": (
        ", line 1, field 'conversations': expected an answer of the assistant, found messages of system, user alone",
        0,
    ),
    "no_transcript.jsonl": (
        ", line 2, field 'text': expected a transcript that begins with a role, such as 'User:', "
        "found 'It was a dark and stormy night, and the rain fell in torr...'",
        1,
    ),
    "not_an_object.jsonl": (", line 2: expected an object with fields, found a list", 1),
    "null_output.jsonl": (", line 1, field 'output': expected a text, found null", 0),
    "output_of_wrong_type.jsonl": (", line 1, field 'output': expected a text, found the number 56", 0),
    "preference_of_questions.jsonl": (f", line 1, field 'chosen': {PARTED}, found a message of the user", 0),
    "preference_of_two_prompts.jsonl": (
        ", line 1, field 'prompt': expected the messages that 'chosen' begins with, found the text 'Say yes.'",
        0,
    ),
    "preference_that_parts_early.jsonl": (f", line 1, field 'chosen': {PARTED}, found 2 messages", 0),
    "preference_without_prompt.jsonl": (
        ", line 1, field 'prompt': expected a prompt, or transcripts or messages that hold it, found no such field",
        0,
    ),
    "preference_without_any_prompt.jsonl": (
        ", line 1, field 'prompt': expected a prompt, or messages that both answers share, found null",
        0,
    ),
    "preference_without_rejected.jsonl": (
        f", line 1: expected {FORMATS}, found prompt, chosen; the format preference needs rejected too",
        0,
    ),
    "prompt_of_wrong_type.jsonl": (
        ', line 1, field \'prompt\': expected a text, found the object {"question": "Who?"}',
        0,
    ),
    "role_of_wrong_type.jsonl": (", line 1, field 'messages[0].role': expected a role, found the number 1", 0),
    "same_answers.jsonl": (
        ", line 1, field 'rejected': expected another answer than in 'chosen', found the same: 'Yes. '",
        0,
    ),
    "same_messages.jsonl": (
        ", line 1, field 'rejected': expected another answer than in 'chosen', found the same: '네.'",
        0,
    ),
    "turn_not_an_object.jsonl": (
        ", line 1, field 'conversations[0]': expected a message with 'from' and 'value', found the text 'Hi'",
        0,
    ),
    "turn_without_value.jsonl": (
        ", line 1, field 'conversations[0]': expected 'value' in every message, found the object "
        '{"from": "human", "text": "Hi"}',
        0,
    ),
    "two_system_prompts.jsonl": (
        ", line 1, field 'system': expected one system prompt, found another in 'conversations'",
        0,
    ),
    "unknown_fields.jsonl": (
        f", line 1: expected {FORMATS}, found question, answer; "
        "other fields can be read with task.prompt and task.completion",
        0,
    ),
    "unknown_role.jsonl": (
        ", line 1, field 'messages[1].role': expected a role, found the text 'asistant'; did you mean 'assistant'?",
        0,
    ),
}
LABELS = {
    "label_outside.jsonl": (
        ", line 2, field 'label': expected one of good, bad, found 'godo'; did you mean 'good'?",
        (" good", " bad"),
    ),
    "label_unlike_any.csv": (
        ", line 3, field 'label': expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 "
        "and 5 others, found '良い'",
        tuple(f" {number}" for number in range(25)),
    ),
}


def read(file: str, settings: Data) -> tuple[list[formats.Examples | object], list[str]]:
    """Examples and messages."""
    try:
        found = list(formats.examples(sources.rows(file, settings), settings, where=file))
    except DataError as error:  # about the file as a whole
        found = [error]
    return [x for x in found if not isinstance(x, DataError)], [str(x) for x in found if isinstance(x, DataError)]


@pytest.fixture(autouse=True)
def _among_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WRONG)


@pytest.mark.parametrize("file", MESSAGES)
def test_a_wrong_file_gets_its_message_and_its_other_rows_are_kept(file: str):
    message, kept = MESSAGES[file]
    examples, messages = read(file, Data())
    assert messages == [file + message]
    assert len(examples) == kept


@pytest.mark.parametrize("file", LABELS)
def test_a_label_outside_the_set(file: str):
    message, choices = LABELS[file]
    examples, messages = read(file, Data())
    assert not messages
    with pytest.raises(DataError) as raised:
        formats.check_labels(examples, choices)
    assert str(raised.value) == file + message


def test_no_wrong_file_goes_untested():
    assert sorted(path.name for path in WRONG.iterdir()) == sorted([*MESSAGES, *LABELS])


@pytest.mark.parametrize(
    ("format", "message"),
    [
        (
            "messages",
            ", line 1: expected the format messages (messages), found the format alpaca (instruction, output)",
        ),
        (
            "transcript",
            ", line 1: expected the format transcript (text), found the format alpaca (instruction, output)",
        ),
    ],
)
def test_a_stated_format_that_the_rows_have_not(format: str, message: str, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"instruction": "Say yes.", "output": "Yes."}), encoding="utf-8")
    assert read(str(file), Data(format=format)) == ([], [f"{file}{message}"])
