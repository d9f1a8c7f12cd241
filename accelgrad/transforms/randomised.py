"""The transforms with randomness: crops, flips, turns, colours, erasing, blur; seeded by ``manual_seed``."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor, wrap
from accelgrad.transforms import functional as F
from accelgrad.transforms.base import Transform, generator, probability
from accelgrad.transforms.fixed import two
from accelgrad.transforms.functional import Fill
from accelgrad.transforms.interpolation import InterpolationMode, as_mode

__all__ = [
    "ColorJitter",
    "GaussianBlur",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
]


class RandomCrop(Transform):
    """Crops a rectangle of ``size`` = (height, width), or one number for both, at a random place.

    ``padding`` is added first (as in :func:`~accelgrad.transforms.functional.pad`); with ``pad_if_needed``
    an image that is too small is padded up to the size, on both sides.

    Errors: ValueError where the image is smaller than the crop.

    >>> import numpy as np
    >>> RandomCrop(2)(np.zeros((5, 6), np.uint8)).shape
    (2, 2)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = two(size)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Draw (top, left, height, width)."""
        _, h, w = F.get_dimensions(img)
        height, width = output_size
        if h < height or w < width:
            raise ValueError(f"Required crop size {(height, width)} is larger than input image size {(h, w)}")
        top = int(generator().integers(h - height + 1))
        return top, int(generator().integers(w - width + 1)), height, width

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        _, h, w = F.get_dimensions(img)
        if self.pad_if_needed and (w < self.size[1] or h < self.size[0]):
            padding = [max(self.size[1] - w, 0), max(self.size[0] - h, 0)]
            img = F.pad(img, padding, self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def extra_repr(self) -> str:
        return f"size={self.size}, padding={self.padding}"


class RandomResizedCrop(Transform):
    """Crops a rectangle of random area and proportion, and resizes it to ``size``.

    ``scale``: the range of the area, as a share of the image's.  ``ratio``: the range of width / height; its
    logarithm is drawn uniformly.  After ten draws that do not fit into the image, it takes the largest
    rectangle of a permitted ratio in the middle.  Image classifiers are usually trained so.

    Errors: TypeError or ValueError for a size or a range that is none.

    >>> import numpy as np
    >>> RandomResizedCrop((2, 3))(np.zeros((5, 6), np.uint8)).shape
    (2, 3)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        self.size = two(size)
        self.scale = _ordered("scale", scale)
        self.ratio = _ordered("ratio", ratio)
        self.interpolation = as_mode(interpolation)
        self.antialias = antialias

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """Draw (top, left, height, width)."""
        _, h, w = F.get_dimensions(img)
        low, high = math.log(ratio[0]), math.log(ratio[1])
        for _ in range(10):
            target = h * w * generator().uniform(scale[0], scale[1])
            aspect = math.exp(generator().uniform(low, high))
            width, height = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < width <= w and 0 < height <= h:
                top = int(generator().integers(h - height + 1))
                return top, int(generator().integers(w - width + 1)), height, width
        width, height = w, h
        if w / h < min(ratio):
            height = round(w / min(ratio))
        elif w / h > max(ratio):
            width = round(h * max(ratio))
        return (h - height) // 2, (w - width) // 2, height, width

    def forward(self, img: Any) -> Any:
        box = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *box, self.size, self.interpolation, self.antialias)

    def extra_repr(self) -> str:
        scale, ratio = (tuple(round(value, 4) for value in pair) for pair in (self.scale, self.ratio))
        return (
            f"size={self.size}, scale={scale}, ratio={ratio}, interpolation={self.interpolation.value},"
            f" antialias={self.antialias}"
        )


