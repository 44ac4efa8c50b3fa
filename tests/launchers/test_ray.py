"""A sweep on a real Ray cluster of two nodes, each with locks of its own as two machines would have."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

STORE = 80_000_000  # bytes; about the least that Ray takes


@pytest.fixture
def cluster(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, list[Path]]]:
    """The address of a cluster, and the folders in which its nodes keep their locks on devices."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    short = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # a Unix socket's path may have 107 characters
    locks = [tmp_path_factory.mktemp(name) for name in ("head", "other")]
    made = Cluster()
    try:
        for folder in locks:
            monkeypatch.setenv("TUNEBENCH_LOCKS", str(folder))
            made.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False, temp_dir=short)
        made.wait_for_nodes()
        monkeypatch.delenv("TUNEBENCH_LOCKS")
        yield made.address, locks
    finally:
        made.shutdown()
        shutil.rmtree(short)
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if short in " ".join(p.info["cmdline"] or [])]
    assert left == []


@pytest.mark.slow
def test_the_runs_of_a_sweep_are_done_on_both_nodes(cluster: tuple[str, list[Path]], sweep, records, tmp_path: Path):
    address, locks = cluster
    done = sweep("hydra/launcher=ray", f"hydra.launcher.ray.init.address='{address}'", "method=lora,prompt")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("2 runs handed to ray; `tunebench status` shows how far they are\n")
    assert [(r["method"], r["status"]) for r in records()] == [("base", "ok"), ("lora", "ok"), ("prompt", "ok")]
    assert [[path.name for path in folder.iterdir()] for folder in locks] == [["cpu-0.lock"]] * 2
    assert done.stdout.count("Records: ") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"results"}
    assert list(Path.cwd().iterdir()) == []  # where the nodes were started
