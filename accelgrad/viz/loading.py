"""Figures of data loading: the workers' Gantt chart, and what padding to one length wastes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from accelgrad.viz.figures import new_figure
from accelgrad.viz.svg import BLUE, GREEN, GREY, ORANGE, RED

__all__ = ["loader_timeline", "padding_waste"]

SAND = "#f0d3ae"


def loader_timeline(records: Any, title: str = "", batches: int = 40) -> Any:
    """Who did what when: a row for each worker and one for the program, time in milliseconds.

    ``records`` is a DataLoader whose ``record_timeline()`` was called, or what its ``timeline()`` returned;
    at most the last ``batches`` of them are drawn.  Blue is fetching samples, green collating, grey packing
    and sending; in the program's row red is waiting for a batch and orange the time between two batches, its
    own work.  Returns a matplotlib Figure; ValueError without records.
    """
    found = list(records.timeline() if hasattr(records, "timeline") else records)[-batches:]
    if not found:
        raise ValueError("loader_timeline has no records: call loader.record_timeline() before iterating")
    workers = sorted({one.worker for one in found if one.worker is not None})
    rows: list[Any] = [*workers, None] if workers else [None]
    start = min(min(one.started, one.asked) for one in found)
    figure, axes = new_figure(9.0, 0.42 * len(rows) + 1.5)
    axis = axes[0, 0]

    def bar(row: int, begin: float, end: float, color: str, label: str) -> None:
        if end > begin:
            seen.setdefault(label, color)
            axis.barh(
                row, (end - begin) * 1e3, left=(begin - start) * 1e3, height=0.62, color=color, linewidth=0
            )

    seen: dict[str, str] = {}
    begun, end = min(one.started for one in found), max(max(one.delivered, one.sent) for one in found)
    early = begun - start if begun - start > 0.3 * (end - begun) else 0.0  # the workers' start would fill it
    if early:
        start = begun - 0.03 * (end - begun)
    for one in found:
        row = rows.index(one.worker)
        inside = one.worker is None
        bar(row, one.started, one.fetched, BLUE, "fetch samples")
        bar(row, one.fetched, one.collated, GREEN, "collate")
        bar(row, one.collated, one.sent, GREY, "pack and send")
        if not inside:
            bar(len(rows) - 1, one.asked, one.delivered, RED, "program waits")
    ordered = sorted(found, key=lambda one: one.delivered)
    for one, other in itertools.pairwise(ordered):
        if one.epoch == other.epoch:
            bar(len(rows) - 1, one.delivered, other.asked, ORANGE, "program works")
    for one in found:
        if one.sent - one.started > (end - start) / 60:
            row = rows.index(one.worker)
            middle = ((one.started + one.sent) / 2 - start) * 1e3
            style = {"ha": "center", "va": "center", "fontsize": 7, "color": "white", "clip_on": True}
            axis.text(middle, row, str(one.batch), **style)
    axis.set_xlim(0, (end - start) * 1.02e3)
    axis.set_yticks(range(len(rows)), [f"worker {row}" if row is not None else "program" for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel(
        "time (ms); numbers are batches"
        + (f"; the first {early:.2g} s, in which the workers started, are not drawn" if early else "")
    )
    handles = [axis.barh(0, 0, color=color, label=label) for label, color in seen.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=8, frameon=False)
    if title:
        axis.set_title(title, fontsize=11)
    return figure


def padding_waste(
    lengths: Iterable[Sequence[int]], title: str = "", **others: Iterable[Sequence[int]]
) -> Any:
    """Draw how much of each padded batch is padding.

    ``lengths`` holds, for every batch, the lengths of its samples.

    Further ways of batching are given by name and drawn below (``padding_waste(random,
    buckets=sorted_batches)``). A bar is a batch, as wide as its longest sample; the padded share stands at
    the end of the row.

    >>> figure = padding_waste([[3, 5], [2, 2]])
    >>> figure.axes[0].get_title()
    '2 of 14 places are padding (14 %)'
    """
    ways = {"": lengths, **others} if not others else {"as given": lengths, **others}
    tables = {name: [list(batch) for batch in batches] for name, batches in ways.items()}
    if not all(table and all(table) for table in tables.values()):
        raise ValueError("padding_waste expects at least one batch, and at least one length in each")
    figure, axes = new_figure(4.2 * len(tables) + 0.6, 3.4, columns=len(tables))
    widest = max(max(batch) for table in tables.values() for batch in table)
    for axis, (name, table) in zip(axes[0], tables.items(), strict=True):
        row, used, total = 0.0, 0, 0
        for batch in table:
            longest = max(batch)
            used, total = used + sum(batch), total + longest * len(batch)
            places = row + np.arange(len(batch))
            rest = [longest - one for one in batch]
            tokens = axis.barh(places, batch, height=1.0, color=BLUE, linewidth=0)
            padding = axis.barh(places, rest, left=batch, height=1.0, color=SAND, linewidth=0)
            axis.plot([0, longest], [row - 0.5 + len(batch)] * 2, color="white", linewidth=1.5)
            row += len(batch)
        waste = total - used
        share = f"{waste} of {total} places are padding ({100 * waste / total:.0f} %)"
        axis.set_title(f"{name}: {share}" if name else share, fontsize=9)
        axis.set_xlim(0, widest)
        axis.set_ylim(row - 0.5, -0.5)
        axis.set_xlabel("length (tokens)")
        axis.set_ylabel(f"sample, in {len(table)} batch{'es' if len(table) != 1 else ''}")
    figure.legend(
        [tokens, padding],
        ["tokens", "padding"],
        loc="outside lower center",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