class _WithProbability(Transform):
    """The base of transforms that are applied with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class RandomHorizontalFlip(_WithProbability):
    """Exchanges left and right with probability ``p``; ValueError for one outside 0 ... 1.

    >>> import numpy as np
    >>> RandomHorizontalFlip(p=1)(np.array([[1, 2, 3]]))
    array([[3, 2, 1]])
    """

    def forward(self, img: Any) -> Any:
        return F.hflip(img) if generator().random() < self.p else img


class RandomVerticalFlip(_WithProbability):
    """Exchanges top and bottom with probability ``p``; ValueError for one outside 0 ... 1.

    >>> import numpy as np
    >>> RandomVerticalFlip(p=1)(np.array([[1], [2]]))
    array([[2],
           [1]])
    """

    def forward(self, img: Any) -> Any:
        return F.vflip(img) if generator().random() < self.p else img


class RandomGrayscale(_WithProbability):
    """Makes the image grey, with as many channels as before, with probability ``p``.

    Errors: ValueError for a ``p`` outside 0 ... 1.

    >>> import numpy as np
    >>> RandomGrayscale(p=1)(np.array([[[255, 0, 0]]], dtype=np.uint8))
    array([[[76, 76, 76]]], dtype=uint8)
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def forward(self, img: Any) -> Any:
        if generator().random() < self.p:
            channels, _, _ = F.get_dimensions(img)
            return F.rgb_to_grayscale(img, channels)
        return img


class RandomRotation(Transform):
    """Rotates the image counter-clockwise by an angle drawn from ``degrees`` = (low, high).

    One number stands for (-degrees, degrees).  Other arguments and errors as in
    :func:`~accelgrad.transforms.functional.rotate`.

    >>> import numpy as np
    >>> RandomRotation((90, 90))(np.array([[1, 2], [3, 4]]))
    array([[2, 4],
           [1, 3]])
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Fill = 0,
    ) -> None:
        self.degrees = _angle_range("degrees", degrees, (2,))
        self.interpolation = as_mode(interpolation)
        self.expand = expand
        self.center = center
        self.fill = 0 if fill is None else fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """Draw the angle."""
        return float(generator().uniform(degrees[0], degrees[1]))

    def forward(self, img: Any) -> Any:
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def extra_repr(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (
            f"degrees={self.degrees}, interpolation={self.interpolation.value},"
            f" expand={self.expand}{center}, fill={self.fill}"
        )


class RandomAffine(Transform):
    """Rotates, moves, scales and shears the image by amounts drawn from ranges; its size stays.

    ``degrees``: the range of the angle, clockwise; one number stands for (-degrees, degrees).
    ``translate``: the greatest shifts, as shares of width and height.
    ``scale``: (low, high).
    ``shear``: degrees; one number for (-shear, shear) along x, two for a range along x, four for ranges along
    x and y.

    Errors: TypeError or ValueError for a range that is none.

    >>> import numpy as np
    >>> RandomAffine(0, scale=(2, 2))(np.array([[1, 2], [3, 4]]))
    array([[1, 2],
           [3, 4]])
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        fill: Fill = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        self.degrees = _angle_range("degrees", degrees, (2,))
        if translate is not None and (len(translate) != 2 or not all(0 <= share <= 1 for share in translate)):
            raise ValueError(f"translation values should be two numbers between 0 and 1, got {translate!r}")
        self.translate = translate
        self.scale = None if scale is None else _ordered("scale", scale)
        if self.scale is not None and self.scale[0] <= 0:
            raise ValueError(f"scale values should be positive, got {scale!r}")
        self.shear = None if shear is None else _angle_range("shear", shear, (2, 4))
        self.interpolation = as_mode(interpolation)
        self.fill = 0 if fill is None else fill
        self.center = center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Draw (angle, shift in pixels, scale, shear) for an image of ``img_size`` = (width, height)."""
        uniform = generator().uniform
        angle = float(uniform(degrees[0], degrees[1]))
        shift = (0, 0)
        if translate is not None:
            furthest = (translate[0] * img_size[0], translate[1] * img_size[1])
            shift = (round(uniform(-furthest[0], furthest[0])), round(uniform(-furthest[1], furthest[1])))
        scale = 1.0 if scale_ranges is None else float(uniform(scale_ranges[0], scale_ranges[1]))
        shear = (0.0, 0.0)
        if shears is not None:
            along_y = float(uniform(shears[2], shears[3])) if len(shears) == 4 else 0.0
            shear = (float(uniform(shears[0], shears[1])), along_y)
        return angle, shift, scale, shear

    def forward(self, img: Any) -> Any:
        size = F.get_image_size(img)
        drawn = self.get_params(self.degrees, self.translate, self.scale, self.shear, size)
        return F.affine(img, *drawn, self.interpolation, self.fill, self.center)

    def extra_repr(self) -> str:
        parts = [f"degrees={self.degrees}"]
        for name in ("translate", "scale", "shear", "center"):
            if getattr(self, name) is not None:
                parts.append(f"{name}={getattr(self, name)}")
        return ", ".join([*parts, f"interpolation={self.interpolation.value}", f"fill={self.fill}"])


class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue by random factors, in random order.

    Each of the first three: a number x, for factors in ``max(0, 1 - x) ... 1 + x``, or a range (low, high).
    ``hue``: a number in 0 ... 0.5, for shifts in ``-hue ... hue``, or a range within -0.5 ... 0.5.

    Errors: TypeError or ValueError for a range that is none.

    >>> import numpy as np
    >>> ColorJitter(brightness=(2, 2))(np.array([[10, 200]], dtype=np.uint8))
    array([[ 20, 255]], dtype=uint8)
    """

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0,
        contrast: float | tuple[float, float] = 0,
        saturation: float | tuple[float, float] = 0,
        hue: float | tuple[float, float] = 0,
    ) -> None:
        self.brightness = _factor_range("brightness", brightness, 1.0, (0.0, math.inf))
        self.contrast = _factor_range("contrast", contrast, 1.0, (0.0, math.inf))
        self.saturation = _factor_range("saturation", saturation, 1.0, (0.0, math.inf))
        self.hue = _factor_range("hue", hue, 0.0, (-0.5, 0.5))

    @staticmethod
    def get_params(
        brightness: tuple[float, float] | None,
        contrast: tuple[float, float] | None,
        saturation: tuple[float, float] | None,
        hue: tuple[float, float] | None,
    ) -> tuple[list[int], float | None, float | None, float | None, float | None]:
        """Draw the order of the four changes, and the factor of each (None where there is none)."""
        order = [int(i) for i in generator().permutation(4)]
        b, c, s, h = (
            None if bounds is None else float(generator().uniform(*bounds))
            for bounds in (brightness, contrast, saturation, hue)
        )
        return order, b, c, s, h

    def forward(self, img: Any) -> Any:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for i in order:
            factor = factors[i]
            if factor is not None:
                img = changes[i](img, factor)
        return img

    def extra_repr(self) -> str:
        return (
            f"brightness={self.brightness}, contrast={self.contrast}, saturation={self.saturation},"
            f" hue={self.hue}"
        )


