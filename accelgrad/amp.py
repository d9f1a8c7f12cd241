"""Mixed precision: products in a type of 16 bits, what sums much in float32, and a loss that is scaled.

:class:`autocast` casts the inputs of operations as they are called (the parameters stay float32, the master
weights, and so do their gradients); which operation runs in which type is PyTorch's list
(:mod:`accelgrad.ops.registry.autocast`).  The lower type is bfloat16 on the CPU and float16 on a card,
unless chosen otherwise.  float16 has more digits, bfloat16 the range of float32: with it no gradient
vanishes, and no loss needs to be scaled.  :class:`GradScaler` multiplies the loss so that small gradients
survive in float16, takes the factor out again before the step, and leaves out steps with infinite
gradients.  Micikevicius et al. 2018, "Mixed Precision Training". The names and rules are those of
``torch.amp``.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.arrays.backend import Device, hush, unhush
from accelgrad.core.foreach import by_kind, update_all
from accelgrad.core.graph import state
from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates
from accelgrad.ops.registry.autocast import FLOAT32, LOWER, REFUSED, WIDEST

__all__ = [
    "GradScaler", "autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_available",
    "is_autocast_enabled", "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip


class Casting:
    """What the operations in the lists call while a lower type is set for some kind of device."""

    def __init__(self) -> None:
        self.kinds: dict[str, Any] = {}
        self.casts: dict[int, tuple[Tensor, int, Tensor]] = {}
        self.depth = 0
        self.cache = True

    def __call__(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments in the types that the operation ``name`` wants; None where it takes what comes."""
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
                f"{name} is unsafe to autocast: what comes before it is in 16 bits, where its gradient may"
                f" overflow. Leave the sigmoid out and take {name}_with_logits (nn.BCEWithLogitsLoss)"
            )
        else:
            return None

        def cast(value: Any) -> Any:
            if isinstance(value, Tensor):
                return self.cast(value, kind) if self.eligible(value) else value
            return type(value)(map(cast, value)) if type(value) in (list, tuple) else value

        return tuple(map(cast, args)), {key: cast(value) for key, value in kwargs.items()}

    def eligible(self, tensor: Tensor) -> bool:
        """Floating point tensors on a device with autocast, but not float64, which somebody has asked for."""
        return tensor.xp.kernel_device in self.kinds and tensor.array.dtype.char in "eEf"

    def cast(self, tensor: Tensor, kind: Any) -> Tensor:
        """The tensor in another type; a parameter is cast to the lower one once for the whole block."""
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


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for one in values:
        if isinstance(one, Tensor):
            found.append(one)
        elif type(one) in (list, tuple):
            found += _tensors(one)
    return found


def _casting() -> Casting:
    """What is in force; made anew where nothing is."""
    if state.casting is None:
        state.casting = Casting()
    return state.casting


class autocast(contextlib.ContextDecorator):
    """A block (or a decorated function) in which operations on one kind of device choose their types
    themselves.

    ``device_type`` is "cuda" ("gpu") or "cpu"; ``dtype`` is bfloat16 or float16, by default
    :func:`get_autocast_dtype`: bfloat16 on the CPU, float16 on a card; ``enabled=False`` switches it off
    within another block; ``cache_enabled`` keeps the cast of a parameter until the outermost block ends.
    Products of matrices and convolutions run in that type; losses, and on a card sums, exponentials,
    softmax and norms too, in float32; everything else in the type that comes.  Only the forward pass and
    the loss belong in the block: backward runs in the types of the forward pass by itself.

    On the CPU of most machines this saves memory and not time: products of 16 bits are computed as float32.
    RuntimeError for another type.

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
    if kind is not dtypes.float16 and kind is not dtypes.bfloat16:
        raise RuntimeError(
            f"autocast: {kind} is not supported as the lower type; use accelgrad.bfloat16 or"
            " accelgrad.float16 (float32 needs no autocast)"
        )


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether operations on this kind of device choose their types themselves here.

    >>> is_autocast_enabled("cpu")
    False
    """
    return state.casting is not None and Device(device_type).type in state.casting.kinds


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch autocast on or off for a kind of device in this thread, until it is switched back; the block
    :class:`autocast` does that by itself.

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
    """The lower type of autocast on this kind of device: of the block that is open, or of the next one.

    >>> get_autocast_dtype("cpu"), get_autocast_dtype("cuda")
    (accelgrad.bfloat16, accelgrad.float16)
    """
    device = Device(device_type).type
    if state.casting is not None and device in state.casting.kinds:
        return state.casting.kinds[device]
    return (state.lower or {}).get(device, dtypes.bfloat16 if device == "cpu" else dtypes.float16)


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Set the lower type of autocast on a kind of device for this thread; RuntimeError for another than
    float16 and bfloat16.

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
    """Whether there is an autocast for this kind of device: for the CPU and for cards.

    >>> is_autocast_available("gpu")
    True
    """
    return Device(device_type).type in ("cpu", "cuda")


