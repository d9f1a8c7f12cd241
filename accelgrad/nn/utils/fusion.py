"""A convolution or linear layer and the batch norm behind it as one layer, for evaluation."""

from __future__ import annotations

import copy
from typing import Any

from accelgrad.graph import no_grad
from accelgrad.nn.parameter import Parameter
from accelgrad.tensor import wrap

__all__ = ["fuse_conv_bn_eval", "fuse_linear_bn_eval"]


@no_grad()
def _fused(layer: Any, bn: Any, out_axis: int) -> Any:
    """W' = W s and b' = (b - mean) s + shift, with s = scale / sqrt(var + eps) along the output axis."""
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    result = copy.deepcopy(layer)
    xp, weight = layer.weight.xp, layer.weight.array
    scale = 1 / xp.sqrt(bn.running_var.array + bn.eps)
    if bn.weight is not None:
        scale = scale * bn.weight.array
    shape = [1] * weight.ndim
    shape[out_axis] = -1
    bias = -bn.running_mean.array if layer.bias is None else layer.bias.array - bn.running_mean.array
    bias = bias * scale
    if bn.bias is not None:
        bias = bias + bn.bias.array
    result.weight = Parameter(wrap(weight * xp.reshape(scale, tuple(shape)), xp), layer.weight.requires_grad)
    result.bias = Parameter(wrap(bias, xp), layer.weight.requires_grad)
    return result


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A new convolution that computes what ``bn(conv(x))`` does in evaluation."""
    return _fused(conv, bn, 1 if transpose else 0)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A new linear layer that computes what ``bn(linear(x))`` does in evaluation."""
    if linear.out_features != bn.num_features:
        raise AssertionError("To fuse, linear.out_features == bn.num_features")
    return _fused(linear, bn, 0)
