"""What a method says of merging is what peft does: merged, the model alone computes the same."""

from dataclasses import fields

import pytest
import torch

from bench.method import discover


@pytest.mark.parametrize("name", [name for name, cls in discover().items() if cls.objective == "sft"])
def test_a_method_is_mergeable_where_the_base_alone_can_compute_the_same(name: str, adapted):
    method = discover()[name]()
    model, tokenizer = adapted("gpt2" if name == "bitfit" else "llama", method)
    inputs = tokenizer("def add(a, b):", return_tensors="pt")
    with torch.no_grad():
        before = model(**inputs).logits
    if method.trains_base_weights():
        assert method.mergeable()  # it is one model already
        return
    if not method.mergeable():
        with pytest.raises((AttributeError, NotImplementedError, ValueError)):
            model.merge_and_unload()
        return
    with torch.no_grad(), model.disable_adapter():
        base = model(**inputs).logits
    merged = model.merge_and_unload()
    assert not [key for key, _ in merged.named_parameters() if name in key]
    with torch.no_grad():
        after = merged(**inputs).logits
    if method.quantization():  # the base is rounded once more when it has taken the update up
        assert (after - before).norm() < (after - base).norm()
    else:
        assert torch.allclose(before, after, atol=1e-4)


def test_an_objective_is_as_its_adapter():
    for cls in discover().values():
        if "adapter" in {each.name for each in fields(cls)}:
            for adapter in (other() for other in discover().values() if other.objective == "sft"):
                assert cls(adapter=adapter).mergeable() is adapter.mergeable()  # type: ignore[call-arg]
