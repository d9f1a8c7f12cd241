"""LSTM and GRU layers through all steps of time in one launch; wide ones with two launches a step.

    for samples in blocks:  for step in time:  the product with the state;  the gates;  the new state

The samples of a batch know nothing of each other, so a block takes one (or four) of them through all steps:
its state stays in shared memory, its threads share the columns of the weights, which every block reads from
the card's cache.  Weights too large for that are multiplied by cuBLAS, step by step, and one kernel does
the rest of a step.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import SIMULATED, Program, array_module, cuda, cuda_kernel, on_card, room
from accelgrad.kernels.cuda.warp import quotient

__all__ = ["gru_steps", "gru_steps_backward", "lstm_steps", "lstm_steps_backward"]

WIDEST = 256
"""Up to this width of the state a layer is one launch: a thread for each row of the weights."""
TOGETHER = 4
"""Samples of a block where there are many: they share what is read of the weights."""
MANY = 256

# --- for one element


@functools.cache
def sigmoid_of(T: Any) -> Any:
    ONE = T(1)

    @cuda.jit(device=True)
    def sigmoid(x: Any) -> Any:
        return ONE / (ONE + math.exp(-x))

    return sigmoid


@functools.cache
def lstm_gradients_of(T: Any) -> Any:
    """From the gradients of h' and c' those of the four gates before their functions, and of c."""
    ONE = T(1)

    @cuda.jit(device=True)
    def gradients(h: Any, c: Any, i: Any, f: Any, g: Any, o: Any, flat: Any, before: Any) -> Any:
        c += h * o * (ONE - flat * flat)
        to_input, to_forget = c * g * i * (ONE - i), c * before * f * (ONE - f)
        return to_input, to_forget, c * i * (ONE - g * g), h * flat * o * (ONE - o), c * f

    return gradients


@functools.cache
def gru_gradients_of(T: Any) -> Any:
    """From the gradient of h' those of the three gates before their functions, and the direct part of h's."""
    ONE = T(1)

    @cuda.jit(device=True)
    def gradients(h: Any, r: Any, z: Any, n: Any, inner: Any, before: Any) -> Any:
        to_new = h * (ONE - z) * (ONE - n * n)
        return to_new * inner * r * (ONE - r), h * (before - n) * z * (ONE - z), to_new, h * z

    return gradients


def times_columns(S: int) -> Any:
    """Return the device function ``sums[q] += sum over k of x[q, k] u[k, j]`` for S samples.

    Eight loads of the weights are on their way at a time.
    """

    @cuda.jit(device=True)
    def add(sums: Any, x: Any, first: Any, row: Any, u: Any, at: Any, step: Any, count: Any) -> None:
        k = 0
        while k + 8 <= count:
            u0, u1, u2, u3 = u[at], u[at + step], u[at + 2 * step], u[at + 3 * step]
            u4, u5, u6, u7 = u[at + 4 * step], u[at + 5 * step], u[at + 6 * step], u[at + 7 * step]
            for q in range(S):
                b = q * row + first + k
                sums[q] += x[b] * u0 + x[b + 1] * u1 + x[b + 2] * u2 + x[b + 3] * u3
                sums[q] += x[b + 4] * u4 + x[b + 5] * u5 + x[b + 6] * u6 + x[b + 7] * u7
            k += 8
            at += 8 * step
        while k < count:
            for q in range(S):
                sums[q] += x[q * row + first + k] * u[at]
            k += 1
            at += step

    return add


# --- whole layers


def lstm_layer(T: Any, S: int) -> Any:
    add, sigmoid = times_columns(S), sigmoid_of(T)
    STATE, GATES = S * WIDEST, S * 4 * WIDEST
    ZERO = T(0)

    def kernel(gates, u, h0, c0, y, cells, tanhs, h_last, c_last, steps, length, n, w):
        h = cuda.shared.array(STATE, T)
        c = cuda.shared.array(STATE, T)
        gate = cuda.shared.array(GATES, T)
        sums = cuda.local.array(S, T)
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        first, four = cuda.blockIdx.x * S, 4 * w
        for e in range(t, S * w, threads):
            inside = first * w + e < n * w
            h[e] = h0[first * w + e] if inside else ZERO
            c[e] = c0[first * w + e] if inside else ZERO
        cuda.syncthreads()
        for s in range(length):
            start, size = steps[2 * s] + first, steps[2 * s + 1] - first  # this block's rows, and how many
            for j in range(t, four, threads):
                for q in range(S):
                    sums[q] = gates[(start + q) * four + j] if q < size else ZERO
                add(sums, h, 0, w, u, j, four, w)
                for q in range(S):
                    value = sums[q]
                    value = math.tanh(value) if 2 * w <= j < 3 * w else sigmoid(value)
                    gate[q * four + j] = value
                    if q < size:
                        gates[(start + q) * four + j] = value
            cuda.syncthreads()
            for e in range(t, S * w, threads):
                q = quotient(e, w)
                if q < size:
                    at = q * four + e - q * w
                    new = gate[at + w] * c[e] + gate[at] * gate[at + 2 * w]
                    flat = math.tanh(new)
                    out = gate[at + 3 * w] * flat
                    c[e], h[e] = new, out
                    place = start * w + e
                    cells[place], tanhs[place], y[place] = new, flat, out
            cuda.syncthreads()
        for e in range(t, S * w, threads):
            if first * w + e < n * w:
                h_last[first * w + e], c_last[first * w + e] = h[e], c[e]

    return kernel


def lstm_layer_backward(T: Any, S: int) -> Any:
    add, gradients = times_columns(S), lstm_gradients_of(T)
    STATE, GATES = S * WIDEST, S * 4 * WIDEST
    ZERO = T(0)

    def kernel(
        grad_y, grad_h, grad_c, gates, cells, tanhs, c0, w_hh, deltas, dh_first, dc_first, steps, length, n, w
    ):
        dh = cuda.shared.array(STATE, T)
        dc = cuda.shared.array(STATE, T)
        delta = cuda.shared.array(GATES, T)
        parts = cuda.shared.array(GATES, T)
        sums = cuda.local.array(S, T)
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        first, four = cuda.blockIdx.x * S, 4 * w
        for e in range(t, S * w, threads):
            inside = first * w + e < n * w
            dh[e] = grad_h[first * w + e] if inside else ZERO
            dc[e] = grad_c[first * w + e] if inside else ZERO
        # Each thread meets the same elements of dh and dc in all loops over e: no barrier is needed for them.
        for back in range(length):
            s = length - 1 - back
            start, size = steps[2 * s] + first, steps[2 * s + 1] - first
            for e in range(t, S * w, threads):
                q = quotient(e, w)
                j = e - q * w
                at = q * four + j
                if q < size:
                    place, row = start * w + e, (start + q) * four + j
                    before = c0[first * w + e]
                    if s > 0 and q < steps[2 * s - 1] - first:
                        before = cells[(steps[2 * s - 2] + first) * w + e]
                    a, f, g, o, c = gradients(
                        dh[e] + grad_y[place], dc[e],
                        gates[row], gates[row + w], gates[row + 2 * w], gates[row + 3 * w],
                        tanhs[place], before,
                    )  # fmt: skip
                    dc[e] = c
                    delta[at], delta[at + w], delta[at + 2 * w], delta[at + 3 * w] = a, f, g, o
                    deltas[row], deltas[row + w], deltas[row + 2 * w], deltas[row + 3 * w] = a, f, g, o
                else:
                    delta[at], delta[at + w] = ZERO, ZERO
                    delta[at + 2 * w], delta[at + 3 * w] = ZERO, ZERO
            cuda.syncthreads()
            for j in range(t, four, threads):
                part = quotient(j, w)
                for q in range(S):
                    sums[q] = ZERO
                add(sums, delta, part * w, four, w_hh, part * w * w + j - part * w, w, w)
                for q in range(S):
                    parts[q * four + j] = sums[q]
            cuda.syncthreads()
            for e in range(t, S * w, threads):
                q = quotient(e, w)
                if q < size:
                    at = q * four + e - q * w
                    dh[e] = parts[at] + parts[at + w] + parts[at + 2 * w] + parts[at + 3 * w]
        for e in range(t, S * w, threads):
            if first * w + e < n * w:
                dh_first[first * w + e], dc_first[first * w + e] = dh[e], dc[e]

    return kernel


def gru_layer(T: Any, S: int) -> Any:
    add, sigmoid = times_columns(S), sigmoid_of(T)
    STATE, GATES = S * WIDEST, S * 3 * WIDEST
    ZERO, ONE = T(0), T(1)

    def kernel(gates, u, b_hh, h0, y, inner, h_last, steps, length, n, w, with_bias):
        h = cuda.shared.array(STATE, T)
        product = cuda.shared.array(GATES, T)
        sums = cuda.local.array(S, T)
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        first, three = cuda.blockIdx.x * S, 3 * w
        for e in range(t, S * w, threads):
            h[e] = h0[first * w + e] if first * w + e < n * w else ZERO
        cuda.syncthreads()
        for s in range(length):
            start, size = steps[2 * s] + first, steps[2 * s + 1] - first
            for j in range(t, three, threads):
                for q in range(S):
                    sums[q] = b_hh[j] if with_bias else ZERO
                add(sums, h, 0, w, u, j, three, w)
                for q in range(S):
                    product[q * three + j] = sums[q]
            cuda.syncthreads()
            for e in range(t, S * w, threads):
                q = quotient(e, w)
                if q < size:
                    at, row = q * three + e - q * w, (start + q) * three + e - q * w
                    reset = sigmoid(gates[row] + product[at])
                    update = sigmoid(gates[row + w] + product[at + w])
                    last = product[at + 2 * w]
                    new = math.tanh(gates[row + 2 * w] + reset * last)
                    out = (ONE - update) * new + update * h[e]
                    gates[row], gates[row + w], gates[row + 2 * w] = reset, update, new
                    h[e] = out
                    inner[start * w + e], y[start * w + e] = last, out
            cuda.syncthreads()
        for e in range(t, S * w, threads):
            if first * w + e < n * w:
                h_last[first * w + e] = h[e]

    return kernel


def gru_layer_backward(T: Any, S: int) -> Any:
    add, gradients = times_columns(S), gru_gradients_of(T)
    STATE, GATES = S * WIDEST, S * 3 * WIDEST
    ZERO = T(0)

    def kernel(grad_y, grad_h, gates, inner, y, h0, w_hh, dx, du, dh_first, steps, length, n, w):
        dh = cuda.shared.array(STATE, T)
        delta = cuda.shared.array(GATES, T)
        parts = cuda.shared.array(GATES, T)
        sums = cuda.local.array(S, T)
        t, threads = cuda.threadIdx.x, cuda.blockDim.x
        first, three = cuda.blockIdx.x * S, 3 * w
        for e in range(t, S * w, threads):
            dh[e] = grad_h[first * w + e] if first * w + e < n * w else ZERO
        for back in range(length):
            s = length - 1 - back
            start, size = steps[2 * s] + first, steps[2 * s + 1] - first
            for e in range(t, S * w, threads):
                q = quotient(e, w)
                j = e - q * w
                at = q * three + j
                if q < size:
                    place, row = start * w + e, (start + q) * three + j
                    before = h0[first * w + e]
                    if s > 0 and q < steps[2 * s - 1] - first:
                        before = y[(steps[2 * s - 2] + first) * w + e]
                    reset = gates[row]
                    a, b, c, direct = gradients(
                        dh[e] + grad_y[place], reset, gates[row + w], gates[row + 2 * w], inner[place], before
                    )
                    dh[e] = direct
                    dx[row], dx[row + w], dx[row + 2 * w] = a, b, c
                    c *= reset
                    du[row], du[row + w], du[row + 2 * w] = a, b, c
                    delta[at], delta[at + w], delta[at + 2 * w] = a, b, c
                else:
                    delta[at], delta[at + w], delta[at + 2 * w] = ZERO, ZERO, ZERO
            cuda.syncthreads()
            for j in range(t, three, threads):
                part = quotient(j, w)
                for q in range(S):
                    sums[q] = ZERO
                add(sums, delta, part * w, three, w_hh, part * w * w + j - part * w, w, w)
                for q in range(S):
                    parts[q * three + j] = sums[q]
            cuda.syncthreads()
            for e in range(t, S * w, threads):
                q = quotient(e, w)
                if q < size:
                    at = q * three + e - q * w
                    dh[e] += parts[at] + parts[at + w] + parts[at + 2 * w]
        for e in range(t, S * w, threads):
            if first * w + e < n * w:
                dh_first[first * w + e] = dh[e]

    return kernel


# --- single steps


def lstm_step(T: Any) -> Any:
    """After ``product = h Uᵀ``: the gates, the new cell and state of the rows from ``start`` on."""
    sigmoid = sigmoid_of(T)

    def kernel(gates, product, c, h, y, cells, tanhs, start, count, w):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < count:
            q = quotient(e, w)
            at = q * 4 * w + e - q * w
            row = start * 4 * w + at
            i, f = sigmoid(gates[row] + product[at]), sigmoid(gates[row + w] + product[at + w])
            g = math.tanh(gates[row + 2 * w] + product[at + 2 * w])
            o = sigmoid(gates[row + 3 * w] + product[at + 3 * w])
            gates[row], gates[row + w], gates[row + 2 * w], gates[row + 3 * w] = i, f, g, o
            new = f * c[e] + i * g
            flat = math.tanh(new)
            place = start * w + e
            cells[place], tanhs[place], y[place] = new, flat, o * flat
            c[e], h[e] = new, o * flat

    return kernel


def lstm_step_backward(T: Any) -> Any:
    """Before ``dh = deltas U``: the gates' gradients of the rows from ``start`` on.

    The step before had ``known`` rows from ``earlier`` on.
    """
    gradients = lstm_gradients_of(T)

    def kernel(grad_y, dh, dc, gates, cells, tanhs, c0, deltas, start, earlier, known, count, w):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < count:
            q = quotient(e, w)
            place, row = start * w + e, (start + q) * 4 * w + e - q * w
            before = cells[earlier * w + e] if q < known else c0[e]
            a, f, g, o, c = gradients(
                dh[e] + grad_y[place], dc[e],
                gates[row], gates[row + w], gates[row + 2 * w], gates[row + 3 * w], tanhs[place], before,
            )  # fmt: skip
            deltas[row], deltas[row + w], deltas[row + 2 * w], deltas[row + 3 * w] = a, f, g, o
            dc[e] = c

    return kernel


def gru_step(T: Any) -> Any:
    """After ``product = h Uᵀ``: the gates and the new state of the rows from ``start`` on."""
    ONE, sigmoid = T(1), sigmoid_of(T)

    def kernel(gates, product, b_hh, h, y, inner, start, count, w, with_bias):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < count:
            q = quotient(e, w)
            j = e - q * w
            at = q * 3 * w + j
            row = start * 3 * w + at
            a, b, last = product[at], product[at + w], product[at + 2 * w]
            if with_bias:
                a += b_hh[j]
                b += b_hh[j + w]
                last += b_hh[j + 2 * w]
            reset, update = sigmoid(gates[row] + a), sigmoid(gates[row + w] + b)
            new = math.tanh(gates[row + 2 * w] + reset * last)
            out = (ONE - update) * new + update * h[e]
            gates[row], gates[row + w], gates[row + 2 * w] = reset, update, new
            inner[start * w + e], y[start * w + e], h[e] = last, out, out

    return kernel


def gru_step_backward(T: Any) -> Any:
    """Before ``dh += du U``: the gates' gradients, and the direct part of dh."""
    gradients = gru_gradients_of(T)

    def kernel(grad_y, dh, gates, inner, y, h0, dx, du, start, earlier, known, count, w):
        e = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if e < count:
            q = quotient(e, w)
            place, row = start * w + e, (start + q) * 3 * w + e - q * w
            before = y[earlier * w + e] if q < known else h0[e]
            reset = gates[row]
            a, b, c, direct = gradients(
                dh[e] + grad_y[place], reset, gates[row + w], gates[row + 2 * w], inner[place], before
            )
            dx[row], dx[row + w], dx[row + 2 * w] = a, b, c
            du[row], du[row + w], du[row + 2 * w] = a, b, c * reset
            dh[e] = direct

    return kernel


