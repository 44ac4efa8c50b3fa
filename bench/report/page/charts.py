"""The plots, as Vega-Lite: one specification each, for the page and for files alike.

A specification names the fields of its rows and nothing else; the rows, the titles of the axes and the colours of
the methods are put in by `filled` here and by the page's script there. Colours are those of Okabe and Ito (2008),
which people who see fewer colours can tell apart; shapes and dashes say the same a second time.
"""

import copy
from collections.abc import Sequence
from typing import Any

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
PHASES = ("load", "adapt", "train", "evaluate", "save")
PHASE_COLOURS = ("#999999", "#56B4E9", "#0072B2", "#E69F00", "#CC79A7")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#7F6A00")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 4])
BASE_COLOUR = "#888888"
ROW = 28  # pixels of a bar with its gap
SMOOTHED = 0.05  # share of the steps over which the loss of a batch is averaged to either side
_LABEL = {"field": "label", "type": "nominal"}


def pareto() -> Spec:
    """One column against another. Rows: label, x, x_low, x_high, y, y_low, y_high, front, base, shown_x, shown_y."""
    tips = [
        {"field": "label", "title": "method"},
        {"field": "shown_x", "title": "x"},
        {"field": "shown_y", "title": "y"},
    ]
    front = {"filter": "datum.front"}
    faint = {"condition": {"test": "datum.front", "value": 1}, "value": 0.55}
    return _spec(
        encoding={axis: _axis(axis) | {"axis": {"format": ",.4~r"}} for axis in ("x", "y")},
        layer=[
            {
                "transform": [front],
                "mark": {"type": "line", "strokeDash": [4, 4], "color": BASE_COLOUR},
                "encoding": {"order": {"field": "x", "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "opacity": 0.5},
                "encoding": {"y": _axis("y_low"), "y2": {"field": "y_high"}, "color": _method()},
            },
            {
                "mark": {"type": "rule", "opacity": 0.5},
                "encoding": {"x": _axis("x_low"), "x2": {"field": "x_high"}, "color": _method()},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 120},
                "encoding": {"color": _method(), "shape": _method(), "opacity": faint, "tooltip": tips},
            },
            {
                "transform": [front],
                "mark": {"type": "text", "align": "left", "dx": 9, "dy": -9, "fontSize": 12, "limit": 160},
                "encoding": {"text": _LABEL, "color": _method()},
            },
        ],
        height=360,
    )


def loss() -> Spec:
    """Loss of the training batches. Rows: label, x, mean, low, high, half (rows averaged to either side)."""
    over = {"sort": [{"field": "x", "order": "ascending"}], "groupby": ["label"], "frame": [-1, 1]}
    means = [{"op": "mean", "field": name, "as": name} for name in ("mean", "low", "high")]
    return _spec(
        transform=[{"window": means, **over}],
        encoding={
            "x": {"field": "x", "type": "quantitative", "scale": {"nice": False}},
            "color": _method(legend={"symbolType": "stroke", "symbolStrokeWidth": 3}),
        },
        layer=[
            {
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": {"y": _axis("low"), "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {"y": _axis("mean"), "strokeDash": _method()},
            },
        ],
        height=320,
    )


def memory() -> Spec:
    """Peaks by phase, as what each phase adds to the highest so far.

    Rows: label, order, phase, rank, added, shown, ok, status.
    """
    scale = {"domain": list(PHASES), "range": list(PHASE_COLOURS)}
    return _spec(
        mark={"type": "bar"},
        encoding={
            "y": _rows(),
            "x": {"field": "added", "type": "quantitative", "stack": "zero"},
            "color": {"field": "phase", "type": "nominal", "scale": scale, "title": None, "legend": {"orient": "top"}},
            "order": {"field": "rank", "type": "quantitative"},
            "opacity": {"condition": {"test": "datum.ok", "value": 1}, "value": 0.4},
            "tooltip": [
                {"field": "label", "title": "method"},
                {"field": "phase"},
                {"field": "shown", "title": "peak"},
                {"field": "status"},
            ],
        },
    )


def throughput() -> Spec:
    """Tokens per second with their interval. Rows: label, order, x, x_low, x_high, shown_x."""
    return _spec(
        encoding={"y": _rows()},
        layer=[
            {
                "mark": {"type": "bar"},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative", "scale": {"zero": True}},
                    "color": _method(legend=None),
                    "tooltip": [{"field": "label", "title": "method"}, {"field": "shown_x", "title": "tokens/s"}],
                },
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {"field": "x_low", "type": "quantitative"}, "x2": {"field": "x_high"}},
            },
        ],
    )