def custom_fwd(
    function: Callable[..., Any] | None = None, *, device_type: str = "cuda", cast_inputs: Any = None
) -> Any:
    """For the ``forward`` of an autograd.Function: notes on ``ctx`` whether autocast is on, for
    :func:`custom_bwd`.

    With ``cast_inputs`` floating point tensors (but not float64) come in that type, and autocast is off
    inside, wherever it was on outside.
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
            return one.to(cast_inputs) if isinstance(one, Tensor) and one.array.dtype.char in "eEf" else one

        with autocast(device_type, enabled=False):
            return function(ctx, *map(cast, args), **{key: cast(one) for key, one in kwargs.items()})

    return forward


def custom_bwd(function: Callable[..., Any] | None = None, *, device_type: str = "cuda") -> Any:
    """For the ``backward`` of an autograd.Function whose forward has :func:`custom_fwd`: autocast is on in it
    if it was on in the forward.

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


# --- scaling the loss

READY, UNSCALED, STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Multiplies the loss by a factor that is as large as float16 gradients allow, and finds it while
    training.

    ``scaler.scale(loss).backward()``, ``scaler.step(optimizer)``, ``scaler.update()``.  After infinite or NaN
    gradients the step is left out and the factor multiplied by ``backoff_factor``; after ``growth_interval``
    good steps in a row it is multiplied by ``growth_factor``.  The gradients are looked at by one question to
    the device a step.

    >>> import accelgrad
    >>> w = accelgrad.ones(2, requires_grad=True)
    >>> optimizer, scaler = accelgrad.optim.SGD([w], lr=0.5), GradScaler("cpu", init_scale=8.0)
    >>> scaler.scale(w.sum()).backward()
    >>> w.grad
    tensor([8., 8.])
    >>> _ = scaler.step(optimizer); scaler.update()
    >>> w.detach()
    tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = Device(device).type
        self._enabled = enabled
        if enabled and growth_factor <= 1.0:
            raise ValueError(f"The growth factor must be > 1.0, got {growth_factor}")
        if enabled and backoff_factor >= 1.0:
            raise ValueError(f"The backoff factor must be < 1.0, got {backoff_factor}")
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._good_steps = 0
        self._optimizers: dict[int, dict[str, Any]] = {}

    def scale(self, outputs: Any) -> Any:
        """The loss (or a list or tuple of them) times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            return type(outputs)(self.scale(one) for one in outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Take the factor out of the gradients of an optimizer now, so that they can be clipped before the
        step."""
        if not self._enabled:
            return
        record = self._record(optimizer)
        if record["stage"] == UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if record["stage"] == STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        token = hush()
        try:
            record["finite"] = self._unscale(optimizer)
        finally:
            unhush(token)
        record["stage"] = UNSCALED

    def _record(self, optimizer: Any) -> dict[str, Any]:
        return self._optimizers.setdefault(
            id(optimizer), {"stage": READY, "finite": None, "optimizer": optimizer}
        )

    def _unscale(self, optimizer: Any) -> Any:
        """Divide every gradient in place; a raw 0-d array or Python bool that says whether all of them are
        finite."""
        inverse = 1.0 / self._scale
        finite: dict[Any, Any] = {}
        params = [one for group in optimizer.param_groups for one in group["params"]]
        gradients = [one.grad for one in params if one.grad is not None]
        if any(one.array.dtype.char == "e" for one in gradients):
            raise ValueError("Attempting to unscale FP16 gradients.")
        for xp, alike in by_kind(gradients):
            update_all(xp, alike, updates.scale, [None], (inverse,))
            # 0 * x is 0 where x is finite and NaN elsewhere, and the largest of all is finite if all are.
            filled = [one.array for one in alike if one.array.size]
            with xp.scope():
                share = xp.total_norm(filled, math.inf) * 0 if filled else 0.0
                finite[xp] = finite.get(xp, 0.0) + share
        return finite

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` if all gradients are finite; what it returned, or None where the step was left
        out."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        record = self._record(optimizer)
        if record["stage"] == STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if record["stage"] == READY:
            self.unscale_(optimizer)
        if not record["finite"]:
            raise RuntimeError(
                "No inf checks were recorded for this optimizer: none of its parameters has a gradient."
            )
        record["finite"] = all(float(one) == 0.0 for one in record["finite"].values())
        record["stage"] = STEPPED
        return optimizer.step(*args, **kwargs) if record["finite"] else None

    def update(self, new_scale: Any = None) -> None:
        """Change the factor by what this step has shown (or to ``new_scale``), and begin the next step."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            seen = [record["finite"] for record in self._optimizers.values() if record["finite"] is not None]
            if not seen:
                raise RuntimeError("No inf checks were recorded prior to update.")
            finite = all(
                one if isinstance(one, bool) else all(float(part) == 0.0 for part in one.values())
                for one in seen
            )
            if not finite:
                self._scale *= self._backoff_factor
                self._good_steps = 0
            else:
                self._good_steps += 1
                if self._good_steps == self._growth_interval:
                    grown = self._scale * self._growth_factor
                    self._scale = grown if math.isfinite(grown) else self._scale
                    self._good_steps = 0
        self._optimizers.clear()

    # --- settings

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The present factor; 1 where it is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """By what the factor grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Change by what the factor grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """By what the factor shrinks."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Change by what the factor shrinks."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps in a row the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Change after how many good steps in a row the factor grows."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs; {} where it is not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of"
                " GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._good_steps = state_dict["_growth_tracker"]
