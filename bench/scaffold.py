"""`tunebench new-method NAME`: write a method that works, its test and a page about it, as a place to start from."""

import argparse
import re
import sys
from collections.abc import Iterable
from keyword import iskeyword
from pathlib import Path
from string import Template

from bench.method import BASE, ENTRY_POINTS, discover
from bench.paths import methods_dir

METHOD = Template('''"""$cls: train a vector that is added to the output of every linear layer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.method import Context, Method, register

if TYPE_CHECKING:
    from torch import nn


@register
@dataclass
class $cls(Method):
    """$cls: train a vector that is added to the output of every linear layer.

    A place to start from: replace it by your method, and say here in which paper it stands.
    """

    name: str = "$name"
    learning_rate: float = 3e-3
    scale: float = 1.0  # every field is a setting on the command line: method.scale=2

    def adapt(self, model: "nn.Module", context: Context) -> "nn.Module":
        """Give every linear layer but the head a vector; the base comes frozen and stays so."""
        import torch
        from torch import nn
        from transformers.pytorch_utils import Conv1D  # GPT-2's name for a linear layer

        def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> torch.Tensor:
            return out + self.scale * layer.shift.to(out.dtype)

        for layer in list(model.base_model.modules()):
            if isinstance(layer, nn.Linear | Conv1D):
                width = layer.nf if isinstance(layer, Conv1D) else layer.out_features
                layer.shift = nn.Parameter(torch.zeros(width, device=layer.weight.device))
                layer.register_forward_hook(add)
        return model

    def errors(self) -> list[str]:
        """The scale."""
        found = super().errors()
        if self.scale <= 0:
            found.append(f"method.scale must be > 0, got {self.scale:g}")
        return found
''')

TEST = Template('''"""The contract over the method `$name`, and what is its own."""

import pytest

from bench import contract
from $package.$module import $cls


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert", "t5"])
def test_contract(family, tmp_path):
    outcomes = contract.check($cls(), contract.tiny_model(tmp_path, family))
    assert [str(outcome) for outcome in outcomes if outcome.broken] == []


def test_errors_name_their_key():
    assert $cls(scale=0).errors() == ["method.scale must be > 0, got 0"]
''')

PAGE = Template("""# $cls

What trains: a vector that is added to the output of every linear layer. Everything else stays as it is.

Paper: authors, title, year, arXiv id.

| Setting | Default | Meaning |
| --- | --- | --- |
| `method.scale` | 1 | factor of the vector |
| `method.learning_rate` | 0.003 | where it comes from: a sweep, the paper |

When to take it: in one sentence. What it cannot do: `tunebench check method=$name`.

```
tunebench run method=$name method.scale=2
tunebench sweep method=lora,$name
```
""")


def main(argv: list[str]) -> int:
    """Write `FOLDER/NAME.py`, `FOLDER/NAME.md` and `tests/methods/test_NAME.py`; 2 if that cannot be done."""
    parser = argparse.ArgumentParser(prog="tunebench new-method", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="lower-case letters, digits and '-'")
    parser.add_argument(
        "--folder", type=Path, default=Path("methods"), help="the package it goes into (default: methods)"
    )
    given = parser.parse_args(argv)
    name, folder = given.name, given.folder.resolve()
    module = name.replace("-", "_")
    files = {
        folder / f"{module}.py": METHOD,
        folder.parent / "tests" / "methods" / f"test_{module}.py": TEST,
        folder / f"{module}.md": PAGE,
    }
    error = _refuse(name, given.folder, files)
    if error:
        print(f"tunebench new-method: {error}", file=sys.stderr)
        return 2
    words = {
        "name": name,
        "module": module,
        "package": folder.name,
        "cls": "".join(part.capitalize() for part in name.split("-")),
    }
    for file, template in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(template.substitute(words), encoding="utf-8")
        print(f"wrote {file}")
    steps = [f"tunebench check method={name}", f"tunebench sweep method=lora,{name}"]
    if folder != methods_dir().resolve():  # known by an entry point alone
        entry = [f'[project.entry-points."{ENTRY_POINTS}"]', f'{name} = "{folder.name}.{module}"']
        steps = ["in pyproject.toml:", *entry, "pip install -e .", *steps]
    print("next: " + "\n      ".join(steps))
    return 0


def _refuse(name: str, folder: Path, files: Iterable[Path]) -> str | None:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or name == BASE or iskeyword(name):
        return f"{name!r} cannot name a method; use lower-case letters, digits and '-', beginning with a letter"
    if name in discover():
        return f"there is a method {name!r} already"
    if not folder.is_dir():
        return f"there is no folder {folder}; run this in a checkout, or name your package's folder with --folder"
    existing = next((path for path in files if path.exists()), None)
    return f"{existing} exists already" if existing else None
