"""An answer on the terminal: the table of all that could be run, then the recommendation in sentences."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.advise.memory import Estimate
from bench.advise.outlook import Figures, time_evidence
from bench.advise.units import GIB, MIB, MINUTES, SECONDS, hours, size
from bench.report.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

    from bench.advise.advice import Advice
    from bench.advise.recommend import Choice
    from bench.advise.untraced import Rough

HEADINGS = ("  method", "at\nonce", "memory\n{memory}", "time\n{time}", "file", "quality", "verdict")
NUMBERS = (1, 2, 3, 4)  # columns of figures, which end in line
LEAST = 24  # columns of the terminal for the verdict
LITTLE = 0.1  # GiB: less than that is told in MiB


def show(advice: "Advice", console: "Console") -> None:
    """Print the whole answer."""
    from rich.text import Text

    request, card = advice.request, advice.card
    several = f"{request.gpus} x " if request.gpus > 1 else ""
    title = (
        f"{request.model.part.name} · {request.task.part.name}"
        f"{'' if request.task.part.kind in (request.task.part.name, 'auto') else f' ({request.task.part.kind})'}"
        f" · {request.objective} · {several}{card.title}, {size(card.memory_bytes)}"
    )
    console.print(Text(title, style="bold"))
    reasons = _table(advice.answer.choices, advice.answer.best, console)
    _notes([*reasons, *_legend(advice)], console, dim=True)
    best = advice.answer.best
    if best is None:
        traced = any(each.outlook.figures for each in advice.answer.choices)
        nothing = "can be run here" if traced else "has a trace, so nothing is recommended"
        console.print("", Text(f"Nothing that was asked for {nothing}.", style="bold red"), sep="\n")
        _notes([f"{each.text} [{each.evidence}]" for each in advice.relief], console)
        return
    console.print("", Text(f"Recommended: {best.label}", style="bold green"), sep="\n")
    _notes(advice.reasons, console)
    if advice.longest is not None:
        found = advice.longest.figures
        text = f"Longest rows that fit, with {found.rows} at once: {found.seq:,} tokens [{found.memory.evidence}]"
        _notes([f"{text}. What stops longer ones: {advice.longest.stopped_by}."], console)
    console.print("", Text("What would change it", style="bold"), sep="\n")
    _notes(advice.changes, console)
    console.print("", advice.command, sep="\n", soft_wrap=True)


def _table(choices: Sequence["Choice"], best: "Choice | None", console: "Console") -> list[str]:
    """Print the table; returns the reasons that it refers to by their numbers."""
    from rich.style import Style

    from bench.report.grid import GAP, Field, Layout, draw, width_of

    unit, scale = _memory_unit(choices)
    titles = [heading.format(memory=unit, time=_time_unit(choices)[0]) for heading in HEADINGS]
    notes: dict[str, int] = {}
    texts = [_cells(choice, choice is best, scale, _time_unit(choices)[1], notes) for choice in choices]
    widths = [width_of([title, *(row[place] for row in texts)]) for place, title in enumerate(titles)]
    room = console.width - sum(widths[:-1]) - GAP * (len(widths) - 1)
    widths[-1] = min(widths[-1], max(room, LEAST))
    rows = []
    for choice, row in zip(choices, texts, strict=True):
        style = Style(bold=True, color="green") if choice is best else Style(dim=bool(choice.obstacles))
        rows.append([Field(text, style) for text in row])
    columns = [Layout(title, widths[place], place in NUMBERS) for place, title in enumerate(titles)]
    console.print(draw(columns, rows, console), end="")
    return [f"[{number}] {visible(reason)}." for reason, number in notes.items()]


def _memory_unit(choices: Sequence["Choice"]) -> tuple[str, float]:
    """The unit of the column, and how many of it a byte is: MiB where some have next to nothing in GiB."""
    shown = [found.memory.device if isinstance(found, Figures) else found.device for found in _predicted(choices)]
    return ("MiB", 1 / MIB) if any(each.value < LITTLE * GIB for each in shown) else ("GiB", 1 / GIB)


def _time_unit(choices: Sequence["Choice"]) -> tuple[str, float]:
    """The unit of the column, and how many of it an hour is."""
    long = max((found.hours.value for found in _predicted(choices) if isinstance(found, Figures)), default=0.0)
    return ("h", 1.0) if long >= 1 else ("min", MINUTES) if long * MINUTES >= 1 else ("s", SECONDS)


def _predicted(choices: Sequence["Choice"]) -> list["Figures | Rough"]:
    return [found for each in choices if (found := each.outlook.figures or each.outlook.rough)]


def _cells(choice: "Choice", best: bool, memory: float, time: float, notes: dict[str, int]) -> list[str]:
    """A row; the reason why there is no trace goes into `notes`, each once."""
    label = f"{'> ' if best else '  '}{choice.label}{' *' if choice.front else ''}"
    found, instead = choice.outlook.figures, choice.outlook.rough
    if found is None:
        note = f"[{notes.setdefault(choice.outlook.reason, len(notes) + 1)}]"
        if instead is None:
            return [label, "", "", "", "", "", f"not predicted {note}"]
        device = _around(instead.device, memory)
        return [
            label,
            str(instead.rows),
            device,
            "",
            "",
            choice.quality.text,
            f"{instead.verdict} (closed form) {note}",
        ]
    verdict = str(found.verdict)
    against = [text for kind, text in choice.obstacles.items() if kind != "memory"]
    if "hours" in choice.tight:
        against.append("may take too long")
    return [
        label,
        str(found.rows),
        _around(found.memory.device, memory),
        _around(found.hours, time),
        size(found.trace.checkpoint_bytes),
        choice.quality.text,
        "; ".join([verdict, *against]),
    ]


def _around(found: Estimate, scale: float) -> str:
    """A value with the upper end of its interval."""
    digits = 1 if found.high * scale < 1000 else 0
    value, high = (f"{each * scale:,.{digits}f}" for each in (found.value, found.high))
    return f"{value} ≤{high}"


def _legend(advice: "Advice") -> list[str]:
    """Where the figures come from."""
    said = ["Assumed: " + "; ".join(advice.assumptions) + "."]
    figures = [each.outlook.figures for each in advice.answer.choices if each.outlook.figures]
    if figures:
        memory = " and ".join(dict.fromkeys(found.memory.evidence for found in figures))
        time = " and ".join(dict.fromkeys(time_evidence(found) for found in figures))
        said.append(f"Memory and file: {memory}. Time: {time}.")
    if any(each.outlook.rough for each in advice.answer.choices):
        said.append(
            "Closed form: told from the sizes of the model, not traced, with a wider interval; it knows memory alone, "
            "and nothing is recommended by it."
        )
    if _predicted(advice.answer.choices):
        rows = "as given" if advice.request.rows else "as many as fit surely, at least one"
        marks = "*: on the Pareto front of quality, memory and time."
        best = ">: recommended. " if advice.answer.best else ""
        said.append(f"{best}{marks} ≤: upper end of the 95% interval. At once: rows of a micro batch, {rows}.")
    for evidence in dict.fromkeys(each.quality.evidence for each in advice.answer.choices):
        known = [each.quality for each in advice.answer.choices if each.quality.evidence == evidence]
        wheres = dict.fromkeys(quality.where for quality in known if quality.where)
        said += [f"Quality, {evidence}: {where}." for where in wheres]
    if advice.left_out:
        names = ", ".join(advice.left_out)
        said.append(f"Not looked at, as nothing is known of how well they learn (--all does it): {names}.")
    limits = {"hours": hours(advice.request.hours), "checkpoint": size(advice.request.checkpoint_bytes)}
    given = [f"at most {limits['hours']}"] if advice.request.hours else []
    given += [f"a checkpoint of at most {limits['checkpoint']}"] if advice.request.checkpoint_bytes else []
    given += ["one model without an adapter beside it"] if advice.request.must_merge else []
    given += ["several results over one base"] if advice.request.must_share else []
    return said + ([f"Asked for: {', '.join(given)}."] if given else [])


def _notes(notes: Sequence[str], console: "Console", dim: bool = False) -> None:
    from rich.text import Text

    for note in notes:
        lines = textwrap.wrap(note, console.width - 2, subsequent_indent="  ", break_on_hyphens=False)
        wrapped = textwrap.indent("\n".join(lines), "  ")
        console.print(Text(wrapped, style="dim" if dim else ""))
