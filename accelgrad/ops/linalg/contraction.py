"""Products of many dimensions and of many matrices: tensordot, kron, cross, chain_matmul."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.ops.linalg.product import Matmul, matmul
from accelgrad.ops.pointwise.arithmetic import Mul
from accelgrad.ops.reductions.reduce import sum
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import wrap_dim, wrap_dims
from accelgrad.ops.shapes.join import stack, unbind
from accelgrad.ops.shapes.shape import permute, reshape


def _tensordot_reference(x: Any, y: Any, dims: Any = 2) -> Any:
    return np.tensordot(x, y, dims)


@op(
    primitive=Matmul,
    reference=_tensordot_reference,
    samples=[
        sample(arg(2, 3, 4), arg(3, 4, 2)),
        sample(arg(2, 3), arg(3, 4), 1),
        sample(arg(2, 3), arg(2), 0),
        sample(arg(2, 3, 4), arg(4, 2), ([0, -1], [1, 0])),
    ],
    errors=[
        (
            sample(arg(2, 3), arg(4, 3), 1),
            RuntimeError,
            "contracted dimensions need to match, but first has size 3",
        ),
        (
            sample(arg(2, 3), arg(3), ([0, 1], [0])),
            RuntimeError,
            "both dimension lists should have same length",
        ),
    ],
)
def tensordot(input: Tensor, other: Tensor, dims: Any = 2) -> Tensor:
    """Sum products over several dimensions: the last ``dims`` of ``input``, the first of ``other``.

    ``dims`` may be a pair of lists instead: dimensions of ``input`` and those of ``other`` that they meet.
    What is left of ``input`` comes first, then what is left of ``other``.

    >>> import accelgrad
    >>> accelgrad.tensordot(accelgrad.ones(2, 3), accelgrad.ones(3, 2), 1)
    tensor([[3., 3.],
            [3., 3.]])
    """
    a, b = input.array.shape, other.array.shape
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        left, right = tuple(range(len(a) - dims, len(a))), tuple(range(dims))
    else:
        left, right = wrap_dims(dims[0], len(a)), wrap_dims(dims[1], len(b))
    if len(left) != len(right):
        raise RuntimeError(f"both dimension lists should have same length, got {len(left)} and {len(right)}")
    for i, j in zip(left, right, strict=True):
        if a[i] != b[j] and 1 in (a[i], b[j]):  # an extent of 1 broadcasts: the other one is summed first
            input = input if a[i] == 1 else sum(input, i, True)
            other = other if b[j] == 1 else sum(other, j, True)
            return tensordot(input, other, (left, right))
        if a[i] != b[j]:
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {a[i]} in dim {i}"
                f" and second has size {b[j]} in dim {j}"
            )
    rest_a = tuple(i for i in range(len(a)) if i not in left)
    rest_b = tuple(j for j in range(len(b)) if j not in right)
    inner = math.prod(a[i] for i in left)
    rows, columns = math.prod(a[i] for i in rest_a), math.prod(b[j] for j in rest_b)
    product = matmul(
        reshape(permute(input, (*rest_a, *left)), (rows, inner)),
        reshape(permute(other, (*right, *rest_b)), (inner, columns)),
    )
    return reshape(product, tuple(a[i] for i in rest_a) + tuple(b[j] for j in rest_b))


@op(
    primitive=Matmul,
    reference=np.inner,
    samples=[
        sample(arg(3), arg(3)),
        sample(arg(2, 3), arg(4, 3)),
        sample(arg(), arg(2)),
        sample(arg(2, 2, 3), arg(3)),
    ],
    errors=[(sample(arg(2, 3), arg(4)), RuntimeError, r"inner\(\) the last dimension must match")],
)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last dimension of both: (..., k) and (---, k) give (..., ---).

    A 0-d one scales.

    >>> import accelgrad
    >>> accelgrad.inner(accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]]), accelgrad.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    if not input.array.ndim or not other.array.ndim:
        return input * other
    if input.array.shape[-1] != other.array.shape[-1]:
        raise RuntimeError(
            f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)}"
            f" and {list(other.shape)}"
        )
    return tensordot(input, other, ((-1,), (-1,)))


@op(
    primitive=Mul,
    reference=np.kron,
    samples=[sample(arg(2, 3), arg(3, 2)), sample(arg(2), arg(2, 2)), sample(arg(), arg(2))],
)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: every element of ``input`` times the whole of ``other``; extents multiply.

    >>> import accelgrad
    >>> accelgrad.kron(accelgrad.tensor([1.0, 10.0]), accelgrad.tensor([1.0, 2.0]))
    tensor([ 1.,  2., 10., 20.])
    """
    ndim = max(input.array.ndim, other.array.ndim)
    a = (1,) * (ndim - input.array.ndim) + input.array.shape
    b = (1,) * (ndim - other.array.ndim) + other.array.shape
    wide = tuple(extent for one in a for extent in (one, 1))
    narrow = tuple(extent for one in b for extent in (1, one))
    product = Mul.apply(reshape(input, wide), reshape(other, narrow))
    return reshape(product, tuple(m * n for m, n in zip(a, b, strict=True)))


