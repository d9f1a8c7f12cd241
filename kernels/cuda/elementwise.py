"""Chains of elementwise steps as one CuPy kernel each, and the special functions that CUDA has built in."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any

from accelgrad.kernels.cuda.launch import SIMULATED, cuda_kernel, on_card

__all__ = ["digamma", "erf", "erfc", "erfinv", "gelu", "gelu_backward", "lgamma"]

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
}


@functools.cache
def formula(name: str) -> Any:
    """CuPy's kernel of that name: compiled by NVRTC at its first call, kept on disk by CuPy."""
    inputs, operation = FORMULAS[name]
    return sys.modules["cupy"].ElementwiseKernel(inputs, "T y", operation, f"accelgrad_{name}")


def accepts(*arrays: Any) -> bool:
    """Arrays of one floating point type and shape on a card whose CuPy can compile."""
    return (
        not SIMULATED
        and all(hasattr(x, "dtype") for x in arrays)
        and all(x.shape == arrays[0].shape for x in arrays)
        and on_card(*arrays, contiguous=False)
    )


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


@cuda_kernel("digamma", accepts=accepts)
def digamma(x: Any) -> Any:
    """The derivative of lgamma; CuPy's own kernel, one launch."""
    return importlib.import_module("cupyx.scipy.special").digamma(x)
