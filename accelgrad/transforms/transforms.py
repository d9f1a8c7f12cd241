"""All classes of transforms in one place, the path at which torchvision has them too."""

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