def chain(name: str, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply several matrices in the cheapest order.

    It is found by dynamic programming; Cormen et al., Matrix-chain order.
    """
    count = len(matrices)
    extents = [one.array.shape[0] for one in matrices] + [matrices[-1].array.shape[1]]
    for place in range(1, count):
        if matrices[place - 1].array.shape[1] != extents[place]:
            a, b = matrices[place - 1].array.shape, matrices[place].array.shape
            raise RuntimeError(
                f"{name}(): tensors {place - 1} and {place} with shapes {list(a)}"
                f" and {list(b)} cannot be multiplied"
            )
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + extents[i] * extents[k + 1] * extents[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return matrices[i]
        return matmul(product(i, split[i][j]), product(split[i][j] + 1, j))

    return product(0, count - 1)


@op(
    primitive=Matmul,
    reference=lambda *matrices: functools.reduce(np.matmul, matrices),
    samples=[sample(arg(2, 3), arg(3, 4), arg(4, 1)), sample(arg(2, 3))],
    errors=[(sample(arg(2, 3), arg(2, 3)), RuntimeError, "tensors 0 and 1 with shapes")],
    method=False,
    also=("linalg.multi_dot",),
)
def chain_matmul(*matrices: Tensor) -> Tensor:
    """The product of several matrices, multiplied in the order that takes the fewest operations.

    >>> import accelgrad
    >>> accelgrad.chain_matmul(accelgrad.ones(1, 9), accelgrad.ones(9, 9), accelgrad.ones(9, 1))
    tensor([[81.]])
    """
    given = (
        list(matrices[0]) if len(matrices) == 1 and isinstance(matrices[0], list | tuple) else list(matrices)
    )
    if not given:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for place, one in enumerate(given):
        if one.array.ndim != 2:
            raise RuntimeError(
                f"Tensor dimension is {one.array.ndim}, expected 2 instead (matrix {place} of chain_matmul)"
            )
    return chain("chain_matmul", given)


@op(
    reference=lambda x, y, dim=None: np.cross(x, y, axis=-1 if dim is None else dim),
    samples=[sample(arg(2, 3), arg(2, 3)), sample(arg(3, 2), arg(3, 2), 0)],
    errors=[(sample(arg(2, 2), arg(2, 2), 1), RuntimeError, "inputs dimension 1 must have length 3")],
)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dimension of extent 3 (the first such one by default).

    >>> import accelgrad
    >>> accelgrad.cross(accelgrad.tensor([1.0, 0.0, 0.0]), accelgrad.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if dim is None:
        if 3 not in input.array.shape:
            raise RuntimeError(f"no dimension of size 3 in input {tuple(input.shape)}")
        dim = input.array.shape.index(3) - input.array.ndim
    elif dim >= 0:
        dim = wrap_dim(dim, max(input.array.ndim, other.array.ndim)) - max(input.array.ndim, other.array.ndim)
    for one in (input, other):
        if -dim > one.array.ndim or one.array.shape[dim] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim + max(input.array.ndim, other.array.ndim)} must have"
                f" length 3. Got {tuple(input.shape)} and {tuple(other.shape)}"
            )
    x, y = unbind(input, dim), unbind(other, dim)
    parts = [x[i] * y[j] - x[j] * y[i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return stack(parts, dim)