class RandomErasing(_WithProbability):
    """Erases a random rectangle of a Tensor (..., C, H, W) with probability ``p``.

    ``scale``: the range of its area, as a share of the image's.  ``ratio``: the range of its height / width.
    ``value``: a number, one for each channel, or ``"random"`` for standard normal noise.  After ten draws
    that do not fit into the image, nothing is erased (Zhong et al. 2017, Algorithm 1, tries for ever).

    Errors: TypeError or ValueError for a wrong range or value; TypeError for an image that is no Tensor.

    >>> import numpy as np
    >>> img = F.to_tensor(np.full((20, 20), 255, np.uint8))
    >>> erased = 400 - RandomErasing(p=1, scale=(0.2, 0.3))(img).sum().item()
    >>> 60 < erased < 140
    True
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float | str | Sequence[float] = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__(p)
        if isinstance(value, str) and value != "random":
            raise ValueError(f"If value is str, it should be 'random', got {value!r}")
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError(f"Argument value should be either a number or str or a sequence, got {value!r}")
        self.scale = _ordered("scale", scale)
        if self.scale[0] < 0 or self.scale[1] > 1:
            raise ValueError(f"Scale should be between 0 and 1, got {scale}")
        self.ratio = _ordered("ratio", ratio)
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int] | None:
        """Draw (row, column, height, width); None where no draw fits."""
        _, h, w = F.get_dimensions(img)
        low, high = math.log(ratio[0]), math.log(ratio[1])
        for _ in range(10):
            area = h * w * generator().uniform(scale[0], scale[1])
            aspect = math.exp(generator().uniform(low, high))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < h and width < w:
                top = int(generator().integers(h - height + 1))
                return top, int(generator().integers(w - width + 1)), height, width
        return None

    def forward(self, img: Tensor) -> Tensor:
        if generator().random() >= self.p:
            return img
        box = self.get_params(img, self.scale, self.ratio)
        if box is None:
            return img
        channels, _, _ = F.get_dimensions(img)
        return F.erase(img, *box, self._values(img, channels, *box[2:]), self.inplace)

    def _values(self, img: Tensor, channels: int, height: int, width: int) -> Any:
        """Return the rectangle's new values, as a Tensor that broadcasts to (channels, height, width)."""
        if isinstance(self.value, str):
            values = generator().standard_normal((channels, height, width))
        else:
            values = np.reshape(np.asarray(self.value, dtype=float), (-1, 1, 1))  # (1 or channels, 1, 1)
            if values.shape[0] not in (1, channels):
                raise ValueError(
                    f"If value is a sequence, it should have either a single value or {channels}"
                    f" (number of input channels), got {self.value!r}"
                )
        return wrap(img.xp.from_host(values.astype(img.array.dtype)), img.xp)

    def extra_repr(self) -> str:
        return (
            f"p={self.p}, scale={self.scale}, ratio={self.ratio}, value={self.value}, inplace={self.inplace}"
        )


