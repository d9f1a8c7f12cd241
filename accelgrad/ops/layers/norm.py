"""Normalisation: batch, instance, layer, group and RMS norms, local response."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays import dtypes
from accelgrad.core.primitive import Primitive
from accelgrad.core.reduced import is_reduced, one_step, widened
from accelgrad.core.tensor import Tensor
from accelgrad.kernels.windows import product
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating, one_type

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]


# --- over the batch


class BatchNorm(Primitive):
    """y = (x - mean) / sqrt(var + eps) w + b, mean and var being those of each channel over the batch.

    The mean and the biased variance are put into ``found``, a list of the caller, for the running statistics.
    Ioffe & Szegedy 2015, Algorithm 1.
    """

    mixes = True

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, *, eps: float, found: list[Any]) -> Any:
        xp = ctx.xp
        flat = (x.shape[0], x.shape[1], product(x.shape[2:]))  # (n, c, length)
        y, mean, var, rstd = xp.batch_norm(xp.reshape(x, flat), weight, bias, eps)
        found[:] = mean, var
        ctx.save_for_backward(x, weight)
        ctx.keep(mean, rstd)
        ctx.flat, ctx.eps = flat, eps
        return xp.reshape(y, x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, weight = ctx.saved_tensors
        flat, eps = ctx.flat, ctx.eps
        mean, rstd = ctx.kept(lambda xp, x: xp.batch_norm(xp.reshape(x, flat), None, None, eps)[1::2], x)
        grad_x, grad_weight, grad_bias = xp.batch_norm_backward(
            xp.reshape(grad, flat), xp.reshape(x, flat), weight, mean, rstd
        )
        return xp.reshape(grad_x, grad.shape), grad_weight, grad_bias


class FixedNorm(Primitive):
    """y = (x - mean) / sqrt(var + eps) w + b with constant mean and var: batch norm in evaluation"""

    mixes = True

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, *, mean: Any, var: Any, eps: float) -> Any:
        xp = ctx.xp
        rstd = 1 / xp.sqrt(var + eps)
        ctx.beside = (x.shape[1],) + (1,) * (x.ndim - 2)
        ctx.mean, ctx.rstd = xp.reshape(mean, ctx.beside), xp.reshape(rstd, ctx.beside)
        ctx.save_for_backward(x, weight)
        scale = rstd if weight is None else rstd * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        y = x * xp.reshape(scale, ctx.beside) + xp.reshape(shift, ctx.beside)  # two passes
        return xp.astype(y, x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        others = tuple(axis for axis in range(x.ndim) if axis != 1)
        grad_x = grad_weight = None
        if need_x:
            grad_x = grad * (ctx.rstd if weight is None else xp.reshape(weight, ctx.beside) * ctx.rstd)
        if need_weight:
            grad_weight = xp.sum(grad * ((x - ctx.mean) * ctx.rstd), axis=others)
        return grad_x, grad_weight, xp.sum(grad, axis=others) if need_bias else None


def _channels(name: str, input: Tensor, **vectors: Tensor | None) -> None:
    """RuntimeError unless every given vector has one element for each channel of the input."""
    channels = input.array.shape[1]
    for label, vector in vectors.items():
        if vector is not None and vector.array.shape != (channels,):
            raise RuntimeError(
                f"{label} should contain {channels} elements not {vector.numel()}:"
                f" {name} needs one for each channel (dimension 1) of the input {tuple(input.shape)}"
            )


def _update(running: Tensor | None, value: Any, momentum: float, factor: float = 1.0) -> None:
    """running = (1 - momentum) running + momentum factor value, in place."""
    if running is not None:
        running.xp.running_average(running.array, value, momentum, factor)
        running._version[0] += 1


def _batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    beside = (-1,) + (1,) * (x.ndim - 2)
    others = (0, *range(2, x.ndim))
    if training:
        mean, var = x.mean(axis=others), x.var(axis=others)
    y = (x - mean.reshape(beside)) / np.sqrt(var.reshape(beside) + eps)
    if weight is not None:
        y = y * weight.reshape(beside)
    return y if bias is None else y + bias.reshape(beside)


MEAN, VAR = arg(3, requires_grad=False), arg(3, low=0.5, high=2, requires_grad=False)


@op(
    primitive=BatchNorm,
    reference=_batch_norm,
    samples=[
        sample(arg(4, 3), MEAN, VAR, arg(3), arg(3)),
        sample(arg(4, 3), MEAN, VAR),
        sample(arg(4, 3, 5), MEAN, VAR, arg(3)),
        sample(arg(4, 3, 2, 2), MEAN, VAR, arg(3), arg(3), eps=0.1),
        sample(arg(4, 3), None, None, arg(3), arg(3), training=True),
        sample(arg(2, 3, 4), None, None, training=True),
        sample(arg(2, 3, 2, 3), None, None, arg(3), arg(3), training=True, eps=1e-3),
        sample(arg(1, 3, 2, 1, 2), None, None, arg(3), training=True),
    ],
    errors=[
        (
            sample(arg(1, 3), None, None, training=True),
            ValueError,
            "Expected more than 1 value per channel when training",
        ),
        (sample(arg(2, 3), None, None), RuntimeError, "running_mean must be defined in evaluation mode"),
        (sample(arg(2, 3), arg(4), arg(4)), RuntimeError, "running_mean should contain 3 elements not 4"),
        (sample(arg(2, 3), MEAN, VAR, arg(2)), RuntimeError, "weight should contain 3 elements not 2"),
    ],
    namespace="nn.functional",
    method=False,
    out=False,
)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    input (n, c) or (n, c, ...), the rest (c,).

    In training, mean and variance are those of the batch, and the running ones are moved towards them *in
    place*: ``running = (1 - momentum) running + momentum found``, with the unbiased variance.  Otherwise
    the running ones are used.  ValueError where a channel has only one value in training; RuntimeError for
    vectors of a wrong size.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.batch_norm(accelgrad.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    """
    x = input.array
    if x.ndim < 2:
        raise RuntimeError(
            f"batch_norm expects an input (n, c) or (n, c, ...), got {x.ndim}D of shape {tuple(x.shape)}"
        )
    _channels(
        "batch_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    must_be_floating(x, "batch_norm")
    mixed = weight is not None and weight.array.dtype is not x.dtype
    if mixed and not (is_reduced(x) and weight.array.dtype == np.float32):  # type: ignore[union-attr]
        one_type("batch_norm", input=x, weight=weight.array)  # type: ignore[union-attr]
    if not training:
        if running_mean is None or running_var is None:
            missing = "running_mean" if running_mean is None else "running_var"
            raise RuntimeError(f"{missing} must be defined in evaluation mode; pass it, or training=True")
        mean, var = widened(running_mean.array), widened(running_var.array)
        return FixedNorm.apply(input, weight, bias, mean=mean, var=var, eps=eps)
    count = x.size // x.shape[1] if x.shape[1] else 0
    if count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}:"
            " the variance of one value is 0. Use a larger batch (drop_last=True), or eval()"
        )
    found: list[Any] = []
    result = BatchNorm.apply(input, weight, bias, eps=eps, found=found)
    if running_mean is not None or running_var is not None:
        mean, var = found
        _update(running_mean, mean, momentum)
        _update(running_var, var, momentum, count / (count - 1) if count else 1.0)
    return result


