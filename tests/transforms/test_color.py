"""Colours: against Pillow, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad
from accelgrad.transforms import functional as F

from .helpers import Image, back, pixels, smooth, tensor

CHANGES = {
    "brightness": lambda img, x: F.adjust_brightness(img, x),
    "contrast": lambda img, x: F.adjust_contrast(img, x),
    "saturation": lambda img, x: F.adjust_saturation(img, x),
    "grey": lambda img, x: F.rgb_to_grayscale(img, 3),
    "gamma": lambda img, x: F.adjust_gamma(img, x),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("factor", [0, 0.4, 1, 1.7])
def test_colours_change_as_in_pillow_within_rounding(name, factor):
    source = pixels(15, 16, 3)
    theirs = back(CHANGES[name](Image.fromarray(source), factor)).astype(int)
    for make in (tensor, lambda a: a):
        ours = back(CHANGES[name](make(source), factor)).astype(int)
        assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize("factor", [-0.5, -0.2, 0.1, 0.5])
def test_hue_turns_as_in_pillow_within_its_256_steps(factor):
    source = smooth()
    theirs = back(F.adjust_hue(Image.fromarray(source), factor)).astype(int)
    ours = back(F.adjust_hue(source, factor)).astype(int)
    assert np.abs(ours - theirs).max() <= 16 and np.abs(ours - theirs).mean() < 3


def test_hue_turned_by_a_third_exchanges_the_channels():
    source = np.random.default_rng(6).random((5, 5, 3))
    turned = F.adjust_hue(source.astype(np.float32), 1 / 3)
    np.testing.assert_allclose(turned, source[..., [2, 0, 1]], atol=1e-5)


def test_hue_and_back_is_the_same_image():
    source = np.random.default_rng(7).random((2, 3, 6, 6), dtype=np.float32)
    there = F.adjust_hue(accelgrad.from_numpy(source), 0.23)
    np.testing.assert_allclose(F.adjust_hue(there, -0.23).numpy(), source, atol=1e-5)


def test_grey_pixels_have_no_hue():
    grey = np.repeat(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4, 1), 3, axis=2)
    np.testing.assert_allclose(F.adjust_hue(grey, 0.4), grey, atol=1e-7)
    for source in (pixels(4, 4), pixels(4, 4, 1)):
        np.testing.assert_array_equal(F.adjust_hue(source, 0.4), source)
        np.testing.assert_array_equal(F.adjust_saturation(source, 0.4), source)


def test_factors_of_one_change_nothing():
    source = pixels(6, 7, 3)
    for change in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_gamma):
        np.testing.assert_array_equal(change(source, 1), source)


def test_floats_stay_between_black_and_white():
    img = accelgrad.rand(3, 4, 4)
    assert F.adjust_brightness(img, 100).max().item() == 1.0
    assert F.adjust_contrast(img, 100).min().item() == 0.0


def test_contrast_of_a_batch_is_that_of_each_image():
    batch = accelgrad.rand(2, 3, 5, 5)
    np.testing.assert_allclose(
        F.adjust_contrast(batch, 0.3)[1].numpy(), F.adjust_contrast(batch[1], 0.3).numpy()
    )


def test_luma_by_hand():
    img = np.array([[[100, 200, 50]]], dtype=np.uint8)
    assert F.rgb_to_grayscale(img).ravel().tolist() == [int(29.89 + 117.4 + 5.7)]
    assert F.rgb_to_grayscale(img, 3).ravel().tolist() == [152] * 3
    assert F.to_grayscale(Image.fromarray(img)).mode == "L"


@pytest.mark.parametrize("name", CHANGES)
def test_every_formula_runs_where_the_tensor_lives(name, device):
    img = tensor(pixels(13, 17, 3))
    result = CHANGES[name](img.to(device), 0.4)
    assert result.device.type == accelgrad.device(device).type and result.dtype == img.dtype
    assert abs(result.cpu().numpy().astype(int) - CHANGES[name](img, 0.4).numpy()).max() <= 1


def test_hue_turns_where_the_tensor_lives(device):
    img = accelgrad.rand(3, 5, 6)
    result = F.adjust_hue(img.to(device), 0.2)
    assert result.device.type == accelgrad.device(device).type
    np.testing.assert_allclose(result.cpu().numpy(), F.adjust_hue(img, 0.2).numpy(), atol=1e-5)
