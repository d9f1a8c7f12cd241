"""``torch.backends``: what the libraries behind the devices can do, and their switches."""

from accelgrad.backends import cuda as cuda
from accelgrad.backends import cudnn as cudnn
from accelgrad.backends import mps as mps

__all__ = ["cuda", "cudnn", "mps"]