@op(
    primitive=BatchNorm,
    reference=lambda x, m=None, v=None, w=None, b=None, use=True, momentum=0.1, eps=1e-5: (
        _batch_norm(x.reshape(1, -1, *x.shape[2:]), None, None, None, None, True, 0, eps).reshape(x.shape)
        * (1 if w is None else w.reshape(-1, *(1,) * (x.ndim - 2)))
        + (0 if b is None else b.reshape(-1, *(1,) * (x.ndim - 2)))
    ),
    samples=[
        sample(arg(2, 3, 4)),
        sample(arg(2, 3, 2, 2), None, None, arg(3), arg(3)),
        sample(arg(1, 2, 2, 2, 2)),
    ],
    errors=[(sample(arg(2, 3, 1)), ValueError, "Expected more than 1 spatial element when training")],
    namespace="nn.functional",
    method=False,
    out=False,
)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample by itself, as :func:`batch_norm` does a batch.

    input (n, c, ...); mean and variance are taken over the last dimensions.

    Running statistics, where given, take the average over the samples.  Ulyanov, Vedaldi & Lempitsky 2016.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.instance_norm(accelgrad.tensor([[[1.0, 3.0]], [[5.0, 9.0]]]))
    tensor([[[-1.0000,  1.0000]],
            [[-1.0000,  1.0000]]])
    """
    x = input.array
    if x.ndim < 3:
        raise RuntimeError(f"instance_norm expects an input (n, c, ...), got shape {tuple(x.shape)}")
    _channels(
        "instance_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, c, *space = x.shape
    count = product(space)
    if count == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape}:"
            " one value has no spread"
        )
    found: list[Any] = []
    rows = widened(input).reshape(1, n * c, count)
    y = BatchNorm.apply(rows, None, None, eps=eps, found=found).reshape(input.shape)
    if running_mean is not None or running_var is not None:
        xp = input.xp
        mean, var = (xp.mean(xp.reshape(one, (n, c)), axis=0) for one in found)
        _update(running_mean, mean, momentum)
        _update(running_var, var, momentum, count / (count - 1))
    return _affine(y, widened(weight), widened(bias)).to(input.dtype)


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """y times a weight and plus a bias for each channel."""
    beside = (-1,) + (1,) * (y.ndim - 2)
    if weight is not None:
        y = y * weight.reshape(beside)
    return y if bias is None else y + bias.reshape(beside)


# --- over the features


class LayerNorm(Primitive):
    """y = (x - mean) / sqrt(var + eps) w + b, over all of the last dimensions of every row"""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, *, width: int, eps: float) -> Any:
        xp = ctx.xp
        rows = xp.reshape(x, (x.size // width if width else 0, width))
        w = None if weight is None else xp.reshape(weight, (width,))
        b = None if bias is None else xp.reshape(bias, (width,))
        y, mean, rstd = xp.layer_norm(rows, w, b, eps)
        ctx.save_for_backward(x, weight)
        ctx.keep(mean, rstd)
        ctx.rows, ctx.eps = rows.shape, eps
        ctx.parts = None if weight is None else weight.shape
        return xp.reshape(y, x.shape)

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        x, weight = ctx.saved_tensors
        shape, eps = ctx.rows, ctx.eps
        mean, rstd = ctx.kept(lambda xp, x: xp.layer_norm(xp.reshape(x, shape), None, None, eps)[1:], x)
        w = None if weight is None else xp.reshape(weight, (shape[1],))
        grad_x, grad_weight, grad_bias = xp.layer_norm_backward(
            xp.reshape(grad, shape), xp.reshape(x, shape), w, mean, rstd
        )
        need = ctx.needs_input_grad
        parts = ctx.parts if ctx.parts is not None else (shape[1],)
        return (
            xp.reshape(grad_x, grad.shape),
            xp.reshape(grad_weight, parts) if need[1] else None,
            xp.reshape(grad_bias, parts) if need[2] else None,
        )


def _normalised(name: str, input: Tensor, normalized_shape: Any, **affine: Tensor | None) -> int:
    """The number of elements of ``normalized_shape``, after checking that the input ends in it."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    x = input.array
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element,"
            " but got normalized_shape = []"
        )
    for label, one in affine.items():
        if one is not None and one.array.shape != shape:
            raise RuntimeError(
                f"Expected {label} to be of same shape as normalized_shape,"
                f" but got {label} of shape {list(one.shape)} and normalized_shape = {list(shape)}"
            )
    if x.shape[-len(shape) :] != shape or x.ndim < len(shape):
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*,"
            f" {', '.join(map(str, shape))}], but got input of size{list(x.shape)}:"
            f" {name} works over the last dimensions"
        )
    must_be_floating(x, name)
    one_type(name, input=x, **{label: one.array for label, one in affine.items() if one is not None})
    return product(shape)


