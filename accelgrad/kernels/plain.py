"""The fused steps as plain formulas over an array module: what each kernel of that name stands for.

``xp.softmax(x)`` is ``plain.softmax(xp, x)`` unless a kernel takes it.  A formula here is three things at
once: the specification that the kernels are tested against, the way it is computed where no kernel is, and,
read over Tensors instead of arrays, the source of its own derivative.  So it uses operators and NumPy's
names only, and never writes into an array that it was given; the optimizers' steps, which are there to
write, are the exception (``update_all``, in :mod:`accelgrad.kernels.updates`).

>>> import types
>>> import numpy
>>> xp = types.SimpleNamespace(**vars(numpy))  # a Namespace of accelgrad.backend does this, and caches
>>> softmax(xp, numpy.zeros((1, 4)))
array([[0.25, 0.25, 0.25, 0.25]])
"""

from __future__ import annotations

import math
from typing import Any

from accelgrad.kernels.chains import (
    gelu,
    gelu_backward,
    relu_backward,
    running_average,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    tanh_backward,
)
from accelgrad.kernels.convolution import convolution, convolution_input, convolution_weight
from accelgrad.kernels.recurrent import (
    before_each_step,
    gru_steps,
    gru_steps_backward,
    lstm_steps,
    lstm_steps_backward,
)
from accelgrad.kernels.special import digamma, erf, erfc, erfinv, lgamma
from accelgrad.kernels.updates import total_norm, update_all

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "before_each_step",
    "causal_softmax",
    "col2im",
    "convolution",
    "convolution_input",
    "convolution_weight",
    "cross_entropy_total",
    "cross_entropy_total_backward",
    "digamma",
    "embedding_backward",
    "erf",
    "erfc",
    "erfinv",
    "gelu",
    "gelu_backward",
    "gru_steps",
    "gru_steps_backward",
    "im2col",
    "index_add",
    "keep_mask",
    "layer_norm",
    "layer_norm_backward",
    "later_keys",
    "lgamma",
    "linear",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "lstm_steps",
    "lstm_steps_backward",
    "masked_softmax",
    "max_pool2d",
    "max_pool2d_backward",
    "relu_backward",
    "rounded",
    "running_average",
    "scatter_add",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "tanh_backward",
    "total_norm",
    "update_all",
    "vector_norm",
]

Axis = int | tuple[int, ...] | None
Pair = int | tuple[int, int]


def rounded(xp: Any, x: Any, kind: Any) -> Any:
    """x in the NumPy dtype ``kind``, rounded to the nearest of its numbers."""
    return x.astype(kind)


# --- softmax and its family


def softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """``exp(x) / sum(exp(x))`` along ``axis``.

    The largest x is subtracted first, so that no exponential overflows.
    """
    if x.ndim and x.shape[axis] == 0:
        return xp.exp(x)  # nothing to normalise; max would refuse
    y = xp.exp(x - xp.max(x, axis=axis, keepdims=True)) if x.ndim else xp.exp(x - x)
    return y / xp.sum(y, axis=axis, keepdims=True) if x.ndim else y


def softmax_backward(xp: Any, grad: Any, y: Any, axis: int = -1) -> Any:
    """From ``y = softmax(x)``: ``y (grad - sum(grad y))``."""
    if not y.ndim:
        return grad * y - grad * y
    product = grad * y
    return product - y * xp.sum(product, axis=axis, keepdims=True)


def log_softmax(xp: Any, x: Any, axis: int = -1) -> Any:
    """``x - log(sum(exp(x)))`` along ``axis``."""
    if not x.ndim:
        return x - x
    if x.shape[axis] == 0:
        return xp.exp(x)
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def log_softmax_backward(xp: Any, grad: Any, y: Any, axis: int = -1) -> Any:
    """From ``y = log_softmax(x)``: ``grad - exp(y) sum(grad)``."""
    if not y.ndim:
        return grad - xp.exp(y) * grad
    return grad - xp.exp(y) * xp.sum(grad, axis=axis, keepdims=True)


