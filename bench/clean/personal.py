"""Personal data and secrets in a text: found by their form, confirmed by their check digits where they have some."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any


def _luhn(number: str) -> bool:
    """Whether the digits pass the check of payment cards (ISO/IEC 7812)."""
    digits = [int(c) for c in number if c.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    """Whether an account number passes its check (ISO 13616)."""
    plain = re.sub(r"\s", "", text).upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _phone(text: str) -> bool:
    return 8 <= sum(c.isdigit() for c in text) <= 15


def _any(_: str) -> bool:
    return True


_DIGIT = re.compile(r"\d")
# What is found, in the order in which it is masked: the pattern, what confirms a hit, and the quick look with which
# most texts are done: a part that every hit has one of, and the fewest digits of a hit.
KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool], tuple[str, ...], int]] = {
    "key": (
        re.compile(
            r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS
            r"|\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_\w{22,}\b"
            r"|\bhf_[A-Za-z0-9]{30,}\b|\bsk-[A-Za-z0-9_-]{20,}\b|\bAIza[0-9A-Za-z_-]{35}\b"
            r"|\bxox[abprs]-[0-9A-Za-z-]{10,}\b"
            r"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]*?(?:-----END (?:[A-Z]+ )*PRIVATE KEY-----|\Z)"
        ),
        _any,
        ("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "sk-", "AIza", "xox", "PRIVATE"),
        0,
    ),
    "email": (
        re.compile(
            r"(?<![A-Za-z0-9.+-])[\w.%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}(?![A-Za-z0-9-])", re.ASCII
        ),
        _any,
        ("@",),
        0,
    ),
    "iban": (re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){2,7}(?:\s?[A-Z0-9]{1,3})?\b"), _iban, ("",), 13),
    "card": (re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.]\d|\d)"), _luhn, ("",), 13),
    "phone": (
        re.compile(
            r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}(?!\d)"  # international
            r"|(?<![\w.])\(\d{3}\) ?\d{3}-\d{4}(?!\d)|(?<![\w.-])\d{3}-\d{3}-\d{4}(?![\d-])"  # North American
            r"|(?<![\w.-])(?<!\d )0\d{1,4}[ /-]\d{2,4}[ -]\d{3,5}(?![\d-]| \d)"  # with a trunk zero
        ),
        _phone,
        ("",),
        8,
    ),
}


def find(value: Any) -> Counter[str]:
    """How often each kind of personal data stands in a text, or in the texts inside lists and objects."""
    return mask_fields(value)[1]


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with every find replaced by its kind, such as `<EMAIL>`, and how often each kind was found."""
    found: Counter[str] = Counter()
    digits = len(_DIGIT.findall(text))
    for kind, (pattern, confirmed, hints, fewest) in KINDS.items():
        if digits < fewest or not any(hint in text for hint in hints):
            continue

        def replaced(hit: re.Match[str], kind: str = kind, confirmed: Callable[[str], bool] = confirmed) -> str:
            if not confirmed(hit[0]):
                return hit[0]
            found[kind] += 1
            return f"<{kind.upper()}>"

        text = pattern.sub(replaced, text)
    return text, found


def mask_fields(value: Any) -> tuple[Any, Counter[str]]:
    """The same for every text inside lists and objects."""
    if isinstance(value, str):
        return mask(value)
    found: Counter[str] = Counter()
    if isinstance(value, dict):
        changed: Any = {}
        for key, inner in value.items():
            changed[key], more = mask_fields(inner)
            found += more
        return changed, found
    if isinstance(value, list):
        parts = [mask_fields(inner) for inner in value]
        return [part for part, _ in parts], sum((more for _, more in parts), found)
    return value, found
