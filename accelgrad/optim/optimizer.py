"""Optimizer: groups of parameters with their settings, the state of each parameter, and the step.

Writing one takes the settings and one formula::

    class Descent(Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {"lr": lr})

        def update_parameter(self, xp, x, grad, state, group):
            x -= group["lr"] * grad

or, as in PyTorch, a ``step`` of its own over ``self.param_groups`` under ``no_grad``.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from accelgrad.core.foreach import by_kind, update_all
from accelgrad.core.graph import RemovableHandle
from accelgrad.core.modes import enable_grad
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.kernels import updates

__all__ = [
    "Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook", "required",
]  # fmt: skip

State = dict[str, Any]
Group = dict[str, Any]


class _Required:
    """The mark of a setting that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()

_pre_everywhere: dict[int, Callable[..., Any]] = {}
_post_everywhere: dict[int, Callable[..., Any]] = {}


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before the step of every optimizer.

    The hook may return new (args, kwargs).  The handle that is returned takes the hook away:
    ``handle.remove()``, or at the end of a ``with`` block.

    >>> import accelgrad
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))])
    >>> with register_optimizer_step_pre_hook(lambda optimizer, args, kwargs: print("before")):
    ...     optimizer.step()
    before
    """
    return RemovableHandle(_pre_everywhere, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after the step of every optimizer.

    The handle that is returned takes the hook away: ``handle.remove()``, or at the end of a ``with`` block.

    >>> import accelgrad
    >>> optimizer = accelgrad.optim.SGD([accelgrad.nn.Parameter(accelgrad.ones(1))])
    >>> with register_optimizer_step_post_hook(lambda optimizer, args, kwargs: print("done")):
    ...     optimizer.step()
    done
    """
    return RemovableHandle(_post_everywhere, hook)


