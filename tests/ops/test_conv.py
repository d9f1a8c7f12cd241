"""Convolutions: many geometries against PyTorch, the messages, the derivatives of derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.autograd import grad
from accelgrad.kernels import convolution
from accelgrad.nn import functional as F


def draw(rng, dims):
    """One random convolution: (x, weight, bias, options)."""
    groups = int(rng.choice([1, 1, 2, 3]))
    shape = (int(rng.integers(1, 3)), groups * int(rng.integers(1, 3)), *rng.integers(5, 9, dims))
    weight = (groups * int(rng.integers(1, 3)), shape[1] // groups, *rng.integers(1, 4, dims))
    options = {
        "stride": tuple(int(one) for one in rng.integers(1, 4, dims)),
        "padding": tuple(int(one) for one in rng.integers(0, 3, dims)),
        "dilation": tuple(int(one) for one in rng.integers(1, 3, dims)),
        "groups": groups,
    }
    return rng.standard_normal(shape), rng.standard_normal(weight), rng.standard_normal(weight[0]), options


def compare(function, other, arrays, options):
    torch = pytest.importorskip("torch")
    ours = [ag.tensor(one, requires_grad=True) for one in arrays]
    others = [torch.tensor(one, requires_grad=True) for one in arrays]
    y, z = function(*ours, **options), other(*others, **options)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=1e-9)
    (y * y).sum().backward()
    (z * z).sum().backward()
    for one, two in zip(ours, others, strict=True):
        np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), atol=1e-8)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_any_geometry_equal_pytorchs(dims, seed):
    torch = pytest.importorskip("torch")
    x, w, b, options = draw(np.random.default_rng(seed), dims)
    name = f"conv{dims}d"
    compare(getattr(F, name), getattr(torch.nn.functional, name), (x, w, b), options)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_transposed_convolutions_of_any_geometry_equal_pytorchs(dims, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    x, w, _, options = draw(rng, dims)
    groups = options["groups"]
    x = rng.standard_normal((x.shape[0], w.shape[0], *rng.integers(3, 6, dims)))
    options["padding"] = tuple(int(one) for one in rng.integers(0, 2, dims))
    options["output_padding"] = tuple(
        int(rng.integers(0, max(s, d))) for s, d in zip(options["stride"], options["dilation"], strict=True)
    )
    name = f"conv_transpose{dims}d"
    bias = rng.standard_normal(w.shape[1] * groups)
    compare(getattr(F, name), getattr(torch.nn.functional, name), (x, w, bias), options)


def test_the_batch_may_be_taken_in_any_portions(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((5, 4, 6, 6)), rng.standard_normal((4, 2, 3, 3))
    results = []
    for limit in (convolution.COLUMNS, 3000, 1):  # all at once, two by two, one by one
        monkeypatch.setattr(convolution, "COLUMNS", limit)
        image, weight = ag.tensor(x, requires_grad=True), ag.tensor(w, requires_grad=True)
        y = F.conv2d(image, weight, padding=1, groups=2)
        (y**2).sum().backward()
        results.append([y.detach().numpy(), image.grad.numpy(), weight.grad.numpy()])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-10)


def test_both_ways_to_the_weights_gradient_agree():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 5, 5))
    for outputs in (2, 200):  # few outputs: one product a sample; many: one product over all samples
        w = ag.tensor(rng.standard_normal((outputs, 4, 3, 3)), requires_grad=True)
        y = F.conv2d(ag.tensor(x), w)
        g = rng.standard_normal(tuple(y.shape))
        y.backward(ag.tensor(g))
        expected = np.zeros(w.shape)
        for i in range(3):
            for j in range(3):
                expected[:, :, i, j] = np.einsum("nopq,ncpq->oc", g, x[:, :, i : i + 3, j : j + 3])
        np.testing.assert_allclose(w.grad.numpy(), expected, atol=1e-10)


def test_the_third_derivative_of_a_cubed_convolution_is_right():
    x = ag.tensor([[[[2.0]]]], requires_grad=True)
    w = ag.tensor([[[[3.0]]]])
    y = F.conv2d(x, w) ** 3  # 27 x³
    for _ in range(3):
        (y,) = grad(y.sum(), x, create_graph=True)
    assert y.item() == pytest.approx(27 * 6)


def test_a_one_by_one_convolution_is_a_matrix_product_over_channels():
    x, w = ag.randn(2, 3, 4, 5), ag.randn(6, 3, 1, 1)
    expected = np.einsum("nchw,oc->nohw", x.numpy(), w.numpy()[:, :, 0, 0])
    np.testing.assert_allclose(F.conv2d(x, w).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_images_with_channels_last_are_told_how_to_move_them():
    with pytest.raises(
        RuntimeError,
        match=r"expected input\[2, 8, 8, 3\] to have 3 channels, but got 8.*permute\(0, 3, 1, 2\)",
    ):
        F.conv2d(ag.zeros(2, 8, 8, 3), ag.zeros(4, 3, 3, 3))


def test_same_padding_of_an_even_window_pads_the_end_as_pytorch_does():
    y = F.conv1d(ag.tensor([[[1.0, 2.0, 3.0]]]), ag.tensor([[[1.0, 10.0]]]), padding="same")
    assert y.tolist() == [[[21.0, 32.0, 3.0]]]


def test_convolution_of_a_non_contiguous_input():
    x = ag.randn(2, 6, 5, 3)
    w = ag.randn(4, 3, 3, 3)
    y = F.conv2d(x.permute(0, 3, 1, 2), w)
    z = F.conv2d(x.permute(0, 3, 1, 2).contiguous(), w)
    np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-5, atol=1e-5)


def test_fold_undoes_unfold_where_windows_do_not_overlap():
    x = ag.randn(2, 3, 4, 6)
    assert (F.fold(F.unfold(x, 2, stride=2), (4, 6), 2, stride=2) == x).all()
