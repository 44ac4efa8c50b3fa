"""`tunebench check` and the option `--tunebench-method` of pytest: what they print, and how they end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import check, contract
from bench.contract import Case, Outcome

ROOT = Path(__file__).resolve().parents[2]


def test_each_clause_is_a_line_and_the_counts_come_last(capsys: pytest.CaptureFixture[str]):
    assert check.main(["method=prefix", "method.virtual_tokens=4", "--family", "llama,rwkv,bert"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prefix on a tiny llama"
    assert lines[1 : 1 + len(contract.CLAUSES)] == [
        f"  {clause.__name__}: kept"
        if clause.__name__ not in ("checkpointing", "merging")
        else f"  {clause.__name__}: unsupported: {reason}"
        for clause, reason in zip(contract.CLAUSES, [REASONS.get(c.__name__) for c in contract.CLAUSES], strict=True)
    ]
    rwkv = lines.index("prefix on a tiny rwkv")
    assert lines[rwkv + 1] == "  unsupported: rwkv has no keys and values to put in front of the input"
    assert lines[rwkv + 2] == "prefix on a tiny bert"
    assert "  settings: kept" not in lines[rwkv:]
    assert lines[-1].endswith("6 unsupported, 0 broken")


REASONS = {
    "checkpointing": "recomputed keys and values lack the prefix; use train.gradient_checkpointing=false",
    "merging": "mergeable() says that something stays beside the model",
}


def test_a_broken_clause_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def breaks(case: Case) -> Outcome:
        return Outcome("breaks", broken=f"expected rank 8, saw {case.method.rank}; look at x.py:1 (X)")  # type: ignore[attr-defined]

    monkeypatch.setattr(contract, "CLAUSES", (*contract.DECLARED, breaks))
    assert check.main(["method=lora", "method.rank=4", "--family", "llama"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "  breaks: broken: expected rank 8, saw 4; look at x.py:1 (X)",
        "3 kept, 0 unsupported, 1 broken",
    ]


def test_a_model_of_one_s_own_is_taken(tiny_gpt2: str, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(contract, "CLAUSES", (*contract.DECLARED, contract.trainable))
    words = ["method=lora", "model=hub", f"model.path={tiny_gpt2}", "model.name=mine"]
    assert check.main(words) == 0
    assert capsys.readouterr().out.splitlines()[0] == "lora on mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "tunebench check: say which method: method=NAME; `tunebench methods` lists them"),
        (["method=loar"], "method: there is no 'loar'; did you mean 'lora'?"),
        (["method=null"], "method: there is no 'null'; did you mean 'full'?"),
        (["method=lora", "method.rnk=4"], "there is no key 'method.rnk'; did you mean 'method.rank'?"),
        (["method=lora", "method.rank=0"], "method.rank must be >= 1, got 0"),
        (
            ["method=lora", "budget.steps=9"],
            "tunebench check: budget.steps=9 has no effect; the contract has its own task and training",
        ),
        (["method=lora", "--family", "lama"], "tunebench check: there is no family 'lama'; did you mean 'llama'?"),
        (
            ["method=lora", "model=tiny-llama", "--family", "llama"],
            "tunebench check: give --family or model=, not both",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_checked_is_said(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert check.main(words) == 2
    assert capsys.readouterr() == ("", f"{message}\n")


def _pytest(cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    alone = ["-c", os.devnull, "--rootdir", str(cwd), "-p", "no:cacheprovider"]  # no settings of a folder above
    command = [sys.executable, "-m", "pytest", "-p", "bench.pytest_plugin", *alone, *options]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_pytest_runs_the_contract_alone_where_no_path_is_named(tmp_path: Path):
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n", encoding="utf-8")
    done = _pytest(tmp_path, "--tunebench-method", "prompt", "--tunebench-family", "llama,bert", "-k", "not traceable")
    assert done.returncode == 0, done.stdout + done.stderr
    count = 2 * (len(contract.CLAUSES) - 1)
    assert f"{count} passed, 2 deselected" in done.stdout
    assert "methods on models: 2 passed, 0 unsupported with a reason, 0 failed" in done.stdout
    assert "unsupported: a classifier writes nothing (prompt on bert)" in done.stdout
    assert "test_other" not in done.stdout


def test_pytest_shows_a_broken_clause_without_a_traceback(tmp_path: Path):
    (tmp_path / "conftest.py").write_text(
        "from bench import contract\n"
        "def breaks(case):\n"
        "    return contract.Outcome('breaks', broken='expected more, saw less')\n"
        "contract.CLAUSES = (breaks,)\n",
        encoding="utf-8",
    )
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n", encoding="utf-8")
    done = _pytest(tmp_path, "--tunebench-method", "lora", "--tunebench-family", "llama", "test_own.py")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "expected more, saw less" in done.stdout
    assert "Traceback" not in done.stdout
    assert "clauses: 0 kept, 0 unsupported with a reason, 1 failed" in done.stdout


def test_pytest_without_the_option_imports_nothing_heavy(tmp_path: Path):
    (tmp_path / "test_own.py").write_text(
        "import sys\ndef test_own(): assert 'bench.pytest_plugin' in sys.modules and 'torch' not in sys.modules\n",
        encoding="utf-8",
    )
    done = _pytest(tmp_path, "-q")
    assert done.returncode == 0, done.stdout
    assert "tunebench contract" not in done.stdout