def _hooked(step: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a subclass's ``step``, so that the hooks on steps run before and after it."""

    @functools.wraps(step)
    def step_with_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True  # schedulers ask whether a step came before theirs
        if not self._has_hooks and not _pre_everywhere and not _post_everywhere:
            return _placed(step, self, args, kwargs)
        for hook in (*_pre_everywhere.values(), *self._optimizer_step_pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"{hook} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                args, kwargs = changed
        result = _placed(step, self, args, kwargs)
        for hook in (*self._optimizer_step_post_hooks.values(), *_post_everywhere.values()):
            hook(self, args, kwargs)
        return result

    return step_with_hooks


def _placed(step: Callable[..., Any], optimizer: Optimizer, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run ``step``; if it fails since arrays lie on two devices, say which lie where.

    RuntimeError instead of the array module's TypeError or ValueError.
    """
    try:
        return step(optimizer, *args, **kwargs)
    except (TypeError, ValueError):
        for group in optimizer.param_groups:
            for place, one in enumerate(group["params"]):
                for name, value in {"grad": one._grad, **optimizer.state.get(one, {})}.items():
                    if isinstance(value, Tensor) and value.xp is not one.xp:
                        raise RuntimeError(
                            "Expected all tensors to be on the same device, but found at least two devices,"
                            f" {one.device} and {value.device}!"
                            f" In {type(optimizer).__name__}, parameter {place} of shape {tuple(one.shape)}"
                            f" is on {one.device}, but its {name!r} on {value.device}."
                            " Move the model before the first step;"
                            " afterwards optimizer.load_state_dict(optimizer.state_dict()) takes the state"
                            " along"
                        ) from None
        raise


class Optimizer:
    """The base of all optimizers: parameters in groups, the state of each parameter, and the step.

    ``params`` is an iterable of tensors, of (name, tensor) pairs, or of groups: dicts with "params" and
    settings of their own; ``defaults`` gives the settings that a group does not.  Parameters may have any
    shape, floating point dtype and device; what is kept for one has its dtype and lies on its device.

    Settings that most subclasses share: ``maximize`` goes uphill; ``foreach``, ``fused`` and ``capturable``,
    which choose between ways of computing in PyTorch, are accepted and change nothing;
    ``differentiable=True`` is a RuntimeError.

    TypeError for what is not a tensor; ValueError for an empty list, for a tensor that was computed from
    others, and for one that stands in two groups.

    >>> import accelgrad
    >>> class Descent(Optimizer):
    ...     def __init__(self, params, lr=0.1):
    ...         super().__init__(params, {"lr": lr})
    ...     def update_parameter(self, xp, x, grad, state, group):
    ...         x -= group["lr"] * grad
    >>> x = accelgrad.nn.Parameter(accelgrad.tensor([1.0]))
    >>> optimizer = Descent([x], lr=0.25)
    >>> (x * 2).sum().backward()
    >>> optimizer.step()
    >>> x.detach()
    tensor([0.5000])
    """

    scalars: tuple[str, ...] = ("step",)
    """The entries of a parameter's state that are Python numbers here, but tensors in ``state_dict``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _hooked(cls.__dict__["step"])  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts,"
                f" but got {type(params).__name__}; put it into a list"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, State] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._forget_hooks()
        groups = list(params)
        if not groups:
            raise ValueError(
                "optimizer got an empty parameter list; layers kept in a plain Python list"
                " or dict are not registered by their Module: use nn.ModuleList or nn.ModuleDict"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group) if isinstance(group, dict) else group)

    def _forget_hooks(self) -> None:
        """Begin without hooks: at first, and in a copy."""
        self._opt_called = self._has_hooks = False
        self._optimizer_step_pre_hooks: dict[int, Any] = {}
        self._optimizer_step_post_hooks: dict[int, Any] = {}
        self._state_dict_pre_hooks: dict[int, Any] = {}
        self._state_dict_post_hooks: dict[int, Any] = {}
        self._load_pre_hooks: dict[int, Any] = {}
        self._load_post_hooks: dict[int, Any] = {}

    def add_param_group(self, param_group: Group) -> None:
        """Add a group, for instance of layers that learn from now on; its settings override the defaults.

        TypeError and ValueError as in the constructor, and ValueError where a ``required`` setting is
        missing.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")

        # The parameters as a list, and their names if they have some.
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections,"
                " but the ordering of tensors in sets will change between runs."
                " Please use a list instead."
            )
        params = list(params)
        named = sum(isinstance(one, tuple) for one in params)
        if named and named < len(params):
            raise ValueError(
                "all optimizer params should be with/without names. Some param names are missing"
            )
        if named:
            param_group["param_names"] = [name for name, _ in params]
            params = [tensor for _, tensor in params]
        param_group["params"] = params

        # They are tensors that a step may change; the settings are complete.
        for one in params:
            if not isinstance(one, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(one).__name__}"
                )
            if not one.is_leaf and not one.retains_grad:
                raise ValueError(
                    "can't optimize a non-leaf Tensor: it was computed, so a step on it would be lost;"
                    " give the parameter that it was computed from"
                )
        for name, value in self.defaults.items():
            if value is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter {name}"
                )
            param_group.setdefault(name, value)

        # Each of them once, and named if the others are.
        if len(params) != len({id(one) for one in params}):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters;"
                " in future, this will cause an error",
                stacklevel=3,
            )
        for group in self.param_groups:
            if ("param_names" in group) != ("param_names" in param_group):
                kind = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names."
                    f" cannot add param group {kind} to the optimizer"
                )
        known = {id(one) for group in self.param_groups for one in group["params"]}
        if any(id(one) in known for one in params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # --- the step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient, by one step.

        ``closure``, if it is given, computes the loss anew, with gradients enabled, before the step; its
        value is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.update(group)
        return loss

    step = _hooked(step)

    def update(self, group: Group) -> None:
        """Make one step on the parameters of one group, one after the other."""
        for parameter in group["params"]:
            if parameter._grad is not None:
                state = self.state[parameter]
                if not state:
                    state.update(self.start(parameter, group))
                xp, arrays = parameter.xp, (parameter.array, parameter._grad.array)
                with contextlib.nullcontext() if xp.alone else xp.scope():
                    self.update_parameter(xp, *arrays, state, group)
                parameter._version[0] += 1

    def start(self, parameter: Tensor, group: Group) -> State:
        """The contents of ``state[parameter]`` before the first step."""
        return {}

    def update_parameter(self, xp: Any, x: Any, grad: Any, state: State, group: Group) -> None:
        """Change the raw array ``x`` in place, given its gradient and its ``state``, which may change too.

        ``xp`` is the array module of both, ``group`` the settings.
        """
        raise NotImplementedError(f"{type(self).__name__} defines update_parameter, update or step")

    def active(self, group: Group) -> Iterator[tuple[Any, list[Tensor]]]:
        """The parameters of a group that have a gradient, in one list for each device and dtype.

        For optimizers that make their steps on many parameters at once.
        """
        return by_kind([one for one in group["params"] if one._grad is not None])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None, or fill them with zeros."""
        left: list[Tensor] = []
        for group in self.param_groups:
            for one in group["params"]:
                if set_to_none:
                    one._grad = None
                elif one._grad is not None:
                    one._grad = one._grad.detach()
                    left.append(one._grad)
        for xp, gradients in by_kind(left):
            update_all(xp, gradients, updates.fill, [None], (0.0,))

    # --- hooks

    def _add_hook(self, table: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
        """Put a hook into one of the tables, at its end or at its beginning."""
        self._has_hooks = True
        return RemovableHandle(table, hook, first=prepend)

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new (args, kwargs)."""
        return self._add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return self._add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before ``state_dict``."""
        return self._add_hook(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after ``state_dict``; what it returns replaces it."""
        return self._add_hook(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; what it returns replaces it."""
        return self._add_hook(self._load_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return self._add_hook(self._load_post_hooks, hook, prepend)

    # --- state

    def state_dict(self) -> dict[str, Any]:
        """The state as ``{"state": {number: ...}, "param_groups": [...]}``, in PyTorch's form.

        The numbers stand for the parameters, counted through all groups.
        """
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for one in group["params"]:
                numbers.setdefault(id(one), len(numbers))
            packed = {key: value for key, value in group.items() if key != "params"}
            groups.append({**packed, "params": [numbers[id(one)] for one in group["params"]]})
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: {
                name: wrap(np.array(value, dtype=np.float32)) if self._is_scalar(name, value) else value
                for name, value in entry.items()
            }
            for key, entry in self.state.items()
        }
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what ``state_dict`` gave, here or in PyTorch.

        Tensors of the state get the dtype and device of their parameter.  ValueError where the number of
        groups, or of parameters in one, is another.
        """
        state_dict = dict(state_dict)
        for hook in self._load_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        saved = copy.deepcopy(state_dict["param_groups"])
        if len(self.param_groups) != len(saved):
            raise ValueError(
                "loaded state dict has a different number of parameter groups:"
                f" {len(saved)}, the optimizer has {len(self.param_groups)}"
            )
        for own, theirs in zip(self.param_groups, saved, strict=True):
            if len(own["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group"
                    " that doesn't match the size of optimizer's group:"
                    f" {len(theirs['params'])} against {len(own['params'])} parameters"
                )
        parameters = {
            number: one
            for own, theirs in zip(self.param_groups, saved, strict=True)
            for number, one in zip(theirs["params"], own["params"], strict=True)
        }
        state: defaultdict[Any, State] = defaultdict(dict)
        for key, entry in state_dict["state"].items():
            if key in parameters:
                one = parameters[key]
                state[one] = {name: self._restored(name, value, one) for name, value in entry.items()}
            else:
                state[key] = copy.deepcopy(entry)
        for own, theirs in zip(self.param_groups, saved, strict=True):
            theirs["params"] = own["params"]
            if "param_names" in own and "param_names" not in theirs:
                theirs["param_names"] = own["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._load_post_hooks.values():
            hook(self)

    def _is_scalar(self, name: str, value: Any) -> bool:
        """Tell whether an entry of a state is a number that ``state_dict`` shows as a tensor."""
        return name in self.scalars and isinstance(value, int | float)

    def _restored(self, name: str, value: Any, parameter: Tensor) -> Any:
        """One entry of a loaded state: a number, or a tensor in its parameter's dtype and on its device."""
        if name in self.scalars:
            return float(value)
        if hasattr(value, "__array__"):
            if not isinstance(value, Tensor):
                value = wrap(np.asarray(value.detach() if hasattr(value, "detach") else value))
            host = value.xp.to_host(value.array)
            kind = parameter.array.dtype if host.dtype.kind == "f" else host.dtype
            return wrap(parameter.xp.from_host(np.array(host, dtype=kind)), parameter.xp)
        return copy.deepcopy(value)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._forget_hooks()
        self.__dict__.update(state)
        # A pickle of an older version: new settings take their default.
        for group in self.param_groups:
            for name, value in self.defaults.items():
                group.setdefault(name, value)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
            lines.append("")
        return "\n".join(lines[:-1]) + "\n)"


def number(value: Any) -> float:
    """Read a setting as a Python number, since a learning rate may be a tensor with one element."""
    return value.item() if isinstance(value, Tensor) else value


def full_like(parameter: Tensor, value: float) -> Tensor:
    """A tensor filled with ``value``, in the shape, dtype and place of ``parameter``."""
    with parameter.xp.scope():
        return wrap(parameter.xp.full_like(parameter.array, value), parameter.xp)


def zeros_like(parameter: Tensor) -> Tensor:
    """Zeros in the shape, dtype and place of ``parameter``, with which most states begin."""
    return full_like(parameter, 0.0)


# The words in PyTorch's messages for some settings.
_WORDS = {"lr": "learning rate", "eps": "epsilon value", "momentum": "momentum value"}


def check_positive(**settings: Any) -> None:
    """Raise ValueError for the first setting that is negative or not a number.

    >>> check_positive(lr=0.1, momentum=-1)
    Traceback (most recent call last):
    ValueError: Invalid momentum value: -1
    """
    for name, value in settings.items():
        if isinstance(value, Tensor) and value.array.size != 1:
            raise ValueError(f"Tensor {name} must be 1-element")
        if not number(value) >= 0:
            raise ValueError(f"Invalid {_WORDS.get(name, f'{name} value')}: {value}")


def check_betas(betas: tuple[float, float]) -> None:
    """Raise ValueError for a decay rate outside [0, 1), or where only one of them is a tensor."""
    if len({isinstance(beta, Tensor) for beta in betas}) > 1:
        raise ValueError("betas must be either both floats or both Tensors")
    for place, beta in enumerate(betas):
        if not 0 <= number(beta) < 1:
            raise ValueError(f"Invalid beta parameter at index {place}: {beta}")


def refuse(name: str, differentiable: bool) -> None:
    """Raise RuntimeError for ``differentiable=True``: a step writes into raw arrays, unseen by autograd."""
    if differentiable:
        raise RuntimeError(
            f"{name}: differentiable=True is not offered:"
            " a step changes the parameters in place, outside of the graph;"
            " write the update as a formula (x = x - lr * grad,"
            " with create_graph=True) to differentiate through it"
        )
