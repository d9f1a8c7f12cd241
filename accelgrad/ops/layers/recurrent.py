"""Recurrent layers as primitives: one layer, in one direction, over whole sequences.

One layer in one direction is one primitive.  The sequences lie packed: all samples of the first time step,
then those of the second ..., the longest samples first, so that step t concerns the first
``batch_sizes[t]`` rows of the state (with equal lengths: all of them).  The input's products are one large
matrix product; what remains in the loop is the state's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelgrad.core import context, graph, modes
from accelgrad.core.context import Reading
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.creation.convert import Clone
from accelgrad.ops.registry.autocast import choosing

__all__ = ["GruLayer", "LstmLayer", "RnnLayer", "layer"]


def _steps(batch_sizes: Sequence[int], reverse: bool) -> list[tuple[int, int]]:
    """Return where the rows of every time step begin, and how many there are, in the layer's order."""
    steps, start = [], 0
    for size in batch_sizes:
        steps.append((start, size))
        start += size
    return steps[::-1] if reverse else steps


def _through(
    formula: Callable[..., tuple[Any, ...]], inputs: Sequence[Any], gradients: Sequence[Any]
) -> tuple[Any, ...]:
    """Return the gradients of the inputs of ``formula``, read over Tensors: a loop's second reading."""
    copies = [Clone.apply(one) if isinstance(one, Tensor) else one for one in inputs]
    with modes.enable_grad():
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


# --- LSTM


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
        gates = xp.linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
        y, cells, tanhs, h, c = xp.lstm_steps(gates, h0, c0, w_hh, steps)  # gates become i, f, g, o
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
        deltas, dh, dc = xp.lstm_steps_backward(grad_y, grad_h, grad_c, gates, cells, tanhs, c0, w_hh, steps)
        return _layer_gradients(ctx, x, y, h0, w_ih, b_ih, deltas, deltas, dh, steps, dc)


def _layer_gradients(
    ctx: Any, x: Any, y: Any, h0: Any, w_ih: Any, b_ih: Any, dx: Any, du: Any, dh: Any, steps: Any, *dc: Any
) -> tuple[Any, ...]:
    """Return the gradients of the layer's inputs, from those of W x + b (``dx``) and U h + b' (``du``).

    These are given for all steps.
    """
    xp, need = ctx.xp, ctx.needs_input_grad
    state = 1 + len(dc) + 1  # the place of w_ih among the inputs
    grad_x = xp.matmul(dx, w_ih) if need[0] else None
    grad_w = xp.matmul(xp.swapaxes(dx, 0, 1), x) if need[state] else None
    grad_u = xp.matmul(xp.swapaxes(du, 0, 1), xp.before_each_step(y, h0, steps)) if need[state + 1] else None
    grad_b = xp.sum(dx, axis=0) if need[state + 2] or (du is dx and need[state + 3]) else None
    grad_bu = None
    if need[state + 3]:
        grad_bu = xp.sum(du, axis=0) if grad_b is None or du is not dx else grad_b.copy()
    return (grad_x, dh, *dc, grad_w, grad_u, grad_b if need[state + 2] else None, grad_bu)


# --- GRU


def _gru_step(xp: Any, gx: Any, gh: Any, h: Any) -> tuple[Any]:
    """Cho et al. 2014, the reset gate applied after the product, as in cuDNN and PyTorch."""
    (rx, zx, nx), (rh, zh, nh) = _split(xp, gx, 3), _split(xp, gh, 3)
    r, z = _sigmoid(xp, rx + rh), _sigmoid(xp, zx + zh)
    n = xp.tanh(nx + r * nh)
    return (n + z * (h - n),)


class GruLayer(Primitive):
    """r, z = sigmoid of two parts of W x + b + U h + b',  n = tanh(W x + b + r (U h + b')).

    h' = (1 - z) n + z h.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, *, steps: list[tuple[int, int]]
    ) -> Any:
        xp = ctx.xp
        gates = xp.linear(x, w_ih, b_ih)
        y, inner, h = xp.gru_steps(gates, h0, w_hh, b_hh, steps)  # gates become r, z, n
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
        dx, du, dh = xp.gru_steps_backward(grad_y, grad_h, gates, inner, y, h0, w_hh, steps)
        return _layer_gradients(ctx, x, y, h0, w_ih, b_ih, dx, du, dh, steps)


# --- the simple ones


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
        y = xp.linear(x, w_ih, None if b_ih is None else b_ih + b_hh)
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


# --- one layer, one direction

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

        return _unrolled(context.reading, step, data, states, weights[:4], steps)
    return primitive.apply(data, *states, *weights, steps=steps, **options)


layer = choosing(layer, "recurrent_layer")  # nn.LSTM comes here, not by way of an operation
