"""Put pages together: the templates' markup with every value escaped, the data, the plots' library, the script.

The page allows itself nothing from outside (its content security policy names the scripts by their hashes), so even a
record that got past the escaping could run no script and load nothing.
"""

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import __version__, capabilities
from bench.records.store import plain
from bench.report.page.settings import page_data
from bench.report.page.summary import sentences
from bench.report.page.vega import library
from bench.report.ranks import RankSummary, summaries
from bench.report.table import Table

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent


@dataclass
class Origin:
    """What a page was made from, for its foot."""

    roots: str
    warnings: list[str] = field(default_factory=list)  # files that could not be used


def html(table: Table) -> str:
    """The table alone as a page, without any script."""
    return _environment().get_template("table.html.jinja").render(table=table, style=_file("style.css")) + "\n"


def report(table: Table, origin: Origin, version: str = "") -> str:
    """The whole report as one HTML file.

    Args:
        table: all that is to be in it.
        origin: where it is from.
        version: of the results; the page then asks the server that it came from whether there are newer ones, and how
            far running sweeps are. Empty for a page that stands alone.
    """
    data = page_data(table) | {"version": version}
    words = [sentences(section) for section in table.sections]
    runs = [
        [[(index, data["runs"][index]["seed"]) for index in row["runs"]] for row in found["rows"]]
        for found in data["sections"]
    ]
    scripts = library(), _script()
    count = len({id(run) for section in table.sections for row in section.rows for run in row.group.runs})
    template = _environment().get_template("report.html.jinja")
    return template.render(
        sections=list(zip(table.sections, words, runs, strict=True)),
        advice=bool(data["advice"]),
        capabilities=_capabilities(table),
        ranks=table.ranks or _ranks(table),
        policy=_policy(scripts, live=bool(version)),
        style=_file("style.css"),
        data=_json(data),
        library=scripts[0],
        script=scripts[1],
        subtitle=_subtitle(table),
        roots=origin.roots,
        warnings=origin.warnings,
        count=count,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _capabilities(table: Table) -> dict[str, Any]:
    """What the methods that were trained here can do; those of imported records are others' own."""
    groups = [row.group for section in table.sections for row in section.rows if not row.group.base]
    names = sorted({run.record.method for group in groups for run in group.runs if run.record.source is None})
    return {"headers": capabilities.HEADERS, "rows": capabilities.table(names), "legend": capabilities.LEGEND}


def _ranks(table: Table) -> list[RankSummary]:
    """Over all tasks that methods have in common; none where they have no two."""
    try:
        return summaries(table)
    except ValueError:
        return []


def _subtitle(table: Table) -> str:
    settings = len(table.sections)
    rows = sum(len(section.rows) for section in table.sections)
    return f"{rows} row{'s' if rows != 1 else ''} in {settings} setting{'s' if settings != 1 else ''}"


def _policy(scripts: Sequence[str], live: bool) -> str:
    hashes = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    connect = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def _json(data: Any) -> str:
    """JSON that can stand in a script element: nothing in it ends the element or begins another."""
    text = json.dumps(plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)


@functools.cache
def _script() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((HERE / "script").glob("*.js")))


@functools.cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
