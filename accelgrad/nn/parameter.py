"""Parameter and Buffer: tensors that a Module takes in as soon as they are assigned to it."""

from __future__ import annotations

import copy
from typing import Any

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.dtypes import dtype as DType
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "empty"]


class Parameter(Tensor):
    """A tensor that is learned: as attribute of a Module it appears in ``parameters()``.

    It shares the memory of ``data`` (any shape, by default empty), and requires a gradient, for which it must
    be floating point, unless ``requires_grad=False``.  A plain tensor that is assigned to a Module stays an
    ordinary attribute, which no optimizer sees.  TypeError where ``data`` is no Tensor.

    >>> from accelgrad import Tensor
    >>> weight = Parameter(Tensor([1.0, 2.0]))
    >>> weight.requires_grad, weight.is_leaf
    (True, True)
    """

    __slots__ = ()

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Any:
        if data is None:
            data = empty((0,))
        if not isinstance(data, Tensor):
            raise TypeError(
                f"{cls.__name__} expects a Tensor, got {type(data).__name__}; wrap it first:"
                " accelgrad.tensor(...)"
            )
        self = _sharing(cls, data)
        return self.requires_grad_() if requires_grad else self

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that belongs to a Module without being learned, such as a running mean.

    As attribute of a Module it appears in ``buffers()``; ``persistent=False`` keeps it out of ``state_dict``.
    It shares the memory of ``data``, of any shape and type.

    >>> import accelgrad
    >>> module = accelgrad.nn.Module()
    >>> module.mean = Buffer(accelgrad.Tensor([0.0]), persistent=False)
    >>> [name for name, _ in module.named_buffers()], list(module.state_dict())
    (['mean'], [])
    """

    __slots__ = ()

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = empty((0,))
        self = _sharing(cls, data)
        self.__dict__["persistent"] = persistent
        return self


class _Uninitialized:
    """The base of parameters and buffers that have no shape yet."""

    __slots__ = ()
    becomes: type

    def materialize(self, shape: Any, device: Any = None, dtype: DType | None = None) -> None:
        """Become an ordinary parameter or buffer of ``shape``, its values not yet set."""
        me: Any = self
        me.data = empty(shape, device=device or me.device, dtype=dtype or me.dtype)
        me.__class__ = self.becomes

    @property
    def shape(self) -> Any:
        """RuntimeError, since there is no shape yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer."
            " This error usually happens in `load_state_dict` when trying to load an uninitialized parameter"
            " into an initialized module."
            " Call `forward` once to give it a shape."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            me: Any = self
            made: Any = type(self)
            memo[id(self)] = made(me.requires_grad, me.device, me.dtype)
            memo[id(self)].__dict__.update(copy.deepcopy(self.__dict__, memo))
        return memo[id(self)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet; ``materialize`` makes it an ordinary one.

    Lazy layers have them until their first input.  RuntimeError where the shape is asked for.

    >>> weight = UninitializedParameter()
    >>> weight.materialize((2, 3))
    >>> type(weight).__name__, weight.shape
    ('Parameter', accelgrad.Size([2, 3]))
    """

    __slots__ = ()
    becomes = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: DType | None = None) -> Any:
        data = empty((0,), device=device, dtype=dtype)
        return super().__new__(cls, data, requires_grad)


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape is not known yet; ``materialize`` makes it an ordinary tensor.

    RuntimeError where the shape is asked for.

    >>> mean = UninitializedBuffer()
    >>> mean.materialize(3)
    >>> type(mean).__name__, mean.shape
    ('Tensor', accelgrad.Size([3]))
    """

    __slots__ = ()
    becomes = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: DType | None = None) -> Any:
        self = _sharing(cls, empty((0,), device=device, dtype=dtype))
        return self.requires_grad_() if requires_grad else self


def _sharing(cls: type, data: Tensor) -> Any:
    """A leaf of class ``cls`` that shows the memory of ``data``."""
    tensor = wrap(data.array, data.xp)
    tensor.__class__ = cls
    tensor._version = data._version
    return tensor


def empty(shape: Any, *, device: Any = None, dtype: DType | None = None) -> Tensor:
    """A tensor of ``shape`` whose values are not set, from which layers make their parameters."""
    xp = backend.namespace(device)
    kind = dtypes.as_numpy(dtype) if dtype is not None else dtypes.get_default_dtype().numpy
    with xp.scope():
        return wrap(xp.empty(shape, dtype=kind), xp)
