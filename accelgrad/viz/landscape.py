"""Figures of optimisation: the loss as a landscape with paths, and the gradients layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from accelgrad.viz.figures import _array, new_figure
from accelgrad.viz.svg import GREY, SERIES

__all__ = ["gradient_flow", "loss_surface"]


def loss_surface(
    function: Callable[[float, float], Any],
    paths: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    *,
    x: tuple[float, float] = (-2.0, 2.0),
    y: tuple[float, float] = (-2.0, 2.0),
    points: int = 60,
    labels: tuple[str, str] = ("w[0]", "w[1]"),
    logarithmic: bool = False,
    title: str = "",
) -> Any:
    """The loss over two parameters as height lines, with the path each optimizer took through it.

    ``function(a, b)`` gives the loss as a number or a tensor with one element; it is called ``points`` x
    ``points`` times.  ``paths`` maps a name to the places visited; each begins at a dot and ends at a star.
    ``logarithmic`` spaces the height lines evenly in the logarithm of the loss above its least value.
    Returns a matplotlib Figure.

    >>> figure = loss_surface(lambda a, b: a * a + b * b, {"SGD": [(1.0, 1.0), (0.5, 0.5)]}, points=5)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['SGD, 1 step']
    """
    across, up = np.linspace(*x, points), np.linspace(*y, points)
    heights = np.array([[float(function(float(a), float(b))) for a in across] for b in up])
    figure, axes = new_figure(6.4, 4.8)
    axis = axes[0, 0]
    shown, label = heights, "loss"
    if logarithmic:
        finite = heights[np.isfinite(heights)]
        rest = heights - finite.min()
        shown = np.log10(np.maximum(rest, max(float(np.ptp(finite)), 1e-12) * 1e-4))
        label = "log10(loss − least loss)"
    filled = axis.contourf(across, up, shown, levels=24, cmap="Blues_r")
    axis.contour(across, up, shown, levels=12, colors="white", linewidths=0.5, alpha=0.7)
    figure.colorbar(filled, ax=axis, label=label)
    for place, (name, path) in enumerate((paths or {}).items()):
        steps = np.array([[float(value) for value in point] for point in path])
        color = (*SERIES[1:], SERIES[0])[place % len(SERIES)]
        count = len(steps) - 1
        axis.plot(
            steps[:, 0],
            steps[:, 1],
            "-",
            color=color,
            linewidth=1.8,
            marker=".",
            markersize=4,
            label=f"{name}, {count} step{'s' if count != 1 else ''}",
        )
        axis.plot(*steps[0], "o", color=color, markersize=7, markeredgecolor="white")
        axis.plot(*steps[-1], "*", color=color, markersize=12, markeredgecolor="white")
    axis.set_xlim(*x)
    axis.set_ylim(*y)
    axis.set_xlabel(labels[0])
    axis.set_ylabel(labels[1])
    if paths:
        axis.legend(fontsize=8, loc="upper right", framealpha=0.9)
    if title:
        axis.set_title(title, fontsize=11)
    return figure


def gradient_flow(model: Any, title: str = "", **others: Any) -> Any:
    """How large the gradient of each parameter is, from the input side (left) to the output side (right).

    ``model`` is a Module after ``backward()``, or a mapping from names to gradients; further ones as keywords
    are drawn beside it (``gradient_flow(before, clipped=after)``, or, to name both,
    ``gradient_flow({}, before=before, clipped=after)``).  Bars reach the mean of ``|gradient|``,
    ticks its largest value, on a logarithmic scale; a parameter without a gradient says so, one that is zero
    everywhere or not finite too.  ValueError where there is no parameter.

    >>> figure = gradient_flow({"a": np.ones(3), "b": None})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['none']
    """
    first = _gradients(model)
    sets = {} if others and not first else {"gradient" if not others else "first": first}
    sets.update({name: _gradients(one) for name, one in others.items()})
    names = list(dict.fromkeys(name for one in sets.values() for name in one))
    if not names:
        raise ValueError("gradient_flow found no parameter to draw")
    figure, axes = new_figure(max(5.0, 0.34 * len(names) * max(1, 0.6 * len(sets)) + 1.6), 3.6)
    axis = axes[0, 0]
    width = 0.8 / len(sets)
    sizes = [
        float(np.abs(value).mean())
        for one in sets.values()
        for value in one.values()
        if value is not None and np.isfinite(value).all() and np.abs(value).max() > 0
    ]
    floor = 10.0 ** np.floor(np.log10(min(sizes)) - 0.5) if sizes else 1e-8
    for number, (label, gradients) in enumerate(sets.items()):
        color = SERIES[number % len(SERIES)]
        shown = False
        for place, name in enumerate(names):
            at = place - 0.4 + width * (number + 0.5)
            value = gradients.get(name)
            word = ""
            if value is None:
                word = "none"
            elif not np.isfinite(value).all():
                word = "nan" if np.isnan(value).any() else "inf"
            elif not np.abs(value).max() > 0:
                word = "zero"
            if word or value is None:
                axis.text(
                    at, floor * 1.15, word, rotation=90, fontsize=8, color=color, ha="center", va="bottom"
                )
                continue
            sizes_here = np.abs(value)
            axis.bar(
                at, sizes_here.mean(), width * 0.9, color=color, label=None if shown else f"{label}: mean |g|"
            )
            axis.plot(at, sizes_here.max(), "_", color="#20242b", markersize=9 * width / 0.8 + 2)
            shown = True
    axis.set_yscale("log")
    axis.set_ylim(bottom=floor)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0, fontsize=8)
    axis.set_ylabel("|gradient| (tick: largest)")
    axis.grid(axis="y", alpha=0.3, color=GREY)
    axis.set_axisbelow(True)
    if len(sets) > 1:  # above the axes, where it hides no bar
        axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(sets), frameon=False)
    if title:
        axis.set_title(title, fontsize=11, pad=26 if len(sets) > 1 else 6)
    return figure


def _gradients(model: Any) -> dict[str, np.ndarray | None]:
    if isinstance(model, Mapping):
        pairs = list(model.items())
    elif hasattr(model, "named_parameters"):
        pairs = [(name, parameter.grad) for name, parameter in model.named_parameters()]
    else:
        raise TypeError(
            f"gradient_flow expects a Module or a mapping of gradients, got {type(model).__name__}"
        )
    return {name: None if one is None else np.asarray(_array(one), dtype=np.float64) for name, one in pairs}
