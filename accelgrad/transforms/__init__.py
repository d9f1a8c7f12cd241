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

from accelgrad.transforms import functional as functional
from accelgrad.transforms import transforms as transforms
from accelgrad.transforms.transforms import *  # noqa: F403
from accelgrad.transforms.transforms import __all__ as _classes

__all__ = ["functional", *_classes]
