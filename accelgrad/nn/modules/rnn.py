"""Recurrent layers and cells: RNN, LSTM, GRU; gates in PyTorch's order (i f g o; r z n).

The way through time is one operation a layer and direction (:mod:`accelgrad.ops.layers.recurrent`); it
takes packed sequences, whose batch shrinks from step to step as the shorter ones end, so padded ones are
packed first.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, empty
from accelgrad.nn.utils.rnn import PackedSequence
from accelgrad.ops.layers import recurrent
from accelgrad.ops.shapes.join import cat, stack

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell"]

State = tuple[Tensor, ...]


_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


# --- layers


class RNNBase(Module):
    """What RNN, LSTM and GRU share: the weights of every layer and direction, and the way through them."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element"
                " being zeroed"
            )
        for name, value in (("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if proj_size < 0 or proj_size >= hidden_size:
            raise ValueError("proj_size should be a positive integer, or zero, and smaller than hidden_size")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects"
                f" num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        self.mode, self.input_size, self.hidden_size = mode, input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = float(dropout), bidirectional, proj_size
        out = proj_size or hidden_size
        gates = _GATES[mode] * hidden_size
        self._weight_names: list[list[str]] = []
        for layer in range(num_layers):
            for ending in ("", "_reverse")[: 2 if bidirectional else 1]:
                width = input_size if layer == 0 else out * (2 if bidirectional else 1)
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width), "weight_hh": (gates, out)}
                if bias:
                    shapes.update(bias_ih=(gates,), bias_hh=(gates,))
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                names = [f"{name}_l{layer}{ending}" for name in shapes]
                for name, shape in zip(names, shapes.values(), strict=True):
                    setattr(self, name, Parameter(empty(shape, device=device, dtype=dtype)))
                self._weight_names.append(names)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new first values: uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: the weights need no other order in memory here."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of every layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._weight_names]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(t, n, input_size) and (layers * directions, n, hidden_size) to (t, n, directions * hidden_size)
        and the last state.

        With ``batch_first`` (n, t, ...); without a batch (t, input_size); or a PackedSequence.
        """
        packed = isinstance(input, PackedSequence)
        lstm = self.mode == "LSTM"
        order = None
        if packed:
            data, sizes, order, unsorted = input
            steps = [int(size) for size in sizes.array]
            batched, batch = True, steps[0]
            self._check_width(data)
        else:
            if input.ndim not in (2, 3):
                raise ValueError(
                    f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead"
                )
            batched = input.ndim == 3
            data = input if batched else input.unsqueeze(1)
            if self.batch_first and batched:
                data = data.transpose(0, 1)
            self._check_width(data)
            length, batch, width = data.array.shape
            if length == 0:
                raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
            steps, data = [batch] * length, data.reshape(length * batch, width)
        states: Any = self._first_state(data, batch, hx, batched)
        if order is not None and hx is not None:
            states = tuple(one.index_select(1, order) for one in states)
        finals: list[State] = []
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            ways: list[Tensor] = []
            for way in range(directions):
                place = layer * directions + way
                weights = [getattr(self, name) for name in self._weight_names[place]]
                if not self.bias:
                    weights[2:2] = [None, None]
                start = [one[place] for one in states]
                y, *final = recurrent.layer(self.mode, data, start, weights, steps, reverse=way == 1)
                ways.append(y)
                finals.append(tuple(final))
            data = ways[0] if directions == 1 else cat(ways, -1)
            if self.dropout and layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout, self.training)
        last: Any = tuple(stack([final[part] for final in finals]) for part in range(2 if lstm else 1))
        if packed:
            if order is not None:
                last = tuple(one.index_select(1, unsorted) for one in last)
            output: Any = PackedSequence(data, sizes, order, unsorted)
        else:
            data = data.reshape(len(steps), batch, -1)
            if not batched:
                output = data.squeeze(1)
                last = tuple(one.squeeze(1) for one in last)
            else:
                output = data.transpose(0, 1) if self.batch_first else data
        return output, last if lstm else last[0]

    def _check_width(self, data: Tensor) -> None:
        if data.array.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got"
                f" {data.array.shape[-1]}"
            )

    def _first_state(self, data: Tensor, batch: int, hx: Any, batched: bool) -> State:
        """The given state, checked, or zeros."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        lstm = self.mode == "LSTM"
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if lstm else 1]
        if hx is None:
            xp, kind = data.xp, data.array.dtype
            return tuple(wrap(xp.zeros((layers, batch, width), dtype=kind), xp) for width in widths)
        states = tuple(hx) if lstm else (hx,)
        for name, one, width in zip(("hidden[0]", "hidden[1]"), states, widths, strict=False):
            expected = (layers, batch, width) if batched else (layers, width)
            if tuple(one.shape) != expected:
                what = name if lstm else "hidden"
                raise RuntimeError(f"Expected {what} size {expected}, got {list(one.shape)}")
        return states if batched else tuple(one.unsqueeze(1) for one in states)

    def extra_repr(self) -> str:
        """The sizes and what differs from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        for name, default in (
            ("proj_size", 0), ("num_layers", 1), ("bias", True), ("batch_first", False), ("dropout", 0.0),
            ("bidirectional", False),
        ):  # fmt: skip
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class RNN(RNNBase):
    """h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), or relu, over time.  Elman 1990.

    >>> RNN(4, 8, num_layers=2, batch_first=True)
    RNN(4, 8, num_layers=2, batch_first=True)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device,
            dtype
        )  # fmt: skip
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory over time; the state is the pair (h, c).  Hochreiter & Schmidhuber 1997.

    i, f, g, o = the four parts of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh; c' = sigmoid(f) c + sigmoid(i) tanh(g);
    h' = sigmoid(o) tanh(c').  ``proj_size`` multiplies h' by a smaller matrix.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size,
            device, dtype,
        )  # fmt: skip


