"""Hooks on modules: how they are registered, and the call that runs them.

``Module.__call__`` goes straight to ``forward`` while nobody has registered a hook; :func:`call_with_hooks`
is the long way: global pre-hooks, own pre-hooks, forward, hooks, and around it the two boundaries at which
the gradients of the module's outputs and inputs pass by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelgrad.core.graph import RemovableHandle
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap

__all__ = [
    "Hooked", "call_with_hooks", "everywhere", "no_hooks", "register_module_forward_hook",
    "register_module_forward_pre_hook", "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
]  # fmt: skip


class Hook:
    """A hook and how it is to be called: with keyword arguments too, after an exception too."""

    __slots__ = ("always_call", "function", "with_kwargs")

    def __init__(
        self, function: Callable[..., Any], with_kwargs: bool = False, always_call: bool = False
    ) -> None:
        if not callable(function):
            raise TypeError(f"a hook must be a function, got {type(function).__name__}")
        self.function, self.with_kwargs, self.always_call = function, with_kwargs, always_call


Hooks = dict[int, Hook]


# --- on one module


def no_hooks() -> dict[str, dict[int, Any]]:
    """The empty tables of hooks that a new module starts with."""
    names = (
        "_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks",
        "_state_dict_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
    )  # fmt: skip
    return {name: {} for name in names}


class Hooked:
    """The methods of a Module that register hooks; each returns a handle, whose ``remove()`` takes it off.

    A hook must be a function, else TypeError.
    """

    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: Hooks
    _backward_hooks: Hooks
    _state_dict_pre_hooks: dict[int, Any]
    _state_dict_hooks: dict[int, Any]
    _load_state_dict_pre_hooks: dict[int, Any]
    _load_state_dict_post_hooks: dict[int, Any]
    _hooked = False
    """Set by the first hook around a call: until then a call goes straight to forward."""

    def _register(self, table: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
        """Put a hook around the call into its table, at the end or at the front."""
        self.__dict__["_hooked"] = True
        return RemovableHandle(table, hook, first=prepend)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; what it returns replaces ``args``.

        With ``with_kwargs`` the hook is ``hook(module, args, kwargs)`` and returns both.
        """
        return self._register(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns replaces the output.

        With ``with_kwargs`` the hook is ``hook(module, args, kwargs, output)``; with ``always_call`` it is
        called after an exception too.

        >>> import accelgrad
        >>> from accelgrad import nn
        >>> layer, shapes = nn.Linear(2, 3), []
        >>> handle = layer.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
        >>> _ = layer(accelgrad.zeros(5, 2))
        >>> handle.remove(); shapes
        [accelgrad.Size([5, 3])]
        """
        return self._register(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the gradient passes back; what it returns replaces it."""
        return self._register(self._backward_pre_hooks, Hook(hook), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradient has passed back.

        What it returns replaces ``grad_input``, the gradients of the module's positional inputs.

        >>> import accelgrad
        >>> from accelgrad import nn
        >>> layer, seen = nn.ReLU(), []
        >>> def note(module, grad_input, grad_output):
        ...     seen.extend(grad_input)
        >>> handle = layer.register_full_backward_hook(note)
        >>> layer(accelgrad.tensor([-1.0, 2.0], requires_grad=True)).sum().backward()
        >>> seen
        [tensor([0., 1.])]
        """
        return self._register(self._backward_hooks, Hook(hook), prepend)

    register_backward_hook = register_full_backward_hook

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before ``state_dict`` collects this module."""
        return RemovableHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after ``state_dict`` has collected it."""
        return RemovableHandle(self._state_dict_hooks, hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call the hook before this module's own entries are loaded.

        Its arguments are ``(module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs)``; it may change the dictionary and the lists.
        """
        return RemovableHandle(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the two lists."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)


# --- on every module


class _Everywhere:
    """The hooks on every module."""

    def __init__(self) -> None:
        self.forward_pre: Hooks = {}
        self.forward: Hooks = {}
        self.backward_pre: Hooks = {}
        self.backward: Hooks = {}

    def __bool__(self) -> bool:
        return bool(self.forward_pre or self.forward or self.backward_pre or self.backward)


everywhere = _Everywhere()


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module; what it returns replaces ``args``."""
    return RemovableHandle(everywhere.forward_pre, Hook(hook))  # type: ignore[arg-type]


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after every module's forward; what it returns replaces the output.

    The other arguments as for ``Module.register_forward_hook``.

    >>> import accelgrad
    >>> seen = []
    >>> handle = register_module_forward_hook(lambda module, args, output: seen.append(type(module).__name__))
    >>> _ = accelgrad.nn.Sequential(accelgrad.nn.Identity())(accelgrad.Tensor([1.0]))
    >>> handle.remove(); seen
    ['Identity', 'Sequential']
    """
    return RemovableHandle(everywhere.forward, Hook(hook, with_kwargs, always_call))  # type: ignore[arg-type]


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the gradient passes back through any module.

    What it returns replaces ``grad_output``.
    """
    return RemovableHandle(everywhere.backward_pre, Hook(hook))  # type: ignore[arg-type]


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradient has passed back through any module.

    What it returns replaces ``grad_input``.
    """
    return RemovableHandle(everywhere.backward, Hook(hook))  # type: ignore[arg-type]


# --- the long call


def call_with_hooks(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``module.forward(*args, **kwargs)`` between its hooks and those on every module."""
    called: set[int] = set()
    result: Any = None
    try:
        # Before forward, which sees its inputs behind a boundary if there are backward hooks.
        for hook in (*everywhere.forward_pre.values(), *module._forward_pre_hooks.values()):
            args, kwargs = _before(hook, module, args, kwargs)
        passage = _Passage.of(module)
        if passage is not None:
            args = passage.enter(args)
        result = module.forward(*args, **kwargs)
        # After forward.
        for number, hook in (*everywhere.forward.items(), *module._forward_hooks.items()):
            called.add(number)
            changed = _after(hook, module, args, kwargs, result)
            if changed is not None:
                result = changed
        return result if passage is None else passage.leave(result)
    except Exception:
        for number, hook in (*everywhere.forward.items(), *module._forward_hooks.items()):
            if hook.always_call and number not in called:
                called.add(number)
                _after(hook, module, args, kwargs, result)
        raise


def _before(
    hook: Hook, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of forward after one pre-hook, which may replace them."""
    if hook.with_kwargs:
        changed = hook.function(module, args, kwargs)
        if changed is None:
            return args, kwargs
        if not isinstance(changed, tuple) or len(changed) != 2:
            raise RuntimeError(
                f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
            )
        return changed
    changed = hook.function(module, args)
    if changed is None:
        return args, kwargs
    return (changed if isinstance(changed, tuple) else (changed,)), kwargs


def _after(hook: Hook, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    """The answer of one forward hook; None leaves the result as it is."""
    return (
        hook.function(module, args, kwargs, result)
        if hook.with_kwargs
        else hook.function(module, args, result)
    )


# --- backward through a module


class Boundary(Primitive):
    """y = x for several tensors at once: one node at which all their gradients pass by."""

    @staticmethod
    def forward(ctx: Any, *arrays: Any) -> Any:
        return tuple([one.view() for one in arrays])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads


class _Passage:
    """One call of a module with backward hooks.

    It keeps the gradients of the outputs until those of the inputs are there.
    """

    def __init__(self, module: Any, before: list[Hook], after: list[Hook]) -> None:
        self.module, self.before, self.after = module, before, after
        self.grad_outputs: tuple[Any, ...] | None = None
        self.outputs = 0
        self.output_places: list[int] = []
        self.inputs = 0
        self.input_places: list[int] = []
        self.watches_inputs = False

    @classmethod
    def of(cls, module: Any) -> _Passage | None:
        """The passage for a call of ``module``; None where it has no backward hooks."""
        before = [*everywhere.backward_pre.values(), *module._backward_pre_hooks.values()]
        after = [*everywhere.backward.values(), *module._backward_hooks.values()]
        return cls(module, before, after) if before or after else None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments with their tensors behind a boundary, which calls back when it has its gradients."""
        if not self.after:
            return args
        self.inputs = len(args)
        self.input_places, passed, node = _through_boundary(args)
        if node is None:
            return args
        node.register_hook(self._inputs_done)
        self.watches_inputs = True
        return tuple(passed)

    def leave(self, result: Any) -> Any:
        """The result with its tensors behind a boundary, which calls back before it passes gradients on."""
        single = not isinstance(result, tuple | list)
        values = (result,) if single else tuple(result)
        self.outputs = len(values)
        self.output_places, passed, node = _through_boundary(values)
        if node is None:
            return result
        node.register_prehook(self._outputs_here)
        if single:
            return passed[0]
        # A named tuple takes its fields one by one.
        return type(result)(*passed) if hasattr(result, "_fields") else type(result)(passed)

    def _outputs_here(self, gradients: tuple[Any, ...]) -> Any:
        """Run the hooks that see the outputs' gradients; returns the changed gradients, or None."""
        changed = None
        grads = _as_tensors(gradients, self.output_places, self.outputs)
        for hook in self.before:
            answer = hook.function(self.module, grads)
            if answer is not None:
                grads = _checked(answer, grads, "Backward pre hook")
                changed = grads
        self.grad_outputs = grads
        if not self.watches_inputs:
            for hook in self.after:
                answer = hook.function(self.module, (None,) * self.inputs, grads)
                if answer is not None and any(one is not None for one in answer):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return"
                        " None or None for all gradients."
                    )
        if changed is None:
            return None
        return tuple(_like(gradients[slot], changed[place]) for slot, place in enumerate(self.output_places))

    def _inputs_done(self, results: tuple[Any, ...], gradients: tuple[Any, ...]) -> Any:
        """Run the hooks that see the inputs' gradients too; returns the changed gradients, or None."""
        if self.grad_outputs is None:  # the inputs reached the loss by another way only
            return None
        grads = _as_tensors(results, self.input_places, self.inputs)
        changed = False
        for hook in self.after:
            answer = hook.function(self.module, grads, self.grad_outputs)
            if answer is not None:
                grads, changed = _checked(answer, grads, "Backward hook"), True
        self.grad_outputs = None
        if not changed:
            return None
        return tuple(_like(results[slot], grads[place]) for slot, place in enumerate(self.input_places))


def _through_boundary(values: tuple[Any, ...]) -> tuple[list[int], list[Any], Any]:
    """Put the floating point tensors of ``values`` behind a boundary.

    Returns their places, the values with these tensors replaced, and the boundary's node, which is None where
    no gradient is recorded.
    """
    places = [
        place for place, one in enumerate(values) if isinstance(one, Tensor) and one.is_floating_point()
    ]
    passed = list(values)
    if not places or not any(values[place].requires_grad for place in places):
        return places, passed, None
    behind = Boundary.apply(*[values[place] for place in places])
    if behind[0].grad_fn is None:  # nothing is being recorded
        return places, passed, None
    for place, tensor in zip(places, behind, strict=True):
        tensor._version = values[place]._version  # one memory: a change in place is still noticed
        passed[place] = tensor
    return places, passed, behind[0].grad_fn


def _as_tensors(gradients: tuple[Any, ...], places: list[int], count: int) -> tuple[Any, ...]:
    """The gradients as Tensors at their places among ``count`` values, None elsewhere."""
    spread: list[Any] = [None] * count
    for place, gradient in zip(places, gradients, strict=True):
        spread[place] = gradient if gradient is None or isinstance(gradient, Tensor) else wrap(gradient)
    return tuple(spread)


def _like(original: Any, changed: Any) -> Any:
    """A hook's gradient as the walk back carries it: as ``original``, a Tensor or an array."""
    return changed if changed is None or isinstance(original, Tensor) else changed.array


def _checked(answer: Any, grads: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    """A hook's answer as a tuple; RuntimeError or TypeError where it does not fit the gradients."""
    answer = answer if isinstance(answer, tuple | list) else (answer,)
    if len(answer) != len(grads):
        raise RuntimeError(
            f"{what} returned an invalid number of grad, got {len(answer)}, but expected {len(grads)}"
        )
    for place, one in enumerate(answer):
        if one is not None and not isinstance(one, Tensor):
            raise TypeError(f"{what} must return Tensors or None, got {type(one).__name__}")
        if one is not None and grads[place] is not None and one.xp is not grads[place].xp:
            raise RuntimeError(
                f"{what} has changed the type of value: gradient {place} is on {grads[place].device},"
                f" but what it returned on {one.device}; return it.to('{grads[place].device}')"
            )
    return tuple(answer)
