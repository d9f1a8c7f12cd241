"""Recurrent networks under PyTorch's names: lstm, gru, rnn_tanh, rnn_relu, and their single steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.ops.layers.dropout import dropout
from accelgrad.ops.layers.recurrent import GruLayer, LstmLayer, RnnLayer, layer
from accelgrad.ops.registry import arg, op, sample
from accelgrad.ops.registry.checks import must_be_floating, one_type
from accelgrad.ops.shapes.join import cat, stack

__all__ = ["gru", "gru_cell", "lstm", "lstm_cell", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell"]


def _stacked(
    name: str,
    mode: str,
    data: Tensor,
    batch_sizes: Sequence[int],
    states: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout_p: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Tensor, ...]:
    """All layers and directions over packed sequences: (y, last states ...)."""
    ways = 2 if bidirectional else 1
    each = len(params) // (num_layers * ways)
    if each * num_layers * ways != len(params) or each - (4 if has_biases else 2) not in (0, 1):
        raise RuntimeError(
            f"{name}: expected {4 if has_biases else 2} weights for each of {num_layers} layers"
            f" and {ways} directions, got {len(params)}"
        )
    must_be_floating(data.array, name)
    one_type(name, input=data.array, hx=states[0].array, weight=params[0].array)
    if data.array.shape[-1] != params[0].array.shape[1]:
        raise RuntimeError(
            "input.size(-1) must be equal to input_size."
            f" Expected {params[0].array.shape[1]}, got {data.array.shape[-1]}"
        )
    finals: list[tuple[Tensor, ...]] = []
    for number in range(num_layers):
        if number and train and dropout_p:
            data = dropout(data, dropout_p)
        results = []
        for way in range(ways):
            place = number * ways + way
            weights: list[Tensor | None] = list(params[place * each : (place + 1) * each])
            if not has_biases:
                weights[2:2] = [None, None]
            start = [one[place] for one in states]
            y, *last = layer(mode, data, start, weights, batch_sizes, way == 1)
            results.append(y)
            finals.append(tuple(last))
        data = results[0] if ways == 1 else cat(results, -1)
    return data, *(stack([one[part] for one in finals]) for part in range(len(finals[0])))


def _sequence(name: str, mode: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, ...]:
    """Tell PyTorch's two signatures apart, of padded and of packed sequences.

    They are (input, hx, params, ...) and (data, batch_sizes, hx, params, ...).
    """
    packed = isinstance(kwargs.get("batch_sizes"), Tensor) or (
        len(args) > 3 and not isinstance(args[3], bool)
    )
    order = ("has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first")
    names = (("data", "batch_sizes") if packed else ("input",)) + ("hx", "params") + order
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    unknown = set(given) - set(names)
    missing = set(names) - set(given) - {"batch_first"}
    if unknown or missing:
        raise TypeError(
            f"{name}() takes ({', '.join(names)}): "
            + (f"unexpected {sorted(unknown)}" if unknown else f"missing {sorted(missing)}")
        )
    states = given["hx"] if isinstance(given["hx"], list | tuple) else (given["hx"],)
    rest = [given[one] for one in order[:5]]
    if packed:
        sizes = [int(one) for one in given["batch_sizes"].tolist()]
        return _stacked(name, mode, given["data"], sizes, states, given["params"], *rest)
    x = given["input"]
    single = x.ndim == 2
    if single:
        x, states = x.unsqueeze(1), [one.unsqueeze(1) for one in states]
    elif given.get("batch_first"):
        x = x.transpose(0, 1)
    length, n, width = x.shape
    if length == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    y, *last = _stacked(
        name, mode, x.reshape(length * n, width), [n] * length, states, given["params"], *rest
    )
    y = y.reshape(length, n, -1)
    if single:
        y, last = y.squeeze(1), [one.squeeze(1) for one in last]
    elif given.get("batch_first"):
        y = y.transpose(0, 1)
    return y, *last


def _params(
    gates: int, width: int, inputs: int, layers: int = 1, ways: int = 1, biases: bool = True
) -> list[Any]:
    params = []
    for number in range(layers):
        for _ in range(ways):
            params += [arg(gates * width, inputs if number == 0 else ways * width), arg(gates * width, width)]
            params += [arg(gates * width), arg(gates * width)] if biases else []
    return params


def _samples(gates: int, states: int) -> list[Any]:
    def state(*shape: int) -> Any:
        return arg(*shape) if states == 1 else [arg(*shape) for _ in range(states)]

    sizes = arg(values=[2, 2, 1], dtype="int64")
    return [
        sample(arg(3, 2, 2), state(1, 2, 2), _params(gates, 2, 2), True, 1, 0.0, False, False, False),
        sample(arg(2, 2, 1), state(2, 2, 1), _params(gates, 1, 1, 2), True, 2, 0.0, False, False, True),
        sample(
            arg(3, 1, 2),
            state(1, 1, 1),
            _params(gates, 1, 2, biases=False),
            False,
            1,
            0.0,
            True,
            False,
            False,
        ),
        sample(arg(5, 1), sizes, state(2, 2, 1), _params(gates, 1, 1, 1, 2), True, 1, 0.0, False, True),
    ]


SEQUENCE: dict[str, Any] = {"method": False, "out": False}


@op(primitive=LstmLayer, samples=_samples(4, 2), **SEQUENCE)
def lstm(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory over whole sequences: (y, last h, last c).

    ``lstm(input, (h, c), params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``:
    input (t, n, in), or (n, t, in) with batch_first, or (t, in); h and c (layers * directions, n, hidden);
    params are w_ih (4 hidden, in), w_hh (4 hidden, hidden), b_ih, b_hh of every layer and direction, the
    gates in the order i, f, g, o. ``lstm(data, batch_sizes, (h, c), params, ...)`` takes packed sequences.
    y is (t, n, directions * hidden).

    Hochreiter & Schmidhuber 1997, with forget gates (Gers, Schmidhuber & Cummins 2000).

    >>> import accelgrad as ag
    >>> params = [ag.zeros(8, 3), ag.zeros(8, 2), ag.ones(8), ag.zeros(8)]
    >>> h0 = ag.zeros(1, 1, 2)
    >>> y, h, c = ag.lstm(ag.zeros(5, 1, 3), (h0, h0), params, True, 1, 0.0, False, False, False)
    >>> y.shape, bool((y[-1] == h[0]).all())
    (accelgrad.Size([5, 1, 2]), True)
    """
    return _sequence("lstm", "LSTM", args, kwargs)  # type: ignore[return-value]


