"""A model as a table and as a tree: layers, shapes, parameters, bytes."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.viz.graphs import shape_text
from accelgrad.viz.svg import BLUE, INK, LINE, MONO

__all__ = ["Row", "Summary", "module_html", "module_summary"]


@dataclass(frozen=True)
class Row:
    """One module: dotted name, depth in the tree, layer, shape of its output, own parameters, bytes."""

    name: str
    depth: int
    layer: str
    output: str
    parameters: int
    trainable: int
    parameter_bytes: int
    output_bytes: int


class Summary:
    """The table of a model: ``rows`` to compute with, text for the console, HTML for Jupyter."""

    def __init__(self, rows: list[Row], shared: int, example: bool) -> None:
        self.rows, self.shared, self.example = rows, shared, example

    @property
    def parameters(self) -> int:
        """The number of parameters, shared ones counted once."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """The number of parameters that require a gradient."""
        return sum(row.trainable for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters and buffers."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def output_bytes(self) -> int:
        """Bytes of the outputs of all layers without children: what a training step keeps, roughly."""
        names = [row.name for row in self.rows]
        inner = {name.rpartition(".")[0] for name in names if name}
        return sum(row.output_bytes for row in self.rows if row.name not in inner)

    def _cells(self) -> list[tuple[str, str, str, str, str]]:
        return [
            (
                "  " * row.depth + (row.name.rpartition(".")[2] or "(model)"),
                row.layer,
                row.output,
                f"{row.parameters:,}" if row.parameters else "",
                size(row.parameter_bytes) if row.parameter_bytes else "",
            )
            for row in self.rows
        ]

    def _totals(self) -> str:
        text = f"{self.parameters:,} parameters ({self.trainable:,} trained), {size(self.parameter_bytes)}"
        if self.example:
            text += f"; outputs of one forward {size(self.output_bytes)}"
        return text + (f"; {self.shared} shared" if self.shared else "")

    def __repr__(self) -> str:
        head = ("name", "layer", "output", "parameters", "bytes")
        table = [head, *self._cells()]
        widths = [max(len(line[column]) for line in table) for column in range(5)]
        lines = [
            "  ".join(
                cell.rjust(width) if column > 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:], rule, self._totals()])

    def _repr_html_(self) -> str:
        most = max((row.parameters for row in self.rows), default=0) or 1
        cell = f'style="padding:2px 10px;text-align:left;border-bottom:1px solid {LINE};white-space:pre"'
        right = cell.replace("text-align:left", "text-align:right")
        lines = []
        for row, (name, layer, output, count, amount) in zip(self.rows, self._cells(), strict=True):
            share = 100 * row.parameters / most
            bar = (
                f'<div style="background:{BLUE};height:8px;width:{share:.0f}%"></div>'
                if row.parameters
                else ""
            )
            lines.append(
                f"<tr><td {cell}>{html.escape(name)}</td><td {cell}>{html.escape(layer)}</td>"
                f"<td {cell}>{html.escape(output)}</td><td {right}>{count}</td><td {right}>{amount}</td>"
                f'<td {cell}><div style="width:90px">{bar}</div></td></tr>'
            )
        heads = "".join(
            f"<th {right if place in (3, 4) else cell}>{word}</th>"
            for place, word in enumerate(("name", "layer", "output", "parameters", "bytes", ""))
        )
        return (
            '<div style="overflow-x:auto;background:white">'
            f'<table style="border-collapse:collapse;color:{INK};font:12px {MONO}">'
            f"<tr>{heads}</tr>{''.join(lines)}</table>"
            f'<p style="font:12px {MONO};color:{INK};margin:6px 10px">{self._totals()}</p></div>'
        )


def module_summary(model: Any, *inputs: Any, **options: Any) -> Summary:
    """The table of ``model``: every module with its settings, parameters and bytes.

    With example ``inputs`` the model is run once, without gradients and in evaluation mode, and the shape of
    every output is shown; modes are put back.  A parameter that several modules share counts where it comes
    first. TypeError where ``model`` is no Module.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> module_summary(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), accelgrad.zeros(5, 4))
    name     layer         output  parameters  bytes
    ------------------------------------------------
    (model)  Sequential    (5, 2)
      0      Linear(4, 8)  (5, 8)          40  160 B
      1      ReLU()        (5, 8)
      2      Linear(8, 2)  (5, 2)          18   72 B
    ------------------------------------------------
    58 parameters (58 trained), 232 B; outputs of one forward 360 B
    """
    if not hasattr(model, "named_modules"):
        raise TypeError(f"module_summary expects a Module, got {type(model).__name__}")
    outputs: dict[int, Any] = {}
    if inputs or options:
        handles = [
            module.register_forward_hook(lambda module, args, output: outputs.__setitem__(id(module), output))
            for module in model.modules()
        ]
        modes = [(module, module.training) for module in model.modules()]
        try:
            for module, _ in modes:
                module.__dict__["training"] = False
            with no_grad():
                model(*inputs, **options)
        finally:
            for module, mode in modes:
                module.__dict__["training"] = mode
            for handle in handles:
                handle.remove()
    seen: set[int] = set()
    shared = 0
    rows = []
    for name, module in model.named_modules():
        own = [one for one in module._parameters.values() if one is not None]
        fresh = [one for one in own if id(one) not in seen]
        shared += len(own) - len(fresh)
        seen.update(id(one) for one in fresh)
        buffers = [one for one in module._buffers.values() if one is not None]
        tensors = _tensors(outputs.get(id(module)))
        rows.append(
            Row(
                name,
                name.count(".") + 1 if name else 0,
                layer_text(module),
                ", ".join(shape_text(one.shape) for one in tensors[:2])
                + (", ..." if len(tensors) > 2 else ""),
                sum(one.numel() for one in fresh),
                sum(one.numel() for one in fresh if one.requires_grad),
                sum(one.nbytes for one in [*fresh, *buffers]),
                sum(one.nbytes for one in tensors),
            )
        )
    return Summary(rows, shared, bool(inputs or options))


def layer_text(module: Any) -> str:
    """A layer with its settings in short; a container by its name alone."""
    name = type(module).__name__
    if module._modules:
        return name
    extra = " ".join(module.extra_repr().split())
    for word in ("in_features=", "out_features=", ", bias=True"):
        extra = extra.replace(word, "")
    text = f"{name}({extra})"
    return text if len(text) <= 46 else text[:43] + "...)"


def module_html(model: Any) -> str:
    """Return the printed tree of a model with folding children, and bars for the shares of parameters."""
    total = sum(one.numel() for one in model.parameters()) or 1
    style = f"font:12px {MONO};color:{INK};background:white;padding:4px"
    return f'<div style="{style}">{_branch(model, "", total, 0)}</div>'


def _branch(module: Any, name: str, total: int, depth: int) -> str:
    count = sum(one.numel() for one in module.parameters())
    label = (f"({html.escape(name)}): " if name else "") + html.escape(layer_text(module))
    bar = (
        f'<span style="display:inline-block;background:{BLUE};height:8px;margin:0 6px 0 12px;'
        f'width:{max(1.0, 120 * count / total):.0f}px"></span>{count:,}'
        if count
        else ""
    )
    style = f"margin-left:{0 if depth == 0 else 18}px"
    if not module._modules:
        return f'<div style="{style}">{label}{bar}</div>'
    children = "".join(
        _branch(child, key, total, depth + 1) for key, child in module._modules.items() if child is not None
    )
    opened = " open" if depth < 2 else ""
    return f'<details{opened} style="{style}"><summary>{label}{bar}</summary>{children}</details>'


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [one for part in value for one in _tensors(part)]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    return []


def size(count: float) -> str:
    """A number of bytes in the unit that reads best."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
