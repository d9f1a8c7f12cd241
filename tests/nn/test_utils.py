"""Gradient clipping, parameters as a vector, fused layers, and first values."""

from __future__ import annotations

import math

import numpy as np
import pytest

import accelgrad
from accelgrad import nn
from accelgrad.nn import init, utils


def with_gradients(*gradients: list[float]) -> list[nn.Parameter]:
    made = []
    for one in gradients:
        parameter = nn.Parameter(accelgrad.zeros(len(one)))
        parameter.grad = accelgrad.tensor(one)
        made.append(parameter)
    return made


@pytest.mark.parametrize("norm_type", [2, 1, math.inf, 0.5, 3])
def test_the_norm_of_all_gradients_is_cut_as_pytorch_does(norm_type: float):
    torch = pytest.importorskip("torch")
    ours = with_gradients([3.0, -4.0], [12.0])
    theirs = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    for one, other in zip(theirs, ours, strict=True):
        one.grad = torch.tensor(other.grad.numpy().copy())
    expected = torch.nn.utils.clip_grad_norm_(theirs, 2.0, norm_type)
    assert utils.clip_grad_norm_(ours, 2.0, norm_type).item() == pytest.approx(expected.item())
    for one, other in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(other.grad.numpy(), one.grad.numpy(), rtol=1e-5)


def test_a_small_norm_is_left_alone():
    (x,) = with_gradients([0.3, 0.4])
    assert utils.clip_grad_norm_(x, 1.0).item() == pytest.approx(0.5)
    np.testing.assert_array_equal(x.grad.numpy(), np.float32([0.3, 0.4]))
    assert utils.clip_grad_norm_([nn.Parameter(accelgrad.ones(1))], 1.0).item() == 0.0


def test_a_norm_that_is_not_finite_is_an_error_if_asked_for():
    (x,) = with_gradients([math.nan])
    with pytest.raises(RuntimeError, match="non-finite, so it cannot be clipped"):
        utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)


def test_values_of_gradients_are_cut():
    (x,) = with_gradients([3.0, -4.0, 0.5])
    utils.clip_grad_value_([x], 1.0)
    assert x.grad.tolist() == [1.0, -1.0, 0.5]


def test_parameters_become_a_vector_and_return():
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    vector = utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (8,)
    utils.vector_to_parameters(vector, other.parameters())
    np.testing.assert_array_equal(other.weight.detach().numpy(), layer.weight.detach().numpy())
    assert other.weight.requires_grad and other.weight.is_leaf
    with pytest.raises(TypeError, match="expected Tensor, but got: list"):
        utils.vector_to_parameters([1], layer.parameters())


