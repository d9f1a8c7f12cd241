"""Pooling layers: each applies the function of :mod:`accelgrad.nn.functional` that it names.

The base class of a family holds its settings and ``forward``; its members differ in the number of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelgrad.core.tensor import Tensor
from accelgrad.nn import functional as F
from accelgrad.nn.modules.module import Module
from accelgrad.nn.modules.settings import Extents, repeated

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


# --- the largest value of every window


class _MaxPoolNd(Module):
    """The largest value of every window."""

    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Extents,
        stride: Extents | None = None,
        padding: Extents = 0,
        dilation: Extents = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """The maxima, and with ``return_indices`` their places."""
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding},"
            f" dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The largest value of every window of sequences; :class:`MaxPool2d` explains the settings.

    (n, c, l) or (c, l), of any type, gives (n, c, l') or (c, l').  RuntimeError where no window fits.

    >>> import accelgrad
    >>> MaxPool1d(2)(accelgrad.tensor([[1.0, 3.0, 2.0, 0.0]]))
    tensor([[3., 2.]])
    """

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """The largest value of every window of images.

    Windows of ``kernel_size`` lie ``stride`` (by default kernel_size) apart.  ``padding`` surrounds the image
    with -inf, at most half a window wide; ``dilation`` leaves gaps in the window; ``ceil_mode`` admits a last
    window that begins inside and ends outside.  ``return_indices`` also gives the flat place h * width + w of
    each maximum, for :class:`MaxUnpool2d`.

    (n, c, h, w) or (c, h, w), of any type, gives (n, c, h', w') or (c, h', w') with
    h' = (h + 2 padding - dilation (kernel_size - 1) - 1) // stride + 1.  RuntimeError where no window fits.

    >>> import accelgrad
    >>> layer = MaxPool2d(2)
    >>> layer
    MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    >>> layer(accelgrad.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """The largest value of every window of volumes; :class:`MaxPool2d` explains the settings.

    (n, c, d, h, w) or (c, d, h, w), of any type, gives (n, c, d', h', w') or (c, d', h', w').  RuntimeError
    where no window fits.

    >>> import accelgrad
    >>> MaxPool3d(2)(accelgrad.arange(8.0).reshape(1, 2, 2, 2))
    tensor([[[[7.]]]])
    """

    _function = staticmethod(F.max_pool3d)


class _MaxUnpoolNd(Module):
    """The values of a max pool put back to where they came from, with zeros elsewhere."""

    _dims = 0
    _function: Callable[..., Tensor]

    def __init__(self, kernel_size: Extents, stride: Extents | None = None, padding: Extents = 0) -> None:
        super().__init__()
        self.kernel_size = repeated(kernel_size, self._dims)
        self.stride = repeated(kernel_size if stride is None else stride, self._dims)
        self.padding = repeated(padding, self._dims)

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The larger tensor; ``output_size`` chooses among the sizes that the pool reduces to this one."""
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """The maxima of a :class:`MaxPool1d` put back to where its indices say they were, with zeros elsewhere.

    Maxima and indices (n, c, l) or (c, l) give (n, c, l') or (c, l').  RuntimeError for an index outside,
    ValueError for an impossible ``output_size``.

    >>> import accelgrad
    >>> maxima, places = MaxPool1d(2, return_indices=True)(accelgrad.tensor([[1.0, 3.0, 5.0, 2.0]]))
    >>> MaxUnpool1d(2)(maxima, places)
    tensor([[0., 3., 5., 0.]])
    """

    _dims = 1
    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpoolNd):
    """The maxima of a :class:`MaxPool2d` put back to where its indices say they were, with zeros elsewhere.

    Maxima and indices (n, c, h, w) or (c, h, w) give (n, c, h', w') or (c, h', w').  RuntimeError for an
    index outside, ValueError for an impossible ``output_size``.

    >>> import accelgrad
    >>> maxima, places = MaxPool2d(2, return_indices=True)(accelgrad.tensor([[[1.0, 3.0], [5.0, 2.0]]]))
    >>> MaxUnpool2d(2)(maxima, places)
    tensor([[[0., 0.],
             [5., 0.]]])
    """

    _dims = 2
    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpoolNd):
    """The maxima of a :class:`MaxPool3d` put back to where its indices say they were, with zeros elsewhere.

    Maxima and indices (n, c, d, h, w) or (c, d, h, w) give (n, c, d', h', w') or (c, d', h', w').
    RuntimeError for an index outside, ValueError for an impossible ``output_size``.

    >>> import accelgrad
    >>> maxima, places = MaxPool3d(2, return_indices=True)(accelgrad.arange(8.0).reshape(1, 2, 2, 2))
    >>> MaxUnpool3d(2)(maxima, places).flatten()
    tensor([0., 0., 0., 0., 0., 0., 0., 7.])
    """

    _dims = 3
    _function = staticmethod(F.max_unpool3d)


