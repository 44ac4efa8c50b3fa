"""Name the rows of a section by what tells them from each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.records.keys import flat
from bench.report import imported
from bench.report.facts import MIXABLE
from bench.report.visible import visible

if TYPE_CHECKING:
    from bench.report.sections import Group

WHOLE = {"model": "model.name", "task": "task.name", "hardware": "hardware", "budget": "budget.name"}


def label(groups: Sequence["Group"], mix: Sequence[str] = ()) -> dict[str, list[str]]:
    """Name each group by its method, by the settings that tell it from others, and by what is mixed on request.

    Settings of the method are named among groups of one title, those of the training loop wherever they differ.

    Returns:
        What is mixed and does differ, by the name in `mix`, each with its values.
    """
    mixed = {name: each for name in mix if len(set(each := _mixture(groups, name))) > 1}
    told = [name for name in mixed if name != "source"]  # imported rows are marked anyway
    marks = [[text for name in told if (text := mixed[name][place])] for place in range(len(groups))]
    own = [place for place, group in enumerate(groups) if not group.imported]
    settings = _settings([groups[place] for place in own], [marks[place] for place in own])
    details = dict(zip(own, settings, strict=True))
    for place, group in enumerate(groups):
        title = imported.label(group.records[0]) if group.imported else group.records[0].method
        shown = [*details.get(place, ()), *marks[place]]
        group.label = visible(title + (f" ({', '.join(shown)})" if shown else ""))
    return {name: sorted({text.removeprefix(f"{name}=") for text in each if text}) for name, each in mixed.items()}


def _settings(groups: Sequence["Group"], marks: Sequence[list[str]]) -> list[list[str]]:
    """For each group the settings that tell it from others with the same marks."""
    seen: dict[int, dict[str, Any]] = {}  # by the identity of the settings, which runs share

    def known(group: "Group", part: str) -> dict[str, Any]:
        found = group.records[0].config.get(part)
        if id(found) not in seen:
            seen[id(found)] = flat({part: found})
        return seen[id(found)]

    settings = [known(group, "method") | known(group, "train") for group in groups]
    everywhere = _differing([each for each, group in zip(settings, groups, strict=True) if not group.base], "train.")
    twins: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        twins.setdefault(group.records[0].method, []).append(place)
    names = {method: _differing([settings[place] for place in places], "method.") for method, places in twins.items()}
    found = []
    for group, each, mark in zip(groups, settings, marks, strict=True):
        method = group.records[0].method
        keys = [*([] if group.base else everywhere), *names[method]]
        alone = len({groups[place].records[0].group for place in twins[method] if marks[place] == mark}) == 1
        found.append([f"{key}={_shown(each.get(key))}" for key in keys] or ([] if alone else [group.records[0].group]))
    return found


def _mixture(groups: Sequence["Group"], name: str) -> list[str]:
    """For each group what it is, of that which `name` in --mix stands for, as far as the groups differ in it."""
    settings = [flat({fact: group.facts[fact] for fact in MIXABLE[name]}) for group in groups]
    if name == "source":
        return [each["source"] or "own runs" for each in settings]
    trained = [each for each, group in zip(settings, groups, strict=True) if not (group.base and name == "budget")]
    keys, whole = _differing(trained, ""), WHOLE.get(name, "")
    if whole in keys and len({each.get(whole) for each in trained}) == len({repr(each) for each in trained}):
        keys = [whole]
    titles = {key: name if key == whole else key.removeprefix("libraries.") for key in keys}
    return [", ".join(f"{titles[key]}={_shown(each[key])}" for key in keys if key in each) for each in settings]


def _differing(settings: list[dict[str, Any]], prefix: str) -> list[str]:
    keys = sorted({key for each in settings for key in each if key.startswith(prefix)})
    return [key for key in keys if any(_given(each, key) != _given(settings[0], key) for each in settings)]


def _given(settings: dict[str, Any], key: str) -> Any:
    """A setting; an empty text is as one that there was not yet when the record was written."""
    value = settings.get(key)
    return None if value == "" else value


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
