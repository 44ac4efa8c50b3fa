"""`tunebench status`: how far the sweeps are that run on a folder of results, from another terminal."""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.launch.live import render
from bench.launch.progress import Progress
from bench.launch.status import FOLDER, sweeps

INTERVAL = 2.0  # seconds between two looks with --watch


def main(arguments: Sequence[str]) -> int:
    """Show them once, or until they have ended; returns 0."""
    parser = argparse.ArgumentParser(
        prog="tunebench status",
        description="How far the sweeps are that run on a folder of results, whatever launched them, wherever it runs.",
    )
    parser.add_argument("results", nargs="?", default="results", type=Path, help="the folder of results (results)")
    parser.add_argument("--watch", action="store_true", help="go on showing it until the last sweep has ended")
    parser.add_argument("--json", action="store_true", help="as JSON lines, one for each sweep")
    options = parser.parse_args([argument.removeprefix("results=") for argument in arguments])
    console = Console()
    found = look(options.results)
    if options.json:
        for name, progress, alive in found:
            print(json.dumps({"hardware": name, "alive": alive} | _plain(progress)))
    elif options.watch and console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(_shown(found, options.results, console.width), refresh=True)
                if not any(alive for _, _, alive in found):
                    break
                time.sleep(INTERVAL)
                found = look(options.results)
    else:
        console.print(_shown(found, options.results, console.width))
    return 0


def _plain(progress: Progress) -> dict[str, Any]:
    """What means something outside this process: no clock's reading."""
    data = asdict(progress) | {"queued": progress.queued, "left_s": progress.left_s()}
    data["rows"] = [{key: row[key] for key in row if key not in ("started", "_since")} for row in data["rows"]]
    return data


def look(results: Path) -> list[tuple[str, Progress, bool]]:
    """Every sweep below `results`: the hardware's folder, how far it is, whether it is alive."""
    folders = sorted((results / "runs").glob(f"*/{FOLDER}"))
    return [(folder.parent.name, progress, alive) for folder in folders for _, progress, alive in sweeps(folder)]


def _shown(found: Sequence[tuple[str, Progress, bool]], results: Path, width: int) -> Text:
    """The sweeps one below the other, each with its command."""
    console = Console(width=width)
    if not found:
        return Text(f"no sweep runs on {results}; `tunebench table {results}` shows what is done")
    with console.capture() as capture:
        for name, progress, alive in found:
            console.print(Text(f"{name}: {progress.command}", style="cyan"))
            if alive:
                console.print(render(progress, width))
            else:
                done = progress.before + sum(progress.ended.values())
                text = f"ended without a word, {done} of {progress.before + progress.total} done; "
                console.print(Text(text + "type the command again to go on", style="yellow"))
    return Text.from_ansi(capture.get())
