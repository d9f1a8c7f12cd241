"""One element of each of several arrays as a tuple: read, written and rounded; None for no array.

Python's ``tuple([one[i] for one in arrays])`` is not to be had in compiled code, where the length of a tuple
and the types in it are part of its type.  The functions ``define_...`` say what is to be generated, here for
processors and in ``kernels/cuda/elements.py`` for cards, whose tables come in by pointers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import errors
from numba.extending import intrinsic

__all__ = ["load_all", "present", "rounded", "store_all"]


def number_type(number: Any) -> Any:
    """LLVM's type of a Numba float."""
    return ir.FloatType() if number == types.float32 else ir.DoubleType()


def tuple_of(kinds: Any, one: Any) -> Any:
    """The type of a tuple of ``one``, with None where ``kinds`` has None."""
    return types.Tuple([types.none if kind == types.none else one for kind in kinds])


def define_load_all(typingctx: Any, addresses: Any, index: Any, like: Any) -> Any:
    """The numbers at ``addresses``, ``index`` elements further; ``like`` is any number of their type."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = number_type(like).as_pointer()
        found = []
        for place, kind in enumerate(addresses):
            if kind == types.none:
                found.append(context.get_dummy_value())
                continue
            start = builder.inttoptr(builder.extract_value(args[0], place), pointer)
            found.append(builder.load(builder.gep(start, [args[1]])))
        return context.make_tuple(builder, signature.return_type, found)

    return tuple_of(addresses, like)(addresses, types.int64, like), generate


def define_store_all(typingctx: Any, addresses: Any, index: Any, values: Any) -> Any:
    """Write each of ``values`` to its address, ``index`` elements further."""
    written = {value for place, value in zip(addresses, values, strict=True) if place != types.none}
    if len(written) > 1:
        raise errors.TypingError(f"the formula returns numbers of several types: {values}")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        for place, kind in enumerate(addresses):
            if kind != types.none:
                value = builder.extract_value(args[2], place)
                start = builder.inttoptr(builder.extract_value(args[0], place), value.type.as_pointer())
                builder.store(value, builder.gep(start, [args[1]]))
        return context.get_dummy_value()

    return types.void(addresses, types.int64, values), generate


def define_rounded(typingctx: Any, numbers: Any, like: Any) -> Any:
    """A tuple of numbers in the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [
            context.cast(builder, builder.extract_value(args[0], place), kind, like)
            for place, kind in enumerate(numbers)
        ]
        return context.make_tuple(builder, signature.return_type, values)

    return types.UniTuple(like, len(numbers))(numbers, like), generate


def define_present(typingctx: Any, values: Any) -> Any:
    """The tuple without what is None in it."""
    places = [place for place, kind in enumerate(values) if kind != types.none]

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = [builder.extract_value(args[0], place) for place in places]
        return context.make_tuple(builder, signature.return_type, found)

    return types.Tuple([values[place] for place in places])(values), generate


def define_words(typingctx: Any, table: Any, start: Any, there: Any) -> Any:
    """Return the next 64-bit numbers of a table, from place ``start``; None where ``there`` has None."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found, place = [], args[1]
        for kind in there:
            if kind == types.none:
                found.append(context.get_dummy_value())
                continue
            found.append(builder.load(builder.gep(args[0], [place])))
            place = builder.add(place, ir.Constant(place.type, 1))
        return context.make_tuple(builder, signature.return_type, found)

    return tuple_of(there, types.int64)(table, types.int64, there), generate


def define_neighbours(typingctx: Any, memory: Any, start: Any, like: Any) -> Any:
    """As many numbers as ``like`` has, from place ``start`` of an array on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        places = [builder.add(args[1], ir.Constant(args[1].type, i)) for i in range(len(like))]
        found = [builder.load(builder.gep(args[0], [place])) for place in places]
        return context.make_tuple(builder, signature.return_type, found)

    return like(memory, types.int64, like), generate


load_all = intrinsic(define_load_all)
store_all = intrinsic(define_store_all)
rounded = intrinsic(define_rounded)
present = intrinsic(define_present)
