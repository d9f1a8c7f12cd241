"""Pools and resampling: geometries against PyTorch, ties and NaN, round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F


def compare(name, x, *args, **options):
    torch = pytest.importorskip("torch")
    one, two = ag.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = getattr(F, name)(one, *args, **options), getattr(torch.nn.functional, name)(two, *args, **options)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), atol=1e-9)
    (y * y).sum().backward()
    (z * z).sum().backward()
    np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), atol=1e-9)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pools_of_any_geometry_equal_pytorchs(dims, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 3, *rng.integers(5, 9, dims)))
    kernel = [int(one) for one in rng.integers(1, 5, dims)]
    stride = [int(one) for one in rng.integers(1, 4, dims)]
    padding = [int(rng.integers(0, k // 2 + 1)) for k in kernel]
    ceil = bool(rng.integers(2))
    compare(f"max_pool{dims}d", x, kernel, stride, padding, ceil_mode=ceil)
    include = bool(rng.integers(2))
    one = (kernel, stride, padding)
    compare(f"avg_pool{dims}d", x, *one, ceil_mode=ceil, count_include_pad=include)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_resized_images_equal_pytorchs(mode, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((1, 2, *rng.integers(2, 9, 2)))
    size = tuple(int(one) for one in rng.integers(1, 12, 2))
    compare("interpolate", x, size=size, mode=mode)
    if mode in ("bilinear", "bicubic"):
        compare("interpolate", x, size=size, mode=mode, align_corners=True)
    compare("interpolate", x, scale_factor=float(rng.uniform(0.6, 3)), mode=mode)


def test_nan_is_the_largest_number_of_its_window():
    for function, shape in (
        (F.max_pool1d, (1, 1, 4)),
        (F.max_pool2d, (1, 1, 1, 4)),
        (F.max_pool3d, (1, 1, 1, 1, 4)),
    ):
        x = ag.tensor([math.nan, 1.0, 3.0, 2.0]).reshape(shape)
        kernel = 2 if len(shape) == 3 else (1,) * (len(shape) - 3) + (2,)
        y = function(x, kernel).reshape(-1)
        assert math.isnan(y[0].item())
        assert y[1].item() == 3.0


def test_of_equal_numbers_the_first_gets_the_gradient():
    x = ag.ones(1, 1, 2, 2, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]


def test_a_window_of_minus_infinity_gives_minus_infinity():
    assert F.max_pool2d(ag.full((1, 1, 2, 2), -math.inf), 2).item() == -math.inf
    assert F.max_pool3d(ag.full((1, 1, 2, 2, 2), -math.inf), 2).item() == -math.inf


def test_indices_are_flat_places_of_the_plane():
    x = ag.arange(24.0).reshape(2, 1, 3, 4)
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    assert indices.dtype is ag.int64
    assert indices[1].tolist() == [[[5, 7]]]
    assert (x[1].reshape(-1)[indices[1].reshape(-1)] == y[1].reshape(-1)).all()


def test_pooling_what_was_unpooled_gives_the_maxima_back():
    x = ag.rand(2, 3, 6, 6) + 0.1
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    wide = F.max_unpool2d(y, indices, 2)
    assert wide.shape == x.shape
    assert (F.max_pool2d(wide, 2) == y).all()


def test_adaptive_pools_to_one_are_mean_and_maximum():
    x = ag.randn(2, 3, 5, 7)
    np.testing.assert_allclose(
        F.adaptive_avg_pool2d(x, 1).reshape(2, 3).numpy(), x.numpy().mean((2, 3)), rtol=1e-4, atol=1e-6
    )
    assert (F.adaptive_max_pool2d(x, 1).reshape(2, 3).numpy() == x.numpy().max((2, 3))).all()


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("corners", [True, False])
def test_grid_sample_equals_pytorchs_far_outside_too(mode, padding, corners):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, grid = rng.standard_normal((2, 3, 4, 5)), rng.uniform(-4, 4, (2, 6, 7, 2))
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    y = F.grid_sample(ag.tensor(x), ag.tensor(grid), **options)
    z = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), **options)
    np.testing.assert_allclose(y.numpy(), z.numpy(), atol=1e-9)


def test_the_identity_grid_gives_the_image_back():
    x = ag.randn(1, 2, 4, 5)
    grid = F.affine_grid(ag.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 2, 4, 5), align_corners=False)
    np.testing.assert_allclose(F.grid_sample(x, grid, align_corners=False).numpy(), x.numpy(), atol=1e-5)


def test_pixel_unshuffle_undoes_pixel_shuffle():
    x = ag.randn(2, 8, 3, 3)
    assert (F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2) == x).all()
