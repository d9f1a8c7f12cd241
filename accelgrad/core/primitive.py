"""Primitive and Context: how a pair of formulas, forward and backward, becomes a differentiable operation on
Tensors.

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
itself shall be differentiated (``create_graph=True``): then ``ctx.xp`` is :data:`reading`, whose functions
are our operations on Tensors, and ``ctx.saved_tensors`` and ``grad`` are Tensors.  So every gradient has a
gradient, by the same formula.

Rules that make the second reading right:

* positional arguments are the inputs (Tensors, numbers or None), keyword arguments are constants;
* ``save_for_backward`` takes inputs and outputs of the operation, nothing else; other attributes of ``ctx``
are constants;
* an intermediate result that depends on the inputs goes through ``ctx.keep`` and comes back by ``ctx.kept``,
which
  computes it anew, differentiably, in the second reading;
* formulas use operators and ``ctx.xp``; another primitive is called by ``ctx.xp.run(Other, ...)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.core import graph, reduced
from accelgrad.core.graph import state
from accelgrad.core.promotion import NUMBERS, constant, namespace_of, on_one_device, promote, result_dtype
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["Context", "Primitive", "Reading", "promote", "result_dtype", "unbroadcast"]

reading: Any = None
"""The array module over Tensors for the differentiable reading (:mod:`accelgrad.ops.registry.reading`)."""


class Context(graph.Node):
    """What one call of a primitive knows: its array module, what it saved, and its place in the graph."""

    __slots__ = (
        "__dict__", "_cut", "_kept", "_outputs_meta", "_released", "_saved", "_shapes", "_sources",
        "_versions", "outputs", "primitive", "reduced", "xp",
    )  # fmt: skip

    _cut: Any  # set where an input had left the graph, see Tensor._cut

    def __init__(self, primitive: type[Primitive], xp: Any, edges: tuple[graph.Edge | None, ...]) -> None:
        self.primitive = primitive
        self.xp = xp
        self.edges = edges
        self.outputs = 1
        self._saved: tuple[Any, ...] = ()
        self._kept: tuple[Any, ...] = ()
        self._released = False
        self.reduced = False  # whether the formulas read 16 bits as float32

    # --- for the formulas

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each positional argument, whether its gradient will be asked for."""
        return tuple([edge is not None for edge in self.edges])

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep inputs and outputs for the walk back; a later change in place is noticed."""
        self._saved = arrays

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was saved, in that order; RuntimeError where one was changed in place since."""
        self._check_versions()
        return tuple([reduced.widened(one) for one in self._saved]) if self.reduced else self._saved

    def saved_as(self, others: dict[int, Any]) -> None:
        """Put other arrays in place of saved ones, which are given by their ids."""
        self._saved = tuple([others.get(id(one), one) for one in self._saved])

    def keep(self, *intermediates: Any) -> None:
        """Keep intermediate results, which :meth:`kept` gives back."""
        self._kept = intermediates

    def kept(self, formula: Callable[..., tuple[Any, ...]], *saved: Any) -> tuple[Any, ...]:
        """What :meth:`keep` kept; in the differentiable reading ``formula(xp, *saved)`` instead."""
        return self._kept

    # --- for the graph

    def finish(self, inputs: tuple[Any, ...], arrays: list[Any], results: tuple[Tensor, ...]) -> None:
        """Take a place in the graph, when the forward formula has run and a gradient may be asked for."""
        self.record(self.edges)
        self._shapes = [
            None if edge is None else (array.shape, array.dtype)
            for edge, array in zip(self.edges, arrays, strict=True)
        ]
        if len(results) > 1:
            self.outputs = len(results)
            self._outputs_meta = tuple([(one.array.shape, one.array.dtype) for one in results])
        sources: list[int | None] = []
        versions: list[tuple[list[int], int] | None] = []
        for array in self._saved:
            source: int | None = None
            version = None
            if array is not None:
                for place, other in enumerate(arrays):
                    if other is array:
                        source, holder = place, inputs[place]
                        break
                else:
                    for place, one in enumerate(results):
                        if one.array is array:
                            source, holder = -1 - place, one
                            break
                    else:
                        holder = None
                        self._must_be_known(array)
                if isinstance(holder, Tensor):
                    version = (holder._version, holder._version[0])
            sources.append(source)
            versions.append(version)
        self._sources, self._versions = sources, versions

    def _must_be_known(self, array: Any) -> None:
        if type(array) not in NUMBERS:
            raise RuntimeError(
                f"{self.primitive.__name__}.forward saved an array that is neither an input nor an output;"
                " its gradient would be lost in a second derivative: use ctx.keep, or an attribute for a"
                " constant"
            )

    def _check_versions(self) -> None:
        if self._released:
            raise RuntimeError(SECOND_TIME)
        for place, version in enumerate(self._versions):
            if version is not None and version[0][0] != version[1]:
                array = self._saved[place]
                source = self._sources[place]
                what = (
                    f"which is output {-1 - source} of {self.name()}"
                    if source is not None and source < 0
                    else f"which is input {source} of {self.primitive.__name__.lower()}"
                )
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace"
                    f" operation: [accelgrad.{dtypes.of(array.dtype).title} {list(array.shape)}], {what}, is"
                    f" at version {version[0][0]}; expected version {version[1]} instead. It was saved by"
                    f" {self.name()} for its backward; use the out-of-place form (y = y + 1, not y += 1), or"
                    " clone() it first."
                )

    def propagate(self, gradients: list[Any], differentiable: bool) -> tuple[Any, ...] | list[Any]:
        if self.xp.alone:
            return self._propagate(gradients, differentiable)
        with self.xp.scope():
            return self._propagate(gradients, differentiable)

    def _propagate(self, gradients: list[Any], differentiable: bool) -> tuple[Any, ...] | list[Any]:
        if self._released:
            raise RuntimeError(SECOND_TIME)
        if isinstance(gradients[0], np.generic):  # NumPy's sum of two 0-d arrays is a scalar
            gradients[0] = np.asarray(gradients[0])
        if self.outputs > 1:
            for place, (shape, kind) in enumerate(self._outputs_meta):
                if gradients[place] is None:
                    zeros = self.xp.zeros(shape, dtype=kind)
                    gradients[place] = wrap(zeros, self.xp) if differentiable else zeros
        if self.reduced:
            gradients = [reduced.widened(one) for one in gradients]
        if differentiable:
            with self.xp.device:  # what the formula makes anew belongs there
                results = self.primitive.backward(Reading(self), *gradients)
        else:
            results = self.primitive.backward(self, *gradients)
        if type(results) is not tuple:
            results = (results,)
        edges = self.edges
        if len(results) != len(edges):
            results = self._padded(results)
        checked: list[Any] = []
        for edge, result, meta in zip(edges, results, self._shapes, strict=True):
            if edge is None or result is None:
                checked.append(None)
                continue
            shape, kind = meta  # type: ignore[misc]
            if result.shape != shape:
                result = unbroadcast(reading if differentiable else self.xp, result, shape, self)
            if differentiable:
                if result.array.dtype is not kind:
                    result = result.to(dtypes.of(kind))
            else:
                if result.dtype is not kind:
                    result = self.xp.rounded(result, kind)
                if not shape and isinstance(result, np.generic):
                    result = np.asarray(result)
            checked.append(result)
        if state.check_nan:
            self._refuse_nan(checked)
        return checked

    def _padded(self, results: tuple[Any, ...]) -> tuple[Any, ...]:
        """As many gradients as inputs: those that backward left out are None."""
        expected = len(self.edges)
        if any(extra is not None for extra in results[expected:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {expected}, got"
                f" {len(results)})"
            )
        return (results + (None,) * expected)[:expected]

    def _refuse_nan(self, gradients: list[Any]) -> None:
        for place, gradient in enumerate(gradients):
            array = gradient.array if isinstance(gradient, Tensor) else gradient
            if array is not None and bool((array != array).any()):
                raise RuntimeError(f"Function '{self.name()}' returned nan values in its {place}th output.")

    def owns(self, gradient: Any, arrived: list[Any], results: Sequence[Any]) -> bool:
        if type(gradient) is not self.xp.array_type or gradient.base is not None:
            return False
        for known in (arrived, self._saved, self._kept, self.__dict__.values()):
            for other in known:
                if other is gradient:
                    return False
        times = 0
        for other in results:
            if other is gradient:
                times += 1
            elif other is not None and other.base is gradient:
                return False
        return times == 1  # add returns one array for both inputs

    def release(self) -> None:
        if self._saved or self._kept or self.__dict__:
            self._released = True
            self._saved = self._kept = ()
            self.__dict__.clear()

    def name(self) -> str:
        return f"{self.primitive.__name__}Backward0"

    def _repr_html_(self) -> str:
        from accelgrad.viz.notebook import node_html

        return node_html(self)

    def saved_as_tensors(self) -> tuple[Tensor | None, ...]:
        """What was saved as Tensors that know where they came from."""
        self._check_versions()
        result: list[Any] = []
        for array, source in zip(self._saved, self._sources, strict=True):
            if source is None:
                result.append(array)
                continue
            if type(array) in NUMBERS:
                result.append(array)
                continue
            tensor = wrap(array, self.xp)
            if source >= 0:
                tensor._edge = self.edges[source]
            elif array.dtype.kind in dtypes.FLOATING:
                tensor._edge = (self, -1 - source)
            result.append(tensor)
        return tuple(result)


SECOND_TIME = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have"
    " already been freed). Saved intermediate values of the graph are freed when you call .backward() or"
    " autograd.grad(). The usual cause is a tensor kept from the last step (detach() it); if you mean it,"
    " specify retain_graph=True in the first call."
)


