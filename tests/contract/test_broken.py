"""Every clause can be broken, and then says what was expected and what was seen."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from bench import contract
from bench.contract import Case
from bench.method import Context, Method, ModelInfo


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
            return out + module.seen * torch.arange(320)

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
    (Unconnected, "loss_falls", "the loss of a fixed batch to fall in 16 steps, saw "),
    (Forgetful, "reload_same", "the same logits after saving and reloading, saw them differ by "),
    (Deaf, "generation", "generate() to give the tokens ["),
    (Seeding, "seeds", "adapt() to leave torch's seed at 1, saw 7"),
    (Restless, "seeds", "the losses of seed 0 again, saw "),
    (Mute, "settings", "errors() to name method.learning_rate when it is -1, saw []"),
    (Wrong, "settings", "defaults without errors, saw: method.rank must be >= 1, got 0"),
    (Odd, "settings", "hyper-parameters of type int, float, str, bool, list or Method, saw another in shape"),
]


@pytest.mark.parametrize(("method", "clause", "words"), CASES, ids=[f"{m.__name__}-{c}" for m, c, _ in CASES])
def test_a_broken_method_is_told_what_is_wrong(method, clause, words, tiny_llama, monkeypatch):
    monkeypatch.setattr(contract, "from_dict", lambda data: contract.Run(case.method))  # these are not registered
    case = Case(method(), tiny_llama)
    assert str(getattr(contract, clause)(case)).startswith(f"expected {words}")


def test_a_good_one_keeps_the_same_clauses(tiny_llama, monkeypatch):
    monkeypatch.setattr(contract, "from_dict", lambda data: contract.Run(case.method))
    case = Case(Good(), tiny_llama)
    assert [clause(case) for clause in contract.CLAUSES] == [None] * len(contract.CLAUSES)


def test_a_model_that_is_not_supported_is_refused_with_the_reason(tiny_llama):
    class Picky(Good):
        def supports(self, model: ModelInfo):
            return f"{model.architecture} is too small"

    with pytest.raises(ValueError, match=r"^method=good does not support this model: llama is too small$"):
        Case(Picky(), tiny_llama)
