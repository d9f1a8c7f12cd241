"""Context: what one call of a primitive saved, and how gradients pass through it.

The context *is* the node of the graph: no second object is made for a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.core import graph, late, reduced
from accelgrad.core.modes import state
from accelgrad.core.promotion import NUMBERS
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["SECOND_TIME", "Context", "Reading", "changed_in_place", "refuse_nan", "unbroadcast"]

reading: Any = None
"""The array module over Tensors for the differentiable reading (:mod:`accelgrad.ops.registry.reading`)."""


@late.open_to_upper_rooms
class Context(graph.Node):
    """One call of a primitive: its array module, what it saved, and its place in the graph."""

    __slots__ = (
        "__dict__", "_cut", "_kept", "_outputs_meta", "_released", "_saved", "_shapes", "_sources",
        "_versions", "outputs", "primitive", "reduced", "xp",
    )  # fmt: skip

    # Set only where an input had left the graph, see Tensor._cut.
    _cut: Any

    def __init__(self, primitive: Any, xp: Any, edges: tuple[graph.Edge | None, ...]) -> None:
        self.primitive = primitive
        self.xp = xp
        self.edges = edges
        self.outputs = 1
        self._saved: tuple[Any, ...] = ()
        self._kept: tuple[Any, ...] = ()
        self._released = False
        # Whether the formulas read 16-bit numbers as float32 (accelgrad.core.reduced).
        self.reduced = False

    # --- for the formulas

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """Tell for each positional argument whether its gradient will be asked for."""
        return tuple([edge is not None for edge in self.edges])

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep inputs and outputs for the walk back; a change of them in place before that is noticed."""
        self._saved = arrays

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The saved arrays, in the order of saving; RuntimeError if one was changed in place since."""
        self._check_versions()
        return tuple([reduced.widened(one) for one in self._saved]) if self.reduced else self._saved

    def saved_as(self, others: dict[int, Any]) -> None:
        """Replace saved arrays: ``others`` maps the id of a saved array to what is saved instead."""
        self._saved = tuple([others.get(id(one), one) for one in self._saved])

    def keep(self, *intermediates: Any) -> None:
        """Keep intermediate results for :meth:`kept`."""
        self._kept = intermediates

    def kept(self, formula: Callable[..., tuple[Any, ...]], *saved: Any) -> tuple[Any, ...]:
        """Return what :meth:`keep` kept; in the differentiable reading ``formula(xp, *saved)`` instead."""
        return self._kept

    # --- for the graph

    def finish(self, inputs: tuple[Any, ...], arrays: list[Any], results: tuple[Tensor, ...]) -> None:
        """Take a place in the graph; called after the forward formula, if a gradient may be asked for."""
        self.record(self.edges)

        # The shape and type that each input's gradient must have; for several results also theirs.
        self._shapes = [
            None if edge is None else (array.shape, array.dtype)
            for edge, array in zip(self.edges, arrays, strict=True)
        ]
        if len(results) > 1:
            self.outputs = len(results)
            self._outputs_meta = tuple([(one.array.shape, one.array.dtype) for one in results])

        # For each saved array: the input (0, 1, ...) or result (-1, -2, ...) that it is, and its version.
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
        """Refuse a saved array that is neither an input nor an output, unless it is a number."""
        if type(array) not in NUMBERS:
            raise RuntimeError(
                f"{self.primitive.__name__}.forward saved an array that is neither an input nor an output;"
                " its gradient would be lost in a second derivative:"
                " use ctx.keep, or an attribute for a constant"
            )

    def _check_versions(self) -> None:
        """Raise RuntimeError if a saved tensor was changed in place since, or if the graph was freed."""
        if self._released:
            raise RuntimeError(SECOND_TIME)
        for place, version in enumerate(self._versions):
            if version is not None and version[0][0] != version[1]:
                array = self._saved[place]
                source = self._sources[place]
                what = (
                    f", which is output {-1 - source} of {self.name()},"
                    if source is not None and source < 0
                    else f", which is input {source} of {self.primitive.__name__.lower()},"
                )
                raise changed_in_place(self, array, version[0][0], version[1], what)

    def propagate(self, gradients: list[Any], differentiable: bool) -> tuple[Any, ...] | list[Any]:
        if self.xp.alone:
            return self._propagate(gradients, differentiable)
        with self.xp.scope():
            return self._propagate(gradients, differentiable)

    def _propagate(self, gradients: list[Any], differentiable: bool) -> tuple[Any, ...] | list[Any]:
        """Run the backward formula on the gradients of the outputs, and give its results their right form."""
        if self._released:
            raise RuntimeError(SECOND_TIME)

        # --- what arrives: arrays (NumPy's sum of two 0-d arrays is a scalar), zeros where nothing arrived
        if isinstance(gradients[0], np.generic):
            gradients[0] = np.asarray(gradients[0])
        if self.outputs > 1:
            for place, (shape, kind) in enumerate(self._outputs_meta):
                if gradients[place] is None:
                    zeros = self.xp.zeros(shape, dtype=kind)
                    gradients[place] = wrap(zeros, self.xp) if differentiable else zeros
        if self.reduced:
            gradients = [reduced.widened(one) for one in gradients]

        # --- the formula
        if differentiable:
            # New tensors that the formula makes belong on this device.
            with self.xp.device:
                results = self.primitive.backward(Reading(self), *gradients)
        else:
            results = self.primitive.backward(self, *gradients)

        # --- what leaves: one gradient for each input, in the input's shape and type
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
            refuse_nan(self, checked)
        return checked

    def _padded(self, results: tuple[Any, ...]) -> tuple[Any, ...]:
        """Add None for the inputs that backward left out; RuntimeError if it returned too many gradients."""
        expected = len(self.edges)
        if any(extra is not None for extra in results[expected:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {expected},"
                f" got {len(results)})"
            )
        return (results + (None,) * expected)[:expected]

    def owns(self, gradient: Any, arrived: list[Any], results: Sequence[Any]) -> bool:
        # A view shows memory of another array, and what arrived or was saved has other owners.
        if type(gradient) is not self.xp.array_type or gradient.base is not None:
            return False
        for known in (arrived, self._saved, self._kept, self.__dict__.values()):
            for other in known:
                if other is gradient:
                    return False
        # add returns one array for both inputs: then neither may keep it.
        times = 0
        for other in results:
            if other is gradient:
                times += 1
            elif other is not None and other.base is gradient:
                return False
        return times == 1

    def release(self) -> None:
        if self._saved or self._kept or self.__dict__:
            self._released = True
            self._saved = self._kept = ()
            self.__dict__.clear()

    def name(self) -> str:
        return f"{self.primitive.__name__}Backward0"

    def saved_as_tensors(self) -> tuple[Tensor | None, ...]:
        """Return what was saved as Tensors with their edges, for the differentiable reading."""
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


def changed_in_place(
    node: graph.Node, array: Any, found: int, expected: int, which: str = ""
) -> RuntimeError:
    """Return the error for a saved array that was changed in place before its node ran."""
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation:"
        f" [accelgrad.{dtypes.of(array.dtype).title} {list(array.shape)}]{which} is at version {found};"
        f" expected version {expected} instead."
        f" It was saved by {node.name()} for its backward;"
        " use the out-of-place form (y = y + 1, not y += 1), or clone() it first."
    )


def refuse_nan(node: graph.Node, gradients: Sequence[Any]) -> None:
    """Raise RuntimeError if a gradient has NaN; asked for by ``detect_anomaly(check_nan=True)``."""
    for place, gradient in enumerate(gradients):
        array = gradient.array if isinstance(gradient, Tensor) else gradient
        if array is not None and bool((array != array).any()):
            raise RuntimeError(f"Function '{node.name()}' returned nan values in its {place}th output.")


SECOND_TIME = (
    "Trying to backward through the graph a second time"
    " (or directly access saved tensors after they have already been freed)."
    " Saved intermediate values of the graph are freed when you call .backward() or autograd.grad()."
    " The usual cause is a tensor kept from the last step (detach() it);"
    " if you mean it, specify retain_graph=True in the first call."
)


class Reading:
    """The context as ``backward`` sees it when the gradient itself is differentiated: all is Tensors."""

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


def unbroadcast(xp: Any, gradient: Any, shape: tuple[int, ...], node: Context | None = None) -> Any:
    """Sum a gradient over the axes along which an input of ``shape`` was broadcast."""
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
            f"Function {node.name() if node else 'backward'} returned an invalid gradient:"
            f" got {list(gradient.shape)} but expected shape compatible with {list(shape)}"
        )
    if axes:
        gradient = xp.sum(gradient, axis=axes, keepdims=True)
    return xp.reshape(gradient, shape) if extra else gradient
