"""`python -m bench.trace` reads questions, a JSON object a line, and answers each with a line: a trace, or an error."""

import gc
import json
import os
import sys
import warnings

from bench.advise.trace import NotTraceable, Question, Workload
from bench.trace.unused import leave_out, uncompiled


def main() -> None:
    """Answer until the input ends. Whatever the libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    leave_out()
    with uncompiled():
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


if __name__ == "__main__":
    main()
