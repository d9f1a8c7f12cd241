"""GradScaler: a loss that is multiplied so that small gradients survive in float16."""

from __future__ import annotations

import math
from typing import Any

from accelgrad.arrays.backend import Device
from accelgrad.arrays.quiet import hush, unhush
from accelgrad.core.foreach import by_kind, update_all
from accelgrad.core.tensor import Tensor
from accelgrad.kernels import updates

__all__ = ["GradScaler"]

# How far an optimizer has come since the last ``update``.
READY, UNSCALED, STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """A factor on the loss, as large as float16 gradients allow, which is found while training.

    Call ``scaler.scale(loss).backward()``, ``scaler.step(optimizer)``, ``scaler.update()``.  After infinite
    or NaN gradients the step is left out and the factor multiplied by ``backoff_factor``; after
    ``growth_interval`` good steps in a row it is multiplied by ``growth_factor``.  Whether gradients are
    finite is asked of the device once a step.  ValueError for a ``growth_factor`` of at most 1 or a
    ``backoff_factor`` of at least 1; RuntimeError for calls in another order.  Micikevicius et al. 2018,
    section 3.2.

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
        """Multiply the loss by the factor, or each of a list or tuple of losses."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            return type(outputs)(self.scale(one) for one in outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer by the factor, so that they can be clipped before the step.

        RuntimeError for a second call in one step, ValueError for gradients in float16.
        """
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
        """The record of an optimizer's step: its stage, and whether its gradients are finite."""
        return self._optimizers.setdefault(
            id(optimizer), {"stage": READY, "finite": None, "optimizer": optimizer}
        )

    def _unscale(self, optimizer: Any) -> Any:
        """Divide every gradient by the factor, in place.

        For each device a raw 0-d array comes back, which is 0 if all gradients there are finite and NaN
        otherwise.
        """
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
        """Call ``optimizer.step()`` if all gradients are finite and return its result; otherwise None.

        RuntimeError for a ``closure``, for a second call in one step, and where no parameter has a gradient.
        """
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
        """Tell whether it scales at all."""
        return self._enabled

    def get_scale(self) -> float:
        """The present factor; 1 if it is not enabled."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        """The number by which the factor is multiplied after many good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the number by which the factor is multiplied after many good steps."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """The number by which the factor is multiplied after infinite gradients."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the number by which the factor is multiplied after infinite gradients."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """The number of good steps in a row after which the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the number of good steps in a row after which the factor grows."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """The numbers that a checkpoint needs; {} if it is not enabled."""
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
        """Continue from what ``state_dict`` gave; RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly"
                " because it was saved from a disabled instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._good_steps = state_dict["_growth_tracker"]
