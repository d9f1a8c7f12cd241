"""The functions of layers, activations and losses, without state: PyTorch's ``nn.functional``.

Each is written, with its docstring, in :mod:`accelgrad.ops`; here they are only gathered.

>>> import accelgrad
>>> from accelgrad.nn import functional as F
>>> F.relu(accelgrad.tensor([-1.0, 1.0]))
tensor([0., 1.])
"""

from __future__ import annotations

import functools as _functools

from accelgrad.ops.registry import OPS as _OPS

for _entry in _OPS.values():
    if _entry.namespace == "nn.functional":
        for _name in (_entry.name, *_entry.aliases):
            globals()[_name] = _entry.call

_SHARED = (
    "alpha_dropout", "celu", "channel_shuffle", "cosine_similarity", "dropout", "feature_alpha_dropout",
    "feature_dropout", "hardshrink", "log_softmax", "pairwise_distance", "pdist", "pixel_shuffle",
    "pixel_unshuffle", "prelu", "relu", "rrelu", "selu", "sigmoid", "softmax", "tanh", "threshold",
)  # fmt: skip
"""Operations that PyTorch shows both here and at the top."""

for _name in _SHARED:
    if _name in _OPS:
        globals()[_name] = _OPS[_name].call

for _name in ("celu", "elu", "hardtanh", "leaky_relu", "relu", "rrelu", "selu", "threshold"):
    globals()[f"{_name}_"] = _functools.partial(globals()[_name], inplace=True)

for _name in (
    "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "fractional_max_pool2d",
    "fractional_max_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
):  # fmt: skip
    globals()[f"{_name}_with_indices"] = _functools.partial(globals()[_name], return_indices=True)

__all__ = [_name for _name in globals() if not _name.startswith("_") and _name != "annotations"]