@pytest.mark.parametrize("layer", ["conv", "transposed", "linear"])
def test_a_layer_fused_with_its_batch_norm_computes_the_same(layer: str):
    if layer == "linear":
        first, norm, x = nn.Linear(3, 4), nn.BatchNorm1d(4), accelgrad.randn(5, 3)
    else:
        kind = nn.Conv2d if layer == "conv" else nn.ConvTranspose2d
        first, norm, x = kind(3, 4, 3, bias=False), nn.BatchNorm2d(4), accelgrad.randn(2, 3, 6, 6)
    for _ in range(3):
        norm(first(x))
    init.normal_(norm.weight)
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        (utils.fuse_linear_bn_eval if layer == "linear" else utils.fuse_conv_bn_eval)(first, norm)
    first.eval(), norm.eval()
    fused = (
        utils.fuse_linear_bn_eval(first, norm)
        if layer == "linear"
        else utils.fuse_conv_bn_eval(first, norm, transpose=layer == "transposed")
    )
    np.testing.assert_allclose(
        fused(x).detach().numpy(), norm(first(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )


# --- first values

LARGE = (200, 300)


def test_gains_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name, param in (
        ("linear", None),
        ("relu", None),
        ("tanh", None),
        ("leaky_relu", 0.3),
        ("selu", None),
    ):
        assert init.calculate_gain(name, param) == pytest.approx(torch.nn.init.calculate_gain(name, param))
    with pytest.raises(ValueError, match="Unsupported nonlinearity x"):
        init.calculate_gain("x")
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        init.calculate_gain("leaky_relu", True)


@pytest.mark.parametrize(
    ("fill", "bound"),
    [
        (lambda x: init.xavier_uniform_(x, 2.0), 2 * math.sqrt(6 / 500)),
        (lambda x: init.kaiming_uniform_(x, nonlinearity="relu"), math.sqrt(6 / 300)),
        (lambda x: init.kaiming_uniform_(x, mode="fan_out", nonlinearity="linear"), math.sqrt(3 / 200)),
        (lambda x: init.uniform_(x, -0.5, 0.5), 0.5),
    ],
)
def test_uniform_values_fill_their_bounds(fill, bound):
    x = accelgrad.empty(*LARGE)
    assert fill(x) is x
    values = x.numpy()
    assert 0.99 * bound < values.max() <= bound and -bound <= values.min() < -0.99 * bound
    assert abs(values.mean()) < 0.02 * bound


@pytest.mark.parametrize(
    ("fill", "std"),
    [
        (lambda x: init.xavier_normal_(x), math.sqrt(2 / 500)),
        (lambda x: init.kaiming_normal_(x, a=1.0), math.sqrt(1 / 300)),
        (lambda x: init.normal_(x, 0.0, 0.3), 0.3),
    ],
)
def test_normal_values_have_their_deviation(fill, std):
    values = fill(accelgrad.empty(*LARGE)).numpy()
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values.mean()) < 0.02 * std


@pytest.mark.parametrize(
    ("mean", "std", "a", "b"), [(0, 1, -2, 2), (0, 1, 1.9, 2.0), (1, 2, -5, 1), (0, 1, 2, 8)]
)
def test_truncated_normal_values_stay_within_their_bounds(mean, std, a, b):
    values = init.trunc_normal_(accelgrad.empty(*LARGE, dtype=accelgrad.float64), mean, std, a, b).numpy()
    assert values.min() >= a and values.max() <= b and values.std() > 0


def test_orthogonal_rows_or_columns():
    for shape in ((4, 9), (9, 4), (4, 2, 3)):
        q = (
            init.orthogonal_(accelgrad.empty(*shape, dtype=accelgrad.float64), gain=2.0)
            .numpy()
            .reshape(shape[0], -1)
        )
        product = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
        np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_constant_identity_dirac_and_sparse_values():
    assert init.constant_(accelgrad.empty(2), 3.0).tolist() == [3.0, 3.0]
    assert init.eye_(accelgrad.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert (init.ones_(accelgrad.empty(1)).item(), init.zeros_(accelgrad.empty(1)).item()) == (1, 0)
    kernel = init.dirac_(accelgrad.empty(4, 2, 3, 3), groups=2)
    x = accelgrad.randn(1, 4, 5, 5)
    passed = nn.functional.conv2d(x, kernel, padding=1, groups=2)
    np.testing.assert_allclose(passed.numpy(), x.numpy())
    sparse = init.sparse_(accelgrad.empty(10, 4), 0.3).numpy()
    assert ((sparse == 0).sum(axis=0) == 3).all()


@pytest.mark.parametrize(
    ("fill", "error", "words"),
    [
        (lambda: init.xavier_uniform_(accelgrad.ones(3)), ValueError, "fewer than 2 dimensions"),
        (lambda: init.eye_(accelgrad.ones(3)), ValueError, "Only tensors with 2 dimensions"),
        (lambda: init.dirac_(accelgrad.ones(3)), ValueError, "3, 4, or 5 dimensions"),
        (lambda: init.dirac_(accelgrad.ones(3, 1, 1), groups=2), ValueError, "divisible by groups"),
        (lambda: init.orthogonal_(accelgrad.ones(3)), ValueError, "2 or more dimensions"),
        (lambda: init.sparse_(accelgrad.ones(3), 0.1), ValueError, "Only tensors with 2 dimensions"),
        (lambda: init.kaiming_normal_(accelgrad.ones(3, 3), mode="x"), ValueError, "Mode x not supported"),
        (lambda: init.normal_(accelgrad.ones(3), std=-1.0), RuntimeError, "expects std >= 0.0"),
        (lambda: init.trunc_normal_(accelgrad.ones(3), a=2.0, b=1.0), ValueError, "expects a <= b"),
    ],
)
def test_wrong_arguments_are_explained(fill, error, words):
    with pytest.raises(error, match=words):
        fill()


def test_one_seed_gives_one_model_and_another_generator_another():
    accelgrad.manual_seed(3)
    one = nn.Linear(3, 3).weight.detach().numpy().copy()
    accelgrad.manual_seed(3)
    np.testing.assert_array_equal(nn.Linear(3, 3).weight.detach().numpy(), one)
    first = init.normal_(accelgrad.empty(3), generator=accelgrad.Generator().manual_seed(5))
    second = init.normal_(accelgrad.empty(3), generator=accelgrad.Generator().manual_seed(5))
    assert first.tolist() == second.tolist()


def test_first_values_of_a_learned_tensor_are_set_without_a_trace():
    x = nn.Parameter(accelgrad.ones(3))
    init.zeros_(x)
    assert x.is_leaf and x.requires_grad and x.tolist() == [0, 0, 0]


def test_the_old_names_warn():
    with pytest.warns(FutureWarning, match="deprecated in favor of `nn.init.uniform_`"):
        init.uniform(accelgrad.empty(2))
    with pytest.warns(UserWarning, match="zero-element tensors is a no-op"):
        init.kaiming_uniform_(accelgrad.empty(0, 3))
