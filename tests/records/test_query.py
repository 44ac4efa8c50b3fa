"""The language of --where: what it means, and what it says of mistakes."""

from pathlib import Path
from typing import Any

import pytest

from bench.records.keys import MISSING, keys, natural, value
from bench.records.query import QueryError, parse
from bench.records.schema import Environment
from tests.records.test_store import record

KNOWN: dict[str, Any] = {
    "method": "lora", "rank": 8, "rate": 1e-3, "on": True, "none": None, "name": "a b", "version": "3.11.7",
    "day": "2026-11-21T10:00", "nan": float("nan"), "list": "x,y",
}  # fmt: skip


def holds(text: str) -> bool:
    return parse(text).matches(lambda key: KNOWN.get(key, MISSING))


@pytest.mark.parametrize(
    "text",
    [
        "method=lora", "method==lora", " method = lora ", "method=full,lora", "method = full , lora", "method=l*",
        "method=[k-m]ora", "method=?ora", "method!=full", "method!=full,dpo", "rank=8", "rank=8.0", "rank=1,8",
        "rank>=8", "rank<10", "rank>7.5", "rate=0.001", "rate<=1e-3", "on=true", "on=True", "none=none", "none=None",
        "none=", "name='a b'", 'name="a b"', "name='x',a*", "version>=3.9", "version<3.12", "day>=2026-11-01",
        "nan=nan", "absent!=1", "not absent=1", "not none>1", "not (none<1 or absent<1)", "method=lora and rank=8",
        "method=full or rank=8", "METHOD=x OR rank=8", "not method=full AND rank=8",
        "rank=1 and method=full or on=true",
        "rank=8 or method=full and on=false", "(rank=1 or rank=8) and (on=true)", "not(rank=1)", "list='x,y'",
        "not method='l*'",
    ],
)  # fmt: skip
def test_what_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "method=full", "method!=lora", "method!=l*", "method=LORA", "rank=9", "rank<8", "rank>8", "rank!=8.0",
        "rank='8x'", "absent=1", "absent=", "absent<1", "none>0", "on=1", "on=yes", "name=a", "version>3.11.7",
        "version<3.9", "nan<1", "nan>1", "(rank=8 or method=full) and on=false", "not rank=8", "method='l*'",
    ],
)  # fmt: skip
def test_what_does_not_hold(text: str) -> None:
    assert not holds(text)


def test_a_value_may_hold_what_compares() -> None:
    assert parse("data.train=s3://b?x=1&y>2").matches(lambda _: "s3://b?x=1&y>2")


@pytest.mark.parametrize(
    ("text", "complaint", "position"),
    [
        ("", "expected a condition such as method=lora here", 0),
        ("method", "expected =, !=, <, <=, > or >= after 'method'", 6),
        ("method lora", "expected =, !=, <, <=, > or >= after 'method'", 7),
        ("rank>", "expected a value after '>'", 5),
        ("rank<1,2", "< takes one value", 6),
        ("=8", "expected a condition such as method=lora here", 0),
        ("a=1 b=2", "expected 'and', 'or' or the end here; a value with blanks or brackets needs quotes", 4),
        ("a=1 and", "expected a condition such as method=lora here", 7),
        ("a=1 and or b=2", "expected a condition such as method=lora here", 8),
        ("and", "expected a condition such as method=lora here", 0),
        ("(a=1", "there is no ')' for this '('", 0),
        ("a=1 or (b=1 or (c=2)", "there is no ')' for this '('", 7),
        ("a=1)", "there is no '(' for this ')'", 3),
        ("a='x", "this quotation mark has no second one", 2),
        ("a=x(y)", "expected 'and', 'or' or the end here; a value with blanks or brackets needs quotes", 3),
    ],
)
def test_mistakes_are_shown_at_their_place(text: str, complaint: str, position: int) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert (caught.value.complaint, caught.value.position) == (complaint, position)
    assert str(caught.value) == f"{complaint}\n  {text}\n  {' ' * position}^"


def test_brackets_without_end_are_refused() -> None:
    with pytest.raises(QueryError, match="brackets stand too deep in each other"):
        parse("(" * 100_000)


def test_nothing_is_evaluated() -> None:
    assert not holds('method=\'__import__("os").system("exit 1")\'')
    with pytest.raises(QueryError):
        parse("__import__('os')")


def test_keys_lead_into_the_record_and_its_configuration() -> None:
    made = record(environment=_environment(), checkpoint_bytes=None)
    found = {
        "method": "lora", "method.rank": 8, "config.method.rank": 8, "seed": 0, "status": "diverged",
        "training.tokens_per_s": 666.0, "training.step_s.p90": 0.2, "evaluation.validation.metrics.accuracy": 0.5,
        "phases.train.seconds": 3.0, "environment.libraries.hydra-core": "1.3", "checkpoint_bytes": None,
        "hardware": "cpu-x", "source": None,
    }  # fmt: skip
    assert {key: value(made, key) for key in found} == found
    for key in ("rank", "method.name", "method.rank.x", "phases", "phases.nothing", "environment", "phase", "config"):
        assert value(made, key) is MISSING
    assert {*found} - {"config.method.rank"} <= {*keys(made)}


def test_a_record_without_hardware_takes_it_from_its_folder() -> None:
    assert value(record(), "hardware") is None
    assert value(record(), "hardware", Path("runs/cpu-y/run")) == "cpu-y"


def test_texts_are_ordered_by_the_numbers_in_them() -> None:
    assert sorted(["3.10", "3.9", "a10", "a9", "a", ""], key=natural) == ["", "3.9", "3.10", "a", "a9", "a10"]


def _environment() -> Environment:
    return Environment("cpu-x", "cpu", "X", 1, 1, "X", 1, 1, "Linux", "3.11.7", {"hydra-core": "1.3"})
