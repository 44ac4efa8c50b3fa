"""`tunebench check method=NAME`: does a method keep the contract, clause by clause."""

import argparse
import gc
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.app import UserError
from bench.capabilities import HEADERS
from bench.config import Model
from bench.lean import lean_imports
from bench.method import Method, PluginError, did_you_mean

DESCRIPTION = """Run the contract that every method must keep, and print its clauses: kept, unsupported with a reason,
or broken with what was expected, what was seen and where to look. It takes seconds, on tiny random models."""
EXAMPLES = """examples:
  tunebench check method=mine
  tunebench check method=mine method.rank=4 --family llama
  tunebench check method=mine model=hub model.path=Qwen/Qwen3-0.6B model.name=qwen3-0.6b

The exit code is 0 if no clause is broken, 1 if one is, 2 if the command line cannot be run.
"""


def main(argv: Sequence[str]) -> int:
    """Check one method; see the description for the exit codes."""
    options = _parser().parse_args(argv)
    try:
        method, models = _wanted(options.overrides, options.family)
    except (UserError, PluginError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    warnings.filterwarnings("ignore")
    return check(method, models)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tunebench check",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as of tunebench run; method=NAME among them")
    parser.add_argument(
        "--family", metavar="NAME,...", help="of tiny models to try it on (default: llama,gpt2,bert,t5)"
    )
    return parser


def _wanted(overrides: Sequence[str], families: str | None) -> tuple[Method, Sequence[str] | Model]:
    """The method with its settings, and the families of tiny models or the one model to try it on.

    Raises:
        ValueError: with what is wrong, a line each.
    """
    from bench.app.compose import composed
    from bench.models.families import FAMILIES, TRIED

    if not any(word.startswith("method=") for word in overrides):
        raise ValueError("tunebench check: say which method: method=NAME; `tunebench methods` lists them")
    other = [word for word in overrides if not word.lstrip("+~").startswith(("method", "model"))]
    if other:
        raise ValueError(f"tunebench check: {other[0]} has no effect; the contract has its own task and training")
    run = composed(overrides)
    if run.method is None:
        raise ValueError("tunebench check: the untouched base model is no method")
    if errors := run.method.errors():
        raise ValueError("\n".join(errors))
    if any(word.lstrip("+").startswith("model") for word in overrides):
        if families:
            raise ValueError("tunebench check: give --family or model=, not both")
        return run.method, run.model
    names = families.split(",") if families else TRIED
    for name in names:
        if name not in FAMILIES:
            raise ValueError(f"tunebench check: there is no family {name!r}{did_you_mean(name, FAMILIES)}")
    return run.method, names


def check(method: Method, models: Sequence[str] | Model) -> int:
    """Print every clause's outcome on every model; 1 if one is broken."""
    with lean_imports():
        from bench import contract
        from bench.contract.probe import probe

    counts = dict.fromkeys(("kept", "unsupported", "broken"), 0)
    clauses = contract.CLAUSES
    gc.collect()
    gc.freeze()  # every training collects garbage, for which the libraries' own objects need not be looked through
    for name, model in _models(models):
        print(f"{method.title()} on {name}", flush=True)
        try:
            case = contract.Case(method, model)
        except ValueError as error:
            print(f"  unsupported: {str(error).partition(': ')[2]}")
            counts["unsupported"] += 1
            continue
        for outcome in contract.outcomes(case, clauses):
            counts[outcome.word] += 1
            print(f"  {outcome}", flush=True)
        if clauses is contract.CLAUSES and not counts["broken"] and not isinstance(models, Model):
            cells = zip(HEADERS, probe(case).cells(), strict=True)
            print(f"  capabilities: {', '.join(f'{header}: {cell}' for header, cell in cells if cell)}", flush=True)
        clauses = contract.CLAUSES[len(contract.DECLARED) :]  # which say nothing of a model
    print(", ".join(f"{count} {word}" for word, count in counts.items()))
    return 1 if counts["broken"] else 0


def _models(wanted: Sequence[str] | Model) -> Iterator[tuple[str, str | Model]]:
    from bench.models.tiny import tiny_model

    if isinstance(wanted, Model):
        yield wanted.name, wanted
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            yield f"a tiny {name}", tiny_model(Path(folder) / name, name)
