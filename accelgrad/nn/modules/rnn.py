"""Recurrent layers and cells: RNN, LSTM, GRU; gates in PyTorch's order (i f g o; r z n).

Each layer and direction is one operation over all time steps (:mod:`accelgrad.ops.layers.recurrent`).  It
takes the steps one after the other in one tensor (all rows of step 0, then those of step 1 ...), as in a
PackedSequence, whose batch shrinks from step to step as the shorter sequences end.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import changed
from accelgrad.nn.parameter import Parameter, empty
from accelgrad.nn.utils.rnn import PackedSequence
from accelgrad.ops.layers import recurrent
from accelgrad.ops.shapes.join import cat, stack

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell"]

State = tuple[Tensor, ...]
"""The state h, or h and c of an LSTM."""

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


# --- layers


class RNNBase(Module):
    """The base of RNN, LSTM and GRU: the weights of every layer and direction, and the way through them.

    ``mode`` is "RNN_TANH", "RNN_RELU", "LSTM" or "GRU"; the subclasses choose it.  Layer k has the weights
    ``weight_ih_l{k}`` (gates hidden_size, width of its input), ``weight_hh_l{k}`` (gates hidden_size,
    hidden_size), with ``bias`` also ``bias_ih_l{k}`` and ``bias_hh_l{k}`` (gates hidden_size,), and those of
    the backward direction end in ``_reverse``.  First values: uniform in +-1 / sqrt(hidden_size).
    ``dropout`` zeroes elements between the layers in training; ``proj_size`` multiplies h by a smaller
    matrix.  ValueError and TypeError for settings that make no sense.

    >>> import accelgrad
    >>> [name for name, _ in RNNBase("GRU", 4, 8).named_parameters()]
    ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """

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
        # What makes no sense is refused.
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being"
                " zeroed"
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
                "dropout option adds dropout after all but last recurrent layer,"
                " so non-zero dropout expects num_layers greater than 1,"
                f" but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        # The settings, and the weights that they ask for.
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
        """Do nothing: PyTorch moves the weights together here, which our kernels do not need."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._weight_names]

    def forward(self, input: Any, hx: Any = None) -> Any:
        """The outputs of the last layer at all times, and the last state of every layer and direction.

        input (t, n, input_size), or (n, t, input_size) with ``batch_first``, or (t, input_size), or a
        PackedSequence; the outputs have the same form with directions * hidden_size features.  hx
        (layers directions, n, hidden_size), without n for an input without it, zeros if not given; an LSTM
        takes and returns the pair (h, c).
        """
        # The steps one after the other in one tensor, and how many sequences run at each.
        order = unsorted = None
        batched = True
        packed = isinstance(input, PackedSequence)
        if packed:
            data, sizes, order, unsorted = input
            steps = [int(size) for size in sizes.array]
            self._check_width(data)
        else:
            batched = input.ndim == 3
            data, steps = self._steps(input)
        # The first state, in the order of the packed sequences.
        states: Any = self._first_state(data, steps[0], hx, batched)
        if order is not None and hx is not None:
            states = tuple(one.index_select(1, order) for one in states)
        # Layer after layer, in one or two directions.
        finals: list[State] = []
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            ways: list[Tensor] = []
            for way in range(directions):
                place = layer * directions + way
                weights = [getattr(self, name) for name in self._weight_names[place]]
                if not self.bias:
                    weights[2:2] = [None, None]
                start = [one[place] for one in states]  # (n, hidden_size) each
                y, *final = recurrent.layer(self.mode, data, start, weights, steps, reverse=way == 1)
                ways.append(y)
                finals.append(tuple(final))
            data = ways[0] if directions == 1 else cat(ways, -1)  # (all rows, directions * hidden_size)
            if self.dropout and layer < self.num_layers - 1:
                data = F.dropout(data, self.dropout, self.training)
        # The results in the form of the inputs.
        last: Any = tuple(stack(parts) for parts in zip(*finals, strict=True))  # (layers directions, n, ...)
        if packed:
            if unsorted is not None:
                last = tuple(one.index_select(1, unsorted) for one in last)
            output: Any = PackedSequence(data, sizes, order, unsorted)
        else:
            output = data.reshape(len(steps), steps[0], -1)  # (t, n, directions * hidden_size)
            if not batched:
                output = output.squeeze(1)
                last = tuple(one.squeeze(1) for one in last)
            elif self.batch_first:
                output = output.transpose(0, 1)  # (n, t, directions * hidden_size)
        return output, last if self.mode == "LSTM" else last[0]

    def _steps(self, input: Any) -> tuple[Any, list[int]]:
        """The input with its steps one after the other (t n, width), and how many sequences run at each."""
        if input.ndim not in (2, 3):
            raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.ndim}D instead")
        if input.ndim == 2:
            input = input.unsqueeze(1)  # (t, 1, width)
        elif self.batch_first:
            input = input.transpose(0, 1)  # (t, n, width)
        self._check_width(input)
        length, batch, width = input.array.shape
        if length == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        return input.reshape(length * batch, width), [batch] * length

    def _check_width(self, data: Tensor) -> None:
        """RuntimeError where the input has another number of features."""
        if data.array.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size."
                f" Expected {self.input_size}, got {data.array.shape[-1]}"
            )

    def _first_state(self, data: Tensor, batch: int, hx: Any, batched: bool) -> State:
        """The given state, checked, or zeros: h, and c for an LSTM, each (layers directions, n, width)."""
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
        settings = changed(
            self, proj_size=0, num_layers=1, bias=True, batch_first=False, dropout=0.0, bidirectional=False
        )
        return f"{self.input_size}, {self.hidden_size}{settings}"


