"""The transforms with randomness: their draws lie in their ranges, and every outcome occurs."""

from __future__ import annotations

import math

import numpy as np
import pytest

import accelgrad
from accelgrad import transforms
from accelgrad.transforms import functional as F

Image = pytest.importorskip("PIL.Image")

NUMBERED = np.arange(8 * 9, dtype=np.uint8).reshape(8, 9)
COLOURED = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)


# --- crops


def test_a_random_crop_is_a_part_of_the_image_and_reaches_every_place():
    crop = transforms.RandomCrop((6, 5))
    corners = set()
    for _ in range(400):
        part = crop(NUMBERED)
        top, left = divmod(int(part[0, 0]), 9)
        np.testing.assert_array_equal(part, NUMBERED[top : top + 6, left : left + 5])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_a_random_crop_of_the_whole_size_is_the_image():
    np.testing.assert_array_equal(transforms.RandomCrop((8, 9))(NUMBERED), NUMBERED)


def test_padding_comes_before_the_crop():
    parts = [transforms.RandomCrop((8, 9), padding=2, fill=255)(NUMBERED) for _ in range(50)]
    assert {part.shape for part in parts} == {(8, 9)} and any((part == 255).any() for part in parts)


def test_an_image_that_is_too_small_is_padded_if_asked():
    assert transforms.RandomCrop(20, pad_if_needed=True)(NUMBERED).shape == (20, 20)
    with pytest.raises(
        ValueError, match=r"Required crop size \(20, 20\) is larger than input image size \(8, 9\)"
    ):
        transforms.RandomCrop(20)(NUMBERED)


def test_a_resized_crop_keeps_to_scale_and_ratio():
    img = np.zeros((100, 120), np.uint8)
    for _ in range(300):
        top, left, height, width = transforms.RandomResizedCrop.get_params(img, (0.2, 0.5), (0.5, 2.0))
        assert 0 <= top <= 100 - height and 0 <= left <= 120 - width
        assert 0.19 < height * width / 12000 < 0.51 and 0.48 < width / height < 2.1


def test_a_resized_crop_that_never_fits_takes_the_middle():
    draw = transforms.RandomResizedCrop.get_params
    assert draw(np.zeros((10, 100)), (1.0, 1.0), (0.5, 2.0)) == (0, 40, 10, 20)
    assert draw(np.zeros((100, 10)), (1.0, 1.0), (0.5, 2.0)) == (40, 0, 20, 10)


def test_a_resized_crop_has_the_size_asked_for():
    for img in (COLOURED, F.to_tensor(COLOURED), Image.fromarray(COLOURED)):
        assert F.get_dimensions(transforms.RandomResizedCrop((5, 6))(img)) == [3, 5, 6]


# --- flips, grey, turns


@pytest.mark.parametrize(
    ("transform", "function"),
    [
        (transforms.RandomHorizontalFlip, F.hflip),
        (transforms.RandomVerticalFlip, F.vflip),
        (transforms.RandomGrayscale, lambda img: F.rgb_to_grayscale(img, 3)),
    ],
)
def test_what_has_a_probability_happens_that_often(transform, function):
    changed = function(COLOURED)
    for p in (0.0, 0.3, 1.0):
        outcomes = [transform(p)(COLOURED) for _ in range(300)]
        times = sum(np.array_equal(outcome, changed) for outcome in outcomes)
        assert times + sum(np.array_equal(outcome, COLOURED) for outcome in outcomes) == 300
        assert abs(times / 300 - p) <= 4 * math.sqrt(p * (1 - p) / 300)


def test_angles_lie_in_their_range():
    angles = [transforms.RandomRotation.get_params((10, 30)) for _ in range(300)]
    assert 10 <= min(angles) < 12 and 28 < max(angles) <= 30


def test_one_number_of_degrees_goes_both_ways():
    assert transforms.RandomRotation(15).degrees == (-15.0, 15.0)


def test_a_rotation_by_a_fixed_angle_is_the_functions():
    for img in (F.to_tensor(COLOURED), COLOURED):
        ours = transforms.RandomRotation((90, 90), expand=True)(img)
        expected = F.rotate(img, 90, expand=True, fill=0)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(expected))


# --- colour


