"""How tensors, graphs and models show themselves in Jupyter; the console keeps the text of ``print``."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.viz.graphs import Drawing, number, shape_text
from accelgrad.viz.record import Record, host
from accelgrad.viz.summary import module_html
from accelgrad.viz.svg import GREY, INK, LINE, MONO

__all__ = ["module_html", "node_html", "tensor_html"]

ROWS, COLUMNS = 10, 12


def tensor_html(tensor: Tensor) -> str:
    """Return a table of the values, shaded by size, with what the tensor is above it.

    For more than two dimensions the table shows the first matrix.
    """
    facts = [f"shape {shape_text(tensor.array.shape)}", tensor.dtype.name, str(tensor.device)]
    if tensor.array.ndim:
        facts.append(f"strides {shape_text(tensor.stride())}")
    if tensor.grad_fn is not None:
        facts.append(f"grad_fn {tensor.grad_fn.name()}")
    elif tensor.requires_grad:
        facts.append("requires_grad" + (", has .grad" if tensor.grad is not None else ""))
    head = f'<div style="color:{GREY};margin-bottom:4px">{html.escape(", ".join(facts))}</div>'
    return (
        f'<div style="font:12px {MONO};color:{INK};background:white;padding:4px">{head}{_table(tensor)}</div>'
    )


def node_html(node: Any) -> str:
    """The graph behind a node, ``grad_fn`` say, without gradients."""
    shape = node._outputs_meta[0][0] if node.outputs > 1 else ()
    stand_in = wrap(np.zeros(shape, dtype=np.float32))
    stand_in._edge = (node, 0)
    record = Record(stand_in)
    del record.values[record.root]  # the stand-in's zeros
    return Drawing(record, "auto", 60, set()).picture()._repr_html_()


def _table(tensor: Tensor) -> str:
    values = host(tensor.array)
    if values.size == 0:
        return "empty"
    leading = values.shape[:-2]
    note = ""
    while values.ndim > 2:
        values = values[0]
    if leading:
        place = ", ".join("0" for _ in leading)
        note = f'<div style="color:{GREY};margin-top:4px">[{place}] of {math.prod(leading)} matrices</div>'
    table = values.reshape(1, -1) if values.ndim < 2 else values
    finite = np.abs(table[np.isfinite(table)]).astype(np.float64)
    most = float(finite.max()) if finite.size else 0.0
    rows, columns = min(table.shape[0], ROWS), min(table.shape[1], COLUMNS)
    lines = []
    for row in range(rows):
        cells = [_cell(table[row, column].item(), most) for column in range(columns)]
        if columns < table.shape[1]:
            cells.append(f'<td style="color:{GREY}">… {table.shape[1] - columns} more</td>')
        lines.append("<tr>" + "".join(cells) + "</tr>")
    if rows < table.shape[0]:
        lines.append(
            f'<tr><td colspan="{columns}" style="color:{GREY}">… {table.shape[0] - rows} more rows</td></tr>'
        )
    return f'<table style="border-collapse:collapse;color:{INK}">{"".join(lines)}</table>{note}'


def _cell(value: Any, most: float) -> str:
    style = f"padding:2px 7px;text-align:right;border:1px solid {LINE};"
    if isinstance(value, bool):
        style += "background:rgba(59,111,182,0.25);" if value else ""
    elif not math.isfinite(value):
        style += "background:#fdecea;color:#b3312c;"
    elif most > 0:
        color = "59,111,182" if value >= 0 else "217,130,43"
        style += f"background:rgba({color},{0.55 * abs(value) / most:.2f});"
    return f'<td style="{style}">{number(value)}</td>'
