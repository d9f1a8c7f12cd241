"""Convolutions: conv1d, conv2d, conv3d.

A convolution is linear in the input x and in the weight w, so it comes with two more maps of the same kind:
given the gradient g of the result, one finds that of x, the other that of w.  The three primitives below
are each other's derivatives, which closes the circle: every derivative of every order is one of them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.kernels.windows import Geometry
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import one_type, tuple_of
from accelgrad.ops.shapes.pad import pad

__all__ = ["Convolution", "InputOfConvolution", "WeightOfConvolution", "conv1d", "conv2d", "conv3d"]


class Convolution(Primitive):
    """y = w * x (+ b for each output channel): x (n, c, ...), w (o, c / groups, ...), y (n, o, ...)"""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any = None, *, geometry: Geometry) -> Any:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return ctx.xp.convolution(x, weight, bias, geometry)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp, geometry = ctx.xp, ctx.geometry
        x, weight = ctx.saved_tensors
        need_x, need_weight, *need_bias = ctx.needs_input_grad
        grad_x = grad_weight = None
        if need_weight:
            grad_weight = xp.run(WeightOfConvolution, x, grad, kernel=weight.shape[2:], geometry=geometry)
        if need_x:
            grad_x = xp.run(InputOfConvolution, grad, weight, space=x.shape[2:], geometry=geometry)
        if not (need_bias and need_bias[0]):
            return grad_x, grad_weight
        return grad_x, grad_weight, xp.sum(grad, axis=(0, *range(2, grad.ndim)))


class InputOfConvolution(Primitive):
    """x = the sum of w[o] spread around g[o]: the adjoint of the convolution in x (transposed convolution)"""

    @staticmethod
    def forward(ctx: Any, grad: Any, weight: Any, *, space: tuple[int, ...], geometry: Geometry) -> Any:
        ctx.save_for_backward(grad, weight)
        ctx.geometry = geometry
        return ctx.xp.convolution_input(grad, weight, space, geometry)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        g, weight = ctx.saved_tensors
        need_g, need_weight = ctx.needs_input_grad
        kernel, geometry = weight.shape[2:], ctx.geometry
        return (
            xp.run(Convolution, grad, weight, geometry=geometry) if need_g else None,
            xp.run(WeightOfConvolution, grad, g, kernel=kernel, geometry=geometry) if need_weight else None,
        )


class WeightOfConvolution(Primitive):
    """w[o] = the sum over all places of g[o] times the window of x there: the adjoint in w"""

    @staticmethod
    def forward(ctx: Any, x: Any, grad: Any, *, kernel: tuple[int, ...], geometry: Geometry) -> Any:
        ctx.save_for_backward(x, grad)
        ctx.geometry = geometry
        return ctx.xp.convolution_weight(x, grad, kernel, geometry)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, g = ctx.saved_tensors
        need_x, need_g = ctx.needs_input_grad
        return (
            xp.run(InputOfConvolution, g, grad, space=x.shape[2:], geometry=ctx.geometry) if need_x else None,
            xp.run(Convolution, x, grad, geometry=ctx.geometry) if need_g else None,
        )


# --- what comes in


def _convolution(
    name: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    batched = check(name, dims, input, weight, bias, groups, weight.array.shape[0])
    steps, spacing = positive(name, dims, stride=stride, dilation=dilation)
    kernel = weight.array.shape[2:]
    if input.array.shape[1 if batched else 0] != weight.array.shape[1] * groups:
        raise _channels(name, input, weight, groups, 1 if batched else 0)
    if isinstance(padding, str):
        input, around = _named_padding(input, padding, kernel, steps, spacing)
    else:
        around = tuple_of(padding, dims, "padding", name)
        if min(around) < 0:
            raise RuntimeError(f"negative padding is not supported: {name} got padding={list(around)}")
    geometry = Geometry(steps, around, spacing, groups)
    if not batched:
        input = input.unsqueeze(0)
    space = input.array.shape[2:]
    if min(geometry.places(space, kernel)) <= 0:
        padded = " x ".join(str(extent + 2 * p) for extent, p in zip(space, around, strict=True))
        window = " x ".join(str(d * (k - 1) + 1) for k, d in zip(kernel, spacing, strict=True))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({padded})."
            f" Kernel size: ({window})."
            " Kernel size can't be greater than actual input size:"
            f" {name} got an input of shape {tuple(input.shape)} and a weight of shape {tuple(weight.shape)}"
        )
    if bias is None:
        result = Convolution.apply(input, weight, geometry=geometry)
    else:
        result = Convolution.apply(input, weight, bias, geometry=geometry)
    return result if batched else result.squeeze(0)


def check(
    name: str, dims: int, input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, outputs: int
) -> bool:
    """Whether the input has a batch dimension; errors for what cannot be convolved."""
    x, w = input.array, weight.array
    if w.ndim != dims + 2:
        raise RuntimeError(
            f"weight should have at least {dims + 2} dimensions:"
            f" {name} expects a weight (out, in / groups, {', '.join(['kernel'] * dims)}),"
            f" got shape {tuple(w.shape)}"
        )
    if x.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {name},"
            f" but got input of size: {list(x.shape)}"
        )
    if x.dtype is not w.dtype or (bias is not None and bias.array.dtype is not x.dtype):
        one_type(name, input=x, weight=w, bias=None if bias is None else bias.array)
    if groups <= 0:
        raise RuntimeError(f"non-positive groups is not supported: {name} got groups={groups}")
    if bias is not None and bias.array.shape != (outputs,):
        raise RuntimeError(
            f"Given weight of size {list(w.shape)}, expected bias to be 1-dimensional"
            f" with {outputs} elements, but got bias of size {list(bias.shape)} instead"
        )
    if w.shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0,"
            f" but got weight of size {list(w.shape)} instead"
        )
    return x.ndim == dims + 2


def _channels(name: str, input: Tensor, weight: Tensor, groups: int, where: int) -> RuntimeError:
    shape, wanted = input.array.shape, weight.array.shape[1] * groups
    hint = ""
    if where and shape[-1] == wanted:
        axes = (0, len(shape) - 1, *range(1, len(shape) - 1))
        hint = f" The last dimension has {wanted}: if they come last, x.permute{axes} moves them."
    return RuntimeError(
        f"Given groups={groups}, weight of size {list(weight.shape)},"
        f" expected input{list(shape)} to have {wanted} channels, but got {shape[where]} channels instead:"
        f" {name} takes (n, channels, ...).{hint}"
    )


def positive(name: str, dims: int, **values: Any) -> list[tuple[int, ...]]:
    result = []
    for label, value in values.items():
        numbers = (value,) * dims if type(value) is int else tuple_of(value, dims, label, name)
        if min(numbers) <= 0:
            raise RuntimeError(f"non-positive {label} is not supported: {name} got {label}={list(numbers)}")
        result.append(numbers)
    return result


def _named_padding(
    input: Tensor, padding: str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, tuple[int, ...]]:
    """``valid`` pads nothing; ``same`` so that the extents stay: where that is odd, one more at the end."""
    if padding == "valid":
        return input, (0,) * len(kernel)
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'; it may be 'valid' or 'same'")
    if any(step != 1 for step in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(one % 2 for one in total):
        ends: list[int] = []
        for one in reversed(total):
            ends += [0, one % 2]
        input = pad(input, ends)
    return input, tuple(one // 2 for one in total)


# --- forwards


def _correlate(
    x: np.ndarray, w: np.ndarray, b: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> np.ndarray:
    """The definition, tap by tap, on NumPy arrays: what the tests compare with."""
    dims = w.ndim - 2
    if x.ndim == dims + 1:
        return _correlate(x[None], w, b, stride, padding, dilation, groups)[0]
    stride, dilation = (np.broadcast_to(one, dims) for one in (stride, dilation))
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, w.shape[2:], strict=True)]
        around = [(one // 2, one - one // 2) for one in total]
    else:
        around = [(one, one) for one in np.broadcast_to(padding, dims)]
    x = np.pad(x, [(0, 0), (0, 0), *around])
    spans = [d * (k - 1) for d, k in zip(dilation, w.shape[2:], strict=True)]
    places = [(e - span - 1) // s + 1 for e, span, s in zip(x.shape[2:], spans, stride, strict=True)]
    y = np.zeros((x.shape[0], w.shape[0], *places), x.dtype)
    each, out = w.shape[1], w.shape[0] // groups
    for group in range(groups):
        for tap in np.ndindex(*w.shape[2:]):
            seen = tuple(
                slice(t * d, t * d + (p - 1) * s + 1, s)
                for t, d, p, s in zip(tap, dilation, places, stride, strict=True)
            )
            part = x[(slice(None), slice(group * each, (group + 1) * each), *seen)]
            weights = w[(slice(group * out, (group + 1) * out), slice(None), *tap)]
            y[:, group * out : (group + 1) * out] += np.einsum("nc...,oc->no...", part, weights)
    return y if b is None else y + b.reshape(-1, *(1,) * dims)


def _reference(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    return _correlate(x, w, b, stride, padding, dilation, groups)


CONV: dict[str, Any] = {"primitive": Convolution, "namespace": "nn.functional", "method": False, "out": False}


@op(
    reference=_reference,
    samples=[
        sample(arg(2, 3, 7), arg(4, 3, 3), arg(4)),
        sample(arg(2, 3, 7), arg(4, 3, 2), None, 2, 1),
        sample(arg(3, 7), arg(2, 3, 3), arg(2), padding="same"),
        sample(arg(2, 3, 6), arg(2, 3, 4), padding="same", dilation=1),
        sample(arg(1, 4, 6), arg(2, 2, 2), stride=2, groups=2, dilation=2, padding=1),
        sample(arg(2, 3, 5), arg(2, 3, 1), arg(2)),
    ],
    errors=[
        (sample(arg(3, 5), arg(4, 2, 3)), RuntimeError, "to have 2 channels, but got 3 channels instead")
    ],
    **CONV,
    also=("conv1d",),
)
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve sequences: input (n, c, length) or (c, length), weight (out, c / groups, k), bias (out,).

    See :func:`conv2d` for the arguments.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.conv1d(accelgrad.tensor([[[1.0, 2.0, 4.0]]]), accelgrad.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2.]]])
    """
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@op(
    reference=_reference,
    samples=[
        sample(arg(2, 3, 5, 6), arg(4, 3, 3, 2), arg(4)),
        sample(arg(2, 3, 5, 6), arg(4, 3, 3, 3), None, (2, 1), (1, 0)),
        sample(arg(3, 5, 5), arg(2, 3, 3, 3), arg(2), padding="same"),
        sample(arg(1, 2, 4, 5), arg(2, 2, 2, 3), padding="same", dilation=(1, 2)),
        sample(arg(2, 2, 5, 5), arg(2, 2, 3, 3), padding="valid"),
        sample(arg(1, 4, 6, 6), arg(6, 2, 2, 2), arg(6), stride=2, groups=2, dilation=2, padding=1),
        sample(arg(2, 3, 4, 4), arg(3, 1, 3, 3), groups=3, padding=1),
        sample(arg(2, 3, 4, 3), arg(2, 3, 1, 1), arg(2)),
        sample(arg(2, 3, 4, 3), arg(2, 3, 1, 1), stride=2),
        sample(arg(0, 3, 4, 4), arg(2, 3, 3, 3), arg(2)),
        sample(arg(1, 1, 4, 4), arg(5, 1, 3, 3), arg(5), padding=1),
    ],
    errors=[
        (
            sample(arg(1, 1, 5, 5), arg(2, 3, 3, 3)),
            RuntimeError,
            r"expected input\[1, 1, 5, 5\] to have 3 channels, but got 1",
        ),
        (sample(arg(1, 5, 5, 3), arg(2, 3, 3, 3)), RuntimeError, r"x.permute\(0, 3, 1, 2\)"),
        (
            sample(arg(5, 5), arg(2, 3, 3, 3)),
            RuntimeError,
            r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d",
        ),
        (
            sample(arg(1, 3, 2, 2), arg(2, 3, 3, 3)),
            RuntimeError,
            r"Calculated padded input size per channel: \(2 x 2\)",
        ),
        (
            sample(arg(1, 3, 5, 5, dtype="float64"), arg(2, 3, 3, 3, dtype="float32")),
            RuntimeError,
            "expected scalar type Double but found Float",
        ),
        (
            sample(arg(1, 3, 5, 5), arg(2, 3, 3, 3), arg(4)),
            RuntimeError,
            "expected bias to be 1-dimensional with 2",
        ),
        (
            sample(arg(1, 3, 5, 5), arg(2, 3, 3, 3), stride=0),
            RuntimeError,
            "non-positive stride is not supported",
        ),
        (
            sample(arg(1, 3, 5, 5), arg(2, 3, 3, 3), padding=-1),
            RuntimeError,
            "negative padding is not supported",
        ),
        (
            sample(arg(1, 3, 5, 5), arg(2, 3, 3, 3), padding="same", stride=2),
            RuntimeError,
            "padding='same' is not supported for strided convolutions",
        ),
        (
            sample(arg(1, 3, 5, 5), arg(2, 3, 3, 3), padding="full"),
            RuntimeError,
            "Invalid padding string: 'full'",
        ),
        (
            sample(arg(1, 3, 5, 5), arg(3, 1, 3, 3), groups=2),
            RuntimeError,
            "Given groups=2, expected weight to be divis",
        ),
    ],
    **CONV,
    also=("conv2d",),
)
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution of images: input (n, c, h, w) or (c, h, w), weight (out, c / groups, kh, kw), bias (out,).

    ``y[n, o, p, q] = bias[o] + sum over c, i, j of weight[o, c, i, j] x[n, c, p stride + i dilation, q
    stride + j dilation]``, where x has ``padding`` zeros around it; "same" keeps h and w, "valid" pads
    nothing.  With ``groups`` each group of channels is convolved by itself.  The result is (n, out, oh,
    ow), oh = (h + 2 padding - dilation (kh - 1) - 1) // stride + 1.

    RuntimeError where channels, types or sizes do not fit, with a hint where the channels seem to come last.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.conv2d(accelgrad.ones(1, 1, 3, 3), accelgrad.ones(1, 1, 2, 2))
    tensor([[[[4., 4.],
              [4., 4.]]]])
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@op(
    reference=_reference,
    samples=[
        sample(arg(2, 2, 3, 4, 3), arg(3, 2, 2, 2, 2), arg(3)),
        sample(arg(1, 2, 4, 3, 4), arg(2, 1, 2, 3, 1), stride=(2, 1, 1), padding=(1, 1, 0), groups=2),
        sample(arg(2, 3, 4, 3), arg(1, 2, 2, 2, 2), dilation=(2, 1, 1)),
    ],
    errors=[(sample(arg(2, 2, 2), arg(1, 2, 2, 2, 2)), RuntimeError, r"Expected 4D \(unbatched\) or 5D")],
    **CONV,
    also=("conv3d",),
)
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve volumes: input (n, c, d, h, w) or (c, d, h, w).

    weight (out, c / groups, kd, kh, kw), bias (out,).

    See :func:`conv2d` for the arguments.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.conv3d(accelgrad.ones(1, 1, 2, 2, 2), accelgrad.ones(1, 1, 2, 2, 2))
    tensor([[[[[8.]]]]])
    """
    return _convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)
