"""Masks for dropout, drawn on the card from the stream that NumPy's Philox gives on the host."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import Program, array_module, cuda, cuda_kernel, on_card, room

__all__ = ["keep_mask"]

U64 = np.uint64
ZERO, ONE, SHIFT, LOW = U64(0), U64(1), U64(32), U64(0xFFFFFFFF)
M0, M1 = U64(0xD2E7470EE14C6C93), U64(0xCA5A826395121157)
W0, W1 = U64(0x9E3779B97F4A7C15), U64(0xBB67AE8584CAA73B)


@cuda.jit(device=True)
def high_product(x: Any, y: Any) -> Any:
    """The upper 64 bits of the product of two 64-bit numbers, from the products of their halves."""
    x0, x1, y0, y1 = x & LOW, x >> SHIFT, y & LOW, y >> SHIFT
    middle = x1 * y0 + ((x0 * y0) >> SHIFT)
    other = x0 * y1 + (middle & LOW)
    return x1 * y1 + (middle >> SHIFT) + (other >> SHIFT)


def philox_mask(T: Any) -> Any:
    """``mask[e] = 1`` where the e-th 32 bits of the generator's stream are at least the threshold.

    Philox 4x64 with ten rounds (Salmon et al. 2011), the stream of numpy.random.Philox: a thread makes the
    four 64-bit numbers of one counter, and from them eight elements.
    """

    def kernel(mask, n, counter, key, first_half, threshold):
        block = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if block * 8 < n + first_half:
            c0 = U64(counter[0]) + U64(block)
            c1, c2, c3 = U64(counter[1]), U64(counter[2]), U64(counter[3])
            if c0 < U64(counter[0]):  # the addition ran over: carry, as the host does
                c1 += ONE
                if c1 == ZERO:
                    c2 += ONE
                    if c2 == ZERO:
                        c3 += ONE
            k0, k1 = U64(key[0]), U64(key[1])
            for _ in range(10):
                high0, low0 = high_product(M0, c0), M0 * c0
                high1, low1 = high_product(M1, c2), M1 * c2
                c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
                k0 += W0
                k1 += W1
            e = block * 8 - first_half
            for lane in range(4):
                word = c0 if lane == 0 else c1 if lane == 1 else c2 if lane == 2 else c3
                if 0 <= e < n:
                    mask[e] = 1 if (word & LOW) >= U64(threshold) else 0
                if 0 <= e + 1 < n:
                    mask[e + 1] = 1 if (word >> SHIFT) >= U64(threshold) else 0
                e += 2

    return kernel


MASK = Program(philox_mask, "BqLLiq", dtypes="f")


def accepts(like: Any, shape: tuple[int, ...], p: float, generator: Any) -> bool:
    return (
        on_card(like, contiguous=False)
        and 0 < math.prod(shape) < 2**30
        and isinstance(generator.bit_generator, np.random.Philox)
    )


@cuda_kernel("keep_mask", accepts=accepts)
def keep_mask(like: Any, shape: tuple[int, ...], p: float, generator: Any) -> Any:
    """True with probability 1 - p, beside ``like``.

    Afterwards the generator stands where it would stand had it drawn.

    for e in elements:  mask[e] = (32 bits number e of the stream) >= p 2^32
    """
    MASK.prepare("f")
    n = math.prod(shape)
    state = generator.bit_generator.state
    counter = [int(word) for word in state["state"]["counter"]]
    # In halves of 64-bit numbers, from the start of the block of four that the generator is in:
    start = 2 * state["buffer_pos"] - state["has_uint32"]
    block, first_half = divmod(start, 8)
    place = sum(word << (64 * i) for i, word in enumerate(counter))
    words = np.array([(place + block) >> (64 * i) & (2**64 - 1) for i in range(4)], np.uint64)
    module = array_module()
    numbers = module.asarray(np.concatenate([words, state["state"]["key"]]).view(np.int64))
    mask = room(like, shape, np.bool_)
    threads = 32 if n <= 256 else 128
    blocks = -(-(n + first_half) // (8 * threads))
    MASK(blocks, threads, "f", mask, n, numbers[:4], numbers[4:], first_half, math.ceil(p * 2**32))
    move_to(generator, state, place, start + n)
    return mask


def move_to(generator: Any, state: dict[str, Any], place: int, half: int) -> None:
    """Leave the generator ``half`` halves after the start of block ``place``, as if it had drawn them."""
    whole, odd = divmod(half, 2)
    block, lane = divmod(whole, 4)
    place += block - 1  # a generator whose buffer is used up goes on with the next block
    state["state"]["counter"] = np.array([place >> (64 * i) & (2**64 - 1) for i in range(4)], np.uint64)
    state["buffer_pos"], state["has_uint32"], state["uinteger"] = 4, 0, 0
    generator.bit_generator.state = state
    if lane:
        generator.bit_generator.random_raw(lane)
    if odd:
        generator.integers(0, 2**32, 1, dtype="uint32")
