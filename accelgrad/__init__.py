"""accelgrad: PyTorch's names and semantics on NumPy and CuPy arrays, readable from top to bottom.

>>> import accelgrad
>>> x = accelgrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

import importlib as _importlib
from math import e, inf, nan, pi
from typing import Any as _Any

from accelgrad import kernels as kernels
from accelgrad import ops as ops
from accelgrad.arrays.backend import Device as Device
from accelgrad.arrays.backend import Device as device
from accelgrad.arrays.backend import default_device as get_default_device
from accelgrad.arrays.backend import set_default_device as set_default_device
from accelgrad.arrays.backend import set_num_threads as set_num_threads
from accelgrad.arrays.dtypes import (
    bfloat16,
    bool,
    can_cast,
    double,
    dtype,
    finfo,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
)
from accelgrad.core import late as _late
from accelgrad.core.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from accelgrad.core.printing import get_printoptions, printoptions, set_printoptions
from accelgrad.core.tensor import Size, Tensor
from accelgrad.kernels import get_num_threads
from accelgrad.kernels.memory import keep_freed_memory as _keep_freed_memory
from accelgrad.ops.creation.typed import typed_tensors as _typed_tensors
from accelgrad.ops.registry import shown_in as _shown_in
from accelgrad.random import Generator, default_generator, initial_seed, manual_seed, seed

__version__ = "0.1.0"

_keep_freed_memory()

# What upper rooms give to lower classes, imported at the first call (accelgrad/core/late.py).
_late.hang(
    "accelgrad.core.tensor:Tensor",
    _repr_html_="accelgrad.viz.notebook:tensor_html",
    explain="accelgrad.mentor.explanation:explain",
)
_late.hang("accelgrad.core.context:Context", _repr_html_="accelgrad.viz.notebook:node_html")
_late.hang("accelgrad.nn.modules.module:Module", _repr_html_="accelgrad.viz.notebook:module_html")

__all__ = [
    "Device", "Generator", "Size", "Tensor", "bfloat16", "bool", "can_cast", "default_generator", "device",
    "double", "dtype", "e", "enable_grad", "finfo", "float", "float16", "float32", "float64",
    "get_default_device", "get_default_dtype", "get_num_threads", "get_printoptions", "half", "iinfo",
    "inf", "inference_mode", "initial_seed", "int", "int8", "int16", "int32", "int64", "is_grad_enabled",
    "is_inference_mode_enabled", "kernels", "long", "manual_seed", "nan", "newaxis", "no_grad", "ops",
    "pi", "printoptions",
    "promote_types", "seed", "set_default_device", "set_default_dtype", "set_grad_enabled",
    "set_num_threads", "set_printoptions", "short", "uint8",
]  # fmt: skip

newaxis = None

# The operations that are shown here; accelgrad/__init__.pyi lists them for editors.
globals().update(_shown_in(""))
__all__ += _shown_in("")
detach, detach_ = Tensor.detach, Tensor.detach_
__all__ += ["detach", "detach_"]

# FloatTensor, LongTensor and their kin.
_typed = _typed_tensors("accelgrad", on_card=False)
globals().update(_typed)
__all__ += _typed

from accelgrad import autograd as autograd  # noqa: E402  (the packages below use the operations above)

_LAZY = {
    **{name: f"accelgrad.{name}" for name in (
        "accelerator", "amp", "backends", "cpu", "cuda", "datasets", "linalg", "nn", "optim", "random",
        "serialization", "special", "transforms", "utils", "version", "viz",
    )},
    "gpu": "accelgrad.arrays.gpu", "return_types": "accelgrad.ops.registry.return_types",
}  # fmt: skip
_LAZY_FUNCTIONS = {
    name: home
    for home, names in {
        "accelgrad.amp": (
            "autocast", "get_autocast_dtype", "is_autocast_available", "is_autocast_enabled",
            "set_autocast_dtype", "set_autocast_enabled",
        ),
        "accelgrad.arrays.gpu": ("OutOfMemoryError",),
        "accelgrad.arrays.precision": (
            "are_deterministic_algorithms_enabled", "get_float32_matmul_precision",
            "is_deterministic_algorithms_warn_only_enabled", "set_float32_matmul_precision",
            "use_deterministic_algorithms",
        ),
        "accelgrad.cli.doctor": ("show_config",),
        "accelgrad.mentor.checks": ("check",),
        "accelgrad.mentor.coaching": ("coach",),
        "accelgrad.mentor.explanation": ("explain",),
        "accelgrad.serialization": ("load", "save"),
    }.items()
    for name in names
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    """Packages are imported when they are first named: ``accelgrad.nn``, ``accelgrad.optim`` ..."""
    if name in _LAZY:
        return _importlib.import_module(_LAZY[name])
    if name in _LAZY_FUNCTIONS:
        return getattr(_importlib.import_module(_LAZY_FUNCTIONS[name]), name)
    raise AttributeError(f"module 'accelgrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_LAZY_FUNCTIONS})
