"""How a Tensor meets the rest of Python: numbers, lists, NumPy's protocols, copies, pickles; and how data
becomes an array."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accelgrad.arrays import backend, dlpack, dtypes
from accelgrad.arrays.backend import CPU, Namespace

if TYPE_CHECKING:
    from accelgrad.core.graph import Edge
    from accelgrad.core.tensor import Tensor

__all__ = ["Conversions", "as_array"]


class Conversions:
    """The part of :class:`accelgrad.Tensor` that turns it into something else."""

    __slots__ = ()

    if TYPE_CHECKING:
        array: Any
        xp: Namespace
        _grad: Tensor | None
        requires_grad: bool
        is_cuda: bool
        is_leaf: bool
        device: Any

        @classmethod
        def _around(cls, array: Any, xp: Namespace) -> Tensor: ...
        def edge(self) -> Edge | None: ...
        def detach(self) -> Tensor: ...
        def is_floating_point(self) -> bool: ...
        def requires_grad_(self, requires_grad: bool = True) -> Tensor: ...

    def item(self) -> Any:
        """The value of a tensor with one element as a Python number."""
        if self.array.size != 1:
            raise RuntimeError(f"a Tensor with {self.array.size} elements cannot be converted to Scalar")
        return self.array.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.array.tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The NumPy array behind a CPU tensor (shared memory); ``force=True`` detaches and copies from a
        card.

        TypeError for bfloat16, as in PyTorch: NumPy itself has no such type.  ``.float().numpy()`` gives the
        values, ``.array`` the memory, in the type that the package ml_dtypes gives NumPy.
        """
        if self.array.dtype.kind == "V":
            raise TypeError(
                "Got unsupported ScalarType BFloat16: NumPy has no such type; .float().numpy() gives the same"
                " values as float32 (.array is the memory itself, in the type of the package ml_dtypes)"
            )
        if not force:
            if self.is_cuda:
                raise TypeError(
                    f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the"
                    " tensor to host memory first."
                )
            if self.requires_grad:
                raise RuntimeError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
                )
        return self.xp.to_host(self.array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError("Unable to avoid copy while creating an array as requested.")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return self._for_numpy(
            ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}", inputs, options
        )

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        return self._for_numpy(function.__name__, inputs, options)

    def _for_numpy(self, name: str, inputs: Any, options: Any) -> Any:
        """``numpy.<name>`` of tensors: our operation of that name, so that the gradient goes on."""
        from accelgrad.core import primitive

        function = getattr(primitive.reading, name, None)
        if function is None or not set(options) <= {"axis", "keepdims"}:
            raise TypeError(
                f"numpy.{name} does not work on Tensors; use accelgrad's functions, or"
                " tensor.detach().numpy() for NumPy's"
            )
        return function(*inputs, **options)

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return dlpack.give(self.array, options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> Any:
        if not self.is_cuda:
            raise AttributeError(f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.device}")
        if self.requires_grad:
            raise RuntimeError(
                "Can't get __cuda_array_interface__ on Variable that requires grad. Use var.detach()."
            )
        return self.array.__cuda_array_interface__

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.array.shape[0]

    def __bool__(self) -> bool:
        if self.array.size != 1:
            if self.array.size == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError(
                "Boolean value of Tensor with more than one value is ambiguous; use .any(), .all(), or & and"
                " | instead of `and` and `or`"
            )
        return bool(self.array.item())

    def __int__(self) -> int:
        return int(self._one())

    def __float__(self) -> float:
        return float(self._one())

    def _one(self) -> Any:
        """The only value, for Python's conversions."""
        if self.array.size != 1:
            raise ValueError(
                "only one element tensors can be converted to Python scalars; this one has"
                f" {self.array.size}: .tolist() gives them all"
            )
        return self.array.item()

    def __index__(self) -> int:
        if self.is_floating_point() or self.array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.array.item())

    def __iter__(self) -> Iterator[Tensor]:
        if self.array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self.array.shape[0])])  # type: ignore[index]

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).array.any())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        from accelgrad.core.printing import tensor_text

        return tensor_text(self)

    def _repr_html_(self) -> str:
        from accelgrad.viz.notebook import tensor_html

        return tensor_html(self)  # type: ignore[arg-type]

    def explain(self, model: Any = None, **options: Any) -> Any:
        """Why gradients of this tensor are None, zero, NaN or huge: see :func:`accelgrad.explain`."""
        from accelgrad.mentor.explanation import explain

        return explain(self, model, **options)  # type: ignore[arg-type]

    def __format__(self, specification: str) -> str:
        if self.array.ndim == 0 and specification:
            return format(self.item(), specification)
        if specification:
            raise TypeError("unsupported format string passed to Tensor.__format__")
        return str(self)

    # --- copies and files

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at"
                " the moment; use tensor.detach().clone()"
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

    def __reduce_ex__(self, protocol: Any) -> Any:
        if not self.is_leaf:
            raise RuntimeError(
                "a Tensor that was computed cannot be pickled with its graph; detach() it first"
            )
        attributes = {key: value for key, value in self.__dict__.items() if key != "_retained_at"}
        host = self.xp.to_host(self.array)
        return _rebuild, (type(self), host, str(self.device), self.requires_grad, attributes)


