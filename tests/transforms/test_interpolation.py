"""The weights of the interpolation modes, against PyTorch and by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from accelgrad.transforms import InterpolationMode
from accelgrad.transforms.interpolation import as_mode, nearest_indices, resize_weights

SIZES = [(1, 1), (1, 5), (5, 1), (7, 3), (3, 7), (8, 8), (100, 33), (33, 100), (2, 224)]
SMOOTH = [mode for mode in InterpolationMode if not mode.value.startswith("nearest")]


@pytest.mark.parametrize("mode", SMOOTH)
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
@pytest.mark.parametrize("antialias", [True, False])
def test_a_constant_row_stays_constant(mode, n_in, n_out, antialias):
    weights = resize_weights(n_in, n_out, mode, antialias)
    assert weights.shape == (n_out, n_in)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
@pytest.mark.parametrize("antialias", [True, False])
def test_the_weights_are_those_of_pytorch(mode, n_in, n_out, antialias):
    torch = pytest.importorskip("torch")
    rows = torch.eye(n_in, dtype=torch.float64)[None, None].expand(1, 1, n_in, n_in)
    theirs = torch.nn.functional.interpolate(
        rows, size=(n_in, n_out), mode=mode, align_corners=False, antialias=antialias
    )[0, 0].T
    ours = resize_weights(n_in, n_out, InterpolationMode(mode), antialias)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize(("n_in", "n_out"), [*SIZES, (10, 49), (49, 10), (224, 73)])
def test_the_nearest_pixels_are_those_of_pytorch(mode, n_in, n_out):
    torch = pytest.importorskip("torch")
    row = torch.arange(n_in, dtype=torch.float32)[None, None]
    theirs = torch.nn.functional.interpolate(row, size=n_out, mode=mode)[0, 0].long()
    assert nearest_indices(n_in, n_out, InterpolationMode(mode)).tolist() == theirs.tolist()


def test_halving_by_a_triangle_weighs_one_three_three_one():
    # At output pixel 1 of 4 from 8, centre 3: distances 1.5, 0.5, 0.5, 1.5 of a triangle of half width 2.
    row = resize_weights(8, 4, InterpolationMode.BILINEAR, True)[1]
    np.testing.assert_allclose(row, np.array([0, 1, 3, 3, 1, 0, 0, 0]) / 8)


def test_weights_are_shared_and_cannot_be_changed():
    weights = resize_weights(4, 2, InterpolationMode.BOX, True)
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 1


@pytest.mark.parametrize("given", [InterpolationMode.BILINEAR, "bilinear", 2])
def test_a_mode_has_three_spellings(given):
    assert as_mode(given) is InterpolationMode.BILINEAR


def test_pillows_numbers_mean_what_they_mean_there():
    image_module = pytest.importorskip("PIL.Image")
    for name in ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS"):
        assert as_mode(int(image_module.Resampling[name])).name == name


@pytest.mark.parametrize("wrong", ["linear", 9, None, [2]])
def test_another_mode_is_refused(wrong):
    with pytest.raises(TypeError, match="Argument interpolation should be a InterpolationMode"):
        as_mode(wrong)


def test_a_mode_pickles():
    assert pickle.loads(pickle.dumps(InterpolationMode.BOX)) is InterpolationMode.BOX