def test_jitter_of_nothing_changes_nothing():
    np.testing.assert_array_equal(transforms.ColorJitter()(COLOURED), COLOURED)


def test_jitter_draws_factors_in_their_ranges_and_every_order():
    jitter = transforms.ColorJitter(0.5, (2, 3), 0, 0.1)
    assert (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue) == (
        (0.5, 1.5),
        (2.0, 3.0),
        None,
        (-0.1, 0.1),
    )
    orders = set()
    for _ in range(500):
        order, b, c, s, h = jitter.get_params(jitter.brightness, jitter.contrast, None, jitter.hue)
        orders.add(tuple(order))
        assert 0.5 <= b <= 1.5 and 2 <= c <= 3 and s is None and -0.1 <= h <= 0.1
    assert len(orders) == 24


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_jitter_of_one_kind_is_the_functions(name):
    factor = 0.3 if name == "hue" else 0.6
    jitter = transforms.ColorJitter(**{name: (factor, factor)})
    np.testing.assert_array_equal(jitter(COLOURED), getattr(F, f"adjust_{name}")(COLOURED, factor))


def test_jitter_below_black_stops_at_zero():
    assert transforms.ColorJitter(brightness=3).brightness == (0.0, 4.0)


# --- erase and blur


def erased(img):
    """Return the (rows, columns) of a rectangle of zeros in an image of ones, or None."""
    zeros = np.argwhere(img.numpy()[0] == 0)
    if not len(zeros):
        return None
    extent = zeros.max(axis=0) - zeros.min(axis=0) + 1
    assert len(zeros) == extent.prod()  # a full rectangle
    return tuple(int(n) for n in extent)


def test_an_erased_rectangle_keeps_to_scale_and_ratio():
    img = accelgrad.ones(1, 50, 60)
    for _ in range(100):
        height, width = erased(transforms.RandomErasing(1.0, scale=(0.1, 0.2), ratio=(0.5, 2.0))(img))
        assert 0.08 < height * width / 3000 < 0.22 and 0.45 < height / width < 2.2
    assert img.min().item() == 1


def test_erasing_with_probability_zero_does_nothing():
    img = accelgrad.ones(1, 9, 9)
    assert all(transforms.RandomErasing(0.0)(img) is img for _ in range(20))


def test_a_rectangle_that_never_fits_is_not_erased():
    img = accelgrad.ones(1, 9, 9)
    assert erased(transforms.RandomErasing(1.0, scale=(1.0, 1.0))(img)) is None


def test_an_erased_rectangle_has_the_value_asked_for():
    img = accelgrad.zeros(3, 20, 20)
    colours = transforms.RandomErasing(1.0, value=(1, 2, 3))(img).numpy()
    assert colours.max(axis=(1, 2)).tolist() == [1, 2, 3]
    noise = transforms.RandomErasing(1.0, scale=(0.3, 0.4), value="random")(img).numpy()
    inside = noise[noise != 0]
    assert len(inside) > 300 and abs(inside.mean()) < 0.3 and 0.8 < inside.std() < 1.2


def test_erasing_in_place_changes_the_image():
    img = accelgrad.ones(1, 20, 20)
    assert transforms.RandomErasing(1.0, inplace=True)(img) is img and img.min().item() == 0


def test_a_value_for_the_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="a single value or 3"):
        transforms.RandomErasing(1.0, value=(1, 2))(accelgrad.ones(3, 20, 20))


def test_sigma_lies_in_its_range():
    sigmas = [transforms.GaussianBlur.get_params(0.5, 1.5) for _ in range(200)]
    assert 0.5 <= min(sigmas) < 0.6 and 1.4 < max(sigmas) <= 1.5


def test_blur_with_a_fixed_sigma_is_the_functions():
    np.testing.assert_array_equal(
        transforms.GaussianBlur((5, 3), 0.8)(COLOURED), F.gaussian_blur(COLOURED, (5, 3), 0.8)
    )


