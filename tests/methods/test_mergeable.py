"""What a method says of merging; that it is true is a clause of the contract."""

from dataclasses import fields

from bench.method import discover


def test_an_objective_is_as_its_adapter():
    for cls in discover().values():
        if "adapter" in {each.name for each in fields(cls)}:
            for adapter in (other() for other in discover().values() if other.objective == "sft"):
                assert cls(adapter=adapter).mergeable() is adapter.mergeable()  # type: ignore[call-arg]
