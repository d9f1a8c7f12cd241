"""Names at the top of the package besides the operations without a namespace: what PyTorch shows there."""

from __future__ import annotations

from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry import OPS

__all__ = ["FUNCTIONAL", "IN_PLACE", "shown"]

FUNCTIONAL = (
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "avg_pool1d", "bilinear", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "group_norm", "layer_norm", "max_pool1d",
    "max_pool2d", "max_pool3d", "rms_norm",
)  # fmt: skip
"""Operations of ``nn.functional`` with the same arguments in both places."""

IN_PLACE = (
    "abs", "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "asin", "asinh",
    "atan", "atanh", "ceil", "clamp", "clamp_max", "clamp_min", "clip", "cos", "cosh", "deg2rad", "erf",
    "erfc", "exp", "exp2", "expm1", "fix", "floor", "frac", "gcd", "i0", "lcm", "ldexp", "log", "log10",
    "log1p", "log2", "logit", "nan_to_num", "neg", "negative", "rad2deg", "reciprocal", "relu", "round",
    "rsqrt", "sigmoid", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "xlogy",
)  # fmt: skip
"""Methods that end in an underscore and are functions too: ``accelgrad.exp_(x)`` is ``x.exp_()``."""


def shown() -> dict[str, Any]:
    """Every such name with what it stands for."""
    names: dict[str, Any] = {name: OPS[f"nn.functional.{name}"].call for name in FUNCTIONAL}
    names.update((f"{name}_", getattr(Tensor, f"{name}_")) for name in IN_PLACE)
    names["detach"], names["detach_"] = Tensor.detach, Tensor.detach_
    return names
