"""Module: parameters, buffers and child modules in a tree, and a ``forward``.

Assigning to an attribute sorts the value: a Parameter into ``_parameters``, a Buffer into ``_buffers``, a
Module into ``_modules``, everything else stays an ordinary attribute.  All the rest, ``parameters()``,
``to()``, ``state_dict()``, the printed tree, is a walk over these three dictionaries.  Hooks and their
registration are in :mod:`accelgrad.nn.hooks`, saving and loading in :mod:`accelgrad.nn.state`, the words of
exceptions in :mod:`accelgrad.nn.explain`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from accelgrad.arrays import backend, dtypes
from accelgrad.core import late
from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.nn import state
from accelgrad.nn.explain import indented, locate, misfit, typename
from accelgrad.nn.hooks import (
    Hooked,
    call_with_hooks,
    everywhere,
    no_hooks,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
)
from accelgrad.nn.parameter import Buffer, Parameter, UninitializedBuffer, empty

__all__ = [
    "Module", "register_module_forward_hook", "register_module_forward_pre_hook",
    "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
]  # fmt: skip


@late.open_to_upper_rooms
class Module(Hooked):
    """The base of every layer and model.

    A subclass calls ``super().__init__()`` first, assigns its parameters and child modules to attributes, and
    computes in ``forward``; a call of the module runs ``forward`` with its hooks around it.  AttributeError
    for parts that are assigned before ``super().__init__()``, NotImplementedError where there is no forward.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> class Line(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.slope = nn.Parameter(accelgrad.Tensor([2.0]))
    ...     def forward(self, x):
    ...         return x * self.slope
    >>> line = Line()
    >>> line(3.0)
    tensor([6.], grad_fn=<MulBackward0>)
    >>> [name for name, _ in line.named_parameters()]
    ['slope']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _version = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
        if args:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            )
        # Straight into __dict__: __setattr__ needs these to be there.
        parts: Any = {"_parameters": {}, "_buffers": {}, "_modules": {}, "_non_persistent_buffers_set": set()}
        self.__dict__.update(training=True, **parts, **no_hooks())

    # --- the call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooked or everywhere:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except Exception as error:
            locate(error, self, args)
            raise

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass writes its own.  Call the module, not this method."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def _expects(self, input: Tensor) -> str:
        """Say what is wrong with ``input`` for this layer; asked only after an exception."""
        return ""

    # --- registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, which then is the attribute ``name``; None keeps the name without a value.

        KeyError for a name that is taken or has a dot, TypeError for what is no Parameter, ValueError for a
        tensor that was computed.
        """
        self._check_name("parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' (accelgrad.nn.Parameter"
                " or None required)"
            )
        if param is not None and not param.is_leaf:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'."
                " Model parameters must be created explicitly."
                f" To express '{name}' as a function of another Tensor,"
                " compute the value in the forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that moves and is saved with the module but is not learned, such as a running mean.

        ``persistent=False`` keeps it out of ``state_dict``.  KeyError for a name that is taken or has a dot,
        TypeError for what is no Tensor.

        >>> import accelgrad
        >>> module = Module()
        >>> module.register_buffer("steps", accelgrad.zeros(1))
        >>> module.steps, list(module.state_dict())
        (tensor([0.]), ['steps'])
        """
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (accelgrad Tensor"
                " or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module, which then is the attribute ``name``: for names that are computed.

        KeyError for a name that is taken or has a dot, TypeError for what is no Module.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = module

    register_module = add_module

    def _check_name(self, kind: str, name: str, table: Mapping[str, Any]) -> None:
        """Refuse a name that cannot be an attribute of its own, and everything before ``__init__``."""
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in table and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        # The value's class decides where it goes; a name that is a part already stays one of its kind.
        own = self.__dict__
        parameters = own.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, parameters)
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            if parameters is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, self._modules)
            self.add_module(name, value)
        elif parameters is None:
            if isinstance(value, Buffer):
                raise AttributeError("cannot assign buffer before Module.__init__() call")
            object.__setattr__(self, name, value)
        elif name in parameters:
            if value is not None:
                raise misfit(value, f"parameter '{name}'", "accelgrad.nn.Parameter")
            parameters[name] = None
        elif name in own["_modules"]:
            if value is not None:
                raise misfit(value, f"child module '{name}'", "accelgrad.nn.Module")
            own["_modules"][name] = None
        elif name in own["_buffers"] or isinstance(value, Buffer):
            if value is not None and not isinstance(value, Tensor):
                raise misfit(value, f"buffer '{name}'", "accelgrad.Tensor")
            if isinstance(value, Buffer):
                self._forget(name, self._buffers)
                self.register_buffer(name, value, value.__dict__["persistent"])
            else:
                own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, keep: Mapping[str, Any]) -> None:
        """Take ``name`` out of every place but ``keep``, so that it can be assigned anew."""
        for table in (self.__dict__, self._parameters, self._buffers, self._modules):
            if table is not keep:
                table.pop(name, None)
        if keep is not self._buffers:
            self._non_persistent_buffers_set.discard(name)

    def __getattr__(self, name: str) -> Any:
        # Python asks here only where the ordinary look-up found nothing.
        own = self.__dict__
        if "_parameters" in own:
            for table in (own["_parameters"], own["_modules"], own["_buffers"]):
                if name in table:
                    return table[name]
            names = [*own["_parameters"], *own["_buffers"], *own["_modules"], *own]
            close = difflib.get_close_matches(name, names, 1) if not name.startswith("_") else []
            hint = f"; did you mean '{close[0]}'?" if close else ""
        else:
            hint = "; was super().__init__() called first?" if not name.startswith("__") else ""
        message = f"'{type(self).__name__}' object has no attribute '{name}'{hint}"
        raise AttributeError(message, name=name, obj=None)

    def __delattr__(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            if name in table:
                del table[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [*super().__dir__(), *self._parameters, *self._modules, *self._buffers]
        return sorted({name for name in names if not name[:1].isdigit()})

    # --- the parts by name

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path such as "0.2", this one for ""; AttributeError where there is none."""
        module: Module = self
        for name in target.split(".") if target else []:
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put ``module`` at a dotted path; with ``strict`` only where one is already.

        ValueError for an empty path and what is no Module, AttributeError where the path leads nowhere.
        """
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path; AttributeError where there is none."""
        return self._at(target, Parameter, "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path; AttributeError where there is none."""
        found = self._at(target, Tensor, "a buffer")
        path, _, name = target.rpartition(".")
        if name not in self.get_submodule(path)._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    def _at(self, target: str, kind: type, what: str) -> Any:
        """The part of class ``kind`` at a dotted path; AttributeError where there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        found = getattr(module, name)
        if not isinstance(found, kind):
            raise AttributeError(f"`{name}` is not {what}")
        return found

    def get_extra_state(self) -> Any:
        """Return what is to be saved besides the tensors; overridden together with ``set_extra_state``."""
        raise RuntimeError(
            f"{type(self).__name__} has no extra state: override get_extra_state and set_extra_state"
        )

    def set_extra_state(self, state: Any) -> None:
        """Take from a checkpoint what ``get_extra_state`` returned."""
        raise RuntimeError(
            f"{type(self).__name__} got extra state from a checkpoint but does not override set_extra_state"
        )

    def _has_extra_state(self) -> bool:
        """Whether the class overrides ``get_extra_state``."""
        return type(self).get_extra_state is not Module.get_extra_state

    # --- walks

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Every module of the tree with its dotted path, this one first; shared ones once.

        ``prefix`` is put before the paths; ``remove_duplicate=False`` gives shared modules every time.

        >>> from accelgrad import nn
        >>> [name for name, _ in nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh()).named_modules()]
        ['', '0', '0.0', '1']
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """Every module of the tree, this one first."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The immediate child modules with their names; shared ones once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The immediate child modules; shared ones once."""
        for _, child in self.named_children():
            yield child

    def _named_members(
        self, of: Callable[[Module], Any], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        """The entries of one table of every module, with dotted names; shared ones once."""
        seen = set()
        modules = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, value in of(module).items():
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter of the tree (with ``recurse=False`` of this module) with its dotted name.

        Shared ones come once, unless ``remove_duplicate=False``; ``prefix`` is put before the names.

        >>> from accelgrad import nn
        >>> [name for name, _ in nn.Sequential(nn.Linear(2, 3), nn.PReLU()).named_parameters()]
        ['0.weight', '0.bias', '1.weight']
        """
        return self._named_members(lambda module: module._parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter of the tree, as an optimizer takes them; shared ones once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Every buffer of the tree with its dotted name; shared ones once."""
        return self._named_members(lambda module: module._buffers, prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer of the tree; shared ones once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call ``fn`` on every module of the tree, children first, and return this module.

        >>> from accelgrad import nn
        >>> def zero(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.weight)
        >>> nn.Sequential(nn.Linear(2, 2)).apply(zero)[0].weight.sum().item()
        0.0
        """
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    # --- modes and gradients

    def train(self, mode: bool = True) -> Self:
        """Set the training mode of the whole tree: dropout drops, batch norm uses the batch's statistics.

        ``mode=False`` sets evaluation mode.  ValueError for what is no bool.

        >>> from accelgrad import nn
        >>> model = nn.Sequential(nn.Dropout()).eval()
        >>> model.training, model[0].training, model.train()[0].training
        (False, False, True)
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode for the whole tree; unlike ``no_grad`` it changes nothing about gradients."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether gradients are computed for the parameters of the tree: False freezes them."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with ``set_to_none=False`` fill them with zeros."""
        for parameter in self.parameters():
            if parameter._grad is not None:
                if set_to_none:
                    parameter._grad = None
                else:
                    parameter._grad = parameter._grad.detach()
                    parameter._grad.array[...] = 0

    # --- devices and types

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Let parameters and gradients show the memory of ``fn(tensor)``, and replace buffers by it."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is None:
                    continue
                parameter.data = fn(parameter.detach())
                if parameter._grad is not None:
                    parameter._grad.data = fn(parameter._grad.detach())
            for name, buffer in self._buffers.items():
                if isinstance(buffer, UninitializedBuffer):
                    buffer.data = fn(buffer.detach())
                elif buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move and convert in place: ``to("gpu")``, ``to(accelgrad.float64)``, both, or as another tensor is.

        Only floating point parameters and buffers change their type.  TypeError for a type that is not
        floating point.
        """
        device, kind = kwargs.pop("device", None), kwargs.pop("dtype", None)
        for ignored in ("non_blocking", "memory_format"):
            kwargs.pop(ignored, None)
        if kwargs:
            raise TypeError(f"to() got an unexpected keyword argument {next(iter(kwargs))!r}")
        for one in args:
            if isinstance(one, Tensor):
                device, kind = one.device, one.dtype
            elif isinstance(one, dtypes.dtype):
                kind = one
            elif isinstance(one, str | int | backend.Device) and not isinstance(one, bool):
                device = one
            elif one is not None and not isinstance(one, bool):
                raise TypeError(f"to() takes a device, a dtype or a tensor, got {one!r}")
        if kind is not None and not kind.is_floating_point:
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={kind}"
            )

        def convert(tensor: Any) -> Any:
            return tensor.to(device=device, dtype=kind if tensor.is_floating_point() else None)

        return self._apply(convert)

    def cuda(self, device: Any = None) -> Self:
        """Move everything to a card, the current one if none is named."""
        return self.to("cuda" if device is None else device)

    def cpu(self) -> Self:
        """Move everything to host memory."""
        return self.to("cpu")

    def type(self, dst_type: Any) -> Self:
        """Convert every parameter and buffer, integers too, to ``dst_type``."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Self:
        """Convert floating point parameters and buffers to float32."""
        return self.to(dtypes.float32)

    def double(self) -> Self:
        """Convert floating point parameters and buffers to float64."""
        return self.to(dtypes.float64)

    def half(self) -> Self:
        """Convert floating point parameters and buffers to float16."""
        return self.to(dtypes.float16)

    def bfloat16(self) -> Self:
        """Convert floating point parameters and buffers to bfloat16."""
        return self.to(dtypes.bfloat16)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to a device without copying the values, which are not set there."""
        return self._apply(lambda t: empty(tuple(t.shape), device=device, dtype=t.dtype), recurse=recurse)

    # --- state

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Every parameter and persistent buffer of the tree under its dotted name, in an OrderedDict.

        The tensors share memory with the module's, but are not recorded, unless ``keep_vars``; they are added
        to ``destination``, if given, with ``prefix`` before their names.

        >>> from accelgrad import nn
        >>> list(nn.Sequential(nn.Linear(2, 3)).state_dict())
        ['0.weight', '0.bias']
        """
        return state.collect(self, destination, prefix, keep_vars)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put the entries of this module, without its children's, into ``destination``."""
        for name, tensor in (*self._parameters.items(), *self._buffers.items()):
            if tensor is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if self._has_extra_state():
            destination[prefix + state.EXTRA_STATE] = self.get_extra_state()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy the values of ``state_dict`` (Tensors or NumPy arrays) into the parameters and buffers.

        Returns the missing and the unexpected names; with ``strict`` they are an error.  ``assign`` takes the
        tensors themselves instead of copying.  RuntimeError lists everything that does not fit.
        """
        return state.restore(self, state_dict, strict, assign)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Load the entries of this module, without its children's, and note what does not fit."""
        state.load_own(
            self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    # --- the printed tree

    def _get_name(self) -> str:
        """The name of the class, as the printed tree shows it."""
        return type(self).__name__

    def extra_repr(self) -> str:
        """The text in the parentheses of the printed line; override it to show a layer's settings."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(child))}" for name, child in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"
