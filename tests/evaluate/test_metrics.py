"""Every metric against values computed by hand, and what the registry says of it."""

import math as maths

import pytest

from bench.config import Task
from bench.data.example import Example
from bench.evaluate import metrics
from bench.evaluate.metrics.math import final_answer
from bench.evaluate.outcome import Outcome


def outcome(answer: str, prediction: str | None = None, **settings) -> Outcome:
    known = {key: settings.pop(key) for key in ("rejected", "options", "references") if key in settings}
    return Outcome(Example("x", "q", answer, **known), **({"loss": 1.0, "tokens": 1} | settings), prediction=prediction)


def value(name: str, *outcomes: Outcome) -> float:
    return metrics.measure([name], outcomes)[name].value


ALL = {
    "accuracy": True,
    "accuracy_norm": True,
    "macro_f1": True,
    "matthews": True,
    "perplexity": False,
    "bits_per_byte": False,
    "preference_accuracy": True,
    "preference_margin": True,
    "exact_match": True,
    "squad_exact_match": True,
    "token_f1": True,
    "rouge1": True,
    "rouge2": True,
    "rougeL": True,
    "bleu": True,
    "chrf": True,
    "math": True,
    "syntax": True,
}


def test_every_metric_has_a_version_and_a_direction():
    assert {name: d.higher_is_better for name, d in metrics.REGISTRY.items()} == ALL
    assert {d.version for d in metrics.REGISTRY.values()} == {1}


def test_every_kind_of_task_has_metrics_that_exist():
    from bench.config.task import KINDS

    assert set(metrics.DEFAULTS) == set(KINDS)
    assert {name for names in metrics.DEFAULTS.values() for name in names} <= set(ALL)


def test_a_metric_that_does_not_exist_is_named_with_the_nearest():
    found = metrics.errors(Task(metrics=["rogue1", "accuracy", "zzz"]))
    assert found == [
        "task.metrics: there is no metric 'rogue1'; did you mean 'rouge1'?",
        f"task.metrics: there is no metric 'zzz'; there are: {', '.join(sorted(ALL))}",
    ]


def test_labels():
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"), ("c", "a")]
    found = [outcome(f" {right}", f" {said}") for right, said in pairs]
    assert value("accuracy", *found) == pytest.approx(3 / 5)
    # a: TP 1, FP 1, FN 1 -> 1/2; b: TP 2, FP 1, FN 0 -> 4/5; c: 0
    assert value("macro_f1", *found) == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    # c=3, s=5; sum p_k t_k = 2*2 + 3*2 + 0 = 10; (15 - 10) / sqrt((25 - 13) (25 - 9))
    assert value("matthews", *found) == pytest.approx(5 / maths.sqrt(12 * 16))


def test_the_longer_answer_wins_by_log_probability_per_byte():
    options = (" no", " certainly")
    found = outcome(" certainly", " no", options=options, option_log_probs=[-2.0, -4.0])
    assert value("accuracy", found) == 0
    assert value("accuracy_norm", found) == 1  # -2/3 against -4/10


def test_texts():
    assert value("exact_match", outcome(" 42", "42 \n"), outcome(" 42", "43")) == 0.5
    several = {"references": ("Paris", "the city of Paris")}
    assert value("squad_exact_match", outcome(" x", "The Paris!", **several), outcome(" x", "Lyon", **several)) == 0.5
    # "city paris": both words shared with "city of paris": precision 1, recall 2/3
    assert value("token_f1", outcome(" x", "a city, Paris", **several)) == pytest.approx(2 * 2 / (2 + 3))
    assert value("token_f1", outcome(" x", "", **several)) == 0


def test_rouge():
    found = outcome(" the cat sat on the mat", "the cat lay on the mat")
    assert value("rouge1", found) == pytest.approx(5 / 6)
    assert value("rouge2", found) == pytest.approx(3 / 5)
    assert value("rougeL", found) == pytest.approx(5 / 6)
    assert value("rouge1", outcome(" 東京は大きい", "東京は小さい")) == pytest.approx(4 / 6)
    assert value("rouge1", outcome(" كتاب كبير", "كتاب صغير")) == pytest.approx(1 / 2)
    assert value("rouge1", outcome(" runs", "running")) == 1  # stemmed
    assert metrics.REGISTRY["rouge1"].signature().startswith("rouge-score ")


