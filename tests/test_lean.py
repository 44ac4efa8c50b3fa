"""Imports without what nobody asks of them: it is missing while they last, and not a moment longer."""

import gc
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import lean
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


NAMES = """
import sys
from bench import lean
for each in sys.argv[1:]:
    getattr(lean, each)()
import transformers, transformers.models
import transformers.utils.import_utils as utils
again = utils.define_import_structure(transformers.__path__[0] + "/models")
print(sum(map(len, again.values())), sorted(dir(transformers)), transformers.LlamaConfig().model_type)
"""


def _names(cache: Path, *calls: str) -> str:
    environment = {**os.environ, "TUNEBENCH_CACHE": str(cache)}
    code = [sys.executable, "-c", NAMES, *calls]
    return subprocess.run(code, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def test_transformers_has_all_its_models_without_reading_them(tmp_path: Path) -> None:
    whole = _names(tmp_path)
    assert not list(tmp_path.rglob("*"))
    assert _names(tmp_path, "remember_models") == whole
    [kept] = (tmp_path / "imports").iterdir()
    found = pickle.loads(kept.read_bytes())
    del found["llama"]
    kept.write_bytes(pickle.dumps(found))
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero"):
        _names(tmp_path, "remember_models")  # it is what is kept that counts


def test_a_folder_is_read_again_only_where_what_was_kept_is_damaged_or_nothing_can_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []

    def remembered() -> object:
        found = lean._remembered(tmp_path, Path(__file__), lambda folder: reads.append(folder) or {"names": [1]})
        return pickle.loads(found), len(reads)

    monkeypatch.setenv("TUNEBENCH_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    assert [remembered(), remembered()] == [({"names": [1]}, 1)] * 2
    [kept] = (tmp_path.parent / f"{tmp_path.name}-cache" / "imports").iterdir()
    kept.write_bytes(b"damaged")
    assert [remembered(), remembered()] == [({"names": [1]}, 2)] * 2
    monkeypatch.setenv("TUNEBENCH_CACHE", "")
    assert [remembered(), remembered()] == [({"names": [1]}, 3), ({"names": [1]}, 4)]


def test_what_is_kept_of_a_folder_changes_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "models" / "one").mkdir(parents=True)
    file = tmp_path / "models" / "one" / "modeling.py"
    file.write_text("1")
    reader = tmp_path / "reader.py"
    reader.write_text("")

    def state() -> str:
        return lean._state(tmp_path / "models", reader)

    found = [state()]
    assert state() == found[0]
    file.write_text("12")
    found.append(state())
    for changed in (file, reader):
        os.utime(changed, ns=(1, 1))
        found.append(state())
    assert len(set(found)) == 4


def test_a_worker_starts_without_them_and_can_use_them():
    code = (
        "import bench.launch.preload, sys\n"
        "assert not {'scipy', 'sklearn', 'torch._inductor.compile_fx'} & sys.modules.keys()\n"
        "from sklearn.metrics import f1_score\n"
        "print(f1_score([0, 1], [0, 1]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("1.0\n", 0), done.stderr
