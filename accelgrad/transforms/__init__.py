"""Transforms of images, under torchvision's names: on Tensors (..., C, H, W), PIL images and NumPy arrays.

NumPy arrays are (H, W) or (H, W, C).  Random transforms draw from accelgrad's generator:
``accelgrad.manual_seed`` fixes them, and each worker of a loader has its own stream.  Pillow is needed for
PIL images only.

>>> import numpy as np
>>> from accelgrad import transforms
>>> prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
>>> prepare(np.array([[0, 255]], dtype=np.uint8))
tensor([[[-1.,  1.]]])
"""

from accelgrad.transforms import functional
from accelgrad.transforms.base import Compose, Lambda, RandomApply, RandomChoice, RandomOrder, Transform
from accelgrad.transforms.fixed import (
    CenterCrop,
    ConvertImageDtype,
    Grayscale,
    Normalize,
    Pad,
    PILToTensor,
    Resize,
    ToPILImage,
    ToTensor,
)
from accelgrad.transforms.interpolation import InterpolationMode
from accelgrad.transforms.randomised import (
    ColorJitter,
    GaussianBlur,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)

__all__ = [
    "functional",
    "InterpolationMode",
    "Transform",
    # joining
    "Compose",
    "Lambda",
    "RandomApply",
    "RandomChoice",
    "RandomOrder",
    # without randomness
    "ToTensor",
    "PILToTensor",
    "ToPILImage",
    "ConvertImageDtype",
    "Normalize",
    "Resize",
    "CenterCrop",
    "Pad",
    "Grayscale",
    # drawn
    "RandomCrop",
    "RandomResizedCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "RandomRotation",
    "RandomAffine",
    "RandomGrayscale",
    "ColorJitter",
    "RandomErasing",
    "GaussianBlur",
]
