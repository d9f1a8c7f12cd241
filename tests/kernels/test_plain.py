"""The plain formulas against loops, finite differences and, where it is installed, PyTorch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from accelgrad.kernels import plain, updates


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def differences(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """The gradient of ``sum(grad function(x))`` by central differences."""
    result = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        result[place] = (grad * (function(x + step) - function(x - step))).sum() / 2e-6
    return result


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_gradient_of_softmax_is_that_of_finite_differences(name, axis, formula):
    x, grad = numbers(3, 4), numbers(3, 4, seed=1)
    forward = lambda x: getattr(formula, name)(x, axis=axis)  # noqa: E731 - a name for a formula
    y = forward(x)
    close(np.exp(y).sum(axis) if name == "log_softmax" else y.sum(axis), 1)
    close(getattr(formula, f"{name}_backward")(grad, y, axis=axis), differences(forward, x, grad))


@pytest.mark.parametrize("shape, axis", [((), -1), ((0, 3), 1), ((3, 0), 1), ((2, 0, 3), 1)])
def test_softmax_of_few_or_no_numbers(shape, axis, formula):
    x = np.zeros(shape)
    assert formula.softmax(x, axis).shape == shape
    assert formula.log_softmax(x, axis).shape == shape
    assert (formula.softmax(x, axis) == 1).all()


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_is_what_its_name_says(axis, keepdims, formula):
    x = numbers(3, 4)
    close(formula.logsumexp(x, axis, keepdims), np.log(np.exp(x).sum(axis=axis, keepdims=keepdims)))


def test_logsumexp_of_infinities_and_of_nothing(formula):
    x = np.array([[-np.inf, -np.inf], [np.inf, 0], [np.inf, np.inf], [np.nan, 0], [np.inf, -np.inf]])
    found = formula.logsumexp(x, axis=1)
    np.testing.assert_array_equal(found, [-np.inf, np.inf, np.inf, np.nan, np.inf])
    np.testing.assert_array_equal(formula.logsumexp(np.zeros((2, 0)), axis=1), [-np.inf, -np.inf])
    assert formula.logsumexp(np.array([1e4, 1e4])) == pytest.approx(1e4 + math.log(2))


def test_cross_entropy_is_the_negative_log_probability_of_the_target(formula):
    x, target = numbers(5, 4), np.array([0, 3, 1, 1, 2])
    loss, lse = formula.softmax_cross_entropy(x, target)
    close(loss, -np.log(formula.softmax(x)[np.arange(5), target]))
    grad = numbers(5, seed=1)
    wanted = differences(lambda x: formula.softmax_cross_entropy(x, target)[0], x, grad[:])
    rows = np.stack(
        [
            differences(
                lambda row, t=t: formula.softmax_cross_entropy(row[None], np.array([t]))[0], x[i], grad[i]
            )
            for i, t in enumerate(target)
        ]
    )
    close(formula.softmax_cross_entropy_backward(grad, x, target, lse), rows)
    close(wanted, rows)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 0.5, np.inf, -np.inf])
def test_vector_norms_are_numpys(order, formula):
    x = numbers(4, 5)
    x[1, 2] = 0
    close(formula.vector_norm(x, order, axis=1), np.linalg.norm(x, order, axis=1))


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_a_product_with_the_transposed_weight(bias, formula):
    x, weight, b = numbers(2, 3, 4), numbers(5, 4, seed=1), numbers(5, seed=2)
    wanted = np.einsum("abi,oi->abo", x, weight) + (b if bias else 0)
    close(formula.linear(x, weight, b if bias else None), wanted)


@pytest.mark.parametrize("affine", [True, False])
def test_the_gradients_of_layer_norm_are_those_of_finite_differences(affine, formula):
    x, grad, weight, bias = numbers(3, 5), numbers(3, 5, seed=1), numbers(5, seed=2), numbers(5, seed=3)
    w, b = (weight, bias) if affine else (None, None)
    y, mean, rstd = formula.layer_norm(x, w, b, 1e-5)
    close(((y - (bias if affine else 0)) / (weight if affine else 1)).var(axis=1), 1 - 1e-5 * rstd[:, 0] ** 2)
    gx, gweight, gbias = formula.layer_norm_backward(grad, x, w, mean, rstd)
    close(gx, differences(lambda x: formula.layer_norm(x, w, b, 1e-5)[0], x, grad))
    close(gweight, differences(lambda w: formula.layer_norm(x, w, b, 1e-5)[0], weight, grad))
    close(gbias, grad.sum(axis=0))


@pytest.mark.parametrize("affine", [True, False])
def test_the_gradients_of_batch_norm_are_those_of_finite_differences(affine, formula):
    x, grad, weight, bias = numbers(3, 2, 4), numbers(3, 2, 4, seed=1), numbers(2, seed=2), numbers(2, seed=3)
    w, b = (weight, bias) if affine else (None, None)
    _, mean, var, rstd = formula.batch_norm(x, w, b, 1e-5)
    close(mean, x.mean(axis=(0, 2)))
    close(var, x.var(axis=(0, 2)))
    gx, gweight, gbias = formula.batch_norm_backward(grad, x, w, mean, rstd)
    close(gx, differences(lambda x: formula.batch_norm(x, w, b, 1e-5)[0], x, grad))
    close(gweight, differences(lambda w: formula.batch_norm(x, w, b, 1e-5)[0], weight, grad))
    close(gbias, grad.sum(axis=(0, 2)))


def test_gelu_is_x_times_the_normal_distribution(formula):
    x, grad = numbers(50), numbers(50, seed=1)
    close(formula.gelu(x), [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    wanted = (formula.gelu(x + 1e-6) - formula.gelu(x - 1e-6)) / 2e-6 * grad
    close(formula.gelu_backward(grad, x), wanted)


WINDOWS = [(3, 1, 1, 1), ((2, 3), (2, 1), (0, 1), (1, 2)), (3, 3, 2, 2), (2, 3, 0, 1), (4, 1, 0, 1)]


@pytest.mark.parametrize("kernel, stride, padding, dilation", WINDOWS)
def test_im2col_is_what_its_loops_say(kernel, stride, padding, dilation, formula):
    x = numbers(2, 3, 7, 6)
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = map(plain.pair, (kernel, stride, padding, dilation))
    found = formula.im2col(x, kernel, stride, padding, dilation)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    oh = len(range(0, padded.shape[2] - dh * (kh - 1), sh))
    ow = len(range(0, padded.shape[3] - dw * (kw - 1), sw))
    assert found.shape == (2, 3 * kh * kw, oh * ow)
    shaped = found.reshape(2, 3, kh, kw, oh, ow)
    for i, j, p, q in itertools.product(range(kh), range(kw), range(oh), range(ow)):
        np.testing.assert_array_equal(
            shaped[:, :, i, j, p, q], padded[:, :, p * sh + i * dh, q * sw + j * dw]
        )
    other = numbers(*found.shape, seed=1)
    back = formula.col2im(other, x.shape, kernel, stride, padding, dilation)
    assert np.vdot(found, other) == pytest.approx(np.vdot(x, back))


def test_the_formulas_of_windows_agree_with_pytorch(formula):
    torch = pytest.importorskip("torch")
    x = numbers(2, 3, 11, 9).round(1)
    for kernel, stride, padding, dilation in WINDOWS:
        wanted = torch.nn.functional.unfold(torch.from_numpy(x), kernel, dilation, padding, stride)
        np.testing.assert_array_equal(formula.im2col(x, kernel, stride, padding, dilation), wanted.numpy())
    x[0, 0, 3, 3], x[1, :, :5] = np.nan, -np.inf
    pools = [
        (3, 2, 1, 1, False),
        ((2, 3), (2, 1), (1, 1), (1, 1), True),
        (3, 3, 1, 2, True),
        (3, 2, 0, 1, True),
    ]
    for *window, ceil_mode in pools:
        y, indices = formula.max_pool2d(x, *window, ceil_mode)
        wanted, places = torch.nn.functional.max_pool2d(
            torch.from_numpy(x), *window, ceil_mode=ceil_mode, return_indices=True
        )
        np.testing.assert_array_equal(y, wanted.numpy())
        np.testing.assert_array_equal(indices, places.numpy())


def test_max_pooling_sends_each_gradient_where_the_maximum_was(formula):
    x = np.array([[[[1.0, 5, 2], [3, 4, 9], [7, 8, 6]]]])
    y, indices = formula.max_pool2d(x, 2, 1)
    np.testing.assert_array_equal(y, [[[[5, 9], [8, 9]]]])
    np.testing.assert_array_equal(indices, [[[[1, 5], [7, 5]]]])
    back = formula.max_pool2d_backward(np.array([[[[1.0, 10], [100, 1000]]]]), indices, x.shape)
    np.testing.assert_array_equal(back, [[[[0, 1, 0], [0, 0, 1010], [0, 100, 0]]]])


def test_adding_by_an_index_adds_repeats_and_leaves_its_input(formula):
    x = np.zeros((3, 2))
    found = formula.index_add(x, 0, np.array([0, 2, 2]), np.array([[1.0, 2], [3, 4], [5, 6]]))
    np.testing.assert_array_equal(found, [[1, 2], [0, 0], [8, 10]])
    found = formula.scatter_add(x, 1, np.array([[0, 0], [1, 1]]), np.ones((2, 2)))
    np.testing.assert_array_equal(found, [[2, 0], [0, 2], [0, 0]])
    found = formula.embedding_backward(np.ones((3, 2)), np.array([1, 1, 0]), 4)
    np.testing.assert_array_equal(found, [[1, 1], [2, 2], [0, 0], [0, 0]])
    assert not x.any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "maximize": True},
    ],
)
def test_sgd_takes_pytorchs_steps(options, formula):
    torch = pytest.importorskip("torch")
    param, buffer = numbers(5), np.zeros(5)
    momentum, sign = options.get("momentum", 0.0), -1.0 if options.get("maximize") else 1.0
    twin = torch.from_numpy(param.copy()).requires_grad_()
    optimizer = torch.optim.SGD([twin], lr=0.1, **options)
    for step in range(4):
        grad = numbers(5, seed=step + 1)
        twin.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        kept, fresh = (momentum, 1 - options.get("dampening", 0.0)) if step else (0.0, 1.0)
        others = [[grad], [buffer] if momentum else None]
        settings = (0.1, momentum, kept, fresh, "nesterov" in options)
        formula.update_all([param], updates.sgd, others, settings, sign, options.get("weight_decay", 0.0))
    np.testing.assert_allclose(param, twin.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_takes_pytorchs_steps(decoupled, amsgrad, formula):
    torch = pytest.importorskip("torch")
    param = numbers(5)
    first, second, largest = ([np.zeros(5)] for _ in range(3))
    twin = torch.from_numpy(param.copy()).requires_grad_()
    kind = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = kind([twin], lr=0.1, weight_decay=0.1, amsgrad=amsgrad)
    for step in range(1, 5):
        grad = numbers(5, seed=step)
        twin.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        settings = (0.9, 1 - 0.9, 0.999, 1 - 0.999, 0.1 / (1 - 0.9**step), math.sqrt(1 - 0.999**step), 1e-8)
        others = [[grad], first, second, largest if amsgrad else None]
        weights = (0.0, 1 - 0.1 * 0.1) if decoupled else (0.1, 1.0)
        formula.update_all([param], updates.adam, others, settings, 1.0, *weights)
    np.testing.assert_allclose(param, twin.detach().numpy(), rtol=1e-10)
