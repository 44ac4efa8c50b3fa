"""Every family x every method: what is said to run trains, generates and reloads; what is refused says why."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.config import Model
from bench.method import Context, Method, discover
from bench.models import checkpoint, matrix
from bench.models.families import END_ID, FAMILIES, PAD_ID
from bench.models.load import info, load
from bench.models.tiny import TEXT, tiny_model
from bench.objective import of
from bench.train.losses import Pairs, preference_loss

SEVEN = ("dpo", "full", "lora", "prefix", "prompt", "ptuning", "qlora")
FOUND = {family: {name: cells[name] for name in SEVEN} for family, cells in matrix.matrix().items()}
RUN = [(family, name) for family, cells in FOUND.items() for name, reason in cells.items() if reason is None]
REFUSED = [(family, name) for family, cells in FOUND.items() for name, reason in cells.items() if reason is not None]
STEPS, NEW_TOKENS, IGNORED = 8, 4, -100
PROMPTS = [text.rpartition(" ")[0] for text in TEXT]
RIGHT = [f" {text.rpartition(' ')[2]}" for text in TEXT]
WRONG = RIGHT[1:] + RIGHT[:1]

Batch = dict[str, Tensor]  # input_ids, attention_mask, labels


@dataclass
class Pair:
    """A method on the tiny member of a family; its losses come straight from the outputs of transformers."""

    family: str
    folder: str
    method: Method

    def __post_init__(self) -> None:
        family = FAMILIES[self.family]
        self.kind = family.kind
        self.settings = Model(name="tiny", path=self.folder, kind=self.kind, attention=family.attention)
        self.info = info(self.settings, "cpu")

    def base(self) -> tuple[Any, Context]:
        labels = ("no", "yes") if self.kind == "classifier" else ()
        model, tokenizer = load(self.settings, "cpu", self.method.quantization(), torch.float32, labels)
        return model, Context(self.info, tokenizer, TEXT[0], TEXT[1:])

    def batch(self, tokenizer: Any, answers: list[str]) -> Batch:
        """Four rows of different lengths, padded on the right."""
        texts = [p + a for p, a in zip(PROMPTS, answers, strict=True)] if self.kind == "causal" else PROMPTS
        batch = dict(tokenizer(texts, padding=True, return_tensors="pt"))
        if self.kind == "causal":
            starts = torch.tensor([len(tokenizer(prompt)["input_ids"]) for prompt in PROMPTS])
            ignored = (torch.arange(batch["input_ids"].shape[1]) < starts[:, None]) | (batch["attention_mask"] == 0)
            labels = batch["input_ids"].masked_fill(ignored, IGNORED)
        elif self.kind == "seq2seq":
            written = tokenizer(answers, padding=True, return_tensors="pt")
            labels = written["input_ids"].masked_fill(written["attention_mask"] == 0, IGNORED)
        else:
            labels = torch.tensor([0, 1, 0, 1])
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Those that predict the labels: [rows, length, vocabulary], or [rows, classes] of a classifier."""
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        if self.kind == "seq2seq":
            start = torch.full((len(batch["labels"]), 1), PAD_ID)
            inputs["decoder_input_ids"] = torch.cat([start, batch["labels"][:, :-1].clamp(min=0)], 1)
        logits = model(**inputs).logits
        if self.kind == "causal":
            return logits[:, -batch["input_ids"].shape[1] :][:, :-1]
        return logits

    def loss(self, model: nn.Module, right: Batch, wrong: Batch, reference: Tensor) -> Tensor:
        if of(self.method).preferences:
            tokens = torch.cat([(self._labels(batch) != IGNORED).sum(1) for batch in (right, wrong)])
            pairs = Pairs(self._log_probs(model, right, wrong), tokens, reference, divergence=torch.zeros(()))
            return preference_loss(self.method, pairs)
        return cross_entropy(self.logits(model, right).flatten(0, -2), self._labels(right).flatten())

    def _log_probs(self, model: nn.Module, right: Batch, wrong: Batch) -> Tensor:
        sums = []
        for batch in (right, wrong):
            losses = cross_entropy(self.logits(model, batch).mT, self._labels(batch), reduction="none")
            sums.append(-losses.sum(1))
        return torch.cat(sums)

    def _labels(self, batch: Batch) -> Tensor:
        return batch["labels"][:, 1:] if self.kind == "causal" else batch["labels"]

    def train(self) -> tuple[Any, Context, Batch, list[float]]:
        """Adapt and take some AdamW steps; the losses before and after, in evaluation mode."""
        torch.manual_seed(0)
        base, context = self.base()
        right, wrong = (self.batch(context.tokenizer, answers) for answers in (RIGHT, WRONG))
        reference = torch.zeros(8)
        if of(self.method).reference:
            with torch.no_grad():
                reference = self._log_probs(base.eval(), right, wrong)
        model: Any = self.method.adapt(base, context)
        training = [p for p in model.parameters() if p.requires_grad]
        groups: Any = self.method.param_groups(model) or training
        optimizer = torch.optim.AdamW(groups, lr=self.method.learning_rate, weight_decay=0.0)
        losses = [self.loss(model.eval(), right, wrong, reference).item()]
        for _ in range(STEPS):
            optimizer.zero_grad()
            self.loss(model.train(), right, wrong, reference).backward()
            nn.utils.clip_grad_norm_(training, 1.0)
            optimizer.step()
        idle = [n for n, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        assert not idle, f"no gradient in {idle[0]}"
        with torch.no_grad():
            losses.append(self.loss(model.eval(), right, wrong, reference).item())
        return model, context, right, losses

    def generate(self, model: Any, ids: Tensor) -> list[int]:
        """The tokens of a greedy generation, with a cache."""
        settings = {"do_sample": False, "max_new_tokens": NEW_TOKENS, "use_cache": True}
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)[0].tolist()
        return written[1:] if self.kind == "seq2seq" else written[ids.shape[1] :]

    def one_by_one(self, model: nn.Module, ids: Tensor) -> list[int]:
        """The tokens that the logits choose one after the other, without a cache."""
        mask, written = torch.ones_like(ids), torch.full((1, 1), PAD_ID)
        for _ in range(NEW_TOKENS):
            if self.kind == "seq2seq":
                out = model(input_ids=ids, attention_mask=mask, decoder_input_ids=written)
            else:
                whole = torch.cat([ids, written[:, 1:]], 1)
                out = model(input_ids=whole, attention_mask=torch.ones_like(whole))
            written = torch.cat([written, out.logits[:, -1:].argmax(-1)], 1)
            if written[0, -1] == END_ID:
                break
        return written[0, 1:].tolist()


