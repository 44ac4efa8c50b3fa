"""Every clause can be broken, and then says what was expected and what was seen."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hydra.core.config_store import ConfigStore
from torch import nn

import bench.method
from bench import contract
from bench.contract import Case
from bench.method import Context, Method, ModelInfo, discover


class Bias(nn.Module):
    """Wraps the head and adds a trained vector to the logits."""

    def __init__(self, head: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.head, self.bias = head, nn.Parameter(torch.zeros(320, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x) + self.bias


@dataclass
class Good(Method):
    """Train a vector that is added to the logits."""

    name: str = "good"
    learning_rate: float = 1e-1

    def adapt(self, model, context: Context):
        model.lm_head = Bias(model.lm_head)
        return model


class Nothing(Good):
    def adapt(self, model, context):
        return model


class Half(Good):
    def adapt(self, model, context):
        model.lm_head = Bias(model.lm_head, torch.bfloat16)
        return model


class Undeclared(Good):
    def adapt(self, model, context):
        model.get_input_embeddings().weight.requires_grad_(True)
        return model


class Boaster(Good):
    def trains_base_weights(self):
        return True


class Unconnected(Good):
    def adapt(self, model, context):
        model.register_parameter("idle", nn.Parameter(torch.zeros(1)))
        model.lm_head = Bias(model.lm_head).requires_grad_(False)
        model.lm_head.bias.requires_grad_(True)
        model.lm_head.register_forward_hook(lambda module, args, out: out - module.bias.detach())
        return model


class Forgetful(Good):
    """Keeps state that no checkpoint holds."""

    def adapt(self, model, context):
        model.lm_head = Bias(model.lm_head)
        model.lm_head.register_buffer("seen", torch.zeros(()))

        def count(module, args, out):
            if module.training:
                module.seen += 1
            return out + 1e-3 * module.seen * torch.arange(320)

        model.lm_head.register_forward_hook(count)
        return model


class Deaf(Good):
    """Generates without what was trained."""

    def adapt(self, model, context):
        model = super().adapt(model, context)
        generate = model.generate

        def without(**kwargs):
            head, model.lm_head = model.lm_head, model.lm_head.head
            tokens = generate(**kwargs)
            model.lm_head = head
            return tokens

        model.generate = without
        return model


class Seeding(Good):
    def adapt(self, model, context):
        torch.manual_seed(7)
        return super().adapt(model, context)


class Restless(Good):
    count = 0

    def adapt(self, model, context):
        model = super().adapt(model, context)
        type(self).count += 1
        nn.init.constant_(model.lm_head.bias[self.count :], 0.1)
        with torch.no_grad():
            model.lm_head.bias[: self.count] = 1.0
        return model


class Mute(Good):
    """Overrides errors() without super()."""

    def errors(self):
        return []


class Wrong(Good):
    def errors(self):
        return [*super().errors(), "method.rank must be >= 1, got 0"]


@dataclass
class Odd(Good):
    """Has a field that no configuration can hold."""

    shape: tuple[int, int] = (1, 2)


@dataclass
class Undocumented(Good):  # but for what @dataclass writes
    pass


@dataclass
class Stubborn(Good):
    """Has a setting that nobody can set."""

    scale: float = 1.0

    def __post_init__(self):
        self.scale = 1.0


@dataclass
class Greedy(Good):
    """Has a key that nobody should have."""

    no_such_key_1: int = 0


class Raises(Good):
    def adapt(self, model, context):
        return {}["nobody"]  # here


class Merging(Good):
    """Says that nothing stays beside the model."""

    def mergeable(self):
        return True


class Modest(Good):
    """Trains a bias of the base and says that it cannot be merged."""

    def adapt(self, model, context):
        model.model.norm.weight.requires_grad_(True)
        return model

    def trains_base_weights(self):
        return True

    def mergeable(self):
        return False


class Twice(Good):
    """Has another gradient where a layer is computed a second time."""

    def adapt(self, model, context):
        for layer in model.model.layers:
            layer.mlp = Shift(layer.mlp)
        return super().adapt(model, context)


class Shift(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.times, self.shift = inner, 0, nn.Parameter(torch.zeros(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.times += 1
        return self.inner(x) + self.shift * torch.tensor(float(self.times))


class Loud(Good):
    """Gives logits twice as large in bfloat16."""

    def adapt(self, model, context):
        model = super().adapt(model, context)
        model.lm_head.register_forward_hook(
            lambda module, args, out: out * (2 if args[0].dtype == torch.bfloat16 else 1)
        )
        return model


class Reading(Good):
    """Decides by the content of a weight, which a trace does not have."""

    def adapt(self, model, context):
        if model.lm_head.weight.sum() > 1e9:
            return model
        return super().adapt(model, context)


CASES = [
    (Nothing, "trainable", "parameters that train, saw none with requires_grad"),
    (Half, "trainable", "trained parameters in float32, saw torch.bfloat16 in lm_head.bias"),
    (
        Undeclared,
        "trainable",
        "the base to be frozen, as trains_base_weights() says, saw model.embed_tokens.weight train",
    ),
    (Boaster, "trainable", "weights of the base to train, as trains_base_weights() says, saw only new ones"),
    (Undeclared, "base_weights", "the base untouched after 16 steps, saw a change in model.embed_tokens.weight"),
    (Boaster, "base_weights", "weights of the base to change in 16 steps, saw none change"),
    (Unconnected, "loss_falls", "the loss of four rows to fall in 16 steps, saw "),
    (Forgetful, "reload_same", "the same logits after saving and reloading, saw them differ by "),
    (Deaf, "generation", "generate() to give the tokens ["),
    (Seeding, "seeds", "adapt() to leave torch's seed at 1, saw 7"),
    (Restless, "seeds", "the losses of seed 0 again, saw "),
    (Mute, "settings", "errors() to name method.learning_rate when it is -1, saw []"),
    (Wrong, "settings", "settings without errors, saw: method.rank must be >= 1, got 0"),
    (Undocumented, "settings", "a docstring whose first line says what the method does, saw none"),
    (Stubborn, "overrides", "method.scale=1.5 to set it to 1.5, saw 1.0"),
    (Greedy, "unknown_keys", "+method.no_such_key_1=1 to be refused by its name, saw "),
    (Merging, "merging", "one model with the base's parameters alone, saw lm_head.bias beside them"),
    (Modest, "merging", "mergeable() to say that it can be merged, as merging gives the same logits; saw False"),
    (Twice, "checkpointing", "the same gradients with train.gradient_checkpointing=true, saw that of "),
    (Loud, "bfloat16", "a loss of "),
    (Reading, "traceable", "a trace, saw "),
    (Odd, "settings", "settings of type int, float, str, bool, list or Method, saw another in shape"),
]


@pytest.fixture
def case_of(tiny_llama: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[Method]], Case]]:
    """The case of a method that is registered for this test alone."""

    def make(cls: type[Method]) -> Case:
        monkeypatch.setattr(bench.method, "_registry", discover() | {"good": cls})
        return Case(cls(), tiny_llama)

    yield make
    stored = ConfigStore.instance().repo.get("method", {})  # where the clauses about the command line put it
    for group in (stored, stored.get("adapter", {})):
        group.pop("good.yaml", None)


@pytest.mark.parametrize(("method", "clause", "words"), CASES, ids=[f"{m.__name__}-{c}" for m, c, _ in CASES])
def test_a_broken_method_is_told_what_is_wrong_and_where(method, clause, words, case_of):
    outcome = getattr(contract, clause)(case_of(method))
    assert outcome.word == "broken"
    assert outcome.broken.startswith(f"expected {words}")
    file, line, name = re.fullmatch(r".*; look at (.*):(\d+) \((.*)\)", outcome.broken, re.DOTALL).groups()
    assert Path(file).is_file()
    here = Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
    assert name.split(".")[-1] in "".join(here[:3])  # a class begins with its decorators


def test_a_line_of_the_method_s_own_is_named_where_it_raises(case_of):
    outcome = contract.trainable(case_of(Raises))
    line = next(
        n for n, text in enumerate(Path(__file__).read_text(encoding="utf-8").splitlines(), 1) if "# here" in text
    )
    assert outcome.broken == f"expected no error, saw KeyError: 'nobody'; look at {__file__}:{line} (Raises.adapt)"


def test_what_a_library_raises_is_named_beside_the_method(case_of):
    outcome = contract.seeds(case_of(Nothing))
    raised, _, look = outcome.broken.partition("; look at ")
    assert re.fullmatch(
        r"expected no error, saw RuntimeError: element 0 of tensors does not require grad.* from \S+:\d+ \(.*\)", raised
    )
    assert look == bench.method.place(Nothing.adapt)


def test_a_good_one_keeps_the_same_clauses(case_of):
    case = case_of(Good)
    found = [clause(case) for clause in contract.CLAUSES]
    assert [str(outcome) for outcome in found if outcome.word == "broken"] == []
    assert [outcome.name for outcome in found if outcome.word == "unsupported"] == ["merging"]


def test_a_method_may_say_that_it_does_not_go_with_checkpointing(case_of):
    class Picky(Good):
        def supports(self, model: ModelInfo):
            return "it does not go with it" if model.gradient_checkpointing else None

    outcome = contract.checkpointing(case_of(Picky))
    assert (outcome.word, outcome.unsupported) == ("unsupported", "it does not go with it")


def test_a_training_that_fails_is_tried_once(case_of):
    case = case_of(Raises)
    first, second = contract.loss_falls(case), contract.reload_same(case)
    assert case._trained is case._trained
    assert first.broken == second.broken


def test_a_model_that_is_not_supported_is_refused_with_the_reason(tiny_llama):
    class Picky(Good):
        def supports(self, model: ModelInfo):
            return f"{model.architecture} is too small"

    with pytest.raises(ValueError, match=r"^method=good does not support this model: llama is too small$"):
        Case(Picky(), tiny_llama)
