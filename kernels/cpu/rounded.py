"""float32 rounded to bfloat16 on the bits of the numbers, where ml_dtypes takes them one after the other.

A bfloat16 is the upper half of a float32.  Adding 0x7fff, and 1 more where the upper half is odd, carries
into it exactly where the number is to be rounded up, ties going to the even one; a carry out of the digits
raises the exponent, up to infinity.  A NaN would lose its mark by that and is set instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import jit
from accelgrad.kernels.cpu.threads import parallel

__all__ = ["rounded"]

PARALLEL = 1 << 19  # elements from which a second thread pays

HALF, ODD, UPPER = np.uint32(0x7FFF), np.uint32(1), np.uint32(16)
SIGN, INFINITY, NAN = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0x7FC0)


@jit()
def round_range(start, stop, bits, out):
    bits, out = bits[start:stop], out[start:stop]
    for i in range(bits.size):
        u = bits[i]
        upper = (u + HALF + ((u >> UPPER) & ODD)) >> UPPER
        out[i] = np.uint16(NAN | (u >> UPPER) if (u & SIGN) > INFINITY else upper)


def accepts(x: Any, kind: np.dtype) -> bool:
    """A contiguous float32 array that is to become bfloat16."""
    return (
        type(x) is np.ndarray
        and x.dtype.char == "f"
        and x.dtype.isnative
        and x.flags.c_contiguous
        and kind.char == "E"
        and x.size > 0
    )


@kernel("rounded", "cpu", accepts=accepts)
def rounded(x: np.ndarray, kind: np.dtype) -> np.ndarray:
    """The nearest bfloat16 of every number.

    for i in elements:  out[i] = (bits[i] + 0x7fff + (bits[i] >> 16 & 1)) >> 16
    """
    out = np.empty(x.shape, kind)
    arrays = x.view(np.uint32).reshape(-1), out.view(np.uint16).reshape(-1)
    parallel(round_range, x.size, *arrays, wide=x.size >= PARALLEL, grain=32)
    return out
