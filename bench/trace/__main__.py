"""`python -m bench.trace` reads questions, a JSON object a line, and answers each with a line: a trace, or an error.

Its arguments are file descriptors of sockets: at each of them a fork of it does the same, with its imports done.
"""

import gc
import os
import sys
import warnings

from bench.lean import remember_models
from bench.trace.unused import leave_out, leave_out_compiler, leave_out_patterns


def main() -> None:
    """Answer until the input ends. Whatever the libraries print goes to standard error."""
    gc.disable()  # what is imported stays
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.filterwarnings("ignore")
    leave_out()
    leave_out_compiler()
    remember_models()
    from bench.trace.serve import copies, serve

    leave_out_patterns()
    with copies([int(each) for each in sys.argv[1:]]):
        serve(sys.stdin, answers)
    os._exit(0)  # to take leave of the libraries takes half a second


if __name__ == "__main__":
    main()
