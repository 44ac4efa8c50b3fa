"""`tunebench export`: what a run trained, as a folder that peft or transformers loads by itself."""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from bench.records.named import RESULTS
from bench.report.arguments import command
from bench.trained.find import Finished, finished

DTYPES = ("float32", "bfloat16", "float16")
DESCRIPTION = """Write what a run trained as a standard folder, with a README of what the run's record knows: an adapter
for peft's PeftModel.from_pretrained, or the whole model, merged, for transformers' from_pretrained."""
EXAMPLES = f"""RUN is a run's folder, its record.json, or its id below {RESULTS}, of which a part is enough.

examples:
  tunebench export lora-tiny-llama-pydoc-s0 --adapter my-adapter
  tunebench export results/runs/nvidia-l40s/qlora-llama-3.2-1b-gsm8k-s0-0a1b2c3d --merge my-model
  tunebench export full-qwen3-0.6b --merge my-model --dtype bfloat16      that run with launch.keep_model=true

exit code: 0 written, 2 it cannot be written (no weights; a method that is no adapter, or cannot be merged)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(argv)
    folder = options.adapter or options.merge
    try:
        found = finished(options.run)
        if options.dtype and options.adapter:
            raise ValueError("--dtype is for --merge; an adapter is written as it was trained")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise ValueError(f"{folder} exists; name a folder that is new or empty")
        notes = _write(found, folder, options)
    except (ValueError, OSError) as error:
        print(f"tunebench export: {error}", file=sys.stderr)
        return 2
    for note in notes:
        print(f"Note: {note}.")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(
        f"{folder}: {found.record.run_id} as {'an adapter' if options.adapter else 'a model'}, {size / 2**20:,.1f} MiB"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command("export", DESCRIPTION, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="the run: its folder, record.json, id, or a part of the id")
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--adapter", type=Path, metavar="DIR", help="write the adapter alone, for peft")
    form.add_argument("--merge", type=Path, metavar="DIR", help="write the whole model, for transformers")
    words = "of the merged weights (default: that of the run's base; float32 where the base's own weights trained)"
    parser.add_argument("--dtype", choices=DTYPES, default="", help=words)
    return parser


def _write(found: Finished, folder: Path, options: argparse.Namespace) -> list[str]:
    from bench.trained import write

    warnings.simplefilter("ignore", FutureWarning)  # of the libraries among themselves
    return write.adapter(found, folder) if options.adapter else write.whole(found, folder, options.dtype)
