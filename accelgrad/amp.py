"""Mixed precision: products in float16, sums and exponentials in float32, and a loss that is scaled to keep
gradients.

:class:`autocast` casts the inputs of operations as they are called (the parameters stay float32, the master
weights); :class:`GradScaler` multiplies the loss so that small gradients survive in float16, takes the factor
out again before the step, and leaves out steps with infinite gradients.  Micikevicius et al. 2018, "Mixed
Precision Training". The names and rules are those of ``torch.amp``.  Neither NumPy nor CuPy has bfloat16, so
float16 is the lower type.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

from accelgrad import dtypes
from accelgrad.backend import Device, hush, unhush
from accelgrad.graph import state
from accelgrad.kernels import updates
from accelgrad.tensor import Tensor
from accelgrad.together import by_kind, update_all

__all__ = [
    "GradScaler", "autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_available",
    "is_autocast_enabled",
]  # fmt: skip

# Operations by their primitives, as PyTorch sorts them: those that multiply matrices gain from the lower
# type;
LOWER = frozenset((
    "Matmul", "Linear", "Bilinear", "Convolution", "InputOfConvolution", "WeightOfConvolution", "Attention",
    "LstmLayer", "GruLayer", "RnnLayer",
))  # fmt: skip
# those that sum much, or whose results span many powers of ten, need float32.  Others take what comes.
FLOAT32 = frozenset((
    "Acos", "Asin", "BatchNorm", "BceWithLogits", "BinaryCrossEntropy", "Cosh", "CrossEntropy", "CumProd",
    "CumSum",
    "Erfinv", "Exp", "Exp2", "Expm1", "FixedNorm", "Huber", "L1", "LayerNorm", "Log", "Log10", "Log1p",
    "Log2",
    "LogCumSumExp", "LogSigmoid", "LogSoftmax", "LogSumExp", "Mean", "Mse", "NllLoss", "PairLoss",
    "PositiveBceWithLogits", "Pow", "Prod", "Reciprocal", "RmsNorm", "Rsqrt", "Sinh", "SmoothL1", "Softmax",
    "Softplus", "Std", "Sum", "Tan", "Var", "VectorNorm",
))  # fmt: skip


class Casting:
    """What :data:`accelgrad.graph.state` calls for every operation while a type is set for some device."""

    def __init__(self) -> None:
        self.kinds: dict[str, Any] = {}
        self.casts: dict[int, tuple[Tensor, int, Tensor]] = {}
        self.depth = 0
        self.cache = True

    def __call__(self, primitive: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        name = primitive.__name__
        if name in LOWER:
            lower = True
        elif name in FLOAT32:
            lower = False
        else:
            return inputs
        return tuple(
            [
                self.cast(one, lower) if isinstance(one, Tensor) and self.eligible(one) else one
                for one in inputs
            ]
        )

    def eligible(self, tensor: Tensor) -> bool:
        """Floating point tensors on a device with autocast, but not float64, which somebody has asked for."""
        return tensor.xp.kernel_device in self.kinds and tensor.array.dtype.char in "ef"

    def cast(self, tensor: Tensor, lower: bool) -> Tensor:
        """The tensor in the type that the operation wants; a parameter is cast once for the whole block."""
        kind = self.kinds[tensor.xp.kernel_device] if lower else dtypes.float32
        if tensor.array.dtype == kind.numpy:
            return tensor
        if not (self.cache and lower and state.grad and tensor.is_leaf and tensor.requires_grad):
            return tensor.to(kind)
        known = self.casts.get(id(tensor))
        if known is None or known[1] != tensor._version[0]:
            known = self.casts[id(tensor)] = (tensor, tensor._version[0], tensor.to(kind))
        return known[2]


class autocast(contextlib.ContextDecorator):
    """A block (or a decorated function) in which operations on one kind of device choose their types
    themselves.

    ``device_type`` is "cuda" ("gpu") or "cpu"; ``dtype`` is float16; ``enabled=False`` switches it off within
    another block; ``cache_enabled`` keeps the cast of a parameter until the outermost block ends.  Only the
    forward pass and the loss belong in the block.  RuntimeError for another type than float16, bfloat16 among
    them.

    >>> import accelgrad
    >>> x, w = accelgrad.ones(2, 3), accelgrad.ones(3, 4)
    >>> with accelgrad.amp.autocast("cpu"):
    ...     y = x @ w
    ...     total = y.sum()
    >>> y.dtype, total.dtype, (x @ w).dtype
    (accelgrad.float16, accelgrad.float32, accelgrad.float32)
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
        kind = dtypes.float16 if dtype is None else dtype
        if kind is not dtypes.float16 and enabled:
            raise RuntimeError(
                f"autocast: {kind} is not supported as the lower type; use accelgrad.float16 (neither NumPy"
                " nor CuPy"
                " has bfloat16, and float32 needs no autocast)"
            )
        self.dtype, self.enabled = kind, enabled
        self.cache_enabled = cache_enabled
        self._before: list[tuple[Any, bool]] = []

    def __enter__(self) -> autocast:
        casting = state.casting
        if casting is None:
            casting = state.casting = Casting()
        casting.depth += 1
        self._before.append((casting.kinds.get(self.device_type), casting.cache))
        if self.enabled:
            casting.kinds[self.device_type] = self.dtype
        else:
            casting.kinds.pop(self.device_type, None)
        if self.cache_enabled is not None:
            casting.cache = self.cache_enabled
        return self

    def __exit__(self, *exception: object) -> None:
        casting = state.casting
        kind, casting.cache = self._before.pop()
        if kind is None:
            casting.kinds.pop(self.device_type, None)
        else:
            casting.kinds[self.device_type] = kind
        casting.depth -= 1
        if not casting.depth:
            state.casting = None  # and with it the casts of the parameters


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether operations on this kind of device choose their types themselves here.

    >>> is_autocast_enabled("cpu")
    False
    """
    return state.casting is not None and Device(device_type).type in state.casting.kinds


def get_autocast_dtype(device_type: str = "cuda") -> Any:
    """The lower type of autocast on this kind of device."""
    Device(device_type)
    return dtypes.float16


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
            return one.to(cast_inputs) if isinstance(one, Tensor) and one.array.dtype.char in "ef" else one

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
    (accelgrad.float16, accelgrad.float32)
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


# ----------------------------------------------------------------------------------------- scaling the loss

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

    # --------------------------------------------------------------------------------------------- settings

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
