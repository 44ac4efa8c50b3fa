"""The objectives, as members of transformers' Trainer family that count what they train on.

Everything that a default would decide is decided here. Preferences are in `bench.train.preferences`.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from bench.config import Run
from bench.data.tokens import IGNORED, PadRight, widths
from bench.method import Method
from bench.models import checkpoint
from bench.models.logits import class_log_probs, label_log_probs
from bench.objective import OBJECTIVES
from bench.train import ranks, tracking
from bench.train.budget import ENDLESS, scheduler
from bench.train.meter import StepMeter
from bench.train.order import Grouped
from bench.train.packing import Pack

if TYPE_CHECKING:
    from datasets import Dataset

OPTIMIZER = "adamw_torch_fused"


def accumulation(run: Run, micro_batch_size: int) -> int:
    """Micro batches of one process that make up a step."""
    return run.train.batch_size // (micro_batch_size * ranks.world())


def settings(
    run: Run, meter: StepMeter, folder: str, precision: str, device: str, micro_batch_size: int
) -> dict[str, Any]:
    """The arguments that both trainers share; nothing is left to a library's default that changes a measurement."""
    assert run.method is not None
    several = ranks.world() > 1
    return {
        "output_dir": folder,
        "max_steps": meter.total_steps or ENDLESS,
        "per_device_train_batch_size": micro_batch_size,
        "gradient_accumulation_steps": accumulation(run, micro_batch_size),
        "learning_rate": run.method.learning_rate,
        "weight_decay": run.train.weight_decay,
        "max_grad_norm": run.train.max_grad_norm,
        "optim": OPTIMIZER,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "bf16": precision == "bfloat16",
        "fp16": False,
        "tf32": False if device == "cuda" else None,
        "gradient_checkpointing": run.train.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if run.train.gradient_checkpointing else None,
        "use_cpu": device == "cpu",
        "seed": run.seed,
        "data_seed": run.seed,
        "train_sampling_strategy": "random",
        "dataloader_drop_last": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device == "cuda",
        "remove_unused_columns": False,
        "logging_nan_inf_filter": False,
        "eval_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
        **tracking.settings(run.tracker, run.run_id(), run.train.log_every),
        "average_tokens_across_devices": several,
        "ddp_find_unused_parameters": False if several else None,
    }


