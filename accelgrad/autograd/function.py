"""Function: an operation whose forward and backward the user writes on Tensors, with PyTorch's interface."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from accelgrad.core import graph
from accelgrad.core.graph import state
from accelgrad.core.primitive import SECOND_TIME, unbroadcast
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class FunctionCtx(graph.Node):
    """The ``ctx`` of one call: carries what forward saves to backward; any attribute may be set on it."""

    __slots__ = ("__dict__", "outputs")

    def __init__(self, function: type[Function], edges: tuple[graph.Edge | None, ...]) -> None:
        self.edges = edges
        self.outputs = 1
        self._function = function
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: list[Any] = []
        self._released = False
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._meta: tuple[Any, ...] = ()
        self._input_meta: tuple[Any, ...] = ()

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each argument of forward, whether its gradient will be asked for."""
        return tuple(edge is not None for edge in self.edges)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (inputs, outputs or others) for backward; a later change in place is noticed."""
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    "save_for_backward can only save variables, but argument is of type"
                    f" {type(tensor).__name__}; keep other things as attributes of ctx"
                )
        self._to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that forward changed these inputs in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether outputs nobody used get zeros as gradient (the default), or None."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors given to :meth:`save_for_backward`, with their history."""
        if self._released:
            raise RuntimeError(SECOND_TIME)
        found: list[Tensor | None] = []
        for entry in self._saved:
            if entry is None:
                found.append(None)
                continue
            tensor, slot, counter, version = entry
            if counter[0] != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace"
                    f" operation: [accelgrad.{tensor.dtype.title} {list(tensor.shape)}] is at version"
                    f" {counter[0]}; expected version {version} instead. It was saved by {self.name()}."
                )
            if slot is not None:  # an output: kept without its edge, which would be a reference cycle
                alias = wrap(tensor.array, tensor.xp)
                alias._edge, alias._version = (self, slot), counter
                tensor = alias
            found.append(tensor)
        return tuple(found)

    def _keep(self, results: tuple[Tensor, ...]) -> None:
        for tensor in self._to_save:
            if tensor is None:
                self._saved.append(None)
                continue
            slot = next((place for place, one in enumerate(results) if one is tensor), None)
            holder = tensor.detach() if slot is not None else tensor
            self._saved.append((holder, slot, tensor._version, tensor._version[0]))
        self._to_save = ()

    def propagate(self, gradients: list[Any], differentiable: bool) -> tuple[Any, ...]:
        if self._released:
            raise RuntimeError(SECOND_TIME)
        given = []
        for place, gradient in enumerate(gradients):
            shape, dtype, xp = self._meta[place]
            if gradient is None:
                given.append(wrap(xp.zeros(shape, dtype=dtype), xp) if self._materialize else None)
            else:
                given.append(gradient if isinstance(gradient, Tensor) else wrap(xp.asarray(gradient), xp))
        results = self._function.backward(self, *given)
        if not isinstance(results, tuple):
            results = (results,)
        expected = len(self.edges)
        if len(results) < expected or any(extra is not None for extra in results[expected:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {expected}, got"
                f" {len(results)})"
            )
        checked: list[Any] = []
        for place, (edge, result) in enumerate(zip(self.edges, results[:expected], strict=True)):
            if edge is None or result is None:
                checked.append(None)
                continue
            if not isinstance(result, Tensor):
                raise TypeError(
                    f"function {self.name()} must return Tensors or None, got {type(result).__name__} as"
                    f" gradient {place}"
                )
            shape, dtype, xp = self._input_meta[place]
            if result.xp is not xp:
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {place} - expected device"
                    f" {xp.device} but got {result.device}; return it.to('{xp.device}')"
                )
            if result.array.shape != shape:
                from accelgrad.core.primitive import reading

                result = unbroadcast(reading, result, shape)
            if result.array.dtype != dtype:
                result = result.to(dtype)
            checked.append(result if differentiable else result.array)
        return tuple(checked)

    def release(self) -> None:
        if self._saved:
            self._released = True
            self._saved = []

    def name(self) -> str:
        return f"{self._function.__name__}Backward"


class Function:
    """Subclass it with static ``forward(ctx, *args)`` and ``backward(ctx, *grad_outputs)``; call it by
    ``apply``.

    ``backward`` returns one gradient for each argument of ``forward`` (None where there is none).  PyTorch's
    other form, ``forward(*args)`` with ``setup_context(ctx, inputs, output)``, works too.

    >>> import accelgrad
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x * x * grad_output
    >>> x = accelgrad.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result from Tensors."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Save for backward, where forward takes no ``ctx``."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradient of each argument from those of the results."""
        raise NotImplementedError(
            "You must implement the backward function for your custom autograd.Function."
        )

    vjp = backward

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so call"
            f" {type(self).__name__}.apply(...)"
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward on ``args`` and record the call."""
        edges = tuple(one.edge() if isinstance(one, Tensor) else None for one in args)
        recording = state.grad and any(edge is not None for edge in edges)
        ctx = FunctionCtx(cls, edges if recording else (None,) * len(edges))
        with graph.no_grad():
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)
        results = output if isinstance(output, tuple) else (output,)
        for one in results:
            if not isinstance(one, Tensor) and one is not None:
                raise TypeError(f"{cls.__name__}.forward must return Tensors, got {type(one).__name__}")
        finished = tuple(
            one if one is None or not any(one is given for given in args) or any(one is d for d in ctx._dirty)
            else one.detach()  # an input handed through: another tensor on the same memory
            for one in results
        )  # fmt: skip
        if recording:
            ctx.record(edges)
            ctx.outputs = len(finished)
            ctx._meta = tuple(
                (r.array.shape, r.array.dtype, r.xp) if r is not None else ((), None, None) for r in finished
            )
            ctx._input_meta = tuple(
                (one.array.shape, one.array.dtype, one.xp) if isinstance(one, Tensor) else None
                for one in args
            )
            ctx._keep(results)
            for slot, one in enumerate(finished):
                if one is None or not one.is_floating_point():
                    continue
                if any(results[slot] is constant for constant in ctx._constant):
                    continue
                if any(one is dirty for dirty in ctx._dirty):
                    one._version[0] += 1
                    for entry_place, entry in enumerate(ctx._saved):
                        if entry is not None and entry[2] is one._version:
                            ctx._saved[entry_place] = (*entry[:3], one._version[0])
                one._edge = (ctx, slot)
        ctx._dirty = ctx._constant = ()
        return finished if isinstance(output, tuple) else finished[0]


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``backward`` that must not be differentiated itself: doing so is an error instead of a wrong
    result."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with graph.no_grad():
            results = fn(ctx, *gradients)
        if not state.grad or not any(isinstance(g, Tensor) and g.requires_grad for g in gradients):
            return results
        single = not isinstance(results, tuple)
        refused = _Refuse.apply(*[g for g in gradients if isinstance(g, Tensor)])
        marked = tuple(
            None if one is None else one + refused.reshape(()) * 0
            for one in ((results,) if single else results)
        )
        return marked[0] if single else marked

    return wrapper


class _Refuse(Function):
    """A constant whose backward says that the function was marked as differentiable once."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor) -> Tensor:
        return wrap(gradients[0].xp.zeros((), dtype=gradients[0].array.dtype), gradients[0].xp)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
