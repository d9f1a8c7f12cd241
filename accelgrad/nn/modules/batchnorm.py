"""Batch normalisation in one, two and three dimensions, and what instance normalisation shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelgrad.arrays import dtypes
from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.lazy import LazyModuleMixin
from accelgrad.nn.modules.module import Module
from accelgrad.nn.parameter import Parameter, UninitializedBuffer, UninitializedParameter, empty

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d",
]  # fmt: skip


class _NormBase(Module):
    """A scale and a shift for each channel, and running statistics: the base of batch and instance norm."""

    _version = 2
    _ranks: tuple[int, ...] = ()
    """How many dimensions the input may have."""

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
        """Set the scale to 1 and the shift to 0, and forget the statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        """ValueError where the input has a wrong number of dimensions."""
        if input.ndim not in self._ranks:
            expected = " or ".join(f"{rank}D" for rank in self._ranks)
            raise ValueError(f"expected {expected} input (got {input.ndim}D input)")

    def _channel_dim(self, input: Tensor) -> int:
        """The dimension of the input that holds the channels."""
        return 1

    def _expects(self, input: Tensor) -> str:
        dim = self._channel_dim(input)
        if input.ndim > dim and input.array.shape[dim] != self.num_features:
            return (
                f"the layer expects {self.num_features} channels in dimension {dim},"
                f" got {input.array.shape[dim]}."
                f" Input shape {tuple(input.array.shape)}."
            )
        return ""

    def extra_repr(self) -> str:
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
    """Normalisation of each channel over the batch; see :class:`BatchNorm2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input, of the same shape; in training the running statistics move towards it."""
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
    """Batch normalisation of features or of sequences; :class:`BatchNorm2d` says the formula and settings.

    (n, num_features) or (n, num_features, l), floating point; the result has the same shape.  ValueError for
    another number of dimensions, and for a single value per channel in training.

    >>> import accelgrad
    >>> BatchNorm1d(1, affine=False)(accelgrad.tensor([[1.0], [3.0]]))
    tensor([[-1.0000],
            [ 1.0000]])
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """``(x - mean) / sqrt(var + eps) weight + bias`` for each channel of images.

    Ioffe & Szegedy 2015, Algorithm 1.  In training, mean and (biased) variance are those of the channel over
    the batch, and the running ones move towards them: running = (1 - momentum) running + momentum found, with
    the unbiased variance (``momentum=None``: the average over all batches).  In evaluation the running ones
    are used.  ``affine=False`` leaves out weight and bias, ``bias=False`` only bias;
    ``track_running_stats=False`` keeps no statistics and always uses the batch's.

    (n, num_features, h, w), floating point; the result has the same shape.  ValueError for another number of
    dimensions, and for a single value per channel in training; RuntimeError for another number of channels.

    >>> import accelgrad
    >>> layer = BatchNorm2d(8)
    >>> layer
    BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    >>> layer(accelgrad.randn(2, 8, 4, 4)).shape
    accelgrad.Size([2, 8, 4, 4])
    """

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes; :class:`BatchNorm2d` says the formula and settings.

    (n, num_features, d, h, w), floating point; the result has the same shape.  Errors as for images.

    >>> import accelgrad
    >>> BatchNorm3d(3)(accelgrad.randn(2, 3, 4, 4, 4)).shape
    accelgrad.Size([2, 3, 4, 4, 4])
    """

    _ranks = (5,)


# --- the number of channels from the first input


class _LazyNormBase(LazyModuleMixin, _NormBase):
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
        """Set the scale to 1 and the shift to 0, and forget the statistics, once there is a shape."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take the number of channels from the first input."""
        self._check_input_dim(input)
        self.num_features = input.array.shape[self._channel_dim(input)]
        # A checkpoint that was loaded has given the shapes already.
        if not self.has_uninitialized_params():
            return
        for one in (self.weight, self.bias, self.running_mean, self.running_var):
            if isinstance(one, UninitializedParameter | UninitializedBuffer):
                one.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, BatchNorm1d):
    """A :class:`BatchNorm1d` that takes ``num_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyBatchNorm1d()
    >>> _ = layer(accelgrad.randn(4, 3))
    >>> layer
    BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNormBase, BatchNorm2d):
    """A :class:`BatchNorm2d` that takes ``num_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyBatchNorm2d()
    >>> layer(accelgrad.randn(2, 3, 4, 4)).shape, layer.num_features
    (accelgrad.Size([2, 3, 4, 4]), 3)
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNormBase, BatchNorm3d):
    """A :class:`BatchNorm3d` that takes ``num_features`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyBatchNorm3d()
    >>> layer(accelgrad.randn(2, 3, 4, 4, 4)).shape, layer.num_features
    (accelgrad.Size([2, 3, 4, 4, 4]), 3)
    """

    cls_to_become = BatchNorm3d
