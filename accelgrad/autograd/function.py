"""Function: an operation whose forward and backward the user writes on Tensors, with PyTorch's interface."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from accelgrad.core import context, graph, modes
from accelgrad.core.context import SECOND_TIME, changed_in_place, refuse_nan, unbroadcast
from accelgrad.core.modes import state
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["Function", "FunctionCtx", "once_differentiable"]


class Saved(NamedTuple):
    """One tensor that a call saved for backward, with the version that it had then."""

    tensor: Tensor
    slot: int | None  # the number of the output that it is; None for inputs and others
    counter: list[int]
    version: int


class FunctionCtx(graph.Node):
    """The ``ctx`` of one call of a :class:`Function`: carries what forward saves to backward.

    Tensors are saved by :meth:`save_for_backward`; any other value may be set as an attribute.

    >>> import accelgrad
    >>> class Scale(Function):
    ...     @staticmethod
    ...     def forward(ctx, x, factor):
    ...         ctx.factor = factor
    ...         return x * factor
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         return grad_output * ctx.factor, None
    >>> x = accelgrad.ones(2, requires_grad=True)
    >>> y = Scale.apply(x, 3.0)
    >>> y.grad_fn.needs_input_grad, y.grad_fn.factor
    ((True, False), 3.0)
    """

    __slots__ = ("__dict__", "outputs")

    def __init__(self, function: type[Function], edges: tuple[graph.Edge | None, ...]) -> None:
        self.edges = edges
        self.outputs = 1
        self._function = function
        self._to_save: tuple[Tensor | None, ...] = ()
        self._saved: list[Saved | None] = []
        self._released = False
        self._dirty: tuple[Tensor, ...] = ()
        self._constant: tuple[Tensor, ...] = ()
        self._materialize = True
        self._meta: tuple[Any, ...] = ()
        self._input_meta: tuple[Any, ...] = ()

    # --- for forward and backward

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each argument of forward, whether its gradient will be asked for."""
        return tuple(edge is not None for edge in self.edges)

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (inputs, outputs or others) for backward; a later change in place is noticed.

        TypeError for what is neither a Tensor nor None.
        """
        for tensor in tensors:
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    "save_for_backward can only save variables,"
                    f" but argument is of type {type(tensor).__name__};"
                    " keep other things as attributes of ctx"
                )
        self._to_save = tensors

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Say that forward changed these inputs in place."""
        self._dirty = tensors

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say that these outputs have no gradient."""
        self._constant = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether backward gets zeros (the default) or None for an output that nobody used."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors given to :meth:`save_for_backward`, with their history.

        RuntimeError where the graph was freed, or where one of them was changed in place since.
        """
        if self._released:
            raise RuntimeError(SECOND_TIME)
        return tuple(None if one is None else self._unpacked(one) for one in self._saved)

    # --- for the graph

    def _pack(self, results: tuple[Tensor, ...]) -> None:
        """Hold what :meth:`save_for_backward` was given, when it is known which of them are outputs."""
        for tensor in self._to_save:
            if tensor is None:
                self._saved.append(None)
                continue
            slot = next((place for place, one in enumerate(results) if one is tensor), None)
            # An output is kept without its edge, which would be a reference cycle through this node.
            holder = tensor.detach() if slot is not None else tensor
            self._saved.append(Saved(holder, slot, tensor._version, tensor._version[0]))
        self._to_save = ()

    def _unpacked(self, saved: Saved) -> Tensor:
        """The saved tensor, an output with its edge again; RuntimeError where it was changed in place."""
        tensor, slot, counter, version = saved
        if counter[0] != version:
            raise changed_in_place(self, tensor.array, counter[0], version)
        if slot is None:
            return tensor
        alias = wrap(tensor.array, tensor.xp)
        alias._edge, alias._version = (self, slot), counter
        return alias

    def propagate(self, gradients: list[Any], differentiable: bool) -> tuple[Any, ...]:
        if self._released:
            raise RuntimeError(SECOND_TIME)
        results = self._function.backward(self, *self._as_tensors(gradients))
        if not isinstance(results, tuple):
            results = (results,)
        expected = len(self.edges)
        if len(results) < expected or any(extra is not None for extra in results[expected:]):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {expected},"
                f" got {len(results)})"
            )
        checked: list[Any] = []
        for place, (edge, result) in enumerate(zip(self.edges, results[:expected], strict=True)):
            if edge is None or result is None:
                checked.append(None)
                continue
            gradient = self._fitted(result, place)
            checked.append(gradient if differentiable else gradient.array)
        if state.check_nan:
            refuse_nan(self, checked)
        return tuple(checked)

    def _as_tensors(self, gradients: list[Any]) -> list[Tensor | None]:
        """The gradients of the outputs as Tensors; zeros or None where nothing arrived."""
        given: list[Tensor | None] = []
        for gradient, meta in zip(gradients, self._meta, strict=True):
            if meta is None:
                given.append(None)
                continue
            shape, dtype, xp = meta
            if gradient is None:
                given.append(wrap(xp.zeros(shape, dtype=dtype), xp) if self._materialize else None)
            else:
                given.append(gradient if isinstance(gradient, Tensor) else wrap(xp.asarray(gradient), xp))
        return given

    def _fitted(self, gradient: Any, place: int) -> Tensor:
        """A gradient that backward returned, in the shape and dtype of the argument at ``place``.

        TypeError for what is not a Tensor, RuntimeError for another device or a shape that does not fit.
        """
        if not isinstance(gradient, Tensor):
            raise TypeError(
                f"function {self.name()} must return Tensors or None,"
                f" got {type(gradient).__name__} as gradient {place}"
            )
        shape, dtype, xp = self._input_meta[place]
        if gradient.xp is not xp:
            raise RuntimeError(
                f"Function {self.name()} returned an invalid gradient at index {place} - expected device"
                f" {xp.device} but got {gradient.device}; return it.to('{xp.device}')"
            )
        if gradient.array.shape != shape:
            gradient = unbroadcast(context.reading, gradient, shape)
        return gradient if gradient.array.dtype == dtype else gradient.to(dtype)

    def release(self) -> None:
        if self._saved:
            self._released = True
            self._saved = []

    def name(self) -> str:
        return f"{self._function.__name__}Backward"


