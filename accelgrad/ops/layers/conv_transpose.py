"""Transposed convolutions: conv_transpose1d, conv_transpose2d, conv_transpose3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.kernels.windows import Geometry
from accelgrad.ops.layers.conv import InputOfConvolution, check, positive
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import tuple_of
from accelgrad.ops.shapes.pad import pad

__all__ = ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def _transposed(
    name: str,
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    outputs = weight.array.shape[1] * groups if weight.ndim > 1 else 0
    batched = check(name, dims, input, weight, bias, groups, outputs)
    steps, spacing = positive(name, dims, stride=stride, dilation=dilation)
    around = tuple_of(padding, dims, "padding", name)
    extra = tuple_of(output_padding, dims, "output_padding", name)
    if min(around) < 0:
        raise RuntimeError(f"negative padding is not supported: {name} got padding={list(around)}")
    if input.array.shape[1 if batched else 0] != weight.array.shape[0]:
        shape = list(input.shape)
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)},"
            f" expected input{shape} to have {weight.array.shape[0]} channels,"
            f" but got {shape[1 if batched else 0]} channels instead"
        )
    for one, s, d in zip(extra, steps, spacing, strict=True):
        if not 0 <= one < max(s, d):
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation,"
                f" but got output_padding={list(extra)}, stride={list(steps)}, dilation={list(spacing)}"
            )
    if not batched:
        input = input.unsqueeze(0)
    kernel = weight.array.shape[2:]
    space = tuple(
        (extent - 1) * s - 2 * p + d * (k - 1) + e + 1
        for extent, s, p, d, k, e in zip(
            input.array.shape[2:], steps, around, spacing, kernel, extra, strict=True
        )
    )
    if min(space) <= 0:
        raise RuntimeError(
            f"Given input size per channel: {list(input.shape[2:])}."
            f" Calculated output size per channel: {list(space)}."
            " Output size is too small"
        )
    geometry = Geometry(steps, around, spacing, groups)
    missing = [a - b for a, b in zip(geometry.places(space, kernel), input.array.shape[2:], strict=True)]
    if any(missing):  # output_padding of a stride or more: further windows, over zeros
        ends: list[int] = []
        for one in reversed(missing):
            ends += [0, one]
        input = pad(input, ends)
    result = InputOfConvolution.apply(input, weight, space=space, geometry=geometry)
    if bias is not None:
        result = result + bias.reshape((-1,) + (1,) * dims)
    return result if batched else result.squeeze(0)


def _spread(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """The definition: every input element adds its multiple of the weights to the output."""
    dims = w.ndim - 2
    if x.ndim == dims + 1:
        return _spread(x[None], w, b, stride, padding, output_padding, groups, dilation)[0]
    stride, padding, extra, dilation = (
        np.broadcast_to(one, dims) for one in (stride, padding, output_padding, dilation)
    )
    size = [
        (e - 1) * s + d * (k - 1) + 1 + o
        for e, s, d, k, o in zip(x.shape[2:], stride, dilation, w.shape[2:], extra, strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[1] * groups, *(s + 0 for s in size)), x.dtype)
    each, out = w.shape[0] // groups, w.shape[1]
    for group in range(groups):
        part = x[:, group * each : (group + 1) * each]
        for place in np.ndindex(*x.shape[2:]):
            for tap in np.ndindex(*w.shape[2:]):
                where = tuple(p * s + t * d for p, s, t, d in zip(place, stride, tap, dilation, strict=True))
                weights = w[(slice(group * each, (group + 1) * each), slice(None), *tap)]
                y[(slice(None), slice(group * out, (group + 1) * out), *where)] += (
                    part[(..., *place)] @ weights
                )
    inside = tuple(slice(p, s - p) for p, s in zip(padding, size, strict=True))
    y = y[(slice(None), slice(None), *inside)]
    return y if b is None else y + b.reshape(-1, *(1,) * dims)


TRANSPOSED: dict[str, Any] = {
    "primitive": InputOfConvolution,
    "namespace": "nn.functional",
    "method": False,
    "out": False,
}


@op(
    reference=_spread,
    samples=[
        sample(arg(2, 3, 4), arg(3, 2, 3), arg(2)),
        sample(arg(2, 4, 4), arg(4, 1, 3), None, 2, 1, 1, 2),
        sample(arg(3, 4), arg(3, 2, 2), arg(2), stride=3, dilation=2),
        sample(arg(1, 2, 3), arg(2, 1, 2), output_padding=1, dilation=2),
    ],
    **TRANSPOSED,
    also=("conv_transpose1d",),
)
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Convolve sequences transposed: input (n, c, length) or (c, length).

    weight (c, out / groups, k), bias (out,).

    See :func:`conv_transpose2d` for the arguments.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.conv_transpose1d(accelgrad.tensor([[[1.0, 2.0]]]), accelgrad.tensor([[[1.0, 10.0]]]))
    tensor([[[ 1., 12., 20.]]])
    """
    return _transposed(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(
    reference=_spread,
    samples=[
        sample(arg(2, 3, 4, 3), arg(3, 2, 3, 2), arg(2)),
        sample(arg(1, 4, 3, 3), arg(4, 2, 3, 3), arg(4), 2, 1, 1, 2),
        sample(arg(3, 3, 3), arg(3, 2, 2, 2), stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
        sample(arg(2, 3, 2, 2), arg(3, 2, 1, 1), arg(2)),
    ],
    errors=[
        (sample(arg(1, 2, 3, 3), arg(3, 1, 2, 2)), RuntimeError, "Given transposed=1, weight of size"),
        (
            sample(arg(1, 2, 3, 3), arg(2, 1, 2, 2), output_padding=1),
            RuntimeError,
            "output padding must be smaller than either stride or dilation",
        ),
        (sample(arg(1, 2, 1, 1), arg(2, 1, 2, 2), padding=1), RuntimeError, "Output size is too small"),
    ],
    **TRANSPOSED,
    also=("conv_transpose2d",),
)
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Convolve images transposed: what :func:`conv2d` does to gradients.

    input (n, c, h, w) or (c, h, w), weight (c, out / groups, kh, kw), bias (out,).

    Every input element adds its multiple of the weights to a window of the output; the windows lie
    ``stride`` apart. The result is (n, out, oh, ow) with oh = (h - 1) stride - 2 padding + dilation (kh -
    1) + output_padding + 1: ``output_padding`` chooses among the sizes that a convolution of this stride
    would have reduced to h.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.conv_transpose2d(accelgrad.tensor([[[[1.0, 2.0]]]]), accelgrad.ones(1, 1, 1, 2), stride=2)
    tensor([[[[1., 1., 2., 2.]]]])
    """
    return _transposed(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@op(
    reference=_spread,
    samples=[
        sample(arg(1, 2, 2, 3, 2), arg(2, 2, 2, 2, 2), arg(2)),
        sample(arg(2, 2, 2, 2), arg(2, 1, 2, 1, 2), stride=2, output_padding=(1, 0, 1), padding=(1, 0, 0)),
    ],
    **TRANSPOSED,
    also=("conv_transpose3d",),
)
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """Convolve volumes transposed: input (n, c, d, h, w).

    weight (c, out / groups, kd, kh, kw), bias (out,).

    See :func:`conv_transpose2d` for the arguments.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.conv_transpose3d(accelgrad.ones(1, 1, 1, 1, 1), accelgrad.ones(1, 1, 2, 1, 1)).shape
    accelgrad.Size([1, 1, 2, 1, 1])
    """
    return _transposed(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
