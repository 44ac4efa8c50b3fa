"""Write a table down as Markdown, CSV, LaTeX or JSON; `bench.report.page` writes HTML.

Tables for people show rounded values in handy units with margins and marks; CSV and JSON hold plain numbers in
the units of the record.
"""

import csv
import io
import json
import operator
import re
from collections.abc import Callable
from typing import Any

from bench.records.store import plain
from bench.report.cells import DISTURBED, FALLBACK, TIED, Cell
from bench.report.columns import Column
from bench.report.ranks import RankSummary
from bench.report.sections import HEADINGS
from bench.report.table import Row, SectionTable, Table
from bench.report.visible import visible

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    '"': r"\textquotedbl{}", "|": r"\textbar{}", "±": r"$\pm$", TIED: r"$\approx$", DISTURBED: r"$\dagger$",
    FALLBACK: r"\textsuperscript{v}", "·": r"$\cdot$", "…": r"\ldots{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "š": r"\v{s}",
}  # fmt: skip
FIXED = (*HEADINGS, "method", "group", "seeds", "status", "reason")  # of every row of CSV


def markdown(table: Table) -> str:
    """GitHub-flavoured Markdown, one heading and one table for each section."""
    return "\n".join([*map(_markdown_section, table.sections), *map(_markdown_ranks, table.ranks)])


def _markdown_section(section: SectionTable) -> str:
    lines = [f"### {escaped(section.title)}", ""]
    lines.append("| " + " | ".join(map(escaped, headers(section))) + " |")
    lines.append("| --- |" + " ---: |" * (len(section.shown) + 1) + " --- |")
    for row in section.rows:
        cells = [
            f"**{escaped(cell.text())}**" if cell.best else escaped(cell.text()) for cell in shown_cells(section, row)
        ]
        lines.append("| " + " | ".join([escaped(row.label), *cells, str(row.seeds), escaped(row.outcome)]) + " |")
    lines += ["", *(f"- **{name}**: {escaped(text)}" for name, text in section.caption.items())]
    return "\n".join([*lines, "", *(f"- {escaped(note)}" for note in section.notes), ""])


def _markdown_ranks(summary: RankSummary) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(map(escaped, cells)) + " |"

    lines = [f"### {escaped(f'Ranks over tasks · {summary.title}')}", "", line(summary.headers())]
    lines += ["| --- |" + " ---: |" * (len(summary.headers()) - 1), *map(line, summary.rows())]
    return "\n".join([*lines, "", *(f"- {escaped(note)}" for note in summary.notes()), ""])


def headers(section: SectionTable) -> list[str]:
    """The titles of all columns that a table for people shows."""
    return ["method", *(column.header for column in section.shown), "n", "status"]


def shown_cells(section: SectionTable, row: Row) -> list[Cell]:
    """The cells of `row` below the section's shown columns."""
    return [row.cells[column.key] for column in section.shown]


def escaped(text: str) -> str:
    """Text in which Markdown reads no markup."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", text)


def comma_separated(table: Table) -> str:
    """CSV with one row for each configuration: plain numbers in the units that the headers name.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    keys = {column.key: column for section in table.sections for column in section.columns}
    fields = [*FIXED]
    for key, column in keys.items():
        if key in FIXED:  # asked for, and there anyway
            continue
        fields += [key] if column.exact else [key, f"{key}_ci95_low", f"{key}_ci95_high"]
        fields += [f"{key}_p", f"{key}_p_adjusted"] if column.quality else []
    fields += ["best_in", "tied_in", "disturbed"]
    fields += ["dominated_by"] if any(row.front for section in table.sections for row in section.rows) else []
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(fields)
    empty, in_order = dict.fromkeys(fields, ""), operator.itemgetter(*fields)
    for section in table.sections:
        for row in section.rows:
            writer.writerow(in_order(empty | _csv_row(section, row)))
    return file.getvalue()


def _csv_row(section: SectionTable, row: Row) -> dict[str, Any]:
    cells = [cell for cell in row.cells.values() if not cell.fallback and cell.column.key not in FIXED]
    texts = {key: section.section.heading(key, row.group) for key in HEADINGS}
    texts |= {"method": row.label, "group": row.group.records[0].group, "status": row.status, "reason": row.reason}
    texts["best_in"] = " ".join(cell.column.key for cell in cells if cell.best)
    texts["tied_in"] = " ".join(cell.column.key for cell in cells if cell.tied)
    texts["dominated_by"] = "; ".join(row.dominated_by)
    found: dict[str, Any] = {key: _harmless(text) for key, text in texts.items()}
    found |= {"seeds": row.seeds, "disturbed": int(any(cell.disturbed for cell in cells))}
    for cell in cells:
        key = cell.column.key
        if cell.value is not None:
            found[key] = _number(cell.value)
        elif cell.words:
            found[key] = _harmless(cell.words)
        if cell.interval is not None:
            found |= {f"{key}_ci95_low": cell.interval.low, f"{key}_ci95_high": cell.interval.high}
        if cell.p is not None:
            found |= {f"{key}_p": cell.p, f"{key}_p_adjusted": cell.p_adjusted}
    return found


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _harmless(text: str) -> str:
    return visible(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)


