"""The functions, on tensors, arrays and PIL images: against Pillow, against PyTorch and by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import accelgrad
from accelgrad.transforms import InterpolationMode
from accelgrad.transforms import functional as F
from accelgrad.transforms.geometry import affine_matrix

from .helpers import KINDS, Image, back, pixels, smooth, tensor

MODES = ["bilinear", "bicubic", "box", "hamming", "lanczos"]


# Each of these moves pixels without changing them: all kinds of image must agree to the last bit.
MOVES = {
    "hflip": lambda img: F.hflip(img),
    "vflip": lambda img: F.vflip(img),
    "crop": lambda img: F.crop(img, 2, 3, 5, 7),
    "crop outside": lambda img: F.crop(img, -3, 10, 9, 30),
    "crop far outside": lambda img: F.crop(img, 100, -50, 4, 5),
    "center_crop": lambda img: F.center_crop(img, (6, 5)),
    "center_crop larger": lambda img: F.center_crop(img, [16, 40]),
    "center_crop mixed": lambda img: F.center_crop(img, [5, 40]),
    "pad": lambda img: F.pad(img, (1, 2, 3, 4), fill=77),
    "pad two": lambda img: F.pad(img, (1, 2)),
    "pad edge": lambda img: F.pad(img, 3, padding_mode="edge"),
    "pad reflect": lambda img: F.pad(img, 3, padding_mode="reflect"),
    "pad symmetric": lambda img: F.pad(img, 3, padding_mode="symmetric"),
    "pad negative": lambda img: F.pad(img, (-2, 1, -3, -1), fill=9),
    "pad negative edge": lambda img: F.pad(img, (-2, 1, -3, -1), padding_mode="edge"),
    "resize nearest": lambda img: F.resize(img, (7, 30), InterpolationMode.NEAREST_EXACT),
    "rotate 90": lambda img: F.rotate(img, 90, expand=True),
    "rotate 180": lambda img: F.rotate(img, 180),
    "rotate -90": lambda img: F.rotate(img, -90, expand=True),
    "move": lambda img: F.affine(img, 0, (3, -2), 1.0, 0),
    "same size": lambda img: F.resize(img, (13, 17)),
}


@pytest.mark.parametrize("shape", [(13, 17, 3), (13, 17)])
@pytest.mark.parametrize("name", MOVES)
def test_all_kinds_of_image_move_alike(name, shape):
    source = pixels(*shape)
    before = source.copy()
    results = {kind: back(MOVES[name](make(source))) for kind, make in KINDS.items()}
    np.testing.assert_array_equal(results["tensor"], results["pil"])
    np.testing.assert_array_equal(results["array"], results["pil"])
    np.testing.assert_array_equal(source, before)


@pytest.mark.parametrize("name", MOVES)
def test_a_batch_of_tensors_moves_like_each_of_its_images(name):
    batch = accelgrad.from_numpy(pixels(2, 3, 13, 17))
    result = MOVES[name](batch)
    for i in range(2):
        np.testing.assert_array_equal(result[i].numpy(), MOVES[name](batch[i]).numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_image_is_kept(kind):
    img = KINDS[kind](pixels(4, 5, 3))
    result = F.hflip(img)
    assert isinstance(result, type(img)) or (kind == "pil" and isinstance(result, Image.Image))


def test_results_never_share_memory_with_the_image():
    source = pixels(6, 6, 3)
    for move in (
        F.hflip,
        lambda x: F.crop(x, 0, 0, 6, 6),
        lambda x: F.resize(x, (6, 6)),
        lambda x: F.pad(x, 0),
    ):
        assert not np.shares_memory(move(source), source)
        assert not np.shares_memory(move(tensor(source)).numpy(), source)


# --- conversion


def test_bytes_become_floats_between_0_and_1():
    result = F.to_tensor(np.array([[[0, 51, 255]]], dtype=np.uint8))
    assert result.dtype == accelgrad.float32 and result.shape == (3, 1, 1)
    np.testing.assert_array_equal(result.numpy().ravel(), np.float32([0, 0.2, 1]))


def test_a_grey_array_gets_one_channel():
    assert F.to_tensor(pixels(4, 5)).shape == (1, 4, 5)


def test_other_dtypes_are_not_scaled():
    for dtype in (np.float64, np.float32, np.int64, bool):
        result = F.to_tensor(np.ones((2, 2), dtype))
        assert result.dtype.numpy == dtype and (result.numpy() == 1).all()


def test_to_tensor_copies():
    source = np.zeros((2, 2), np.float32)
    F.to_tensor(source).numpy()[:] = 1
    assert (source == 0).all()


def test_the_result_of_to_tensor_is_contiguous():
    assert F.to_tensor(pixels(4, 5, 3)).is_contiguous()


def test_to_tensor_follows_the_default_dtype():
    accelgrad.set_default_dtype(accelgrad.float64)
    assert F.to_tensor(pixels(2, 2)).dtype == accelgrad.float64


@pytest.mark.parametrize(
    ("mode", "dtype", "channels"),
    [("L", "float32", 1), ("RGB", "float32", 3), ("RGBA", "float32", 4), ("1", "float32", 1),
     ("I", "int32", 1),
     ("F", "float32", 1), ("I;16", "int16", 1), ("LA", "float32", 2), ("CMYK", "float32", 4)],
)  # fmt: skip
def test_every_mode_of_pil_has_its_dtype(mode, dtype, channels):
    result = F.to_tensor(Image.new(mode, (5, 4), 1))
    assert result.dtype.numpy == dtype and result.shape == (channels, 4, 5)
    if mode in ("1", "I", "F", "I;16"):
        assert (result.numpy() == 1).all()


def test_pil_to_tensor_scales_nothing():
    source = pixels(4, 5, 3)
    result = F.pil_to_tensor(Image.fromarray(source))
    assert result.dtype == accelgrad.uint8
    np.testing.assert_array_equal(result.numpy(), source.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 2), (4, 5, 3), (4, 5, 4)])
def test_to_pil_image_and_back_is_the_same(shape):
    source = pixels(*shape)
    for img in (source, tensor(source), F.to_tensor(source)):
        np.testing.assert_array_equal(np.asarray(F.to_pil_image(img)), source)


@pytest.mark.parametrize(("dtype", "mode"), [(np.int16, "I;16"), (np.int32, "I"), (np.float32, "F")])
def test_other_dtypes_have_their_modes(dtype, mode):
    source = np.arange(6, dtype=dtype).reshape(2, 3)
    image = F.to_pil_image(source)
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), source)


def test_floats_beyond_black_and_white_stop_there():
    image = F.to_pil_image(accelgrad.tensor([[-0.5, 0.5, 1.5]]))
    assert np.asarray(image).tolist() == [[0, 127, 255]]


def test_the_mode_can_be_chosen():
    assert F.to_pil_image(pixels(2, 2, 3), "HSV").mode == "HSV"
    assert F.to_pil_image(accelgrad.tensor([[0.5]]), "F").getpixel((0, 0)) == 0.5
    with pytest.raises(ValueError, match=r"Incorrect mode \(L\) supplied for 3 channels"):
        F.to_pil_image(pixels(2, 2, 3), "L")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.to_tensor([1, 2]), TypeError, "pic should be PIL Image or ndarray. Got <class 'list'>"),
        (lambda: F.to_tensor(np.zeros(3)), ValueError, "2/3 dimensional. Got 1 dim"),
        (lambda: F.pil_to_tensor(np.zeros((2, 2))), TypeError, "pic should be PIL Image"),
        (lambda: F.convert_image_dtype(Image.new("L", (2, 2))), TypeError, "got a PIL Image"),
        (lambda: F.to_pil_image("x"), TypeError, "pic should be Tensor or ndarray"),
        (lambda: F.to_pil_image(np.zeros((2, 2, 5), np.uint8)), ValueError, "> 4 channels. Got 5"),
        (lambda: F.to_pil_image(np.zeros((1, 2, 3, 4))), ValueError, "2/3 dimensional"),
        (lambda: F.to_pil_image(accelgrad.zeros(1, 2, 3, 4)), ValueError, "2/3 dimensional"),
        (lambda: F.to_pil_image(np.zeros((2, 2), np.int64)), TypeError, "int64 is not supported"),
        (lambda: F.hflip([[1]]), TypeError, "img should be a PIL Image, a Tensor or a NumPy array"),
        (lambda: F.hflip(accelgrad.zeros(3)), TypeError, "Tensor is not a torch image"),
        (lambda: F.hflip(np.zeros((1, 2, 3, 4))), TypeError, r"\(H, W\) or \(H, W, C\)"),
        (lambda: F.get_dimensions("x"), TypeError, "img should be a PIL Image"),
        (lambda: F.get_dimensions(accelgrad.zeros(3)), TypeError, "Tensor is not a torch image"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (255, "uint8", "float32", 1.0),
        (1.0, "float32", "uint8", 255),
        (0.5, "float32", "uint8", 127),  # floor(0.5 * 255.999)
        (0.999, "float64", "uint8", 255),
        (1.5, "float32", "uint8", 255),
        (-0.5, "float32", "uint8", 0),
        (255, "uint8", "int16", 255 * 128),
        (32767, "int16", "uint8", 255),
        (3, "uint8", "uint8", 3),
        (0.25, "float32", "float64", 0.25),
        (127, "int8", "float32", 1.0),
    ],
)  # fmt: skip
def test_black_and_white_stay_what_they_are_in_another_dtype(value, source, target, expected):
    img = accelgrad.from_numpy(np.full((1, 1, 1), value, source))
    result = F.convert_image_dtype(img, getattr(accelgrad, target))
    assert result.dtype.numpy == target and result.item() == expected


def test_a_cast_that_would_lose_integers_is_refused():
    with pytest.raises(RuntimeError, match="cast from float32 to int32 cannot be performed safely"):
        F.convert_image_dtype(np.zeros((1, 1), np.float32), accelgrad.int32)


# --- normalisation


def test_normalize_subtracts_the_mean_and_divides_by_std():
    img = accelgrad.from_numpy(np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    result = F.normalize(img, [1, 2, 3], [1, 2, 4])
    expected = (img.numpy() - np.float32([1, 2, 3])[:, None, None]) / np.float32([1, 2, 4])[:, None, None]
    np.testing.assert_array_equal(result.numpy(), expected)
    assert img.numpy()[0, 0, 0] == 0  # the image itself is left alone


def test_normalize_takes_batches_and_one_value_for_all():
    result = F.normalize(accelgrad.ones(2, 3, 4, 4), [0.5], [0.25])
    assert result.shape == (2, 3, 4, 4) and (result.numpy() == 2).all()


def test_normalize_in_place_changes_the_image():
    img = accelgrad.ones(1, 2, 2)
    assert F.normalize(img, [0.5], [0.5], inplace=True) is img and (img.numpy() == 1).all()


def test_normalize_has_a_gradient():
    img = accelgrad.ones(2, 1, 1, requires_grad=True)
    F.normalize(img, [0.0, 1.0], [2.0, 4.0]).sum().backward()
    assert img.grad.flatten().tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("img", "mean", "std", "error", "message"),
    [
        (np.zeros((2, 2)), [0], [1], TypeError, "img should be Tensor Image. Got .*apply ToTensor first"),
        (accelgrad.zeros(1, 2, 2, dtype=accelgrad.uint8), [0], [1], TypeError, "should be a float tensor"),
        (accelgrad.zeros(2, 2), [0], [1], ValueError, r"size \(..., C, H, W\)"),
        (accelgrad.zeros(1, 2, 2), [0], [0], ValueError, "std evaluated to zero"),
        (accelgrad.zeros(2, 2, 2), [0, 0, 0], [1], ValueError, "mean has 3 values for .* 2 channels"),
    ],
)  # fmt: skip
def test_what_normalize_cannot_use_is_refused(img, mean, std, error, message):
    with pytest.raises(error, match=message):
        F.normalize(img, mean, std)


def test_a_tensor_that_requires_grad_is_told_the_way_out():
    img = accelgrad.ones(1, 4, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"resize: transforms work on data .* img\.detach\(\)"):
        F.resize(img, 2)
    with accelgrad.no_grad():
        assert F.resize(img, 2).shape == (1, 2, 2)


# --- resizing


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(11, 9), (48, 70), (24, 10), (5, 31), (1, 1)])
def test_resized_bytes_are_pillows_within_rounding(mode, size):
    source = pixels(24, 31, 3)
    theirs = np.asarray(F.resize(Image.fromarray(source), size, InterpolationMode(mode))).astype(int)
    for make in (tensor, lambda a: a):
        ours = back(F.resize(make(source), size, InterpolationMode(mode))).astype(int)
        # Pillow rounds (and cuts to 0 ... 255) once more, between the two directions.
        assert np.abs(ours - theirs).mean() < (0.6 if mode in ("bicubic", "lanczos") else 0.4)
        assert np.abs(ours - theirs).max() <= (1 if mode in ("bilinear", "box", "hamming") else 40)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(11, 9), (48, 70)])
def test_resized_floats_are_pillows(mode, size):
    source = np.random.default_rng(1).random((24, 31), dtype=np.float32)
    theirs = np.asarray(F.resize(Image.fromarray(source), size, InterpolationMode(mode)))
    ours = F.resize(source, size, InterpolationMode(mode))
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest", "nearest-exact"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(11, 9), (48, 70)])
def test_resized_tensors_are_pytorchs(mode, antialias, size):
    torch = pytest.importorskip("torch")
    source = np.random.default_rng(2).random((2, 3, 24, 31), dtype=np.float32)
    options = {} if "nearest" in mode else {"align_corners": False, "antialias": antialias}
    theirs = torch.nn.functional.interpolate(torch.from_numpy(source), size, mode=mode, **options).numpy()
    ours = F.resize(accelgrad.from_numpy(source), size, InterpolationMode(mode), antialias=antialias).numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize(
    ("shape", "size", "max_size", "expected"),
    [
        ((20, 40), 10, None, (10, 20)),
        ((40, 20), 10, None, (20, 10)),
        ((20, 30), [7], None, (7, 10)),
        ((20, 40), 10, 15, (7, 15)),
        ((20, 40), (3, 5), None, (3, 5)),
        ((20, 20), 20, None, (20, 20)),
    ],
)  # fmt: skip
def test_one_number_is_the_smaller_edge(shape, size, max_size, expected):
    for make in KINDS.values():
        assert F.get_dimensions(F.resize(make(pixels(*shape)), size, max_size=max_size))[1:] == list(expected)


@pytest.mark.parametrize(
    ("size", "max_size", "message"),
    [
        ((1, 2, 3), None, "int or a 1 or 2 element"),
        (10, 10, "must be strictly greater"),
        ((4, 4), 9, "only be passed if size specifies"),
        (0, None, "at least 1"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(size, max_size, message):
    with pytest.raises(ValueError, match=message):
        F.resize(pixels(8, 8), size, max_size=max_size)


def test_resized_crop_is_a_crop_resized():
    source = pixels(20, 20, 3)
    expected = F.resize(F.crop(source, 2, 3, 10, 11), (5, 5))
    np.testing.assert_array_equal(F.resized_crop(source, 2, 3, 10, 11, (5, 5)), expected)


# --- rotation


def grid_sample(source, angle, mode, centre, fill):
    """Warp a tensor as torchvision does, by PyTorch's grid_sample."""
    import torch

    h, w = source.shape[-2:]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    cx, cy = (0.0, 0.0) if centre is None else (centre[0] - w / 2, centre[1] - h / 2)
    matrix = torch.tensor([[cos, -sin, cx - cos * cx + sin * cy], [sin, cos, cy - sin * cx - cos * cy]])
    x = torch.arange(w) - (w - 1) / 2
    y = torch.arange(h) - (h - 1) / 2
    places = torch.stack([x[None].expand(h, -1), y[:, None].expand(-1, w), torch.ones(h, w)], -1)
    grid = (places @ matrix.T / torch.tensor([w / 2, h / 2]))[None]
    image = torch.from_numpy(source)[None].float()
    image = torch.cat([image, torch.ones_like(image[:, :1])], 1)
    image = torch.nn.functional.grid_sample(
        image, grid, mode=mode, padding_mode="zeros", align_corners=False
    )[0]
    image, mask = image[:-1], image[-1:]
    if fill is not None:
        colour = torch.tensor(fill, dtype=torch.float32).reshape(-1, 1, 1)
        image = (
            torch.where(mask < 0.5, colour, image)
            if mode == "nearest"
            else image * mask + (1 - mask) * colour
        )
    return image.numpy()


