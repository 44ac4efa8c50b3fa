"""The language of `--where`: conditions on the keys of a record, parsed here and never evaluated as code.

    query     = all {"or" all}
    all       = one {"and" one}
    one       = "not" one | "(" query ")" | condition
    condition = KEY ("=" | "!=") VALUE {"," VALUE} | KEY ("<" | "<=" | ">" | ">=") VALUE

A value is a word, which `*`, `?` and `[...]` make a pattern, or stands in quotes and is meant as it is. Where the
record holds a number and the value is one, they are compared as numbers, else as texts by the numbers in them (3.9
is before 3.10). What a record does not have equals nothing and is neither above nor below anything.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from bench.records.keys import MISSING, natural, text

Get = Callable[[str], Any]  # what the record in question says under a key
Test = Callable[[Get], bool]
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
KEY = re.compile(r"""[^\s()=<>!,'"]+""")
OPERATOR = re.compile(r"==?|!=|<=|>=|<|>")
WORD = re.compile(r"""[^\s(),'"]*""")
WILD = re.compile(r"[*?\[]")
BLANKS = re.compile(r"\s*")
CONNECTIVES = ("and", "or", "not")


class QueryError(ValueError):
    """A query cannot be read or met; the message shows where."""

    def __init__(self, complaint: str, query: str, position: int) -> None:
        super().__init__(f"{complaint}\n  {query}\n  {' ' * position}^")
        self.complaint = complaint
        self.position = position


@dataclass(frozen=True)
class Query:
    """A parsed query."""

    text: str
    matches: Test  # given a function from a key to the record's value
    keys: tuple[tuple[str, int], ...]  # that it asks for, with their positions


def parse(text: str) -> Query:
    """The query that `text` writes down.

    Raises:
        QueryError: it cannot be read; the message points at the place.
    """
    parser = _Parser(text)
    try:
        test = parser.any()
    except RecursionError:
        raise QueryError("brackets stand too deep in each other", text, parser.position) from None
    parser.end()
    return Query(text, test, tuple(parser.keys))


@dataclass
class _Parser:
    """Recursive descent over the text, with the position of what comes next."""

    text: str
    position: int = 0
    keys: list[tuple[str, int]] = field(default_factory=list)

    def any(self) -> Test:
        tests = [self._all()]
        while self._take_word("or"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda get: any(test(get) for test in tests)

    def end(self) -> None:
        self._blanks()
        if self.position < len(self.text):
            if self.text[self.position] == ")":
                raise self._error("there is no '(' for this ')'")
            raise self._error("expected 'and', 'or' or the end here; a value with blanks or brackets needs quotes")

    def _all(self) -> Test:
        tests = [self._one()]
        while self._take_word("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda get: all(test(get) for test in tests)

    def _one(self) -> Test:
        if self._take_word("not"):
            inner = self._one()
            return lambda get: not inner(get)
        self._blanks()
        if self.text.startswith("(", self.position):
            opened = self.position
            self.position += 1
            inner = self.any()
            self._blanks()
            if not self.text.startswith(")", self.position):
                if self.position < len(self.text):
                    self.end()
                raise QueryError("there is no ')' for this '('", self.text, opened)
            self.position += 1
            return inner
        return self._condition()

    def _condition(self) -> Test:
        key = self._take(KEY)
        if not key or key in CONNECTIVES:
            self.position -= len(key)
            raise self._error("expected a condition such as method=lora here")
        self.keys.append((key, self.position - len(key)))
        sign = self._take(OPERATOR)
        if not sign:
            raise self._error(f"expected =, !=, <, <=, > or >= after {key!r}")
        values = [self._value(sign)]
        while self._comma():
            if sign in ORDER:
                raise self._error(f"{sign} takes one value")
            self.position += 1
            values.append(self._value(sign))
        if sign in ORDER:
            return _ordering(key, sign, values[0][0])
        equal = _equality(key, values)
        return equal if sign != "!=" else lambda get: not equal(get)

    def _comma(self) -> bool:
        self._blanks()
        return self.text.startswith(",", self.position)

    def _value(self, sign: str) -> tuple[str, bool]:
        """The value that comes next, and whether it stood in quotes."""
        self._blanks()
        quote = self.text[self.position : self.position + 1]
        if quote in ("'", '"') and quote:
            closing = self.text.find(quote, self.position + 1)
            if closing < 0:
                raise self._error("this quotation mark has no second one")
            found = self.text[self.position + 1 : closing]
            self.position = closing + 1
            return found, True
        word = self._take(WORD)
        if not word and (sign in ORDER or self.text[self.position : self.position + 1] not in ("", ",", ")")):
            raise self._error(f"expected a value after {sign!r}")
        return word, False

    def _take(self, pattern: re.Pattern[str]) -> str:
        self._blanks()
        match = pattern.match(self.text, self.position)
        found = match.group() if match else ""
        self.position += len(found)
        return found

    def _take_word(self, word: str) -> bool:
        self._blanks()
        found = re.compile(rf"{word}(?=[\s(]|$)", re.IGNORECASE).match(self.text, self.position)
        self.position += len(word) if found else 0
        return found is not None

    def _blanks(self) -> None:
        match = BLANKS.match(self.text, self.position)
        assert match is not None
        self.position = match.end()

    def _error(self, complaint: str) -> QueryError:
        return QueryError(complaint, self.text, self.position)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _ordering(key: str, sign: str, word: str) -> Test:
    compare, number, ordered = ORDER[sign], _number(word), natural(word)

    def test(get: Get) -> bool:
        found = get(key)
        if found is None or found is MISSING:
            return False
        if number is not None and _is_number(found):
            return compare(found, number)
        return compare(natural(text(found)), ordered)

    return test


def _equality(key: str, values: Iterable[tuple[str, bool]]) -> Test:
    tests = [_equal(word, quoted) for word, quoted in values]

    def test(get: Get) -> bool:
        found = get(key)
        return found is not MISSING and any(each(found) for each in tests)

    return test


def _equal(word: str, quoted: bool) -> Callable[[Any], bool]:
    number = _number(word)
    pattern = None if quoted or not WILD.search(word) else re.compile(translate(word))

    def test(found: Any) -> bool:
        if number is not None and _is_number(found):
            return found == number or (math.isnan(number) and math.isnan(found))
        if found is None or isinstance(found, bool):  # as Python and as JSON write it
            return text(found) == word.lower() or (found is None and word in ("null", ""))
        return text(found) == word if pattern is None else pattern.match(text(found)) is not None

    return test
