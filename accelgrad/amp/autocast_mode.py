"""autocast: a block in which each operation chooses between float32 and a type of 16 bits."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.arrays.backend import Device
from accelgrad.core.modes import state
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry.autocast import FLOAT32, LOWER, REFUSED, WIDEST

__all__ = [
    "autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_available",
    "is_autocast_enabled", "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip


class Casting:
    """The casts that the operations in the lists ask for while autocast is on in this thread."""

    def __init__(self) -> None:
        # The lower type for each kind of device on which autocast is on.
        self.kinds: dict[str, Any] = {}
        # The parameters that were cast: id -> (parameter, its version then, the result).
        self.casts: dict[int, tuple[Tensor, int, Tensor]] = {}
        self.depth = 0
        self.cache = True

    def __call__(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments in the types that the operation ``name`` needs; None where it takes any."""
        # The type, by the list that names the operation.
        tensors = [one for one in _tensors((*args, *kwargs.values())) if self.eligible(one)]
        device = tensors[0].xp.kernel_device if tensors else ""
        if name in LOWER.get(device, ()):
            kind = self.kinds[device]
        elif name in FLOAT32.get(device, ()):
            kind = dtypes.float32
        elif name in WIDEST.get(device, ()):
            kind = functools.reduce(dtypes.promote_types, [one.dtype for one in tensors])
        elif name in REFUSED.get(device, ()):
            raise RuntimeError(
                f"{name} is unsafe to autocast: what comes before it is in 16 bits,"
                " where its gradient may overflow."
                f" Leave the sigmoid out and take {name}_with_logits (nn.BCEWithLogitsLoss)"
            )
        else:
            return None

        # Every tensor among the arguments, also within lists, in that type.
        def cast(value: Any) -> Any:
            if isinstance(value, Tensor):
                return self.cast(value, kind) if self.eligible(value) else value
            return type(value)(map(cast, value)) if type(value) in (list, tuple) else value

        return tuple(map(cast, args)), {key: cast(value) for key, value in kwargs.items()}

    def eligible(self, tensor: Tensor) -> bool:
        """Tell whether to cast it: a floating point tensor on a device with autocast, but not float64."""
        return tensor.xp.kernel_device in self.kinds and _is_floating_but_not_double(tensor)

    def cast(self, tensor: Tensor, kind: Any) -> Tensor:
        """The tensor in another type.

        A parameter is cast to the lower type once for the whole block, unless it is changed in between.
        """
        if tensor.dtype is kind:
            return tensor
        lower = kind is not dtypes.float32
        if not (self.cache and lower and state.grad and tensor.is_leaf and tensor.requires_grad):
            return tensor.to(kind)
        known = self.casts.get(id(tensor))
        if known is None or known[1] != tensor._version[0] or known[2].dtype is not kind:
            known = self.casts[id(tensor)] = (tensor, tensor._version[0], tensor.to(kind))
        return known[2]

    def choose(self, device: str, kind: Any) -> None:
        """Set the lower type of a kind of device; None switches autocast off there."""
        if kind is None:
            self.kinds.pop(device, None)
        else:
            self.kinds[device] = kind


def _is_floating_but_not_double(tensor: Tensor) -> bool:
    """Tell whether the numbers are float16, bfloat16 or float32."""
    return tensor.array.dtype.char in "eEf"


def _tensors(values: Any) -> list[Tensor]:
    """The tensors among values, also within lists and tuples."""
    found: list[Tensor] = []
    for one in values:
        if isinstance(one, Tensor):
            found.append(one)
        elif type(one) in (list, tuple):
            found += _tensors(one)
    return found


def _casting() -> Casting:
    """This thread's autocast state, created on first use."""
    if state.casting is None:
        state.casting = Casting()
    return state.casting


