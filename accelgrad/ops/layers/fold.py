"""Windows as columns and back: nn.functional.unfold and fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.kernels.windows import Geometry, fold_columns, product, unfold_columns
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import tuple_of

__all__ = ["fold", "unfold"]


class ToColumns(Primitive):
    """Every window of x (n, c, h, w) as a column: (n, c kh kw, places)"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, kernel: tuple[int, ...], geometry: Geometry) -> Any:
        ctx.kernel, ctx.geometry, ctx.shape = kernel, geometry, x.shape
        columns = unfold_columns(ctx.xp, x, kernel, geometry)
        return columns.copy() if geometry.trivial(kernel) else columns

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(FromColumns, grad, shape=ctx.shape, kernel=ctx.kernel, geometry=ctx.geometry)


class FromColumns(Primitive):
    """The adjoint: every column added back to where its window lay"""

    @staticmethod
    def forward(
        ctx: Any, columns: Any, *, shape: tuple[int, ...], kernel: tuple[int, ...], geometry: Geometry
    ) -> Any:
        ctx.kernel, ctx.geometry = kernel, geometry
        image = fold_columns(ctx.xp, columns, shape, kernel, geometry)
        return image.copy() if geometry.trivial(kernel) else image

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(ToColumns, grad, kernel=ctx.kernel, geometry=ctx.geometry)


def _settings(
    name: str, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[tuple[int, ...], Geometry]:
    kernel = tuple_of(kernel_size, 2, "kernel_size", name)
    geometry = Geometry(
        tuple_of(stride, 2, "stride", name),
        tuple_of(padding, 2, "padding", name),
        tuple_of(dilation, 2, "dilation", name),
    )
    for label, values in (
        ("kernel size", kernel),
        ("stride", geometry.stride),
        ("dilation", geometry.dilation),
    ):
        if min(values) <= 0:
            raise RuntimeError(f"{label} should be greater than zero, but got {list(values)} in {name}")
    if min(geometry.padding) < 0:
        raise RuntimeError(f"padding should be non-negative, but got {list(geometry.padding)} in {name}")
    return kernel, geometry


def _unfold(x, kernel, dilation=1, padding=0, stride=1):
    if x.ndim == 3:
        return _unfold(x[None], kernel, dilation, padding, stride)[0]
    kernel, dilation, padding, stride = (
        np.broadcast_to(one, 2) for one in (kernel, dilation, padding, stride)
    )
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    counts = [
        (e - d * (k - 1) - 1) // s + 1
        for e, d, k, s in zip(x.shape[2:], dilation, kernel, stride, strict=True)
    ]
    columns = []
    for place in np.ndindex(*counts):
        window = x[
            :,
            :,
            *(
                slice(p * s, p * s + d * (k - 1) + 1, d)
                for p, s, d, k in zip(place, stride, dilation, kernel, strict=True)
            ),
        ]
        columns.append(window.reshape(x.shape[0], -1))
    return np.stack(columns, axis=-1)


FOLD: dict[str, Any] = {"namespace": "nn.functional", "method": False, "out": False}


@op(
    primitive=ToColumns,
    reference=_unfold,
    samples=[
        sample(arg(2, 3, 4, 5), (2, 3)),
        sample(arg(1, 2, 5, 5), 2, 2, 1, 2),
        sample(arg(2, 4, 3), 2, stride=(1, 2), padding=(1, 0)),
        sample(arg(1, 2, 2, 3), 1),
    ],
    errors=[
        (sample(arg(1, 2, 2, 2), 3), RuntimeError, "Given input with spatial size"),
        (sample(arg(2, 2), 1), RuntimeError, "Expected 3D or 4D"),
        (sample(arg(1, 2, 2, 2), 0), RuntimeError, "kernel size should be greater than zero"),
    ],
    **FOLD,
)
def unfold(
    input: Tensor,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Every window of the images as a column: input (n, c, h, w) or (c, h, w); (n, c kh kw, places).

    A convolution is a matrix product with these columns.  RuntimeError where no window fits.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.unfold(accelgrad.arange(6.0).reshape(1, 1, 2, 3), 2)
    tensor([[[0., 1.],
             [1., 2.],
             [3., 4.],
             [4., 5.]]])
    """
    kernel, geometry = _settings("unfold", kernel_size, dilation, padding, stride)
    if input.ndim not in (3, 4):
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size"
            f" and other non-zero dimensions for input, but got: {list(input.shape)}"
        )
    space = input.array.shape[-2:]
    counts = geometry.places(space, kernel)
    if min(counts) <= 0:
        raise RuntimeError(
            f"Given input with spatial size {tuple(space)}, kernel_size={kernel},"
            f" dilation={geometry.dilation}, padding={geometry.padding}, stride={geometry.stride},"
            f" calculated shape of the array of sliding blocks as {tuple(counts)},"
            " but its components must be at least one."
        )
    if input.ndim == 3:
        return ToColumns.apply(input.unsqueeze(0), kernel=kernel, geometry=geometry).squeeze(0)
    return ToColumns.apply(input, kernel=kernel, geometry=geometry)


@op(
    primitive=FromColumns,
    samples=[
        sample(arg(2, 8, 6), (3, 4), 2),
        sample(arg(1, 4, 9), (4, 4), 2, padding=1, stride=2),
        sample(arg(8, 2), output_size=(3, 4), kernel_size=(2, 2), dilation=(2, 2), stride=1),
        sample(arg(1, 2, 6), (2, 3), 1),
    ],
    errors=[
        (
            sample(arg(1, 5, 4), (3, 3), 2),
            RuntimeError,
            "Expected size of input's dimension 1 to be divisible by",
        ),
        (sample(arg(1, 4, 5), (3, 3), 2), RuntimeError, r"Given output_size=\(3, 3\)"),
    ],
    **FOLD,
)
def fold(
    input: Tensor,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Adds columns (n, c kh kw, places), or without n, back to images (n, c, h, w): what overlaps is summed.

    The adjoint of :func:`unfold`; RuntimeError where the number of columns does not fit ``output_size``.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.fold(accelgrad.ones(1, 4, 2), (2, 3), 2)
    tensor([[[[1., 2., 1.],
              [1., 2., 1.]]]])
    """
    kernel, geometry = _settings("fold", kernel_size, dilation, padding, stride)
    space = tuple_of(output_size, 2, "output_size", "fold")
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"Expected 2D or 3D (batch mode) tensor for input of fold, but got: {list(input.shape)}"
        )
    rows, places = input.array.shape[-2:]
    if rows % product(kernel):
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size,"
            f" but got input.size(1)={rows} and kernel_size={kernel}."
        )
    counts = geometry.places(space, kernel)
    if min(counts) <= 0 or product(counts) != places:
        raise RuntimeError(
            f"Given output_size={space}, kernel_size={kernel}, dilation={geometry.dilation},"
            f" padding={geometry.padding}, stride={geometry.stride},"
            " expected size of input's dimension 2 to match the calculated number of sliding blocks"
            f" {counts[0]} * {counts[1]} = {product(counts)}, but got input.size(2)={places}."
        )
    batched = input.ndim == 3
    x = input if batched else input.unsqueeze(0)
    shape = (x.array.shape[0], rows // product(kernel), *space)
    result = FromColumns.apply(x, shape=shape, kernel=kernel, geometry=geometry)
    return result if batched else result.squeeze(0)
