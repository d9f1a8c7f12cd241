"""What stands alone: index_reduce, renorm, unravel_index, histogram, frexp, nonzero_static, sum_to_size,
fill_diagonal_; and what complex numbers make of real ones: real, conj, angle, adjoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core import graph
from accelgrad.core.inplace import assign
from accelgrad.core.primitive import unbroadcast
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import OPS, arg, op, sample
from accelgrad.ops.registry.checks import title
from accelgrad.ops.registry.dims import sizes, wrap_dim
from accelgrad.ops.registry.return_types import named
from accelgrad.ops.shapes.gather import check_source, slices

_HISTOGRAM = named("histogram", "hist", "bin_edges")
_FREXP = named("frexp", "mantissa", "exponent")

_ROWS = arg(4, dtype="int64", values=[0, 2, 2, 1])
_TO_ROWS = (arg(3, 2, low=0.5), 0, _ROWS, arg(4, 2, low=0.5))


@op(
    samples=[
        sample(arg(3, 2, low=0.5), 0, _ROWS, arg(4, 2, low=0.5), "prod"),
        sample(arg(3, 2, low=0.5), 0, _ROWS, arg(4, 2, low=0.5), "mean"),
        sample(*_TO_ROWS, "amax"),
        sample(*_TO_ROWS, "amin", include_self=False),
        sample(arg(2, 3, low=0.5), 1, _ROWS, arg(2, 4, low=0.5), "mean", include_self=False),
    ],
    errors=[
        (sample(*_TO_ROWS, "sum"), RuntimeError, r"index_reduce\(\): Expected reduce to be one of"),
        (
            sample(arg(3, 2), 0, arg(2, dtype="int64", values=[0, 1]), arg(4, 2), "prod"),
            RuntimeError,
            "Number of indices",
        ),
    ],
    inplace=True,
)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """``input`` with slice ``index[k]`` of ``dim`` reduced with slice k of ``source``.

    ``reduce``: "prod", "mean", "amax" or "amin"; the slice of ``input`` takes part if ``include_self``.

    >>> import accelgrad
    >>> i = accelgrad.tensor([0, 0])
    >>> accelgrad.index_reduce(accelgrad.ones(2), 0, i, accelgrad.tensor([2.0, 3.0]), "prod")
    tensor([6., 1.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}."
        )
    if input.array.ndim == 0 == source.array.ndim:
        line = index_reduce(
            input.reshape(1), dim, index, source.reshape(1), reduce, include_self=include_self
        )  # fmt: skip
        return line.reshape(())
    dim, array = slices("index_reduce", input, dim, index, RuntimeError)
    check_source("index_reduce_", input, dim, array, source)
    raw = input.xp
    shape = [1] * source.array.ndim
    shape[dim] = array.size
    spread = raw.broadcast_to(raw.reshape(array, tuple(shape)), source.array.shape)
    return OPS["scatter_reduce"].call(
        input, dim, wrap(raw.ascontiguousarray(spread), raw), source, reduce, include_self=include_self
    )


def _numpy_renorm(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    axes = tuple(i for i in range(x.ndim) if i != dim % x.ndim)
    norms = (np.abs(x) ** p).sum(axis=axes, keepdims=True) ** (1 / p)
    return x * np.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1)


