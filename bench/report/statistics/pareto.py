"""Pareto fronts: which points no other point beats in everything that counts."""

from collections.abc import Sequence

Point = Sequence[float]


def dominates(one: Point, other: Point, directions: Sequence[int]) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better; a direction is +1 where more is better."""
    gains = [direction * (a - b) for a, b, direction in zip(one, other, directions, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


def front(points: Sequence[Point], directions: Sequence[int]) -> list[bool]:
    """For each point, whether no other dominates it."""
    return [layer == 1 for layer in layers(points, directions)]


def layers(points: Sequence[Point], directions: Sequence[int]) -> list[int]:
    """For each point its front: 1 is the Pareto front, 2 the front of what is left without it, and so on.

    Non-dominated sorting (Goldberg 1989). All values must be finite.
    """
    assert all(direction in (-1, 1) for direction in directions)
    # Whoever dominates a point comes before it in this order, so its front is known when the point's is sought.
    order = sorted(range(len(points)), key=lambda i: [-d * v for d, v in zip(directions, points[i], strict=True)])
    found = [0] * len(points)
    fronts: list[list[Point]] = []
    for place in order:
        layer = next(
            (n for n, some in enumerate(fronts) if not any(dominates(p, points[place], directions) for p in some)),
            len(fronts),
        )
        if layer == len(fronts):
            fronts.append([])
        fronts[layer].append(points[place])
        found[place] = layer + 1
    return found


def dominators(points: Sequence[Point], directions: Sequence[int]) -> list[list[int]]:
    """For each point, the places of those on the Pareto front that dominate it; none if it is there itself."""
    best = [i for i, on_front in enumerate(front(points, directions)) if on_front]
    return [[i for i in best if dominates(points[i], point, directions)] for point in points]
