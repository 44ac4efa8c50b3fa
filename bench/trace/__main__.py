"""`python -m bench.trace` reads questions, a JSON object a line, and answers each with a line: a trace, or an error."""

import gc
import json
import os
import sys
import warnings
from typing import Any
from unittest.mock import patch

from bench.advise.trace import NotTraceable, Question, Workload

# Libraries that others import where they find them, which take a second or two and which no trace uses.
UNUSED = ("scipy", "sklearn", "boto3", "matplotlib", "torchvision", "torchaudio", "tensorboard")
DATA = ("datasets", "pandas")  # used with preferences alone, where TRL needs them


def main() -> None:
    """Answer until the input ends. Whatever the libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    sys.modules.update(dict.fromkeys((*UNUSED, *DATA)))  # type: ignore[arg-type]  # None: not installed
    import torch

    # bitsandbytes asks for compiled kernels that no trace runs, which loads the whole compiler
    with patch.object(torch, "compile", _as_it_is):
        from bench.trace.training import trace
    gc.collect()
    gc.freeze()  # the libraries' own objects, or every collection would look through them
    for line in sys.stdin:
        asked = json.loads(line)
        question = Question(asked["run"], Workload(**asked["workload"]), asked["device"])
        try:
            answer: dict[str, object] = {"trace": trace(question).to_dict()}
        except NotTraceable as error:
            answer = {"error": str(error)}
        except Exception as error:  # the outermost frame: what cannot be traced has no answer, and says why
            first = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {first}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _as_it_is(function: Any = None, **_: Any) -> Any:
    return function or _as_it_is


if __name__ == "__main__":
    main()
