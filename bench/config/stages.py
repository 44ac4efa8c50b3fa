"""Stages: a run that trains on what another has trained, and whether the two fit together."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.config.model import Model
from bench.method import Method

if TYPE_CHECKING:
    from bench.config.run import Run

_SAME = ("path", "revision", "kind", "weights", "architecture", "tokenizer")  # of the models of both stages
_OTHER_SHAPE = ("learning_rate", "label", "start_from")  # of a method: what is trained is the same without these


def differences(method: Method, other: Method | None) -> list[str]:
    """In which settings what two methods train differs; `name` is among them where nothing is alike.

    An objective trains what its adapter is, so that DPO can go on with what LoRA has trained.
    """
    mine, theirs = _trained(method), None if other is None else _trained(other)
    if theirs is None or type(mine) is not type(theirs):
        return ["name"]
    one, two = asdict(mine), asdict(theirs)
    return [key for key in one if key not in _OTHER_SHAPE and one[key] != two[key]]


def _trained(method: Method) -> Method:
    adapter = getattr(method, "adapter", None)
    return adapter if isinstance(adapter, Method) else method


def errors(method: Method | None, model: Model, start: "Run | None") -> list[str]:
    """What keeps a run of `method` on `model` from starting with what `start` has trained."""
    if method is None:
        return []
    if _trained(method) is not method and _trained(method).start_from:
        return ["method.adapter.start_from has no effect; set method.start_from"]
    if start is None:
        return [f"method.start_from={method.start_from} is no run that was found"] if method.start_from else []
    before = start.title()
    if start.method is None:
        return ["method.start_from names a run of the untouched base, from which every run starts by itself"]
    other = [key for key in _SAME if getattr(model, key) != getattr(start.model, key)]
    if other:
        theirs, mine = getattr(start.model, other[0]), getattr(model, other[0])
        return [
            f"method.start_from: {before} trained another model: model.{other[0]} is {theirs!r} there, {mine!r} here"
        ]
    differ = differences(method, start.method)
    if not differ or start.method.mergeable():
        return []
    mine, theirs = _trained(method), _trained(start.method)
    why = f"{mine.title()} cannot go on with what {theirs.title()} trained"
    if differ != ["name"]:
        pairs = [f"{key} is {getattr(theirs, key)!r} there, {getattr(mine, key)!r} here" for key in differ]
        why = f"to go on, both need the same settings: {', '.join(pairs)}"
    return [f"method.start_from: {before} cannot be merged into the base, and {why}"]


def forget_name(method: dict[str, Any] | None) -> None:
    """Take out of a method's settings how its start was named: what the start is stands in the identity itself."""
    for settings in (method, (method or {}).get("adapter")):
        if isinstance(settings, dict):
            settings.pop("start_from", None)
