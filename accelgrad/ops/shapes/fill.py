"""Choosing between values and overwriting them: where, masked_fill, fill_, zero_, copy_."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.dtypes import Number
from accelgrad.core.inplace import assign
from accelgrad.core.modes import state
from accelgrad.core.primitive import Primitive
from accelgrad.core.promotion import result_dtype
from accelgrad.core.tensor import Tensor, method, wrap
from accelgrad.ops.creation.convert import clone
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import boolean, no_broadcast
from accelgrad.ops.registry.dims import element
from accelgrad.ops.shapes.index import Copy, setitem
from accelgrad.ops.shapes.nonzero import nonzero

__all__ = ["copy_", "fill_", "masked_fill", "where", "zero_"]


class Where(Primitive):
    """z = x where the condition holds, else y.

    dL/dx = dL/dz where it holds, dL/dy = dL/dz where it does not.
    """

    promotion = "common"

    @staticmethod
    def forward(ctx, x, y, *, condition):
        ctx.condition = condition
        return ctx.xp.where(condition, x, y)

    @staticmethod
    def backward(ctx, grad):
        xp, condition = ctx.xp, ctx.condition
        need_x, need_y = ctx.needs_input_grad
        return (
            xp.where(condition, grad, 0.0) if need_x else None,
            xp.where(condition, 0.0, grad) if need_y else None,
        )


class MaskedFill(Primitive):
    """y = x, or the value where the mask holds.

    dL/dx = dL/dy where it does not, dL/dvalue = the sum where it does.
    """

    @staticmethod
    def forward(ctx, x, value, *, mask):
        ctx.mask = mask
        return ctx.xp.where(mask, value, x)

    @staticmethod
    def backward(ctx, grad):
        xp, mask = ctx.xp, ctx.mask
        need_x, need_value = ctx.needs_input_grad
        return (
            xp.where(mask, 0.0, grad) if need_x else None,
            xp.sum(xp.where(mask, grad, 0.0)) if need_value else None,
        )


class Fill(Primitive):
    """y = the value everywhere;  dL/dx = 0, dL/dvalue = the sum of dL/dy."""

    @staticmethod
    def forward(ctx, x, value):
        return ctx.xp.full_like(x, value)

    @staticmethod
    def backward(ctx, grad):
        return grad * 0.0, grad


_CHOICE = arg(2, 3, dtype="bool")


@op(
    primitive=Where,
    reference=np.where,
    samples=[
        sample(_CHOICE, arg(2, 3), arg(2, 3)),
        sample(_CHOICE, arg(3), arg(2, 1)),
        sample(arg(3, dtype="bool"), arg(2, 3), 0.5),
        sample(_CHOICE, 1.5, arg()),
        sample(_CHOICE, 1.0, 0.0),
        sample(arg(0, dtype="bool"), arg(0), arg()),
    ],
    errors=[
        (sample(arg(2), arg(2), arg(2)), RuntimeError, "where expected condition to be a boolean tensor"),
        (sample(_CHOICE, arg(2), arg(3)), RuntimeError, "must match the size of tensor"),
    ],
    method=False,
)
def where(
    condition: Tensor, input: Tensor | Number | None = None, other: Tensor | Number | None = None
) -> Any:
    """Return ``input`` where ``condition`` holds, ``other`` where it does not; all three broadcast.

    The condition is bool (or uint8), and the other two are promoted to one dtype.  With the condition alone
    the result is the indices of its true elements, one vector for each dimension.  RuntimeError for a
    condition of another dtype, and for shapes that do not broadcast.

    >>> import accelgrad
    >>> x = accelgrad.tensor([-1.0, 2.0])
    >>> accelgrad.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    array = condition.array if isinstance(condition, Tensor) else condition
    if array.dtype.kind != "b" and array.dtype != np.uint8:
        raise RuntimeError(
            "where expected condition to be a boolean tensor,"
            f" but got a tensor with dtype {dtypes.of(array.dtype)}"
        )
    xp = condition.xp if isinstance(condition, Tensor) else backend.of_array(array)
    if array.dtype.kind != "b":
        array = array.astype(bool)
    given = [one for one in (input, other) if isinstance(one, Tensor)]
    for one in given:
        if one.xp is not xp and one.array.ndim:
            boolean("where", one, condition, "condition")
    if not given or (len(given) == 1 and not given[0].array.ndim):
        kind = result_dtype((input, other)).numpy
        input, other = (
            one if isinstance(one, Tensor) else wrap(xp.asarray(one, dtype=kind), xp)
            for one in (input, other)
        )
    try:
        return Where.apply(input, other, condition=array)
    except ValueError:
        raise no_broadcast(array, input, other) from None


