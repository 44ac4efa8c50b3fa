"""What the fork server imports once, so that a child starts in a fraction of a second instead of five.

Nothing here may compute: a process that has run a parallel region cannot be forked (the child hangs on OpenMP's
threads), nor can one that has initialised CUDA. bitsandbytes asks every CUDA device for its capability when it is
imported, and peft and transformers' Trainer import it; where there is such a device they are left to the child.
"""

import contextlib
import gc
import io
import logging
import os

from bench.lean import lean_imports

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and forked data loaders do not agree
os.environ.setdefault("TQDM_DISABLE", "1")  # progress is reported by events; bars would only fill worker.log
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # is_available() does not initialise CUDA then
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # warns of optional kernels when it is imported

# a library that is installed besides may greet the user, who would see it on the terminal of the launcher
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), lean_imports():
    import datasets
    import torch
    import transformers.models.auto.modeling_auto
    import transformers.utils.logging

    if not torch.cuda.is_available():
        import peft  # noqa: F401
        import transformers.trainer
        import trl.trainer.dpo_trainer  # noqa: F401

        import bench.worker  # noqa: F401

datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()
gc.collect()
gc.freeze()  # or every collection in every child would look through what was imported, and copy its pages
