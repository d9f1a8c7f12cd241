"""Comparisons and logic: eq, ne, lt, le, gt, ge, isclose, isin, logical_and, any, all and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.pointwise.arithmetic import UNEQUAL, Pairwise
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.dims import Dims, axes_of, reducing

COMPARED = [
    sample(arg(2, 3), arg(2, 3)),
    sample(arg(2, 3, dtype="int64"), arg(3, dtype="int64")),
    sample(arg(2, 3, dtype="int64"), 0),
    sample(arg(3, dtype="uint8", low=0, high=3), 1.5),
    sample(arg(), arg(2)),
    sample(arg(0, 3), arg(3)),
    sample(arg(3, dtype="bool"), arg(3, dtype="bool")),
]


class Eq(Pairwise):
    """z = (x == y)."""

    @staticmethod
    def forward(ctx, x, y):
        return ctx.xp.equal(x, y)


class Ne(Pairwise):
    """z = (x != y)."""

    @staticmethod
    def forward(ctx, x, y):
        return ctx.xp.not_equal(x, y)


class Lt(Pairwise):
    """z = (x < y)."""

    @staticmethod
    def forward(ctx, x, y):
        return x < y


class Le(Pairwise):
    """z = (x <= y)."""

    @staticmethod
    def forward(ctx, x, y):
        return x <= y


class Gt(Pairwise):
    """z = (x > y)."""

    @staticmethod
    def forward(ctx, x, y):
        return x > y


class Ge(Pairwise):
    """z = (x >= y)."""

    @staticmethod
    def forward(ctx, x, y):
        return x >= y


def _comparison(primitive: type[Primitive], reference: Any, *aliases: str) -> Callable[..., Any]:
    """Register a comparison with the samples, the errors and the operator that all comparisons have."""
    return op(
        primitive=primitive,
        reference=reference,
        samples=COMPARED,
        errors=[UNEQUAL],
        differentiable=False,
        inplace=True,
        operators=(f"__{primitive.__name__.lower()}__",),
        aliases=aliases,
    )


@_comparison(Eq, np.equal)
def eq(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input == other``, element by element, as bools; NaN equals nothing.

    Shapes broadcast; RuntimeError if they do not.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2, 3]) == 2
    tensor([False,  True, False])
    """
    return Eq.apply(input, other)


@_comparison(Ne, np.not_equal, "not_equal")
def ne(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input != other``, element by element, as bools; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2, 3]) != 2
    tensor([ True, False,  True])
    """
    return Ne.apply(input, other)


@_comparison(Lt, np.less, "less")
def lt(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input < other``, element by element, as bools; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2, 3]) < 2
    tensor([ True, False, False])
    """
    return Lt.apply(input, other)


@_comparison(Le, np.less_equal, "less_equal")
def le(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input <= other``, element by element, as bools; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2, 3]) <= 2
    tensor([ True,  True, False])
    """
    return Le.apply(input, other)


@_comparison(Gt, np.greater, "greater")
def gt(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input > other``, element by element, as bools; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2, 3]) > 2
    tensor([False, False,  True])
    """
    return Gt.apply(input, other)


@_comparison(Ge, np.greater_equal, "greater_equal")
def ge(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input >= other``, element by element, as bools; shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2, 3]) >= 2
    tensor([False,  True,  True])
    """
    return Ge.apply(input, other)


# --- of whole tensors


def _two_tensors(name: str, input: Any, other: Any) -> None:
    """Raise TypeError unless both operands are Tensors, RuntimeError unless they share a device."""
    for place, one in (("input' (position 1", input), ("other' (position 2", other)):
        if not isinstance(one, Tensor):
            raise TypeError(f"{name}(): argument '{place}) must be Tensor, not {type(one).__name__}")
    if input.xp is not other.xp:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices,"
            f" {input.device} and {other.device}!"
            f" Move one with .to('{input.device}')"
        )


@op(
    samples=[sample(arg(2, 3), arg(2, 3)), sample(arg(2), arg(3)), sample(arg(0), arg(0))],
    reference=np.array_equal,
    errors=[(sample(arg(2), 1.0), TypeError, r"equal\(\): argument 'other' \(position 2\) must be Tensor")],
    differentiable=False,
    out=False,
)
def equal(input: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have the same shape and the same elements; NaN equals nothing.

    The result is one Python bool.  TypeError unless both are Tensors.

    >>> import accelgrad
    >>> accelgrad.equal(accelgrad.tensor([1, 2]), accelgrad.tensor([1, 2]))
    True
    """
    _two_tensors("equal", input, other)
    if input.array.shape != other.array.shape:
        return False
    return bool(input.xp.all(input.array == other.array))


