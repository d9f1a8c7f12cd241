"""Batch and instance norms that take their number of channels from the first input."""

from __future__ import annotations

from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.core.tensor import Tensor
from accelgrad.nn.modules.lazy import LazyModule
from accelgrad.nn.modules.batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _ChannelNorm,
    _InstanceNorm,
)
from accelgrad.nn.parameter import UninitializedBuffer, UninitializedParameter, empty

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]  # fmt: skip


class _LazyNorm(LazyModule, _ChannelNorm):
    """A norm that learns ``num_features`` from its first input."""

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=bias)
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = empty((), device=device, dtype=dtypes.int64).zero_()

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, no statistics, once there is a shape."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the number of channels from the first input."""
        self._check_input_dim(input)
        single = isinstance(self, _InstanceNorm) and input.ndim == min(self.ranks)
        self.num_features = input.array.shape[0 if single else 1]
        if not self.has_uninitialized_params():  # a checkpoint was loaded
            return
        for one in (self.weight, self.bias, self.running_mean, self.running_var):
            if isinstance(one, UninitializedParameter | UninitializedBuffer):
                one.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """:class:`BatchNorm1d` without ``num_features``."""

    becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """:class:`BatchNorm2d` without ``num_features``."""

    becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """:class:`BatchNorm3d` without ``num_features``."""

    becomes = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """:class:`InstanceNorm1d` without ``num_features``."""

    becomes = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """:class:`InstanceNorm2d` without ``num_features``."""

    becomes = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """:class:`InstanceNorm3d` without ``num_features``."""

    becomes = InstanceNorm3d
