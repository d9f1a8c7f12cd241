"""Figures of speed: the ladder from a slow way to a fast one, and the roofline of a machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from accelgrad.viz.figures import new_figure
from accelgrad.viz.svg import BLUE, GREY, ORANGE, SERIES

__all__ = ["roofline", "speed_ladder"]


def speed_ladder(seconds: Mapping[str, float], title: str = "", work: float | None = None) -> Any:
    """Draw ways of computing one thing, slowest first, each with its time and its speed-up.

    ``seconds`` maps a way to its time; with ``work`` (floating point operations) the rate is written too.
    Returns a matplotlib Figure; ValueError for no way, or a time that is not positive.

    >>> figure = speed_ladder({"loops": 2.0, "NumPy": 0.01})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['2.00 s', '10.0 ms, 200 x']
    """
    if not seconds or min(seconds.values()) <= 0:
        raise ValueError(f"speed_ladder expects positive times, got {dict(seconds)}")
    names, times = list(seconds), list(seconds.values())
    figure, axes = new_figure(7.4, 0.42 * len(names) + 1.0)
    axis = axes[0, 0]
    axis.barh(range(len(names)), times, color=[ORANGE] + [BLUE] * (len(names) - 1), height=0.62)
    for place, time in enumerate(times):
        text = duration(time)
        if place:
            ratio = times[0] / time
            text += f", {ratio:.0f} x" if ratio >= 10 else f", {ratio:.1f} x"
        if work:
            text += f", {work / time / 1e9:.3g} GFLOP/s"
        axis.text(time * 1.15, place, text, va="center", fontsize=9)
    axis.set_xscale("log")
    axis.set_xlim(min(times) / 3, max(times) * (300 if work else 12))
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlabel("time (s), logarithmic; shorter is better")
    if title:
        axis.set_title(title, fontsize=11)
    return figure


def duration(seconds: float) -> str:
    """A time in the unit that reads best."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return (
                f"{seconds / scale:.3g} {unit}"
                if seconds / scale >= 100
                else f"{seconds / scale:#.3g} {unit}"
            )
    return f"{seconds * 1e9:.3g} ns"


def roofline(
    peak: float, bandwidth: float, kernels: Mapping[str, tuple[float, float, float]], title: str = ""
) -> Any:
    """How close kernels come to what the machine allows: computing or moving memory is the limit.

    ``peak`` is the machine's floating point operations a second, ``bandwidth`` its bytes a second;
    ``kernels`` maps a name to (operations, bytes moved, seconds).  Under the slope memory is the limit, under
    the flat roof computing is (Williams, Waterman & Patterson 2009).  Returns a matplotlib Figure.

    >>> figure = roofline(1e11, 2e10, {"sum": (1e6, 4e6, 3e-4)})
    >>> figure.axes[0].get_xlabel()
    'operations per byte moved'
    """
    if peak <= 0 or bandwidth <= 0 or any(min(one) <= 0 for one in kernels.values()):
        raise ValueError(
            "roofline expects a positive peak and bandwidth, and positive numbers for every kernel"
        )
    figure, axes = new_figure(7.0, 4.2)
    axis = axes[0, 0]
    ridge = peak / bandwidth
    intensities = [flops / moved for flops, moved, _ in kernels.values()]
    low = min([ridge / 30, *(one / 3 for one in intensities)])
    high = max([ridge * 30, *(one * 8 for one in intensities)])
    x = np.geomspace(low, high, 200)
    axis.plot(x, np.minimum(peak, x * bandwidth) / 1e9, color=GREY, linewidth=2)
    axis.axvline(ridge, color=GREY, linewidth=0.8, linestyle=":")
    for place, (name, (flops, moved, seconds)) in enumerate(kernels.items()):
        intensity, rate = flops / moved, flops / seconds
        share = 100 * rate / min(peak, intensity * bandwidth)
        axis.plot(
            intensity,
            rate / 1e9,
            "o",
            color=SERIES[place % len(SERIES)],
            markersize=7,
            label=f"{name}: {rate / 1e9:.3g} GFLOP/s, {share:.0f} % of the roof",
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlim(low, high)
    axis.set_xlabel("operations per byte moved")
    axis.set_ylabel("GFLOP/s")
    roof = f"roof: {peak / 1e9:.3g} GFLOP/s, slope: {bandwidth / 1e9:.3g} GB/s"
    axis.set_title(f"{title}\n{roof}" if title else roof, fontsize=10)
    axis.grid(alpha=0.25, which="both")
    if kernels:
        axis.legend(fontsize=8, loc="lower right")
    return figure
