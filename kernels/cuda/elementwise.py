"""Chains of elementwise steps as one CuPy kernel each, and the special functions that CUDA has built in."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

from accelgrad.kernels.cuda.launch import SIMULATED, cuda_kernel, on_card

__all__ = [
    "digamma", "erf", "erfc", "erfinv", "gelu", "gelu_backward", "lgamma", "relu_backward", "running_average",
    "sigmoid", "sigmoid_backward", "silu", "silu_backward", "tanh_backward",
]  # fmt: skip

# name: (inputs, the formula in CUDA C); T is float or double
FORMULAS = {
    "gelu": ("T x", "y = T(0.5) * x * erfc(x * T(-0.70710678118654752440))"),
    "gelu_backward": (
        "T grad, T x",
        "y = grad * (T(0.5) * erfc(x * T(-0.70710678118654752440))"
        " + x * exp(T(-0.5) * x * x) * T(0.39894228040143267794))",
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


@cuda_kernel("gelu", accepts=accepts)
def gelu(x: Any) -> Any:
    """``x Phi(x)``:  for i:  y[i] = 0.5 x[i] erfc(-x[i] / sqrt(2))"""
    return formula("gelu")(x)


@cuda_kernel("gelu_backward", accepts=accepts)
def gelu_backward(grad: Any, x: Any) -> Any:
    """``grad (Phi(x) + x phi(x))``:  for i:  y[i] = ..."""
    return formula("gelu_backward")(grad, x)


@cuda_kernel("erf", accepts=accepts)
def erf(x: Any) -> Any:
    """The error function:  for i:  y[i] = erf(x[i])"""
    return formula("erf")(x)


@cuda_kernel("erfc", accepts=accepts)
def erfc(x: Any) -> Any:
    """1 minus the error function:  for i:  y[i] = erfc(x[i])"""
    return formula("erfc")(x)


@cuda_kernel("erfinv", accepts=accepts)
def erfinv(x: Any) -> Any:
    """The inverse of the error function:  for i:  y[i] = erfinv(x[i])"""
    return formula("erfinv")(x)


@cuda_kernel("lgamma", accepts=accepts)
def lgamma(x: Any) -> Any:
    """The logarithm of the absolute gamma function:  for i:  y[i] = lgamma(x[i])"""
    return formula("lgamma")(x)


@cuda_kernel("relu_backward", accepts=accepts)
def relu_backward(grad: Any, y: Any) -> Any:
    """``grad`` where y > 0:  for i:  gx[i] = y[i] > 0 ? grad[i] : 0"""
    return formula("relu_backward")(grad, y)


@cuda_kernel("sigmoid", accepts=accepts)
def sigmoid(x: Any) -> Any:
    """``1 / (1 + e^-x)``:  for i:  y[i] = ..."""
    return formula("sigmoid")(x)


@cuda_kernel("sigmoid_backward", accepts=accepts)
def sigmoid_backward(grad: Any, y: Any) -> Any:
    """``grad y (1 - y)``:  for i:  gx[i] = ..."""
    return formula("sigmoid_backward")(grad, y)


@cuda_kernel("tanh_backward", accepts=accepts)
def tanh_backward(grad: Any, y: Any) -> Any:
    """``grad (1 - y²)``:  for i:  gx[i] = ..."""
    return formula("tanh_backward")(grad, y)


@cuda_kernel("silu", accepts=accepts)
def silu(x: Any) -> Any:
    """``x / (1 + e^-x)``:  for i:  y[i] = ..."""
    return formula("silu")(x)


@cuda_kernel("silu_backward", accepts=accepts)
def silu_backward(grad: Any, x: Any) -> Any:
    """``grad s (1 + x (1 - s))``, s = sigmoid(x):  for i:  gx[i] = ..."""
    return formula("silu_backward")(grad, x)


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
