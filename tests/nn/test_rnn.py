"""Recurrent layers on packed, unbatched and batch-first input, against PyTorch; padding and packing."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn
from accelgrad.nn.utils import rnn as padding

LENGTHS = [3, 5, 1, 4]


def sequences() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((length, 3)) for length in LENGTHS]


def pair(torch: Any, kind: str, **options: Any) -> tuple[Any, Any]:
    theirs = getattr(torch.nn, kind)(3, 4, **options).double()
    ours = getattr(nn, kind)(3, 4, **options).double()
    ours.load_state_dict({key: value.detach().numpy() for key, value in theirs.state_dict().items()})
    return theirs, ours


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)


def states(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,)


OPTIONS = [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "bidirectional": True}]


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("with_state", [False, True])
def test_packed_sequences_give_what_pytorch_gives(kind: str, options: dict[str, Any], with_state: bool):
    torch = pytest.importorskip("torch")
    theirs, ours = pair(torch, kind, **options)
    raw = sequences()
    their_inputs = [torch.tensor(one, requires_grad=True) for one in raw]
    our_inputs = [accelgrad.tensor(one, requires_grad=True) for one in raw]
    their_packed = torch.nn.utils.rnn.pack_sequence(their_inputs, enforce_sorted=False)
    our_packed = padding.pack_sequence(our_inputs, enforce_sorted=False)
    close(our_packed.data, their_packed.data)
    their_start = our_start = None
    if with_state:
        layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        drawn = [np.random.default_rng(i).standard_normal((layers, 4, 4)) for i in range(2)]
        count = 2 if kind == "LSTM" else 1
        their_start = tuple(torch.tensor(one) for one in drawn[:count])
        our_start = tuple(accelgrad.tensor(one) for one in drawn[:count])
        if count == 1:
            their_start, our_start = their_start[0], our_start[0]
    expected, their_last = theirs(their_packed, their_start)
    got, our_last = ours(our_packed, our_start)
    close(got.data, expected.data)
    for one, other in zip(states(our_last), states(their_last), strict=True):
        close(one, other)
    (expected.data**2).sum().backward()
    (got.data**2).sum().backward()
    for one, other in zip(our_inputs, their_inputs, strict=True):
        close(one.grad, other.grad)
    for (_, one), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        close(one.grad, other.grad)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_sequence_without_a_batch_and_with_the_batch_in_front(kind: str):
    torch = pytest.importorskip("torch")
    theirs, ours = pair(torch, kind, batch_first=True, num_layers=2)
    for shape in ((5, 3), (2, 5, 3)):
        x = np.random.default_rng(0).standard_normal(shape)
        expected, their_last = theirs(torch.tensor(x))
        got, our_last = ours(accelgrad.tensor(x))
        close(got, expected)
        for one, other in zip(states(our_last), states(their_last), strict=True):
            close(one, other)


def test_a_projection_makes_the_state_narrower():
    torch = pytest.importorskip("torch")
    theirs, ours = pair(torch, "LSTM", proj_size=2, num_layers=2, bidirectional=True)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    expected, (h, c) = theirs(torch.tensor(x))
    got, (our_h, our_c) = ours(accelgrad.tensor(x))
    for one, other in ((got, expected), (our_h, h), (our_c, c)):
        close(one, other)


def test_dropout_between_layers_acts_in_training_only():
    layer = nn.GRU(3, 4, num_layers=2, dropout=0.9)
    x = accelgrad.ones(5, 2, 3)
    first, second = layer(x)[0], layer(x)[0]
    assert (first.detach().numpy() != second.detach().numpy()).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    with pytest.warns(UserWarning, match="non-zero dropout expects num_layers greater than 1"):
        nn.RNN(3, 4, dropout=0.5)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: nn.RNN(3, 4)(accelgrad.ones(1)), ValueError, "RNN: Expected input to be 2D or 3D, got 1D"),
        (lambda: nn.RNN(3, 4)(accelgrad.ones(2, 5)), RuntimeError, "equal to input_size. Expected 3, got 5"),
        (
            lambda: nn.RNN(3, 4)(accelgrad.ones(2, 1, 3), accelgrad.ones(1, 2, 4)),
            RuntimeError,
            r"Expected hidden size \(1, 1, 4\), got \[1, 2, 4\]",
        ),
        (lambda: nn.RNN(3, 4, nonlinearity="x"), ValueError, "Unknown nonlinearity 'x'"),
        (lambda: nn.LSTM(3, 0), ValueError, "hidden_size must be greater than zero"),
        (lambda: nn.LSTM(3, 4.0), TypeError, "hidden_size should be of type int, got: float"),
        (lambda: nn.LSTM(3, 4, dropout=2), ValueError, "dropout should be a number in range"),
        (lambda: nn.LSTM(3, 4, proj_size=4), ValueError, "smaller than hidden_size"),
        (
            lambda: nn.GRUCell(3, 4)(accelgrad.ones(1, 1, 3)),
            ValueError,
            "GRUCell: Expected input to be 1D or 2D",
        ),
        (lambda: padding.pad_sequence([]), RuntimeError, "empty list of sequences"),
        (
            lambda: padding.pad_sequence([accelgrad.ones(1, 2), accelgrad.ones(1, 3)]),
            RuntimeError,
            "sequence 1 has shape",
        ),
        (
            lambda: padding.pack_padded_sequence(accelgrad.ones(2, 2, 1), [1, 2]),
            RuntimeError,
            "must be sorted in decreasing order",
        ),
        (
            lambda: padding.pack_padded_sequence(accelgrad.ones(2, 2, 1), [2, 0]),
            RuntimeError,
            "has to be greater than 0",
        ),
        (
            lambda: padding.pack_padded_sequence(accelgrad.ones(2, 2, 1), [2]),
            RuntimeError,
            "len.lengths.` to be equal",
        ),
        (lambda: padding.pack_padded_sequence(accelgrad.ones(2, 1, 1), [3]), RuntimeError, "at most 2"),
    ],
)
def test_wrong_input_is_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("batch_first", [False, True])
def test_padding_and_packing_are_pytorchs_and_undo_each_other(batch_first: bool):
    torch = pytest.importorskip("torch")
    raw = sequences()
    ours = [accelgrad.tensor(one) for one in raw]
    theirs = [torch.tensor(one) for one in raw]
    for side in ("left", "right"):
        close(
            padding.pad_sequence(ours, batch_first, 9.0, side),
            torch.nn.utils.rnn.pad_sequence(theirs, batch_first, 9.0, side),
        )
    padded = padding.pad_sequence(ours, batch_first)
    packed = padding.pack_padded_sequence(
        padded, accelgrad.tensor(LENGTHS, device="cpu"), batch_first, enforce_sorted=False
    )
    reference = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(padded.numpy()), torch.tensor(LENGTHS), batch_first, enforce_sorted=False
    )
    for one, other in zip(packed, reference, strict=True):
        close(one, other)
    again, lengths = padding.pad_packed_sequence(packed, batch_first, -1.0, total_length=7)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference, batch_first, -1.0, total_length=7)
    close(again, expected)
    assert lengths.tolist() == LENGTHS
    for one, other in zip(padding.unpad_sequence(padded, LENGTHS, batch_first), raw, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)
    for one, other in zip(padding.unpack_sequence(packed), raw, strict=True):
        np.testing.assert_array_equal(one.numpy(), other)


def test_the_gradient_of_padding_reaches_the_sequences():
    x, y = accelgrad.ones(1, requires_grad=True), accelgrad.ones(2, requires_grad=True)
    (padding.pad_sequence([x, y]) * accelgrad.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([1.0], [2.0, 4.0])


def test_a_packed_sequence_changes_its_type():
    packed = padding.pack_sequence([accelgrad.ones(2), accelgrad.ones(1)])
    assert packed.double().data.dtype is accelgrad.float64 and packed.to(packed.data.device) is packed
    with pytest.raises(ValueError, match="needs batch_sizes"):
        padding.PackedSequence(accelgrad.ones(2))


def test_hidden_state_of_a_cell_is_carried_on():
    torch = pytest.importorskip("torch")
    for kind in ("RNNCell", "LSTMCell", "GRUCell"):
        theirs, ours = pair(torch, kind)
        state = their_state = None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for x in sequences()[0]:
                state, their_state = ours(accelgrad.tensor(x), state), theirs(torch.tensor(x), their_state)
        for one, other in zip(states(state), states(their_state), strict=True):
            close(one, other)
