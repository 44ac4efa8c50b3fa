"""One run, as configured: plain dataclasses that Hydra fills, with every check that needs no model and no data.

`Run` is what the command line composes. All errors of a configuration are reported together, each beginning with
its key.
"""

from bench.config.loop import Budget, Hardware, Launch, Measure, Train
from bench.config.model import Model
from bench.config.run import Run, from_dict, to_dict, unknown_keys
from bench.config.task import Data, Split, Task

__all__ = [
    "Budget",
    "Data",
    "Hardware",
    "Launch",
    "Measure",
    "Model",
    "Run",
    "Split",
    "Task",
    "Train",
    "from_dict",
    "to_dict",
    "unknown_keys",
]
