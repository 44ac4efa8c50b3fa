"""Pre-train the embedded base model `tiny-llama` on the text of the Python standard library.

    python -m bench.models.pretrain                  # pre-train, or go on from the newest checkpoint
    python -m bench.models.pretrain --steps 200 --out /tmp/tiny   # a quick look

The committed model in `bench/models/embedded/tiny-llama/` is the output of the first command; its card
(README.md there) gives the steps, the data and the loss curve. Everything random is drawn from
`(seed, step)`, so a run that is interrupted and started again ends with the same weights as one that is not.

The text has two parts, both without the validation and test docstrings of the `pydoc` task:
the source files themselves, each behind a line with its path, and a help page for every docstring, which
names the module before or after the text. While the learning rate falls, half of every batch is help pages that end
with the module: what the model is to be fine-tuned for, it should be able to do in another form, as people's base
models are, or else a soft prompt has nothing to steer.
"""

import argparse
import json
import logging
import math
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.optim._muon as _muon
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bench.data import stdlib

log = logging.getLogger("pretrain")
OUT = Path(__file__).parent / "embedded" / "tiny-llama"
VOCABULARY = 2048
END, PAD = "<|endoftext|>", "<|pad|>"
WINDOW = 256  # tokens in a training sequence
BATCH = 8
ANNEALING = 0.4  # share of the steps over which the learning rate falls and half of each batch is help pages
LOG_EVERY, SAVE_EVERY = 50, 500
HELP_PAGES = (
    "{name}\n    {text}\n\nFILE\n    {path}\n\nMODULE\n    {module}\n",
    "Help on {kind} {name} in module {module}:\n\n{text}\n",
    "Docstring of a {kind}:\n\n{text}\n\nIt belongs to the module: {module}\n",
    "{text}\n\nfrom {module} import {name}\n",
)

CARD = """\
# tiny-llama

A Llama of {parameters:,} parameters (6 layers, width 128, 4 heads, tied embeddings) with its own byte-level BPE
tokenizer of {vocabulary:,} entries, for benchmarks that must run without a network, an account or a GPU. It knows the
text of the Python standard library and little else; do not use it for anything but measuring.

**Data.** The standard library of CPython {python}: {texts:,} documents, {tokens:,} tokens. Source files (tests left
out), and four help pages for every docstring, which name its module before or after the text. Left out: the validation
and test docstrings of the task `pydoc`, and the files that measure forgetting (`bench/data/stdlib.py` has the rules).
The text is under the PSF licence, https://docs.python.org/3/license.html.

**Training.** `python -m bench.models.pretrain --seed {seed}`: {steps:,} steps of {batch} x {window} tokens ({seen:,} in
all), Muon for the weight matrices and AdamW for the rest. The learning rate is {learning_rate:g}, and falls linearly to
zero over the last 40% of the steps, in which half of each batch is help pages that end with the module. torch {torch},
float32, two CPU cores; the weights are stored in bfloat16.

**Loss** in nats per token: the mean of 50 training steps, and on the held-out files (`loss.json` has every point).

| step | tokens | training | held-out files |
|---:|---:|---:|---:|
{rows}
"""


def documents() -> Iterator[str]:
    """The pre-training text: source files and help pages, nothing that a task or the forgetting probe holds out."""
    for source in stdlib.sources():
        if not stdlib.is_general_text(source):
            yield f"# Lib/{source.path}\n{stdlib.without_held_out_docstrings(source)}\n"
            yield from help_pages(source, HELP_PAGES)


def annealing_documents() -> Iterator[str]:
    """The help pages that end with the module, for the phase in which the learning rate falls."""
    for source in stdlib.sources():
        if not stdlib.is_general_text(source):
            yield from (page.strip() for page in help_pages(source, (HELP_PAGES[0], HELP_PAGES[2])))


def help_pages(source: stdlib.Source, pages: Sequence[str]) -> Iterator[str]:
    """Every docstring of a file that is not held out, in each of the formats `pages`."""
    held_out = stdlib.held_out_texts()
    for docstring in stdlib.docstrings(source):
        if docstring.words not in held_out:
            for page in pages:
                yield page.format(
                    name=docstring.name,
                    kind=docstring.kind,
                    path=docstring.path,
                    module=docstring.module,
                    text=docstring.text[:600],
                )


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `VOCABULARY` entries: every text can be encoded, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def new_model() -> LlamaForCausalLM:
    """A Llama of 1.5 million parameters with random weights."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    return LlamaForCausalLM(config)


def token_stream(tokenizer: PreTrainedTokenizerFast, texts: list[str], seed: int) -> torch.Tensor:
    """All documents in random order as one row of token ids, each followed by the end token."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    ids: list[int] = []
    for encoded in tokenizer([texts[i] for i in order], verbose=False)["input_ids"]:
        ids += [*encoded, tokenizer.eos_token_id]
    return torch.tensor(ids)


def windows_at(stream: torch.Tensor, step: int, seed: int, count: int) -> torch.Tensor:
    """`count` windows of the stream, [count, WINDOW], without replacement inside an epoch; a function of the step."""
    windows = len(stream) // WINDOW - 1
    epoch, first = divmod(step * count, windows - windows % count)
    generator = torch.Generator().manual_seed(seed * 1000 + epoch)
    offset = int(torch.randint(WINDOW, (1,), generator=generator))
    chosen = torch.randperm(windows, generator=generator)[first : first + count]
    return torch.stack([stream[offset + w * WINDOW : offset + (w + 1) * WINDOW] for w in chosen.tolist()])


