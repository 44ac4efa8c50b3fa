"""Every named public task on a small file in its set's own schema; the sets themselves are not downloaded.

`rows/TASK/SPLIT.jsonl` has invented rows with the fields, types and label values that the set publishes.
"""

import json
import re
from functools import cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench.app import plan
from bench.config import Data, Task
from bench.config.task import KINDS
from bench.data import tasks, templates
from bench.data.example import Example, Message
from bench.data.rows import Row
from bench.evaluate.metrics import REGISTRY, named
from bench.paths import conf_dir

ROWS = Path(__file__).parent / "rows"
FOLDER = conf_dir() / "task"
FILES = {file.relative_to(FOLDER).with_suffix("").as_posix(): file for file in sorted(FOLDER.rglob("*.yaml"))}
PUBLIC = sorted(name for name, file in FILES.items() if OmegaConf.load(file)["source"] == "hub")
PEFT_BENCH = """
    mnli qqp qnli sst2 mrpc rte cola stsb record multirc boolq wic wsc copa cb
    mmlu siqa hellaswag openbookqa piqa winogrande math_qa gsm8k svamp conala codealpacapy apps
"""
GENERATED = {"question_answering", "math", "summarisation", "translation", "code", "generation"}


@cache
def _task(name: str) -> Task:
    (run,) = plan("run", [f"task={name}"])
    return run.task


def _file(name: str, split: str) -> Path:
    return ROWS / name / f"{split}.jsonl"


@cache
def _made(name: str, split: str) -> tuple[Example | Exception, ...]:
    file = _file(name, split)
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [Row(str(file), number, json.loads(line)) for number, line in enumerate(lines, start=1)]
    return tuple(templates.examples(rows, _task(name), split))


def _examples(name: str) -> list[Example]:
    splits = [file.stem for file in sorted((ROWS / name).iterdir())]
    return [item for split in splits for item in _made(name, split) if isinstance(item, Example)]


def _prompt(example: Example) -> str:
    return example.prompt if isinstance(example.prompt, str) else "".join(m.content for m in example.prompt)


# --- the files


def test_the_27_sets_of_peft_bench_are_there():
    assert {name.removeprefix("peftbench/") for name in FILES if name.startswith("peftbench/")} == set(
        PEFT_BENCH.split()
    )
    assert len(PEFT_BENCH.split()) == 27


def test_every_public_task_has_rows_and_no_rows_are_without_a_task():
    assert {file.parent.relative_to(ROWS).as_posix() for file in ROWS.rglob("*.jsonl")} == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_task_has_rows_of_every_split_that_it_names(name: str):
    splits = {split for split in ("train", "validation", "test") if getattr(_task(name), split).split != "none"}
    assert {file.stem for file in (ROWS / name).iterdir()} == splits


@pytest.mark.parametrize("name", FILES)
def test_a_task_is_a_yaml_of_under_15_lines_and_its_kind_and_metrics_exist(name: str):
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) < 15
    assert max(map(len, lines)) <= 120
    settings = OmegaConf.load(FILES[name])
    kind = settings["kind"] if "kind" in settings else Task().kind
    assert settings["name"] == name.replace("/", "-")
    assert kind in KINDS or (kind == "auto" and settings["source"] == "file")
    assert set(settings.get("metrics", ())) <= REGISTRY.keys()


@pytest.mark.parametrize("name", PUBLIC)
def test_the_first_line_names_the_set_on_the_hub(name: str):
    first = FILES[name].read_text(encoding="utf-8").splitlines()[0]
    assert _task(name).path in first


# --- the examples


@pytest.mark.parametrize("name", PUBLIC)
def test_every_row_gives_an_example_or_is_left_out_by_the_task(name: str):
    for file in (ROWS / name).iterdir():
        made = _made(name, file.stem)
        assert sum(isinstance(item, Example) for item in made) >= 2 + (name != "wikitext")
        assert all(isinstance(item, Example | templates.Excluded) for item in made), made


@pytest.mark.parametrize("name", PUBLIC)
def test_no_text_shows_a_template_or_a_value_that_is_none(name: str):
    for example in _examples(name):
        texts = (_prompt(example), example.completion, example.rejected or "", *example.options, *example.references)
        assert not re.search(r"\{\{|\{%|%\}|undefined|\bNone\b", "\n".join(texts)), texts
        assert all(text.strip() for text in (example.completion, *example.options, *example.references))