@pytest.mark.parametrize("angle", [0, 17, -33.3, 91, 123.4])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize(("centre", "fill"), [(None, None), ((3, 5), 0.25), (None, [0.1, 0.2, 0.3])])
def test_rotated_tensors_are_pytorchs(angle, mode, centre, fill):
    pytest.importorskip("torch")
    source = np.random.default_rng(3).random((3, 14, 19), dtype=np.float32)
    ours = F.rotate(
        accelgrad.from_numpy(source), angle, InterpolationMode(mode), center=centre, fill=fill
    ).numpy()
    theirs = grid_sample(source, angle, mode, centre, fill)
    # In single precision a place on the border of two pixels may fall to either side.
    assert (np.abs(ours - theirs) < 1e-4).mean() > 0.99


@pytest.mark.parametrize("angle", [10, 45, 90, 135, -60])
def test_an_expanded_image_has_pillows_size_within_a_pixel(angle):
    source = pixels(14, 19, 3)
    theirs = F.get_dimensions(F.rotate(Image.fromarray(source), angle, expand=True))
    ours = F.get_dimensions(F.rotate(tensor(source), angle, expand=True))
    assert np.abs(np.subtract(ours, theirs)).max() <= 1


def test_expanding_keeps_every_corner():
    img = accelgrad.zeros(1, 15, 21)
    img[0, 0, 0] = img[0, 0, -1] = img[0, -1, 0] = img[0, -1, -1] = 1.0
    for angle in (20, 70, 160):
        turned = F.rotate(img, angle, InterpolationMode.BILINEAR, expand=True)
        assert turned.sum().item() > 3.5


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_a_soft_image_turns_as_in_pillow(mode):
    source = smooth()
    theirs = np.asarray(F.rotate(Image.fromarray(source), 25, InterpolationMode(mode), fill=0)).astype(int)
    ours = back(F.rotate(source, 25, InterpolationMode(mode), fill=0)).astype(int)
    # At the border the two mix with what lies outside in different ways.
    inside = F.rotate(np.full((24, 31), 255, np.uint8), 25, InterpolationMode.BILINEAR, fill=0) == 255
    assert inside.mean() > 0.6 and np.abs(ours - theirs)[inside].max() <= 12