class GRU(RNNBase):
    """Gated recurrent units over time.  Cho et al. 2014.

    r = sigmoid(x_r + h_r);  z = sigmoid(x_z + h_z);  n = tanh(x_n + r h_n);  h' = (1 - z) n + z h, with x_*
    and h_* the parts of x W_ihᵀ + b_ih and h W_hhᵀ + b_hh.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device,
            dtype
        )  # fmt: skip


# --- cells


class _Cell(Module):
    """One step as a module: weights without a layer's number."""

    mode = ""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = _GATES[self.mode] * hidden_size
        for name, shape, wanted in (
            ("weight_ih", (gates, input_size), True),
            ("weight_hh", (gates, hidden_size), True),
            ("bias_ih", (gates,), bias),
            ("bias_hh", (gates,), bias),
        ):
            value = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new first values: uniform in +-1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _run(self, input: Tensor, states: State | None, mode: str) -> State:
        if input.ndim not in (1, 2):
            raise ValueError(f"{self._get_name()}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        single = input.ndim == 1
        x = input.unsqueeze(0) if single else input
        if states is None:
            shape = (x.array.shape[0], self.hidden_size)
            count = 2 if mode == "LSTM" else 1
            states = tuple(wrap(x.xp.zeros(shape, dtype=x.array.dtype), x.xp) for _ in range(count))
        elif states[0].ndim not in (1, 2):
            raise ValueError(
                f"{self._get_name()}: Expected hidden to be 1D or 2D, got {states[0].ndim}D instead"
            )
        elif single:
            states = tuple(one.unsqueeze(0) for one in states)
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        result = recurrent.layer(mode, x, states, weights, [x.array.shape[0]])[1:]
        return tuple(one.squeeze(0) for one in result) if single else result

    def extra_repr(self) -> str:
        """The sizes and what differs from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        if not self.bias:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"


class RNNCell(_Cell):
    """One step of :class:`RNN`."""

    mode = "RNN_TANH"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """(n, input_size) and (n, hidden_size) to (n, hidden_size)."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._run(input, None if hx is None else (hx,), f"RNN_{self.nonlinearity.upper()}")[0]


class LSTMCell(_Cell):
    """One step of :class:`LSTM`."""

    mode = "LSTM"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """(n, input_size) and the pair (h, c) to the next pair, each (n, hidden_size)."""
        return self._run(input, None if hx is None else tuple(hx), "LSTM")


class GRUCell(_Cell):
    """One step of :class:`GRU`."""

    mode = "GRU"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """(n, input_size) and (n, hidden_size) to (n, hidden_size)."""
        return self._run(input, None if hx is None else (hx,), "GRU")[0]
