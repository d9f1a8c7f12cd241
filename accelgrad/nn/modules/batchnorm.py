"""Batch normalisation in one, two and three dimensions, and what instance normalisation shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.lazy import LazyModule
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter, empty

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d",
]  # fmt: skip


class _NormBase(Module):
    """What batch and instance norm share: a scale and a shift per channel, and running statistics."""

    _version = 2
    ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats

        def per_channel() -> Tensor:
            return empty((num_features,), device=device, dtype=dtype)

        self.register_parameter("weight", Parameter(per_channel()) if affine else None)
        self.register_parameter("bias", Parameter(per_channel()) if affine and bias else None)
        self.register_buffer("running_mean", per_channel() if track_running_stats else None)
        self.register_buffer("running_var", per_channel() if track_running_stats else None)
        counter = empty((), device=device, dtype=dtypes.int64) if track_running_stats else None
        self.register_buffer("num_batches_tracked", counter)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics: mean 0, variance 1, no batches seen."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, no statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in self.ranks:
            expected = " or ".join(f"{rank}D" for rank in self.ranks)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")

    def _expects(self, input: Tensor) -> str:
        place = 1 if input.ndim == max(self.ranks) or len(self.ranks) == 1 or type(self)._batch_first else 0
        if input.ndim > place and input.array.shape[place] != self.num_features:
            return (
                f"the layer expects {self.num_features} channels in dimension {place}, got"
                f" {input.array.shape[place]}. Input shape {tuple(input.array.shape)}."
            )
        return ""

    _batch_first = True

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, local_metadata: Mapping[str, Any], *rest: Any
    ) -> None:
        version = local_metadata.get("version")
        counter = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and counter not in state_dict:
            # Checkpoints from before the counter existed.
            state_dict = {**state_dict, counter: self.num_batches_tracked}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    """(x - mean) / sqrt(var + eps) weight + bias, per channel over the batch.  Ioffe & Szegedy 2015,
    Algorithm 1.

    In training with the statistics of the batch, which flow into the running ones (by ``momentum``; None
    averages over all batches); in evaluation with the running ones.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(n, num_features, ...); the result has the same shape."""
        self._check_input_dim(input)
        average = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            counter = self.num_batches_tracked
            counter.array[...] += 1
            if self.momentum is None:
                average = 1.0 / float(counter.item())
        use_batch = self.training or (self.running_mean is None and self.running_var is None)
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            use_batch,
            average,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of features (n, c) or sequences (n, c, l); see :class:`BatchNorm2d`."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (n, c, h, w).

    (x - mean) / sqrt(var + eps) weight + bias, each channel with its mean and variance over the batch.  Ioffe
    & Szegedy 2015, Algorithm 1.  In training the statistics of the batch are used and flow into the running
    ones, by ``momentum`` (None: the average over all batches); in evaluation the running ones are used.

    >>> BatchNorm2d(8)
    BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes (n, c, d, h, w); see :class:`BatchNorm2d`."""

    ranks = (5,)


class _LazyNormBase(LazyModule, _NormBase):
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
        single = not self._batch_first and input.ndim == min(self.ranks)
        self.num_features = input.array.shape[0 if single else 1]
        if not self.has_uninitialized_params():  # a checkpoint was loaded
            return
        for one in (self.weight, self.bias, self.running_mean, self.running_var):
            if isinstance(one, UninitializedParameter | UninitializedBuffer):
                one.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, BatchNorm1d):
    """:class:`BatchNorm1d` without ``num_features``."""

    becomes = BatchNorm1d


class LazyBatchNorm2d(_LazyNormBase, BatchNorm2d):
    """:class:`BatchNorm2d` without ``num_features``."""

    becomes = BatchNorm2d


class LazyBatchNorm3d(_LazyNormBase, BatchNorm3d):
    """:class:`BatchNorm3d` without ``num_features``."""

    becomes = BatchNorm3d