class autocast(contextlib.ContextDecorator):
    """A block (or decorated function) in which operations on one kind of device choose their types.

    ``device_type`` is "cuda" ("gpu") or "cpu"; ``dtype`` is bfloat16 or float16, by default
    :func:`get_autocast_dtype`: bfloat16 on the CPU, float16 on a card; ``enabled=False`` switches it off
    within another block; ``cache_enabled`` keeps the cast of a parameter until the outermost block ends.
    Products of matrices and convolutions run in that type; losses, and on a card sums, exponentials, softmax
    and norms too, in float32; everything else in the type of its inputs.  Only the forward pass and the loss
    belong in the block: backward runs in the types of the forward pass by itself.

    On the CPU of most machines this saves memory and not time: products of 16 bits are computed as float32.
    RuntimeError for another ``dtype``, ValueError for a ``device_type`` that is no string.

    >>> import accelgrad
    >>> x, w = accelgrad.ones(2, 3), accelgrad.ones(3, 4, requires_grad=True)
    >>> with accelgrad.autocast("cpu"):
    ...     y = x @ w
    ...     loss = accelgrad.nn.functional.mse_loss(y, accelgrad.zeros(2, 4))
    >>> y.dtype, loss.dtype, (x @ w).dtype
    (accelgrad.bfloat16, accelgrad.float32, accelgrad.float32)
    >>> loss.backward()
    >>> w.grad.dtype
    accelgrad.float32
    """

    def __init__(
        self,
        device_type: str = "cuda",
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device_type = Device(device_type).type
        kind = get_autocast_dtype(self.device_type) if dtype is None else dtype
        if enabled:
            _must_be_low(kind)
        self.dtype, self.enabled = kind, enabled
        self.cache_enabled = cache_enabled
        self._before: list[tuple[Any, bool]] = []

    def __enter__(self) -> autocast:
        casting = _casting()
        casting.depth += 1
        self._before.append((casting.kinds.get(self.device_type), casting.cache))
        casting.choose(self.device_type, self.dtype if self.enabled else None)
        if self.cache_enabled is not None:
            casting.cache = self.cache_enabled
        return self

    def __exit__(self, *exception: object) -> None:
        casting = state.casting
        kind, casting.cache = self._before.pop()
        casting.choose(self.device_type, kind)
        casting.depth -= 1
        if not casting.depth:
            casting.casts.clear()
            if not casting.kinds:
                state.casting = None


def _must_be_low(kind: Any) -> None:
    """Raise RuntimeError for a type that is neither float16 nor bfloat16."""
    if kind is not dtypes.float16 and kind is not dtypes.bfloat16:
        raise RuntimeError(
            f"autocast: {kind} is not supported as the lower type;"
            " use accelgrad.bfloat16 or accelgrad.float16 (float32 needs no autocast)"
        )


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Tell whether autocast is on in this thread for this kind of device.

    >>> is_autocast_enabled("cpu")
    False
    """
    return state.casting is not None and Device(device_type).type in state.casting.kinds


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch autocast on or off for a kind of device in this thread, until it is switched back.

    The block :class:`autocast` does that by itself.

    >>> set_autocast_enabled("cpu", True)
    >>> is_autocast_enabled("cpu")
    True
    >>> set_autocast_enabled("cpu", False)
    """
    device = Device(device_type).type
    casting = _casting()
    casting.choose(device, get_autocast_dtype(device) if enabled else None)
    if not casting.kinds and not casting.depth:
        state.casting = None


def get_autocast_dtype(device_type: str = "cuda") -> Any:
    """The lower type of autocast on this kind of device, in the block that is open or in the next one.

    >>> get_autocast_dtype("cpu"), get_autocast_dtype("cuda")
    (accelgrad.bfloat16, accelgrad.float16)
    """
    device = Device(device_type).type
    if state.casting is not None and device in state.casting.kinds:
        return state.casting.kinds[device]
    return (state.lower or {}).get(device, dtypes.bfloat16 if device == "cpu" else dtypes.float16)


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Set the lower type of autocast on a kind of device for this thread.

    RuntimeError for another type than float16 and bfloat16.

    >>> import accelgrad
    >>> set_autocast_dtype("cpu", accelgrad.float16)
    >>> get_autocast_dtype("cpu")
    accelgrad.float16
    >>> set_autocast_dtype("cpu", accelgrad.bfloat16)
    """
    device = Device(device_type).type
    _must_be_low(dtype)
    state.lower = {**(state.lower or {}), device: dtype}
    if state.casting is not None and device in state.casting.kinds:
        state.casting.choose(device, dtype)


def is_autocast_available(device_type: str) -> bool:
    """Tell whether there is an autocast for this kind of device: there is for the CPU and for cards.

    >>> is_autocast_available("gpu")
    True
    """
    return Device(device_type).type in ("cpu", "cuda")


def custom_fwd(
    function: Callable[..., Any] | None = None, *, device_type: str = "cuda", cast_inputs: Any = None
) -> Any:
    """Decorate the ``forward`` of an autograd.Function whose backward shall run in the same mode.

    It notes on ``ctx``, for :func:`custom_bwd`, whether autocast is on.  With ``cast_inputs``, where autocast
    is on, floating point tensors (but not float64) come in that type, and autocast is off inside.

    >>> import accelgrad
    >>> class Double(accelgrad.autograd.Function):
    ...     @staticmethod
    ...     @custom_fwd(device_type="cpu", cast_inputs=accelgrad.float32)
    ...     def forward(ctx, x):
    ...         return x * 2
    >>> with autocast("cpu"):
    ...     Double.apply(accelgrad.ones(1, dtype=accelgrad.bfloat16)).dtype
    accelgrad.float32
    """
    if function is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(function)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._autocast_was_on = is_autocast_enabled(device_type)
        if cast_inputs is None or not ctx._autocast_was_on:
            return function(ctx, *args, **kwargs)
        ctx._autocast_was_on = False

        def cast(one: Any) -> Any:
            fits = isinstance(one, Tensor) and _is_floating_but_not_double(one)
            return one.to(cast_inputs) if fits else one

        with autocast(device_type, enabled=False):
            return function(ctx, *map(cast, args), **{key: cast(one) for key, one in kwargs.items()})

    return forward


def custom_bwd(function: Callable[..., Any] | None = None, *, device_type: str = "cuda") -> Any:
    """Decorate the ``backward`` of an autograd.Function: autocast is on in it if it was in the forward.

    RuntimeError unless the forward is decorated by :func:`custom_fwd`.

    >>> import accelgrad
    >>> class Product(accelgrad.autograd.Function):
    ...     @staticmethod
    ...     @custom_fwd(device_type="cpu")
    ...     def forward(ctx, x, w):
    ...         ctx.save_for_backward(x, w)
    ...         return x @ w
    ...     @staticmethod
    ...     @custom_bwd(device_type="cpu")
    ...     def backward(ctx, grad):
    ...         x, w = ctx.saved_tensors
    ...         return grad @ w.T, x.T @ grad
    >>> x = accelgrad.ones(2, 3, requires_grad=True)
    >>> with autocast("cpu"):
    ...     y = Product.apply(x, accelgrad.ones(3, 4))
    >>> y.float().sum().backward()
    >>> y.dtype, x.grad.dtype
    (accelgrad.bfloat16, accelgrad.float32)
    """
    if function is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(function)
    def backward(ctx: Any, *gradients: Any) -> Any:
        if not hasattr(ctx, "_autocast_was_on"):
            raise RuntimeError("custom_bwd needs custom_fwd on the forward of the same Function")
        with autocast(device_type, enabled=ctx._autocast_was_on):
            return function(ctx, *gradients)

    return backward
