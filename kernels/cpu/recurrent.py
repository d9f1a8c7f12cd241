"""The loops over time of LSTM and GRU layers, each compiled as a whole.

    for step in time:  the product with the state;  for i in samples:  the gates, one row after another

The samples of a batch know nothing of each other, so each thread takes some of them through all steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import CONTRACT, jit
from accelgrad.kernels.cpu.elementary import exp, tanh
from accelgrad.kernels.cpu.matmul import ADD, SAME_B, ZERO, multiplier, outruns_blas, room
from accelgrad.kernels.cpu.softmax import plain_float
from accelgrad.kernels.cpu.threads import parallel
from accelgrad.kernels.cpu.vector import call, item_size

__all__ = ["gru_steps", "gru_steps_backward", "lstm_steps", "lstm_steps_backward"]

PARALLEL = 1 << 22  # multiplications of all steps from which a second thread pays
SMALL = 1 << 18  # elements of the weights up to which the gates count beside the product

# In the compiled functions every loop writes one row and reads a few: so LLVM can make sure that they do not
# overlap, and use vectors.


@jit()
def onto(target, first, count, a, a_first, b, transposed, mode, multiplier, workspace, zero):
    """target[first ...] += a[a_first ...] @ b, or @ b.T: ``count`` rows of two-dimensional arrays."""
    size = item_size(zero)
    n, k = target.shape[1], a.shape[1]
    b_row, b_column = (1, b.shape[1]) if transposed else (b.shape[1], 1)
    left, right = a.ctypes.data + a_first * k * size, b.ctypes.data
    place = target.ctypes.data + first * n * size
    call(multiplier, (left, k, 1, right, b_row, b_column, place, n, count, n, k, mode, workspace), zero)


@jit(CONTRACT)
def sigmoid_row(x):
    one = x.dtype.type(1)
    for j in range(x.size):
        x[j] = one / (one + exp(-x[j]))


@jit(CONTRACT)
def tanh_row(x):
    for j in range(x.size):
        x[j] = tanh(x[j])


@jit(CONTRACT)
def add_row(x, y):
    for j in range(x.size):
        x[j] += y[j]


@jit(CONTRACT)
def lstm_range(start, stop, gates, h, c, y, cells, tanhs, w_hh, steps, multiplier, workspace, zero):
    """The samples start ... stop through all steps; h and c begin as h0 and c0 and end as the last ones."""
    width = h.shape[1]
    mode = ADD
    for s in range(len(steps)):
        count, first = min(stop, steps[s, 1]) - start, steps[s, 0] + start
        if count <= 0:
            continue
        onto(gates, first, count, h, start, w_hh, True, mode, multiplier, workspace, zero)
        mode = ADD | SAME_B
        for i in range(count):
            gate, cell, new = gates[first + i], c[start + i], cells[first + i]
            sigmoid_row(gate[: 2 * width])
            inner, forget = gate[:width], gate[width : 2 * width]
            fresh, outer = gate[2 * width : 3 * width], gate[3 * width :]
            tanh_row(fresh)
            sigmoid_row(outer)
            for j in range(width):
                new[j] = forget[j] * cell[j] + inner[j] * fresh[j]
            flat, out, state = tanhs[first + i], y[first + i], h[start + i]
            flat[:] = new
            tanh_row(flat)
            for j in range(width):
                out[j] = outer[j] * flat[j]
            cell[:], state[:] = new, out


@jit(CONTRACT)
def lstm_backward_range(
    start, stop, grad_y, dh, dc, gates, cells, tanhs, c0, w_hh, steps, deltas, multiplier, workspace, zero
):
    """The samples start ... stop back; dh and dc begin as the gradients of the last h and c."""
    width = dh.shape[1]
    one = dh.dtype.type(1)
    mode = ADD
    for s in range(len(steps) - 1, -1, -1):
        count, first = min(stop, steps[s, 1]) - start, steps[s, 0] + start
        if count <= 0:
            continue
        for i in range(count):
            gate, flat, delta = gates[first + i], tanhs[first + i], deltas[first + i]
            to_h, to_c = dh[start + i], dc[start + i]
            inner, forget = gate[:width], gate[width : 2 * width]
            fresh, outer = gate[2 * width : 3 * width], gate[3 * width :]
            before = c0[start + i]
            if s > 0 and start + i < steps[s - 1, 1]:
                before = cells[steps[s - 1, 0] + start + i]
            add_row(to_h, grad_y[first + i])
            part = delta[3 * width :]
            for j in range(width):
                part[j] = to_h[j] * flat[j] * outer[j] * (one - outer[j])
            for j in range(width):
                to_c[j] += to_h[j] * outer[j] * (one - flat[j] * flat[j])
            part = delta[:width]
            for j in range(width):
                part[j] = to_c[j] * fresh[j] * inner[j] * (one - inner[j])
            part = delta[width : 2 * width]
            for j in range(width):
                part[j] = to_c[j] * before[j] * forget[j] * (one - forget[j])
            part = delta[2 * width : 3 * width]
            for j in range(width):
                part[j] = to_c[j] * inner[j] * (one - fresh[j] * fresh[j])
            for j in range(width):
                to_c[j] *= forget[j]
            to_h[:] = 0
        onto(dh, start, count, deltas, first, w_hh, False, mode, multiplier, workspace, zero)
        mode = ADD | SAME_B


@jit(CONTRACT)
def gru_range(start, stop, gates, h, y, inner, products, w_hh, b_hh, steps, multiplier, workspace, zero):
    """The samples start ... stop through all steps; ``products`` (samples, 3 w) is room for U h + b."""
    width = h.shape[1]
    one = h.dtype.type(1)
    mode = ADD
    for s in range(len(steps)):
        count, first = min(stop, steps[s, 1]) - start, steps[s, 0] + start
        if count <= 0:
            continue
        for i in range(count):
            products[start + i] = b_hh
        onto(products, start, count, h, start, w_hh, True, mode, multiplier, workspace, zero)
        mode = ADD | SAME_B
        for i in range(count):
            gate, product, state = gates[first + i], products[start + i], h[start + i]
            both, new = gate[: 2 * width], gate[2 * width :]
            add_row(both, product)
            sigmoid_row(both)
            reset, update, last, out = gate[:width], gate[width : 2 * width], inner[first + i], y[first + i]
            last[:] = product[2 * width :]
            for j in range(width):
                new[j] += reset[j] * last[j]
            tanh_row(new)
            for j in range(width):
                out[j] = (one - update[j]) * new[j] + update[j] * state[j]
            state[:] = out


@jit(CONTRACT)
def gru_backward_range(
    start, stop, grad_y, dh, gates, inner, y, h0, w_hh, steps, dx, du, multiplier, workspace, zero
):
    """The samples start ... stop back through all steps."""
    width = dh.shape[1]
    one = dh.dtype.type(1)
    mode = ADD
    for s in range(len(steps) - 1, -1, -1):
        count, first = min(stop, steps[s, 1]) - start, steps[s, 0] + start
        if count <= 0:
            continue
        for i in range(count):
            gate, last, to_h = gates[first + i], inner[first + i], dh[start + i]
            reset, update, new = gate[:width], gate[width : 2 * width], gate[2 * width :]
            before = h0[start + i]
            if s > 0 and start + i < steps[s - 1, 1]:
                before = y[steps[s - 1, 0] + start + i]
            add_row(to_h, grad_y[first + i])
            delta, double = dx[first + i], du[first + i]
            to_reset, to_update, to_new = delta[:width], delta[width : 2 * width], delta[2 * width :]
            for j in range(width):
                to_new[j] = to_h[j] * (one - update[j]) * (one - new[j] * new[j])
            for j in range(width):
                to_reset[j] = to_new[j] * last[j] * reset[j] * (one - reset[j])
            for j in range(width):
                to_update[j] = to_h[j] * (before[j] - new[j]) * update[j] * (one - update[j])
            double[: 2 * width] = delta[: 2 * width]
            part = double[2 * width :]
            for j in range(width):
                part[j] = to_new[j] * reset[j]
            for j in range(width):
                to_h[j] *= update[j]
        onto(dh, start, count, du, first, w_hh, False, mode, multiplier, workspace, zero)
        mode = ADD | SAME_B


def through_time(function: Any, samples: int, work: int, *args: Any) -> None:
    """``function`` over shares of the samples, each with the workspace of its thread."""
    zero: Any = ZERO[args[0].dtype.char]
    code = multiplier(zero.dtype.char)

    def share(start: int, stop: int, *args: Any) -> None:
        function(start, stop, *args, code, room.address, zero)

    parallel(share, samples, *args, wide=work >= PARALLEL)


def accepts(gates: Any, *others: Any) -> bool:
    """Contiguous arrays of one dtype, then the steps; a bias may be missing."""
    *arrays, steps = others
    return (
        plain_float(gates, *[one for one in arrays if one is not None]) and gates.ndim == 2 and len(steps) > 0
    )


def faster(place: int) -> Any:
    """With the weights at ``place`` small, or a product that is worth it anyway."""
    return lambda *args: args[place].size <= SMALL or outruns_blas()


@kernel("lstm_steps", "cpu", accepts=accepts, faster=faster(3))
def lstm_steps(
    gates: np.ndarray, h0: np.ndarray, c0: np.ndarray, w_hh: np.ndarray, steps: Any
) -> tuple[np.ndarray, ...]:
    """All h', c' and tanh(c'), and the last h and c."""
    h, c = h0.copy(), c0.copy()
    y, cells, tanhs = (np.empty((len(gates), h.shape[1]), gates.dtype) for _ in range(3))
    arrays = gates, h, c, y, cells, tanhs, w_hh, np.array(steps, np.int64)
    through_time(lstm_range, len(h), len(gates) * w_hh.size, *arrays)
    return y, cells, tanhs, h, c


@kernel("lstm_steps_backward", "cpu", accepts=accepts, faster=faster(7))
def lstm_steps_backward(
    grad_y: np.ndarray,
    grad_h: np.ndarray,
    grad_c: np.ndarray,
    gates: np.ndarray,
    cells: np.ndarray,
    tanhs: np.ndarray,
    c0: np.ndarray,
    w_hh: np.ndarray,
    steps: Any,
) -> tuple[np.ndarray, ...]:
    """The gradients of the gates before their functions, of h0 and of c0."""
    dh, dc, deltas = grad_h.copy(), grad_c.copy(), np.empty_like(gates)
    arrays = grad_y, dh, dc, gates, cells, tanhs, c0, w_hh, np.array(steps, np.int64), deltas
    through_time(lstm_backward_range, len(dh), len(gates) * w_hh.size, *arrays)
    return deltas, dh, dc


@kernel("gru_steps", "cpu", accepts=accepts, faster=faster(2))
def gru_steps(
    gates: np.ndarray, h0: np.ndarray, w_hh: np.ndarray, b_hh: np.ndarray | None, steps: Any
) -> tuple[np.ndarray, ...]:
    """All h', the last part of U h + b of all rows, and the last h."""
    h = h0.copy()
    y, inner = (np.empty((len(gates), h.shape[1]), gates.dtype) for _ in range(2))
    products = np.empty((len(h), gates.shape[1]), gates.dtype)
    bias = np.zeros(gates.shape[1], gates.dtype) if b_hh is None else b_hh
    arrays = gates, h, y, inner, products, w_hh, bias, np.array(steps, np.int64)
    through_time(gru_range, len(h), len(gates) * w_hh.size, *arrays)
    return y, inner, h


@kernel("gru_steps_backward", "cpu", accepts=accepts, faster=faster(6))
def gru_steps_backward(
    grad_y: np.ndarray,
    grad_h: np.ndarray,
    gates: np.ndarray,
    inner: np.ndarray,
    y: np.ndarray,
    h0: np.ndarray,
    w_hh: np.ndarray,
    steps: Any,
) -> tuple[np.ndarray, ...]:
    """The gradients of the gates before their functions, of U h + b and of h0."""
    dh, dx, du = grad_h.copy(), np.empty_like(gates), np.empty_like(gates)
    arrays = grad_y, dh, gates, inner, y, h0, w_hh, np.array(steps, np.int64), dx, du
    through_time(gru_backward_range, len(dh), len(gates) * w_hh.size, *arrays)
    return dx, du, dh
