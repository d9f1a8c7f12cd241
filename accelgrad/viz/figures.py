"""Figures of a training run: loss curves, confusion matrices, grids of samples (by matplotlib)."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["attention_maps", "confusion_matrix", "image_grid", "training_curves"]

BLUE, ORANGE, GREY = "#3b6fb6", "#d9822b", "#8a8f98"


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A matplotlib figure of ``width`` x ``height`` inches with its axes, drawn without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _figure_class()(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


@functools.cache
def _figure_class() -> Any:
    """A Figure that shows itself in Jupyter, also where pyplot has not prepared the notebook for figures."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return Picture


def _array(values: Any) -> np.ndarray:
    detached = values.detach() if hasattr(values, "detach") else values
    return np.asarray(detached.numpy(force=True) if hasattr(detached, "numpy") else detached)


def training_curves(history: Mapping[str, Sequence[float]], title: str = "") -> Any:
    """Loss and accuracy by epoch.

    ``history`` has the lists ``loss`` and, if known, ``test_loss``, ``accuracy`` and ``test_accuracy``
    (fractions), one value per epoch.  Returns a matplotlib Figure.

    >>> training_curves({"loss": [1.0, 0.5], "accuracy": [0.6, 0.9]}).get_size_inches().tolist()
    [8.0, 3.2]
    """
    figure, axes = new_figure(8.0, 3.2, columns=2)
    pairs = (
        (axes[0, 0], "loss", "mean loss per sample (nats)", 1.0),
        (axes[0, 1], "accuracy", "accuracy (%)", 100.0),
    )
    for axis, name, label, scale in pairs:
        for key, color, legend in ((name, BLUE, "training"), (f"test_{name}", ORANGE, "held out")):
            values = history.get(key, ())
            if len(values):
                axis.plot(
                    range(1, len(values) + 1),
                    scale * np.asarray(values),
                    "o-",
                    color=color,
                    label=legend,
                    markersize=3,
                )
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.lines:
            axis.legend(frameon=False)
    if title:
        figure.suptitle(title)
    return figure


def confusion_matrix(matrix: Any, classes: Sequence[str], title: str = "") -> Any:
    """How often each class (row) was taken for each other (column); ``matrix`` holds counts, (n, n).

    Cells are shaded by the share of their row; counts stand in them.  ValueError where the shape does not
    fit.

    >>> figure = confusion_matrix([[9, 1], [0, 8]], ["cat", "dog"])
    >>> figure.axes[0].get_xlabel()
    'predicted'
    """
    counts = _array(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"confusion_matrix expects ({len(classes)}, {len(classes)}) counts for {len(classes)} classes,"
            f" got {counts.shape}"
        )
    size = max(3.2, 0.46 * len(classes) + 1.2)
    figure, axes = new_figure(size + 0.4, size)
    axis = axes[0, 0]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            color = "white" if share[row, column] > 0.5 else "#20242b"
            axis.text(
                column, row, f"{counts[row, column]:g}", ha="center", va="center", color=color, fontsize=8
            )
    axis.set_xticks(range(len(classes)), classes)
    axis.set_yticks(range(len(classes)), classes)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    axis.set_title(title or f"confusion matrix, {int(counts.sum())} samples", fontsize=10)
    return figure


def image_grid(images: Any, titles: Sequence[str] | None = None, columns: int = 8, title: str = "") -> Any:
    """Pictures side by side: (n, h, w) or (n, c, h, w) with 1 or 3 channels, each with its own grey range.

    >>> len(image_grid(np.zeros((3, 8, 8)), titles=["a", "b", "c"], columns=3).axes)
    3
    """
    pictures = _array(images)
    if pictures.ndim == 4:
        pictures = pictures[:, 0] if pictures.shape[1] == 1 else np.moveaxis(pictures, 1, -1)
    count = len(pictures)
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    head = 0.45 if title else 0.0
    figure, axes = new_figure(1.05 * columns + 0.2, (1.35 if titles else 1.1) * rows + head, rows, columns)
    for place, axis in enumerate(axes.flat):
        axis.set_axis_off()
        if place >= count:
            axis.remove()
            continue
        axis.imshow(pictures[place], cmap="gray_r" if pictures[place].ndim == 2 else None)
        if titles:
            axis.set_title(titles[place], fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def attention_maps(
    weights: Any,
    queries: Sequence[str] | None = None,
    keys: Sequence[str] | None = None,
    columns: int = 4,
    title: str = "",
) -> Any:
    """Draw which key each query looks at.

    ``weights`` is (queries, keys) or (heads, queries, keys), with rows summing to 1.

    Rows are queries, columns keys; tokens are written where there are at most 24 of them.

    >>> attention_maps(np.full((2, 3, 3), 1 / 3), list("abc"), list("abc")).axes[0].get_title()
    'head 0'
    """
    maps = _array(weights)
    if maps.ndim == 2:
        maps = maps[None]
    if maps.ndim != 3:
        raise ValueError(
            f"attention_maps expects (heads, queries, keys) or (queries, keys), got {maps.shape}"
        )
    for name, tokens, extent in (("queries", queries, maps.shape[1]), ("keys", keys, maps.shape[2])):
        if tokens is not None and len(tokens) != extent:
            raise ValueError(f"attention_maps got {len(tokens)} {name} for weights of shape {maps.shape}")
    heads = len(maps)
    columns = max(1, min(columns, heads))
    rows = -(-heads // columns)
    side = min(4.6, max(2.2, 0.21 * max(maps.shape[1:]) + 1.0))
    figure, axes = new_figure(side * columns + 0.6, side * rows + (0.4 if title else 0.1), rows, columns)
    for place, axis in enumerate(axes.flat):
        if place >= heads:
            axis.remove()
            continue
        image = axis.imshow(maps[place], cmap="Blues", vmin=0, vmax=float(maps.max()) or 1.0)
        if heads > 1:
            axis.set_title(f"head {place}", fontsize=9)
        if keys is not None and len(keys) <= 24:
            axis.set_xticks(range(len(keys)), keys, rotation=90, fontsize=8)
        if queries is not None and len(queries) <= 24:
            axis.set_yticks(range(len(queries)), queries, fontsize=8)
        axis.set_xlabel("key", fontsize=9)
        axis.set_ylabel("query", fontsize=9)
    figure.colorbar(image, ax=axes.ravel().tolist()[:heads], shrink=0.8, label="attention weight")
    if title:
        figure.suptitle(title, fontsize=11)
    return figure