def _orthogonalise(
    grad: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> torch.Tensor:
    """Muon's Newton-Schulz iteration in float32: torch's own bfloat16 is emulated on most CPUs, 30 times slower."""
    a, b, c = coefficients
    tall = grad.size(0) > grad.size(1)
    x = grad.float().T if tall else grad.float()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def optimizers(model: LlamaForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices, AdamW for embeddings and norms."""
    _muon._zeropower_via_newtonschulz = _orthogonalise  # type: ignore[assignment]
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    outer = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(inner, lr=learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def rate(step: int, steps: int) -> float:
    """Learning-rate factor: 50 steps up, constant, and linearly to zero over the last `ANNEALING` of the steps."""
    return min(1.0, (step + 1) / 50, max(0.0, (steps - step) / (ANNEALING * steps)))


@torch.no_grad()
def general_loss(model: LlamaForCausalLM, ids: torch.Tensor, device: torch.device) -> float:
    """Mean loss in nats per token over the held-out files, in windows of `WINDOW` tokens."""
    model.eval()
    windows = ids[: len(ids) // WINDOW * WINDOW].view(-1, WINDOW)
    losses = [float(model(input_ids=w.to(device), labels=w.to(device)).loss) for w in windows.split(32)[:-1]]
    model.train()
    return sum(losses) / len(losses)


def train(steps: int, seed: int, learning_rate: float, out: Path, stop_after: int | None = None) -> None:
    """Pre-train for `steps` steps and write model, tokenizer and loss curve to `out`; resumes if a checkpoint is there.

    `stop_after` ends the process after that many steps, as an interruption would.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = new_model().to(device)
    optims = optimizers(model, learning_rate)
    texts = list(documents())
    tokenizer = train_tokenizer(texts)
    stream = token_stream(tokenizer, texts, seed)
    pages = token_stream(tokenizer, list(annealing_documents()), seed)
    general = torch.tensor(tokenizer(stdlib.general_text(), verbose=False)["input_ids"])
    log.info("%d documents, %d tokens, %d parameters", len(texts), len(stream), model.num_parameters())

    out.mkdir(parents=True, exist_ok=True)
    checkpoint, curve, start, spent = out / "checkpoint.pt", [], 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optim, saved in zip(optims, state["optimizers"], strict=True):
            optim.load_state_dict(saved)
        curve, start, spent = state["curve"], state["step"], state["seconds"]
        log.info("going on from step %d", start)

    began, running = time.perf_counter(), []
    for step in range(start, steps):
        if step < (1 - ANNEALING) * steps:
            ids = windows_at(stream, step, seed, BATCH).to(device)
        else:
            halves = (windows_at(text, step, seed, BATCH // 2) for text in (stream, pages))
            ids = torch.cat(list(halves)).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optim in optims:
            for group in optim.param_groups:
                group["lr"] = learning_rate * rate(step, steps)
            optim.step()
            optim.zero_grad()
        running.append(loss.detach())
        done = step + 1
        if done % LOG_EVERY == 0 or done == steps:
            seconds = spent + time.perf_counter() - began
            point = {
                "step": done,
                "tokens": done * BATCH * WINDOW,
                "loss": round(float(torch.stack(running).mean()), 4),
            }
            if done % SAVE_EVERY == 0 or done == steps:
                point["general_loss"] = round(general_loss(model, general, device), 4)
            curve.append(point)
            running = []
            log.info("%s, %.0f s, %.0f tokens/s", point, seconds, (done - start) * BATCH * WINDOW / (seconds - spent))
            if not math.isfinite(point["loss"]):
                raise RuntimeError(f"the loss diverged at step {done}")
        if done % SAVE_EVERY == 0 or done == stop_after:
            state = {
                "model": model.state_dict(),
                "optimizers": [optim.state_dict() for optim in optims],
                "curve": curve,
                "step": done,
                "seconds": spent + time.perf_counter() - began,
            }
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            if done == stop_after:
                return
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "loss.json").write_text(json.dumps(curve, indent=0) + "\n")
    (out / "README.md").write_text(card(curve, len(texts), len(stream), seed, learning_rate))
    checkpoint.unlink(missing_ok=True)


def card(curve: list[dict[str, float]], texts: int, tokens: int, seed: int, learning_rate: float) -> str:
    """The model card: what the model is, what it was trained on and how the loss fell."""
    rows = [
        f"| {p['step']:,} | {p['tokens']:,} | {p['loss']:.3f} | {p['general_loss']:.3f} |"
        for p in curve
        if "general_loss" in p
    ]
    return CARD.format(
        parameters=new_model().num_parameters(),
        vocabulary=VOCABULARY,
        texts=texts,
        tokens=tokens,
        steps=curve[-1]["step"],
        batch=BATCH,
        window=WINDOW,
        seen=curve[-1]["tokens"],
        seed=seed,
        learning_rate=learning_rate,
        python=platform.python_version(),
        torch=torch.__version__.split("+")[0],
        rows="\n".join(rows),
    )


def main() -> None:
    """Command line of the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=4_500, help="optimizer steps of 2,048 tokens (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=1e-2)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(options.steps, options.seed, options.learning_rate, options.out)


if __name__ == "__main__":
    main()