@pytest.mark.parametrize("name", PUBLIC)
def test_the_examples_have_the_shape_of_the_task_s_kind(name: str):
    task = _task(name)
    for example in _examples(name):
        assert task.preferences == (example.rejected is not None)
        assert example.rejected is None or example.rejected.strip() != example.completion.strip()
        if task.kind == "classification":
            assert example.completion.removeprefix(" ") in task.choices
            assert example.rejected is not None
            assert example.rejected.removeprefix(" ") in task.choices
        assert (task.kind == "multiple_choice") == bool(example.options)
        if example.options:
            assert {example.completion, example.rejected} <= set(example.options)
        if example.references:
            assert task.kind == "math" or example.completion.strip() in example.references
        assert (task.kind == "text") == (example.prompt == "")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_prompt_of_text_and_its_answer_are_parted_by_one_white_space(name: str):
    for example in _examples(name):
        answers = (example.completion, example.rejected, *example.options)
        for answer in filter(None, answers):
            if not isinstance(example.prompt, str):
                assert answer == answer.strip()
            elif example.prompt:
                starts_apart = [example.prompt[-1].isspace(), answer[0].isspace()]
                assert starts_apart.count(True) == 1, (example.prompt, answer)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_answer_of_a_classification_occurs_in_the_rows(name: str):
    task = _task(name)
    found = {example.completion.strip() for example in _examples(name)}
    few = {"peftbench/stsb", "peftbench/mmlu"}  # many answers, few rows
    assert not task.choices or found == set(task.choices) or (name in few and len(found) > 2)


@pytest.mark.parametrize("name", PUBLIC)
def test_generated_answers_are_no_longer_than_the_task_lets_a_model_write(name: str):
    task = _task(name)
    if task.kind in GENERATED:
        longest = max(len(example.completion.split()) for example in _examples(name))
        assert longest < task.max_new_tokens
        assert not any(stop in example.completion.strip() for example in _examples(name) for stop in task.stop)


@pytest.mark.parametrize("name", PUBLIC)
def test_local_copies_of_a_set_go_through_the_task(name: str):
    task = _task(name)
    files = {split: str(_file(name, split)) for split in ("train", "validation", "test") if _file(name, split).exists()}
    data = tasks.load(task, Data(**{"validation": files["train"], "test": files["train"], **files}))
    assert data.kind == task.kind
    assert [e.completion for e in data.train] == [e.completion for e in _made(name, "train") if isinstance(e, Example)]
    assert bool(data.choices) == (task.kind == "classification")
    left_out = sum(isinstance(item, templates.Excluded) for item in _made(name, "train"))
    assert data.skipped.get("train: left out by task.where", 0) == left_out


@pytest.mark.parametrize("name", PUBLIC)
def test_the_right_answer_scores_full_marks_by_the_task_s_metrics(name: str):
    task = _task(name)
    per_text = [m for m in named(task.metrics, task.kind) if REGISTRY[m].over_split is None]
    for example in _examples(name) if per_text else ():
        references = [text.strip() for text in example.references or (example.completion,)]
        for metric in per_text:
            assert _score(metric, example, references) == pytest.approx(1.0), (metric, example)


def _score(metric: str, example: Example, references: list[str]) -> float:
    from bench.evaluate.outcome import Outcome

    outcome = Outcome(example, loss=1.0, tokens=1, prediction=example.completion)
    each = REGISTRY[metric].each
    assert each is not None
    return each(outcome)


# --- word for word