def test_an_affine_map_that_only_turns_is_a_rotation_the_other_way():
    source = pixels(12, 15, 3)
    for make in KINDS.values():
        turned = F.affine(make(source), 35, (0, 0), 1.0, 0, center=(4, 5), fill=7)
        rotated = F.rotate(make(source), -35, center=(4, 5), fill=7)
        # Pillow's own rotation and ours of its matrix may round a place to either side.
        assert (back(turned) == back(rotated)).mean() > 0.97


def test_an_affine_map_leads_a_point_where_its_definition_does():
    angle, translate, scale, shear = 25, (2.0, -3.0), 1.2, (12, -7)
    turn, sx, sy = (math.radians(value) for value in (angle, *shear))
    rotation = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    linear = scale * np.array(rotation) @ [[1, 0], [-math.tan(sy), 1]] @ [[1, -math.tan(sx)], [0, 1]]
    point = np.array([5.0, -4.0])  # from the centre
    there = linear @ point + translate
    a, b, c, d, e, f = affine_matrix(angle, (0, 0), translate, scale, shear)
    np.testing.assert_allclose([a * there[0] + b * there[1] + c, d * there[0] + e * there[1] + f], point)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_an_affine_map_of_a_soft_image_is_pillows(mode):
    options = (15, (2, -1), 1.4, (8, 3), InterpolationMode(mode), 0)
    theirs = back(F.affine(Image.fromarray(smooth()), *options)).astype(int)
    ours = back(F.affine(smooth(), *options)).astype(int)
    inside = F.affine(np.full((24, 31), 255, np.uint8), *options[:4], InterpolationMode.BILINEAR, 0) == 255
    assert inside.mean() > 0.6 and np.abs(ours - theirs)[inside].max() <= 12


