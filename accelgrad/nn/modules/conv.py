"""Convolutions and transposed convolutions in one, two and three dimensions, in PyTorch's weight layouts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn import init
from accelgrad.nn.modules.lazy import LazyModuleMixin
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import Extents, repeated
from accelgrad.nn.parameter import Parameter, UninitializedParameter, empty

__all__ = [
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]  # fmt: skip


class _ConvNd(Module):
    """The settings of a convolution, its weight (out, in / groups, *kernel) and its bias (out,)."""

    _dims = 0
    _function: Callable[..., Tensor]
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents,
        padding: Extents | str,
        dilation: Extents,
        output_padding: Extents,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError(f"in_channels must be divisible by groups, got {in_channels} and {groups}")
        if out_channels % groups:
            raise ValueError(f"out_channels must be divisible by groups, got {out_channels} and {groups}")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                "padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'},"
                f" but got padding_mode='{padding_mode}'"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = repeated(kernel_size, self._dims)
        self.stride = repeated(stride, self._dims)
        self.dilation = repeated(dilation, self._dims)
        self.output_padding = repeated(output_padding, self._dims)
        self.padding_mode = padding_mode
        self.padding: Any = padding if isinstance(padding, str) else repeated(padding, self._dims)
        self._around = self._padding_around()
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(empty((out_channels,), device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def _padding_around(self) -> tuple[int, ...]:
        """The padding as ``F.pad`` takes it: before and after each dimension, the last one first."""
        if not isinstance(self.padding, str):
            return tuple(extent for extent in reversed(self.padding) for _ in range(2))
        if self.padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string '{self.padding}', should be one of {{'same', 'valid'}}")
        if self.padding == "valid":
            return (0,) * 2 * self._dims
        if any(step != 1 for step in self.stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
        totals = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return tuple(part for total in reversed(totals) for part in (total // 2, total - total // 2))

    def reset_parameters(self) -> None:
        """Draw new first values: uniform in +-1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def _expects(self, input: Tensor) -> str:
        shape = tuple(input.array.shape)
        names = ("n, c, l", "n, c, h, w", "n, c, d, h, w")[self._dims - 1]
        if len(shape) not in (self._dims + 1, self._dims + 2):
            return f"the layer expects an input ({names}), got one of shape {shape}."
        channels = shape[-self._dims - 1]
        if channels == self.in_channels:
            return ""
        order = (0, self._dims + 1, *range(1, self._dims + 1))
        hint = ""
        if len(shape) == self._dims + 2 and shape[-1] == self.in_channels:
            hint = f" The channels seem to come last: x.permute{order}"
        return (
            f"the layer expects {self.in_channels} channels ({names}), got {channels}."
            f" Input shape {shape}.{hint}"
        )

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        if self.padding != (0,) * self._dims:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self._dims:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self._dims:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_ConvNd):
    """A convolution of :func:`F.conv1d` and its kin."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents = 1,
        padding: Extents | str = 0,
        dilation: Extents = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """The convolution; a border that is not zero is added to the input first."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._around, mode=self.padding_mode)
            padding = (0,) * self._dims
        return self._function(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """``y[n, o, p] = bias[o] + sum over i, k of weight[o, i, k] x[n, i, p stride + k dilation - padding]``.

    weight (out_channels, in_channels / groups, kernel_size), bias (out_channels,); first values: uniform in
    +-1 / sqrt(in_channels kernel_size / groups).  ``padding`` "same" keeps the length, "valid" adds nothing;
    ``padding_mode`` fills the border with "zeros", or by "reflect", "replicate" or "circular"; ``groups``
    splits the channels into groups that are convolved by themselves.

    (n, in_channels, l) or (in_channels, l) gives (n, out_channels, l') or (out_channels, l') with
    l' = (l + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1; floating point, of the weight's type.
    ValueError for settings that do not fit; RuntimeError for inputs that do not, with a hint where their
    channels seem to come last.

    >>> import accelgrad
    >>> layer = Conv1d(2, 4, kernel_size=3, stride=2)
    >>> layer
    Conv1d(2, 4, kernel_size=(3,), stride=(2,))
    >>> layer(accelgrad.randn(5, 2, 9)).shape
    accelgrad.Size([5, 4, 4])
    """

    _dims = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """The convolution of images; :class:`Conv1d` says the formula and settings, here for two dimensions.

    weight (out_channels, in_channels / groups, kh, kw).  (n, in_channels, h, w) or (in_channels, h, w) gives
    (n, out_channels, h', w') or (out_channels, h', w'), floating point.  Errors as for sequences.

    >>> import accelgrad
    >>> layer = Conv2d(3, 8, kernel_size=3, padding=1)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> layer(accelgrad.randn(5, 3, 9, 9)).shape
    accelgrad.Size([5, 8, 9, 9])
    """

    _dims = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """The convolution of volumes; :class:`Conv1d` says the formula and settings, here for three dimensions.

    weight (out_channels, in_channels / groups, kd, kh, kw).  (n, in_channels, d, h, w) or
    (in_channels, d, h, w) gives (n, out_channels, d', h', w') or (out_channels, d', h', w'), floating point.
    Errors as for sequences.

    >>> import accelgrad
    >>> Conv3d(1, 2, kernel_size=2)(accelgrad.randn(5, 1, 4, 4, 4)).shape
    accelgrad.Size([5, 2, 3, 3, 3])
    """

    _dims = 3
    _function = staticmethod(F.conv3d)


# --- transposed


class _ConvTranspose(_ConvNd):
    """The adjoint of a convolution, with the weight (in, out / groups, *kernel)."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Extents,
        stride: Extents = 1,
        padding: Extents = 0,
        output_padding: Extents = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Extents = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution; ``output_size`` chooses among the sizes that are possible."""
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that leads to ``output_size``; ValueError where none does."""
        wanted = tuple(output_size)[-self._dims :]
        if len(output_size) not in (self._dims, input.ndim):
            raise ValueError(
                f"{type(self).__name__}: for {input.ndim}D input,"
                f" output_size must have {self._dims} or {input.ndim} elements (got {len(output_size)})"
            )
        least = [
            (extent - 1) * s - 2 * p + d * (k - 1) + 1
            for extent, s, p, d, k in zip(
                input.array.shape[-self._dims :], self.stride, self.padding, self.dilation, self.kernel_size,
                strict=True,
            )
        ]  # fmt: skip
        most = [low + s - 1 for low, s in zip(least, self.stride, strict=True)]
        if any(not low <= size <= high for size, low, high in zip(wanted, least, most, strict=True)):
            raise ValueError(
                f"requested an output size of {list(wanted)},"
                f" but valid sizes range from {least} to {most}"
                f" (for an input of {list(input.array.shape[-self._dims :])})"
            )
        return tuple(size - low for size, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """The transposed convolution of sequences: the map that a :class:`Conv1d` applies to gradients.

    Every input element adds its multiple of the kernel to a window of the result; the windows lie ``stride``
    apart.  weight (in_channels, out_channels / groups, kernel_size), bias (out_channels,).  ``padding`` is
    cut off at both ends of the result; ``output_padding`` adds to one end, or ``output_size`` in the call
    says the length.

    (n, in_channels, l) or (in_channels, l) gives (n, out_channels, l') or (out_channels, l') with
    l' = (l - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1; floating point, of the
    weight's type.  ValueError for settings that do not fit and an impossible ``output_size``, RuntimeError
    for inputs that do not fit.

    >>> import accelgrad
    >>> layer = ConvTranspose1d(4, 2, kernel_size=3, stride=2)
    >>> x = accelgrad.randn(5, 4, 4)
    >>> layer(x).shape, layer(x, output_size=[10]).shape
    (accelgrad.Size([5, 2, 9]), accelgrad.Size([5, 2, 10]))
    """

    _dims = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """The transposed convolution of images; :class:`ConvTranspose1d` says the formula and settings.

    weight (in_channels, out_channels / groups, kh, kw).  (n, in_channels, h, w) or (in_channels, h, w) gives
    (n, out_channels, h', w') or (out_channels, h', w'), floating point.  Errors as for sequences.

    >>> import accelgrad
    >>> layer = ConvTranspose2d(8, 3, kernel_size=2, stride=2)
    >>> layer
    ConvTranspose2d(8, 3, kernel_size=(2, 2), stride=(2, 2))
    >>> layer(accelgrad.randn(5, 8, 4, 4)).shape
    accelgrad.Size([5, 3, 8, 8])
    """

    _dims = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """The transposed convolution of volumes; :class:`ConvTranspose1d` says the formula and settings.

    weight (in_channels, out_channels / groups, kd, kh, kw).  (n, in_channels, d, h, w) or
    (in_channels, d, h, w) gives (n, out_channels, d', h', w') or (out_channels, d', h', w'), floating point.
    Errors as for sequences.

    >>> import accelgrad
    >>> ConvTranspose3d(2, 1, kernel_size=2)(accelgrad.randn(5, 2, 3, 3, 3)).shape
    accelgrad.Size([5, 1, 4, 4, 4])
    """

    _dims = 3
    _function = staticmethod(F.conv_transpose3d)


# --- the number of channels from the first input


class _LazyConv(LazyModuleMixin, _ConvNd):
    """A convolution that learns ``in_channels`` from its first input."""

    def __init__(self, out_channels: int, *args: Any, bias: bool = True, **kwargs: Any) -> None:
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        super().__init__(0, 0, *args, bias=False, **kwargs)
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draw new first values as soon as there is a shape."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take the number of channels from the first input."""
        if input.ndim not in (self._dims + 1, self._dims + 2):
            raise RuntimeError(
                f"Expected {self._dims + 1}D (unbatched) or {self._dims + 2}D"
                f" (batched) input to {type(self).__name__}, but got input of size: {tuple(input.shape)}"
            )
        self.in_channels = input.array.shape[-self._dims - 1]
        # A checkpoint that was loaded has given the shapes already.
        if not self.has_uninitialized_params():
            return
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(f"{name} must be divisible by groups")
        pair = (self.in_channels, self.out_channels)
        first, second = pair if self.transposed else pair[::-1]
        self.weight.materialize((first, second // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class LazyConv1d(_LazyConv, Conv1d):
    """A :class:`Conv1d` that takes ``in_channels`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyConv1d(4, kernel_size=3)
    >>> _ = layer(accelgrad.randn(2, 3, 9))
    >>> type(layer).__name__, layer.in_channels
    ('Conv1d', 3)
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A :class:`Conv2d` that takes ``in_channels`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyConv2d(4, kernel_size=3)
    >>> _ = layer(accelgrad.randn(2, 3, 9, 9))
    >>> type(layer).__name__, layer.in_channels
    ('Conv2d', 3)
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A :class:`Conv3d` that takes ``in_channels`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyConv3d(4, kernel_size=3)
    >>> _ = layer(accelgrad.randn(2, 3, 4, 4, 4))
    >>> type(layer).__name__, layer.in_channels
    ('Conv3d', 3)
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """A :class:`ConvTranspose1d` that takes ``in_channels`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyConvTranspose1d(4, kernel_size=3)
    >>> _ = layer(accelgrad.randn(2, 3, 9))
    >>> type(layer).__name__, layer.in_channels
    ('ConvTranspose1d', 3)
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """A :class:`ConvTranspose2d` that takes ``in_channels`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyConvTranspose2d(4, kernel_size=3)
    >>> _ = layer(accelgrad.randn(2, 3, 9, 9))
    >>> type(layer).__name__, layer.in_channels
    ('ConvTranspose2d', 3)
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """A :class:`ConvTranspose3d` that takes ``in_channels`` from its first input, and then is one.

    >>> import accelgrad
    >>> layer = LazyConvTranspose3d(4, kernel_size=3)
    >>> _ = layer(accelgrad.randn(2, 3, 4, 4, 4))
    >>> type(layer).__name__, layer.in_channels
    ('ConvTranspose3d', 3)
    """

    cls_to_become = ConvTranspose3d