def _rebuild(
    cls: type[Tensor], array: np.ndarray, device: str, requires_grad: bool, attributes: dict[str, Any]
) -> Tensor:
    """A tensor from what pickle stored; onto the CPU where its card is not at hand."""
    try:
        xp = backend.namespace(device)
    except RuntimeError:
        xp = CPU
    result = cls._around(xp.from_host(array), xp)
    result.__dict__.update(attributes)
    return result.requires_grad_() if requires_grad else result


def as_array(data: Any, dtype: Any, xp: Namespace) -> Any:
    """A new raw array of ``xp`` from numbers, nested sequences, arrays or tensors.

    ``dtype`` (NumPy's) None takes the data's own: bool, int64, the default float type, or that of an array.
    """
    if isinstance(data, Conversions):
        array = data.array if data.xp is xp else xp.from_host(data.xp.to_host(data.array))
        return array.astype(dtype or array.dtype)
    if backend.is_array(data):
        own = dtypes.of(data.dtype).numpy
        if isinstance(data, np.ndarray):
            return xp.from_host(np.array(data, dtype=dtype or own))
        return xp.module.array(data, dtype=dtype or own)
    array = np.asarray(_plain(data))
    if array.dtype.kind == "O":
        odd = next((one for one in array.flat if not isinstance(one, int | float)), None)
        raise RuntimeError(f"Could not infer dtype of {type(odd).__name__}; a tensor holds numbers")
    if dtype is None:
        if array.dtype.kind == "f" and not isinstance(data, np.generic):
            dtype = dtypes.get_default_dtype().numpy
        else:
            dtype = dtypes.of(array.dtype).numpy
    elif array.dtype.kind in "OUSV":
        dtypes.of(array.dtype)  # a TypeError for all of these but bfloat16
    return xp.from_host(array.astype(dtype))


def _plain(data: Any, depth: int = 0) -> Any:
    """Nested sequences with tensors inside as what NumPy understands; clear errors for what it does not."""
    if isinstance(data, Conversions):
        return data.xp.to_host(data.array)
    if isinstance(data, str | bytes):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'; a tensor holds numbers")
    if data is None:
        raise RuntimeError("Could not infer dtype of NoneType")
    if isinstance(data, Sequence) and not isinstance(data, range):
        if data and isinstance(data[0], str | bytes):
            raise ValueError(f"too many dimensions '{type(data[0]).__name__}'; a tensor holds numbers")
        parts = [_plain(part, depth + 1) for part in data]
        lengths = [np.shape(part) for part in parts]
        for place, length in enumerate(lengths):
            if length != lengths[0]:
                raise ValueError(
                    f"expected sequence of length {lengths[0][0] if lengths[0] else 0} at dim {depth + 1}"
                    f" (got {length[0] if length else 0}): element 0 has shape {lengths[0]}, element {place}"
                    f" has {length}; pad them to one length first (nn.utils.rnn.pad_sequence)"
                )
        return np.asarray(parts) if parts and not lengths[0] else (np.stack(parts) if parts else parts)
    return data
