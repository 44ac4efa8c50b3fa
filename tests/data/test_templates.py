"""A task's own templates: what becomes of a row, which rows give none and why, and what is wrong before any is read."""

import json
import random
from typing import Any

import pytest

from bench.config import Task
from bench.config.task import Split
from bench.data import templates
from bench.data.example import Example, Message
from bench.data.rows import DataError, Row


def _row(**fields: Any) -> Row:
    return Row("my/rows.jsonl", 3, fields)


def _made(task: Task, split: str = "train", **fields: Any) -> Example:
    (found,) = templates.examples([_row(**fields)], task, split)
    assert isinstance(found, Example), found
    return found


def _refused(task: Task, **fields: Any) -> str:
    (found,) = templates.examples([_row(**fields)], task, "train")
    assert isinstance(found, DataError)
    return str(found)


ANSWER = Task(kind="generation", prompt="Q: {{ q }}\nA:", completion="{{ a }}")
CHOSEN = Task(prompt="{{ q }}", choices=["red", " green", "blue"], label="colour")
OPTIONS = Task(kind="multiple_choice", prompt="{{ q }}\nA:", options="[x, y, z]", label="right")


# --- what a row becomes


def test_prompt_and_completion_are_written_and_parted_by_a_space():
    assert _made(ANSWER, q="who?", a="Ada") == Example("rows.jsonl:3", "Q: who?\nA:", " Ada")


@pytest.mark.parametrize(
    ("prompt", "answer", "completion"),
    [("a", "b", " b"), ("a", " b", " b"), ("a", "\tb", "\tb"), ("a\n", "b", "b"), ("a ", "b", "b"), ("", "b", "b")],
)
def test_a_space_parts_prompt_and_answer_where_nothing_else_does(prompt: str, answer: str, completion: str):
    assert templates.spaced(prompt, answer) == completion


def test_any_script_passes_unchanged():
    example = _made(ANSWER, q="東京は\u3000どこ", a="شكرا 🎉")
    assert (example.prompt, example.completion) == ("Q: 東京は\u3000どこ\nA:", " شكرا 🎉")


@pytest.mark.parametrize("label", [1, 1.0, True, "1", " 1 ", "green"])
def test_a_label_is_an_index_a_number_as_text_or_the_answer_itself(label: Any):
    assert _made(CHOSEN, q="?", colour=label).completion == " green"


def test_an_answer_that_looks_like_an_index_counts_as_the_answer():
    task = Task(prompt="{{ q }}", choices=["1", "2", "3"], label="n")
    assert _made(task, q="?", n="1").completion == " 1"
    assert _made(task, q="?", n=1).completion == " 2"


def test_a_classification_has_a_wrong_answer_drawn_by_the_row_and_the_task_s_seed():
    wrong = [_made(Task(**{**vars(CHOSEN), "seed": seed}), q="?", colour=0).rejected for seed in range(20)]
    assert set(wrong) == {" green", " blue"}
    assert wrong[5] == random.Random("5:rows.jsonl:3").choice([" green", " blue"])


def test_options_are_the_row_s_own_and_the_wrong_answer_is_one_of_them():
    example = _made(OPTIONS, q="?", x="one", y=2, z="three", right=1)
    assert example.options == (" one", " 2", " three")
    assert example.completion == " 2"
    assert example.rejected in (" one", " three")


def test_a_label_may_be_the_text_of_an_option():
    assert _made(OPTIONS, q="?", x="one", y="two", z="three", right="three").completion == " three"


def test_the_template_of_a_rejected_answer_comes_before_a_drawn_one():
    task = Task(kind="preference", prompt="{{ q }}", completion="{{ good }}", rejected="{{ bad }}")
    example = _made(task, q="?", good="yes", bad="no")
    assert (example.completion, example.rejected) == (" yes", " no")


def test_references_are_all_right_answers_stripped_and_once_each():
    task = Task(kind="question_answering", prompt="{{ q }}", completion="{{ a[0] }}", references="a")
    assert _made(task, q="?", a=["Ada ", "Thorn", "Ada", 7]).references == ("Ada", "Thorn", "7")


