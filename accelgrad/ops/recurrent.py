"""Recurrent layers as primitives: one layer, in one direction, over whole sequences.

One layer in one direction is one primitive.  The sequences lie packed: all samples of the first time step,
then those of the second ..., the longest samples first, so that step t concerns the first
``batch_sizes[t]`` rows of the state (with equal lengths: all of them).  The input's products are one large
matrix product; what remains in the loop is the state's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelgrad import graph
from accelgrad import primitive as primitives
from accelgrad.ops.convert import Clone
from accelgrad.primitive import Primitive, Reading
from accelgrad.tensor import Tensor

__all__ = ["GruLayer", "LstmLayer", "RnnLayer", "layer"]


def _steps(batch_sizes: Sequence[int], reverse: bool) -> list[tuple[int, int]]:
    """For every time step, in the order in which the layer goes: where its rows begin, and how many there
    are.
    """
    steps, start = [], 0
    for size in batch_sizes:
        steps.append((start, size))
        start += size
    return steps[::-1] if reverse else steps


def _previous(xp: Any, y: Any, h0: Any, steps: list[tuple[int, int]]) -> Any:
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


def _through(
    formula: Callable[..., tuple[Any, ...]], inputs: Sequence[Any], gradients: Sequence[Any]
) -> tuple[Any, ...]:
    """The gradients of the inputs of ``formula``, read over Tensors and recorded: the second reading of a
    loop.
    """
    copies = [Clone.apply(one) if isinstance(one, Tensor) else one for one in inputs]
    with graph.enable_grad():
        results = formula(*copies)
    roots = [
        (result.edge(), gradient)
        for result, gradient in zip(results, gradients, strict=True)
        if result.edge() is not None
    ]
    targets = [one.edge() if isinstance(one, Tensor) else None for one in copies]
    found = graph.walk(
        roots,
        keep_graph=True,
        differentiable=True,
        targets=[one for one in targets if one is not None],
        accumulate=False,
    )
    return tuple(None if one is None else found.get(one) for one in targets)


def _split(xp: Any, x: Any, parts: int) -> list[Any]:
    width = x.shape[-1] // parts
    return [x[:, part * width : (part + 1) * width] for part in range(parts)]


def _affine(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    y = xp.matmul(x, xp.swapaxes(weight, 0, 1))
    return y if bias is None else y + bias


def _sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def _unrolled(
    xp: Any,
    step: Callable[..., tuple[Any, ...]],
    x: Any,
    states: Sequence[Any],
    weights: Sequence[Any],
    steps: list[tuple[int, int]],
) -> tuple[Any, ...]:
    """A layer as the textbook has it, step by step, without writing into anything: (y, last states ...)."""
    w_ih, w_hh, b_ih, b_hh = weights
    projected = _affine(xp, x, w_ih, b_ih)
    results: dict[int, Any] = {}
    for start, size in steps:
        now = [state[:size] for state in states]
        new = step(xp, projected[start : start + size], _affine(xp, now[0], w_hh, b_hh), *now)
        results[start] = new[0]
        states = [
            one if size == state.shape[0] else xp.concatenate([one, state[size:]], axis=0)
            for one, state in zip(new, states, strict=True)
        ]
    return xp.concatenate([results[start] for start in sorted(results)], axis=0), *states


# ------------------------------------------------------------------------------------------------ LSTM


def _lstm_step(xp: Any, gx: Any, gh: Any, h: Any, c: Any) -> tuple[Any, Any]:
    """Hochreiter & Schmidhuber 1997 with the forget gate of Gers, Schmidhuber & Cummins 2000."""
    i, f, g, o = _split(xp, gx + gh, 4)
    c = _sigmoid(xp, f) * c + _sigmoid(xp, i) * xp.tanh(g)
    return _sigmoid(xp, o) * xp.tanh(c), c


class LstmLayer(Primitive):
    """i, f, o = sigmoid, g = tanh of the four parts of W x + U h + b;  c' = f c + i g,  h' = o tanh(c')"""

    @staticmethod
    def forward(
        ctx: Any,
        x: Any,
        h0: Any,
        c0: Any,
        w_ih: Any,
        w_hh: Any,
        b_ih: Any,
        b_hh: Any,
        *,
        steps: list[tuple[int, int]],
    ) -> Any:
        xp = ctx.xp
        width = w_hh.shape[1]
        # sigmoid(a) = (tanh(a / 2) + 1) / 2: with the halves put into the weights, one tanh serves all four
        # gates.
        half = xp.full(4 * width, 0.5, dtype=x.dtype)
        half[2 * width : 3 * width] = 1
        rest = 1 - half
        gates = xp.matmul(x, xp.swapaxes(w_ih, 0, 1))
        if b_ih is not None:
            gates += b_ih + b_hh
        gates *= half
        u = xp.swapaxes(w_hh * xp.expand_dims(half, 1), 0, 1)
        y = xp.empty((x.shape[0], width), dtype=x.dtype)
        cells = xp.empty_like(y)
        tanhs = xp.empty_like(y)
        h, c = h0.copy(), c0.copy()
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
        ctx.save_for_backward(x, h0, c0, w_ih, w_hh, b_ih, b_hh, y)
        ctx.keep(gates, cells, tanhs)
        ctx.steps = steps
        return y, h, c

    @staticmethod
    def backward(ctx: Any, grad_y: Any, grad_h: Any, grad_c: Any) -> Any:
        steps = ctx.steps
        if isinstance(ctx, Reading):
            return _through(
                lambda x, h, c, *weights: _unrolled(ctx.xp, _lstm_step, x, (h, c), weights, steps),
                ctx.saved_tensors[:7],
                (grad_y, grad_h, grad_c),
            )
        xp = ctx.xp
        x, h0, c0, w_ih, w_hh, b_ih, _, y = ctx.saved_tensors
        gates, cells, tanhs = ctx.kept(lambda *_: ())
        width = w_hh.shape[1]
        inner, forget, cell, outer = (slice(part * width, (part + 1) * width) for part in range(4))
        before = _previous(xp, cells, c0, steps)
        slopes = gates * (1 - gates)  # of the three sigmoids; the tanh's is 1 - g²
        slopes[:, cell] = 1 - gates[:, cell] * gates[:, cell]
        # What each gate's gradient is multiplied with beside dc (or dh, for the output gate).
        slopes[:, inner] *= gates[:, cell]
        slopes[:, forget] *= before
        slopes[:, cell] *= gates[:, inner]
        slopes[:, outer] *= tanhs
        through = gates[:, outer] * (1 - tanhs * tanhs)  # dc' / dh'
        deltas = slopes
        dh, dc = grad_h.copy(), grad_c.copy()
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
        return (*_layer_gradients(ctx, x, y, h0, w_ih, b_ih, deltas, deltas, dh, steps, dc),)


def _layer_gradients(
    ctx: Any, x: Any, y: Any, h0: Any, w_ih: Any, b_ih: Any, dx: Any, du: Any, dh: Any, steps: Any, *dc: Any
) -> tuple[Any, ...]:
    """From the gradients of W x + b (``dx``) and of U h + b' (``du``) of all steps those of the layer's
    inputs.
    """
    xp, need = ctx.xp, ctx.needs_input_grad
    state = 1 + len(dc) + 1  # the place of w_ih among the inputs
    grad_x = xp.matmul(dx, w_ih) if need[0] else None
    grad_w = xp.matmul(xp.swapaxes(dx, 0, 1), x) if need[state] else None
    grad_u = xp.matmul(xp.swapaxes(du, 0, 1), _previous(xp, y, h0, steps)) if need[state + 1] else None
    grad_b = xp.sum(dx, axis=0) if need[state + 2] or (du is dx and need[state + 3]) else None
    grad_bu = None
    if need[state + 3]:
        grad_bu = xp.sum(du, axis=0) if grad_b is None or du is not dx else grad_b.copy()
    return (grad_x, dh, *dc, grad_w, grad_u, grad_b if need[state + 2] else None, grad_bu)


# ------------------------------------------------------------------------------------------------ GRU


def _gru_step(xp: Any, gx: Any, gh: Any, h: Any) -> tuple[Any]:
    """Cho et al. 2014, the reset gate applied after the product, as in cuDNN and PyTorch."""
    (rx, zx, nx), (rh, zh, nh) = _split(xp, gx, 3), _split(xp, gh, 3)
    r, z = _sigmoid(xp, rx + rh), _sigmoid(xp, zx + zh)
    n = xp.tanh(nx + r * nh)
    return (n + z * (h - n),)


class GruLayer(Primitive):
    """r, z = sigmoid of two parts of W x + b + U h + b';  n = tanh(W x + b + r (U h + b'));  h' = (1 - z) n
    + z h
    """

    @staticmethod
    def forward(
        ctx: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, steps: list[tuple[int, int]]
    ) -> Any:
        xp = ctx.xp
        width = w_hh.shape[1]
        gates = xp.matmul(x, xp.swapaxes(w_ih, 0, 1))
        if b_ih is not None:
            gates += b_ih
        u = xp.swapaxes(w_hh, 0, 1)
        y = xp.empty((x.shape[0], width), dtype=x.dtype)
        inner = xp.empty_like(y)  # the new part of U h + b'
        h = h0.copy()
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
        ctx.save_for_backward(x, h0, w_ih, w_hh, b_ih, b_hh, y)
        ctx.keep(gates, inner)
        ctx.steps = steps
        return y, h

    @staticmethod
    def backward(ctx: Any, grad_y: Any, grad_h: Any) -> Any:
        steps = ctx.steps
        if isinstance(ctx, Reading):
            return _through(
                lambda x, h, *weights: _unrolled(ctx.xp, _gru_step, x, (h,), weights, steps),
                ctx.saved_tensors[:6],
                (grad_y, grad_h),
            )
        xp = ctx.xp
        x, h0, w_ih, w_hh, b_ih, _, y = ctx.saved_tensors
        gates, inner = ctx.kept(lambda *_: ())
        width = w_hh.shape[1]
        r, z, n = gates[:, :width], gates[:, width : 2 * width], gates[:, 2 * width :]
        before = _previous(xp, y, h0, steps)
        to_new = (1 - z) * (1 - n * n)  # dn' / dh'
        to_update = (before - n) * z * (1 - z)
        to_reset = to_new * inner * r * (1 - r)
        dx = xp.empty_like(gates)
        du = xp.empty_like(gates)
        dh = grad_h.copy()
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
        return _layer_gradients(ctx, x, y, h0, w_ih, b_ih, dx, du, dh, steps)


# -------------------------------------------------------------------------------------------- the simple ones


class RnnLayer(Primitive):
    """h' = tanh(W x + b + U h + b'), or max(0, ...).  Elman 1990."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Any,
        h0: Any,
        w_ih: Any,
        w_hh: Any,
        b_ih: Any,
        b_hh: Any,
        *,
        steps: list[tuple[int, int]],
        relu: bool,
    ) -> Any:
        xp = ctx.xp
        y = xp.matmul(x, xp.swapaxes(w_ih, 0, 1))
        if b_ih is not None:
            y += b_ih + b_hh
        u = xp.swapaxes(w_hh, 0, 1)
        h = h0.copy()
        for start, size in steps:
            now = y[start : start + size]
            now += xp.matmul(h[:size], u)
            if relu:
                xp.maximum(now, 0, out=now)
            else:
                xp.tanh(now, out=now)
            h[:size] = now
        ctx.save_for_backward(x, h0, w_ih, w_hh, b_ih, b_hh, y)
        ctx.steps, ctx.relu = steps, relu
        return y, h

    @staticmethod
    def backward(ctx: Any, grad_y: Any, grad_h: Any) -> Any:
        steps = ctx.steps
        if isinstance(ctx, Reading):
            step = _relu_step if ctx.relu else _tanh_step
            return _through(
                lambda x, h, *weights: _unrolled(ctx.xp, step, x, (h,), weights, steps),
                ctx.saved_tensors[:6],
                (grad_y, grad_h),
            )
        xp = ctx.xp
        x, h0, w_ih, w_hh, b_ih, _, y = ctx.saved_tensors
        deltas = xp.astype(y > 0, y.dtype) if ctx.relu else 1 - y * y
        dh = grad_h.copy()
        for start, size in reversed(steps):
            dh[:size] += grad_y[start : start + size]
            delta = deltas[start : start + size]
            delta *= dh[:size]
            dh[:size] = xp.matmul(delta, w_hh)
        return _layer_gradients(ctx, x, y, h0, w_ih, b_ih, deltas, deltas, dh, steps)


def _tanh_step(xp: Any, gx: Any, gh: Any, h: Any) -> tuple[Any]:
    return (xp.tanh(gx + gh),)


def _relu_step(xp: Any, gx: Any, gh: Any, h: Any) -> tuple[Any]:
    return (xp.maximum(gx + gh, 0),)


# ----------------------------------------------------------------------------------- one layer, one direction

LAYERS: dict[str, tuple[type[Primitive], dict[str, Any]]] = {
    "LSTM": (LstmLayer, {}),
    "GRU": (GruLayer, {}),
    "RNN_TANH": (RnnLayer, {"relu": False}),
    "RNN_RELU": (RnnLayer, {"relu": True}),
}


def layer(
    mode: str,
    data: Tensor,
    states: Sequence[Tensor],
    weights: Sequence[Tensor | None],
    batch_sizes: Sequence[int],
    reverse: bool = False,
) -> tuple[Tensor, ...]:
    """One layer in one direction over packed sequences: (y, last h[, last c]).

    data (rows, in), rows being the sum of ``batch_sizes``; states (n, hidden), h and for "LSTM" c; weights
    w_ih, w_hh, b_ih, b_hh (None, None without biases) and for an LSTM with projection w_hr.
    """
    primitive, options = LAYERS[mode]
    steps = _steps(batch_sizes, reverse)
    if len(weights) == 5:  # h' is projected: Sak, Senior & Beaufays 2014

        def step(xp: Any, gx: Any, gh: Any, h: Any, c: Any) -> tuple[Any, Any]:
            h, c = _lstm_step(xp, gx, gh, h, c)
            return xp.matmul(h, xp.swapaxes(weights[4], 0, 1)), c

        return _unrolled(primitives.reading, step, data, states, weights[:4], steps)
    return primitive.apply(data, *states, *weights, steps=steps, **options)
