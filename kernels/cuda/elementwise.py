"""Chains of elementwise steps as one CuPy kernel each, and the special functions that CUDA has built in."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

from accelgrad.kernels.cuda.launch import SIMULATED, cuda_kernel, on_card

__all__ = ["FORMULAS", "digamma", "running_average"]

# name: (inputs, the formula in CUDA C); T is float or double
FORMULAS = {
    "gelu": ("T x", "y = T(0.5) * x * erfc(x * T(-0.70710678118654752440))"),
    "gelu_backward": (
        "T grad, T x",
        "y = grad * (T(0.5) * erfc(x * T(-0.70710678118654752440)) + x * exp(T(-0.5) * x * x) *"
        " T(0.39894228040143267794))",
    ),
    "erf": ("T x", "y = erf(x)"),
    "erfc": ("T x", "y = erfc(x)"),
    "erfinv": ("T x", "y = erfinv(x)"),
    "lgamma": ("T x", "y = isinf(x) ? abs(x) : lgamma(x)"),
    "relu_backward": ("T grad, T y", "gx = y > T(0) ? grad : grad * T(0)"),
    "running_average": ("T value, T keep, T share", "running = running * keep + value * share"),
    "sigmoid": ("T x", "y = T(1) / (T(1) + exp(-x))"),
    "sigmoid_backward": ("T grad, T y", "gx = grad * (y * (T(1) - y))"),
    "silu": ("T x", "y = x / (T(1) + exp(-x))"),
    "silu_backward": (
        "T grad, T x",
        "T s = T(1) / (T(1) + exp(-x)); gx = grad * (s * (T(1) + x * (T(1) - s)))",
    ),
    "tanh_backward": ("T grad, T y", "gx = grad * (T(1) - y * y)"),
}


@functools.cache
def formula(name: str) -> Any:
    """CuPy's kernel of that name: compiled by NVRTC at its first call, kept on disk by CuPy."""
    inputs, operation = FORMULAS[name]
    result = operation.rpartition(";")[2].split()[0]
    return sys.modules["cupy"].ElementwiseKernel(inputs, f"T {result}", operation, f"accelgrad_{name}")


def accepts(x: Any, *others: Any) -> bool:
    """Arrays of one floating point type and shape on a card whose CuPy can compile."""
    if SIMULATED or not hasattr(x, "dtype"):
        return False
    for one in others:
        if not hasattr(one, "dtype") or one.shape != x.shape:
            return False
    return on_card(x, *others, contiguous=False)


def one_launch(name: str) -> Any:
    """The kernel of this name: its formula for every element, in one launch."""

    def call(*arrays: Any) -> Any:
        return formula(name)(*arrays)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"for i:  {FORMULAS[name][1]}"
    return cuda_kernel(name, accepts=accepts)(call)


for _name in FORMULAS:
    if _name != "running_average":  # which writes into an array that it is given
        one_launch(_name)


def average_accepts(running: Any, value: Any, momentum: Any, factor: float = 1.0) -> bool:
    return isinstance(momentum, int | float) and accepts(running, value)


@cuda_kernel("running_average", accepts=average_accepts)
def running_average(running: Any, value: Any, momentum: float, factor: float = 1.0) -> None:
    """``(1 - momentum) running + momentum factor value``, in place:  for i:  running[i] = ..."""
    formula("running_average")(value, 1 - momentum, momentum * factor, running)


@cuda_kernel("digamma", accepts=accepts)
def digamma(x: Any) -> Any:
    """The derivative of lgamma; CuPy's own kernel, one launch."""
    return importlib.import_module("cupyx.scipy.special").digamma(x)