def logsumexp(xp: Any, x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over ``axis``: -inf over nothing or over -inf only, +inf where x holds +inf."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    if any(x.shape[i] == 0 for i in axes):
        return xp.sum(x, axis=axis, keepdims=keepdims) - math.inf
    largest = xp.max(x, axis=axis, keepdims=True)
    finite = xp.isfinite(largest)
    # An infinite maximum is itself the answer; it is taken out of the way before inf - inf can be formed.
    shifted = x - xp.where(finite, largest, 0)
    total = xp.sum(xp.exp(xp.where(finite, shifted, 0)), axis=axis, keepdims=True)
    value = xp.where(finite, xp.log(total) + largest, largest)
    if keepdims or not x.ndim:
        return value
    return xp.reshape(value, tuple(n for i, n in enumerate(x.shape) if i not in {j % x.ndim for j in axes}))


def softmax_cross_entropy(xp: Any, x: Any, target: Any) -> tuple[Any, Any]:
    """Return the loss of each row, ``lse - x[target]``, and ``lse = log(sum(exp(x)))``.

    x (n, c), target (n,); both results are (n,).

    The targets must lie in 0 ... c - 1.
    """
    lse = logsumexp(xp, x, axis=1)  # (n,)
    chosen = xp.take_along_axis(x, xp.expand_dims(target, 1), axis=1)  # (n, 1)
    return lse - xp.squeeze(chosen, axis=1), lse


def softmax_cross_entropy_backward(xp: Any, grad: Any, x: Any, target: Any, lse: Any) -> Any:
    """``grad (softmax(x) - one_hot(target))``: grad, target and lse (n,), x and the result (n, c)."""
    probability = xp.exp(x - xp.expand_dims(lse, 1))
    hit = xp.expand_dims(target, 1) == xp.arange(x.shape[1])
    return xp.expand_dims(grad, 1) * xp.where(hit, probability - 1, probability)


def later_keys(xp: Any, queries: int, keys: int) -> Any:
    """(queries, keys): True where a key comes after the query."""
    return xp.expand_dims(xp.arange(queries), 1) < xp.arange(keys)


def masked_softmax(xp: Any, scores: Any, hidden: Any) -> Any:
    """The softmax of every row of scores (..., l, s), in which what is ``hidden`` (True) has no part.

    A row that is hidden as a whole is 0.
    """
    # -inf in a whole row would make NaN; a finite number this low is 0 after the softmax beside any other.
    weights = xp.softmax(xp.where(hidden, -1e30, scores), axis=-1)
    return xp.where(hidden, 0.0, weights)


def causal_softmax(xp: Any, scores: Any) -> Any:
    """:func:`masked_softmax` where each query sees the keys up to its own place: scores (..., l, s)."""
    return masked_softmax(xp, scores, later_keys(xp, *scores.shape[-2:]))


def cross_entropy_total(xp: Any, x: Any, target: Any, ignore_index: int, mean: bool) -> tuple[Any, Any, Any]:
    """Sum the losses of :func:`softmax_cross_entropy`, without the rows whose target is ``ignore_index``.

    With ``mean`` the sum is divided by how many rows are left.

    x (n, c), target (n,).  Gives the total, the lse (n,), and what each loss was multiplied with: None, or a
    0-d array (0 where no row is left: then the mean is NaN).  On a card, which is not asked, a target outside
    of the classes makes the total NaN.
    """
    counted = target != ignore_index
    losses, lse = xp.softmax_cross_entropy(x, xp.where(counted, target, 0))
    total = xp.sum(xp.where(counted, losses, 0))
    if not mean:
        return total, lse, None
    count = xp.sum(counted.astype(x.dtype))
    return total / count, lse, xp.where(count > 0, 1 / count, 0)


def cross_entropy_total_backward(
    xp: Any, grad: Any, x: Any, target: Any, lse: Any, scale: Any, ignore_index: int
) -> Any:
    """``grad scale (softmax(x) - one_hot(target))`` in the rows that count, 0 in the others.

    ``grad`` is 0-d, the result (n, c).
    """
    counted = target != ignore_index
    share = xp.where(counted, grad if scale is None else grad * scale, 0)
    return xp.softmax_cross_entropy_backward(share, x, xp.where(counted, target, 0), lse)


def vector_norm(xp: Any, x: Any, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    """``sum(|x|^ord)^(1 / ord)`` over ``axis``.

    ``ord`` 0 counts what is not zero, inf and -inf are max and min of |x|.
    """
    if ord == 2:
        return xp.sqrt(xp.sum(x * x, axis=axis, keepdims=keepdims))
    if ord == 0:
        return xp.sum(xp.where(x != 0, x * 0 + 1, x * 0), axis=axis, keepdims=keepdims)
    size = xp.abs(x)
    if ord == 1:
        return xp.sum(size, axis=axis, keepdims=keepdims)
    if ord == math.inf:
        return xp.max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return xp.min(size, axis=axis, keepdims=keepdims)
    return xp.sum(size**ord, axis=axis, keepdims=keepdims) ** (1 / ord)


# --- layers and their norms


def linear(xp: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight.T + bias``: x (..., in), weight (out, in), bias (out,) or None; (..., out)."""
    if x.ndim > 2 and weight.ndim == 2 and x.size:  # one large product instead of many small ones
        rows = xp.matmul(xp.reshape(x, (-1, x.shape[-1])), xp.swapaxes(weight, 0, 1))
        y = xp.reshape(rows, (*x.shape[:-1], weight.shape[0]))
    else:
        y = xp.matmul(x, xp.swapaxes(weight, -1, -2) if weight.ndim > 1 else weight)
    return y if bias is None else y + bias


def layer_norm(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """``(x - mean) rstd weight + bias`` with each row's own mean and ``rstd = 1 / sqrt(variance + eps)``.

    x (rows, width), weight and bias (width,) or None.  Gives y, mean (rows, 1) and rstd (rows, 1).
    Ba, Kiros & Hinton 2016, equation 3.
    """
    mean = xp.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    rstd = 1 / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + eps)
    y = centred * rstd
    if weight is not None:
        y = y * weight
    return (y if bias is None else y + bias), mean, rstd


def layer_norm_backward(
    xp: Any, grad: Any, x: Any, weight: Any, mean: Any, rstd: Any
) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias; the last two also where weight or bias were None.

    With ``h = (x - mean) rstd`` and ``g = grad weight``: ``rstd (g - mean(g) - h mean(g h))``.  For a second
    derivative mean and rstd must be known as functions of x, not as constants.
    """
    normal = (x - mean) * rstd
    g = grad if weight is None else grad * weight
    gx = rstd * (
        g - xp.mean(g, axis=-1, keepdims=True) - normal * xp.mean(g * normal, axis=-1, keepdims=True)
    )
    return gx, xp.sum(grad * normal, axis=0), xp.sum(grad, axis=0)


def _by_channel(xp: Any, v: Any) -> Any:
    return xp.reshape(v, (1, v.shape[0], 1))


def batch_norm(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any, Any]:
    """``(x - mean) rstd weight + bias`` with the mean and variance of each channel over the batch.

    x (n, c, length), weight and bias (c,) or None.  Gives y, mean, the biased variance and
    ``rstd = 1 / sqrt(var + eps)``, each (c,).  Ioffe & Szegedy 2015, Algorithm 1.
    """
    mean = xp.mean(x, axis=(0, 2))
    centred = x - _by_channel(xp, mean)
    var = xp.mean(centred * centred, axis=(0, 2))
    rstd = 1 / xp.sqrt(var + eps)
    y = centred * _by_channel(xp, rstd if weight is None else rstd * weight)
    return (y if bias is None else y + _by_channel(xp, bias)), mean, var, rstd


def batch_norm_backward(
    xp: Any, grad: Any, x: Any, weight: Any, mean: Any, rstd: Any
) -> tuple[Any, Any, Any]:
    """The gradients of x, weight and bias of :func:`batch_norm`; see :func:`layer_norm_backward`."""
    count = max(x.shape[0] * x.shape[2], 1)
    normal = (x - _by_channel(xp, mean)) * _by_channel(xp, rstd)
    gbias = xp.sum(grad, axis=(0, 2))
    gweight = xp.sum(grad * normal, axis=(0, 2))
    scale = rstd if weight is None else rstd * weight
    gx = _by_channel(xp, scale) * (
        grad - _by_channel(xp, gbias / count) - normal * _by_channel(xp, gweight / count)
    )
    return gx, gweight, gbias


# --- windows over an image


def pair(value: Pair) -> tuple[int, int]:
    """``3`` and ``(3, 3)`` mean the same."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool = False) -> int:
    """How many windows fit along one side.

    With ``ceil_mode`` also a last one that begins inside but ends outside.
    """
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (free + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1  # it would begin in the padding on the right
    return max(count, 0)


def im2col(xp: Any, x: Any, kernel: Pair, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1) -> Any:
    """The windows that a convolution sees, one a column: x (n, c, h, w) gives (n, c * kh * kw, oh * ow).

    ``out[n, (c, i, j), (p, q)] = padded x[n, c, p * stride + i * dilation, q * stride + j * dilation]``
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    n, c, h, w = x.shape
    oh, ow = windows(h, kh, sh, ph, dh), windows(w, kw, sw, pw, dw)
    if ph or pw:
        x = xp.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    taps = [
        x[:, :, i * dh : i * dh + (oh - 1) * sh + 1 : sh, j * dw : j * dw + (ow - 1) * sw + 1 : sw]
        if oh and ow
        else x[:, :, :0, :0]
        for i in range(kh)
        for j in range(kw)
    ]
    return xp.reshape(xp.stack(taps, axis=2), (n, c * kh * kw, oh * ow))


def _spread(xp: Any, x: Any, axis: int, stride: int, before: int, size: int) -> Any:
    """Put element k of x at ``before + k * stride`` along ``axis``, with zeros between.

    The result is cut or filled to ``size``.
    """
    shape = x.shape
    axis %= x.ndim
    count = shape[axis]
    if stride > 1:
        x = xp.pad(
            xp.expand_dims(x, axis + 1), [(0, (stride - 1) * (i == axis + 1)) for i in range(len(shape) + 1)]
        )
        x = xp.reshape(x, (*shape[:axis], count * stride, *shape[axis + 1 :]))
    after = size - before - count * stride
    if after < 0:
        x = x[(slice(None),) * axis + (slice(0, count * stride + after),)]
    return xp.pad(x, [(before, max(after, 0)) if i == axis else (0, 0) for i in range(len(shape))])


def col2im(
    xp: Any,
    columns: Any,
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Any:
    """Add every column back to where its window lay: the adjoint of :func:`im2col`.

    The result has ``shape`` (n, c, h, w).
    """
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding), pair(dilation)
    n, c, h, w = shape
    oh, ow = windows(h, kh, sh, ph, dh), windows(w, kw, sw, pw, dw)
    if not (n and c and oh and ow):
        return xp.zeros(shape, dtype=columns.dtype)
    x = xp.reshape(columns, (n, c, kh, kw, oh, ow))
    # First along the width, then along the height: kh + kw sums instead of kh * kw.
    rows = sum(
        _spread(xp, x[:, :, :, j], -1, sw, j * dw, w + 2 * pw) for j in range(kw)
    )  # (n, c, kh, oh, w + 2 pw)
    image = sum(_spread(xp, rows[:, :, i], -2, sh, i * dh, h + 2 * ph) for i in range(kh))
    return image[:, :, ph : ph + h, pw : pw + w] if ph or pw else image


def _positions(xp: Any, size: int, count: int, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    """The positions (count, kernel) that the windows look at.

    One outside the image is replaced by the nearest one inside its own window, which changes neither the
    maximum nor where it is first found.
    """
    start = xp.expand_dims(xp.arange(count) * stride - padding, 1)
    first = start + (-xp.minimum(start, 0) + dilation - 1) // dilation * dilation
    last = start + xp.minimum(dilation * (kernel - 1), (size - 1 - start) // dilation * dilation)
    return xp.clip(start + xp.expand_dims(xp.arange(kernel) * dilation, 0), first, last)


def max_pool2d(
    xp: Any,
    x: Any,
    kernel: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Any, Any]:
    """Return the largest value of every window, and its flat position in the image.

    x (n, c, h, w); both results are (n, c, oh, ow).

    Of equal values the first is taken, row by row; NaN counts as the largest.
    """
    (kh, kw), (ph, pw), (dh, dw) = pair(kernel), pair(padding), pair(dilation)
    sh, sw = pair(kernel if stride is None else stride)
    n, c, h, w = x.shape
    oh, ow = windows(h, kh, sh, ph, dh, ceil_mode), windows(w, kw, sw, pw, dw, ceil_mode)
    if not (n and c and oh and ow):
        return xp.zeros((n, c, oh, ow), dtype=x.dtype), xp.zeros((n, c, oh, ow), dtype="int64")
    rows = _positions(xp, h, oh, kh, sh, ph, dh)  # (oh, kh)
    columns = _positions(xp, w, ow, kw, sw, pw, dw)  # (ow, kw)
    seen = xp.take(xp.take(x, xp.reshape(rows, (-1,)), axis=2), xp.reshape(columns, (-1,)), axis=3)
    seen = xp.transpose(xp.reshape(seen, (n, c, oh, kh, ow, kw)), (0, 1, 2, 4, 3, 5))
    seen = xp.reshape(seen, (n, c, oh, ow, kh * kw))
    tap = xp.expand_dims(xp.argmax(seen, axis=-1), -1)
    place = xp.reshape(rows, (oh, 1, kh, 1)) * w + xp.reshape(columns, (1, ow, 1, kw))
    place = xp.broadcast_to(xp.reshape(place, (1, 1, oh, ow, kh * kw)), seen.shape)
    return (
        xp.squeeze(xp.take_along_axis(seen, tap, axis=-1), axis=-1),
        xp.squeeze(xp.take_along_axis(place, tap, axis=-1), axis=-1),
    )


def max_pool2d_backward(
    xp: Any, grad: Any, indices: Any, input_shape: tuple[int, ...], window: dict[str, Any] | None = None
) -> Any:
    """Adds each gradient at the position that :func:`max_pool2d` found: grad, indices (n, c, oh, ow).

    The result is (n, c, h, w).

    ``window`` holds the options of that call, where it was one: a kernel may look by them.
    """
    n, c, h, w = input_shape
    planes = (n * c, grad.shape[2] * grad.shape[3])
    image = xp.zeros((n * c, h * w), dtype=grad.dtype)
    return xp.reshape(
        xp.scatter_add(image, 1, xp.reshape(indices, planes), xp.reshape(grad, planes)), input_shape
    )


# --- adding by an index


def index_add(xp: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    """``x`` with ``source``'s slice k added to slice ``index[k]`` along ``dim``; repeated indices add up.

    Over arrays only: among Tensors the name means the operation of the same signature.
    """
    result = xp.array(x)
    xp.add.at(result, (slice(None),) * (dim % x.ndim) + (index,), source)
    return result


def scatter_add(xp: Any, x: Any, dim: int, index: Any, source: Any) -> Any:
    """``x`` with ``source[i, j]`` added to ``x[i, index[i, j]]`` (for two dimensions and dim = 1).

    Repeats add up.

    Over arrays only: among Tensors the name means the operation of the same signature.
    """
    result = xp.array(x)
    dim %= x.ndim
    where = [
        index if i == dim else xp.reshape(xp.arange(n), (1,) * i + (n,) + (1,) * (x.ndim - 1 - i))
        for i, n in enumerate(index.shape)
    ]
    xp.add.at(result, tuple(where), source[tuple(slice(0, n) for n in index.shape)])
    return result


def embedding_backward(xp: Any, grad: Any, indices: Any, rows: int) -> Any:
    """The gradient of a table of which ``table[indices]`` was taken: grad (n, d), indices (n,); (rows, d)."""
    return xp.index_add(xp.zeros((rows, grad.shape[1]), dtype=grad.dtype), 0, indices, grad)


# --- dropout


def keep_mask(xp: Any, like: Any, shape: tuple[int, ...], p: float, generator: Any) -> Any:
    """True with probability ``1 - p``, on the device of ``xp``: 32 bits an element from a NumPy generator.

    ``like`` is an array beside which the mask will lie; a kernel on a card draws the same bits there.
    """
    return xp.from_host(generator.integers(0, 2**32, shape, dtype="uint32") >= math.ceil(p * 2**32))