def test_a_system_text_or_chat_makes_messages_and_bare_answers():
    system = Task(kind="generation", system="Be {{ how }}.", prompt="{{ q }}\n", completion=" {{ a }}\n")
    example = _made(system, how="brief", q="Why?", a="So.")
    assert example.prompt == (Message("system", "Be brief."), Message("user", "Why?"))
    assert example.completion == "So."
    chat = Task(**{**vars(OPTIONS), "chat": True})
    example = _made(chat, q="?", x="one", y="two", z="three", right=0)
    assert example.prompt == (Message("user", "?\nA:"),)
    assert (example.completion, example.options) == ("one", ("one", "two", "three"))
    assert example.rejected in ("two", "three")


def test_a_system_text_that_is_empty_for_a_row_makes_no_message():
    task = Task(kind="generation", chat=True, system="{{ s or '' }}", prompt="{{ q }}", completion="{{ a }}")
    assert _made(task, s=None, q="?", a="x").prompt == (Message("user", "?"),)


def test_plain_text_has_no_prompt_and_no_space_before_it():
    example = _made(Task(kind="text", completion="{{ text }}"), text="Once upon\n")
    assert (example.prompt, example.completion) == ("", "Once upon\n")


def test_a_split_s_own_prompt_and_completion_come_before_the_task_s():
    task = Task(**{**vars(ANSWER), "test": Split(prompt="{{ other }}:", completion="{{ result }}!")})
    assert _made(task, "train", q="x", a="y").prompt == "Q: x\nA:"
    example = _made(task, "test", other="x", result="y")
    assert (example.prompt, example.completion) == ("x:", " y!")


def test_the_filters_that_jinja_lacks():
    task = Task(kind="math", prompt="{{ q }}", completion="{{ a | regex_replace('<.*?>') }}{{ (j | from_json)[1] }}")
    assert _made(task, q="?", a="1<b>2<c>", j=json.dumps(["x", "y"])).completion == " 12y"
    task = Task(kind="math", prompt="{{ q | regex_replace('[0-9]+', '#') }}", completion="x")
    assert _made(task, q="a1b22").prompt == "a#b#"


# --- rows that give no example


def test_a_row_for_which_where_is_false_is_left_out_and_can_be_counted():
    task = Task(**{**vars(ANSWER), "where": "a | length > 1"})
    found = list(templates.examples([_row(q="?", a="ab"), _row(q="?", a="b")], task, "train"))
    assert [type(item) for item in found] == [Example, templates.Excluded]


def test_an_error_among_the_rows_is_passed_on_in_its_place():
    error = DataError("my/rows.jsonl", "JSON", "a comma", line=1)
    found = list(templates.examples([error, _row(q="?", a="b")], ANSWER, "train"))
    assert found[0] is error
    assert isinstance(found[1], Example)


PLACE = "my/rows.jsonl, line 3"
PAIR = Task(kind="preference", prompt="{{ q }}", completion="{{ a }}", rejected="{{ b }}")


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        (ANSWER, {"q": "?"}, ", field 'a': expected a field that task.completion uses, found the fields q"),
        (ANSWER, {}, ", field 'q': expected a field that task.prompt uses, found the fields (none)"),
        (ANSWER, {"q": None, "a": "x"}, ", field 'q': expected a value that task.prompt uses, found null"),
        (ANSWER, {"q": "?", "a": " \n"}, ": expected an answer from task.completion, found an empty text"),
        (CHOSEN, {"q": "?"}, ", field 'colour': expected a field that task.label uses, found the fields q"),
        (
            CHOSEN,
            {"q": "?", "colour": -1},
            ": expected a right answer from task.label: an index from 0 to 2 or one of red, green, blue, found -1",
        ),
        (
            CHOSEN,
            {"q": "?", "colour": "Green"},
            ": expected a right answer from task.label: an index from 0 to 2 or one of red, green, blue, found 'Green'",
        ),
        (
            CHOSEN,
            {"q": "?", "colour": 1.5},
            ": expected a right answer from task.label: an index from 0 to 2 or one of red, green, blue, found 1.5",
        ),
        (
            OPTIONS,
            {"q": "?", "x": "one", "y": None, "z": None, "right": 0},
            ": expected at least two answers in task.options, found ['one', None, None]",
        ),
        (
            Task(kind="multiple_choice", prompt="{{ q }}", options="o", label="l"),
            {"q": "?", "o": "abc", "l": 0},
            ": expected at least two answers in task.options, found 'abc'",
        ),
        (
            Task(kind="math", prompt="{{ q.text }}", completion="x"),
            {"q": {"words": "?"}},
            ": expected fields that task.prompt can be made of, found the fields q "
            "('dict object' has no attribute 'text')",
        ),
        (
            Task(kind="code", prompt="{{ q }}", completion="{{ a | from_json }}"),
            {"q": "?", "a": "{"},
            ": expected fields that task.completion can be made of, found the fields q, a "
            "(Expecting property name enclosed in double quotes: line 1 column 2 (char 1))",
        ),
        (
            Task(kind="math", prompt="{{ q }}", completion="x", references="q"),
            {"q": "?"},
            ": expected a list of right answers from task.references, found '?'",
        ),
        (
            PAIR,
            {"q": "?", "a": "yes", "b": "yes "},
            ": expected another answer from task.rejected than the right one, found 'yes'",
        ),
        (
            PAIR,
            {"q": "?", "a": "yes", "b": ""},
            ": expected another answer from task.rejected than the right one, found ''",
        ),
    ],
)
def test_a_row_that_cannot_be_used_gives_an_error_that_names_place_and_field(
    task: Task, fields: dict[str, Any], message: str
):
    assert _refused(task, **fields) == PLACE + message


