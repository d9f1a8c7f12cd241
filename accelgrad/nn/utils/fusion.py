"""A convolution or linear layer and the batch norm behind it as one layer, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from accelgrad.core.graph import no_grad
from accelgrad.core.tensor import wrap
from accelgrad.nn.parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


@no_grad()
def _fused_weights(
    weight: Any, bias: Any, mean: Any, var: Any, eps: float, scale: Any, shift: Any, out_axis: int
) -> tuple[Parameter, Parameter]:
    """W' = W s and b' = (b - mean) s + shift, with s = scale / sqrt(var + eps) along the output axis."""
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
    """Weight and bias of the convolution that does what one with a batch norm behind it does in evaluation.

    ``conv_b``, ``bn_w`` and ``bn_b`` may be None.
    """
    return _fused_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 1 if transpose else 0)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that does what one with a batch norm behind it does in
    evaluation."""
    return _fused_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A new convolution that computes what ``bn(conv(x))`` does in evaluation."""
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A new linear layer that computes what ``bn(linear(x))`` does in evaluation."""
    if linear.out_features != bn.num_features:
        raise AssertionError("To fuse, linear.out_features == bn.num_features")
    return _fused(linear, bn, 0)