@op(primitive=GruLayer, samples=_samples(3, 1), **SEQUENCE)
def gru(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Gated recurrent units over whole sequences: (y, last h).  Arguments as for :func:`lstm`, with hx = h.

    Gates in the order r, z, n; the reset gate acts after the product, as in cuDNN.  Cho et al. 2014.

    >>> import accelgrad as ag
    >>> params = [ag.zeros(6, 3), ag.zeros(6, 2), ag.ones(6), ag.zeros(6)]
    >>> y, h = ag.gru(ag.zeros(5, 1, 3), ag.zeros(1, 1, 2), params, True, 1, 0.0, False, False, False)
    >>> y.shape, bool((y[-1] == h[0]).all())
    (accelgrad.Size([5, 1, 2]), True)
    """
    return _sequence("gru", "GRU", args, kwargs)  # type: ignore[return-value]


@op(primitive=RnnLayer, samples=_samples(1, 1), **SEQUENCE)
def rnn_tanh(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """``h' = tanh(W x + b + U h + b')`` over whole sequences: (y, last h).

    Arguments as for :func:`gru`. Elman 1990.

    >>> import accelgrad as ag
    >>> params = [ag.zeros(2, 3), ag.zeros(2, 2), ag.zeros(2), ag.zeros(2)]
    >>> ag.rnn_tanh(ag.zeros(5, 1, 3), ag.zeros(1, 1, 2), params, True, 1, 0.0, False, False, False)[1]
    tensor([[[0., 0.]]])
    """
    return _sequence("rnn_tanh", "RNN_TANH", args, kwargs)  # type: ignore[return-value]


@op(primitive=RnnLayer, samples=_samples(1, 1), **SEQUENCE)
def rnn_relu(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """``h' = max(0, W x + b + U h + b')`` over whole sequences: (y, last h).  Arguments as for :func:`gru`.

    >>> import accelgrad as ag
    >>> params = [ag.zeros(2, 3), ag.zeros(2, 2), ag.ones(2), ag.zeros(2)]
    >>> ag.rnn_relu(ag.zeros(5, 1, 3), ag.zeros(1, 1, 2), params, True, 1, 0.0, False, False, False)[1]
    tensor([[[1., 1.]]])
    """
    return _sequence("rnn_relu", "RNN_RELU", args, kwargs)  # type: ignore[return-value]


# --- one step


def _cell(
    name: str, mode: str, input: Tensor, states: Sequence[Tensor], weights: Sequence[Tensor | None]
) -> tuple[Tensor, ...]:
    """One step is a sequence of length one."""
    if input.ndim not in (1, 2):
        raise RuntimeError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
    w_ih, w_hh = weights[:2]
    if input.array.shape[-1] != w_ih.array.shape[1]:  # type: ignore[union-attr]
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.array.shape[-1]} expected {w_ih.array.shape[1]}"  # type: ignore[union-attr]
        )
    for one in states:
        if one.array.shape != (*input.array.shape[:-1], w_hh.array.shape[1]):  # type: ignore[union-attr]
            raise RuntimeError(
                f"hidden has inconsistent hidden_size: got {list(one.shape)}, expected"
                f" {[*input.array.shape[:-1], w_hh.array.shape[1]]} for an input {list(input.shape)}"  # type: ignore[union-attr]
            )
    single = input.ndim == 1
    if single:
        input, states = input.unsqueeze(0), [one.unsqueeze(0) for one in states]
    last = layer(mode, input, states, weights, [input.array.shape[0]])[1:]
    return tuple(one.squeeze(0) for one in last) if single else last


def _cell_samples(gates: int, states: int) -> list[Any]:
    def state(*shape: int) -> Any:
        return arg(*shape) if states == 1 else (arg(*shape), arg(*shape))

    return [
        sample(arg(2, 3), state(2, 2), *_params(gates, 2, 3)),
        sample(arg(2, 3), state(2, 2), *_params(gates, 2, 3, biases=False)),
    ]


@op(primitive=LstmLayer, samples=_cell_samples(4, 2), **SEQUENCE)
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: input (n, in), hx = (h, c) (n, hidden) each; gives the new (h, c).

    See :func:`lstm`.

    >>> import accelgrad as ag
    >>> h, c = ag.lstm_cell(ag.zeros(1, 3), (ag.zeros(1, 2), ag.ones(1, 2)), ag.zeros(8, 3), ag.zeros(8, 2))
    >>> c
    tensor([[0.5000, 0.5000]])
    """
    return _cell("lstm_cell", "LSTM", input, hx, (w_ih, w_hh, b_ih, b_hh))  # type: ignore[return-value]


