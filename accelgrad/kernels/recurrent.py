"""The loops over time of LSTM and GRU layers as plain formulas over an array module; part of plain.py.

The rows of all arrays are the steps of all sequences, packed: those of one step lie together, the longest
sequences first.  ``steps`` lists (first row, number of rows) in the order in which the layer goes.  The
products with the input are done already; ``gates`` holds them, and is written over with the gates' values.
These formulas are read over arrays only: a second derivative goes through the textbook's form in
``accelgrad/ops/layers/recurrent.py``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["before_each_step", "gru_steps", "gru_steps_backward", "lstm_steps", "lstm_steps_backward"]

Steps = list[tuple[int, int]]


def before_each_step(xp: Any, y: Any, h0: Any, steps: Steps) -> Any:
    """For every row the state before it: that of the step before, or h0 where the sample begins."""
    n = h0.shape[0]
    if n * len(steps) == y.shape[0]:  # equal lengths
        forwards = steps[0][0] == 0
        return xp.concatenate([h0, y[: y.shape[0] - n]] if forwards else [y[n:], h0], axis=0)
    before = xp.empty(y.shape, dtype=y.dtype)
    last = (0, 0)
    for start, size in steps:
        shared = min(size, last[1])
        before[start : start + shared] = y[last[0] : last[0] + shared]
        before[start + shared : start + size] = h0[shared:size]
        last = (start, size)
    return before


def lstm_steps(
    xp: Any, gates: Any, h0: Any, c0: Any, w_hh: Any, steps: Steps
) -> tuple[Any, Any, Any, Any, Any]:
    """``i, f, o = sigmoid, g = tanh`` of the four parts of ``gates + U h``.

    ``c' = f c + i g``, ``h' = o tanh(c')``.

    gates (rows, 4 w), h0 and c0 (n, w), w_hh (4 w, w).  Gives the h', the c' and the tanh(c') of all rows,
    and the last h and c.  Hochreiter & Schmidhuber 1997; the forget gate: Gers, Schmidhuber & Cummins 2000.
    """
    width = w_hh.shape[1]
    # sigmoid(a) = (tanh(a / 2) + 1) / 2: with the halves put into the weights, one tanh serves all gates.
    half = xp.full(4 * width, 0.5, dtype=gates.dtype)
    half[2 * width : 3 * width] = 1
    rest = 1 - half
    gates *= half
    u = xp.swapaxes(w_hh * xp.expand_dims(half, 1), 0, 1)
    y = xp.empty((gates.shape[0], width), dtype=gates.dtype)
    cells = xp.empty_like(y)
    tanhs = xp.empty_like(y)
    h, c = xp.array(h0), xp.array(c0)
    for start, size in steps:
        rows = slice(start, start + size)
        gate = gates[rows]
        gate += xp.matmul(h[:size], u)
        xp.tanh(gate, out=gate)
        gate *= half
        gate += rest
        new = cells[rows]
        xp.multiply(gate[:, width : 2 * width], c[:size], out=new)
        new += gate[:, :width] * gate[:, 2 * width : 3 * width]
        xp.tanh(new, out=tanhs[rows])
        xp.multiply(gate[:, 3 * width :], tanhs[rows], out=y[rows])
        h[:size], c[:size] = y[rows], new
    return y, cells, tanhs, h, c


def lstm_steps_backward(
    xp: Any,
    grad_y: Any,
    grad_h: Any,
    grad_c: Any,
    gates: Any,
    cells: Any,
    tanhs: Any,
    c0: Any,
    w_hh: Any,
    steps: Steps,
) -> tuple[Any, Any, Any]:
    """Return the gradients of the gates before their functions (rows, 4 w), of h0 and of c0.

    They are computed from those of the results of :func:`lstm_steps`: all h', the last h and the last c.
    """
    width = w_hh.shape[1]
    inner, forget, cell, outer = (slice(part * width, (part + 1) * width) for part in range(4))
    slopes = gates * (1 - gates)  # of the three sigmoids; the tanh's is 1 - g²
    slopes[:, cell] = 1 - gates[:, cell] * gates[:, cell]
    # What each gate's gradient is multiplied with beside dc (or dh, for the output gate).
    slopes[:, inner] *= gates[:, cell]
    slopes[:, forget] *= before_each_step(xp, cells, c0, steps)
    slopes[:, cell] *= gates[:, inner]
    slopes[:, outer] *= tanhs
    through = gates[:, outer] * (1 - tanhs * tanhs)  # dc' / dh'
    deltas = slopes
    dh, dc = xp.array(grad_h), xp.array(grad_c)
    for start, size in reversed(steps):
        rows = slice(start, start + size)
        dh[:size] += grad_y[rows]
        delta = deltas[rows]
        dc[:size] += dh[:size] * through[rows]
        parts = xp.reshape(delta, (size, 4, width))
        parts[:, :3] *= xp.expand_dims(dc[:size], 1)
        delta[:, outer] *= dh[:size]
        dc[:size] *= gates[rows, forget]
        dh[:size] = xp.matmul(delta, w_hh)
    return deltas, dh, dc


def gru_steps(xp: Any, gates: Any, h0: Any, w_hh: Any, b_hh: Any, steps: Steps) -> tuple[Any, Any, Any]:
    """``r, z = sigmoid`` of two parts of ``gates + U h + b``.

    ``n = tanh(gates + r (U h + b))``; ``h' = (1 - z) n + z h``.

    gates (rows, 3 w), h0 (n, w), w_hh (3 w, w), b_hh (3 w,) or None.  Gives the h' of all rows, the last part
    of U h + b, and the last h.  Cho et al. 2014, the reset gate applied after the product, as in PyTorch.
    """
    width = w_hh.shape[1]
    u = xp.swapaxes(w_hh, 0, 1)
    y = xp.empty((gates.shape[0], width), dtype=gates.dtype)
    inner = xp.empty_like(y)
    h = xp.array(h0)
    for start, size in steps:
        rows = slice(start, start + size)
        gh = xp.matmul(h[:size], u)
        if b_hh is not None:
            gh += b_hh
        both = gates[rows, : 2 * width]  # reset and update, by sigmoid(a) = (tanh(a / 2) + 1) / 2
        both += gh[:, : 2 * width]
        both *= 0.5
        xp.tanh(both, out=both)
        both += 1
        both *= 0.5
        inner[rows] = gh[:, 2 * width :]
        new = gates[rows, 2 * width :]
        new += gates[rows, :width] * inner[rows]
        xp.tanh(new, out=new)
        now = y[rows]
        xp.subtract(h[:size], new, out=now)
        now *= gates[rows, width : 2 * width]
        now += new
        h[:size] = now
    return y, inner, h


def gru_steps_backward(
    xp: Any, grad_y: Any, grad_h: Any, gates: Any, inner: Any, y: Any, h0: Any, w_hh: Any, steps: Steps
) -> tuple[Any, Any, Any]:
    """Return the gradients of ``gates`` and of ``U h + b``, both (rows, 3 w), and of h0.

    They are computed from those of all h' and of the last h; those of the gates are taken before their
    functions.
    """
    width = w_hh.shape[1]
    r, z, n = gates[:, :width], gates[:, width : 2 * width], gates[:, 2 * width :]
    to_new = (1 - z) * (1 - n * n)  # dn' / dh'
    to_update = (before_each_step(xp, y, h0, steps) - n) * z * (1 - z)
    to_reset = to_new * inner * r * (1 - r)
    dx = xp.empty_like(gates)
    du = xp.empty_like(gates)
    dh = xp.array(grad_h)
    for start, size in reversed(steps):
        rows = slice(start, start + size)
        dh[:size] += grad_y[rows]
        g = dh[:size]
        xp.multiply(g, to_reset[rows], out=dx[rows, :width])
        xp.multiply(g, to_update[rows], out=dx[rows, width : 2 * width])
        xp.multiply(g, to_new[rows], out=dx[rows, 2 * width :])
        du[rows, : 2 * width] = dx[rows, : 2 * width]
        xp.multiply(dx[rows, 2 * width :], r[rows], out=du[rows, 2 * width :])
        g *= z[rows]
        g += xp.matmul(du[rows], w_hh)
    return dx, du, dh
