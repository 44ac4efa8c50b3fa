"""What the tests of `tunebench data` share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.clean.cli import main

FILES = Path(__file__).parents[1] / "data" / "formats" / "files"
ROWS = [
    {"instruction": "Name a colour of the sky in the early morning of a clear day.", "output": "It is mostly red."},
    {"instruction": "Name a colour of the SKY in the early morning of a clear day.", "output": "It is mostly  red."},
    {"instruction": "Name a colour of the sky in the early morning of a clear day.", "output": "It is mostly red!"},
    {"instruction": "Whom do I ask?", "output": "Write to jane@example.org."},
    {"instruction": "Say it.", "output": "so be it " * 40},
    {"instruction": "Count to three, please.", "output": "1, 2, 3"},
]


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def alpaca(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