@op(primitive=GruLayer, samples=_cell_samples(3, 1), **SEQUENCE)
def gru_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """One step of a GRU: input (n, in), h (n, hidden); gives the new h.  See :func:`gru`.

    >>> import accelgrad as ag
    >>> ag.gru_cell(ag.zeros(1, 3), ag.ones(1, 2), ag.zeros(6, 3), ag.zeros(6, 2))
    tensor([[0.5000, 0.5000]])
    """
    return _cell("gru_cell", "GRU", input, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]


@op(primitive=RnnLayer, samples=_cell_samples(1, 1), **SEQUENCE)
def rnn_tanh_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """``tanh(W x + b + U h + b')``: input (n, in), h (n, hidden); gives the new h.

    >>> import accelgrad as ag
    >>> ag.rnn_tanh_cell(ag.zeros(1, 3), ag.ones(1, 2), ag.zeros(2, 3), ag.eye(2))
    tensor([[0.7616, 0.7616]])
    """
    return _cell("rnn_tanh_cell", "RNN_TANH", input, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]


@op(primitive=RnnLayer, samples=_cell_samples(1, 1), **SEQUENCE)
def rnn_relu_cell(
    input: Tensor,
    hx: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> Tensor:
    """``max(0, W x + b + U h + b')``: input (n, in), h (n, hidden); gives the new h.

    >>> import accelgrad as ag
    >>> ag.rnn_relu_cell(ag.zeros(1, 3), ag.ones(1, 2), ag.zeros(2, 3), -ag.eye(2))
    tensor([[0., 0.]])
    """
    return _cell("rnn_relu_cell", "RNN_RELU", input, (hx,), (w_ih, w_hh, b_ih, b_hh))[0]