def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(x.ndim - (1 if isinstance(shape, int) else len(shape)), x.ndim))
    y = (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


@op(
    primitive=LayerNorm,
    reference=_layer_norm,
    samples=[
        sample(arg(4, 3), (3,), arg(3), arg(3)),
        sample(arg(2, 4, 3), [3], arg(3), None, 1e-3),
        sample(arg(2, 4, 3), (4, 3), arg(4, 3), arg(4, 3)),
        sample(arg(2, 4, 3), (4, 3)),
        sample(arg(5), (5,), None, arg(5)),
        sample(arg(0, 3), (3,), arg(3), arg(3)),
    ],
    errors=[
        (
            sample(arg(2, 3), (4,)),
            RuntimeError,
            r"Given normalized_shape=\[4\], expected input with shape \[\*, 4\]",
        ),
        (
            sample(arg(2, 3), (3,), arg(4)),
            RuntimeError,
            "Expected weight to be of same shape as normalized_shape",
        ),
        (sample(arg(2, 3), ()), RuntimeError, "Expected normalized_shape to be at least 1-dimensional"),
    ],
    namespace="nn.functional",
    method=False,
    also=("layer_norm",),
)
@one_step(mixes=True)
def layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Compute ``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions.

    Their extents are ``normalized_shape``.

    weight and bias have that shape.  RuntimeError where the input does not end in it.  Ba, Kiros & Hinton
    2016.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.layer_norm(accelgrad.tensor([[1.0, 3.0], [0.0, 4.0]]), (2,))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """
    width = _normalised("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return LayerNorm.apply(input, weight, bias, width=width, eps=eps)


def _group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    parts = x.reshape(x.shape[0], groups, -1)
    y = ((parts - parts.mean(2, keepdims=True)) / np.sqrt(parts.var(2, keepdims=True) + eps)).reshape(x.shape)
    beside = (-1,) + (1,) * (x.ndim - 2)
    return y * (1 if weight is None else weight.reshape(beside)) + (
        0 if bias is None else bias.reshape(beside)
    )


@op(
    primitive=LayerNorm,
    reference=_group_norm,
    samples=[
        sample(arg(2, 4, 3), 2, arg(4), arg(4)),
        sample(arg(2, 4), 2),
        sample(arg(2, 6, 2, 2), 3, arg(6), None, 1e-3),
        sample(arg(3, 4, 2), 4),
    ],
    errors=[
        (
            sample(arg(2, 4), 3),
            RuntimeError,
            "Expected number of channels in input to be divisible by num_groups",
        ),
        (
            sample(arg(2, 4), 2, arg(3)),
            RuntimeError,
            "Expected weight to be a vector of size equal to the number of",
        ),
    ],
    namespace="nn.functional",
    method=False,
    also=("group_norm",),
)
@one_step(mixes=True)
def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises groups of channels of each sample: input (n, c, ...), c / num_groups channels a group.

    Weight, bias (c,).

    RuntimeError where the channels cannot be divided so.  Wu & He 2018.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.group_norm(accelgrad.tensor([[1.0, 3.0, 10.0, 20.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    x = input.array
    if x.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {x.ndim}")
    if num_groups <= 0 or x.shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups,"
            f" but got input of shape {list(x.shape)} and num_groups={num_groups}"
        )
    for label, one in (("weight", weight), ("bias", bias)):
        if one is not None and one.array.shape != (x.shape[1],):
            raise RuntimeError(
                f"Expected {label} to be a vector of size equal to the number of channels in input,"
                f" but got {label} of shape {list(one.shape)} and input of shape {list(x.shape)}"
            )
    must_be_floating(x, "group_norm")
    width = product(x.shape[1:]) // num_groups
    return _affine(LayerNorm.apply(input, None, None, width=width, eps=eps), weight, bias)


class RmsNorm(Primitive):
    """y = x / sqrt(mean(x²) + eps), over the last ``dims`` dimensions"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, dims: int, eps: float) -> Any:
        rstd = _rstd(ctx.xp, x, dims, eps)[0]
        ctx.save_for_backward(x)
        ctx.keep(rstd)
        ctx.dims, ctx.eps = dims, eps
        return x * rstd

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        xp = ctx.xp
        (x,) = ctx.saved_tensors
        dims, eps = ctx.dims, ctx.eps
        (rstd,) = ctx.kept(lambda xp, x: _rstd(xp, x, dims, eps), x)
        normal = x * rstd
        axes = tuple(range(x.ndim - dims, x.ndim))
        return rstd * (grad - normal * xp.mean(grad * normal, axis=axes, keepdims=True))


def _rstd(xp: Any, x: Any, dims: int, eps: float) -> tuple[Any]:
    axes = tuple(range(x.ndim - dims, x.ndim))
    return (1 / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + eps),)


