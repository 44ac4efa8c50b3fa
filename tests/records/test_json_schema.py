"""The published JSON Schema says what the dataclasses say."""

import json
import math
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bench.records import json_schema, store
from bench.records.schema import Evaluation, Metric, Phase, Quantiles, Record, Scores, Status, Training

PUBLISHED = Path(__file__).parents[2] / "results" / "record.schema.json"


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Any]:
    record = Record(
        "id", "group", "lora", "m", "t", 0, Status.OK, "2026-01-01", "2026-01-01", {"seed": 0},
        phases=[Phase("load", 0.5, "glibc", 1)],
        evaluation=Evaluation(Scores(3, math.nan, {"accuracy": Metric(0.5, 1, True)})),
        training=Training(
            10, 2, 160, 1000, 100, 1.5, Quantiles(0.1, 0.09, 0.2), 666.0, 66.0, 2.0, 1.0, 1e-3, "adamw", "float32",
            "float32", "labelled",
        ),
    )  # fmt: skip
    data: dict[str, Any] = json.loads(store.write(record, tmp_path).read_text())
    return data


def test_the_published_file_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == json_schema.text(), (
        "run: python -m bench.records.json_schema > results/record.schema.json"
    )


def test_the_module_prints_it() -> None:
    command = [sys.executable, "-m", "bench.records.json_schema"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PUBLISHED.parents[1])
    assert printed.stdout == json_schema.text()
    assert printed.stderr == ""


def test_a_written_record_fits(written: dict[str, Any]) -> None:
    schema = json_schema.build()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(written, schema)


@pytest.mark.parametrize(
    "change",
    [{"seed": "0"}, {"status": "fine"}, {"schema_version": 99}, {"phases": [{"name": "load"}]}, {"config": None}],
)
def test_what_the_reader_refuses_does_not_fit(written: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written | change, json_schema.build())


def test_required_and_described() -> None:
    schema = json_schema.build()
    assert set(schema["properties"]) == {field.name for field in fields(Record)}
    assert "run_id" in schema["required"]
    assert "traceback" not in schema["required"]
    assert schema["properties"]["training"] == {"anyOf": [{"$ref": "#/$defs/Training"}, {"type": "null"}]}
    assert schema["$defs"]["Metric"]["description"].startswith("A metric's value")
    assert schema["$defs"]["Training"]["properties"]["tokens"] == {
        "type": "integer",
        "description": "non-padding tokens seen",
    }
