"""Preferences other than DPO's own loss: every one is TRL's value, and is trained, counted and resumed as the others."""

import math
from typing import Any

import pytest
import torch
from transformers import Trainer
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from bench.data.example import Example
from bench.data.tokens import tokenise
from bench.method import Method
from bench.objective import OBJECTIVES
from bench.train import loop
from bench.train.losses import LOSSES
from methods.cpo import Cpo
from methods.dpo import Dpo
from methods.full import Full
from methods.kto import Kto
from methods.lora import Lora
from methods.orpo import Orpo
from methods.prefix import Prefix
from methods.prompt import Prompt
from methods.ptuning import PTuning
from methods.qlora import Qlora

THEIRS = {"dpo": DPOTrainer, "kto": KTOTrainer, "cpo": CPOTrainer, "orpo": ORPOTrainer}
LOSS_TYPES = [
    Dpo(),
    Dpo(loss_type="ipo"),
    Dpo(loss_type="ipo", beta=0.7),
    Dpo(loss_type="hinge"),
    Dpo(loss_type="robust", label_smoothing=0.2),
    Kto(),
    Kto(beta=0.5, desirable_weight=1.5, undesirable_weight=0.5),
    Orpo(),
    Orpo(beta=0.7),
    Cpo(),
    Cpo(loss_type="hinge", alpha=0.5),
    Cpo(loss_type="ipo"),
    Cpo(loss_type="simpo", beta=2.0, gamma=1.0, alpha=0.0),
]
ONE_OF_EACH = [Dpo(), Kto(), Orpo(), Cpo()]
NEW = ONE_OF_EACH[1:]


def named(method: Method) -> str:
    return method.title()


def test_every_objective_has_a_loss_and_a_trainer():
    paired = {name for name, objective in OBJECTIVES.items() if objective.preferences}
    assert paired == LOSSES.keys() == THEIRS.keys()
    from bench.train.trainers import trainer_class

    for name in paired:
        assert issubclass(trainer_class(name, "causal"), THEIRS[name])


@pytest.mark.parametrize("reference", [True, False], ids=["precomputed", "adapter-disabled"])
@pytest.mark.parametrize("method", LOSS_TYPES, ids=named)
def test_losses_are_those_of_trl(method: Any, reference: bool, fit, monkeypatch):
    if reference and not OBJECTIVES[method.objective].reference:
        return
    theirs = []
    compute = THEIRS[method.objective].compute_loss

    def watched(self, *args, **kwargs):
        theirs.append(1)
        return compute(self, *args, **kwargs)

    monkeypatch.setattr(THEIRS[method.objective], "compute_loss", watched)
    labelled = fit(method, reference=reference, loss="labelled").losses
    assert not theirs
    full = fit(method, reference=reference, loss="full").losses
    assert len(theirs) == 5
    assert labelled[0] == pytest.approx(full[0], rel=1e-6, abs=1e-6)
    assert labelled == pytest.approx(full, rel=1e-4, abs=1e-5)
    assert labelled[-1] != pytest.approx(labelled[0], abs=1e-4)
