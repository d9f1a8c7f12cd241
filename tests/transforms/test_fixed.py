"""The transforms without randomness: they call the function of their name with their arguments."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import accelgrad
from accelgrad import transforms
from accelgrad.transforms import InterpolationMode
from accelgrad.transforms import functional as F

IMG = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
TENSOR = F.to_tensor(IMG)

CASES = [
    (transforms.ToTensor(), IMG, lambda: F.to_tensor(IMG)),
    (transforms.ConvertImageDtype(accelgrad.uint8), TENSOR,
     lambda: F.convert_image_dtype(TENSOR, accelgrad.uint8)),
    (transforms.Normalize([0.1, 0.2, 0.3], [1, 2, 3]), TENSOR,
     lambda: F.normalize(TENSOR, [0.1, 0.2, 0.3], [1, 2, 3])),
    (transforms.Resize(6), IMG, lambda: F.resize(IMG, 6)),
    (transforms.Resize((5, 7), InterpolationMode.NEAREST), IMG,
     lambda: F.resize(IMG, (5, 7), InterpolationMode.NEAREST)),
    (transforms.Resize(6, max_size=7), IMG, lambda: F.resize(IMG, 6, max_size=7)),
    (transforms.Resize(6, antialias=False), IMG, lambda: F.resize(IMG, 6, antialias=False)),
    (transforms.CenterCrop(5), IMG, lambda: F.center_crop(IMG, 5)),
    (transforms.CenterCrop((5, 30)), IMG, lambda: F.center_crop(IMG, (5, 30))),
    (transforms.Pad((1, 2), fill=9), IMG, lambda: F.pad(IMG, (1, 2), 9)),
    (transforms.Pad(2, padding_mode="edge"), IMG, lambda: F.pad(IMG, 2, padding_mode="edge")),
    (transforms.Grayscale(3), IMG, lambda: F.rgb_to_grayscale(IMG, 3)),
]  # fmt: skip


def values(img):
    return img.numpy() if isinstance(img, accelgrad.Tensor) else np.asarray(img)


@pytest.mark.parametrize(("transform", "img", "expected"), CASES)
def test_a_transform_is_its_function(transform, img, expected):
    np.testing.assert_array_equal(values(transform(img)), values(expected()))


@pytest.mark.parametrize("transform", [case[0] for case in CASES])
def test_a_transform_pickles(transform):
    assert repr(pickle.loads(pickle.dumps(transform))) == repr(transform)


def test_images_of_pillow_go_both_ways():
    pytest.importorskip("PIL.Image")
    img = transforms.ToPILImage()(IMG)
    assert img.size == (16, 12)
    np.testing.assert_array_equal(transforms.PILToTensor()(img).numpy(), IMG.transpose(2, 0, 1))
    assert transforms.ToPILImage("HSV")(IMG).mode == "HSV"


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (transforms.ToTensor(), "ToTensor()"),
        (transforms.ToPILImage(), "ToPILImage()"),
        (transforms.ToPILImage("RGB"), "ToPILImage(mode=RGB)"),
        (transforms.ConvertImageDtype(), "ConvertImageDtype(dtype=accelgrad.float32)"),
        (transforms.Resize(6), "Resize(size=6, interpolation=bilinear, max_size=None, antialias=True)"),
        (transforms.CenterCrop(5), "CenterCrop(size=(5, 5))"),
        (transforms.Pad(1), "Pad(padding=1, fill=0, padding_mode=constant)"),
    ],
)
def test_a_transform_prints_its_arguments(transform, text):
    assert repr(transform) == text


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: transforms.Resize(1.5), TypeError, "Size should be int or sequence"),
        (lambda: transforms.Resize((1, 2, 3)), ValueError, "should have 1 or 2 values"),
        (lambda: transforms.CenterCrop((1, 2, 3)), ValueError, "two dimensions"),
        (lambda: transforms.Pad("1"), TypeError, "inappropriate padding"),
        (lambda: transforms.Pad((1, 2, 3)), ValueError, "not a 3 element tuple"),
        (lambda: transforms.Pad(1, padding_mode="wrap"), ValueError, "either constant, edge"),
    ],
)
def test_wrong_arguments_are_refused_at_once(make, error, message):
    with pytest.raises(error, match=message):
        make()