class Function:
    """An operation of your own: subclass it with static ``forward`` and ``backward``, call it by ``apply``.

    ``forward(ctx, *args)`` computes a Tensor or a tuple of Tensors.  ``backward(ctx, *grad_outputs)`` takes
    one gradient for each of them, in its shape, and returns one for each argument of ``forward`` (None where
    there is none); it is differentiable if it is made of operations on Tensors.  PyTorch's other form,
    ``forward(*args)`` with ``setup_context(ctx, inputs, output)``, works too.

    RuntimeError for an instance (all methods are static) and for a wrong number of gradients; TypeError for
    results and gradients that are not Tensors.

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
        """Save for backward what it needs, where forward takes no ``ctx``."""
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
            f"{type(self)} should not be instantiated."
            f" Methods on autograd functions are all static, so call {type(self).__name__}.apply(...)"
        )

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run forward on ``args``, and record the call if one of them needs a gradient."""
        edges = tuple(one.edge() if isinstance(one, Tensor) else None for one in args)
        recording = state.grad and any(edge is not None for edge in edges)
        ctx = FunctionCtx(cls, edges if recording else (None,) * len(edges))

        # The formula, unrecorded: backward says how gradients pass.
        with modes.no_grad():
            if cls.setup_context is not Function.setup_context:
                output = cls.forward(*args)
                cls.setup_context(ctx, args, output)
            else:
                output = cls.forward(ctx, *args)

        # An input that is handed through unchanged becomes another tensor on the same memory.
        results = output if isinstance(output, tuple) else (output,)
        for one in results:
            if not isinstance(one, Tensor) and one is not None:
                raise TypeError(f"{cls.__name__}.forward must return Tensors, got {type(one).__name__}")
        finished = tuple(
            one.detach() if one is not None and _among(one, args) and not _among(one, ctx._dirty) else one
            for one in results
        )

        if recording:
            _record(ctx, args, results, finished)
        ctx._dirty = ctx._constant = ()
        return finished if isinstance(output, tuple) else finished[0]


def _record(
    ctx: FunctionCtx, args: tuple[Any, ...], results: tuple[Any, ...], finished: tuple[Any, ...]
) -> None:
    """Give the call its place in the graph, and its outputs their edges to it."""
    ctx.record(ctx.edges)
    ctx.outputs = len(finished)
    ctx._meta, ctx._input_meta = _meta_of(finished), _meta_of(args)
    ctx._pack(results)
    for slot, one in enumerate(finished):
        if one is None or not one.is_floating_point() or _among(results[slot], ctx._constant):
            continue
        if _among(one, ctx._dirty):
            one._version[0] += 1
            # What was saved of it is its new value: backward shall not take that for a later change.
            ctx._saved = [
                saved._replace(version=one._version[0])
                if saved is not None and saved.counter is one._version
                else saved
                for saved in ctx._saved
            ]
        one._edge = (ctx, slot)


def _meta_of(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Shape, dtype and array module of each Tensor, None for anything else."""
    return tuple(
        (one.array.shape, one.array.dtype, one.xp) if isinstance(one, Tensor) else None for one in values
    )


def _among(tensor: Any, others: tuple[Any, ...]) -> bool:
    """Tell whether ``tensor`` itself is one of ``others``."""
    return any(tensor is other for other in others)


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``backward`` that must not be differentiated itself: trying to is a RuntimeError.

    Without it, a backward that leaves the graph (for NumPy, say) would give wrong second derivatives.  As in
    PyTorch, it refuses where the gradient that arrives depends on something that requires grad.

    >>> import accelgrad
    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x ** 3
    ...     @staticmethod
    ...     @once_differentiable
    ...     def backward(ctx, grad_output):
    ...         return 3 * ctx.saved_tensors[0] ** 2 * grad_output
    >>> x = accelgrad.tensor(2.0, requires_grad=True)
    >>> (slope,) = accelgrad.autograd.grad(Cube.apply(x) * x, x, create_graph=True)
    >>> slope.backward()
    Traceback (most recent call last):
    RuntimeError: trying to differentiate twice a function that was marked with @once_differentiable
    """

    @functools.wraps(fn)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with modes.no_grad():
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
    """Zero, with a backward that says that the function was marked as differentiable once."""

    @staticmethod
    def forward(ctx: Any, *gradients: Tensor) -> Tensor:
        return wrap(gradients[0].xp.zeros((), dtype=gradients[0].array.dtype), gradients[0].xp)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )
