"""The functions of layers, activations and losses, without state: PyTorch's ``nn.functional``.

Each is written, with its docstring, in :mod:`accelgrad.ops`; here they are only gathered.

>>> import accelgrad
>>> from accelgrad.nn import functional as F
>>> F.relu(accelgrad.tensor([-1.0, 1.0]))
tensor([0., 1.])
"""

from __future__ import annotations

import functools as _functools

from accelgrad.ops.registry import shown_in as _shown_in

globals().update(_shown_in("nn.functional"))

for _name in (
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d",
    "fractional_max_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
):  # fmt: skip
    globals()[f"{_name}_with_indices"] = _functools.partial(globals()[_name], return_indices=True)

__all__ = [_name for _name in globals() if not _name.startswith("_") and _name != "annotations"]
