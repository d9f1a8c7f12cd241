"""einsum: sums of products in Einstein's notation, by permuting, reshaping and multiplying matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.ops.linalg.product import Matmul, matmul
from accelgrad.ops.pointwise.arithmetic import Mul
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.shapes.diagonal import diagonal
from accelgrad.ops.shapes.shape import permute, reshape

Labels = tuple[Any, ...]
"""One label for each dimension: letters, or the numbers of the sublist form; ``(..., k)`` pairs from an
ellipsis."""


@op(
    primitive=Matmul,
    reference=np.einsum,
    samples=[
        sample("ij,jk->ik", arg(2, 3), arg(3, 4)),
        sample("ij,jk", arg(2, 3), arg(3, 4)),
        sample("bij,bjk->bik", arg(2, 2, 3), arg(2, 3, 2)),
        sample("ii->i", arg(3, 3)),
        sample("ii", arg(3, 3)),
        sample("ij->ji", arg(2, 3)),
        sample("ij->j", arg(2, 3)),
        sample("i,j->ij", arg(2), arg(3)),
        sample("i,i->", arg(3), arg(3)),
        sample("...ij,...jk->...ik", arg(2, 1, 2, 3), arg(3, 3, 2)),
        sample("...i->...", arg(2, 3, 4)),
        sample("ba", arg(2, 3)),
        sample("ij,jk,kl->il", arg(2, 3), arg(3, 2), arg(2, 3)),
        sample("iji,j->i", arg(2, 3, 2), arg(3)),
        sample("bhqd,bhkd->bhqk", arg(2, 2, 3, 4), arg(2, 2, 2, 4)),
        sample("ij,k->", arg(2, 3), arg(2)),
        sample("ij, j -> i", arg(2, 0), arg(0)),
        sample(arg(2, 3), [0, 1], arg(3, 4), [1, 2], [0, 2]),
    ],
    errors=[
        (
            sample("ij,jk->ik", arg(2, 3)),
            RuntimeError,
            "fewer operands were provided than specified in the equation",
        ),
        (sample("ij->ij", arg(2, 3), arg(2)), RuntimeError, "more operands were provided than specified"),
        (
            sample("ij,jk->ik", arg(2, 3), arg(4, 2)),
            RuntimeError,
            "subscript j has size 4 for operand 1 which does not",
        ),
        (sample("ijk->i", arg(2, 3)), RuntimeError, "the number of subscripts in the equation"),
        (
            sample("ij->k", arg(2, 3)),
            RuntimeError,
            "output subscript k does not appear in the equation for any input",
        ),
        (sample("i->ii", arg(2)), RuntimeError, "output subscript i appears more than once in the output"),
        (sample("i1->i", arg(2, 3)), RuntimeError, "invalid subscript given at index"),
    ],
    method=False,
    out=False,
)
def einsum(*args: Any) -> Tensor:
    """A sum of products in Einstein's notation: ``einsum("ij,jk->ik", a, b)`` is the matrix product.

    Every dimension of an operand gets a letter; dimensions of one letter are multiplied element by element,
    and summed if the letter is not in the output.  A letter twice in one operand takes the diagonal; ``...``
    stands for any number of leading dimensions, which broadcast; without ``->`` the output has the letters
    that come once, in alphabetical order. Instead of the equation, lists of numbers may follow each operand:
    ``einsum(a, [0, 1], b, [1, 2], [0, 2])``. RuntimeError for a malformed equation, and for extents that do
    not fit.

    >>> import accelgrad
    >>> accelgrad.einsum("ij,j->i", accelgrad.ones(2, 3), accelgrad.tensor([1.0, 2.0, 3.0]))
    tensor([6., 6.])
    """
    inputs, output, operands = _read(args)
    parts = [
        _labelled(place, labels, one)
        for place, (labels, one) in enumerate(zip(inputs, operands, strict=True))
    ]
    rank = max((sum(isinstance(label, tuple) for label in labels) for labels, _ in parts), default=0)
    if output is None:
        flat = [label for labels in inputs for label in labels if label is not ...]
        output = (..., *sorted(label for label in set(flat) if flat.count(label) == 1))
    wanted: list[Any] = []
    for label in output:
        wanted.extend([(..., k) for k in range(rank, 0, -1)] if label is ... else [label])
    known = {label for labels, _ in parts for label in labels}
    for label in wanted:
        if label not in known:
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input operand"
            )
        if wanted.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
    _check_extents(parts)
    while len(parts) > 1:
        first, second = parts[0], parts[1]
        needed = set(wanted).union(*(labels for labels, _ in parts[2:]))
        parts = [_contract(first, second, needed), *parts[2:]]
    labels, result = _summed(parts[0], set(wanted))
    return result.permute(tuple(labels.index(label) for label in wanted)) if wanted else result


def _read(args: tuple[Any, ...]) -> tuple[list[Labels], Labels | None, list[Tensor]]:
    """The labels of each operand and of the output (None if not given), and the operands."""
    if not args:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    if isinstance(args[0], str):
        operands = list(args[1]) if len(args) == 2 and isinstance(args[1], list | tuple) else list(args[1:])
        left, arrow, right = args[0].partition("->")
        inputs = [_letters(term, args[0]) for term in left.split(",")]
        output = _letters(right, args[0]) if arrow else None
    else:
        output = tuple(args[-1]) if len(args) % 2 else None
        pairs = args[:-1] if len(args) % 2 else args
        operands = list(pairs[::2])
        inputs = [tuple(one) for one in pairs[1::2]]
    for place, one in enumerate(operands):
        if not isinstance(one, Tensor):
            raise TypeError(f"einsum(): operand {place} must be Tensor, not {type(one).__name__}")
    if len(inputs) != len(operands):
        more = "fewer" if len(operands) < len(inputs) else "more"
        raise RuntimeError(
            f"einsum(): {more} operands were provided than specified in the equation"
            f" ({len(operands)} against {len(inputs)})"
        )
    return inputs, output, operands


def _letters(term: str, equation: str) -> Labels:
    labels: list[Any] = []
    rest = term.replace(" ", "")
    while rest:
        if rest.startswith("..."):
            if ... in labels:
                raise RuntimeError(
                    f"einsum(): found '.' for an operand for which an ellipsis was already found: {term!r}"
                )
            labels.append(...)
            rest = rest[3:]
        elif rest[0].isascii() and rest[0].isalpha():
            labels.append(rest[0])
            rest = rest[1:]
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {equation.find(rest[0])} in the equation string"
                f" {equation!r}, subscripts must be in [a-zA-Z]"
            )
    return tuple(labels)


def _labelled(place: int, labels: Labels, operand: Tensor) -> tuple[list[Any], Tensor]:
    """The operand with one label for each dimension; repeated labels become diagonals."""
    ndim, named = operand.array.ndim, sum(label is not ... for label in labels)
    if named > ndim or (named < ndim and ... not in labels):
        raise RuntimeError(
            "einsum(): the number of subscripts in the equation"
            f" ({named}) does not match the number of dimensions"
            f" ({ndim}) for operand {place}{' and no ellipsis was given' if ... not in labels else ''}"
        )
    full: list[Any] = []
    for label in labels:
        full.extend([(..., k) for k in range(ndim - named, 0, -1)] if label is ... else [label])
    for label in set(full):
        while full.count(label) > 1:
            one = full.index(label)
            other = full.index(label, one + 1)
            extents = operand.array.shape[one], operand.array.shape[other]
            if extents[0] != extents[1]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {place} but the sizes don't match,"
                    f" {extents[1]} != {extents[0]}"
                )
            operand = diagonal(operand, 0, one, other)  # the diagonal becomes the last dimension
            full = [kept for position, kept in enumerate(full) if position not in (one, other)] + [label]
    return full, operand


def _check_extents(parts: list[tuple[list[Any], Tensor]]) -> None:
    """Dimensions of one label have one extent, or 1."""
    sizes: dict[Any, int] = {}
    for place, (labels, one) in enumerate(parts):
        for label, extent in zip(labels, one.array.shape, strict=True):
            known = sizes.setdefault(label, extent)
            if known == 1:
                sizes[label] = extent
            elif extent not in (1, known):
                raise RuntimeError(
                    f"einsum(): subscript {label if not isinstance(label, tuple) else '...'} has size"
                    f" {extent} for operand {place} which does not broadcast"
                    f" with previously seen size {known}"
                )


def _summed(part: tuple[list[Any], Tensor], needed: set[Any]) -> tuple[list[Any], Tensor]:
    """The operand summed over the labels that nobody needs any more."""
    labels, one = part
    idle = tuple(place for place, label in enumerate(labels) if label not in needed)
    if idle:
        one = one.sum(idle)
        labels = [label for label in labels if label in needed]
    return labels, one


def _contract(
    first: tuple[list[Any], Tensor], second: tuple[list[Any], Tensor], needed: set[Any]
) -> tuple[list[Any], Tensor]:
    """Two operands made one: a batch of matrix products over what they share and nobody needs any more."""
    a, x = _summed(first, needed | set(second[0]))
    b, y = _summed(second, needed | set(a))
    a, x = _without_ones(a, x, b, y)
    b, y = _without_ones(b, y, a, x)
    batch = [label for label in a if label in b and label in needed]
    inner = [label for label in a if label in b and label not in needed]
    rows = [label for label in a if label not in b]
    columns = [label for label in b if label not in a]
    size = dict(zip(a, x.array.shape, strict=True)) | dict(zip(b, y.array.shape, strict=True))
    if not inner and not rows and not columns:  # nothing to sum: element by element
        return a, Mul.apply(x, permute(y, tuple(b.index(label) for label in a)) if a else y)

    def grouped(labels: list[Any], one: Tensor, *groups: list[Any]) -> Tensor:
        order = tuple(labels.index(label) for label in (*batch, *groups[0], *groups[1]))
        extents = (math.prod(size[label] for label in group) for group in groups)
        shape = (*(size[label] for label in batch), *extents)
        return reshape(permute(one, order) if order else one, shape)

    product = matmul(grouped(a, x, rows, inner), grouped(b, y, inner, columns))
    labels = [*batch, *rows, *columns]
    return labels, reshape(product, tuple(size[label] for label in labels))


def _without_ones(
    labels: list[Any], one: Tensor, others: list[Any], other: Tensor
) -> tuple[list[Any], Tensor]:
    """Drops the dimensions of extent 1 that broadcast against a larger one of the other operand."""
    idle = tuple(
        place
        for place, label in enumerate(labels)
        if one.array.shape[place] == 1 and label in others and other.array.shape[others.index(label)] != 1
    )
    if idle:
        one = one.sum(idle)
    return [label for place, label in enumerate(labels) if place not in idle], one
