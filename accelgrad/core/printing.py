"""The text of a tensor: what ``repr(x)`` shows, in PyTorch's layout, and the options that change it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes

__all__ = ["get_printoptions", "printoptions", "set_printoptions", "tensor_text"]


@dataclass
class Options:
    """How numbers are shown: see :func:`set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": float("inf"), "edgeitems": 3, "linewidth": 80},
}

OPTIONS = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are shown.

    ``precision`` digits after the point (4); tensors with more than ``threshold`` elements (1000) show
    ``edgeitems`` (3) at each end of a dimension; lines of ``linewidth`` characters (80); ``sci_mode`` forces
    or forbids 1e-3 notation, None chooses by the values; ``profile`` is "default", "short" or "full".
    ValueError for any other profile.

    >>> import accelgrad
    >>> with printoptions(precision=2):
    ...     print(accelgrad.tensor([0.125]))
    tensor([0.12])
    """
    if profile is not None:
        if profile not in PROFILES:
            raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
        vars(OPTIONS).update(PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    vars(OPTIONS).update({name: value for name, value in given.items() if value is not None})
    OPTIONS.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The present options, as :func:`set_printoptions` takes them.

    >>> get_printoptions()["precision"]
    4
    """
    return asdict(OPTIONS)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """:func:`set_printoptions` within a ``with`` block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_text(tensor: Any) -> str:
    """What ``repr(tensor)`` shows: the values, then what is out of the ordinary (device, dtype, grad_fn ...).

    >>> import accelgrad
    >>> print(tensor_text(accelgrad.ones(2, dtype=accelgrad.float64)))
    tensor([1., 1.], dtype=accelgrad.float64)
    """
    name = type(tensor).__name__
    prefix = "tensor(" if name in ("Tensor", "Parameter") else f"{name}("
    array, kind = tensor.array, tensor.dtype
    notes = []
    if tensor.is_cuda:
        notes.append(f"device='{tensor.device}'")
    if array.size == 0:
        body = "[]"
        if array.ndim != 1:
            notes.append(f"size={tuple(array.shape)}")
        if kind is not dtypes.get_default_dtype():
            notes.append(f"dtype={kind!r}")
    else:
        summarize = array.size > OPTIONS.threshold
        if not OPTIONS.edgeitems:
            notes.append(f"size={tuple(array.shape)}")
        if kind not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool):
            notes.append(f"dtype={kind!r}")
        cut = tuple([summarize and extent > 2 * OPTIONS.edgeitems for extent in array.shape])
        values = tensor.xp.to_host(_edges(tensor.xp, array, cut))
        if kind is dtypes.bfloat16:
            values = values.astype(np.float32)  # which says what NumPy's bfloat16 leaves open: isfinite, %f
        body = _body(values, cut, len(prefix), *_formatter(values))
    maker = tensor.grad_fn
    if maker is not None:
        notes.append(f"grad_fn=<{maker.name()}>")
    elif tensor.requires_grad:
        notes.append("requires_grad=True")
    return _with_notes(prefix + body, notes, len(prefix))


def _edges(xp: Any, array: Any, cut: tuple[bool, ...]) -> Any:
    """The elements that are shown: of a dimension that is cut, the first and last few only."""
    edge = OPTIONS.edgeitems
    for dim, shortened in enumerate(cut):
        if shortened:
            before = (slice(None),) * dim
            ends = [
                array[(*before, slice(None, edge))],
                array[(*before, slice(array.shape[dim] - edge, None))],
            ]
            array = xp.concatenate(ends, axis=dim)
    return array


def _formatter(values: np.ndarray) -> tuple[Callable[[Any], str], int]:
    """A function from a number to its text, and the width to which the texts are padded."""
    if values.dtype.kind != "f":
        texts = [str(value) for value in values.reshape(-1).tolist()]
        width = max(map(len, texts), default=1)
        return str, width
    usual = values[np.isfinite(values) & (values != 0)].astype(np.float64)
    precision = OPTIONS.precision
    if not usual.size:
        scientific, whole = False, True
    else:
        sizes = np.abs(usual)
        least, largest = float(sizes.min()), float(sizes.max())
        whole = bool((usual == np.ceil(usual)).all())
        scientific = largest / least > 1000 or largest > 1e8 or least < 1e-4
        if OPTIONS.sci_mode is not None:
            scientific = OPTIONS.sci_mode

    def text(value: float) -> str:
        if scientific:
            return f"{value:.{precision}e}"
        if whole:
            return f"{value:.0f}." if np.isfinite(value) else f"{value:.0f}"
        return f"{value:.{precision}f}"

    return text, max([len(text(value)) for value in usual.tolist()], default=1)


def _body(
    values: np.ndarray, cut: tuple[bool, ...], indent: int, text: Callable[[Any], str], width: int
) -> str:
    """The values in nested brackets; ``indent`` is where the opening bracket stands."""
    edge = OPTIONS.edgeitems
    if values.ndim == 0:
        return text(values.item()).rjust(width)
    if values.ndim == 1:
        parts = [text(value).rjust(width) for value in values.tolist()]
        if cut[0]:
            parts = [*parts[:edge], " ..." if edge else "...", *parts[edge:]]
        per_line = max(1, (OPTIONS.linewidth - indent) // (width + 2))
        lines = [", ".join(parts[i : i + per_line]) for i in range(0, len(parts), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = [_body(row, cut[1:], indent + 1, text, width) for row in values]
    if cut[0]:
        parts = [*parts[:edge], "...", *parts[edge:]]
    return "[" + ("," + "\n" * (values.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _with_notes(text: str, notes: list[str], indent: int) -> str:
    """The notes behind the values, on a new line where they would pass the right margin."""
    length = len(text) - text.rfind("\n") + 1
    for note in notes:
        if length + len(note) + 2 > OPTIONS.linewidth:
            text += ",\n" + " " * indent + note
            length = indent + len(note)
        else:
            text += ", " + note
            length += len(note) + 2
    return text + ")"
