"""Changes in place: the value of an operation is written into a tensor's memory, and the graph is told.

The operation runs out of place and is recorded; then :func:`assign` writes its value into the memory of the
tensor, which takes the new edge.  A write through a view gives the base a :class:`CopySlices` node.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.dtypes import dtype
from accelgrad.core.context import Context, Reading
from accelgrad.core.modes import state
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, viewed
from accelgrad.kernels.windows import product

__all__ = ["CopySlices", "assign", "refuse_leaf"]


class CopySlices(Primitive):
    """The base of a view after a value was written through the view.

    Gradient: the view's part goes to the value, the rest to what the base was before.  It works by the flat
    indices of the view's elements in the base, so the memory layout of either does not matter.
    """

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        raw = ctx.context.xp if isinstance(ctx, Reading) else xp
        index = raw.reshape(raw.arange(product(ctx.shape), dtype=np.int64), ctx.shape)
        for primitive, options in ctx.chain:
            index = primitive.run(raw, index, **options)
        outside = raw.ones(product(ctx.shape), dtype=bool)
        outside[index.reshape(-1)] = False
        grad_base = xp.where(raw.reshape(outside, ctx.shape), grad, 0.0) if ctx.needs_input_grad[0] else None
        grad_value = xp.take(xp.reshape(grad, (-1,)), index) if ctx.needs_input_grad[1] else None
        return grad_base, grad_value


def _rescue(array: Any, value: Tensor, since: int) -> None:
    """Give nodes younger than ``since`` that saved ``array`` a copy, before it is overwritten."""
    edge = value.edge()
    waiting = [] if edge is None else [edge[0]]
    while waiting:
        node = waiting.pop()
        if node.number <= since:
            continue
        waiting.extend(one[0] for one in node.edges if one is not None)
        if isinstance(node, Context) and any(saved is array for saved in node._saved):
            node._versions = [
                None if saved is array else version
                for saved, version in zip(node._saved, node._versions, strict=True)
            ]
            node._saved = tuple(saved.copy() if saved is array else saved for saved in node._saved)


def refuse_leaf(target: Tensor) -> None:
    """Raise RuntimeError for a change in place of a leaf that needs a gradient, or of a view of one."""
    if not state.grad:
        return
    edge, view = target.edge(), target._view
    if edge is not None and edge[0].is_leaf:
        raise RuntimeError(
            "a leaf Variable that requires grad is being used in an in-place operation;"
            " do it under accelgrad.no_grad(), or on x.clone()"
        )
    if view is not None and (base := viewed(view[0])).is_leaf and base.requires_grad:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation;"
            " do it under accelgrad.no_grad(), or on x.clone()"
        )


def assign(target: Tensor, value: Tensor, since: int | None = None) -> Tensor:
    """Write ``value`` into the memory of ``target`` and tell the graph: what every in-place operation does.

    ``since`` is a node number from before ``value`` was computed: what was saved of ``target`` by younger
    nodes is kept for their backward. RuntimeError for leaves that need a gradient, for expanded tensors, for
    a result of another shape, or of a type that does not fit.
    """
    # --- may it be changed so?
    refuse_leaf(target)
    edge = target.edge()
    writing = state.grad and (edge is not None or value.edge() is not None)
    array = target.array
    if value.array.shape != array.shape:
        raise RuntimeError(
            f"output with shape {list(array.shape)} doesn't match the broadcast shape"
            f" {list(value.array.shape)}"
        )
    if not dtypes.can_cast(value.dtype, target.dtype):
        raise RuntimeError(
            f"result type {_short(value.dtype)} can't be cast to the desired output type"
            f" {_short(target.dtype)}; use the out-of-place form"
        )
    if (
        array.size
        and 0 in array.strides
        and any(step == 0 and extent > 1 for step, extent in zip(array.strides, array.shape, strict=True))
    ):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory"
            " location."
            " Please clone() the tensor before performing the operation."
        )
    if not array.flags.writeable if isinstance(array, np.ndarray) else False:
        raise RuntimeError(
            "this tensor shares memory with a read-only NumPy array and cannot be changed in place;"
            " clone() it first"
        )

    # --- the memory
    if writing and value.array.dtype is not array.dtype:
        value = value.to(target.dtype)
    if target.xp is not value.xp:
        value = value.to(target.device)
    if since is not None and writing:
        _rescue(array, value, since)
    array[...] = value.array
    target._version[0] += 1

    # --- the graph
    if writing:
        if target._view is None:
            target._edge = value.edge()
        else:
            # The base changes with its view: it gets a node of its own, from which the view is taken anew.
            base = viewed(target._view[0])
            node = Context(CopySlices, target.xp, (base.edge(), value.edge()))
            node.shape, node.chain = base.array.shape, target._view[1]  # type: ignore[attr-defined]
            node.reduced = array.dtype.char in dtypes.REDUCED
            node.record(node.edges)
            node._shapes = [(base.array.shape, base.array.dtype), (array.shape, array.dtype)]
            node._outputs_meta, node._sources, node._versions = (), [], []
            base._edge = (node, 0)
    elif target._view is not None and edge is None:
        target._view = (*target._view[:2], target._version[0])
    return target


def _short(kind: dtype) -> str:
    """Return a type's name as PyTorch's messages have it, e.g. "Float"."""
    return kind.title.removesuffix("Tensor")
