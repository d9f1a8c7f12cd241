"""Matrix product: tiles in shared memory, 8 x 8 results a thread, 128-bit loads, two buffers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import SIMULATED, Program, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import load4, store4

__all__ = ["matmul"]

# A block of SIDE x SIDE threads makes a tile of SIDE * EACH rows and columns, EACH x EACH results a
# thread, and takes DEPTH steps of the inner dimension at a time: EACH * DEPTH / SIDE = 4, one 128-bit load
# a thread and tile. In float64 sixteen results a thread fill the registers that 64 fill in float32.
SIZES = {"f": (16, 8, 8), "d": (16, 4, 16)}
SIMULATED_SIZES = {"f": (4, 4, 4), "d": (4, 4, 4)}


@functools.cache
def fetcher(T: Any, vector: bool) -> Any:
    """Return the device function that reads four neighbours of a row (or column) of ``length``.

    They are number ``at`` to ``at + 3``: zeros beyond the end, and where it is not ``inside`` the matrix.
    """
    zero = T(0)

    @cuda.jit(device=True)
    def fetch(x: Any, place: Any, inside: Any, at: Any, length: Any, aligned: Any) -> Any:
        if vector and aligned and inside and at + 3 < length:
            return load4(x, place)
        a, b, c, d = zero, zero, zero, zero
        if inside:
            if at < length:
                a = x[place]
            if at + 1 < length:
                b = x[place + 1]
            if at + 2 < length:
                c = x[place + 2]
            if at + 3 < length:
                d = x[place + 3]
        return a, b, c, d

    return fetch


@functools.cache
def multiplier(EACH: int, APART: int) -> Any:
    """The device function for one level of the depth: EACH x EACH products of EACH numbers of both tiles."""

    @cuda.jit(device=True, inline="always")
    def products(sums: Any, row: Any, column: Any, left: Any, right: Any, above: Any, beside: Any) -> None:
        for g in range(EACH // 4):
            u = load4(left, above + g * APART)
            v = load4(right, beside + g * APART)
            row[g * 4], row[g * 4 + 1], row[g * 4 + 2], row[g * 4 + 3] = u[0], u[1], u[2], u[3]
            column[g * 4], column[g * 4 + 1] = v[0], v[1]
            column[g * 4 + 2], column[g * 4 + 3] = v[2], v[3]
        for i in range(EACH):
            for j in range(EACH):
                sums[i, j] += row[i] * column[j]

    return products


def make(T: Any, a_rows: bool, b_rows: bool, sizes: tuple[int, int, int]) -> Any:
    """Return the kernel for matrices whose memory runs along their rows, or along their columns.

    The latter are transposed ones.
    """
    SIDE, EACH, DEPTH = sizes
    TILE, GROUPS, APART, QUADS = SIDE * EACH, EACH // 4, SIDE * 4, DEPTH // 4
    vector = T.bitwidth == 32
    fetch, products = fetcher(T, vector), multiplier(EACH, APART)
    ROOM = 2 * DEPTH * TILE
    zero = T(0)

    def kernel(
        a, b, c, m, n, k, a_step, b_step, a_aligned, b_aligned, c_aligned,
        inner, a_outer, a_inner, b_outer, b_inner,
    ):  # fmt: skip
        left = cuda.shared.array(ROOM, T, 16)
        right = cuda.shared.array(ROOM, T, 16)
        sums = cuda.local.array((EACH, EACH), T)
        row = cuda.local.array(EACH, T)
        column = cuda.local.array(EACH, T)
        for i in range(EACH):
            for j in range(EACH):
                sums[i, j] = zero
        t = cuda.threadIdx.x
        tx, ty = t % SIDE, t // SIDE
        m0, n0 = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
        z = cuda.blockIdx.z
        a_start = (z // inner) * a_outer + (z % inner) * a_inner
        b_start = (z // inner) * b_outer + (z % inner) * b_inner
        # Which four neighbours of each tile this thread brings: along the depth, or across it.
        along, deep = t // QUADS, (t % QUADS) * 4
        across, level = (t % (TILE // 4)) * 4, t // (TILE // 4)
        if a_rows:
            p_place, p_hop = a_start + (m0 + along) * a_step + deep, DEPTH
            p = fetch(a, p_place, m0 + along < m, deep, k, a_aligned)
        else:
            p_place, p_hop = a_start + level * a_step + m0 + across, DEPTH * a_step
            p = fetch(a, p_place, level < k, m0 + across, m, a_aligned)
        if b_rows:
            q_place, q_hop = b_start + level * b_step + n0 + across, DEPTH * b_step
            q = fetch(b, q_place, level < k, n0 + across, n, b_aligned)
        else:
            q_place, q_hop = b_start + (n0 + along) * b_step + deep, DEPTH
            q = fetch(b, q_place, n0 + along < n, deep, k, b_aligned)
        here = 0
        for k0 in range(0, k, DEPTH):
            # Each tile is kept with the depth as its rows, in one of two buffers: while some threads still
            # read the last one, others already fill this one, and one barrier a step is enough.
            if a_rows:
                left[here + deep * TILE + along] = p[0]
                left[here + (deep + 1) * TILE + along] = p[1]
                left[here + (deep + 2) * TILE + along] = p[2]
                left[here + (deep + 3) * TILE + along] = p[3]
            else:
                store4(left, here + level * TILE + across, p[0], p[1], p[2], p[3])
            if b_rows:
                store4(right, here + level * TILE + across, q[0], q[1], q[2], q[3])
            else:
                right[here + deep * TILE + along] = q[0]
                right[here + (deep + 1) * TILE + along] = q[1]
                right[here + (deep + 2) * TILE + along] = q[2]
                right[here + (deep + 3) * TILE + along] = q[3]
            cuda.syncthreads()
            # The next tiles are on their way from memory while this one is multiplied.
            after = k0 + DEPTH
            if after < k:
                p_place += p_hop
                q_place += q_hop
                if a_rows:
                    p = fetch(a, p_place, m0 + along < m, after + deep, k, a_aligned)
                else:
                    p = fetch(a, p_place, after + level < k, m0 + across, m, a_aligned)
                if b_rows:
                    q = fetch(b, q_place, after + level < k, n0 + across, n, b_aligned)
                else:
                    q = fetch(b, q_place, n0 + along < n, after + deep, k, b_aligned)
            for d in range(0, DEPTH, 2):  # the compiler would not unroll it: a fifth of the instructions
                at = here + d * TILE
                products(sums, row, column, left, right, at + ty * 4, at + tx * 4)
                products(sums, row, column, left, right, at + TILE + ty * 4, at + TILE + tx * 4)
            here = DEPTH * TILE - here
        c_start = z * m * n
        for i in range(EACH):
            r = m0 + (i // 4) * APART + ty * 4 + i % 4
            if r < m:
                for g in range(GROUPS):
                    s = n0 + g * APART + tx * 4
                    place = c_start + r * n + s
                    if vector and c_aligned and s + 3 < n:
                        store4(
                            c,
                            place,
                            sums[i, 4 * g],
                            sums[i, 4 * g + 1],
                            sums[i, 4 * g + 2],
                            sums[i, 4 * g + 3],
                        )
                    else:
                        for j in range(4):
                            if s + j < n:
                                c[place + j] = sums[i, 4 * g + j]

    return kernel


def variant(a_rows: bool, b_rows: bool) -> Program:
    """The program for one pair of memory orders."""

    def matmul(T: Any) -> Any:
        char = "f" if T.bitwidth == 32 else "d"
        return make(T, a_rows, b_rows, (SIMULATED_SIZES if SIMULATED else SIZES)[char])

    matmul.__name__ = f"matmul_{'n' if a_rows else 't'}{'n' if b_rows else 't'}"
    return Program(matmul, "PPPiiiqqiiiiqqqq", threads=256, launch_bounds=(256, 2))


VARIANTS = {(a, b): variant(a, b) for a in (True, False) for b in (True, False)}


def order(x: Any) -> tuple[bool, int] | None:
    """Return (whether rows lie in one piece, elements from one to the next); None if neither way."""
    row, column = (step // x.itemsize for step in x.strides[-2:])
    m, n = x.shape[-2:]
    if column == 1 or n == 1:
        return True, row if m > 1 else n
    if row == 1 or m == 1:
        return False, column
    return None


def batches(x: Any, batch: tuple[int, ...]) -> tuple[int, int] | None:
    """Elements from one matrix to the next in two levels of leading dimensions (0: the same again)."""
    lead = (1,) * (len(batch) + 2 - x.ndim) + x.shape[:-2]
    steps = (0,) * (len(batch) + 2 - x.ndim) + tuple(step // x.itemsize for step in x.strides[:-2])
    steps = tuple(0 if extent == 1 else step for extent, step in zip(lead, steps, strict=True))
    if not batch:
        return 0, 0
    if len(batch) == 1:
        return 0, steps[0]
    for i in range(len(batch) - 2):  # the outer levels must be one run
        if batch[i] > 1 and steps[i] != steps[i + 1] * batch[i + 1]:
            return None
    return steps[-2], steps[-1]


def accepts(a: Any, b: Any, *rest: Any, **options: Any) -> bool:
    """Matrices or stacks of them, whole or transposed, without copies; no vectors."""
    return (
        not rest
        and not options
        and hasattr(b, "ndim")
        and a.ndim > 1
        and b.ndim > 1
        and a.size > 0
        and b.size > 0
        and a.shape[-1] == b.shape[-2]
        and on_card(a, b, contiguous=False)
        and min(*a.strides, *b.strides) >= 0
    )


@cuda_kernel("matmul", accepts=accepts)
def matmul(a: Any, b: Any) -> Any:
    """``a @ b``: a (..., m, k), b (..., k, n) or their transposes in memory; (..., m, n).

    for every matrix:  for i in rows:  for j in columns:  for p:  c[i, j] += a[i, p] * b[p, j]
    """
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    orders, steps = (order(a), order(b)), (batches(a, batch), batches(b, batch))
    if None in orders or None in steps:
        return NotImplemented
    (a_rows, a_step), (b_rows, b_step) = orders  # type: ignore[misc]
    (a_outer, a_inner), (b_outer, b_inner) = steps  # type: ignore[misc]
    m, k = a.shape[-2:]
    n = b.shape[-1]
    count = int(np.prod(batch, dtype=np.int64))
    if count > 65535 or m > 65535 * 64:
        return NotImplemented
    c = room(a, (*batch, m, n))
    if c.size == 0:
        return c
    char = a.dtype.char
    side, each, _ = (SIMULATED_SIZES if SIMULATED else SIZES)[char]
    tile = side * each
    inner = batch[-1] if batch else 1
    VARIANTS[a_rows, b_rows](
        (-(-n // tile), -(-m // tile), count),
        side * side,
        char,
        *(a, b, c, m, n, k, a_step, b_step),
        *(aligned(a, a_step, a_outer, a_inner), aligned(b, b_step, b_outer, b_inner), n % 4 == 0),
        *(inner, a_outer, a_inner, b_outer, b_inner),
    )
    return c


def aligned(x: Any, *steps: int) -> bool:
    """Whether every row starts at a multiple of 16 bytes."""
    address = x.ctypes.data if SIMULATED else x.data.ptr
    return address % 16 == 0 and all(step % 4 == 0 for step in steps)
