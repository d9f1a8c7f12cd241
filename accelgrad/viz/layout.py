"""Where the boxes of a graph go: layers by longest path, few crossings, straight edges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Layout", "arrange"]

Point = tuple[float, float]


@dataclass
class Layout:
    """The centre of every box, the points each edge passes through, and the extent.

    Along = the flow's direction.
    """

    centers: list[Point] = field(default_factory=list)
    routes: list[list[Point]] = field(default_factory=list)
    along: float = 0.0
    across: float = 0.0


def arrange(
    sizes: Sequence[Point], edges: Sequence[tuple[int, int]], gap_along: float = 34, gap_across: float = 18
) -> Layout:
    """Place boxes of ``sizes`` (extent along the flow, across it) with ``edges`` (from, to) between them.

    The steps are those of layered drawing (Sugiyama, Tagawa & Toda 1981): a layer for each box; a chain of
    small boxes for an edge that spans several layers; sweeps that order each layer by the mean place of its
    neighbours; then coordinates as close to the neighbours as the order allows.

    >>> arrange([(10, 20), (10, 20), (10, 20)], [(0, 2), (1, 2)]).centers
    [(5.0, 10.0), (5.0, 48.0), (49.0, 29.0)]
    """
    count = len(sizes)
    level = _levels(count, edges)
    extents = [size[1] for size in sizes]  # across
    level = list(level)
    chains: list[list[int]] = []
    links: list[tuple[int, int]] = []
    for start, end in edges:
        chain = [start]
        for between in range(level[start] + 1, level[end]):
            level.append(between)
            extents.append(6.0)
            chain.append(len(level) - 1)
        chain.append(end)
        chains.append(chain)
        links.extend(itertools.pairwise(chain))
    layers: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
    for box, one in enumerate(level):
        layers[one].append(box)
    before: list[list[int]] = [[] for _ in level]
    after: list[list[int]] = [[] for _ in level]
    for start, end in links:
        before[end].append(start)
        after[start].append(end)
    _order(layers, before, after)
    across = _coordinates(layers, before, after, extents, gap_across)

    depth = [max((sizes[box][0] for box in layer if box < count), default=0.0) for layer in layers]
    middle: list[float] = []
    place = 0.0
    for extent in depth:
        middle.append(place + extent / 2)
        place += extent + gap_along
    result = Layout(along=max(place - gap_along, 0.0))
    result.centers = [(middle[level[box]], across[box]) for box in range(count)]
    result.across = max((across[box] + extents[box] / 2 for box in range(len(level))), default=0.0)
    for chain in chains:
        route = [(middle[level[chain[0]]] + sizes[chain[0]][0] / 2, across[chain[0]])]
        for box in chain[1:-1]:
            half = depth[level[box]] / 2
            route += [(middle[level[box]] - half, across[box]), (middle[level[box]] + half, across[box])]
        route.append((middle[level[chain[-1]]] - sizes[chain[-1]][0] / 2, across[chain[-1]]))
        result.routes.append(route)
    return result


def _levels(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: behind all that lead to it; a source stands right before its first user."""
    after: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    for start, end in edges:
        after[start].append(end)
        waits[end] += 1
    sources = [box for box in range(count) if waits[box] == 0]
    level = [0] * count
    ready = list(sources)
    while ready:
        box = ready.pop()
        for user in after[box]:
            level[user] = max(level[user], level[box] + 1)
            waits[user] -= 1
            if waits[user] == 0:
                ready.append(user)
    for box in sources:
        if after[box]:
            level[box] = min(level[user] for user in after[box]) - 1
    return level


def _order(layers: list[list[int]], before: list[list[int]], after: list[list[int]]) -> None:
    """Sort each layer by the mean place of its neighbours, back and forth.

    Keep the order with the fewest crossings.
    """
    best, fewest = [list(layer) for layer in layers], _crossings(layers, after)
    for sweep in range(16):
        if fewest == 0:
            break
        forward = sweep % 2 == 0
        near = before if forward else after
        for layer in layers if forward else reversed(layers):
            place = {box: at for other in layers for at, box in enumerate(other)}
            now = {box: at for at, box in enumerate(layer)}
            layer.sort(
                key=lambda box, near=near, place=place, now=now: (  # type: ignore[misc]
                    sum(place[one] for one in near[box]) / len(near[box]) if near[box] else now[box]
                )
            )
        crossings = _crossings(layers, after)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    layers[:] = best


def _crossings(layers: list[list[int]], after: list[list[int]]) -> int:
    total = 0
    for upper, lower in itertools.pairwise(layers):
        place = {box: at for at, box in enumerate(lower)}
        ends = [at for box in upper for at in sorted(place[one] for one in after[box])]
        total += sum(one > other for i, one in enumerate(ends) for other in ends[i + 1 :])
    return total


def _coordinates(
    layers: list[list[int]],
    before: list[list[int]],
    after: list[list[int]],
    extents: Sequence[float],
    gap: float,
) -> list[float]:
    """Return the middle of each box across the flow: as near to its neighbours' mean as order allows."""
    middle = [0.0] * len(extents)
    for layer in layers:
        at = 0.0
        for box in layer:
            middle[box] = at + extents[box] / 2
            at += extents[box] + gap
    # Sources give way: a chain of operations stays straight, its parameters stand beside it.
    weight = [1.0 if before[box] else 0.001 for box in range(len(extents))]
    for sweep in range(12):
        near = before if sweep % 2 == 0 else after
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wished = []
            for box in layer:
                total = sum(weight[one] for one in near[box])
                pull = sum(weight[one] * middle[one] for one in near[box])
                wished.append(pull / total if total else middle[box])
            weights = [weight[box] for box in layer]
            for box, value in zip(layer, _spread(layer, wished, weights, extents, gap), strict=True):
                middle[box] = value
    least = min((middle[box] - extents[box] / 2 for box in range(len(extents))), default=0.0)
    return [one - least for one in middle]


def _spread(
    layer: Sequence[int],
    wished: Sequence[float],
    weights: Sequence[float],
    extents: Sequence[float],
    gap: float,
) -> list[float]:
    """Return the places nearest to ``wished`` (least squares) that keep order and distances.

    Source: pooled adjacent violators.
    """
    offsets, at = [], 0.0
    for place, box in enumerate(layer):
        if place:
            at += (extents[layer[place - 1]] + extents[box]) / 2 + gap
        offsets.append(at)
    pools: list[tuple[float, float, int]] = []  # (sum, weight, boxes): runs at their smallest distance
    for wish, weight, offset in zip(wished, weights, offsets, strict=True):
        pools.append(((wish - offset) * weight, weight, 1))
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, heavy, boxes = pools.pop()
            held = pools.pop()
            pools.append((held[0] + total, held[1] + heavy, held[2] + boxes))
    found = [total / heavy for total, heavy, boxes in pools for _ in range(boxes)]
    return [one + offset for one, offset in zip(found, offsets, strict=True)]
