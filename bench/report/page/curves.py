"""Loss curves from steps.jsonl: the mean over the seeds, and the smallest and largest of them, at each step."""

from pathlib import Path
from statistics import fmean
from typing import Any

from bench.records.store import STEPS, DamagedRecord, read_lines
from bench.report.sections import Group

POINTS = 200  # of a curve on the page; longer ones are averaged over neighbouring steps
Curve = dict[str, list[float]]


def curve(group: Group) -> Curve | None:
    """The curve of a configuration, or None if none of its runs wrote any steps.

    Returns:
        Columns of equal length: `steps`; `tokens` (non-padding) and `seconds` (of step time) until then, means over the
        seeds; `mean`, `low`, `high`: the loss in nats, over the seeds. It ends where the first of the seeds ends.
    """
    runs = [run for run in (_cumulated(each.folder) for each in group.measured if each.folder) if run]
    if not runs:
        return None
    together = [list(points) for points in zip(*runs, strict=False)]
    columns: Curve = {name: [] for name in ("steps", "tokens", "seconds", "mean", "low", "high")}
    width = -(-len(together) // POINTS)
    for start in range(0, len(together), width):
        points = together[start : start + width]
        losses = [fmean(point[seed][3] for point in points) for seed in range(len(runs))]
        for place, name in enumerate(("steps", "tokens", "seconds")):
            columns[name].append(round(fmean(seen[place] for seen in points[-1]), 3))
        for name, value in (("mean", fmean(losses)), ("low", min(losses)), ("high", max(losses))):
            columns[name].append(round(value, 5))
    return columns


def _cumulated(folder: Path) -> list[tuple[float, float, float, float]]:
    """Step, tokens and seconds so far, and loss, of one run; until the first loss that is no finite number."""
    try:
        lines = read_lines(folder / STEPS)
    except (FileNotFoundError, DamagedRecord):
        return []
    found: list[tuple[float, float, float, float]] = []
    tokens = seconds = 0.0
    for line in lines:
        loss = _number(line.get("loss"))
        if loss is None:
            break
        tokens += _number(line.get("tokens")) or 0
        seconds += _number(line.get("seconds")) or 0
        found.append((_number(line.get("step")) or len(found) + 1, tokens, seconds, loss))
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None