@pytest.mark.parametrize(
    ("name", "split", "prompt", "completion"),
    [
        (
            "metamathqa",
            "train",
            "Question: If 9 hens lay 2 eggs each day, how many eggs are there after a week?\nAnswer:",
            " 9 hens lay 9 * 2 = 18 eggs a day.\nA week has 7 days, so there are 18 * 7 = 126 eggs.\n"
            "#### 126\nThe answer is: 126",
        ),
        (
            "metamathqa",
            "test",
            "Question: A tram has 12 seats in each of its 4 cars. 30 seats are taken. How many are free?\nAnswer:",
            " The tram has 12 * 4 = 48 seats.\n48 - 30 = 18 are free.\nThe answer is: 18",
        ),
        (
            "gsm8k",
            "test",
            "Question: A tram has 12 seats in each of its 4 cars. 30 seats are taken. How many are free?\nAnswer:",
            " The tram has 12 * 4 = 48 seats.\n48 - 30 = 18 are free.\n#### 18",
        ),
        ("sst2", "train", "Sentence: a warm and patient film\nSentiment:", " positive"),
        (
            "ag_news",
            "test",
            "News: Chip maker lifts forecast - Orders for the quarter were higher than planned.\nTopic:",
            " Business",
        ),
        (
            "squad",
            "test",
            "Title: Tea\nText: Tea came to the port in 1660, and its price fell for the next forty years.\n"
            "Question: When did tea come to the port?\nAnswer:",
            " 1660",
        ),
        (
            "xsum",
            "test",
            "Article: A painting was found in an attic.\nIt may be two hundred years old.\nSummary in one sentence:",
            " An old painting has turned up in an attic.",
        ),
        (
            "samsum",
            "train",
            "Dialogue:\nAnn: are you coming?\nBen: in ten minutes\nAnn: ok, I'll wait\nSummary:",
            " Ben will come in ten minutes and Ann waits for him.",
        ),
        ("opus100", "test", "de: Der Zug fährt um acht.\nen:", " The train leaves at eight."),
        (
            "stack-exchange-paired",
            "train",
            "Question: How do I reverse a list in Python?\n\nAnswer:",
            " Use `items[::-1]`.",
        ),
        ("ultrafeedback", "train", "How do I boil an egg?\n\n", "Put it into boiling water for eight minutes."),
        (
            "peftbench/mnli",
            "train",
            "Premise: The shop shuts at six.\nHypothesis: The shop is open all night.\nRelation:",
            " contradiction",
        ),
        (
            "peftbench/qnli",
            "train",
            "Question: When was the mill built?\nSentence: The mill was built in 1740.\n"
            "Does the sentence answer the question?",
            " yes",
        ),
        (
            "peftbench/stsb",
            "train",
            "Sentence 1: A man plays a flute.\nSentence 2: A man is playing a flute.\nSimilarity from 0 to 5:",
            " 5",
        ),
        (
            "peftbench/record",
            "train",
            "Nora Lind won the race in Bergen.\n- Lind, 23, led from the start\n- Bergen had not seen such a time\n"
            "Names: Nora Lind, Bergen, Lind\nIt was the third win for @placeholder this year.\nGap:",
            " Nora Lind",
        ),
        (
            "peftbench/wsc",
            "train",
            "Tom thanked Paul because he had helped.\nDoes 'he' (word 5) stand for 'Paul'?",
            " yes",
        ),
        ("peftbench/copa", "train", "The glass broke.\nCause:", " It fell on the floor."),
        (
            "peftbench/mmlu",
            "test",
            "Light is slowest in\nA. air\nB. water\nC. vacuum\nD. diamond\nAnswer:",
            " D",
        ),
        ("peftbench/siqa", "train", "Robin baked a cake for Sam.\nQuestion: How would Sam feel?\nAnswer:", " thankful"),
        ("peftbench/openbookqa", "train", "Question: Ice turns into water when it is\nAnswer:", " warmed"),
        (
            "peftbench/winogrande",
            "train",
            "The vase did not fit into the box because the _ was too big.\nThe blank _ stands for:",
            " vase",
        ),
        (
            "peftbench/math_qa",
            "train",
            "Problem: a train runs 60 km in 45 minutes . what is its speed in km per hour ?\n"
            "Options: a ) 70 , b ) 80 , c ) 90 , d ) 100 , e ) none of these\nAnswer:",
            " b",
        ),
        (
            "peftbench/svamp",
            "test",
            "Question: A farm has 45 cows and 5 sheds. How many cows are in each shed?\nEquation:",
            " ( 45 / 5 ) = 9",
        ),
        ("peftbench/conala", "train", "# sum all numbers in list `xs`\n", "sum(xs)"),
        (
            "peftbench/apps",
            "train",
            "Read a number and print its double.\n\n-----Input-----\nOne number.\n\nPython:\n",
            "n = int(input())\nprint(2 * n)",
        ),
    ],
)
def test_the_first_row_of_a_task_reads_word_for_word(name: str, split: str, prompt: str, completion: str):
    first = _made(name, split)[0]
    assert isinstance(first, Example)
    assert (first.prompt, first.completion) == (prompt, completion)


@pytest.mark.parametrize(
    ("name", "said", "completion"),
    [
        ("alpaca", "Name three colours.", "Red, green and blue."),
        (
            "dolly",
            "When was the harbour built?\n\nThe harbour was built between 1790 and 1802.",
            "Between 1790 and 1802.",
        ),
        ("code_alpaca", "Write a function that doubles a number.", "def double(x):\n    return 2 * x"),
    ],
)
def test_instructions_are_messages_for_the_chat_template(name: str, said: str, completion: str):
    first = _made(name, "train")[0]
    assert isinstance(first, Example)
    assert (first.prompt, first.completion) == ((Message("user", said),), completion)


def test_the_answers_to_choose_from_and_those_that_count_as_right():
    first = _made("peftbench/hellaswag", "train")[0]
    assert isinstance(first, Example)
    assert first.prompt == "Washing dishes: A woman stands at a sink. she"
    assert first.options == (" rinses a plate.", " climbs a wall.", " reads a map.", " shoots a goal.")
    assert [e.references for e in _made("squad", "test") if isinstance(e, Example)] == [
        ("1660", "in 1660"),
        ("its price", "price"),
        ("sand, soda and lime", "sand"),
    ]
    second = _made("peftbench/conala", "train")[1]
    assert isinstance(second, Example)
    assert second.prompt == "# Sort a dict by value\n"  # nobody rewrote this question


def test_another_pair_of_languages_is_another_subset(tmp_path: Path):
    (run,) = plan("run", ["task=opus100", "task.subset=en-ja"])
    row = Row("rows.jsonl", 1, {"translation": {"en": "Good morning.", "ja": "おはよう。"}})
    (example,) = templates.examples([row], run.task, "train")
    assert isinstance(example, Example)
    assert (example.prompt, example.completion) == ("en: Good morning.\nja:", " おはよう。")
