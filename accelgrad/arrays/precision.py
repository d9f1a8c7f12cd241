"""How exactly a card multiplies: TF32, PyTorch's switches for it, and whether sums must be repeatable.

TF32 keeps the range of float32 and 10 of its 23 bits of fraction in the factors of a product; the sums stay
float32. Cards of compute capability 8.0 and newer multiply so on their tensor cores, several times as fast.
PyTorch allows it for convolutions and not for other products, and so does accelgrad:

=====================  =======================================================  ======================
what                   switch                                                   at first
=====================  =======================================================  ======================
matmul, linear, ...    ``backends.cuda.matmul.allow_tf32``,                     False, ``"highest"``
                       ``set_float32_matmul_precision``
convolutions           ``backends.cudnn.allow_tf32``                            True
=====================  =======================================================  ======================

The products of a convolution are cuBLAS's, as all others.  Nothing here concerns the CPU, float16 or
float64.  The one place where the switches act is :func:`chosen`, which a card's array module asks for every
name that it resolves.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any

from accelgrad import kernels

__all__ = [
    "are_deterministic_algorithms_enabled",
    "chosen",
    "get_float32_matmul_precision",
    "is_deterministic_algorithms_warn_only_enabled",
    "repeatable",
    "set_float32_matmul_precision",
    "settings",
    "use_deterministic_algorithms",
]

PRODUCTS = frozenset(("matmul", "dot", "tensordot", "einsum", "inner", "linear", "vdot"))
CONVOLUTIONS = frozenset(("convolution", "convolution_input", "convolution_weight"))
UNORDERED = frozenset(("index_add", "scatter_add"))
LEVELS = ("highest", "high", "medium")


class Settings:
    """What has been chosen.  A change makes every array module resolve its names anew."""

    def __init__(self) -> None:
        self._level = "highest"
        self._convolutions = True
        self.deterministic = self.warn_only = False
        self.exact = False
        """Within a convolution that must not use TF32 although other products may."""

    @property
    def level(self) -> str:
        """``"highest"`` (float32), ``"high"`` or ``"medium"`` (TF32), for all but convolutions."""
        return self._level

    @level.setter
    def level(self, level: str) -> None:
        if level not in LEVELS:
            raise RuntimeError(f"setFloat32MatmulPrecision expects one of {', '.join(LEVELS)}; got {level!r}")
        if level != self._level:
            self._level = level
            kernels.forget()

    @property
    def convolutions(self) -> bool:
        """Whether convolutions may use TF32."""
        return self._convolutions

    @convolutions.setter
    def convolutions(self, allowed: bool) -> None:
        if bool(allowed) != self._convolutions:
            self._convolutions = bool(allowed)
            kernels.forget()


settings = Settings()


def chosen(name: str, function: Callable[..., Any], own: Any) -> Callable[..., Any]:
    """What a card's array module calls ``name``: ``function``, or it with TF32 switched on around it.

    ``own`` is CuPy's function of that name, or None: where TF32 is allowed for products, cuBLAS is taken
    rather than a kernel of ours, which knows float32 only.
    """
    if name in CONVOLUTIONS and (settings.convolutions or settings.level != "highest"):
        return in_tf32(function) if settings.convolutions else exactly(function)
    if name in PRODUCTS and settings.level != "highest":
        return in_tf32(function if own is None or kernels.mode() == "numba" else own)
    if name in UNORDERED and settings.deterministic:
        return repeatable(name, function)
    return function


def in_tf32(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose products of float32 arrays cuBLAS computes in TF32; afterwards as before.

    CuPy names a type to cuBLAS for products of two matrices only; those of stacks follow the mode of the
    handle.
    """
    cuda = importlib.import_module("cupy").cuda
    if int(cuda.Device().compute_capability) < 80:
        return function  # the card has no TF32
    blas, tf32_mode = cuda.cublas, 3  # CUBLAS_TF32_TENSOR_OP_MATH
    core = importlib.import_module("cupy._core")
    kind = importlib.import_module("numpy").float32
    fast = importlib.import_module("cupy._core._routines_linalg").COMPUTE_TYPE_TF32
    ask, tell = core.get_compute_type, core.set_compute_type

    @functools.wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        before = ask(kind)
        if before == fast or settings.exact:
            return function(*args, **kwargs)
        handle = cuda.get_cublas_handle()
        mode = blas.getMathMode(handle)
        tell(kind, fast)
        blas.setMathMode(handle, tf32_mode)
        try:
            return function(*args, **kwargs)
        finally:
            blas.setMathMode(handle, mode)
            tell(kind, before)

    return within


def exactly(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, within which no product is computed in TF32."""

    @functools.wraps(function)
    def within(*args: Any, **kwargs: Any) -> Any:
        settings.exact = True
        try:
            return function(*args, **kwargs)
        finally:
            settings.exact = False

    return within


def set_float32_matmul_precision(precision: str) -> None:
    """Set how exactly a card multiplies float32 matrices.

    ``"highest"`` means in float32, ``"high"`` and ``"medium"`` in TF32 (PyTorch takes bfloat16 for
    ``"medium"`` where that is faster; here it means the same as ``"high"``).

    >>> import accelgrad
    >>> accelgrad.set_float32_matmul_precision("high")
    >>> accelgrad.get_float32_matmul_precision(), accelgrad.backends.cuda.matmul.allow_tf32
    ('high', True)
    >>> accelgrad.set_float32_matmul_precision("highest")
    """
    settings.level = precision


def get_float32_matmul_precision() -> str:
    """What :func:`set_float32_matmul_precision` has chosen, ``"highest"`` at first."""
    return settings.level


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Refuse (or with ``warn_only`` warn of) what adds in another order each time.

    Sums and products are repeatable anyway, on every device.  Only additions by an index of a card's array
    (``index_add``, ``scatter_add``, ``x[index]`` backwards) go through atomic operations, whose order is not
    fixed.

    >>> import accelgrad
    >>> accelgrad.use_deterministic_algorithms(True)
    >>> accelgrad.are_deterministic_algorithms_enabled()
    True
    >>> accelgrad.use_deterministic_algorithms(False)
    """
    settings.deterministic, settings.warn_only = bool(mode), bool(mode and warn_only)
    kernels.forget()


def are_deterministic_algorithms_enabled() -> bool:
    """Whether :func:`use_deterministic_algorithms` is on."""
    return settings.deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether it only warns."""
    return settings.warn_only


def repeatable(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, which adds floating point numbers in no fixed order: refused, or warned of."""

    @functools.wraps(function)
    def within(x: Any, *args: Any, **kwargs: Any) -> Any:
        if x.dtype.kind == "f":
            text = (
                f"{name}_cuda_ does not have a deterministic implementation,"
                " but you set 'accelgrad.use_deterministic_algorithms(True)'."
                " You can turn off determinism just for this operation,"
                " or you can use the 'warn_only=True' option, or do it on the CPU"
            )
            if not settings.warn_only:
                raise RuntimeError(text)
            warnings.warn(text, UserWarning, stacklevel=2)
        return function(x, *args, **kwargs)

    return within
