"""Parametrizations: a parameter that is computed from what is really learned, each time it is read."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor
from accelgrad.nn.modules.container import ModuleDict, ModuleList
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations",
    "transfer_parametrizations_and_params", "type_before_parametrizations",
]  # fmt: skip

_caches = 0
_cache: dict[tuple[int, str], Tensor] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """A ``with`` block in which every parametrized tensor is computed once and then remembered.

    >>> from accelgrad import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> with cached():
    ...     layer.weight is layer.weight
    True
    >>> layer.weight is layer.weight
    False
    """
    global _caches
    _caches += 1
    try:
        yield
    finally:
        _caches -= 1
        if not _caches:
            _cache.clear()


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, first to last, and the tensor that they start from.

    That is ``original``, or, where the ``right_inverse`` of the first one gives several tensors,
    ``original0``, ``original1`` ...  It is made by :func:`register_parametrization`.  ValueError for no
    parametrizations, and where they change shape or type, unless ``unsafe``.

    >>> from accelgrad import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> layer.parametrizations.weight
    ParametrizationList(
      (0): Tanh()
    )
    >>> layer.parametrizations.weight.original.shape
    accelgrad.Size([2, 2])
    """

    original: Tensor

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        # The first value of the original: what the right inverses make of the tensor.
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        new = module.right_inverse(new)
        if not isinstance(new, Tensor | Sequence):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...)."
                f" Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        shape, dtype = original.shape, original.dtype
        # The original keeps its identity where there is only one: an optimizer may know it already.
        if isinstance(new, Tensor):
            if new.dtype != dtype:
                raise ValueError(
                    "When `right_inverse` outputs one tensor, it may not change the dtype.\noriginal.dtype:"
                    f" {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            _set(original, new)
            _register(self, "original", original)
        else:
            for place, one in enumerate(new):
                if not isinstance(one, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...)."
                        f" Got element {place} of the sequence with type {type(one).__name__}."
                    )
                if isinstance(original, Parameter):
                    one = Parameter(one.detach(), original.requires_grad)
                _register(self, f"original{place}", one)
        if not unsafe:
            _check_kept(self(), shape, dtype, "unparametrized {}: {}\nparametrized {}: {}", "`unsafe` flag")

    def _originals(self) -> list[Tensor]:
        """The tensors that are learned."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{place}") for place in range(self.ntensors)]

    def forward(self) -> Tensor:
        """The parametrized tensor."""
        first, *others = list(self)
        x = first(*self._originals())
        for module in others:
            x = module(x)
        return x

    def right_inverse(self, value: Any) -> None:
        """Change the originals such that the parametrized tensor becomes ``value``, as an assignment does.

        RuntimeError where a parametrization has no ``right_inverse``, ValueError where it returns other
        tensors than the originals are.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
        if self.is_tensor != isinstance(value, Tensor):
            kind = "a tensor" if self.is_tensor else "a sequence of tensors"
            raise ValueError(f"`right_inverse` should return {kind}. Got {type(value).__name__}")
        values = [value] if self.is_tensor else list(value)
        if len(values) != self.ntensors:
            raise ValueError(
                f"'right_inverse' must return a sequence of tensors of length {self.ntensors}."
                f" Got a sequence of length {len(values)}."
            )
        for own, one in zip(self._originals(), values, strict=True):
            if own.dtype != one.dtype:
                raise ValueError(
                    f"The tensor returned by `right_inverse` has dtype {one.dtype} while `original` has"
                    f" dtype {own.dtype}"
                )
            _set(own, one)


def _set(own: Tensor, new: Tensor) -> None:
    """Let ``own`` show the memory of ``new``."""
    if new is not own:
        own.data = new.detach()


def _register(module: Module, name: str, tensor: Tensor) -> None:
    """Add a tensor to the module: a Parameter as one, any other as a buffer."""
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _check_kept(x: Any, shape: Any, dtype: Any, told: str, flag: str) -> None:
    """ValueError where a parametrization changes the type or shape of its tensor."""
    if not isinstance(x, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(x).__name__}.")
    for what, before, after in (("dtype", dtype, x.dtype), ("shape", shape, x.shape)):
        if before != after:
            raise ValueError(
                f"Registering a parametrization may not change the {what} of the tensor,"
                f" unless {flag} is enabled.\n{told.format(what, before, what, after)}"
            )


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let ``module.tensor_name`` be ``parametrization(original)``, computed anew at every reading.

    The module changes its class to one with a property of that name; what is learned stands in
    ``module.parametrizations.tensor_name.original``.  Several parametrizations act one after the other.  A
    parametrization may define ``right_inverse(value)``: it makes an assignment ``module.tensor_name = value``
    possible, and chooses the first value of the original.  If it gives several tensors, these are the
    originals.  ``unsafe`` allows the shape and the type to change.  ValueError where the name is neither a
    parameter nor a buffer.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> accelgrad.equal(layer.weight, layer.weight.T)
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        known: Any = module.parametrizations
        if not unsafe:
            _check_further(module, tensor_name, parametrization)
        known[tensor_name].append(parametrization)
        known[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        parametrizations = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _give_class(module, type(module), ())
            module.parametrizations = ModuleDict()
        setattr(type(module), tensor_name, _property(tensor_name))
        table: Any = module.parametrizations
        table[tensor_name] = parametrizations
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer,"
            f" or a parametrized element with name '{tensor_name}'"
        )
    return module


