"""The contract: every clause over every registered method, and over variants that take another path."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from bench import contract
from bench.config import Run, to_dict
from bench.contract import Case
from bench.method import Method, discover
from bench.models import checkpoint

Cases = Callable[[str, Method], Case]
METHODS = {name: cls() for name, cls in discover().items()}
VARIANTS = {
    "prefix-random": discover()["prefix"](init="random"),  # type: ignore[call-arg]
    "prompt-vocabulary": discover()["prompt"](init="vocabulary"),  # type: ignore[call-arg]
    "prompt-random": discover()["prompt"](init="random"),  # type: ignore[call-arg]
    "lora-dropout": discover()["lora"](dropout=0.1),  # type: ignore[call-arg]
    "dpo-qlora": discover()["dpo"](adapter=METHODS["qlora"]),  # type: ignore[call-arg]
    "dpo-full": discover()["dpo"](adapter=METHODS["full"], learning_rate=1e-3),  # type: ignore[call-arg]
    "dpo-prompt": discover()["dpo"](adapter=METHODS["prompt"], learning_rate=1e-1),  # type: ignore[call-arg]
}
ALL = METHODS | VARIANTS


@pytest.mark.parametrize("clause", contract.CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", ALL)
def test_on_llama(name: str, clause: Callable[[Case], str | None], case_of: Cases):
    broken = clause(case_of("llama", ALL[name]))
    assert broken is None, broken


@pytest.mark.parametrize("clause", contract.CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_on_gpt2(name: str, clause: Callable[[Case], str | None], case_of: Cases):
    broken = clause(case_of("gpt2", METHODS[name]))
    assert broken is None, broken


ELSEWHERE = """
import json, sys
from pathlib import Path
from safetensors.torch import load_file
from bench.config import from_dict
from bench.contract import Case, logits
from bench.models import checkpoint

far = {}
for folder in Path(sys.argv[1]).iterdir():
    run = from_dict(json.loads((folder / "run.json").read_text()))
    case = Case(run.method, run.model.path)
    base, context = case.base()
    model = checkpoint.reload(base, folder / "checkpoint", run.method, context).eval()
    saved = load_file(folder / "logits.st")["logits"]
    far[folder.name] = (logits(model, case.batch(context)) - saved).abs().max().item()
print(json.dumps(far))
"""


def test_a_checkpoint_computes_the_same_in_another_process(case_of: Cases, tmp_path: Path):
    for name, method in METHODS.items():
        case = case_of("llama", method)
        checkpoint.save(case.trained.model, tmp_path / name / "checkpoint")
        (tmp_path / name / "run.json").write_text(json.dumps(to_dict(Run(method, case.model))))
        save_file({"logits": case.trained.logits()}, tmp_path / name / "logits.st")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    far = json.loads(done.stdout.splitlines()[-1])
    assert far.keys() == METHODS.keys()
    assert all(distance <= 1e-5 for distance in far.values()), far


def test_check_runs_all_clauses(tiny_llama: str):
    outcome = contract.check(METHODS["prompt"], tiny_llama)
    assert [clause.name for clause in outcome] == [clause.__name__ for clause in contract.CLAUSES]
    assert not any(clause.broken for clause in outcome)