NEAR = [
    sample(arg(2, 3), arg(2, 3)),
    sample(
        arg(values=[1.0, 2.0, float("inf"), float("nan")]),
        arg(values=[1.0 + 1e-7, 2.1, float("inf"), float("nan")]),
    ),
    sample(arg(values=[1.0, float("nan")]), arg(values=[1.05, float("nan")]), rtol=0.1, equal_nan=True),
    sample(arg(3, dtype="int64"), arg(3, dtype="int64"), atol=1),
]


def _near(x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Compare with NumPy as :func:`isclose` does."""
    return np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)


class IsClose(Pairwise):
    """z = |x - y| <= atol + rtol |y|;  equal infinities are close."""

    @staticmethod
    def forward(ctx, x, y, *, rtol: float, atol: float, equal_nan: bool):
        xp = ctx.xp
        close = xp.equal(x, y)
        if y.dtype.kind == "b":
            return close
        if y.dtype.kind != "f":
            x, y = xp.astype(x, xp.float64), xp.astype(y, xp.float64)
        near = xp.abs(x - y) <= atol + rtol * xp.abs(y)
        close = close | (near & xp.isfinite(x) & xp.isfinite(y))
        return close | (xp.isnan(x) & xp.isnan(y)) if equal_nan else close


@op(
    primitive=IsClose,
    reference=_near,
    samples=NEAR,
    errors=[
        (
            sample(arg(2), arg(2), rtol=-1),
            RuntimeError,
            "rtol must be greater than or equal to zero, but got -1",
        ),
        (sample(arg(2), arg(2, dtype="int64")), RuntimeError, "Float did not match Long"),
    ],
    differentiable=False,
    out=False,
)
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Tell for every element whether ``|input - other| <= atol + rtol |other|``.

    Equal infinities are close, and NaN is close to NaN with ``equal_nan``.  Shapes broadcast.  RuntimeError
    if the dtypes differ or a tolerance is negative.

    >>> import accelgrad
    >>> accelgrad.isclose(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0000001, 2.1]))
    tensor([ True, False])
    """
    _two_tensors("isclose", input, other)
    if input.array.dtype != other.array.dtype:
        raise RuntimeError(
            f"{input.dtype.title.removesuffix('Tensor')} did not match"
            f" {other.dtype.title.removesuffix('Tensor')}: isclose compares tensors of one dtype;"
            " convert with .to()"
        )
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    return IsClose.apply(input, other, rtol=rtol, atol=atol, equal_nan=equal_nan)


@op(
    reference=lambda *args, **kwargs: bool(_near(*args, **kwargs).all()),
    samples=NEAR,
    differentiable=False,
    out=False,
)
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Tell whether :func:`isclose` holds for all elements, as one Python bool.

    >>> import accelgrad
    >>> accelgrad.allclose(accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 2.1]))
    False
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


class IsIn(Primitive):
    """y = whether x is one of the test elements."""

    @staticmethod
    def forward(ctx, x, tests, *, invert: bool):
        found = ctx.xp.isin(x, tests)
        return ctx.xp.logical_not(found) if invert else found