@op(
    primitive=RmsNorm,
    reference=lambda x, shape, w=None, eps=None: (
        x
        / np.sqrt(
            (x * x).mean(axis=tuple(range(x.ndim - len(shape), x.ndim)), keepdims=True)
            + (eps or np.finfo(x.dtype).eps)
        )
        * (1 if w is None else w)
    ),
    samples=[
        sample(arg(4, 3), (3,), arg(3)),
        sample(arg(2, 4, 3), (4, 3), arg(4, 3), 1e-3),
        sample(arg(5), [5]),
    ],
    errors=[
        (sample(arg(2, 3), (4,)), RuntimeError, r"Given normalized_shape=\[4\], expected input with shape")
    ],
    namespace="nn.functional",
    method=False,
    also=("rms_norm",),
)
@one_step(mixes=True)
def rms_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """``x / sqrt(mean(x²) + eps) * weight`` over the last dimensions.

    ``eps=None`` is the machine epsilon of the type.

    Zhang & Sennrich 2019, equation 4.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.rms_norm(accelgrad.tensor([[3.0, 3.0], [1.0, -1.0]]), (2,))
    tensor([[ 1.,  1.],
            [ 1., -1.]])
    """
    _normalised("rms_norm", input, normalized_shape, weight=weight)
    dims = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
    if eps is None:
        eps = dtypes.finfo(input.dtype).eps
    y = RmsNorm.apply(input, dims=dims, eps=eps)
    return y if weight is None else y * weight


