"""The computation graph as a picture, and the reverse sweep through it step by step."""

from __future__ import annotations

import html
import inspect
import itertools
import math
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from accelgrad.core.graph import Node
from accelgrad.core.tensor import Tensor
from accelgrad.viz.layout import arrange
from accelgrad.viz.record import Record, host, operation, read
from accelgrad.viz.svg import (
    BLUE,
    GREY,
    INK,
    LINE,
    MONO,
    ORANGE,
    PALE,
    RED,
    SOFT,
    SVG,
    VIOLET,
    Canvas,
    page,
    text_width,
)

__all__ = ["Sweep", "computation_graph", "reverse_sweep"]

WIDEST = 980  # pixels of a notebook's output


def computation_graph(
    tensor: Tensor,
    model: Any = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    gradients: bool = True,
    direction: str = "auto",
    max_nodes: int = 120,
    marked: Collection[Node] = (),
) -> SVG:
    """The graph behind ``tensor``: a box for every operation with its result's value, shape and gradient.

    Blue boxes are tensors that collect a gradient, grey ones are data, the orange one is ``tensor`` itself.
    Leaves are named after ``names``, the parameters of ``model``, or the caller's variables.  A value is
    shown as far as the graph saved it.  Gradients come from a walk that accumulates nothing and frees
    nothing; a tensor with several elements is taken to have gradient 1 everywhere.  ``direction`` is "right",
    "down", or "auto" (right where that fits a notebook).  Of a graph with more than ``max_nodes`` operations
    the last ones are drawn. ``marked`` nodes get a red frame.

    >>> import accelgrad
    >>> a = accelgrad.tensor(2.0, requires_grad=True)
    >>> picture = computation_graph(a * a + 1)
    >>> "Mul" in picture.text and "Add" in picture.text
    True
    """
    if direction not in ("auto", "right", "down"):
        raise ValueError(f"direction is 'auto', 'right' or 'down', got {direction!r}")
    record = read(tensor, model, names)
    if gradients:
        record.probe()
    return Drawing(record, direction, max_nodes, set(marked)).picture()


def reverse_sweep(
    tensor: Tensor,
    model: Any = None,
    *,
    names: Mapping[str, Tensor] | None = None,
    direction: str = "auto",
    max_nodes: int = 60,
) -> Sweep:
    """Draw the walk back from ``tensor`` as frames.

    In each, one operation receives its gradient and sends its inputs theirs.

    Returns a :class:`Sweep`: its ``frames`` are pictures, its ``captions`` say what happens, and in Jupyter
    it is stepped through.  Arguments as for :func:`computation_graph`.

    >>> import accelgrad
    >>> a = accelgrad.tensor(2.0, requires_grad=True)
    >>> reverse_sweep(a * 3).captions[1]
    'Mul: z = x y,  dL/dx = dL/dz y,  dL/dy = dL/dz x.'
    """
    if direction not in ("auto", "right", "down"):
        raise ValueError(f"direction is 'auto', 'right' or 'down', got {direction!r}")
    record = read(tensor, model, names)
    record.probe()
    drawing = Drawing(record, direction, max_nodes, set())
    frames = [drawing.picture(frame=0)]
    captions = ["The gradient of the result itself is 1." if tensor.numel() == 1 else "Start with ones."]
    steps = [node for node in record.order if not node.is_leaf and node in drawing.place]
    for number, node in enumerate(steps, 1):
        frames.append(drawing.picture(frame=number, steps=steps))
        failure = record.failures.get(node)
        captions.append(f"{operation(node)}: {failure or formula(node)}".rstrip(": "))
    frames.append(drawing.picture())
    ends = sum(leaf in drawing.place for leaf in record.leaves)
    captions.append(f"Done: {ends} tensor{'s' if ends != 1 else ''} collected a gradient in .grad.")
    return Sweep(frames, captions)