def test_a_template_runs_in_a_sandbox_and_knows_the_row_s_fields_alone():
    spy = Task(kind="math", prompt="{{ q.__class__.__mro__ }}", completion="x")
    assert _refused(spy, q="?").endswith("(access to attribute '__class__' of 'str' object is unsafe.)")
    function = Task(kind="math", prompt="{{ lipsum() }}", completion="x")
    assert (
        _refused(function, q="?")
        == f"{PLACE}, field 'lipsum': expected a field that task.prompt uses, found the fields q"
    )


# --- what is wrong before any row is read


def test_a_broken_template_is_refused_before_the_first_row():
    with pytest.raises(ValueError, match=r"^task\.prompt: no valid Jinja: unexpected '}'$"):
        templates.examples([], Task(kind="math", prompt="{{ q } }}", completion="x"), "train")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Task(kind="math", prompt="{{ q", completion="x"),
            "task.prompt: no valid Jinja: unexpected end of template, expected 'end of print statement'",
        ),
        (
            Task(kind="math", prompt="q", completion="{{ a | upperr }}"),
            "task.completion: no valid Jinja: No filter named 'upperr'",
        ),
        (
            Task(prompt="q", label="a b", choices=["x", "y"]),
            "task.label: no valid Jinja: expected token 'end of print statement', got 'b'",
        ),
        (
            Task(kind="math", prompt="q", completion="x", test=Split(prompt="{% if %}")),
            "task.test.prompt: no valid Jinja: Expected an expression, got 'end of statement block'",
        ),
        (Task(kind="math", prompt="q"), "task.completion or task.label must be given with task.prompt"),
        (Task(where="a"), "task.completion or task.label must be given with task.where"),
        (Task(kind="math", completion="x"), "task.prompt must be given with task.completion"),
        (Task(prompt="q", label="l"), "task.choices or task.options must be given with task.label"),
        (
            Task(kind="multiple_choice", prompt="q", options="o", completion="x"),
            "task.label must be given with task.options",
        ),
        (
            Task(prompt="q", completion="x", label="l", choices=["a", "b"]),
            "task.completion has no effect with task.label, which says what the right answer is",
        ),
        (
            Task(source="file", kind="auto", prompt="q", completion="x"),
            "task.kind must be given with task.prompt: no format tells it",
        ),
        (
            Task(prompt="q", label="l", choices=["a", "b"], chat=True),
            "task.chat and task.system do not go with task.kind=classification, whose answers are bare texts",
        ),
    ],
)
def test_a_task_whose_templates_cannot_work_is_refused_when_it_is_planned(task: Task, message: str):
    assert message in templates.errors(task)


def test_a_task_without_templates_is_left_to_the_formats():
    assert not templates.used(Task(source="file", kind="auto"))
    assert templates.errors(Task(source="file", kind="auto")) == []
    assert templates.used(Task(test=Split(prompt="{{ q }}")))


@pytest.mark.parametrize("task", [ANSWER, CHOSEN, OPTIONS, PAIR, Task(kind="text", completion="{{ text }}")])
def test_a_whole_task_has_no_errors(task: Task):
    assert templates.used(task)
    assert templates.errors(task) == []