def test_affine_draws_keep_to_their_ranges():
    draws = [
        transforms.RandomAffine.get_params((-10, 20), (0.1, 0.5), (0.5, 2), (1, 2, 3, 4), (100, 40))
        for _ in range(300)
    ]
    angles, shifts, scales, shears = (np.array(column) for column in zip(*draws, strict=True))
    assert -10 <= angles.min() < -8 and 18 < angles.max() <= 20
    assert np.abs(shifts[:, 0]).max() == 10 and 18 <= np.abs(shifts[:, 1]).max() <= 20
    assert 0.5 <= scales.min() < 0.6 and 1.9 < scales.max() <= 2
    assert (shears.min(axis=0) >= [1, 3]).all() and (shears.max(axis=0) <= [2, 4]).all()


def test_affine_of_fixed_amounts_is_the_functions():
    fixed = transforms.RandomAffine((30, 30), scale=(1.5, 1.5), shear=(5, 5), fill=9)
    np.testing.assert_array_equal(fixed(COLOURED), F.affine(COLOURED, 30, (0, 0), 1.5, 5, fill=9))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: transforms.RandomHorizontalFlip(2), ValueError, "between 0 and 1"),
        (lambda: transforms.RandomCrop((1, 2, 3)), ValueError, "two dimensions"),
        (lambda: transforms.RandomResizedCrop(4, scale=(1, 0)), ValueError, "of kind"),
        (lambda: transforms.RandomResizedCrop(4, ratio=3), TypeError, "Ratio should be a sequence"),
        (lambda: transforms.RandomRotation(-5), ValueError, "must be positive"),
        (lambda: transforms.RandomRotation((1, 2, 3)), ValueError, "sequence of 2"),
        (lambda: transforms.RandomAffine(5, translate=(2, 0)), ValueError, "two numbers between 0 and 1"),
        (lambda: transforms.RandomAffine(5, scale=(0, 1)), ValueError, "scale values should be positive"),
        (lambda: transforms.RandomAffine(5, shear=(1, 2, 3)), ValueError, "shear should be .* 2 or 4"),
        (lambda: transforms.ColorJitter(brightness=-1), ValueError, "brightness is a single number"),
        (lambda: transforms.ColorJitter(hue=0.7), ValueError, "hue values should be between"),
        (lambda: transforms.ColorJitter(contrast=(2, 1)), ValueError, "contrast values should be between"),
        (lambda: transforms.ColorJitter(contrast="1"), TypeError, "single number or a list"),
        (lambda: transforms.RandomErasing(value="noise"), ValueError, "should be 'random'"),
        (lambda: transforms.RandomErasing(value=None), TypeError, "number or str or a sequence"),
        (lambda: transforms.RandomErasing(scale=(0, 2)), ValueError, "between 0 and 1"),
        (lambda: transforms.GaussianBlur(4), ValueError, "odd and positive"),
        (lambda: transforms.GaussianBlur(3, (2, 1)), ValueError, "of the form"),
    ],
)
def test_wrong_arguments_are_refused_at_once(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (transforms.RandomCrop(4, padding=1), "RandomCrop(size=(4, 4), padding=1)"),
        (
            transforms.RandomAffine(5, scale=(1, 2)),
            "RandomAffine(degrees=(-5.0, 5.0), scale=(1.0, 2.0), interpolation=nearest, fill=0)",
        ),
        (transforms.RandomHorizontalFlip(), "RandomHorizontalFlip(p=0.5)"),
        (transforms.RandomGrayscale(), "RandomGrayscale(p=0.1)"),
        (
            transforms.RandomRotation(9, center=(1, 2)),
            "RandomRotation(degrees=(-9.0, 9.0), interpolation=nearest, expand=False, center=(1, 2), fill=0)",
        ),
        (
            transforms.RandomResizedCrop(5),
            "RandomResizedCrop(size=(5, 5), scale=(0.08, 1.0), ratio=(0.75, 1.3333),"
            " interpolation=bilinear, antialias=True)",
        ),
        (
            transforms.ColorJitter(0.5),
            "ColorJitter(brightness=(0.5, 1.5), contrast=None, saturation=None, hue=None)",
        ),
        (
            transforms.RandomErasing(),
            "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False)",
        ),
        (transforms.GaussianBlur(3), "GaussianBlur(kernel_size=(3, 3), sigma=(0.1, 2.0))"),
    ],
)
def test_a_transform_prints_its_arguments(transform, text):
    assert repr(transform) == text