ALL = {"pareto": pareto, "loss": loss, "memory": memory, "throughput": throughput}


def styles(labels: Sequence[str], bases: Sequence[str]) -> list[dict[str, Any]]:
    """Colour, shape and dash of each label; those of `bases` are grey."""
    found, number = [], 0
    for label in labels:
        base = label in bases
        colour = BASE_COLOUR if base else COLOURS[number % len(COLOURS)]
        shape, dash = SHAPES[number % len(SHAPES)], DASHES[number // len(COLOURS) % len(DASHES)]
        found.append({"label": label, "color": colour, "shape": "circle" if base else shape, "dash": dash})
        number += not base
    return found


def filled(
    name: str, rows: Sequence[dict[str, Any]], look: Sequence[dict[str, Any]], x: str, y: str = "", **changes: Any
) -> Spec:
    """The plot `name` with its rows, its methods' looks and the titles of its axes.

    `changes`: `log_x` and `log_y` for logarithmic axes, `half` for the number of rows to average to either side.
    """
    spec = copy.deepcopy(ALL[name]())
    spec["data"] = {"values": list(rows)}
    present = {row["label"] for row in rows}
    look = [each for each in look if each["label"] in present]
    spec.setdefault("height", ROW * len(look))
    for scale, key in _scales(spec):
        scale |= {"domain": [each["label"] for each in look], "range": [each[key] for each in look]}
    places = [spec["encoding"], *(layer["encoding"] for layer in spec.get("layer", []))]
    for place in places:
        for axis, title in (("x", x), ("y", y)):
            if place.get(axis, {}).get("type") == "quantitative":
                place[axis].setdefault("title", title)
                if changes.get(f"log_{axis}"):
                    place[axis]["scale"] = {"type": "log"}
    for transform in spec.get("transform", []):
        transform["frame"] = [-changes["half"], changes["half"]]
    return spec


def config(dark: bool = False) -> dict[str, Any]:
    """Vega's settings for the page's two themes."""
    text, faint, grid = ("#e4e6ea", "#9aa4b0", "#2c3138") if dark else ("#1c1e21", "#5b6470", "#e6e8eb")
    font = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
    return {
        "background": "transparent" if dark else "white",
        "font": font,
        "axis": {
            "labelColor": faint, "titleColor": text, "gridColor": grid, "domainColor": faint, "tickColor": faint,
            "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 220,
            "labelOverlap": True, "labelSeparation": 4, "labelFlush": False,
        },
        "legend": {
            "labelColor": text, "titleColor": text, "labelFontSize": 12, "orient": "bottom", "columns": 4,
            "symbolSize": 90, "symbolOpacity": 1, "symbolLimit": 0, "labelLimit": 220,
        },
        "text": {"color": text},
        "rule": {"color": text},
        "view": {"stroke": None},
    }  # fmt: skip


def _spec(**parts: Any) -> Spec:
    return {"$schema": SCHEMA, "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}, **parts}


def _axis(field: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "scale": {"zero": False, "padding": 16}}


def _rows() -> dict[str, Any]:
    return _LABEL | {"sort": {"field": "order", "op": "min"}, "title": None}


def _method(**more: Any) -> dict[str, Any]:
    """By method; `filled` puts the scale in."""
    return _LABEL | {"title": None, "scale": {}} | more


def _scales(spec: Spec) -> list[tuple[dict[str, Any], str]]:
    """Every scale of methods in a plot, with what it says them by."""
    places = [spec["encoding"], *(layer["encoding"] for layer in spec.get("layer", []))]
    keys = {"color": "color", "shape": "shape", "strokeDash": "dash"}
    return [
        (place[channel]["scale"], key)
        for place in places
        for channel, key in keys.items()
        if place.get(channel, {}).get("field") == "label"
    ]
