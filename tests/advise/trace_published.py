"""Makes `published_operations.json`: the operations of a step of the ten published runs, each at its mean length.

    python -m tests.advise.trace_published      (two minutes on one core, no GPU, no weights)

Most of those runs are of methods that tunebench does not have, and all are of another loop, so what is traced is that
loop's step (method_comparison/MetaMathQA/run.py of huggingface/peft): full logits, an attention mask, loss on all
tokens, gradients clipped to 1, AdamW with its defaults. Batches hold rows of like lengths: no padding is traced.
"""

import json
import warnings
from dataclasses import astuple
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from peft import PeftConfig, get_peft_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.nn.utils import clip_grad_norm_
from transformers import AutoModelForCausalLM

from bench.config.model import Model
from bench.models.config import plan
from bench.paths import conf_dir
from bench.trace.recorder import Recorder
from bench.trace.training import pretending

HERE = Path(__file__).parent
PUBLISHED, MADE = HERE / "published.json", HERE / "published_operations.json"


def main() -> None:
    rows = json.loads(PUBLISHED.read_text(encoding="utf-8"))["rows"]
    made = {}
    for row in rows:
        # float32: without autocast, which that loop did not use; LoHa draws a number to see whether it is at work
        with pretending("cuda", "float32") as recorder, patch.object(torch, "rand", _drawn):
            made[row["experiment_name"]] = _traced(row, recorder)
        print(row["experiment_name"], len(made[row["experiment_name"]]["operations"]), "kinds of operations")
    about = "[kind, dtype, flops, bytes, count, kernels] of operations, by tests/advise/trace_published.py"
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(trace)}" for name, trace in made.items())
    MADE.write_text(f'{{"about": {json.dumps(about)},\n"rows": {{\n{lines}\n}}}}\n', encoding="utf-8")


def _traced(row: dict[str, Any], recorder: Recorder) -> dict[str, Any]:
    model = _model(row)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=0.1)
    length = round(row["train_total_tokens"] / row["train_samples"])
    for part in ("", "batch"):  # the first step makes the optimizer's state
        recorder.counting = part
        ids = torch.ones(row["batch_size"], length, dtype=torch.long)
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, num_items_in_batch=1000).loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        recorder.counting = part and "step"
        optimizer.step()
        recorder.counting = part
        optimizer.zero_grad()
    recorder.counting = ""
    operations = [["optimizer" if part == "step" else o.kind, *astuple(o)[1:4], count, o.kernels]
                  for (part, o), count in recorder.operations.items()]  # fmt: skip
    tokens = row["train_total_tokens"] * row["batch_size"] // row["train_samples"]
    return {"tokens": tokens, "dispatches": sum(recorder.dispatches.values()), "operations": operations}


def _drawn(*size: int, **_: Any) -> Tensor:
    with unset_fake_temporarily():
        return torch.full(size, 0.5)


def _model(row: dict[str, Any]) -> nn.Module:
    facts = yaml.safe_load((conf_dir() / "model" / "llama-3.2-3b.yaml").read_text(encoding="utf-8"))["architecture"]
    facts = plan(Model(architecture=facts), facts=True)
    model = AutoModelForCausalLM.from_config(facts.config, dtype=torch.bfloat16, attn_implementation="sdpa")
    if row["peft_config"] is not None:
        config = PeftConfig.from_peft_type(**row["peft_config"], task_type="CAUSAL_LM")
        model = get_peft_model(model, config)
    return model.train()


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