@pytest.fixture(scope="module")
def pair_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Pair]:
    folders: dict[str, str] = {}

    def make(family: str, name: str) -> Pair:
        if family not in folders:
            folders[family] = tiny_model(tmp_path_factory.mktemp("family"), family)
        return Pair(family, folders[family], discover()[name]())

    return make


@pytest.mark.parametrize(("family", "name"), RUN)
def test_what_is_said_to_run_trains_answers_and_reloads(family: str, name: str, pair_of, tmp_path: Path):
    pair = pair_of(family, name)
    assert replace(pair.info, positions=0) == replace(matrix.family_info(family), name="tiny")
    model, context, batch, (first, last) = pair.train()
    assert last < 0.995 * first

    if pair.method.quantization() is not None:
        assert any(isinstance(module, bnb.nn.Linear4bit) for module in model.modules())
    with torch.no_grad():
        trained = pair.logits(model, batch)
        if pair.kind == "classifier":
            assert trained.shape == (4, 2)
        else:
            row = batch["input_ids"][:1, : batch["attention_mask"][0].sum()]
            assert pair.generate(model, row) == pair.one_by_one(model, row)

        checkpoint.save(model, tmp_path)
        base, _ = pair.base()
        torch.manual_seed(1)
        again = checkpoint.reload(base, tmp_path, pair.method, context).eval()
        torch.testing.assert_close(pair.logits(again, batch), trained, atol=1e-5, rtol=0)
        if pair.kind != "classifier":
            assert pair.generate(again, row) == pair.generate(model, row)


def test_the_counts_are_those_of_the_readme():
    assert len(FAMILIES) * len(SEVEN) == len(RUN) + len(REFUSED)
    assert (len(FAMILIES), len(RUN), len(REFUSED)) == (22, 143, 11)


@pytest.mark.parametrize(("family", "name"), REFUSED)
def test_what_is_refused_has_a_reason_in_words_that_still_holds(family: str, name: str, pair_of):
    reason = FOUND[family][name]
    assert reason is not None
    assert len(reason.split()) > 5
    assert "Error" not in reason
    if of(discover()[name]).preferences and FAMILIES[family].kind != "causal":
        return  # the reason is TRL's trainer, which has no other kinds
    with pytest.raises((ValueError, AttributeError)):
        pair_of(family, name).train()


def test_the_command_prints_methods_families_reasons_and_counts(capsys: pytest.CaptureFixture[str]):
    assert matrix.main() == 0
    lines = capsys.readouterr().out.splitlines()
    methods = list(discover())
    heads = [number for number, line in enumerate(lines) if line.startswith("method ")]
    tables = [lines[number : number + 1 + len(methods)] for number in heads]
    kinds = [next(line for line in reversed(lines[:number]) if line and line[0] != " ") for number in heads]
    assert kinds == ["causal models", "classifiers", "encoder-decoders"]
    assert max(len(row) for rows in tables for row in rows) < 140
    for rows in tables:
        assert [row.split()[0] for row in rows[1:]] == methods
        assert len({len(row.split()) for row in rows}) == 1
    assert sum(len(rows[0].split()) - 1 for rows in tables) == len(FAMILIES)
    cells = {row.split()[0]: dict(zip(tables[0][0].split(), row.split(), strict=True)) for row in tables[0]}
    assert (cells["full"]["rwkv"], cells["lora"]["rwkv"]) == ("runs", "runs")
    assert f"{cells['prefix']['rwkv']} rwkv has no keys and values to put in front of the input" in lines
    assert lines[-2] == (
        "prefix with train.gradient_checkpointing=true runs nowhere: recomputed keys and values lack the prefix; "
        "use train.gradient_checkpointing=false"
    )
    runs = sum(row.split().count("runs") for rows in tables for row in rows)
    pairs = len(FAMILIES) * len(discover())
    assert lines[-1] == f"{pairs} pairs: {runs} run, {pairs - runs} do not"
