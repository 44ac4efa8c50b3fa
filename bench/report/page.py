"""A table as one HTML page that needs nothing else: no script, no font, no other file."""

from html import escape

from bench.report.ranks import RankSummary
from bench.report.table import Row, SectionTable, Table

STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --back: #fff; --line: #d5d9de; --faint: #5b6470; --best: #e3f1e5; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6ea; --back: #15171a; --line: #383d44; --faint: #9aa4b0; --best: #1f3a26; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto;
  max-width: 90rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); }
th:first-child, td:last-child, thead th:last-child { text-align: left; }
td:last-child { white-space: normal; min-width: 8rem; }
tbody th { font-weight: 600; }
tr.base { color: var(--faint); } tr.failed td { color: var(--faint); }
td.best { background: var(--best); font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
ul { font-size: .85rem; color: var(--faint); padding-left: 1.2rem; }
"""


def html(table: Table) -> str:
    """The whole page."""
    sections = "\n".join([*map(_section, table.sections), *map(_ranks, table.ranks)])
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>tunebench</title>
<style>{STYLE}</style>
</head>
<body>
<h1>tunebench</h1>
{sections}
</body>
</html>
"""


def _section(section: SectionTable) -> str:
    titles = ["method", *(column.header for column in section.shown), "n", "status"]
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    rows = "\n".join(_row(section, row) for row in section.rows)
    facts = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in section.caption.items())
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in section.notes)
    return f"""<section>
<h2>{escape(section.title)}</h2>
<div class="wide">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<dl>
{facts}
</dl>
<ul>
{notes}
</ul>
</section>"""


def _ranks(summary: RankSummary) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in summary.headers())
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in summary.rows()
    )
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in summary.notes())
    return f"""<section>
<h2>Ranks over tasks · {escape(summary.title)}</h2>
<div class="wide">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
<ul>
{notes}
</ul>
</section>"""


def _row(section: SectionTable, row: Row) -> str:
    kind = "base" if row.group.base else "method" if row.group.ok else "failed"
    cells = []
    for column in section.shown:
        cell = row.cells[column.key]
        best = ' class="best"' if cell.best else ""
        cells.append(f"<td{best}>{escape(cell.text())}</td>")
    ends = f"<td>{row.seeds}</td><td>{escape(row.outcome)}</td>"
    return f'<tr class="{kind}"><th scope="row">{escape(row.label)}</th>{"".join(cells)}{ends}</tr>'
