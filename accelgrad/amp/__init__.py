"""Mixed precision: products in a type of 16 bits, long sums in float32, and a loss that is scaled.

:class:`autocast` casts the inputs of operations as they are called; the parameters stay float32 (the master
weights), and so do their gradients.  Which operation runs in which type is PyTorch's list
(:mod:`accelgrad.ops.registry.autocast`).  The lower type is bfloat16 on the CPU and float16 on a card, unless
chosen otherwise.  bfloat16 has the range of float32, so no gradient vanishes and no loss needs to be scaled;
float16 has more digits but a small range.  :class:`GradScaler` multiplies the loss so that small gradients
survive in float16, takes the factor out again before the step, and leaves out steps with infinite gradients.
Micikevicius et al. 2018, "Mixed Precision Training".  The names and rules are those of ``torch.amp``.
"""

from accelgrad.amp.autocast_mode import (
    autocast,
    custom_bwd,
    custom_fwd,
    get_autocast_dtype,
    is_autocast_available,
    is_autocast_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from accelgrad.amp.grad_scaler import GradScaler

__all__ = [
    "GradScaler", "autocast", "custom_bwd", "custom_fwd", "get_autocast_dtype", "is_autocast_available",
    "is_autocast_enabled", "set_autocast_dtype", "set_autocast_enabled",
]  # fmt: skip