def _check_further(module: Module, name: str, parametrization: Any) -> None:
    """ValueError where one more parametrization changes the shape or type, forwards or backwards."""
    present = getattr(module, name)
    told = f"module.{name}.{{}}: {{}}\nparametrization(module.{name}).{{}}: {{}}"
    x = parametrization(present)
    _check_kept(x, present.shape, present.dtype, told, "the `unsafe` flag")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        z = parametrization.right_inverse(x)
    except NotImplementedError:
        return
    if not isinstance(z, Tensor):
        raise ValueError(f"parametrization.right_inverse must return a tensor. Got: {type(z).__name__}")
    for what in ("dtype", "shape"):
        if getattr(z, what) != getattr(present, what):
            raise ValueError(
                f"The tensor returned by parametrization.right_inverse must have the same {what} as"
                f" module.{name}, unless the `unsafe` flag is enabled.\nmodule.{name}.{what}:"
                f" {getattr(present, what)}\nreturned {what}: {getattr(z, what)}"
            )


def _property(name: str) -> property:
    """The attribute ``name`` of a parametrized module: computed when read, inverted when assigned."""

    def read(self: Any) -> Tensor:
        if not _caches:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


def _refuse_pickling(self: Any) -> Any:
    """RuntimeError: the class of a parametrized module is made at run time and cannot be found again."""
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict():"
        " save that, and load it into a module that was parametrized in the same way"
    )


def _copy(self: Any, memo: dict[int, Any]) -> Any:
    """A deep copy with a class of its own, so that each of the two can lose its parametrization."""
    replica = self.__new__(type(self))
    memo[id(self)] = replica
    replica.__dict__ = copy.deepcopy(self.__dict__, memo)
    _give_class(replica, type_before_parametrizations(self), self.parametrizations)
    return replica


def _give_class(module: Module, base: type, names: Any) -> None:
    """Give the module a class of its own, derived from ``base``, with a property for each of ``names``."""
    members: dict[str, Any] = {"__getstate__": _refuse_pickling, "__deepcopy__": _copy}
    members.update((name, _property(name)) for name in names)
    module.__class__ = type(f"Parametrized{base.__name__}", (base,), members)


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module has a parametrization, of ``tensor_name`` or, without a name, of any tensor.

    >>> from accelgrad import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> is_parametrized(layer), is_parametrized(layer, "bias")
    (True, False)
    """
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Module, tensor_name: str, leave_parametrized: bool = True) -> Module:
    """Make ``tensor_name`` an ordinary parameter or buffer again.

    Its value is the parametrized one, or, with ``leave_parametrized=False``, the original.  ValueError where
    it has no parametrization, or several originals and ``leave_parametrized=False``.

    >>> from accelgrad import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> [name for name, _ in remove_parametrizations(layer, "weight").named_parameters()]
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    table: Any = module.parametrizations
    parametrizations = table[tensor_name]
    if parametrizations.is_tensor:
        original = parametrizations.original
        if leave_parametrized:
            with no_grad():
                _set(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor"
            " that is parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del table[tensor_name]
    _register(module, tensor_name, original)
    if not is_parametrized(module):
        del module.parametrizations
        module.__class__ = type(module).__bases__[0]
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class of the module as it was before its first parametrization.

    >>> from accelgrad import nn
    >>> layer = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> type(layer).__name__, type_before_parametrizations(layer).__name__
    ('ParametrizedLinear', 'Linear')
    """
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Parametrize ``to_module`` as ``from_module`` is, all tensors or the named one, and share the originals.

    >>> from accelgrad import nn
    >>> source = register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
    >>> target = transfer_parametrizations_and_params(source, nn.Linear(2, 2))
    >>> target.parametrizations.weight.original is source.parametrizations.weight.original
    True
    """
    if not is_parametrized(from_module):
        return to_module
    source: Any = from_module.parametrizations
    for name in list(source) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in source[name]:
            register_parametrization(to_module, name, parametrization)
        target: Any = to_module.parametrizations
        own = source[name]
        for key in ["original"] if own.is_tensor else [f"original{place}" for place in range(own.ntensors)]:
            setattr(target[name], key, getattr(own, key))
    return to_module
