"""Primitive: how a pair of formulas, forward and backward, becomes a differentiable operation on Tensors.

A primitive is written once, over *some* array module ``ctx.xp``::

    class Tanh(Primitive):
        @staticmethod
        def forward(ctx, x):
            y = ctx.xp.tanh(x)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, grad):
            (y,) = ctx.saved_tensors
            return grad * (1 - y * y)

``forward`` always reads over raw arrays.  ``backward`` is read over raw arrays too, unless the gradient
itself shall be differentiated (``create_graph=True``): then ``ctx.xp`` is ``accelgrad.core.context.reading``,
whose functions are our operations on Tensors, and ``ctx.saved_tensors`` and ``grad`` are Tensors.  So every
gradient has a gradient, by the same formula.

Four rules make the second reading right:

* positional arguments are the inputs (Tensors, numbers or None), keyword arguments are constants;
* ``save_for_backward`` takes inputs and outputs of the operation and nothing else; other attributes of
  ``ctx`` are constants;
* an intermediate result that depends on the inputs goes through ``ctx.keep`` and comes back by ``ctx.kept``,
  which computes it anew, differentiably, in the second reading;
* formulas use operators and ``ctx.xp``; another primitive is called by ``ctx.xp.run(Other, ...)``.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.arrays.quiet import hush, unhush
from accelgrad.core import graph, reduced
from accelgrad.core.context import Context
from accelgrad.core.modes import state
from accelgrad.core.promotion import NUMBERS, constant, namespace_of, on_one_device, promote
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.core.views import share

__all__ = ["Primitive"]


class Primitive:
    """A pair of formulas.  Subclass it, write ``forward`` and ``backward``, call ``apply``."""

    promotion: str | None = None
    """How input types meet.  None: inputs keep their types.  "common": by PyTorch's promotion rules.
    "float": the same, and integers become the default floating point type."""

    view = False
    """Whether the result may share memory with the input."""

    exact = False
    """Whether backward only moves elements, so that it may read 16-bit numbers as they are.  ``forward`` then
    reads them as they are too; the forward formula of a view does so in any case."""

    mixes = False
    """Whether floating point inputs may have different types: then the first one gives the result's type."""

    @staticmethod
    def direct(arrays: list[Any]) -> bool:
        """Tell whether a card computes both formulas of these 16-bit arrays by itself.

        It does where the formula is one product, or one elementwise step, that the card computes in float32
        and rounds once.
        """
        return False

    @staticmethod
    def forward(ctx: Any, *inputs: Any, **options: Any) -> Any:
        """Return the result (or a tuple of results) of raw arrays."""
        raise NotImplementedError("a Primitive defines forward(ctx, *inputs, **options)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradient of each input from those of the results; None for an input without one."""
        raise NotImplementedError("a Primitive defines backward(ctx, *gradients)")

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        """Return the error to raise where ``forward`` met a TypeError or ValueError of the array module."""
        return error

    @classmethod
    def run(cls, xp: Any, *arrays: Any, **options: Any) -> Any:
        """Compute the forward formula alone, on raw arrays; nothing is recorded."""
        return cls.forward(Context(cls, xp, (None,) * len(arrays)), *arrays, **options)

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Unwrap the inputs, run ``forward``, wrap the results; record the call where it has a gradient."""
        # --- the inputs: their arrays, their edges, the array module they share
        if cls.promotion is not None:
            inputs = promote(inputs, cls)
        arrays: list[Any] = []
        edges: list[graph.Edge | None] = []
        xp: Any = None
        recording = narrow = False
        # Where gradients stopped before this call (detach, no_grad ...), for accelgrad.explain.
        cut: Any = None
        for one in inputs:
            if isinstance(one, Tensor):
                # A view asks whether its memory was changed since; other tensors know their edge.
                edge = one._edge if one._view is None else one.edge()
                if edge is not None:
                    recording = True
                elif one._cut is not None:
                    cut = one._cut
                edges.append(edge)
                arrays.append(one.array)
                if one.array.dtype.char in dtypes.REDUCED:
                    narrow = True
                if xp is None:
                    xp = one.xp
                elif xp is not one.xp:
                    # Start again with 0-d CPU tensors moved to the card; anything else raises.
                    return cls.apply(*on_one_device(cls, inputs), **options)
            else:
                edges.append(None)
                arrays.append(one if type(one) in NUMBERS else constant(cls, one))
        if xp is None:
            xp = namespace_of(cls, inputs, arrays)
        if recording and not state.grad:
            recording = False
            cut = ("no_grad", cls.__name__, None, None)

        # --- the formula, on raw arrays
        ctx = Context(cls, xp, tuple(edges) if recording else (None,) * len(edges))
        forward = _forward_of_16_bits(cls, ctx, arrays) if narrow and not cls.exact else cls.forward
        token = hush()
        try:
            if xp.alone:
                out = forward(ctx, *arrays, **options)
            else:
                # With several cards, new arrays are made on the inputs' card, not on the current one.
                with xp.scope():
                    out = forward(ctx, *arrays, **options)
        except (TypeError, ValueError) as error:
            raise cls.explain(error, arrays) from None
        finally:
            unhush(token)

        # --- the result: a Tensor that knows where it came from
        if type(out) is tuple:
            return _several_results(cls, ctx, inputs, arrays, out, recording, cut)
        if isinstance(out, np.generic):
            out = _zero_dim(ctx, out)
        result = wrap(out, xp)
        if cls.view:
            share(cls, inputs[0], result, options)
        if recording:
            if out.dtype.kind in dtypes.FLOATING:
                ctx.finish(inputs, arrays, (result,))
                result._edge = (ctx, 0)
                if cut is not None:
                    ctx._cut = cut
            else:
                # Integers and booleans have no gradient, whatever they were computed from.
                result._cut = ("discrete", cls.__name__, None, None)
        elif cut is not None:
            result._cut = cut
        return result


def _forward_of_16_bits(cls: type[Primitive], ctx: Context, arrays: list[Any]) -> Any:
    """Return the forward formula for arrays some of which have 16 bits (:mod:`accelgrad.core.reduced`)."""
    if cls.view:
        ctx.reduced = True
        return cls.forward
    if ctx.xp.asynchronous and cls.direct(arrays):
        return cls.forward
    return functools.partial(reduced.forward, cls)


def _several_results(
    cls: type[Primitive],
    ctx: Context,
    inputs: tuple[Any, ...],
    arrays: list[Any],
    out: tuple[Any, ...],
    recording: bool,
    cut: Any,
) -> tuple[Tensor, ...]:
    """Wrap the results of a formula that has several; each floating point one is an output of the node."""
    results = tuple(
        [wrap(_zero_dim(ctx, one) if isinstance(one, np.generic) else one, ctx.xp) for one in out]
    )
    if recording:
        ctx.finish(inputs, arrays, results)
        for slot, one in enumerate(results):
            if one.array.dtype.kind in dtypes.FLOATING:
                one._edge = (ctx, slot)
            else:
                one._cut = ("discrete", cls.__name__, None, None)
        if cut is not None:
            ctx._cut = cut
    elif cut is not None:
        for one in results:
            one._cut = cut
    return results


def _zero_dim(ctx: Context, value: np.generic) -> np.ndarray:
    """Return NumPy's scalar as the 0-d array that PyTorch gives, also among what the formula saved."""
    array = np.asarray(value)
    ctx._saved = tuple([array if one is value else one for one in ctx._saved])
    return array