# --- across channels


class NeighbourSum(Primitive):
    """y[:, c] = the sum of x[:, j] over the ``size`` channels around c, ``before`` of them below it"""

    @staticmethod
    def forward(ctx: Any, x: Any, *, size: int, before: int) -> Any:
        xp = ctx.xp
        ctx.size, ctx.before = size, before
        ends = ((0, 0), (before, size - 1 - before), *((0, 0),) * (x.ndim - 2))
        padded, channels = xp.pad(x, ends), x.shape[1]
        total = padded[:, :channels]
        for shift in range(1, size):
            total = total + padded[:, shift : shift + channels]
        return total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return ctx.xp.run(NeighbourSum, grad, size=ctx.size, before=ctx.size - 1 - ctx.before)


def _local_response(x, size, alpha=1e-4, beta=0.75, k=1.0):
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        low, high = max(c - size // 2, 0), min(c + (size - 1) // 2, x.shape[1] - 1)
        total[:, c] = (x[:, low : high + 1] ** 2).sum(axis=1)
    return x / (k + alpha / size * total) ** beta


@op(
    primitive=NeighbourSum,
    reference=_local_response,
    samples=[
        sample(arg(2, 5, 3), 3, 1.0),
        sample(arg(2, 4, 2, 2), 2, alpha=0.5, beta=0.6, k=2.0),
        sample(arg(1, 3, 2), 5),
    ],
    errors=[(sample(arg(2, 3), 2), ValueError, "Expected 3D or higher dimensionality input")],
    namespace="nn.functional",
    method=False,
)
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """``x / (k + alpha / size * sum of x² over size neighbouring channels) ** beta``: input (n, c, ...).

    Krizhevsky, Sutskever & Hinton 2012, section 3.3.

    >>> import accelgrad
    >>> from accelgrad.nn import functional as F
    >>> F.local_response_norm(accelgrad.ones(1, 1, 1), 1, alpha=3.0, beta=0.5)
    tensor([[[0.5000]]])
    """
    if input.ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if not input.array.size:
        return input
    x: Any = input
    return x / (NeighbourSum.apply(x * x, size=size, before=size // 2) * (alpha / size) + k) ** beta
