"""The contract: every clause over every registered method and named variant, on a tiny model of each kind."""

from collections.abc import Callable

import pytest

from bench import capabilities, contract
from bench.contract import Case, Outcome
from bench.contract.named import every, named
from bench.contract.probe import probe, refused
from bench.method import discover
from bench.models.families import TRIED
from bench.pytest_plugin import properties

# Tested by default: four on every kind of model; on one, those and whatever uses a hook or an objective of its own.
EVERYWHERE = ("full", "lora", "prefix", "prompt")
HOOKS = ("qlora", "ptuning", "dpo", "kto", "orpo", "adalora", "lisa", "loraplus", "ia3", "bitfit")
FIRST = TRIED[0]
PAIRS = [
    pytest.param(
        name, family, marks=() if name in EVERYWHERE or (name in HOOKS and family == FIRST) else pytest.mark.slow
    )
    for family in TRIED
    for name in (every() if family == FIRST else discover())  # variants differ by values alone
]


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_keeps_the_contract(
    name: str,
    family: str,
    case_of: Callable[[str, str], Case],
    outcomes: dict[tuple[str, str], list[Outcome]],
    request: pytest.FixtureRequest,
):
    clauses = contract.CLAUSES if family == FIRST else contract.CLAUSES[len(contract.DECLARED) :]
    reason = refused(named(name), [family]).get(family)
    if reason is not None:
        assert len(reason.split()) > 3
        with pytest.raises(ValueError, match="does not support this model"):
            case_of(name, family)
        request.node.user_properties += properties(name, family, [Outcome("supports", unsupported=reason)])
        return
    case = case_of(name, family)
    found = outcomes[name, family] = list(contract.outcomes(case, clauses))
    request.node.user_properties += properties(name, family, found)
    broken = [str(outcome) for outcome in found if outcome.broken]
    assert not broken, "\n".join(broken)
    assert any(outcome.word == "kept" for outcome in found)


def test_every_method_runs_on_one_of_them_or_needs_a_package():
    nowhere = {name: found for name in every() if len(found := refused(named(name))) == len(TRIED)}
    assert [name for name, found in nowhere.items() if "not installed" not in found[FIRST]] == []


def test_the_file_of_capabilities_has_every_method():
    known = capabilities.known().keys()
    assert known == set(every()), "methods/capabilities.json is stale: python -m bench.contract.probe"


@pytest.mark.slow
@pytest.mark.parametrize("name", every())
def test_the_file_of_capabilities_says_what_is_found(
    name: str, case_of: Callable[[str, str], Case], outcomes: dict[tuple[str, str], list[Outcome]]
):
    without = refused(named(name))
    family = next((family for family in TRIED if family not in without), None)
    if family is None:
        assert "not installed" in without[FIRST]  # what it can do was found where it is
        return
    seen = {outcome.name: outcome for outcome in outcomes.get((name, family), [])}
    found = probe(case_of(name, family), seen)
    assert found == capabilities.known()[name], "methods/capabilities.json is stale: python -m bench.contract.probe"


def test_check_runs_all_clauses(tiny_llama: str):
    found = contract.check(named("prompt"), tiny_llama)
    assert [outcome.name for outcome in found] == [clause.__name__ for clause in contract.CLAUSES]
    assert not any(outcome.broken for outcome in found)
