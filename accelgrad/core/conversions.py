"""The Tensor and the rest of Python: numbers, lists, NumPy, DLPack, copies and pickles.

NumPy's functions of Tensors are answered in :mod:`accelgrad.ops.registry.reading`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dlpack
from accelgrad.arrays.backend import CPU
from accelgrad.core.tensor import Tensor, attribute, method

__all__: list[str] = []


@method
def item(self: Tensor) -> Any:
    """Return the value of a tensor with one element as a Python number; RuntimeError for several.

    >>> import accelgrad
    >>> accelgrad.tensor([1.5]).item()
    1.5
    """
    if self.array.size != 1:
        raise RuntimeError(f"a Tensor with {self.array.size} elements cannot be converted to Scalar")
    return self.array.item()


@method
def tolist(self: Tensor) -> Any:
    """Return the values as nested lists of Python numbers, as deep as the tensor has dimensions.

    >>> import accelgrad
    >>> accelgrad.tensor([[1, 2]]).tolist()
    [[1, 2]]
    """
    return self.array.tolist()


@method
def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """Return the NumPy array behind a CPU tensor; they share memory.

    ``force=True`` detaches first and copies from a card; without it both are a TypeError or RuntimeError.

    TypeError for bfloat16, as in PyTorch: NumPy itself has no such type.  ``.float().numpy()`` gives the
    values, ``.array`` the memory, in the type that the package ml_dtypes gives NumPy.
    """
    if self.array.dtype.kind == "V":
        raise TypeError(
            "Got unsupported ScalarType BFloat16: NumPy has no such type;"
            " .float().numpy() gives the same values as float32 (.array is the memory itself,"
            " in the type of the package ml_dtypes)"
        )
    if not force:
        if self.is_cuda:
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy."
                " Use Tensor.cpu() to copy the tensor to host memory first."
            )
        if self.requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            )
    return self.xp.to_host(self.array)


@method
def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    array = self.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        return array.astype(dtype)
    return array.copy() if copy else array


@method
def __dlpack__(self: Tensor, **options: Any) -> Any:
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    return dlpack.give(self.array, options)


@method
def __dlpack_device__(self: Tensor) -> Any:
    return self.array.__dlpack_device__()


@attribute
@method
def __cuda_array_interface__(self: Tensor) -> Any:
    if not self.is_cuda:
        raise AttributeError(f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.device}")
    if self.requires_grad:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. Use var.detach()."
        )
    return self.array.__cuda_array_interface__


@method
def __len__(self: Tensor) -> int:
    if self.array.ndim == 0:
        raise TypeError("len() of a 0-d tensor")
    return self.array.shape[0]


@method
def __bool__(self: Tensor) -> bool:
    if self.array.size != 1:
        if self.array.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError(
            "Boolean value of Tensor with more than one value is ambiguous;"
            " use .any(), .all(), or & and | instead of `and` and `or`"
        )
    return bool(self.array.item())


@method
def __int__(self: Tensor) -> int:
    return int(_only_element(self))


@method
def __float__(self: Tensor) -> float:
    return float(_only_element(self))


def _only_element(self: Tensor) -> Any:
    """Return the only element, for ``int()`` and ``float()``; ValueError for several."""
    if self.array.size != 1:
        raise ValueError(
            f"only one element tensors can be converted to Python scalars; this one has {self.array.size}:"
            " .tolist() gives them all"
        )
    return self.array.item()


@method
def __index__(self: Tensor) -> int:
    if self.is_floating_point() or self.array.size != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self.array.item())


@method
def __iter__(self: Tensor) -> Iterator[Tensor]:
    if self.array.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter([self[i] for i in range(self.array.shape[0])])


@method
def __contains__(self: Tensor, element: Any) -> bool:
    return bool((self == element).array.any())


@method
def __hash__(self: Tensor) -> int:
    return id(self)


@method
def __format__(self: Tensor, specification: str) -> str:
    if self.array.ndim == 0 and specification:
        return format(self.item(), specification)
    if specification:
        raise TypeError("unsupported format string passed to Tensor.__format__")
    return str(self)


# --- copies and files


@method
def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user"
            " (graph leaves) support the deepcopy protocol at the moment; use tensor.detach().clone()"
        )
    if id(self) in memo:
        return memo[id(self)]
    result = type(self)._around(self.array.copy(), self.xp)
    memo[id(self)] = result
    if self.edge() is not None:
        result.requires_grad_()
    if self._grad is not None:
        result._grad = copy.deepcopy(self._grad.detach(), memo)
    result.__dict__.update(
        copy.deepcopy({k: v for k, v in self.__dict__.items() if k != "_retained_at"}, memo)
    )
    return result


@method
def __reduce_ex__(self: Tensor, protocol: Any) -> Any:
    if not self.is_leaf:
        raise RuntimeError("a Tensor that was computed cannot be pickled with its graph; detach() it first")
    attributes = {key: value for key, value in self.__dict__.items() if key != "_retained_at"}
    host = self.xp.to_host(self.array)
    return _rebuild, (type(self), host, str(self.device), self.requires_grad, attributes)


def _rebuild(
    cls: type[Tensor], array: np.ndarray, device: str, requires_grad: bool, attributes: dict[str, Any]
) -> Tensor:
    """Make a tensor from what pickle stored; it goes to the CPU if its card cannot be used."""
    try:
        xp = backend.namespace(device)
    except RuntimeError:
        xp = CPU
    result = cls._around(xp.from_host(array), xp)
    result.__dict__.update(attributes)
    return result.requires_grad_() if requires_grad else result