def formula(node: Node) -> str:
    """Return the first line of a primitive's docstring: usually its formula and its derivative."""
    said = inspect.getdoc(getattr(node, "primitive", None)) or ""
    return said.split("\n\n")[0].replace("\n", " ").strip()


class Drawing:
    """One graph with its boxes placed; :meth:`picture` draws it, whole or as a frame of the sweep."""

    def __init__(self, record: Record, direction: str, max_nodes: int, marked: set[Node]) -> None:
        self.record, self.marked = record, marked
        operations = [node for node in record.nodes if not node.is_leaf]
        self.hidden = max(0, len(operations) - max_nodes)
        shown = set(operations[self.hidden :]) or {record.root[0]}
        users = {edge[0] for node in shown for edge in node.edges if edge is not None}
        shown |= {node for node in users if node.is_leaf}
        self.boxes: list[tuple[str, Any]] = []  # ("node", node) or ("constant", (node, place))
        self.place: dict[Any, int] = {}
        for node in record.nodes:
            if node in shown:
                self.place[node] = len(self.boxes)
                self.boxes.append(("node", node))
        for (node, place), array in record.constants.items():
            if node in shown:
                known = next(
                    (key for key, other in record.constants.items() if other is array and key in self.place),
                    None,
                )
                if known is None:
                    self.place[(node, place)] = len(self.boxes)
                    self.boxes.append(("constant", (node, place)))
                else:
                    self.place[(node, place)] = self.place[known]
        self.edges: list[tuple[int, int, Node, int]] = []
        for node in shown:
            for place, edge in enumerate(node.edges):
                source = edge[0] if edge is not None else (node, place)
                if source in self.place:
                    self.edges.append((self.place[source], self.place[node], node, place))
        self.edges.sort(key=lambda edge: (edge[1], edge[3]))
        self.lines = [self.text_of(kind, what) for kind, what in self.boxes]
        self.sizes = [
            (max(text_width(line, 11) for line, _ in lines) + 18, 16.0 * len(lines) + 8)
            for lines in self.lines
        ]
        self.down = direction == "down" or (direction == "auto" and not self._fits())
        self._lay()

    def _fits(self) -> bool:
        layout = arrange(self.sizes, [edge[:2] for edge in self.edges])
        return layout.along <= WIDEST

    def _lay(self) -> None:
        sizes = [(h, w) for w, h in self.sizes] if self.down else self.sizes
        self.layout = arrange(sizes, [edge[:2] for edge in self.edges], gap_along=30 if self.down else 36)

    # --- the texts

    def text_of(self, kind: str, what: Any) -> list[tuple[str, str]]:
        """The lines of a box with their roles: title, value, gradient."""
        record = self.record
        if kind == "constant":
            name = record.names.get(("constant", *what), "")
            array = record.constants[what]
            return [(name or "data", "title"), *value_lines(array)]
        node: Node = what
        name = record.names.get((node, 0), "")
        title = (name or "leaf") if node.is_leaf else operation(node) + (f" → {name}" if name else "")
        lines = [(title, "title")]
        value = record.values.get((node, 0))
        if value is not None:
            lines += value_lines(value)
        elif not node.is_leaf:
            shape = self._shape(node)
            if shape is not None:
                lines.append((shape_text(shape), "value"))
        gradient = record.gradients.get((node, 0))
        if gradient is not None:
            lines.append((f"grad {brief(gradient)}", "gradient"))
        elif node in record.failures or node.is_leaf:
            lines.append(("no gradient" if record.order else "", "gradient"))
        return [line for line in lines if line[0]]

    def _shape(self, node: Node) -> tuple[int, ...] | None:
        gradient = self.record.gradients.get((node, 0))
        if gradient is not None:
            return gradient.shape
        for user in self.record.nodes:
            for edge, meta in zip(user.edges, getattr(user, "_shapes", ()), strict=False):
                if edge == (node, 0) and meta is not None:
                    return meta[0]
        return None

    # --- the drawing

    def picture(self, frame: int | None = None, steps: list[Node] | None = None) -> SVG:
        """The graph; with ``frame`` only the gradients known after that many steps of the sweep."""
        canvas = Canvas()
        top = 10.0 + (20 if self.hidden else 0)
        if self.hidden:
            canvas.text(10, 18, f"... {self.hidden} earlier operations are not drawn", 11, GREY)
        steps = steps or []
        active = steps[frame - 1] if frame else None
        done = set(steps[: frame or 0])
        received = {self.record.root[0]} if frame is not None else set()
        if frame is not None:
            for node in done:
                received |= {edge[0] for edge in node.edges if edge is not None}

        def at(point: tuple[float, float]) -> tuple[float, float]:
            x, y = (point[1], point[0]) if self.down else point
            return x + 10, y + top

        for (_, _, node, place), route in zip(self.edges, self.layout.routes, strict=True):
            edge = node.edges[place]
            flowing = active is not None and node is active and edge is not None
            color = ORANGE if flowing else (LINE if edge is not None else "#d5d9df")
            points = [at(point) for point in route]
            if flowing:
                points.reverse()
            canvas.path(self._curve(points), color, 2.4 if flowing else 1.2, True)
        for box, (kind, what) in enumerate(self.boxes):
            x, y = at(self.layout.centers[box])
            width, height = self.sizes[box]
            known = kind == "node" and (frame is None or what in received)
            self._box(canvas, kind, what, x - width / 2, y - height / 2, width, height, box, known, active)
        self._legend(canvas, canvas.bottom + 22)
        return canvas.finish(title=f"computation graph, {len(self.boxes)} boxes")

    def _curve(self, points: list[tuple[float, float]]) -> str:
        parts = [f"M {points[0][0]:.1f} {points[0][1]:.1f}"]
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            if self.down:
                middle = (y + to_y) / 2
                parts.append(f"C {x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
            else:
                middle = (x + to_x) / 2
                parts.append(f"C {middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
        return " ".join(parts)

    def _box(
        self,
        canvas: Canvas,
        kind: str,
        what: Any,
        x: float,
        y: float,
        width: float,
        height: float,
        box: int,
        known: bool,
        active: Node | None,
    ) -> None:
        if kind == "constant":
            fill, stroke, dash = PALE, LINE, "4 3"
        elif what is self.record.root[0]:
            fill, stroke, dash = SOFT[ORANGE], ORANGE, ""
        elif what.is_leaf:
            fill, stroke, dash = SOFT[BLUE], BLUE, ""
        else:
            fill, stroke, dash = "white", GREY, ""
        thick = 1.2
        if kind == "node" and (what in self.marked or what in self.record.failures):
            fill, stroke, thick = SOFT[RED], RED, 2.4
        if kind == "node" and what is active:
            stroke, thick = ORANGE, 3.0
        canvas.box(x, y, width, height, fill, stroke, 5, dash, thick)
        for row, (line, role) in enumerate(self.lines[box]):
            if role == "gradient" and not known:
                continue
            color = {"title": INK, "value": INK, "gradient": VIOLET}[role]
            if kind == "constant":
                color = GREY
            canvas.text(x + width / 2, y + 16 + 16 * row, line, 11, color, "middle", role == "title")

    def _legend(self, canvas: Canvas, y: float) -> None:
        x = 10.0
        entries = [
            (SOFT[BLUE], BLUE, "", "collects a gradient"),
            ("white", GREY, "", "operation"),
            (SOFT[ORANGE], ORANGE, "", "the result"),
            (PALE, LINE, "4 3", "data"),
        ]
        for fill, stroke, dash, label in entries:
            if label == "data" and not any(kind == "constant" for kind, _ in self.boxes):
                continue
            canvas.box(x, y - 9, 14, 11, fill, stroke, 2, dash)
            canvas.text(x + 19, y, label, 10, GREY)
            x += 31 + text_width(label, 10)
            if x > 330 and label != "data":
                x, y = 10.0, y + 18
        if self.record.gradients:
            canvas.text(x, y, "grad = d(result)/d(this)", 10, VIOLET)


class Sweep:
    """The frames of a reverse sweep, stepped through in Jupyter without any script.

    ``save`` writes an HTML page.
    """

    def __init__(self, frames: list[SVG], captions: list[str]) -> None:
        self.frames, self.captions = frames, captions

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<Sweep of {len(self.frames)} frames; .save('sweep.html') writes it>"

    def _repr_html_(self) -> str:
        name = f"sweep{id(self):x}"
        count = len(self.frames)
        rules = "".join(
            f"#{name}-{i}:checked~.{name} .f{i}{{display:block}}#{name}-{i}:checked~.{name}-steps"
            f" label.s{i}{{background:{ORANGE};color:white}}"
            for i in range(count)
        )
        style = (
            f"<style>.{name} .f{{display:none}}.{name}-root>input{{display:none}}{rules}.{name}-steps"
            " label{display:inline-block;min-width:1.4em;text-align:center;margin:0 3px 3px 0;padding:1px"
            f" 5px;border:1px solid {LINE};border-radius:3px;cursor:pointer;font:12px {MONO}}}.{name}"
            f" p{{font:13px {MONO};margin:6px 0;color:{INK}}}</style>"
        )
        inputs = "".join(
            f'<input type="radio" name="{name}" id="{name}-{i}"{" checked" if i == 0 else ""}>'
            for i in range(count)
        )
        labels = "".join(f'<label for="{name}-{i}" class="s{i}">{i}</label>' for i in range(count))
        bodies = "".join(
            f'<div class="f f{i}"><p>step {i} of {count - 1}: {html.escape(caption)}</p>'
            f"{frame._repr_html_()}</div>"
            for i, (frame, caption) in enumerate(zip(self.frames, self.captions, strict=True))
        )
        return (
            f'{style}<div class="{name}-root" style="background:white;padding:6px">{inputs}'
            f'<div class="{name}-steps">{labels}</div><div class="{name}">{bodies}</div></div>'
        )

    def save(self, path: Any) -> None:
        """Write the sweep as one HTML page; ValueError for another ending than ``.html``."""
        path = pathlib.Path(path)
        if path.suffix != ".html":
            raise ValueError(f"a sweep is saved as .html, got {path.name!r}; its frames as .svg")
        path.write_text(page(self._repr_html_()), encoding="utf-8")


# --- values in words


def value_lines(array: Any) -> list[tuple[str, str]]:
    """A value in at most two lines: the shape, and the numbers or their range."""
    shape = getattr(array, "shape", ())
    return [(line, "value") for line in ([shape_text(shape)] if shape else []) + [f"= {brief(array)}"]]


def brief(array: Any) -> str:
    """The numbers of a small array, the range of a large one."""
    values = host(array)
    if values.size == 0:
        return "empty"
    if values.ndim == 0:
        return number(values.item())
    if values.size <= 4 and values.ndim == 1:
        return "[" + ", ".join(number(one) for one in values.tolist()) + "]"
    low, high = values.min(), values.max()
    if low == high or (math.isnan(low) if values.dtype.kind == "f" else False):
        bad = int(np.isnan(values).sum()) if values.dtype.kind == "f" else 0
        return f"{bad} of {values.size} nan" if bad else f"all {number(low.item())}"
    return f"{number(low.item())} … {number(high.item())}"


def number(value: Any) -> str:
    """A number in few letters."""
    if isinstance(value, float):
        text = f"{value:.4g}" if abs(value) < 1e4 else f"{value:.2e}"
        return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("-", "−")
    return str(value)


def shape_text(shape: Any) -> str:
    """A shape as it is written: ``(3, 4)``; ``scalar`` for none."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" if len(shape) else "scalar"
