"""Imports without what nobody asks of them: it is missing while they last, and not a moment longer."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.lean import OPTIONAL, lean_imports

ROOT = Path(__file__).parents[1]


def _import_what_is_missing() -> None:
    with lean_imports():
        assert not gc.isenabled()
        raise ImportError


def test_what_is_hidden_is_there_again_also_after_an_error():
    before, compile_now = {name: sys.modules.get(name) for name in OPTIONAL}, torch.compile
    with pytest.raises(ImportError):
        _import_what_is_missing()
    assert {name: sys.modules.get(name) for name in OPTIONAL} == before
    assert None not in [sys.modules.get(name, "not loaded") for name in OPTIONAL]
    assert torch.compile is compile_now
    assert gc.isenabled()


def test_what_is_decorated_meanwhile_is_compiled_when_it_is_called():
    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    with lean_imports():

        @torch.compile(backend=backend)
        def twice(x):
            return 2 * x

        alone = torch.compile(lambda x: x + 1, backend=backend)
    assert seen == []
    assert twice(torch.ones(2)).tolist() == [2.0, 2.0]
    assert len(seen) == 1
    assert twice(torch.zeros(2)).tolist() == [0.0, 0.0]
    assert len(seen) == 1, "compiled once"
    assert alone(torch.ones(2)).tolist() == [2.0, 2.0]


def test_a_worker_starts_without_them_and_can_use_them():
    code = (
        "import bench.launch.preload, sys\n"
        "assert not {'scipy', 'sklearn', 'torch._inductor.compile_fx'} & sys.modules.keys()\n"
        "from sklearn.metrics import f1_score\n"
        "print(f1_score([0, 1], [0, 1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("1.0\n", 0), done.stderr
