"""accelgrad: PyTorch's names and semantics on NumPy and CuPy arrays, readable from top to bottom."""

from accelgrad import kernels as kernels
from accelgrad import ops as ops
from accelgrad.backend import Device as device
from accelgrad.backend import set_default_device
from accelgrad.dtypes import *  # noqa: F403
from accelgrad.graph import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from accelgrad.ops.registry import OPS as _OPS
from accelgrad.random import Generator, default_generator, initial_seed, manual_seed, seed
from accelgrad.tensor import Size, Tensor

for _entry in _OPS.values():  # the operations without a namespace of their own
    if not _entry.namespace:
        for _name in (_entry.name, *_entry.aliases):
            globals()[_name] = _entry.call