def layers(make: Any, signature: str) -> dict[int, Program]:
    """The program for one sample a block, and for several (in float32: float64 would not fit)."""
    programs = {}
    for samples, dtypes in ((1, "fd"), (TOGETHER, "f")):

        def of_type(T: Any, samples: int = samples) -> Any:
            return make(T, samples)

        of_type.__name__ = f"{make.__name__}_{samples}"
        programs[samples] = Program(of_type, signature, dtypes=dtypes, threads=1024, launch_bounds=1024)
    return programs


LSTM, LSTM_BACKWARD = layers(lstm_layer, "P" * 9 + "Liii"), layers(lstm_layer_backward, "P" * 11 + "Liii")
GRU, GRU_BACKWARD = layers(gru_layer, "P" * 7 + "Liiii"), layers(gru_layer_backward, "P" * 10 + "Liii")
LSTM_STEP = Program(lstm_step, "P" * 7 + "iii")
LSTM_STEP_BACKWARD = Program(lstm_step_backward, "P" * 8 + "iiiii")
GRU_STEP = Program(gru_step, "P" * 6 + "iiii")
GRU_STEP_BACKWARD = Program(gru_step_backward, "P" * 8 + "iiiii")


# --- the interface


@functools.lru_cache(maxsize=64)
def on_device(steps: tuple[tuple[int, int], ...], device: int) -> Any:
    """First row and number of rows of every step on the card: the same for every batch of that shape."""
    return array_module().asarray(np.array(steps, np.int64).reshape(-1))


