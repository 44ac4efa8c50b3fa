"""Every column is explained where readers look."""

import re
from collections.abc import Callable
from pathlib import Path

from bench.evaluate.metrics import REGISTRY
from bench.records.schema import Parameters, Record
from bench.report.columns import COSTS, FRONT, METRICS, PARAMETERS, QUALITY, TRIALS
from bench.report.table import build

README = Path(__file__).parents[2] / "results" / "README.md"


def explained() -> dict[str, str]:
    """Heading by key, from the table in results/README.md."""
    rows = re.findall(
        r"^\| `([a-zA-Z0-9_]+)` \| ([^|]+) \| [^|]+ \|$", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {key: heading.strip() for key, heading in rows}


def test_the_readme_explains_every_column_under_its_heading():
    found = explained()
    fixed = {column.key: column.title for column in (*PARAMETERS, *QUALITY, *COSTS, TRIALS, FRONT)}
    metrics = {f"test_{name}": title for name, title in METRICS.items()}
    assert found == fixed | metrics


def test_a_model_without_parameters_has_no_share(make: Callable[..., Record]) -> None:
    record = make()
    record.parameters = Parameters(trainable=0, total=0)
    row = build([record]).sections[0].rows[0]
    assert (row.cells["trainable_parameters"].value, row.cells["trainable_percent"].value) == (0, None)


def test_every_metric_of_the_harness_has_a_heading():
    assert set(REGISTRY) <= METRICS.keys()