class Measured:
    """What all trainers add: the meter's counts, the budget's learning rate, and what the method has of its own."""

    meter: StepMeter
    run: Run
    rows_per_example = 1
    optimizer_name = OPTIMIZER

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """The library's training step, counted, and the gradient of the method's penalty."""
        examples = self.rows(inputs) // self.rows_per_example
        tokens, trained = self.tokens(inputs), self.trained_tokens(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self.meter.count(examples, tokens, trained, loss.detach())
        penalty = self.method.penalty(self.model)  # type: ignore[attr-defined]
        if penalty is not None:  # once a step, though every micro batch comes here
            self.accelerator.backward(penalty / self.current_gradient_accumulation_steps)  # type: ignore[attr-defined]
        return loss

    def compute_loss_context_manager(self) -> Any:
        """Forward pass and loss in the run's precision, which the library gives the model's own forward pass alone.

        Nothing else: autocast keeps the weights that it has cast until the outermost of its blocks ends, even of one
        that is not enabled, and in one around several steps they would be those of the first.
        """
        args = self.args  # type: ignore[attr-defined]
        return torch.autocast(args.device.type, torch.bfloat16, enabled=args.bf16)

    @property
    def method(self) -> Method:
        """Of the run."""
        assert self.run.method is not None
        return self.run.method

    def rows(self, inputs: dict[str, Any]) -> int:
        """Number of rows in the batch."""
        return len(inputs["rows"].lengths if "rows" in inputs else inputs["input_ids"])

    def tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """Number of tokens in the batch that are not padding."""
        return inputs["attention_mask"].sum()

    def trained_tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """Number of tokens in the batch that carry loss."""
        raise NotImplementedError

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """The library's estimate, for which it walks through all modules in every step; nobody reads it."""
        return 0

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Give a tracker the throughput so far too."""
        super().log(logs | self.meter.throughput(), *args, **kwargs)  # type: ignore[misc]

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """What trains; the library would write the whole model, a tokenizer and a model card."""
        checkpoint.save_trained(self.model, output_dir or self.args.output_dir)  # type: ignore[attr-defined]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoint.load_trained(self.model, resume_from_checkpoint)  # type: ignore[attr-defined]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Rows of about the same length together, or transformers' random order."""
        rows = self.train_dataset if train_dataset is None else train_dataset  # type: ignore[attr-defined]
        if not self.run.train.group_by_length:
            return super()._get_train_sampler(rows)  # type: ignore[misc]
        return Grouped(widths(rows), self.run.train.batch_size, self.run.seed)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule over the budget, whatever unit that is in."""
        self.lr_scheduler = scheduler(optimizer or self.optimizer, self.run.train, self.meter.progress)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The method's own optimizer or the common one, over the method's parameter groups."""
        args, own = self.args, self.model  # type: ignore[attr-defined]
        groups = self.method.param_groups(own)
        cls, arguments = Trainer.get_optimizer_cls_and_kwargs(args, own)
        defaults = {key: arguments[key] for key in ("lr", "betas", "eps")} | {"weight_decay": args.weight_decay}
        training = [{"params": [p for p in own.parameters() if p.requires_grad]}]
        chosen = self.method.optimizer(own, groups or training, defaults)
        if chosen is not None:
            self.optimizer_name = type(chosen).__name__
        elif groups is None:
            return super().create_optimizer(model)  # type: ignore[misc]
        self.optimizer = chosen or cls([{"weight_decay": args.weight_decay} | g for g in groups or []], **arguments)
        return self.optimizer


class AfterStep(TrainerCallback):
    """Lets the method act after every optimizer step; to come before the meter, which stops the step's clock."""

    def __init__(self, method: Method, progress: Callable[[int], float]) -> None:
        self._method, self._progress = method, progress

    def on_optimizer_step(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """The step that is done is counted only later."""
        step = state.global_step + 1
        self._method.after_step(kwargs["model"], step, self._progress(step))


class SftTrainer(Measured, Trainer):
    """Cross-entropy on the completion, averaged over the labelled tokens of an optimizer step."""

    def __init__(
        self, run: Run, meter: StepMeter, arguments: dict[str, Any], model: nn.Module, rows: "Dataset", tokenizer: Any
    ):
        self.run, self.meter = run, meter
        collate = Pack() if run.train.packing else PadRight(tokenizer.pad_token_id)
        super().__init__(model, TrainingArguments(**arguments), collate, rows, callbacks=[meter])
        self.model_accepts_loss_kwargs = True  # compute_loss normalises by the labels of the whole step

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Summed negative log-probability of the labels over the number of labels in the step."""
        log_probs = self.log_probs(model, inputs)
        # the gradients of several processes are averaged, their labels counted together
        return -log_probs.sum() / (len(log_probs) if num_items_in_batch is None else num_items_in_batch / ranks.world())

    def log_probs(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Of every label, [labels]."""
        return label_log_probs(model, inputs, full=self.run.train.loss == "full")

    def trained_tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """Number of labels."""
        return (inputs["labels"] != IGNORED).sum()


class Seq2SeqTrainer(SftTrainer):
    """Cross-entropy on the completion, which the decoder writes while the encoder reads the prompt."""

    def tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """Those of the encoder and those of the decoder."""
        return super().tokens(inputs) + self.trained_tokens(inputs)


class ClassTrainer(SftTrainer):
    """Cross-entropy of the class, averaged over the examples of an optimizer step; the label counts as one token."""

    def log_probs(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """Of every example's class, [batch]."""
        return class_log_probs(model, inputs).gather(1, inputs["labels"])[:, 0]


def trainer_class(objective: str, kind: str) -> Any:
    """The trainer of an objective on a kind of model; preferences are learned by causal models alone."""
    supervised = {"causal": SftTrainer, "seq2seq": Seq2SeqTrainer, "classifier": ClassTrainer}
    if not OBJECTIVES[objective].preferences:
        return supervised[kind]
    name = "preferences" if OBJECTIVES[objective].reference else "reference_free"
    return importlib.import_module(f"bench.train.{name}").TRAINERS[objective]  # imports trl, which others do without