def accepts(gates: Any, *others: Any) -> bool:
    """Contiguous arrays of one dtype, then the steps; a bias may be missing."""
    *arrays, steps = others
    present = [one for one in arrays if one is not None]
    return (
        gates.ndim == 2 and gates.size > 0 and len(steps) > 0
        and all(hasattr(one, "shape") for one in present)
        and on_card(gates, *present)
        and max(one.size for one in (gates, *present)) < 2**30
    )  # fmt: skip


def whole(programs: dict[int, Program], h: Any, steps: Any, parts: int, *arrays: Any, last: Any = ()) -> bool:
    """Launch the kernel for all steps; False where the state is too wide for it."""
    n, w = h.shape
    if w > WIDEST:
        return False
    char = h.dtype.char
    samples = TOGETHER if n >= MANY and char in programs[TOGETHER].dtypes else 1
    table = on_device(tuple(steps), 0 if SIMULATED else h.device.id)
    threads = -(-parts * w // 32) * 32
    programs[samples](-(-n // samples), threads, char, *arrays, table, len(steps), n, w, *last)
    return True


def backwards(steps: Any) -> Any:
    """Every step with the one before it, the last one first."""
    return zip(reversed(steps), [*reversed(steps[:-1]), (0, 0)], strict=True)


def grid(count: int) -> tuple[int, int]:
    """The grid and the block for a thread an element."""
    threads = 32 if count <= 2048 else 256
    return -(-count // threads), threads


def multiply(a: Any, b: Any, out: Any = None) -> Any:
    """cuBLAS's product."""
    return array_module().matmul(a, b, out=out)


def turned(w_hh: Any) -> Any:
    """The weights with a column for each gate, in the memory's order."""
    return array_module().ascontiguousarray(w_hh.T)


@cuda_kernel("lstm_steps", accepts=accepts)
def lstm_steps(gates: Any, h0: Any, c0: Any, w_hh: Any, steps: Any) -> tuple[Any, ...]:
    """All h', c' and tanh(c'), and the last h and c; ``gates`` becomes i, f, g, o."""
    n, w = h0.shape
    y, cells, tanhs = (room(h0, (len(gates), w)) for _ in range(3))
    h, c = room(h0, (n, w)), room(h0, (n, w))
    if not whole(LSTM, h0, steps, 4, gates, turned(w_hh), h0, c0, y, cells, tanhs, h, c):
        h[...], c[...] = h0, c0
        for start, size in steps:
            product = multiply(h[:size], w_hh.T)
            arrays = gates, product, c, h, y, cells, tanhs
            LSTM_STEP(*grid(size * w), h.dtype.char, *arrays, start, size * w, w)
    return y, cells, tanhs, h, c


@cuda_kernel("lstm_steps_backward", accepts=accepts)
def lstm_steps_backward(
    grad_y: Any, grad_h: Any, grad_c: Any, gates: Any, cells: Any, tanhs: Any, c0: Any, w_hh: Any, steps: Any
) -> tuple[Any, ...]:
    """The gradients of the gates before their functions, of h0 and of c0."""
    n, w = c0.shape
    deltas, dh, dc = room(c0, gates.shape), room(c0, (n, w)), room(c0, (n, w))
    inputs = grad_y, grad_h, grad_c, gates, cells, tanhs, c0, w_hh
    if not whole(LSTM_BACKWARD, c0, steps, 4, *inputs, deltas, dh, dc):
        dh[...], dc[...] = grad_h, grad_c
        for (start, size), (earlier, known) in backwards(steps):
            arrays = grad_y, dh, dc, gates, cells, tanhs, c0, deltas
            numbers = start, earlier, known, size * w, w
            LSTM_STEP_BACKWARD(*grid(size * w), c0.dtype.char, *arrays, *numbers)
            multiply(deltas[start : start + size], w_hh, out=dh[:size])
    return deltas, dh, dc


@cuda_kernel("gru_steps", accepts=accepts)
def gru_steps(gates: Any, h0: Any, w_hh: Any, b_hh: Any, steps: Any) -> tuple[Any, ...]:
    """All h', the last part of U h + b of all rows, and the last h; ``gates`` becomes r, z, n."""
    n, w = h0.shape
    y, inner, h = room(h0, (len(gates), w)), room(h0, (len(gates), w)), room(h0, (n, w))
    biased = b_hh is not None
    if not whole(GRU, h0, steps, 3, gates, turned(w_hh), b_hh, h0, y, inner, h, last=(biased,)):
        h[...] = h0
        for start, size in steps:
            product = multiply(h[:size], w_hh.T)
            arrays = gates, product, b_hh, h, y, inner
            GRU_STEP(*grid(size * w), h.dtype.char, *arrays, start, size * w, w, biased)
    return y, inner, h


@cuda_kernel("gru_steps_backward", accepts=accepts)
def gru_steps_backward(
    grad_y: Any, grad_h: Any, gates: Any, inner: Any, y: Any, h0: Any, w_hh: Any, steps: Any
) -> tuple[Any, ...]:
    """The gradients of the gates before their functions, of U h + b and of h0."""
    n, w = h0.shape
    dx, du, dh = room(h0, gates.shape), room(h0, gates.shape), room(h0, (n, w))
    if not whole(GRU_BACKWARD, h0, steps, 3, grad_y, grad_h, gates, inner, y, h0, w_hh, dx, du, dh):
        dh[...] = grad_h
        for (start, size), (earlier, known) in backwards(steps):
            arrays = grad_y, dh, gates, inner, y, h0, dx, du
            GRU_STEP_BACKWARD(*grid(size * w), h0.dtype.char, *arrays, start, earlier, known, size * w, w)
            dh[:size] += multiply(du[start : start + size], w_hh)
    return dx, du, dh
