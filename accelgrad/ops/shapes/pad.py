"""Padding: values around a tensor, constant or taken from the tensor itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.autocast import choosing
from accelgrad.ops.registry.dims import element, sizes
from accelgrad.ops.shapes.gather import IndexSelect

__all__ = ["pad"]


class ConstantPadNd(Primitive):
    """y = x with a value around it, or without its border where a width is negative.

    dL/dx = dL/dy padded by the opposite.
    """

    @staticmethod
    def forward(ctx, x, *, widths: tuple[tuple[int, int], ...], value: float = 0):
        ctx.widths = widths
        shape = tuple([low + n + high for n, (low, high) in zip(x.shape, widths, strict=True)])
        y = ctx.xp.full(shape, value, dtype=x.dtype)
        inner = [slice(max(low, 0), n - max(high, 0)) for n, (low, high) in zip(shape, widths, strict=True)]
        kept = [
            slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(x.shape, widths, strict=True)
        ]
        y[(*inner, ...)] = x[(*kept, ...)]
        return y

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(ConstantPadNd, grad, widths=tuple([(-low, -high) for low, high in ctx.widths]))


def _reference(
    x: np.ndarray, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> np.ndarray:
    """Pad with NumPy, which cannot crop; what goes around is cropped first."""
    pairs = [(pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    grown = [(max(low, 0), max(high, 0)) for low, high in widths]
    kinds = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}
    options = {"constant_values": value or 0} if mode == "constant" else {}

    def cropped(y: np.ndarray) -> np.ndarray:
        """Cut off as many elements as the negative widths say."""
        ends = zip(y.shape, widths, strict=True)
        return y[tuple([slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in ends])]

    if mode == "circular":
        return np.pad(cropped(x), grown, mode="wrap")
    return cropped(np.pad(x, grown, mode=kinds[mode], **options))  # type: ignore[call-overload]


@op(
    primitive=ConstantPadNd,
    reference=_reference,
    samples=[
        sample(arg(2, 3), (1, 2)),
        sample(arg(2, 3), (1, 0, 0, 2), "constant", 1.5),
        sample(arg(4, 3), (-1, 1, 2, -1)),
        sample(arg(1, 4), (2, 3), mode="reflect"),
        sample(arg(1, 3, 4), (1, 2, 2, 0), mode="reflect"),
        sample(arg(1, 3), (2, 4), mode="replicate"),
        sample(arg(1, 2, 3), (2, 1, 1, 2), mode="replicate"),
        sample(arg(1, 3), (2, 3), mode="circular"),
        sample(arg(1, 1, 3, 4), (1, 2, 3, 0), mode="circular"),
        sample(arg(1, 1, 4, 4), (-1, 1, 2, -2), mode="circular"),
        sample(arg(0, 2), (1, 1)),
    ],
    errors=[
        (sample(arg(2, 3), (1,)), RuntimeError, "Padding length must be divisible by 2"),
        (
            sample(arg(3), (1, 1, 1, 1)),
            RuntimeError,
            "Padding length should be less than or equal to two times",
        ),
        (
            sample(arg(1, 3), (3, 0), mode="reflect"),
            RuntimeError,
            "Padding size should be less than the corresponding",
        ),
        (
            sample(arg(1, 3), (4, 0), mode="circular"),
            RuntimeError,
            "Padding value causes wrapping around more than once",
        ),
        (sample(arg(1, 3), (1, 0), mode="mirror"), NotImplementedError, "Unrecognised padding mode mirror"),
        (sample(arg(1, 3), (-4, 0)), RuntimeError, "resulting in a negative output size"),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Put values around ``input``; ``pad`` is (left, right, top, bottom, ...), the last dimension first.

    ``mode`` says which values:

    * "constant": ``value``, 0 by default;
    * "reflect": the elements mirrored at the border, which is not repeated;
    * "replicate": the border repeated;
    * "circular": the elements from the other end.

    Negative widths cut off.  RuntimeError for widths that do not fit, NotImplementedError for another mode.

    >>> import accelgrad
    >>> accelgrad.nn.functional.pad(accelgrad.tensor([1, 2]), (1, 2))
    tensor([0, 1, 2, 0, 0])
    """
    flat, shape = sizes((pad,)), input.array.shape
    if len(flat) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {list(flat)}")
    if len(flat) > 2 * len(shape):
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension"
            f" but got padding length {len(flat)} and input of dimension {len(shape)}"
        )
    pairs = [(flat[place], flat[place + 1]) for place in range(0, len(flat), 2)]
    widths = [(0, 0)] * (len(shape) - len(pairs)) + pairs[::-1]
    for dim, (extent, (low, high)) in enumerate(zip(shape, widths, strict=True)):
        if extent + low + high < 0:
            raise RuntimeError(
                f"The input size {extent}, plus negative padding {low} and {high},"
                " resulting in a negative output size, which is invalid."
                f" Check dimension {dim} of your input."
            )
    if mode == "constant":
        filled = element(0 if value is None else value, input.dtype)
        return ConstantPadNd.apply(input, widths=tuple(widths), value=filled)
    if mode not in _PLACES:
        raise NotImplementedError(
            f"Unrecognised padding mode {mode}; choose constant, reflect, replicate or circular"
        )
    return (_around if mode == "circular" else _beyond_the_border)(input, mode, widths)


def _around(input: Tensor, mode: str, widths: Sequence[tuple[int, int]]) -> Tensor:
    """Return ``input`` with values around it that ``mode`` takes from the input itself."""
    for dim, (extent, (low, high)) in enumerate(zip(input.array.shape, widths, strict=True)):
        if low or high:
            wanted = np.arange(-low, extent + high)
            places = input.xp.from_host(_PLACES[mode](wanted, extent, dim))
            input = IndexSelect.apply(input, dim=dim, index=places)
    return input


_beyond_the_border = choosing(_around, "pad.border")


def _reflected(wanted: np.ndarray, extent: int, dim: int) -> np.ndarray:
    """Return the places in [0, extent) whose elements stand at ``wanted``, mirrored at the border."""
    low, high = -min(int(wanted[0]), 0), max(int(wanted[-1]) - extent + 1, 0)
    if low >= extent or high >= extent:
        raise RuntimeError(
            "Padding size should be less than the corresponding input dimension, but got:"
            f" padding ({low}, {high}) at dimension {dim} of extent {extent}"
        )
    wanted = np.abs(wanted)
    return np.where(wanted >= extent, 2 * (extent - 1) - wanted, wanted)


def _replicated(wanted: np.ndarray, extent: int, dim: int) -> np.ndarray:
    """Return the places in [0, extent) whose elements stand at ``wanted``, with the border repeated."""
    if not extent:
        raise RuntimeError(f"Expected a non-empty dimension {dim} for mode replicate")
    return np.clip(wanted, 0, extent - 1)


def _wrapped(wanted: np.ndarray, extent: int, dim: int) -> np.ndarray:
    """Return the places in [0, extent) whose elements stand at ``wanted``, taken from the other end."""
    if not wanted.size:
        return wanted
    if -int(wanted[0]) > extent or int(wanted[-1]) + 1 - extent > extent:
        raise RuntimeError(
            "Padding value causes wrapping around more than once:"
            f" {wanted.size - extent} values around dimension {dim} of extent {extent}"
        )
    # Negative widths cut off first, and what is left goes around.
    first, last = max(int(wanted[0]), 0), min(int(wanted[-1]) + 1, extent)
    return (wanted - first) % (last - first) + first if last > first else wanted


_PLACES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}
