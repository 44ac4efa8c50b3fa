"""Where the time of a whole sweep goes, by py-spy: `python -m tests.benchmarks.profile_sweep [OVERRIDE ...]`.

The stacks of all processes are sampled while they compute; each sample counts for the Python function that it is in,
and for the first of the project's own functions above it.
"""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.command import ROOT, environment

RATE = 20  # samples a second
LINES = 12


def own(frames: list[str]) -> str:
    """The innermost function of the project's."""
    return next((frame for frame in reversed(frames) if "(bench/" in frame), "none of the project's")


def show(title: str, counts: Counter[str]) -> None:
    """The largest of the counts, in seconds and as shares."""
    total = counts.total()
    largest = counts.most_common(LINES)
    rest = total - sum(count for _, count in largest)
    print(f"\n{title}, {total / RATE:,.0f} s of computing")
    for name, count in [*largest, ("the rest", rest)]:
        print(f"{name:80} {count / RATE:7.1f} s {count / total:6.1%}")


def report(stacks: Iterable[str]) -> None:
    """Print where the samples are; a line has its frames from the outermost, and how many there were."""
    innermost, ours = Counter[str](), Counter[str]()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" for frame in stack.split(";") if frame.endswith(")")]
        if frames:
            innermost[frames[-1]] += int(count)
            ours[own(frames)] += int(count)
    show("In which function", innermost)
    show("On behalf of which function of the project", ours)


def main(*overrides: str) -> None:
    """Carry out a sweep with an empty cache, and print where its time went."""
    spy = shutil.which("py-spy", path=Path(sys.executable).parent)
    if spy is None:
        raise SystemExit("py-spy is not installed: pip install py-spy")
    with TemporaryDirectory() as name:
        folder = Path(name)
        sweep = [sys.executable, "-m", "bench", "sweep", f"results={folder / 'results'}", *overrides]
        options = ["--subprocesses", "--nonblocking", "--rate", str(RATE), "--format", "raw"]
        record = [spy, "record", *options, "-o", str(folder / "stacks"), "--", *sweep]
        subprocess.run(record, cwd=ROOT, env=environment(folder), check=True)
        report((folder / "stacks").read_text().splitlines())


if __name__ == "__main__":
    main(*sys.argv[1:])
