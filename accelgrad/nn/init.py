"""First values for parameters: each function fills a tensor in place, unseen by autograd, and returns it.

The tensor may have any floating point type and, where nothing else is said, any shape.  The random functions
draw from ``generator``, by default the one that ``accelgrad.manual_seed`` seeds.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.random import Generator, default_generator

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_",
    "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_",
    "zeros_",
]  # fmt: skip


def fill(tensor: Tensor, values: Any) -> Tensor:
    """Write host values (an array or a number) into the memory of ``tensor``, unseen by autograd."""
    tensor.array[...] = tensor.xp.from_host(values) if isinstance(values, np.ndarray) else values
    tensor._version[0] += 1
    return tensor


def _stream(generator: Generator | None) -> np.random.Generator:
    """NumPy's generator behind the given one, or behind the default one."""
    return (default_generator if generator is None else generator).numpy


# --- plain values


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws that are uniform in [a, b).

    >>> import accelgrad
    >>> w = uniform_(accelgrad.empty(2, 3), 1.0, 2.0)
    >>> bool((w >= 1).all()), bool((w < 2).all())
    (True, True)
    """
    kind = np.float64 if tensor.array.dtype == np.float64 else np.float32
    values = _stream(generator).random(tensor.array.shape, dtype=kind)
    return fill(tensor, a + (b - a) * values)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with draws from the normal distribution with ``mean`` and standard deviation ``std``.

    RuntimeError for a negative ``std``.

    >>> import accelgrad
    >>> w = normal_(accelgrad.empty(100, 100), mean=5.0)
    >>> bool(abs(w.mean() - 5) < 0.1), bool(abs(w.std() - 1) < 0.1)
    (True, True)
    """
    if std < 0:
        raise RuntimeError(f"normal_ expects std >= 0.0, but found std {std}")
    return fill(tensor, mean + std * _stream(generator).standard_normal(tensor.array.shape))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with draws from the normal distribution, drawn again where they fall outside [a, b].

    ValueError unless a <= b; a warning where ``mean`` is more than two ``std`` away from the bounds.

    >>> import accelgrad
    >>> w = trunc_normal_(accelgrad.empty(100, 100), std=2.0, a=-1.0, b=1.0)
    >>> bool((w.abs() <= 1).all())
    True
    """
    if a > b:
        raise ValueError(f"trunc_normal_ expects a <= b, got a={a} and b={b}")
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_."
            " The distribution of values may be incorrect.",
            stacklevel=2,
        )
    # Far in a tail, or in a narrow window, drawing again would take forever.
    stream = _stream(generator)
    if max((mean - b) / std, (a - mean) / std, 0.0) > 1.5 or (b - a) < 0.5 * std:
        values = _inverse_truncated(stream, tensor.array.shape, mean, std, a, b)
    else:
        values = mean + std * stream.standard_normal(tensor.array.shape)
        outside = (values < a) | (values > b)
        while outside.any():
            values[outside] = mean + std * stream.standard_normal(int(outside.sum()))
            outside = (values < a) | (values > b)
    return fill(tensor, values)


def _inverse_truncated(
    stream: np.random.Generator, shape: tuple[int, ...], mean: float, std: float, a: float, b: float
) -> np.ndarray:
    """Draws from the truncated normal distribution by the inverse of its distribution function."""
    standard = NormalDist()
    low, high = standard.cdf((a - mean) / std), standard.cdf((b - mean) / std)
    uniform = low + (high - low) * stream.random(shape)
    tiny = np.finfo(np.float64).tiny
    inverse = np.vectorize(standard.inv_cdf, otypes=[np.float64])
    values = mean + std * inverse(np.clip(uniform, tiny, 1 - 2.0**-53))
    return np.clip(values, a, b)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value.

    >>> import accelgrad
    >>> constant_(accelgrad.empty(2), 0.3)
    tensor([0.3000, 0.3000])
    """
    return fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones.

    >>> import accelgrad
    >>> ones_(accelgrad.empty(2))
    tensor([1., 1.])
    """
    return fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros.

    >>> import accelgrad
    >>> zeros_(accelgrad.empty(2))
    tensor([0., 0.])
    """
    return fill(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix (m, n) with ones on the diagonal and zeros elsewhere.

    ValueError for other than two dimensions.

    >>> import accelgrad
    >>> eye_(accelgrad.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return fill(tensor, np.eye(*tensor.array.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weight (out, in / groups, ...) of a convolution such that it passes its input channels on.

    Channel k of each group becomes channel k of the output, as far as there are such channels.  ValueError
    for other than 3 to 5 dimensions, and unless ``groups`` divides out.

    >>> import accelgrad
    >>> dirac_(accelgrad.empty(2, 1, 3))
    tensor([[[0., 1., 0.]],
    <BLANKLINE>
            [[0., 0., 0.]]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    shape = tensor.array.shape
    if shape[0] % groups:
        raise ValueError(f"dim 0 must be divisible by groups, got {shape[0]} and {groups}")
    values = np.zeros(shape)
    per_group = shape[0] // groups
    centre = tuple(extent // 2 for extent in shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, shape[1])):
            values[(group * per_group + channel, channel, *centre)] = 1
    return fill(tensor, values)


# --- scaled by the layer's width


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which the standard deviation of weights must grow to make up for a nonlinearity.

    ``param`` is the slope of "leaky_relu".  ValueError for a nonlinearity that is not known.

    >>> round(calculate_gain("relu"), 4), round(calculate_gain("leaky_relu", 0.2), 4)
    (1.4142, 1.3868)
    """
    linear = (
        "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    )  # fmt: skip
    if nonlinearity in linear or nonlinearity == "sigmoid":
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            param = 0.01
        elif isinstance(param, bool) or not isinstance(param, int | float):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + param**2))  # He et al. 2015, equation 15
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def _fans(tensor: Tensor) -> tuple[int, int]:
    """The fan in and fan out of a weight (out, in, *window).

    These are the number of inputs that an output sees, and the number of outputs that an input reaches.
    """
    shape = tensor.array.shape
    if len(shape) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


_calculate_fan_in_and_fan_out = _fans


def _fan(tensor: Tensor, mode: str) -> int:
    """The fan that ``mode`` names; ValueError for another mode."""
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _fans(tensor)[0 if mode == "fan_in" else 1]


def _warn_of_nothing(tensor: Tensor) -> bool:
    """Whether the tensor has no elements, with a warning if so."""
    if 0 in tensor.array.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws uniform in +-gain sqrt(6 / (fan_in + fan_out)).  Glorot & Bengio 2010, equation 16.

    For weights (out, in, ...); ValueError for fewer than two dimensions.

    >>> import accelgrad
    >>> bool((xavier_uniform_(accelgrad.empty(3, 3)).abs() <= 1).all())
    True
    """
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal draws of standard deviation gain sqrt(2 / (fan_in + fan_out)).

    Glorot & Bengio 2010.  For weights (out, in, ...); ValueError for fewer than two dimensions.

    >>> import accelgrad
    >>> bool(abs(xavier_normal_(accelgrad.empty(100, 100)).std() - 0.1) < 0.01)
    True
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with draws uniform in +-gain sqrt(3 / fan).  He et al. 2015.

    The gain is that of ``nonlinearity``, with ``a`` the slope of a leaky ReLU; fan is the one that ``mode``
    names, "fan_in" or "fan_out".  For weights (out, in, ...); ValueError for fewer than two dimensions and
    another mode or nonlinearity.

    >>> import accelgrad
    >>> bool((kaiming_uniform_(accelgrad.empty(3, 6), nonlinearity="relu").abs() <= 1).all())
    True
    """
    if _warn_of_nothing(tensor):
        return tensor
    bound = math.sqrt(3.0) * calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal draws of standard deviation gain / sqrt(fan).  He et al. 2015, equation 10.

    Arguments and errors as for :func:`kaiming_uniform_`.

    >>> import accelgrad
    >>> bool(abs(kaiming_normal_(accelgrad.empty(100, 200), nonlinearity="relu").std() - 0.1) < 0.01)
    True
    """
    if _warn_of_nothing(tensor):
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with ``gain`` times a random matrix with orthonormal rows or columns.

    Saxe, McClelland & Ganguli 2013.  A weight (out, in, ...) is read as a matrix with ``out`` rows.
    ValueError for fewer than two dimensions.

    >>> import accelgrad
    >>> w = orthogonal_(accelgrad.empty(3, 5))
    >>> accelgrad.allclose(w @ w.T, accelgrad.eye(3), atol=1e-5)
    True
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.array.size == 0:
        return tensor
    rows = tensor.array.shape[0]
    columns = tensor.array.size // rows
    drawn = _stream(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    # QR fixes the signs; without this the matrix would not be uniform.
    q = q * np.sign(np.diagonal(r))
    return fill(tensor, (gain * (q if rows >= columns else q.T)).reshape(tensor.array.shape))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with normal draws, and set the fraction ``sparsity`` of every column to zero.

    Martens 2010.  ``std`` is the standard deviation of the rest.  ValueError for other than two dimensions.

    >>> import accelgrad
    >>> (sparse_(accelgrad.empty(10, 3), sparsity=0.3) == 0).sum(0)
    tensor([3, 3, 3])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    stream = _stream(generator)
    rows, columns = tensor.array.shape
    values = std * stream.standard_normal((rows, columns))
    zeros = math.ceil(sparsity * rows)
    for column in range(columns):
        values[stream.permutation(rows)[:zeros], column] = 0
    return fill(tensor, values)


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its old name, without the underscore, which warns."""
    name = function.__name__[:-1]

    def old(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(
            f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning, stacklevel=2
        )
        return function(*args, **kwargs)

    old.__name__ = name
    old.__doc__ = f"The old name of :func:`{name}_`."
    return old


uniform, normal, constant = _deprecated(uniform_), _deprecated(normal_), _deprecated(constant_)
eye, dirac = _deprecated(eye_), _deprecated(dirac_)
xavier_uniform, xavier_normal = _deprecated(xavier_uniform_), _deprecated(xavier_normal_)
kaiming_uniform, kaiming_normal = _deprecated(kaiming_uniform_), _deprecated(kaiming_normal_)
orthogonal, sparse = _deprecated(orthogonal_), _deprecated(sparse_)
