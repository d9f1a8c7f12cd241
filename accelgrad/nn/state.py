"""The state of a module as a flat dictionary with dotted names, and the way back."""

from __future__ import annotations

import itertools
from collections import OrderedDict, namedtuple
from collections.abc import Mapping
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter

__all__ = ["collect", "restore"]

EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """The result of ``load_state_dict``: the names that only one side has."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def collect(module: Any, destination: Any, prefix: str, keep_vars: bool) -> Any:
    """Put every parameter and persistent buffer below ``module`` into ``destination``, with dotted names."""
    if destination is None:
        destination = OrderedDict()
        # As in PyTorch: the version of each module's layout.
        destination._metadata = OrderedDict()
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = {"version": module._version}
    for before in module._state_dict_pre_hooks.values():
        before(module, prefix, keep_vars)
    module._save_to_state_dict(destination, prefix, keep_vars)
    for name, child in module._modules.items():
        if child is not None:
            child.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
    for after in module._state_dict_hooks.values():
        changed = after(module, destination, prefix, {"version": module._version})
        if changed is not None:
            destination = changed
    return destination


def restore(module: Any, state_dict: Mapping[str, Any], strict: bool, assign: bool) -> _IncompatibleKeys:
    """Copy the values of ``state_dict`` into the parameters and buffers below ``module``."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    # Module by module: each takes its entries, and notes what is missing, left over or does not fit.
    metadata = getattr(state_dict, "_metadata", None) or {}
    values = OrderedDict(state_dict)
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []

    def load(part: Any, local: Any, prefix: str) -> None:
        here = dict(metadata.get(prefix[:-1], {}))
        if assign:
            here["assign_to_params_buffers"] = True
        part._load_from_state_dict(local, prefix, here, True, missing, unexpected, errors)
        for name, child in part._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                load(child, {key: value for key, value in local.items() if key.startswith(below)}, below)
        report = _IncompatibleKeys(missing, unexpected)
        for hook in part._load_state_dict_post_hooks.values():
            if hook(part, report) is not None:
                raise RuntimeError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return"
                    " new values, if incompatible_keys need to be modified, it should be done inplace."
                )

    load(module, values, "")
    # Everything that does not fit in one exception.
    if strict:
        if unexpected:
            errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if missing:
            errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if missing and unexpected:
            errors.extend(_rename_hints(module, values, missing, unexpected))
    if errors:
        listed = "\n\t".join(errors)
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t{listed}")
    return _IncompatibleKeys(missing, unexpected)


def load_own(
    module: Any, values: Mapping[str, Any], prefix: str, metadata: Mapping[str, Any], strict: bool,
    missing: list[str], unexpected: list[str], errors: list[str],
) -> None:  # fmt: skip
    """Load the entries of the module itself, not its children's: ``Module._load_from_state_dict``."""
    for hook in module._load_state_dict_pre_hooks.values():
        hook(module, values, prefix, metadata, strict, missing, unexpected, errors)
    assign = metadata.get("assign_to_params_buffers", False)
    persistent = (
        (name, buffer)
        for name, buffer in module._buffers.items()
        if name not in module._non_persistent_buffers_set
    )
    # Each parameter and buffer takes its entry.
    for name, held in itertools.chain(module._parameters.items(), persistent):
        if held is None:
            continue
        key = prefix + name
        if key not in values:
            missing.append(key)
            continue
        try:
            value = as_tensor(values[key])
        except TypeError:
            errors.append(
                f'While copying the parameter named "{key}", expected an array or Tensor from checkpoint'
                f" but received {type(values[key])}"
            )
            continue
        if isinstance(held, UninitializedParameter | UninitializedBuffer):
            held.materialize(tuple(value.shape))
        elif value.array.shape == (1,) and held.array.ndim == 0:
            value = wrap(value.array[0:1].reshape(()), value.xp)
        if value.array.shape != held.array.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint,"
                f" the shape in current model is {held.shape}."
            )
        elif assign:
            if isinstance(held, Parameter) and not isinstance(value, Parameter):
                value = Parameter(value.detach(), requires_grad=held.requires_grad)
            setattr(module, name, value)
        else:
            copy_into(held, value)
    # The extra state, which a subclass reads itself.
    extra = prefix + EXTRA_STATE
    if module._has_extra_state():
        if extra in values:
            module.set_extra_state(values[extra])
        elif strict:
            missing.append(extra)
    elif strict and extra in values:
        unexpected.append(extra)
    # Entries that no part of the module is named like.
    if strict:
        own = {*module._parameters, *dict(module.named_buffers(recurse=False))}
        for key in values:
            if key.startswith(prefix) and key != extra:
                first, *rest = key[len(prefix) :].split(".", 1)
                if first not in (module._modules if rest else own):
                    unexpected.append(key)


def as_tensor(value: Any) -> Tensor:
    """A checkpoint's entry as Tensor, from a Tensor, an array or a PyTorch tensor; TypeError otherwise."""
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "detach"):
        value = value.detach()
    if not hasattr(value, "__array__") and not isinstance(value, int | float):
        raise TypeError(f"expected an array, got {type(value).__name__}")
    return wrap(np.asarray(value))


def copy_into(target: Tensor, value: Tensor) -> None:
    """Write ``value`` into the memory of ``target``, in its type and on its device, unseen by autograd."""
    xp = target.xp
    target.array[...] = value.array if value.xp is xp else xp.from_host(value.xp.to_host(value.array))
    target._version[0] += 1


def _quoted(names: list[str]) -> str:
    """The names in quotation marks, with commas."""
    return ", ".join(f'"{name}"' for name in names)


def _rename_hints(
    module: Any, values: Mapping[str, Any], missing: list[str], unexpected: list[str]
) -> list[str]:
    """A hint which unexpected entries fit missing names: the only ones of their shape and last name."""
    shapes = {key: tuple(values[key].shape) for key in unexpected if hasattr(values[key], "shape")}
    held = {
        name: tuple(tensor.shape) for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
    found = []
    for name in missing:
        ending = name.rpartition(".")[2]
        fitting = [
            key
            for key, shape in shapes.items()
            if shape == held.get(name) and key.rpartition(".")[2] == ending
        ]
        if len(fitting) == 1:
            found.append(f'"{fitting[0]}" -> "{name}"')
    if not found:
        return []
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return [f"These would fit if renamed: {', '.join(found[:4])}{more}."]
