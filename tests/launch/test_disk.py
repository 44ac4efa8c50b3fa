"""A disk that is full or read-only: named, survived, and made good by the next launch.

A small file system of one's own is what `unshare` gives an ordinary user; the launches run as processes inside it.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SCRIPT = """
import os, subprocess, sys
sys.path[:0] = [{root!r}, {here!r}]
from pathlib import Path
from bench.config import Launch, Run
from bench.launch import launch
from bench.launch.view import View
from bench.method import get
from bench.records import store

disk = Path({disk!r})
runs = [Run(get(name)(), results=str(disk / "results"), launch=Launch(start="spawn")) for name in ("lora", "prompt")]

def go(worker):
    found = launch(runs, View(sys.stdout), worker="fake_workers:" + worker, preload="fake_workers", grace=2.0)
    for record in found:
        print(record.method, record.status, (record.reason or "").splitlines()[:1])
    print(sum(1 for _ in disk.rglob(store.RECORD)), "records")

def shell(command):
    subprocess.run(command, shell=True, check=True)

if __name__ == "__main__":
    shell(f"mount -t tmpfs -o size=256k tmpfs {{disk}}")
    {body}
"""


def _in_small_disk(tmp_path: Path, body: str) -> list[str]:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script.py"
    indented = body.strip().replace("\n", "\n    ")
    script.write_text(SCRIPT.format(root=str(HERE.parents[1]), here=str(HERE), disk=str(disk), body=indented))
    command = ["unshare", "--map-root-user", "--mount", sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


def test_a_run_that_fills_the_disk_gives_its_room_to_its_record_and_the_rest_goes_on(tmp_path):
    said = _in_small_disk(tmp_path, 'go("fills_the_disk_for_lora")\ngo("ok")')
    first, second = said[: said.index("3 records")], said[said.index("3 records") + 1 :]
    assert "base ok []" in first
    assert "prompt ok []" in first
    assert any(line.startswith("lora crashed ['ended with exit code 1") for line in first)
    assert "2 runs are done already" in second
    assert [line for line in second if line.endswith("ok []")] == ["base ok []", "lora ok []", "prompt ok []"]
    assert second[-1] == "3 records"


def test_a_disk_that_somebody_else_has_filled(tmp_path):
    said = _in_small_disk(
        tmp_path,
        """
go("ok")
shell(f"rm -r {disk}/results/runs/*/lora*; head -c 400k /dev/zero > {disk}/filler || true")
go("ok")
shell(f"rm {disk}/filler")
go("ok")
""",
    )
    parts = " | ".join(said).split(" records | ")
    assert "lora failed" in parts[1]
    assert "No space left on device" in parts[1]
    assert parts[1].endswith("2")
    assert "lora ok []" in parts[2]
    assert said[-1] == "3 records"


def test_a_folder_that_is_read_only(tmp_path):
    said = _in_small_disk(
        tmp_path,
        """
go("ok")
shell(f"rm -r {disk}/results/runs/*/lora*; mount -o remount,ro {disk}")
go("ok")
shell(f"mount -o remount,rw {disk}")
go("ok")
""",
    )
    parts = " | ".join(said).split(" records | ")
    assert "lora failed ['cannot be written: Read-only file system: " in parts[1]
    assert "base ok []" in parts[1]
    assert said[-1] == "3 records"
