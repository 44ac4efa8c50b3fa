"""Trace a run as huggingface/peft's method_comparison does it, to compare with what it has published.

Its loop (`method_comparison/MetaMathQA/run.py`) differs from ours in what memory depends on: transformers' own loss
over the logits of all positions, AdamW in its default form, no autocast, and an allocator that is emptied now and then.
"""

import gc
from typing import Any

import torch
from peft import PeftConfig, get_peft_model
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from bench.advise.allocator import EMPTY
from bench.advise.trace import Question, Trace
from bench.config import Model
from bench.models import kinds, load
from bench.models.config import plan
from bench.trace.recorder import Recorder
from bench.trace.result import Marks, result

MAX_GRAD_NORM = 1.0


def trace(question: Question, recorder: Recorder) -> Trace:
    """Two steps of that loop, noted by `recorder`, which has begun."""
    run, workload = question.run, question.workload
    stated = run["model"]
    planned = plan(Model(stated["name"], stated["path"], weights="random", architecture=stated["architecture"]), True)
    load.quiet()
    model: Any = kinds.build(planned, getattr(torch, run["train"].get("dtype", "bfloat16")))
    marks = Marks(recorder, question.device, planned.config.vocab_size, planned.config.num_hidden_layers)
    marks.weights()
    settings = run["method"]["peft_config"]
    if settings is not None:
        whole = run["train"].get("autocast_adapter_dtype", True)
        model = get_peft_model(
            model, PeftConfig.from_peft_type(**settings | {"task_type": "CAUSAL_LM"}), autocast_adapter_dtype=whole
        )
    gc.collect()
    marks.adapted(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, foreach=True)
    with register_module_forward_pre_hook(marks.entered):
        for step, length in enumerate((workload.mean_tokens, workload.longest_tokens)):
            _step(model, optimizer, marks, step, workload.rows, length)
            recorder.happens(EMPTY)
    marks.tokens = workload.rows * workload.mean_tokens
    return result(recorder, marks, question, 1)


def _step(model: Any, optimizer: Any, marks: Marks, step: int, rows: int, length: int) -> None:
    marks.begin(step, model)
    ids = torch.full((rows, length), 5)
    mask = torch.ones_like(ids)
    mask[1:, -1] = 0
    optimizer.zero_grad()
    outputs = model(input_ids=ids, attention_mask=mask, labels=ids, num_items_in_batch=rows * length)
    outputs.loss.backward()  # that loop, too, holds the logits until the step is done
    nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM)
    marks.differentiated(model)
    optimizer.step()
    marks.end(optimizer)
