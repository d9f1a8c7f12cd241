"""Broadcasting: expand, broadcast_to, broadcast_tensors, broadcast_shapes.

An expanded tensor is a read-only view: several of its elements share one place in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Size, Tensor
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import sizes

__all__ = ["broadcast_shapes", "broadcast_tensors", "broadcast_to", "expand", "expand_as"]


class Expand(Primitive):
    """y = x repeated along dimensions of extent 1, without copying.

    dL/dx = the sum of dL/dy over the repetitions.
    """

    view = True

    @staticmethod
    def forward(ctx, x, *, shape: tuple[int, ...]):
        return ctx.xp.broadcast_to(x, shape)

    @staticmethod
    def backward(ctx, grad):
        return grad  # the caller sums it to the shape of x


@op(
    primitive=Expand,
    samples=[
        sample(arg(2, 1), (2, 3)),
        sample(arg(3), (2, -1)),
        sample(arg(3), 2, 3),
        sample(arg(), (2,)),
        sample(arg(1, 3), (0, 3)),
    ],
    errors=[
        (
            sample(arg(2, 3), (4, 3)),
            RuntimeError,
            r"The expanded size of the tensor \(4\) must match the existing size",
        ),
        (sample(arg(2, 3), (3,)), RuntimeError, "must be greater or equal to the number of dimensions"),
        (sample(arg(2, 3), (-1, 2, 3)), RuntimeError, "isn't allowed in a leading, non-existing dimension 0"),
    ],
    out=False,
    torch="Tensor.expand",
)
def expand(input: Tensor, *size: int | Sequence[int], implicit: bool = False) -> Tensor:
    """Show dimensions of extent 1 in a larger extent, and new ones in front, without using memory.

    ``size`` holds the extents of the result; -1 keeps one.  The result is read-only, since several of its
    elements share one place in memory: ``clone()`` it to change it.  RuntimeError if another extent than 1
    would change.

    >>> import accelgrad
    >>> accelgrad.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    wanted, shape = sizes(size), input.array.shape
    extra = len(wanted) - len(shape)
    if extra < 0:
        raise RuntimeError(
            f"expand(accelgrad.{input.dtype.title}{{{list(shape)}}}, size={list(wanted)}):"
            f" the number of sizes provided ({len(wanted)}) must be greater"
            f" or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    if -1 in wanted:
        if -1 in wanted[:extra]:
            raise RuntimeError(
                "The expanded size of the tensor (-1) isn't allowed in a leading,"
                f" non-existing dimension {wanted.index(-1)}"
            )
        wanted = tuple([shape[i - extra] if extent == -1 else extent for i, extent in enumerate(wanted)])
    for place, extent in enumerate(shape):
        if extent not in (1, wanted[extra + place]):
            raise RuntimeError(
                f"The expanded size of the tensor ({wanted[extra + place]}) must match the existing size"
                f" ({extent}) at non-singleton dimension {extra + place}."
                f"  Target sizes: {list(wanted)}."
                f"  Tensor sizes: {list(shape)}"
            )
    return Expand.apply(input, shape=wanted)


@op(
    primitive=Expand,
    reference=np.broadcast_to,
    samples=[sample(arg(2, 1), (2, 3)), sample(arg(3), (2, 3)), sample(arg(), (2,))],
    errors=[(sample(arg(2, 3), (4, 3)), RuntimeError, r"The expanded size of the tensor \(4\)")],
    out=False,
)
def broadcast_to(input: Tensor, shape: Sequence[int]) -> Tensor:
    """Expand ``input`` to ``shape``, as :func:`expand` does.

    >>> import accelgrad
    >>> accelgrad.broadcast_to(accelgrad.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return expand(input, *shape)


@op(
    primitive=Expand,
    samples=[sample(arg(2, 1), arg(2, 3, requires_grad=False))],
    out=False,
    torch="Tensor.expand_as",
)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Expand ``input`` to the shape of ``other``, as :func:`expand` does.

    >>> import accelgrad
    >>> accelgrad.zeros(3).expand_as(accelgrad.zeros(2, 3)).shape
    accelgrad.Size([2, 3])
    """
    return expand(input, *other.array.shape)


@op(method=False, out=False, differentiable=False)
def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """Return the shape to which tensors of these shapes broadcast; RuntimeError if they do not.

    >>> import accelgrad
    >>> accelgrad.broadcast_shapes((2, 1), (3,))
    accelgrad.Size([2, 3])
    """
    given = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    result = [1] * max([len(shape) for shape in given], default=0)
    for shape in given:
        for place in range(-1, -1 - len(shape), -1):
            if shape[place] < 0:
                raise RuntimeError(
                    f"Trying to create tensor with negative dimension ({shape[place]}): {shape}"
                )
            if result[place] == 1:
                result[place] = shape[place]
            elif shape[place] not in (1, result[place]):
                raise RuntimeError(
                    "Shape mismatch: objects cannot be broadcast to a single shape:"
                    f" {', '.join(map(str, given))} differ in dimension {place}"
                    f" ({shape[place]} against {result[place]})"
                )
    return Size(result)


@op(
    samples=[sample(arg(2, 1), arg(3)), sample(arg(), arg(2)), sample(arg(2, 3))],
    errors=[(sample(arg(2), arg(3)), RuntimeError, "cannot be broadcast to a single shape")],
    method=False,
    out=False,
)
def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Expand all tensors to the shape to which they broadcast; RuntimeError if they do not.

    >>> import accelgrad
    >>> a, b = accelgrad.broadcast_tensors(accelgrad.zeros(2, 1), accelgrad.zeros(3))
    >>> a.shape, b.shape
    (accelgrad.Size([2, 3]), accelgrad.Size([2, 3]))
    """
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tuple(tensors[0])
    shape = broadcast_shapes(*[one.array.shape for one in tensors])
    return tuple([expand(one, *shape) for one in tensors])
