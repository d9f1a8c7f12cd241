"""Fusion: a convolution or linear layer and the batch norm behind it become one layer, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import wrap
from accelgrad.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


@no_grad()
def _fused_weights(
    weight: Any, bias: Any, mean: Any, var: Any, eps: float, scale: Any, shift: Any, out_axis: int
) -> tuple[Parameter, Parameter]:
    """``W' = W s`` and ``b' = (b - mean) s + shift``, with s = scale / sqrt(var + eps) for each output."""
    xp = weight.xp
    factor = 1 / xp.sqrt(var.array + eps)
    if scale is not None:
        factor = factor * scale.array
    shape = [1] * weight.array.ndim
    shape[out_axis] = -1
    moved = (-mean.array if bias is None else bias.array - mean.array) * factor
    if shift is not None:
        moved = moved + shift.array
    kept = weight.requires_grad
    return (
        Parameter(wrap(weight.array * xp.reshape(factor, tuple(shape)), xp), kept),
        Parameter(wrap(moved, xp), kept if bias is None else bias.requires_grad),
    )


def _fused(layer: Any, bn: Any, out_axis: int) -> Any:
    """A copy of the layer with fused weights; AssertionError unless both are in evaluation mode."""
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    result = copy.deepcopy(layer)
    result.weight, result.bias = _fused_weights(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, out_axis
    )
    return result


def fuse_conv_bn_weights(
    conv_w: Any,
    conv_b: Any,
    bn_rm: Any,
    bn_rv: Any,
    bn_eps: float,
    bn_w: Any,
    bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a convolution that computes what the given one and its batch norm compute.

    ``W' = W s`` and ``b' = (b - mean) s + shift`` for each output channel, with s = scale / sqrt(var + eps),
    as in evaluation.  ``conv_w`` is (out, in / groups, ...), or with ``transpose`` (in, out / groups, ...);
    the others are (out,).  ``conv_b``, ``bn_w`` and ``bn_b`` may be None.

    >>> import accelgrad
    >>> one = accelgrad.ones(1)
    >>> weight, bias = fuse_conv_bn_weights(accelgrad.ones(1, 1, 1), None, one, one, 0.0, 2 * one, one)
    >>> weight.item(), bias.item()
    (2.0, -1.0)
    """
    return _fused_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """The weight and bias of a linear layer that computes what the given one and its batch norm compute.

    ``linear_w`` is (out, in), the others are (out,); formula as for :func:`fuse_conv_bn_weights`.

    >>> import accelgrad
    >>> one = accelgrad.ones(1)
    >>> weight, bias = fuse_linear_bn_weights(accelgrad.ones(1, 1), one, one, one, 0.0, 2 * one, one)
    >>> weight.item(), bias.item()
    (2.0, 1.0)
    """
    return _fused_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A new convolution that computes ``bn(conv(x))`` in evaluation.

    ``transpose`` says that it is a transposed one.  AssertionError unless both are in evaluation mode.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> conv, bn, x = nn.Conv2d(2, 3, 3).eval(), nn.BatchNorm2d(3).eval(), accelgrad.randn(1, 2, 5, 5)
    >>> accelgrad.allclose(fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-5)
    True
    """
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A new linear layer that computes ``bn(linear(x))`` in evaluation.

    AssertionError unless both are in evaluation mode and of one width.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> linear, bn, x = nn.Linear(2, 3).eval(), nn.BatchNorm1d(3).eval(), accelgrad.randn(4, 2)
    >>> accelgrad.allclose(fuse_linear_bn_eval(linear, bn)(x), bn(linear(x)), atol=1e-5)
    True
    """
    if linear.out_features != bn.num_features:
        raise AssertionError("To fuse, linear.out_features == bn.num_features")
    return _fused(linear, bn, 0)