class RNN(RNNBase):
    """``h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)`` over time, or relu by ``nonlinearity``.  Elman 1990.

    ``num_layers`` layers lie on each other, each with two directions if ``bidirectional``; :class:`RNNBase`
    says the weights and the other settings.  The call takes input (t, n, input_size) and the first state
    (layers directions, n, hidden_size), and returns the outputs (t, n, directions hidden_size) and the last
    state; with ``batch_first`` the batch n comes first in input and outputs.  Also without n, and for packed
    sequences.  Floating point, of the weights' type.  ValueError and RuntimeError for wrong sizes.

    >>> import accelgrad
    >>> layer = RNN(4, 8, num_layers=2, batch_first=True)
    >>> layer
    RNN(4, 8, num_layers=2, batch_first=True)
    >>> output, state = layer(accelgrad.randn(3, 5, 4))  # (n, t, input_size)
    >>> output.shape, state.shape
    (accelgrad.Size([3, 5, 8]), accelgrad.Size([2, 3, 8]))
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

    ``c' = sigmoid(f) c + sigmoid(i) tanh(g)`` and ``h' = sigmoid(o) tanh(c')``, where i, f, g and o are the
    four parts of x W_ihᵀ + b_ih + h W_hhᵀ + b_hh.  ``proj_size`` multiplies h' by a smaller matrix.  Shapes,
    other settings and errors as for :class:`RNN`.

    >>> import accelgrad
    >>> output, (h, c) = LSTM(4, 8)(accelgrad.randn(5, 3, 4))  # (t, n, input_size)
    >>> output.shape, h.shape, c.shape
    (accelgrad.Size([5, 3, 8]), accelgrad.Size([1, 3, 8]), accelgrad.Size([1, 3, 8]))
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

    ``h' = (1 - z) n + z h`` with ``r = sigmoid(x_r + h_r)``, ``z = sigmoid(x_z + h_z)`` and
    ``n = tanh(x_n + r h_n)``, where x_* are the three parts of x W_ihᵀ + b_ih, and h_* those of
    h W_hhᵀ + b_hh.  Shapes, settings and errors as for :class:`RNN`.

    >>> import accelgrad
    >>> output, state = GRU(4, 8, bidirectional=True)(accelgrad.randn(5, 3, 4))  # (t, n, input_size)
    >>> output.shape, state.shape
    (accelgrad.Size([5, 3, 16]), accelgrad.Size([2, 3, 8]))
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
    """One time step as a module; its weights have no layer's number in their names."""

    _mode = ""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = _GATES[self._mode] * hidden_size
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
        """The next state, of the form of ``states``; zeros where there is none."""
        if input.ndim not in (1, 2):
            raise ValueError(f"{self._get_name()}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        single = input.ndim == 1
        x = input.unsqueeze(0) if single else input  # (n, input_size)
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
        return f"{self.input_size}, {self.hidden_size}{changed(self, bias=True)}"


class RNNCell(_Cell):
    """``h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh)``, or relu by ``nonlinearity``: one step of an RNN.

    x (n, input_size) and h (n, hidden_size), zeros if not given, give h' (n, hidden_size); also without n.
    Floating point, of the weights' type.  ValueError for other numbers of dimensions, RuntimeError for other
    sizes and an unknown nonlinearity.

    >>> import accelgrad
    >>> RNNCell(4, 8)(accelgrad.randn(3, 4)).shape
    accelgrad.Size([3, 8])
    """

    _mode = "RNN_TANH"

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
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._run(input, None if hx is None else (hx,), f"RNN_{self.nonlinearity.upper()}")[0]

    def extra_repr(self) -> str:
        return super().extra_repr() + changed(self, nonlinearity="tanh")


class LSTMCell(_Cell):
    """One step of an :class:`LSTM`: x and the pair (h, c) give the next pair.

    x (n, input_size), h and c (n, hidden_size), zeros if not given; also without n.  Errors as for
    :class:`RNNCell`.

    >>> import accelgrad
    >>> h, c = LSTMCell(4, 8)(accelgrad.randn(3, 4))
    >>> h.shape, c.shape
    (accelgrad.Size([3, 8]), accelgrad.Size([3, 8]))
    """

    _mode = "LSTM"

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        return self._run(input, None if hx is None else tuple(hx), "LSTM")


class GRUCell(_Cell):
    """One step of a :class:`GRU`: x and h give the next h.

    x (n, input_size) and h (n, hidden_size), zeros if not given, give h' (n, hidden_size); also without n.
    Errors as for :class:`RNNCell`.

    >>> import accelgrad
    >>> GRUCell(4, 8)(accelgrad.randn(3, 4)).shape
    accelgrad.Size([3, 8])
    """

    _mode = "GRU"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._run(input, None if hx is None else (hx,), "GRU")[0]