class GaussianBlur(Transform):
    """Blurs the image with a Gaussian of odd ``kernel_size``; ``sigma`` is a range to draw from, or a number.

    ``kernel_size`` is (width, height) or one number for both, ``sigma`` the standard deviation in pixels.

    Errors: ValueError for an even size, or a sigma that is not positive.

    >>> import numpy as np
    >>> GaussianBlur(3, sigma=1.0)(np.array([[0, 0, 255, 0, 0]] * 3, dtype=np.uint8))[1]
    array([  0,  70, 115,  70,   0], dtype=uint8)
    """

    def __init__(self, kernel_size: int | Sequence[int], sigma: float | Sequence[float] = (0.1, 2.0)) -> None:
        self.kernel_size = two(kernel_size)
        if any(k <= 0 or k % 2 == 0 for k in self.kernel_size):
            raise ValueError(f"Kernel size value should be an odd and positive number, got {kernel_size}")
        low, high = (sigma, sigma) if isinstance(sigma, (int, float)) else sigma
        if not 0 < low <= high:
            raise ValueError(f"sigma values should be positive and of the form (min, max), got {sigma}")
        self.sigma = (float(low), float(high))

    @staticmethod
    def get_params(sigma_min: float, sigma_max: float) -> float:
        """Draw sigma."""
        return float(generator().uniform(sigma_min, sigma_max))

    def forward(self, img: Any) -> Any:
        sigma = self.get_params(*self.sigma)
        return F.gaussian_blur(img, self.kernel_size, [sigma, sigma])

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, sigma={self.sigma}"


def _angle_range(name: str, value: float | Sequence[float], lengths: tuple[int, ...]) -> tuple[float, ...]:
    """Return (-value, value) for one number, or the numbers if ``lengths`` allows so many."""
    if isinstance(value, numbers.Real):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be positive, got {value}")
        return -float(value), float(value)
    if not isinstance(value, Sequence) or len(value) not in lengths:
        wanted = " or ".join(str(n) for n in lengths)
        raise ValueError(f"{name} should be a number or a sequence of {wanted}, got {value!r}")
    return tuple(float(number) for number in value)


def _ordered(name: str, bounds: Sequence[float]) -> tuple[float, float]:
    """Return (low, high); TypeError unless these are two numbers, ValueError unless they are in order."""
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise TypeError(f"{name.capitalize()} should be a sequence of two numbers, got {bounds!r}")
    if bounds[0] > bounds[1]:
        raise ValueError(f"{name.capitalize()} should be of kind (min, max), got {bounds!r}")
    return float(bounds[0]), float(bounds[1])


def _factor_range(
    name: str, value: float | Sequence[float], centre: float, limits: tuple[float, float]
) -> tuple[float, float] | None:
    """Return the range of a ColorJitter factor; None if only the factor that changes nothing is in it."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative, got {value}")
        low, high = centre - value, centre + value
        if name != "hue":
            low = max(low, 0.0)
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2, got {value!r}")
    if not limits[0] <= low <= high <= limits[1]:
        raise ValueError(f"{name} values should be between {limits}, but got {(low, high)}.")
    return None if low == high == centre else (low, high)