def test_translation():
    same = outcome(" the quick brown fox jumps", "the quick brown fox jumps")
    assert value("bleu", same) == pytest.approx(100)
    assert value("chrf", same) == pytest.approx(100)
    # 5 words against 6: precisions 5/5 4/4 3/3 2/2, brevity exp(1 - 6/5)
    short = outcome(" the quick brown fox jumps high", "the quick brown fox jumps")
    assert value("bleu", short) == pytest.approx(100 * maths.exp(1 - 6 / 5))
    assert "bleu" in short.metrics
    assert "version:" in metrics.REGISTRY["bleu"].signature()
    assert metrics.measure(["chrf"], [same])["chrf"].signature.startswith("nrefs:1|")
    two = outcome(" x", "ein Hund", references=("eine Katze", "ein Hund"))
    assert value("chrf", same, two) == pytest.approx(100)


def test_likelihood():
    found = [outcome(" ab", loss=2.0, tokens=2), outcome(" é", loss=4.0, tokens=1)]
    assert value("perplexity", *found) == pytest.approx(maths.exp(6 / 3))
    assert value("bits_per_byte", *found) == pytest.approx(6 / maths.log(2) / (3 + 3))
    assert found[0].metrics["perplexity"] == pytest.approx(maths.e)


def test_pairs_are_measured_wherever_there_are_pairs():
    found = [outcome(" a", " a", margin=2.0), outcome(" a", " b", margin=-1.0)]
    measured = metrics.measure(["accuracy"], found)
    assert {name: m.value for name, m in measured.items()} == {
        "accuracy": 0.5,
        "preference_accuracy": 0.5,
        "preference_margin": 0.5,
    }
    assert found[1].metrics == {"accuracy": 0.0, "preference_accuracy": 0.0, "preference_margin": -1.0}
    assert "preference_margin" not in metrics.measure(["accuracy"], [*found, outcome(" a", " a")])


def test_a_classifier_has_no_likelihood_of_text():
    assert metrics.measure(["accuracy", "perplexity"], [outcome(" a", " a")], bounded=False).keys() == {"accuracy"}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 42", "42"),
        ("6 * 7 = 42\n#### 1,234", "1234"),
        ("The answer is 42.", "42"),
        ("the answer is: $18.00", "18.00"),
        ("So the final answer is 18 dollars.", "18"),
        (r"Hence \boxed{\frac{3}{4}}", r"\frac{3}{4}"),
        (r"we get \boxed{x^2 + 1}", "x^2 + 1"),
        ("She has 3 + 4 = 7 apples left.", "7"),
        ("it is 18%", "18"),
        ("it costs $1,234,567.50 in all", "1234567.50"),
        ("-5", "-5"),
        ("about 3/4 of it", "3/4"),
        ("答えは42です", "42"),
        ("no number at all", None),
        ("", None),
    ],
)
def test_the_final_answer_of_a_text(text: str, answer: str | None):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("The answer is 42.", "... #### 42", 1),
        ("3.0", "3", 1),
        ("1,000 apples", "1000", 1),
        (r"\boxed{\frac{1}{2}}", "0.5", 1),
        ("1/2", "0.5", 1),
        ("$18", "18", 1),
        (r"\boxed{2x + x}", "3x", 1),
        (r"\boxed{3x}", "3y", 0),
        ("3", "3x", 0),
        ("It weighs 5 kg.", "5 kg", 1),
        ("-5", "5", 0),
        ("41", "42", 0),
        ("I do not know", "42", 0),
        ("", "42", 0),
        ("42 and then 43", "42", 0),
        ("1e3", "1000", 1),
    ],
)
def test_math(prediction: str, reference: str, right: int):
    assert value("math", outcome(f" {reference}", prediction)) == right


@pytest.mark.parametrize(
    ("program", "right"),
    [
        ("x = 1\nprint(x)", 1),
        ("```python\ndef f():\n    return 1\n```\nThat is all.", 1),
        ("def f(:", 0),
        ("", 0),
        ("Here is no program at all", 0),
        ("```\nx = 1", 1),
        ("x = '\0'", 0),
    ],
)
def test_syntax(program: str, right: int):
    assert value("syntax", outcome(" pass", program)) == right
