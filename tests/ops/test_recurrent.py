"""Recurrent layers: sequences against single steps, packed against padded, second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.ops.layers.recurrent import layer

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def parameters(name: str, inputs: int, width: int, ways: int = 1, seed: int = 0) -> list[ag.Tensor]:
    rng, gates = np.random.default_rng(seed), GATES[name] * width
    shapes = [(gates, inputs), (gates, width), (gates,), (gates,)] * ways
    return [ag.tensor(rng.uniform(-0.5, 0.5, shape), requires_grad=True) for shape in shapes]


def start(name: str, *shape: int):
    zeros = ag.zeros(*shape, dtype=ag.float64)
    return (zeros, zeros) if name == "lstm" else zeros


def sequence(length: int, batch: int, inputs: int) -> ag.Tensor:
    return ag.tensor(np.random.default_rng(9).standard_normal((length, batch, inputs)), requires_grad=True)


@pytest.mark.parametrize("name", GATES)
def test_a_sequence_is_its_single_steps(name):
    x, params = sequence(5, 3, 2), parameters(name, 2, 4)
    y, *last = getattr(ag, name)(x, start(name, 1, 3, 4), params, True, 1, 0.0, False, False, False)
    state = start(name, 3, 4)
    for time in range(5):
        state = getattr(ag, f"{name}_cell")(x[time], state, *params)
        h = state[0] if name == "lstm" else state
        np.testing.assert_allclose(y[time].detach().numpy(), h.detach().numpy(), atol=1e-12)
    for one, two in zip(last, state if name == "lstm" else (state,), strict=True):
        np.testing.assert_allclose(one[0].detach().numpy(), two.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("name", GATES)
def test_packed_sequences_are_the_sequences_one_by_one(name):
    lengths, params = [4, 2, 1], parameters(name, 2, 3, ways=2)
    x = sequence(4, 3, 2)
    sizes = [sum(length > time for length in lengths) for time in range(4)]
    data = ag.cat([x[time, :size] for time, size in enumerate(sizes)])
    function = getattr(ag, name)
    y, *last = function(data, ag.tensor(sizes), start(name, 2, 3, 3), params, True, 1, 0.0, False, True)
    (together,) = ag.autograd.grad((y * y).sum(), x)
    apart = np.zeros(x.shape)
    offsets = np.cumsum([0, *sizes])
    for row, length in enumerate(lengths):
        alone, *ends = function(
            x[:length, row : row + 1], start(name, 2, 1, 3), params, True, 1, 0.0, False, True, False
        )
        rows = [int(offsets[time]) + row for time in range(length)]
        np.testing.assert_allclose(y.detach().numpy()[rows], alone[:, 0].detach().numpy(), atol=1e-12)
        for one, two in zip(last, ends, strict=True):
            np.testing.assert_allclose(one[:, row].detach().numpy(), two[:, 0].detach().numpy(), atol=1e-12)
        apart += ag.autograd.grad((alone * alone).sum(), x)[0].numpy()
    np.testing.assert_allclose(together.numpy(), apart, atol=1e-12)


def test_a_projected_lstm_equals_pytorchs():
    torch = pytest.importorskip("torch")
    other = torch.nn.LSTM(3, 4, proj_size=2).double()
    weights = [ag.tensor(one.detach().numpy(), requires_grad=True) for one in other.parameters()]
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    h, c = ag.zeros(2, 2, dtype=ag.float64), ag.zeros(2, 4, dtype=ag.float64)
    y, _, _ = layer("LSTM", ag.tensor(x.reshape(10, 3)), (h, c), weights, [2] * 5)
    z, _ = other(torch.tensor(x))
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(y.detach().numpy().reshape(5, 2, 2), z.detach().numpy(), atol=1e-9)
    for one, two in zip(weights, other.parameters(), strict=True):
        np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize("name", GATES)
def test_one_layer_in_one_direction_is_one_node(name):
    y, *_ = getattr(ag, name)(
        sequence(6, 2, 2), start(name, 1, 2, 3), parameters(name, 2, 3), True, 1, 0.0, False, False, False
    )
    node, steps = y.grad_fn, 0
    while not node.name().endswith("LayerBackward0"):
        node, steps = node.next_functions[0][0], steps + 1
    assert steps <= 1


def test_the_gradient_penalty_of_an_lstm_reaches_its_weights():
    x, params = sequence(3, 2, 2), parameters("lstm", 2, 2)
    y, *_ = ag.lstm(x, start("lstm", 1, 2, 2), params, True, 1, 0.0, False, False, False)
    (first,) = ag.autograd.grad(y.sum(), x, create_graph=True)
    (first * first).sum().backward()
    assert all(np.abs(one.grad.numpy()).max() > 0 for one in params)


def test_a_second_walk_through_a_kept_graph_gives_the_same_gradients():
    x, params = sequence(4, 2, 2), parameters("gru", 2, 3)
    y, _ = ag.gru(x, start("gru", 1, 2, 3), params, True, 1, 0.0, False, False, False)
    first = ag.autograd.grad(y.sum(), [x, *params], retain_graph=True)
    second = ag.autograd.grad(y.sum(), [x, *params])
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_dropout_between_layers_works_in_training_only():
    params = parameters("rnn_tanh", 2, 2) + parameters("rnn_tanh", 2, 2, seed=1)
    x, h = sequence(3, 2, 2).detach(), start("rnn_tanh", 2, 2, 2)
    calm = [ag.rnn_tanh(x, h, params, True, 2, 0.5, False, False, False)[0].tolist() for _ in range(2)]
    ag.manual_seed(0)
    wild = ag.rnn_tanh(x, h, params, True, 2, 0.5, True, False, False)[0].tolist()
    assert calm[0] == calm[1] != wild


def run(name: str, inputs: int, count: int = 4):
    params = parameters(name, 2, 3)[:count]
    x = sequence(2, 1, inputs)
    return getattr(ag, name)(x, start(name, 1, 1, 3), params, True, 1, 0.0, False, False, False)


def step(inputs: int, width: int):
    return ag.gru_cell(sequence(1, 1, inputs)[0], start("gru", 1, width), *parameters("gru", 2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run("lstm", 5), r"input.size\(-1\) must be equal to input_size. Expected 2, got 5"),
        (lambda: run("gru", 2, 3), "expected 4 weights for each of 1 layers"),
        (lambda: step(2, 4), "hidden has inconsistent hidden_size"),
        (lambda: step(5, 3), "input has inconsistent input_size: got 5 expected 2"),
    ],
)
def test_sizes_that_do_not_fit_are_named(call, message):
    with pytest.raises(RuntimeError, match=message):
        call()


def test_a_missing_argument_is_named():
    with pytest.raises(TypeError, match=r"lstm\(\) takes .*missing \['bidirectional', 'dropout'"):
        ag.lstm(sequence(2, 1, 2), start("lstm", 1, 1, 3), parameters("lstm", 2, 3))