# --- the mean and the p-norm of every window


class AvgPool1d(Module):
    """The mean of every window of sequences; :class:`AvgPool2d` explains the settings.

    (n, c, l) or (c, l), of any type, gives (n, c, l') or (c, l').  RuntimeError where no window fits.

    >>> import accelgrad
    >>> AvgPool1d(2)(accelgrad.tensor([[1.0, 3.0, 5.0, 9.0]]))
    tensor([[2., 7.]])
    """

    def __init__(
        self,
        kernel_size: Extents,
        stride: Extents | None = None,
        padding: Extents = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = repeated(kernel_size, 1)
        self.stride = repeated(kernel_size if stride is None else stride, 1)
        self.padding = repeated(padding, 1)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
    """The mean of every window of images or volumes."""

    _function: Callable[..., Tensor]

    def __init__(
        self,
        kernel_size: Extents,
        stride: Extents | None = None,
        padding: Extents = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPoolNd):
    """The mean of every window of images.

    Windows of ``kernel_size`` lie ``stride`` (by default kernel_size) apart.  ``padding`` surrounds the image
    with zeros, which count unless ``count_include_pad=False``; ``ceil_mode`` admits a last window that begins
    inside and ends outside; ``divisor_override`` divides every sum by that number instead.

    (n, c, h, w) or (c, h, w), of any type, gives (n, c, h', w') or (c, h', w').  RuntimeError where no window
    fits.

    >>> import accelgrad
    >>> AvgPool2d(2)(accelgrad.arange(16.0).reshape(1, 4, 4))
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPoolNd):
    """The mean of every window of volumes; :class:`AvgPool2d` explains the settings.

    (n, c, d, h, w) or (c, d, h, w), of any type, gives (n, c, d', h', w') or (c, d', h', w').  RuntimeError
    where no window fits.

    >>> import accelgrad
    >>> AvgPool3d(2)(accelgrad.arange(8.0).reshape(1, 2, 2, 2))
    tensor([[[[3.5000]]]])
    """

    _function = staticmethod(F.avg_pool3d)


class _LPPoolNd(Module):
    """The p-norm of every window, with p = ``norm_type``."""

    _function: Callable[..., Tensor]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Extents,
        stride: Extents | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride = norm_type, kernel_size, stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """The norms."""
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride},"
            f" ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """``(sum of x^p)^(1/p)`` over every window of sequences, with p = ``norm_type``.

    ``kernel_size``, ``stride`` and ``ceil_mode`` as in :class:`AvgPool2d`.  (n, c, l) or (c, l) gives
    (n, c, l') or (c, l'); integers become the default floating point type.  RuntimeError where no window
    fits.

    >>> import accelgrad
    >>> LPPool1d(2, 2)(accelgrad.tensor([[3.0, 4.0]]))
    tensor([[5.]])
    """

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPoolNd):
    """``(sum of x^p)^(1/p)`` over every window of images, with p = ``norm_type``; see :class:`LPPool1d`.

    (n, c, h, w) or (c, h, w) gives (n, c, h', w') or (c, h', w').

    >>> import accelgrad
    >>> LPPool2d(2, 2)(accelgrad.ones(1, 2, 2))
    tensor([[[2.]]])
    """

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPoolNd):
    """``(sum of x^p)^(1/p)`` over every window of volumes, with p = ``norm_type``; see :class:`LPPool1d`.

    (n, c, d, h, w) or (c, d, h, w) gives (n, c, d', h', w') or (c, d', h', w').

    >>> import accelgrad
    >>> LPPool3d(2, (1, 2, 2))(accelgrad.ones(1, 1, 2, 2))
    tensor([[[[2.]]]])
    """

    _function = staticmethod(F.lp_pool3d)


# --- windows that fit the wanted size


class _AdaptiveAvgPoolNd(Module):
    """Means of windows that are chosen such that the result has ``output_size``."""

    _function: Callable[..., Tensor]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """The means."""
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means of ``output_size`` windows of sequences; :class:`AdaptiveAvgPool2d` says where they lie.

    (n, c, l) or (c, l), of any type, gives (n, c, output_size) or (c, output_size).  RuntimeError for another
    number of dimensions.

    >>> import accelgrad
    >>> AdaptiveAvgPool1d(2)(accelgrad.tensor([[1.0, 3.0, 5.0, 9.0]]))
    tensor([[2., 7.]])
    """

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means of windows of images, as many as ``output_size`` says; 1 is global average pooling.

    ``output_size`` is one number for both sides or (h', w'), where None keeps an extent.  Window i of m over
    a side of n begins at floor(i n / m) and ends before ceil((i + 1) n / m).  (n, c, h, w) or (c, h, w), of
    any type, gives (n, c, h', w') or (c, h', w').  RuntimeError for another number of dimensions.

    >>> import accelgrad
    >>> AdaptiveAvgPool2d((None, 1))(accelgrad.arange(4.0).reshape(1, 2, 2))
    tensor([[[0.5000],
             [2.5000]]])
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means of windows of volumes; :class:`AdaptiveAvgPool2d` says where they lie.

    (n, c, d, h, w) or (c, d, h, w), of any type, gives (n, c, *output_size) or (c, *output_size).
    RuntimeError for another number of dimensions.

    >>> import accelgrad
    >>> AdaptiveAvgPool3d(1)(accelgrad.arange(8.0).reshape(1, 2, 2, 2))
    tensor([[[[3.5000]]]])
    """

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPoolNd(Module):
    """Largest values of windows that are chosen such that the result has ``output_size``."""

    _function: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        """The maxima, and with ``return_indices`` their places."""
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Largest values of ``output_size`` windows of sequences; :class:`AdaptiveAvgPool2d` says where they lie.

    (n, c, l) or (c, l), of any type, gives (n, c, output_size) or (c, output_size); ``return_indices`` also
    gives the places of the maxima.  RuntimeError for another number of dimensions.

    >>> import accelgrad
    >>> AdaptiveMaxPool1d(2)(accelgrad.tensor([[1.0, 3.0, 5.0, 9.0]]))
    tensor([[3., 9.]])
    """

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Largest values of windows of images; :class:`AdaptiveAvgPool2d` says where they lie.

    (n, c, h, w) or (c, h, w), of any type, gives (n, c, *output_size) or (c, *output_size);
    ``return_indices`` also gives the flat places of the maxima.  RuntimeError for another number of
    dimensions.

    >>> import accelgrad
    >>> AdaptiveMaxPool2d((1, 2))(accelgrad.arange(16.0).reshape(1, 4, 4))
    tensor([[[13., 15.]]])
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Largest values of windows of volumes; :class:`AdaptiveAvgPool2d` says where they lie.

    (n, c, d, h, w) or (c, d, h, w), of any type, gives (n, c, *output_size) or (c, *output_size);
    ``return_indices`` also gives the flat places of the maxima.  RuntimeError for another number of
    dimensions.

    >>> import accelgrad
    >>> AdaptiveMaxPool3d((2, 1, 1))(accelgrad.arange(8.0).reshape(1, 2, 2, 2)).flatten()
    tensor([3., 7.])
    """

    _function = staticmethod(F.adaptive_max_pool3d)


# --- windows at random places


class _FractionalMaxPoolNd(Module):
    """The largest value of windows whose steps are drawn at random; ``output_size`` or ``output_ratio``."""

    _dims = 0
    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Extents,
        output_size: Extents | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{type(self).__name__} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        self.kernel_size = repeated(kernel_size, self._dims)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else repeated(output_size, self._dims)
        self.output_ratio = None if output_ratio is None else repeated(output_ratio, self._dims)
        if self.output_ratio is not None and not all(0 < one < 1 for one in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        """The maxima, and with ``return_indices`` their places; the draws are new in every call."""
        return self._function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The largest value of windows of images whose steps are drawn at random.  Graham 2014.

    The steps, new in every call and for every channel, are such that ``output_size`` windows fill the image,
    or ``output_ratio`` of its extents; exactly one of the two is given.  (n, c, h, w) or (c, h, w) gives
    (n, c, *output_size) or (c, *output_size); ``return_indices`` also gives the flat places of the maxima.
    ValueError for both or none of the two and a ratio outside of 0 ... 1.

    >>> import accelgrad
    >>> FractionalMaxPool2d(3, output_size=(5, 4))(accelgrad.ones(1, 1, 9, 9)).shape
    accelgrad.Size([1, 1, 5, 4])
    """

    _dims = 2
    _function = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The largest value of windows of volumes whose steps are drawn at random; see FractionalMaxPool2d.

    (n, c, d, h, w) or (c, d, h, w) gives (n, c, *output_size) or (c, *output_size).

    >>> import accelgrad
    >>> FractionalMaxPool3d(2, output_ratio=0.5)(accelgrad.ones(1, 5, 5, 5)).shape
    accelgrad.Size([1, 2, 2, 2])
    """

    _dims = 3
    _function = staticmethod(F.fractional_max_pool3d)