@method("where")
def _where(self: Tensor, condition: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``self`` where ``condition`` holds, ``other`` where it does not: :func:`accelgrad.where`.

    >>> import accelgrad
    >>> x = accelgrad.tensor([-1.0, 2.0])
    >>> x.where(x > 0, 0.0)
    tensor([0., 2.])
    """
    return where(condition, self, other)


@op(
    primitive=MaskedFill,
    reference=lambda x, mask, value: np.where(mask, np.asarray(value, x.dtype), x),
    samples=[
        sample(arg(2, 3), _CHOICE, 1.5),
        sample(arg(2, 3), arg(3, dtype="bool"), 9.0),
        sample(arg(3), _CHOICE, 0),
        sample(arg(2, 3), _CHOICE, arg()),
        sample(arg(), arg(dtype="bool", values=True), 2.0),
    ],
    errors=[
        (sample(arg(2), arg(2), 1), RuntimeError, "masked_fill_ only supports boolean masks"),
        (
            sample(arg(2), arg(2, dtype="bool"), arg(2)),
            RuntimeError,
            "only supports a 0-dimensional value tensor",
        ),
        (sample(arg(2), arg(3, dtype="bool"), 1), RuntimeError, "must match the size of tensor"),
    ],
    inplace=True,
)
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """Return ``input`` with ``value`` where ``mask`` holds; the two broadcast.

    The mask is bool, ``value`` a number or a 0-d tensor; RuntimeError otherwise.

    >>> import accelgrad
    >>> x = accelgrad.tensor([1.0, 2.0])
    >>> x.masked_fill(x > 1, float("-inf"))
    tensor([1., -inf])
    """
    array = boolean("masked_fill", input, mask, "mask")
    if array.dtype.kind != "b":
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {dtypes.of(array.dtype).name}"
        )
    if isinstance(value, Tensor):
        if value.array.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor,"
                f" but got tensor with {value.array.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
    else:
        value = element(value, input.dtype)
    try:
        return MaskedFill.apply(input, value, mask=array)
    except ValueError:
        raise no_broadcast(input, array) from None


# --- overwriting


@op(
    primitive=Fill,
    samples=[sample(arg(2, 3, requires_grad=False), 1.5), sample(arg(requires_grad=False), 2)],
    differentiable=False,
    torch="Tensor.fill_",
)
def fill_(input: Tensor, value: Tensor | Number) -> Tensor:
    """Set every element to ``value``, a number or a 0-d tensor, in place.

    >>> import accelgrad
    >>> accelgrad.zeros(2).fill_(3)
    tensor([3., 3.])
    """
    if isinstance(value, Tensor):
        if value.array.ndim:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor"
                f" with {value.array.ndim} dimensions."
            )
        value = value.to(input.dtype)
    else:
        value = element(value, input.dtype)
    if state.grad and (input.edge() is not None or (isinstance(value, Tensor) and value.requires_grad)):
        return assign(input, Fill.apply(input, value))
    setitem(input, ..., value)
    return input


@op(
    primitive=Fill,
    samples=[sample(arg(2, 3, requires_grad=False))],
    differentiable=False,
    torch="Tensor.zero_",
)
def zero_(input: Tensor) -> Tensor:
    """Set every element to 0, in place.

    >>> import accelgrad
    >>> accelgrad.ones(2).zero_()
    tensor([0., 0.])
    """
    return fill_(input, 0)


@op(
    primitive=Copy,
    samples=[
        sample(arg(2, 3, requires_grad=False), arg(3)),
        sample(arg(2, requires_grad=False), arg(2, dtype="int64")),
    ],
    differentiable=False,
    torch="Tensor.copy_",
)
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Write the values of ``src`` into ``input``: broadcast, converted and moved as needed.

    ``non_blocking`` is that of ``Tensor.to``.  RuntimeError if ``src`` does not broadcast to the shape of
    ``input``.

    >>> import accelgrad
    >>> accelgrad.zeros(2).copy_(accelgrad.tensor([1, 2]))
    tensor([1., 2.])
    """
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    value = src.to(input.dtype)
    if src.xp is not input.xp:
        value = value.to(input.device, non_blocking=non_blocking)
    if value.array.shape != input.array.shape:
        value = value.expand(input.array.shape)
    if state.grad and (input.edge() is not None or value.edge() is not None):
        return assign(input, Copy.apply(input, value))
    return assign(input, value)


@op(
    reference=lambda x, value: np.full_like(x, value),
    samples=[sample(arg(2, 3), 1.5), sample(arg(2, 3), arg()), sample(arg(2, dtype="int64"), 3)],
    method=False,
    out=False,
)
def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor like ``input`` with ``value``, a number or a 0-d tensor, everywhere.

    >>> import accelgrad
    >>> accelgrad.fill(accelgrad.ones(2), 3)
    tensor([3., 3.])
    """
    return fill_(clone(input), value)