class Reading:
    """A context as ``backward`` sees it when the gradient itself is differentiated: all is Tensors."""

    __slots__ = ("context", "saved_tensors")

    def __init__(self, context: Context) -> None:
        self.context = context
        saved = context.saved_as_tensors()
        self.saved_tensors = tuple([reduced.widened(one) for one in saved]) if context.reduced else saved

    @property
    def xp(self) -> Any:
        return reading

    def kept(self, formula: Callable[..., tuple[Any, ...]], *saved: Any) -> tuple[Any, ...]:
        return formula(reading, *saved)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.context, name)


class Primitive:
    """A pair of formulas.  Subclass it, write ``forward`` and ``backward``, call ``apply``."""

    promotion: str | None = None
    """None: inputs keep their types.  "common": PyTorch's rules.  "float": and integers as floats."""

    view = False
    """Whether the result may share memory with the input."""

    exact = False
    """Whether backward only moves elements, so that it may read numbers of 16 bits as they are; so does
    forward then, and that of a view in any case."""

    mixes = False
    """Whether floating point inputs may have different types: then the first decides about the result."""

    @staticmethod
    def direct(arrays: list[Any]) -> bool:
        """Whether a card computes both formulas of these numbers of 16 bits by itself, in float32 and rounded
        once: they are one product, or one elementwise step.
        """
        return False

    @staticmethod
    def forward(ctx: Any, *inputs: Any, **options: Any) -> Any:
        """The result (or a tuple of results) from raw arrays."""
        raise NotImplementedError("a Primitive defines forward(ctx, *inputs, **options)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient of each input from those of the results; None for an input that has none."""
        raise NotImplementedError("a Primitive defines backward(ctx, *gradients)")

    @staticmethod
    def explain(error: Exception, arrays: list[Any]) -> Exception:
        """What to raise where ``forward`` met a TypeError or ValueError of the array module."""
        return error

    @classmethod
    def run(cls, xp: Any, *arrays: Any, **options: Any) -> Any:
        """The forward formula alone, on raw arrays."""
        return cls.forward(Context(cls, xp, (None,) * len(arrays)), *arrays, **options)

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Unwrap the inputs, run ``forward``, wrap the results; record the call where it has a gradient."""
        if cls.promotion is not None:
            inputs = promote(inputs, cls)
        arrays: list[Any] = []
        edges: list[graph.Edge | None] = []
        xp: Any = None
        recording = narrow = False
        cut: Any = None
        for one in inputs:
            if isinstance(one, Tensor):
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
                    return cls.apply(*on_one_device(cls, inputs), **options)
            else:
                edges.append(None)
                arrays.append(one if type(one) in NUMBERS else constant(cls, one))
        if xp is None:
            xp = namespace_of(cls, inputs, arrays)
        if recording and not state.grad:
            recording = False
            cut = ("no_grad", cls.__name__, None, None)
        ctx = Context(cls, xp, tuple(edges) if recording else (None,) * len(edges))
        forward: Any = cls.forward
        if narrow and not cls.exact:
            if cls.view:
                ctx.reduced = True
            elif not (xp.asynchronous and cls.direct(arrays)):
                forward = functools.partial(reduced.forward, cls)
        token = backend.hush()
        try:
            if xp.alone:
                out = forward(ctx, *arrays, **options)
            else:
                with xp.scope():
                    out = forward(ctx, *arrays, **options)
        except (TypeError, ValueError) as error:
            raise cls.explain(error, arrays) from None
        finally:
            backend.unhush(token)
        if type(out) is not tuple:
            if isinstance(out, np.generic):
                out = _zero_dim(ctx, out)
            result = wrap(out, xp)
            if cls.view:
                _share(cls, inputs[0], result, options)
            if recording:
                if out.dtype.kind in dtypes.FLOATING:
                    ctx.finish(inputs, arrays, (result,))
                    result._edge = (ctx, 0)
                    if cut is not None:
                        ctx._cut = cut
                else:
                    result._cut = ("discrete", cls.__name__, None, None)
            elif cut is not None:
                result._cut = cut
            return result
        results = tuple(
            [wrap(_zero_dim(ctx, one) if isinstance(one, np.generic) else one, xp) for one in out]
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
    """NumPy gives scalars where PyTorch gives 0-d tensors: the array, also among what was saved."""
    array = np.asarray(value)
    ctx._saved = tuple([array if one is value else one for one in ctx._saved])
    return array


def unbroadcast(xp: Any, gradient: Any, shape: tuple[int, ...], node: Context | None = None) -> Any:
    """The gradient of an input of ``shape`` that was broadcast: the sum over the axes that were stretched."""
    extra = gradient.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + place
        for place, extent in enumerate(shape)
        if extent == 1 and gradient.shape[extra + place] != 1
    )
    if extra < 0 or any(
        extent != 1 and extent != gradient.shape[extra + place] for place, extent in enumerate(shape)
    ):
        raise RuntimeError(
            f"Function {node.name() if node else 'backward'} returned an invalid gradient: got"
            f" {list(gradient.shape)} but expected shape compatible with {list(shape)}"
        )
    if axes:
        gradient = xp.sum(gradient, axis=axes, keepdims=True)
    return xp.reshape(gradient, shape) if extra else gradient


# --- views


def _share(primitive: type[Primitive], source: Any, result: Tensor, options: dict[str, Any]) -> None:
    """Make ``result`` a view of ``source`` if it shows the same memory."""
    if not isinstance(source, Tensor) or not _same_memory(source.array, result.array):
        return
    result._version = source._version
    step = ((primitive, options),)
    if source._view is None:
        result._view = (source, step, source._version[0])
    else:
        base, chain, _ = source._view
        result._view = (base, chain + step, source._version[0])


def _same_memory(x: Any, y: Any) -> bool:
    if isinstance(x, np.ndarray):
        return y is x or (y.base is not None and (y.base is x or np.may_share_memory(x, y)))
    return y is x or (x.data.mem is y.data.mem)