def test_fill_colours_the_corners_of_all_kinds():
    for make in KINDS.values():
        turned = back(F.rotate(make(pixels(11, 11, 3)), 45, fill=[1, 2, 3]))
        assert turned[0, 0].tolist() == turned[-1, -1].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.rotate(pixels(4, 4), "90"), TypeError, "angle should be int or float"),
        (lambda: F.rotate(pixels(4, 4), 9, center=(1,)), TypeError, "sequence of two numbers"),
        (lambda: F.rotate(pixels(4, 4), 9, InterpolationMode.BICUBIC), ValueError, "'bicubic' is"),
        (lambda: F.rotate(pixels(4, 4, 3), 9, fill=[1, 2]), ValueError, r"channels of the image \(2 != 3\)"),
        (lambda: F.rotate(Image.new("RGB", (4, 4)), 9, fill=[1, 2]), ValueError, r"\(2 != 3\)"),
        (lambda: F.affine(pixels(4, 4), 0, (1, 2, 3), 1, 0), ValueError, "length 2"),
        (lambda: F.affine(pixels(4, 4), 0, (1, 2), 0, 0), ValueError, "scale should be positive"),
        (lambda: F.pad(pixels(4, 4), "1"), TypeError, "inappropriate padding arg"),
        (lambda: F.pad(pixels(4, 4), (1, 2, 3)), ValueError, "not a 3 element tuple"),
        (lambda: F.pad(pixels(4, 4), 1, padding_mode="wrap"), ValueError, "either constant, edge, reflect"),
        (lambda: F.pad(pixels(4, 4), 4, padding_mode="reflect"), RuntimeError, "less than the corresponding"),
        (lambda: F.center_crop(pixels(4, 4), (1, 2, 3)), ValueError, "int or a sequence of two"),
        (lambda: F.gaussian_blur(pixels(9, 9), 4), ValueError, "odd and positive"),
        (lambda: F.gaussian_blur(pixels(9, 9), 3, 0), ValueError, "positive values"),
        (lambda: F.gaussian_blur(pixels(3, 9), 7), RuntimeError, "must be less than"),
        (lambda: F.erase(pixels(4, 4), 0, 0, 1, 1, 0), TypeError, "img should be Tensor Image"),
        (lambda: F.adjust_hue(pixels(4, 4, 3), 0.6), ValueError, r"not in \[-0.5, 0.5\]"),
        (lambda: F.adjust_gamma(pixels(4, 4, 3), -1), ValueError, "non-negative"),
        (lambda: F.adjust_brightness(pixels(4, 4, 3), -1), ValueError, "not non-negative"),
        (lambda: F.adjust_contrast(pixels(4, 4, 2), 1), TypeError, r"permitted channel values are \[1, 3\]"),
        (lambda: F.rgb_to_grayscale(pixels(4, 4, 3), 2), ValueError, "either 1 or 3, got 2"),
        (lambda: F.rgb_to_grayscale(Image.new("RGB", (4, 4)), 2), ValueError, "either 1 or 3, got 2"),
        (lambda: F.rgb_to_grayscale(accelgrad.zeros(4, 4)), TypeError, "at least 3 dimensions"),
        (lambda: F.to_grayscale(pixels(4, 4, 3)), TypeError, "Input should be PIL Image"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- blur and erase


def test_blur_is_pytorchs_convolution():
    torch = pytest.importorskip("torch")
    source = np.random.default_rng(4).random((3, 12, 10), dtype=np.float32)
    rows, columns = (
        torch.exp(-0.5 * (torch.arange(-(k // 2), k // 2 + 1) / s) ** 2) for k, s in ((3, 0.7), (5, 1.5))
    )
    kernel = (rows[:, None] / rows.sum()) * (columns / columns.sum())
    padded = torch.nn.functional.pad(torch.from_numpy(source)[None], (2, 2, 1, 1), mode="reflect")
    theirs = torch.nn.functional.conv2d(padded, kernel.expand(3, 1, 3, 5), groups=3)[0].numpy()
    ours = F.gaussian_blur(accelgrad.from_numpy(source), (5, 3), (1.5, 0.7)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_blur_keeps_a_constant_image_of_every_kind():
    for make in KINDS.values():
        assert (back(F.gaussian_blur(make(np.full((8, 9, 3), 200, np.uint8)), 5)) == 200).all()


def test_blur_without_sigma_takes_it_from_the_size():
    source = np.random.default_rng(5).random((9, 9))
    np.testing.assert_array_equal(F.gaussian_blur(source, 5), F.gaussian_blur(source, 5, 0.15 * 5 + 0.35))


def test_erase_sets_a_rectangle_and_leaves_the_rest():
    img = accelgrad.ones(2, 5, 6)
    result = F.erase(img, 1, 2, 3, 2, accelgrad.tensor([[[5.0]], [[7.0]]]))
    assert result[:, 1:4, 2:4].sum().item() == 6 * 12 and result.sum().item() == 60 - 12 + 72
    assert img.sum().item() == 60


def test_erase_in_place_changes_the_image():
    img = accelgrad.ones(2, 5, 6)
    assert F.erase(img, 0, 0, 2, 2, 0, inplace=True) is img and img.sum().item() == 52


def test_sizes_are_told_for_all_kinds():
    for make in KINDS.values():
        assert F.get_dimensions(make(pixels(4, 5, 3))) == [3, 4, 5]
        assert F.get_image_size(make(pixels(4, 5, 3))) == [5, 4]
    assert F.get_dimensions(Image.new("L", (5, 4))) == [1, 4, 5]


def test_a_palette_image_keeps_its_colours_when_padded():
    img = Image.fromarray(smooth()).convert("P")
    padded = F.pad(img, 2)
    assert padded.mode == "P" and padded.size == (35, 28)
    np.testing.assert_array_equal(
        np.asarray(padded.convert("RGB"))[2:-2, 2:-2], np.asarray(img.convert("RGB"))
    )


def test_without_pillow_only_images_of_pillow_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert F.resize(F.to_tensor(pixels(4, 4)), 2).shape == (1, 2, 2)
    with pytest.raises(ImportError, match=r"needs Pillow, .* pip install 'accelgrad\[data\]'"):
        F.to_pil_image(pixels(4, 4))


ON_A_DEVICE = {
    **MOVES,
    "affine": lambda img: F.affine(img, 20, (1, 2), 1.3, (10, 5), InterpolationMode.BILINEAR, 0.5, (3, 4)),
    "blur": lambda img: F.gaussian_blur(img, 5),
    "resize bicubic": lambda img: F.resize(img, (9, 30), InterpolationMode.BICUBIC),
    "rotate bilinear": lambda img: F.rotate(img, 30, InterpolationMode.BILINEAR, fill=[1, 2, 3]),
    "normalize": lambda img: F.normalize(F.convert_image_dtype(img), [0.1, 0.2, 0.3], [0.5]),
    "erase": lambda img: F.erase(img, 1, 2, 3, 4, 5),
}


@pytest.mark.parametrize("name", ON_A_DEVICE)
def test_every_formula_runs_where_the_tensor_lives(name, device):
    img = tensor(pixels(13, 17, 3))
    result = ON_A_DEVICE[name](img.to(device))
    assert result.device.type == accelgrad.device(device).type
    expected = ON_A_DEVICE[name](img)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result.cpu().numpy(), expected.numpy(), atol=1e-5)