@op(
    primitive=IsIn,
    reference=lambda x, tests, invert=False: np.isin(x, tests, invert=invert),
    samples=[
        sample(arg(2, 3, dtype="int64"), arg(2, dtype="int64")),
        sample(arg(2, 3, dtype="int64"), arg(0, dtype="int64")),
        sample(arg(4, dtype="int64"), 1, invert=True),
    ],
    differentiable=False,
    method=False,
)
def isin(
    elements: Tensor | Number,
    test_elements: Tensor | Number,
    *,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Tell for every element whether it is one of ``test_elements``, or none of them with ``invert``.

    The result has the shape of ``elements``; ``assume_unique`` changes nothing.

    >>> import accelgrad
    >>> accelgrad.isin(accelgrad.tensor([1, 2, 3]), accelgrad.tensor([2, 5]))
    tensor([False,  True, False])
    """
    if not isinstance(elements, Tensor) and isinstance(test_elements, Tensor):
        elements = wrap(test_elements.xp.asarray(elements), test_elements.xp)
    elif isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        test_elements = wrap(elements.xp.asarray(test_elements), elements.xp)  # CuPy wants arrays
    return IsIn.apply(elements, test_elements, invert=invert)


# --- logic

LOGIC = [
    sample(arg(2, 3, dtype="bool"), arg(3, dtype="bool")),
    sample(arg(2, 3, dtype="int64"), arg(2, 3)),
    sample(arg(dtype="bool"), arg(0, dtype="bool")),
]


class LogicalAnd(Pairwise):
    """z = x and y."""

    promotion = None  # type: ignore[assignment]

    @staticmethod
    def forward(ctx, x, y):
        return ctx.xp.logical_and(x, y)


class LogicalOr(Pairwise):
    """z = x or y."""

    promotion = None  # type: ignore[assignment]

    @staticmethod
    def forward(ctx, x, y):
        return ctx.xp.logical_or(x, y)


class LogicalXor(Pairwise):
    """z = either x or y, but not both."""

    promotion = None  # type: ignore[assignment]

    @staticmethod
    def forward(ctx, x, y):
        return ctx.xp.logical_xor(x, y)


class LogicalNot(Primitive):
    """y = not x."""

    @staticmethod
    def forward(ctx, x):
        return ctx.xp.logical_not(x)


@op(primitive=LogicalAnd, reference=np.logical_and, samples=LOGIC, differentiable=False, inplace=True)
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Tell for every element whether both operands are true (not zero); shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.logical_and(accelgrad.tensor([True, True]), accelgrad.tensor([0, 2]))
    tensor([False,  True])
    """
    return LogicalAnd.apply(input, other)


@op(primitive=LogicalOr, reference=np.logical_or, samples=LOGIC, differentiable=False, inplace=True)
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Tell for every element whether at least one operand is true (not zero); shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.logical_or(accelgrad.tensor([False, True]), accelgrad.tensor([0, 2]))
    tensor([False,  True])
    """
    return LogicalOr.apply(input, other)


@op(primitive=LogicalXor, reference=np.logical_xor, samples=LOGIC, differentiable=False, inplace=True)
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Tell for every element whether exactly one operand is true (not zero); shapes broadcast.

    >>> import accelgrad
    >>> accelgrad.logical_xor(accelgrad.tensor([True, True]), accelgrad.tensor([0, 2]))
    tensor([ True, False])
    """
    return LogicalXor.apply(input, other)


@op(
    primitive=LogicalNot,
    reference=np.logical_not,
    samples=[sample(arg(3, dtype="bool")), sample(arg(values=[0.0, 2.0])), sample(arg(dtype="int64"))],
    differentiable=False,
    inplace=True,
)
def logical_not(input: Tensor) -> Tensor:
    """Tell for every element whether it is zero or False.

    >>> import accelgrad
    >>> accelgrad.logical_not(accelgrad.tensor([0.0, 2.0]))
    tensor([ True, False])
    """
    return LogicalNot.apply(input)


# --- any and all


class Any_(Primitive):
    """y = whether at least one of the x is true."""

    @staticmethod
    def forward(ctx, x, *, axis=None, keepdims: bool = False):
        y = ctx.xp.any(x, axis=axis, keepdims=keepdims)
        return y.astype(x.dtype) if x.dtype == np.uint8 else y


class All(Primitive):
    """y = whether all of the x are true."""

    @staticmethod
    def forward(ctx, x, *, axis=None, keepdims: bool = False):
        y = ctx.xp.all(x, axis=axis, keepdims=keepdims)
        return y.astype(x.dtype) if x.dtype == np.uint8 else y


TRUTHS = [
    sample(arg(2, 3, dtype="bool")),
    sample(arg(2, 3, dtype="int64"), 1),
    sample(arg(2, 3, 2), (0, -1), keepdim=True),
    sample(arg(2, 3, dtype="uint8", low=0, high=2), dim=0),
    sample(arg(0, 3, dtype="bool"), 0),
    sample(arg(dtype="bool")),
]


@op(primitive=Any_, reference=reducing(np.any), samples=TRUTHS, differentiable=False)
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Tell whether any element is true (not zero), of the whole tensor or along ``dim``.

    Of no elements the answer is False.  The result is bool, for uint8 tensors uint8, as in PyTorch;
    ``keepdim`` keeps the reduced dimensions with extent 1.

    >>> import accelgrad
    >>> accelgrad.any(accelgrad.tensor([[0, 0], [0, 2]]), dim=1)
    tensor([False,  True])
    """
    return Any_.apply(input, axis=axes_of(dim, input), keepdims=keepdim)


@op(primitive=All, reference=reducing(np.all), samples=TRUTHS, differentiable=False)
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Tell whether all elements are true (not zero), of the whole tensor or along ``dim``.

    Of no elements the answer is True.  The result is bool, for uint8 tensors uint8, as in PyTorch;
    ``keepdim`` keeps the reduced dimensions with extent 1.

    >>> import accelgrad
    >>> accelgrad.all(accelgrad.tensor([[1, 0], [3, 2]]), dim=1)
    tensor([False,  True])
    """
    return All.apply(input, axis=axes_of(dim, input), keepdims=keepdim)
