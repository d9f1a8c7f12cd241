"""Operations on integers and their bits: and, or, xor, not, shifts, gcd, lcm, and their operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.arrays.dtypes import Number
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.pointwise.arithmetic import Pairwise
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import title

BITS = [
    sample(arg(2, 3, dtype="int64", low=-9, high=99), arg(3, dtype="int64", low=0, high=9)),
    sample(arg(2, 3, dtype="uint8", low=0, high=15), arg(2, 1, dtype="int16", low=0, high=4)),
    sample(arg(3, dtype="int32", low=0, high=99), 3),
    sample(arg(0, dtype="int64"), arg(dtype="int64", low=0)),
]
BOOLS = [sample(arg(2, 3, dtype="bool"), arg(3, dtype="bool")), sample(arg(3, dtype="bool"), True)]
FLOATS = (sample(arg(2), arg(2)), NotImplementedError, "not implemented for 'Float'")


def _integers(name: str, *arrays: Any, bools: bool = True) -> None:
    """Raise NotImplementedError for floats, and for bools unless ``bools`` allows them."""
    for one in arrays:
        if hasattr(one, "dtype") and (one.dtype.kind == "f" or (one.dtype.kind == "b" and not bools)):
            raise NotImplementedError(
                f"\"{name}_cpu\" not implemented for '{title(one)}': it works on the bits of integers;"
                " convert with .long()"
            )


class And(Pairwise):
    """z = the bits that are set in both x and y."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("bitwise_and", x, y)
        return x & y


class Or(Pairwise):
    """z = the bits that are set in x or y."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("bitwise_or", x, y)
        return x | y


class Xor(Pairwise):
    """z = the bits that are set in exactly one of x and y."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("bitwise_xor", x, y)
        return x ^ y


class LeftShift(Pairwise):
    """z = x 2^y."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("lshift", x, y, bools=False)
        return x << y


class RightShift(Pairwise):
    """z = x / 2^y, rounded down."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("rshift", x, y, bools=False)
        return x >> y


class Invert(Primitive):
    """y = x with every bit inverted;  y = not x for bools."""

    @staticmethod
    def forward(ctx, x):
        _integers("bitwise_not", x)
        return ~x


class Gcd(Pairwise):
    """z = the greatest common divisor of x and y."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("gcd", x, y, bools=False)
        return ctx.xp.gcd(x, y)


class Lcm(Pairwise):
    """z = the least common multiple of x and y."""

    @staticmethod
    def forward(ctx, x, y):
        _integers("lcm", x, y, bools=False)
        return ctx.xp.lcm(x, y)


@op(
    primitive=And,
    reference=np.bitwise_and,
    samples=[*BITS, *BOOLS],
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    operators=("__and__", "__rand__", "__iand__"),
)
def bitwise_and(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input & other``: the bits that are set in both; for bools, logical and.

    Shapes broadcast; NotImplementedError for floats.

    >>> import accelgrad
    >>> accelgrad.tensor([12, 10]) & 6
    tensor([4, 2])
    """
    return And.apply(input, other)


@op(
    primitive=Or,
    reference=np.bitwise_or,
    samples=[*BITS, *BOOLS],
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    operators=("__or__", "__ror__", "__ior__"),
)
def bitwise_or(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input | other``: the bits that are set in at least one; for bools, logical or.

    Shapes broadcast; NotImplementedError for floats.

    >>> import accelgrad
    >>> accelgrad.tensor([12, 10]) | 6
    tensor([14, 14])
    """
    return Or.apply(input, other)


@op(
    primitive=Xor,
    reference=np.bitwise_xor,
    samples=[*BITS, *BOOLS],
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    operators=("__xor__", "__rxor__", "__ixor__"),
)
def bitwise_xor(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input ^ other``: the bits that are set in exactly one; for bools, logical exclusive or.

    Shapes broadcast; NotImplementedError for floats.

    >>> import accelgrad
    >>> accelgrad.tensor([12, 10]) ^ 6
    tensor([10, 12])
    """
    return Xor.apply(input, other)


@op(
    primitive=Invert,
    reference=np.invert,
    samples=[
        sample(arg(2, 3, dtype="int64")),
        sample(arg(3, dtype="bool")),
        sample(arg(3, dtype="uint8", low=0)),
    ],
    errors=[(sample(arg(2)), NotImplementedError, "not implemented for 'Float'")],
    differentiable=False,
    inplace=True,
    operators=("__invert__",),
)
def bitwise_not(input: Tensor) -> Tensor:
    """Return ``~input``: every bit inverted; for bools, logical not.  NotImplementedError for floats.

    >>> import accelgrad
    >>> ~accelgrad.tensor([True, False])
    tensor([False,  True])
    """
    return Invert.apply(input)


@op(
    primitive=LeftShift,
    reference=np.left_shift,
    samples=BITS,
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    operators=("__lshift__", "__rlshift__", "__ilshift__"),
)
def bitwise_left_shift(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input << other``: ``input`` times two to the power of ``other``.

    Shapes broadcast; NotImplementedError for floats and bools.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 3]) << 2
    tensor([ 4, 12])
    """
    return LeftShift.apply(input, other)


@op(
    primitive=RightShift,
    reference=np.right_shift,
    samples=BITS,
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    operators=("__rshift__", "__rrshift__", "__irshift__"),
)
def bitwise_right_shift(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return ``input >> other``: ``input`` divided by two to the power of ``other``, rounded down.

    Shapes broadcast; NotImplementedError for floats and bools.

    >>> import accelgrad
    >>> accelgrad.tensor([5, -12]) >> 2
    tensor([ 1, -3])
    """
    return RightShift.apply(input, other)


@op(
    primitive=Gcd,
    reference=np.gcd,
    samples=BITS[:2],
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    also=("gcd_",),
)
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """Return the greatest common divisor of two integers, element by element; gcd(0, 0) is 0.

    Shapes broadcast; NotImplementedError for floats and bools.

    >>> import accelgrad
    >>> accelgrad.gcd(accelgrad.tensor([12, 10]), accelgrad.tensor([8, 15]))
    tensor([4, 5])
    """
    return Gcd.apply(input, other)


@op(
    primitive=Lcm,
    reference=np.lcm,
    samples=BITS[:2],
    errors=[FLOATS],
    differentiable=False,
    inplace=True,
    also=("lcm_",),
)
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """Return the least common multiple of two integers, element by element; lcm(0, n) is 0.

    Shapes broadcast; NotImplementedError for floats and bools.

    >>> import accelgrad
    >>> accelgrad.lcm(accelgrad.tensor([4, 10]), accelgrad.tensor([6, 15]))
    tensor([12, 30])
    """
    return Lcm.apply(input, other)