@op(
    reference=_numpy_renorm,
    samples=[sample(arg(3, 4), 2, 0, 1.5), sample(arg(2, 3, 2), 1, -1, 2.0), sample(arg(2, 3), 3.0, 1, 0.5)],
    errors=[
        (sample(arg(3), 2, 0, 1.0), RuntimeError, "renorm: input needs at least 2 dimensions, got 1"),
        (sample(arg(3, 2), -1, 0, 1.0), RuntimeError, "renorm: non-positive-norm not supported"),
        (sample(arg(3, 2), 1, 0, -1.0), RuntimeError, "renorm: expected maxnorm to be >= 0 but got -1"),
    ],
    inplace=True,
)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Every slice along ``dim`` shortened to the p-norm ``maxnorm``, where it is longer.

    >>> import accelgrad
    >>> accelgrad.renorm(accelgrad.tensor([[3.0, 4.0], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    if input.array.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.array.ndim} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    kept = wrap_dim(dim, input.array.ndim)
    axes = tuple(i for i in range(input.array.ndim) if i != kept)
    norms = OPS["linalg.vector_norm"].call(input, p, axes, keepdim=True)
    longer = wrap(norms.array > maxnorm, input.xp)
    return input * OPS["where"].call(longer, maxnorm / (norms + 1e-7), 1.0)


@op(
    reference=lambda indices, shape: tuple(np.unravel_index(indices, shape)),
    samples=[
        sample(arg(3, dtype="int64", values=[0, 3, 11]), (3, 4)),
        sample(arg(2, 2, dtype="int64", values=[[0, 5], [7, 23]]), (2, 3, 4)),
        sample(arg(dtype="int64", values=5), 6),
    ],
    errors=[
        (sample(arg(2), (2, 2)), ValueError, "expected 'indices' to be integer dtype"),
        (
            sample(arg(1, dtype="int64", values=[1]), (2, -1)),
            ValueError,
            "'shape' cannot have negative values",
        ),
    ],
    differentiable=False,
    method=False,
    out=False,
)
def unravel_index(indices: Tensor, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates of flat ``indices`` in an array of ``shape``, a tensor for each dimension.

    >>> import accelgrad
    >>> accelgrad.unravel_index(accelgrad.tensor([3, 11]), (3, 4))
    (tensor([0, 2]), tensor([3, 3]))
    """
    if indices.array.dtype.kind not in "iu":
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    extents = sizes((shape,))
    if any(extent < 0 for extent in extents):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(extents)}")
    raw, rest = indices.xp, indices.array.astype("int64")
    places = []
    for extent in reversed(extents):
        places.append(wrap(raw.asarray(rest % extent), raw))
        rest = rest // extent
    return tuple(reversed(places))


@op(
    samples=[
        sample(arg(20), 5),
        sample(arg(20), bins=4, range=(-1.0, 1.0)),
        sample(arg(2, 5), bins=4, range=(-1.0, 1.0), density=True),
        sample(arg(20), bins=arg(4, values=[-2.0, -0.5, 0.5, 2.0], requires_grad=False)),
        sample(arg(6), bins=3, weight=arg(6, low=0, high=1)),
    ],
    errors=[
        (sample(arg(3), 0), RuntimeError, "bins must be > 0, but got 0"),
        (sample(arg(3, dtype="int64"), 2), NotImplementedError, "not implemented for 'Long'"),
    ],
    differentiable=False,
    out=False,
)
def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """How many elements (or how much ``weight``) fall between the edges: a named tuple (hist, bin_edges).

    ``bins`` is their number, over ``range`` or the range of the input, or the edges.  With ``density`` the
    areas sum to 1.  The last bin includes its right edge.

    >>> import accelgrad
    >>> accelgrad.histogram(accelgrad.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
    tensor([0., 2., 1., 0.])
    """
    array, raw = input.array, input.xp
    if array.dtype.kind != "f":
        raise NotImplementedError(
            f"\"histogram_cpu\" not implemented for '{title(array)}'; convert it with .float()"
        )
    if isinstance(bins, Tensor):
        edges = bins.array
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
        low, high = range if range is not None else (0.0, 1.0)
        if range is None and array.size:
            low, high = float(array.min()), float(array.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = raw.linspace(low, high, bins + 1, dtype=array.dtype)
    values = raw.reshape(array, (-1,))
    amounts = None if weight is None else raw.reshape(weight.array, (-1,)).astype(array.dtype)
    counts, _ = raw.histogram(values, bins=edges, weights=amounts)
    counts = counts.astype(array.dtype)
    if density:
        counts = counts / (raw.sum(counts) * (edges[1:] - edges[:-1]))
    return _HISTOGRAM(wrap(counts.astype(array.dtype), raw), wrap(raw.copy(edges), raw))


@op(
    reference=lambda x: tuple(np.frexp(x)),
    samples=[sample(arg(2, 3)), sample(arg(3, values=[9.0, 0.3, -5.0])), sample(arg())],
    errors=[(sample(arg(2, dtype="int64")), RuntimeError, r"torch.frexp\(\) only supports floating-point")],
    out=False,
)
def frexp(input: Tensor) -> Any:
    """``input = mantissa 2^exponent`` with 0.5 <= |mantissa| < 1: a named tuple (mantissa, exponent).

    >>> import accelgrad
    >>> accelgrad.frexp(accelgrad.tensor([8.0])).exponent
    tensor([4], dtype=accelgrad.int32)
    """
    if not input.is_floating_point():
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, got {input.dtype}")
    raw = input.xp
    _, exponent = raw.frexp(input.array)
    exponent = raw.asarray(exponent, dtype="int32")
    scale = wrap(raw.asarray(2.0 ** -exponent.astype("float64"), dtype=input.array.dtype), raw)
    return _FREXP(input * scale, wrap(exponent, raw))


@op(
    samples=[
        sample(arg(3, values=[1.0, 0.0, 2.0], requires_grad=False), size=4),
        sample(arg(2, 2, values=[[1.0, 0.0], [0.0, 2.0]], requires_grad=False), size=1),
        sample(arg(2, values=[0.0, 0.0], requires_grad=False), size=2, fill_value=7),
    ],
    errors=[(sample(arg(2), size=-1), RuntimeError, "nonzero_static: 'size' must be an non-negative")],
    differentiable=False,
    out=False,
)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """:func:`accelgrad.nonzero` in exactly ``size`` rows: cut off, or filled up with ``fill_value``.

    >>> import accelgrad
    >>> accelgrad.nonzero_static(accelgrad.tensor([1, 0, 2]), size=3).tolist()
    [[0], [2], [-1]]
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = OPS["nonzero"].call(input).array[:size]
    raw = input.xp
    rest = raw.full((size - found.shape[0], input.array.ndim), fill_value, dtype="int64")
    return wrap(raw.concatenate([found, rest], axis=0), raw)


@op(
    samples=[
        sample(arg(2, 3), 1, 3),
        sample(arg(2, 3), (3,)),
        sample(arg(4, 2, 3), (2, 1)),
        sample(arg(2, 3), 2, 3),
    ],
    errors=[(sample(arg(2, 3), 2, 2), RuntimeError, "is not expandable to size")],
    out=False,
    torch="Tensor.sum_to_size",
)
def sum_to_size(input: Tensor, *size: int | Sequence[int]) -> Tensor:
    """The sum over the dimensions that an expansion from ``size`` to the input's shape stretches.

    >>> import accelgrad
    >>> accelgrad.ones(2, 3).sum_to_size(1, 3)
    tensor([[2., 2., 2.]])
    """
    from accelgrad.core import primitive

    wanted = sizes(size)
    if not wanted:
        return OPS["sum"].call(input)
    try:
        return unbroadcast(primitive.reading, input, wanted)
    except (RuntimeError, IndexError):
        raise RuntimeError(
            f"size {{{list(wanted)}}} is not expandable to size {{{list(input.array.shape)}}}."
        ) from None


@op(
    samples=[
        sample(arg(3, 3, requires_grad=False), 5.0),
        sample(arg(7, 3, requires_grad=False), 5, wrap=True),
        sample(arg(2, 4, requires_grad=False), 1.0),
        sample(arg(2, 2, 2, requires_grad=False), 1.0),
    ],
    errors=[
        (sample(arg(3), 1), RuntimeError, "dimensions must larger than 1"),
        (sample(arg(2, 3, 2), 1), RuntimeError, "all dimensions of input must be of equal length"),
    ],
    differentiable=False,
    torch="Tensor.fill_diagonal_",
)
def fill_diagonal_(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """The main diagonal set to ``fill_value``, in place; ``wrap`` begins anew below it in tall matrices.

    >>> import accelgrad
    >>> accelgrad.zeros(2, 3).fill_diagonal_(1.0)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    shape = input.array.shape
    if len(shape) < 2:
        raise RuntimeError(f"dimensions must larger than 1, got {len(shape)}")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError(f"all dimensions of input must be of equal length, got {list(shape)}")
    size = min(shape)
    places = [(i,) * len(shape) for i in range(size)]
    if wrap and len(shape) == 2:
        for start in range(size + 1, shape[0], size + 1):
            places += [(start + i, i) for i in range(min(size, shape[0] - start))]
    raw = input.xp
    index = tuple(raw.from_host(np.array(one, dtype=np.int64)) for one in zip(*places, strict=True))
    if places:
        input[index] = fill_value
    return input


@op(
    samples=[sample(arg(3, values=[1.0, 2.0, 0.5], dtype="float64"), 3.0)],
    errors=[
        (
            sample(arg(2, dtype="float32"), 2),
            RuntimeError,
            "the base given to float_power_ has dtype Float but the operation's result requires dtype Double",
        )
    ],
    differentiable=False,
    torch="Tensor.float_power_",
)
def float_power_(input: Tensor, exponent: Any) -> Tensor:
    """:func:`accelgrad.float_power` in place, of float64.

    >>> import accelgrad
    >>> accelgrad.tensor([2.0], dtype=accelgrad.float64).float_power_(3)
    tensor([8.], dtype=accelgrad.float64)
    """
    if input.array.dtype != "float64":
        raise RuntimeError(
            f"the base given to float_power_ has dtype {title(input.array)} but the operation's result"
            " requires dtype Double"
        )
    since = graph.now()
    return assign(input, OPS["float_power"].call(input, exponent), since)


# --- of complex numbers, the real


@op(
    reference=np.conj,
    samples=[sample(arg(2, 3)), sample(arg())],
    out=False,
    aliases=("conj_physical", "resolve_conj", "resolve_neg"),
)
def conj(input: Tensor) -> Tensor:
    """The conjugate of real numbers: the tensor itself.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> x.conj() is x
    True
    """
    return input


@op(reference=np.real, samples=[sample(arg(2, 3)), sample(arg())], out=False, method=False)
def real(input: Tensor) -> Tensor:
    """The real part of real numbers: the tensor itself, as is ``x.real``.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> accelgrad.real(x) is x and x.real is x
    True
    """
    return input


@op(
    reference=np.angle,
    samples=[sample(arg(2, 3)), sample(arg(3, dtype="int64", values=[1, -1, 0]))],
)
def angle(input: Tensor) -> Tensor:
    """pi for negative numbers, 0 for others, NaN for NaN: the angle to the positive numbers.

    >>> import accelgrad
    >>> accelgrad.angle(accelgrad.tensor([1.0, -1.0]))
    tensor([0.0000, 3.1416])
    """
    raw, array = input.xp, input.array
    kind = array.dtype if input.is_floating_point() else "float32"
    constant = wrap(raw.asarray(raw.where(array < 0, math.pi, 0.0), dtype=kind), raw)
    return constant + input * 0 if input.is_floating_point() else constant


@op(
    reference=lambda x: np.swapaxes(x, -1, -2),
    samples=[sample(arg(2, 3)), sample(arg(2, 3, 4))],
    errors=[(sample(arg(3)), RuntimeError, r"tensor.adjoint\(\) is only supported on matrices or batches")],
    out=False,
)
def adjoint(input: Tensor) -> Tensor:
    """Matrices (..., m, n) transposed, as a view.

    >>> import accelgrad
    >>> accelgrad.adjoint(accelgrad.zeros(2, 3)).shape
    accelgrad.Size([3, 2])
    """
    if input.array.ndim < 2:
        raise RuntimeError(
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got"
            f" {input.array.ndim}-D tensor."
        )
    return OPS["transpose"].call(input, -2, -1)


@op(samples=[sample(arg(1)), sample(arg(values=0.0))], differentiable=False, out=False)
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0; RuntimeError for several.

    >>> import accelgrad
    >>> accelgrad.is_nonzero(accelgrad.tensor([2.0]))
    True
    """
    return bool(input)


@op(samples=[sample(arg(2), arg(2)), sample(arg(2), arg(1, 2))], differentiable=False, out=False)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape.

    >>> import accelgrad
    >>> accelgrad.is_same_size(accelgrad.ones(2), accelgrad.zeros(2))
    True
    """
    return input.array.shape == other.array.shape


@op(
    reference=lambda x, value: np.full_like(x, value),
    samples=[sample(arg(2, 3), 1.5), sample(arg(2, 3), arg()), sample(arg(2, dtype="int64"), 3)],
    method=False,
    out=False,
)
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like ``input`` with ``value`` (a number or a 0-d tensor) everywhere.

    >>> import accelgrad
    >>> accelgrad.fill(accelgrad.ones(2), 3)
    tensor([3., 3.])
    """
    return OPS["fill_"].call(OPS["clone"].call(input), value)


def _is_cpu(self: Tensor) -> bool:
    """Whether it lives in the memory of the processor."""
    return not self.is_cuda


def _real(self: Tensor) -> Tensor:
    """The real part: the tensor itself."""
    return self


def _imag(self: Tensor) -> Tensor:
    """RuntimeError: real numbers have no imaginary part in memory."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


for _name, _getter in (("is_cpu", _is_cpu), ("real", _real), ("imag", _imag)):
    setattr(Tensor, _name, property(_getter))
