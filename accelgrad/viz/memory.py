"""Tensors as memory and as grids: the ribbon of a view, broadcasting, gather (SVG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.viz.graphs import number, shape_text
from accelgrad.viz.record import host, names_of_caller
from accelgrad.viz.svg import GREY, INK, LINE, ORANGE, PALE, RED, SERIES, SOFT, SVG, Canvas, text_width

__all__ = ["broadcasting", "gather_arrows", "memory_ribbon"]

CELL = 24.0


def memory_ribbon(*tensors: Tensor, names: Sequence[str] = (), most: int = 36) -> SVG:
    """Draw the memory behind tensors: its cells, and below which of them each tensor shows at which index.

    Tensors that share memory stand under one ribbon; beside each are its shape, strides (in elements) and
    offset. A cell that several indices show, as in an expanded tensor, says how many.  At most ``most`` cells
    are drawn. ValueError without tensors.

    >>> import accelgrad
    >>> x = accelgrad.arange(6).reshape(2, 3)
    >>> "strides (1, 3)" in memory_ribbon(x, x.T).text
    True
    """
    if not tensors:
        raise ValueError("memory_ribbon expects at least one tensor")
    for one in tensors:
        if not isinstance(one, Tensor):
            raise ValueError(f"memory_ribbon draws tensors, got a {type(one).__name__}")
    held = {id(value): name for name, value in names_of_caller().items()}
    labels = [
        names[place] if place < len(names) else held.get(id(one), f"tensor {place}")
        for place, one in enumerate(tensors)
    ]
    groups: list[tuple[int, int, list[int]]] = []  # (first byte, last byte, tensors)
    for place, one in enumerate(tensors):
        first, last = _span(one.array)
        group = [place]
        for other in [g for g in groups if g[0] < last and first < g[1]]:
            groups.remove(other)
            first, last, group = min(first, other[0]), max(last, other[1]), other[2] + group
        groups.append((first, last, group))

    canvas = Canvas()
    y = 12.0
    about = [line for one, label in zip(tensors, labels, strict=True) for line in _about(one, label)]
    left = 26 + max(text_width(line) for line in about)
    for number_of_group, (first, last, group) in enumerate(sorted(groups, key=lambda g: min(g[2]))):
        if number_of_group:
            y += 26
        y = _ribbon(
            canvas, [tensors[i] for i in group], [labels[i] for i in group], group, first, last, left, y, most
        )
    return canvas.finish(title="the memory of " + ", ".join(labels))


def _ribbon(
    canvas: Canvas,
    tensors: list[Tensor],
    labels: list[str],
    places: list[int],
    first: int,
    last: int,
    left: float,
    y: float,
    most: int,
) -> float:
    """One piece of memory with the tensors that show it; returns the y below."""
    item = min(one.array.itemsize for one in tensors)
    cells = max(1, (last - first) // item)
    shown = min(cells, most)
    owner = max(tensors, key=lambda one: one.array.size)
    memory = np.frombuffer(_bytes(owner.array, first, last), dtype=owner.array.dtype)
    tables = [_indices(one.array, first, item, shown) for one in tensors]
    longest = max((len(text) for table in tables for text in table.values()), default=1)
    values = [number(value) for value in memory[:shown].tolist()]
    width = max(CELL, text_width("0" * longest, 10) + 8, max(text_width(v, 10) for v in values) + 8)
    sharing = f"one memory, shown by {len(tensors)} tensors" if len(tensors) > 1 else "memory of its own"
    canvas.text(10, y + 26, sharing, 10, GREY)
    for cell in range(shown):
        x = left + cell * width
        canvas.text(x + width / 2, y + 6, str(cell), 9, GREY, "middle")
        canvas.box(x, y + 10, width, CELL, PALE, LINE, 0)
        if cell < len(values):
            canvas.text(x + width / 2, y + 26, values[cell], 10, INK, "middle")
    if cells > shown:
        canvas.text(left + shown * width + 8, y + 26, f"... {cells - shown} more", 10, GREY)
    y += 10 + CELL + 10
    for one, label, place, table in zip(tensors, labels, places, tables, strict=True):
        color = SERIES[place % len(SERIES)]
        about = _about(one, label)
        for row, line in enumerate(about):
            canvas.text(
                10,
                y + 12 + 14 * row,
                line,
                11 if row == 0 else 10,
                color if row == 0 else GREY,
                bold=row == 0,
            )
        step = one.array.itemsize // item
        for cell, text in table.items():
            x = left + cell * width
            canvas.box(x + 1, y + 6, width * step - 2, CELL, SOFT.get(color, PALE), color, 3)
            canvas.text(x + width * step / 2, y + 22, text, 10, color, "middle")
        y += 14 * len(about) + 14
    return y


def _about(tensor: Tensor, label: str) -> list[str]:
    strides = tuple(step // tensor.array.itemsize for step in tensor.array.strides)
    order = "contiguous" if tensor.is_contiguous() else "not contiguous"
    offset = (_address(tensor.array) - _bounds(_whole(tensor.array))[0]) // tensor.array.itemsize
    return [
        label,
        f"shape {shape_text(tensor.array.shape)}, strides {shape_text(strides) if strides else '()'}",
        f"offset {offset}, {order}",
    ]


def _address(array: Any) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def _whole(array: Any) -> Any:
    """The array whose memory ``array`` shows."""
    while getattr(array.base, "strides", None) is not None:
        if (array.base.shape, _address(array.base)) == (array.shape, _address(array)):
            break
        array = array.base
    return array


def _bounds(array: Any) -> tuple[int, int]:
    """The addresses of the first byte that an array shows, and of that behind the last."""
    low = high = _address(array)
    if array.size:
        for extent, step in zip(array.shape, array.strides, strict=True):
            low, high = low + min(0, (extent - 1) * step), high + max(0, (extent - 1) * step)
    return low, high + (array.itemsize if array.size else 0)


def _span(array: Any) -> tuple[int, int]:
    """The bounds of the array and of the whole memory that it shows a part of."""
    own, whole = _bounds(array), _bounds(_whole(array))
    return min(own[0], whole[0]), max(own[1], whole[1])


def _bytes(array: Any, first: int, last: int) -> bytes:
    whole = _whole(array)
    if _bounds(whole) == (first, last) and whole.flags.c_contiguous:
        return host(whole).tobytes()
    return host(array).tobytes()


def _indices(array: Any, first: int, item: int, shown: int) -> dict[int, str]:
    """For each memory cell that the array shows: its index, or how many indices."""
    start = (_address(array) - first) // item
    steps = [step // item for step in array.strides]
    found: dict[int, list[str]] = {}
    for index in np.ndindex(*array.shape):
        cell = start + sum(i * step for i, step in zip(index, steps, strict=True))
        if 0 <= cell < shown:
            found.setdefault(cell, []).append(",".join(map(str, index)) or "·")
    return {cell: texts[0] if len(texts) == 1 else f"×{len(texts)}" for cell, texts in sorted(found.items())}


# --- broadcasting


def broadcasting(*operands: Any, names: Sequence[str] = ()) -> SVG:
    """Draw how shapes meet: extents aligned at the right, the stretched ones, and the grids.

    Grids are drawn for up to three dimensions.

    ``operands`` are tensors, arrays or shapes (tuples).  Solid cells are stored, dashed ones are repeats that
    take no memory.  An axis on which extents differ without a 1 is red, and no result is drawn.

    >>> "does not fit" in broadcasting((2, 3), (2, 4)).text
    True
    """
    shapes = [tuple(one) if isinstance(one, tuple | list) else tuple(one.shape) for one in operands]
    if len(shapes) < 2:
        raise ValueError(f"broadcasting needs at least two shapes, got {len(shapes)}")
    held = {id(value): name for name, value in names_of_caller().items()}
    labels = [
        names[i] if i < len(names) else held.get(id(one), "abcdefgh"[i % 8]) for i, one in enumerate(operands)
    ]
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    fits = [len({shape[axis] for shape in padded} - {1}) <= 1 for axis in range(rank)]
    result = tuple(
        next((shape[axis] for shape in padded if shape[axis] != 1), 1) if fits[axis] else -1
        for axis in range(rank)
    )
    canvas = Canvas()
    good = all(fits)
    bad = ", ".join(f"dim {axis - rank}" for axis in range(rank) if not fits[axis])
    verdict = f"result {shape_text(result)}" if good else f"{bad} does not fit"
    heads = [f"{label} {shape_text(shape)}" for label, shape in zip(labels, shapes, strict=True)]
    left = 26 + max(text_width(head) for head in [*heads, verdict])
    longest = max(len(f"{shape[axis]} → {result[axis]}") for shape in padded for axis in range(rank))
    wide = max(50.0, text_width("0" * longest) + 10)
    for axis in range(rank):
        canvas.text(left + wide * (axis + 0.5), 18, f"dim {axis - rank}", 10, GREY, "middle")
    y = 26.0
    for row, shape in enumerate(shapes):
        color = SERIES[row % len(SERIES)]
        canvas.text(10, y + 17, heads[row], 11, color, bold=True)
        for axis in range(rank):
            missing = axis < rank - len(shape)
            stretched = padded[row][axis] != result[axis] and fits[axis]
            fill, line = ("white", color) if not stretched else (SOFT[ORANGE], ORANGE)
            if not fits[axis]:
                fill, line = SOFT[RED], RED
            text = (
                f"{'' if missing else padded[row][axis]} → {result[axis]}"
                if stretched
                else str(padded[row][axis])
            )
            if missing and not stretched:
                text = "added"
            canvas.box(left + axis * wide + 2, y, wide - 4, CELL, fill, line, 3, "4 3" if missing else "")
            canvas.text(left + wide * (axis + 0.5), y + 16, text.strip(), 11, INK, "middle")
        y += CELL + 6
    canvas.text(10, y + 17, verdict, 11, INK if good else RED, bold=True)
    for axis in range(rank):
        fill, line = (PALE, GREY) if fits[axis] else (SOFT[RED], RED)
        canvas.box(left + axis * wide + 2, y, wide - 4, CELL, fill, line, 3)
        canvas.text(
            left + wide * (axis + 0.5), y + 16, str(result[axis]) if fits[axis] else "✗", 11, INK, "middle"
        )
    y += CELL + 24
    if good and rank <= 3 and int(np.prod(result)) <= 240:
        x = 10.0
        for row, label in enumerate([*labels, "result"]):
            value = operands[row] if row < len(operands) else None
            shape = padded[row] if row < len(padded) else result
            color = SERIES[row % len(SERIES)] if row < len(padded) else GREY
            x = _stretched(canvas, x, y, label, shape, result, color, value) + 26
    return canvas.finish(title="broadcasting of " + " with ".join(map(shape_text, shapes)))


def _stretched(
    canvas: Canvas,
    x: float,
    y: float,
    label: str,
    shape: tuple[int, ...],
    result: tuple[int, ...],
    color: str,
    value: Any,
) -> float:
    """A grid of the result's shape with the cells that ``shape`` really has drawn solid.

    Returns its right end.
    """
    size = (1,) * (3 - len(result)) + result
    own = (1,) * (3 - len(shape)) + shape
    values = None
    if value is not None and not isinstance(value, tuple | list):
        values = _numbers(value).reshape(own)
    texts = [number(v) for v in values.reshape(-1).tolist()] if values is not None else []
    wide = max(22.0, max((text_width(text, 10) for text in texts), default=0) + 8)
    canvas.text(x, y, label, 11, color, bold=True)
    shift = 12.0 if values is None else wide * size[2] + 14
    for depth in reversed(range(size[0])):
        for row in range(size[1]):
            for column in range(size[2]):
                real = depth < own[0] and row < own[1] and column < own[2]
                cx = x + depth * shift + column * wide
                cy = y + 10 + (depth * 12.0 if values is None else 0) + row * 22
                fill = SOFT.get(color, PALE) if real else "white"
                canvas.box(cx, cy, wide, 22, fill, color if real else LINE, 2, "" if real else "3 3")
                if values is not None:
                    place = tuple(min(i, e - 1) for i, e in zip((depth, row, column), own, strict=True))
                    text = number(values[place].item())
                    canvas.text(cx + wide / 2, cy + 15, text, 10, INK if real else LINE, "middle")
    return x + (size[0] - 1) * shift + size[2] * wide


def _numbers(value: Any) -> np.ndarray:
    return host(value.array) if isinstance(value, Tensor) else np.asarray(value)


# --- gather


def gather_arrows(input: Any, dim: int, index: Any, names: Mapping[str, str] | None = None) -> SVG:
    """``input.gather(dim, index)`` as arrows: from the cell of the input to the cell of the result.

    For tensors of one to three dimensions (a 3-D tensor is drawn slice by slice) with at most 64 results.
    The index grid stands in the middle: along ``dim`` it says where to read, in the other dimensions its own
    place does.

    >>> import accelgrad
    >>> x = accelgrad.arange(6).reshape(2, 3)
    >>> "out[i][j] = input[i][index[i][j]]" in gather_arrows(x, 1, accelgrad.tensor([[0, 2], [1, 1]])).text
    True
    """
    values, places = _numbers(input), _numbers(index)
    if not 1 <= values.ndim <= 3 or values.ndim != places.ndim or places.size > 64 or values.size > 128:
        raise ValueError(
            "gather_arrows draws 1 to 3 dimensions, up to 128 values and 64 indices;"
            f" got input {values.shape} and index {places.shape}"
        )
    if not -values.ndim <= dim < values.ndim:
        raise IndexError(f"gather_arrows: dim {dim} is out of range for {values.ndim} dimensions")
    dim %= values.ndim
    rank = values.ndim
    axes = "ijk"[:rank]
    where = "".join(f"[{letter}]" for letter in axes)
    read = "".join(f"[index{where}]" if axis == dim else f"[{letter}]" for axis, letter in enumerate(axes))
    result = np.take_along_axis(
        values[tuple(slice(None) if axis == dim else slice(places.shape[axis]) for axis in range(rank))],
        places,
        dim,
    )
    canvas = Canvas()
    canvas.text(10, 18, f"out{where} = input{read}", 12, INK, bold=True)
    canvas.text(10, 36, f"dim = {dim}: along it index says where to read", 10, GREY)
    wide = max(30.0, max(text_width(number(v), 10) for v in values.reshape(-1).tolist()) + 10)
    spots: list[dict[tuple[int, ...], tuple[float, float]]] = []
    x = 10.0
    for label, grid in (("index", places), ("input", values), ("out", result)):
        title = f"{label} {shape_text(grid.shape)}"
        canvas.text(x, 60, title, 11, GREY, bold=True)
        full = (1,) * (3 - rank) + grid.shape
        band = max((1,) * (3 - rank) + values.shape, (1,) * (3 - rank) + places.shape, key=lambda one: one[1])
        spots.append(
            {
                cell[3 - rank :]: (x + cell[2] * wide, 70 + cell[0] * (band[1] * 28 + 20) + cell[1] * 28)
                for cell in np.ndindex(*full)
            }
        )
        x += max(full[2] * wide, text_width(title)) + (30 if label == "index" else 90)
    used = {_source(cell, dim, places) for cell in np.ndindex(*places.shape)}
    for which, grid in enumerate((places, values, result)):
        for cell, (cx, cy) in spots[which].items():
            color = LINE
            if which != 1:
                color = SERIES[int(places[cell]) % (len(SERIES) - 1)]
            elif cell in used:
                color = SERIES[int(cell[dim]) % (len(SERIES) - 1)]
            fill = SOFT.get(color, PALE) if color != LINE else "white"
            canvas.box(cx, cy, wide, 28, fill, color, 2)
            ink = INK if color != LINE else GREY
            canvas.text(cx + wide / 2, cy + 15, number(grid[cell].item()), 10, ink, "middle")
    for cell in np.ndindex(*places.shape):
        color = SERIES[int(places[cell]) % (len(SERIES) - 1)]
        sx, sy = spots[1][_source(cell, dim, places)]
        tx, ty = spots[2][cell]
        # Every line leaves and arrives at a height of its own below the numbers, so that none covers another.
        low = 19 + 6 * (cell[-1] + 0.5) / places.shape[-1]
        start, end = (sx + wide / 2, sy + low), (tx + wide / 2 - 2, ty + low)
        bend = (end[0] - start[0]) / 2
        canvas.box(start[0] - 2, start[1] - 2, 4, 4, color, color, 2)
        canvas.path(
            f"M {start[0]:.1f} {start[1]:.1f} C {start[0] + bend:.1f} {start[1]:.1f} {end[0] - bend:.1f}"
            f" {end[1]:.1f} {end[0]:.1f} {end[1]:.1f}",
            color,
            1.2,
            True,
        )
    return canvas.finish(title="gather")


def _source(cell: tuple[int, ...], dim: int, places: np.ndarray) -> tuple[int, ...]:
    return tuple(int(places[cell]) if axis == dim else at for axis, at in enumerate(cell))