def latex(table: Table) -> str:
    """LaTeX, one floating table for each section; it needs the package booktabs."""
    made = [*map(_latex_section, table.sections), *map(_latex_ranks, table.ranks)]
    return "% \\usepackage{booktabs}\n" + "\n".join(made)


def _latex_section(section: SectionTable) -> str:
    facts = ". ".join(f"{name}: {text}" for name, text in section.caption.items())
    body = []
    for row in section.rows:
        cells = [_tex(cell.text()) for cell in shown_cells(section, row)]
        marked = zip(cells, shown_cells(section, row), strict=True)
        cells = [rf"\textbf{{{text}}}" if cell.best else text for text, cell in marked]
        body.append([_tex(row.label), *cells, str(row.seeds), _tex(row.outcome)])
    alignment = f"l{'r' * (len(section.shown) + 1)}l"
    caption = f"{section.title}. {facts}."
    return _latex_float(caption, alignment, [*map(_tex, headers(section))], body, section.notes)


def _latex_ranks(summary: RankSummary) -> str:
    titles = [*map(_tex, summary.headers())]
    body = [[*map(_tex, row)] for row in summary.rows()]
    caption = f"Ranks over tasks · {summary.title}."
    return _latex_float(caption, f"l{'r' * (len(titles) - 1)}", titles, body, summary.notes())


def _latex_float(caption: str, alignment: str, head: list[str], body: list[list[str]], notes: list[str]) -> str:
    def line(cells: list[str]) -> str:
        return "    " + " & ".join(cells) + r" \\"

    return "\n".join([
        r"\begin{table}",
        r"  \centering\small",
        rf"  \caption{{{_tex(caption)}}}",
        rf"  \begin{{tabular}}{{{alignment}}}",
        r"    \toprule",
        line(head),
        r"    \midrule",
        *map(line, body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"  \par\smallskip\footnotesize " + " ".join(map(_tex, notes)),
        r"\end{table}",
        "",
    ])  # fmt: skip


def _tex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def as_json(table: Table) -> str:
    """JSON: every section with its caption, columns, rows and notes; values in the units of the record."""
    sections = [
        {
            "title": section.title,
            **{key: section.section.heading(key) for key in HEADINGS},
            "caption": section.caption,
            "columns": [_json_column(column) for column in section.columns],
            "rows": [_json_row(row) for row in section.rows],
            "notes": section.notes,
        }
        for section in table.sections
    ]
    whole = {"sections": sections, "ranks": [_json_ranks(summary) for summary in table.ranks]}
    return json.dumps(plain(whole), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _json_column(column: Column) -> dict[str, Any]:
    return {"key": column.key, "title": column.title, "better": column.better}


def _json_row(row: Row) -> dict[str, Any]:
    values = {
        key: {
            "value": cell.words if cell.value is None else cell.value,
            "ci95": cell.interval and list(cell.interval),
            "best": cell.best,
            "tied": cell.tied,
            "p": cell.p,
            "p_adjusted": cell.p_adjusted,
            "disturbed": cell.disturbed,
        }
        for key, cell in row.cells.items()
        if cell.text() and not cell.fallback
    }
    group = visible(row.group.records[0].group)
    seeds = [run.record.seed for run in row.group.measured]
    head: dict[str, Any] = {
        "method": row.label,
        "group": group,
        "seeds": seeds,
        "status": row.status,
        "reason": row.reason,
    }
    head |= {"trials": row.trials, "pareto_front": row.front, "dominated_by": row.dominated_by}
    return head | {"values": values}


def _json_ranks(summary: RankSummary) -> dict[str, Any]:
    found = summary.ranking
    tasks = [{"task": t.task, "column": t.column.key, "values": t.values, "ranks": t.ranks} for t in summary.tasks]
    return {
        "title": summary.title,
        "average_ranks": dict(zip(found.methods, found.ranks, strict=True)),
        "friedman_p": found.p,
        "critical_difference": found.critical_difference,
        "not_told_apart": found.groups,
        "tasks": tasks,
        "notes": summary.notes(),
    }


def html(table: Table) -> str:
    """The table alone as a page, without any script."""
    from bench.report.page import render  # imported late: other formats start faster without it

    return render.html(table)


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "html": html,
    "latex": latex,
    "json": as_json,
}
