"""The Tensor: an array, whether it needs a gradient, and where it came from; no operation is written here.

A tensor holds ``array`` (NumPy's or CuPy's), ``xp`` (the array module with our kernels) and ``_edge``: the
pair ``(node, slot)`` that says which recorded operation made it, or its own leaf, or None where no gradient
is needed. Views share the ``_version`` counter of the tensor whose memory they show and know by which steps
they were taken from it, so that a change through a view reaches the graph (:mod:`accelgrad.core.primitive`).
``_cut`` is for :func:`accelgrad.explain`: it says at which call the way back for gradients ended, if it did.
Operations hang themselves on this class when they are registered (:mod:`accelgrad.ops.registry`).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.arrays.backend import Device, Namespace
from accelgrad.arrays.data import ArrayHolder, as_array
from accelgrad.arrays.dtypes import dtype
from accelgrad.core import graph, late
from accelgrad.core.modes import enable_grad
from accelgrad.core.printing import tensor_text
from accelgrad.core.size import Size

__all__ = ["Size", "Tensor", "attribute", "method", "wrap"]


Cut = tuple[str, str, Any, Any]
"""Where gradients stopped: the kind of cut, the operation, a weak reference to the node before it, and the
file with the line (the last two None if unknown)."""


@late.open_to_upper_rooms
class Tensor(ArrayHolder):
    """A multi-dimensional array that remembers how it was computed.

    ``Tensor(2, 3)`` makes an uninitialised tensor of that shape, ``Tensor([1, 2])`` one with that data, both
    of the default floating point type, as in PyTorch; :func:`accelgrad.tensor` is the better way to give
    data.

    >>> x = Tensor([1, 2])
    >>> x.shape, x.dtype, x.requires_grad
    (accelgrad.Size([2]), accelgrad.float32, False)
    """

    __slots__ = ("__dict__", "__weakref__", "_cut", "_edge", "_grad", "_version", "_view")

    _cut: Cut | None
    """Where gradients stopped before this tensor, for :func:`accelgrad.explain`."""

    _edge: graph.Edge | None
    """The node that made it and the number of its output; None if no gradient is needed."""

    _grad: Tensor | None
    """The gradient that backward has accumulated."""

    _version: list[int]
    """How often the memory was changed in place: one counter, shared by all views of it."""

    _view: tuple[Tensor, tuple[tuple[Any, dict[str, Any]], ...], int] | None
    """For a view: its base, the steps (primitive, options) from there, and the version when last taken."""

    def __new__(cls, *data: Any, device: Any = None) -> Any:
        xp = backend.namespace(device)
        default = dtypes.get_default_dtype()
        if len(data) == 1 and not isinstance(data[0], int):
            array = as_array(data[0], default.numpy, xp)
            if isinstance(data[0], Size):
                array = xp.empty(tuple(data[0]), dtype=default.numpy)
        else:
            if not all(isinstance(extent, int | np.integer) for extent in data):
                raise TypeError(
                    f"Tensor() takes extents or one sequence of data, got {data!r}; did you mean tensor(...)?"
                )
            array = xp.empty(tuple(int(extent) for extent in data), dtype=default.numpy)
        return _fill(object.__new__(cls), array, xp)

    @classmethod
    def _around(cls, array: Any, xp: Namespace) -> Tensor:
        """Return a tensor of this class around a raw array."""
        return _fill(object.__new__(cls), array, xp)

    # --- what it is

    @property
    def shape(self) -> Size:
        """The extents, one per dimension."""
        return Size(self.array.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    @property
    def dtype(self) -> dtype:
        """The element type."""
        return dtypes.of(self.array.dtype)

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return self.xp.device

    @property
    def is_cuda(self) -> bool:
        """Whether it lives on a card."""
        return self.xp.device.type == "cuda"

    @property
    def layout(self) -> str:
        """Always strided."""
        return "accelgrad.strided"

    def dim(self) -> int:
        """The number of dimensions."""
        return self.array.ndim

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the extent of dimension ``dim``; IndexError for a dimension it has not."""
        if dim is None:
            return self.shape
        if not -self.array.ndim <= dim < self.array.ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-self.array.ndim},"
                f" {self.array.ndim - 1}], but got {dim})"
            )
        return self.array.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.array.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.array.nbytes

    def stride(self, dim: int | None = None) -> Any:
        """Return how many elements of memory lie between neighbours, for each dimension or for ``dim``."""
        steps = tuple(step // self.array.itemsize for step in self.array.strides)
        return steps if dim is None else steps[dim]

    def is_contiguous(self) -> bool:
        """Tell whether the elements lie in memory in the order of their indices, without gaps."""
        return bool(self.array.flags.c_contiguous)

    def data_ptr(self) -> int:
        """Return the address of the first element in memory."""
        return self.array.ctypes.data if isinstance(self.array, np.ndarray) else self.array.data.ptr

    def storage_offset(self) -> int:
        """Return how many elements of the viewed memory lie before the first one of this tensor."""
        base = self.array
        if isinstance(base, np.ndarray):
            while isinstance(base.base, np.ndarray):
                base = base.base
            first = base.ctypes.data
        else:
            first = (self if self._view is None else viewed(self._view[0])).data_ptr()
        return (self.data_ptr() - first) // self.array.itemsize

    def is_floating_point(self) -> bool:
        """Tell whether the elements are floating point numbers."""
        return self.array.dtype.kind in dtypes.FLOATING

    def is_complex(self) -> bool:
        """Return False: there are no complex tensors here."""
        return False

    def is_signed(self) -> bool:
        """Tell whether the element type has negative numbers."""
        return self.array.dtype.kind in "ifV"

    def is_pinned(self) -> bool:
        """Tell whether the memory is page-locked, for fast copies to a card."""
        return backend.is_pinned(self.array)

    # --- autograd

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor; may be set on leaves."""
        return self.edge() is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for a gradient, or no longer, and return the tensor.

        RuntimeError for a tensor of integers, and for False on a tensor that was computed.
        """
        if not requires_grad:
            if self.edge() is not None and not self.is_leaf:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables."
                    " If you want to use a computed variable in a subgraph"
                    " that doesn't require differentiation use var_no_grad = var.detach()."
                )
            self._edge = None
        elif self.edge() is None:
            if not self.is_floating_point():
                raise RuntimeError(
                    "only Tensors of floating point and complex dtype can require gradients;"
                    f" this one is {self.dtype}: convert it with .float() first"
                )
            self._edge = (TensorLeaf(self), 0)
        return self

    def edge(self) -> graph.Edge | None:
        """Return the node that made this tensor and the number of its output; None if no gradient is needed.

        A view whose memory was changed since takes a new edge first.
        """
        view = self._view
        if view is not None and view[2] != self._version[0]:
            chain = view[1]
            base = viewed(view[0])
            if base.edge() is not None:
                # The shared memory was changed since: take the view again, of what is there now.
                with enable_grad():
                    again = base
                    for primitive, options in chain:
                        again = primitive.apply(again, **options)
                self._edge = again._edge
            self._view = (base, chain, self._version[0])
        return self._edge

    @property
    def grad_fn(self) -> graph.Node | None:
        """The recorded operation that made this tensor; None for leaves."""
        edge = self.edge()
        return None if edge is None or edge[0].is_leaf else edge[0]

    @property
    def output_nr(self) -> int:
        """Which output of ``grad_fn`` this is."""
        edge = self.edge()
        return 0 if edge is None else edge[1]

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, or no gradient is needed: no recorded operation computed it."""
        edge = self.edge()
        return edge is None or edge[0].is_leaf

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward has accumulated here; None before the first backward."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value)}"
                )
            if value.shape != self.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of size"
                    f" '{list(self.shape)}'."
                    " Please ensure that the gradient and the tensor are the same size"
                )
            if value.dtype is not self.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{value.dtype.name}' to a tensor"
                    f" with dtype '{self.dtype.name}': convert it with .to(x.dtype)"
                )
            if value.xp is not self.xp:
                raise RuntimeError(
                    f"attempting to assign a gradient with device type '{value.device.type}' to a tensor"
                    f" with device type '{self.device.type}'."
                    " Please ensure that the gradient and the tensor are on the same device"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    @property
    def data(self) -> Tensor:
        """The same memory without any history; autograd does not see changes made through it."""
        result = wrap(self.array, self.xp)
        result._cut = self._cut_here("data")
        return result

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        self.array, self.xp = value.array, value.xp

    def detach(self) -> Tensor:
        """Return a tensor of the same memory that needs no gradient; autograd still sees changes in place.

        >>> import accelgrad
        >>> x = accelgrad.ones(2, requires_grad=True)
        >>> (x * 2).detach().requires_grad
        False
        """
        result = wrap(self.array, self.xp)
        result._version = self._version
        result._cut = self._cut_here("detach")
        return result

    def _cut_here(self, kind: str) -> Cut | None:
        """Return what a tensor that leaves the graph here remembers: the cut, the node, file and line."""
        if self._edge is None:
            return self._cut
        frame = sys._getframe(2)
        return (kind, kind, weakref.ref(self._edge[0]), (frame.f_code.co_filename, frame.f_lineno))

    def detach_(self) -> Tensor:
        """Cut this tensor from the graph that made it; RuntimeError for a view."""
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._cut = self._cut_here("detach_")
        self._edge = None
        return self

    @property
    def _backward_hooks(self) -> dict[int, Any] | None:
        """The hooks on this tensor's gradient, under PyTorch's name; None if there are none."""
        edge = self.edge()
        return None if edge is None or edge[0].hooks is None else edge[0].hooks.get(edge[1])

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> graph.RemovableHandle:
        """Call ``hook(grad)`` whenever the gradient of this tensor has been computed.

        A tensor that the hook returns replaces the gradient; it must have its shape and device.  RuntimeError
        for a tensor that needs no gradient.  The result's ``remove()`` takes the hook away.

        >>> import accelgrad
        >>> x = accelgrad.ones(2, requires_grad=True)
        >>> handle = x.register_hook(lambda grad: grad * 10)
        >>> (x * 2).sum().backward()
        >>> x.grad
        tensor([20., 20.])
        """
        edge = self.edge()
        if edge is None:
            raise RuntimeError(
                "cannot register a hook on a tensor that doesn't require gradient;"
                " set requires_grad=True first"
            )
        xp, shape = self.xp, self.array.shape

        def call(gradient: Any) -> Any:
            given = gradient if isinstance(gradient, Tensor) else wrap(xp.asarray(gradient), xp)
            result = hook(given)
            if result is None:
                return None
            if not isinstance(result, Tensor):
                raise TypeError(f"expected Variable or None from a hook, but got {type(result).__name__}")
            if result.xp is not xp:
                raise RuntimeError(
                    f"hook '{getattr(hook, '__name__', hook)}' has changed the type of value:"
                    f" the gradient is on {xp.device}, but what it returned on {result.device};"
                    f" return it.to('{xp.device}')"
                )
            if result.array.shape != shape:
                raise RuntimeError(
                    f"hook '{getattr(hook, '__name__', hook)}' has changed the size of value:"
                    f" {tuple(result.shape)} instead of {tuple(shape)}"
                )
            return result if gradient is given else result.array

        return graph.RemovableHandle(edge[0].hooks_of(edge[1]), call)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> graph.RemovableHandle:
        """Call ``hook(tensor)`` after a gradient has been added to the ``.grad`` of this leaf."""
        edge = self.edge()
        if edge is None:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not isinstance(edge[0], TensorLeaf):
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return graph.RemovableHandle(edge[0].after, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this result in ``.grad`` too, as leaves do."""
        edge = self.edge()
        if edge is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if edge[0].is_leaf or self.retains_grad:
            return
        holder = weakref.ref(self)

        def keep(gradient: Any) -> None:
            tensor = holder()
            if tensor is not None:
                tensor._grad = (
                    gradient if isinstance(gradient, Tensor) else wrap(tensor.xp.array(gradient), tensor.xp)
                )

        self.__dict__["_retained_at"] = edge
        graph.RemovableHandle(edge[0].hooks_of(edge[1]), keep)

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this result."""
        kept = self.__dict__.get("_retained_at")
        return kept is not None and kept == self.edge()

    def is_inference(self) -> bool:
        """Return False: tensors made in inference mode are ordinary ones here."""
        return False

    @property
    def _base(self) -> Tensor | None:
        """The tensor that this one is a view of, under PyTorch's name; None for a tensor of its own."""
        return None if self._view is None else self._view[0]

    def _is_view(self) -> bool:
        """Tell whether this tensor shares the memory of another one."""
        return self._view is not None

    def __repr__(self) -> str:
        return tensor_text(self)


# --- the leaf, and what else belongs to a Tensor


class TensorLeaf(graph.Leaf):
    """The leaf of one tensor: it keeps the gradient in the tensor's ``.grad``.

    It holds the tensor weakly, and the tensor holds it: so there is no reference cycle.
    """

    __slots__ = ("after", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = weakref.ref(tensor)
        self.after: dict[int, Callable[[Tensor], None]] = {}

    @property
    def variable(self) -> Tensor | None:
        """The tensor, while somebody holds it."""
        return self.tensor()

    def accumulate(self, gradient: Any, owned: bool) -> None:
        tensor = self.tensor()
        if tensor is None:
            return
        held = tensor._grad
        # NumPy's sum of two 0-d arrays is a scalar.
        if isinstance(gradient, np.generic):
            gradient = np.asarray(gradient)
        if isinstance(gradient, Tensor):
            # A gradient that shall be differentiated again is never changed in place.
            tensor._grad = gradient if held is None else held + gradient  # type: ignore[operator]
        elif held is None:
            # The first gradient: kept as it is if nobody else refers to it, else copied.
            if not owned:
                if tensor.xp.alone:
                    gradient = gradient.copy()
                else:
                    with tensor.xp.scope():
                        gradient = gradient.copy()
            tensor._grad = wrap(gradient, tensor.xp)
        elif held._edge is None:
            # A later one: added to the first in place.
            if tensor.xp.alone:
                held.array += gradient
            else:
                with tensor.xp.scope():
                    held.array += gradient
            held._version[0] += 1
        else:
            tensor._grad = held + wrap(gradient, tensor.xp)  # type: ignore[operator]
        for hook in list(self.after.values()):
            hook(tensor)


def viewed(base: Tensor) -> Tensor:
    """Return the tensor whose memory the views of ``base`` show: ``base``, or the one it is a view of itself.

    Views refer to a base, never to another view; only a base that got another shape in place is a view.
    """
    return base if base._view is None else base._view[0]


def _fill(tensor: Tensor, array: Any, xp: Namespace) -> Tensor:
    """Set every field of a new tensor."""
    tensor.array = array
    tensor.xp = xp
    tensor._edge = tensor._grad = tensor._view = tensor._cut = None
    tensor._version = [0]
    return tensor


def wrap(array: Any, xp: Namespace | None = None) -> Tensor:
    """Return a Tensor around a raw array, sharing its memory; ``xp`` is found from the array if not given."""
    tensor = object.__new__(Tensor)
    tensor.array = array
    tensor.xp = xp if xp is not None else backend.of_array(array)
    tensor._edge = tensor._grad = tensor._view = tensor._cut = None
    tensor._version = [0]
    return tensor


def method(function: Any) -> Any:
    """Hang a function on Tensor as the method of its name, and return it.

    ``@method("type")`` gives another name, where the function's own would hide a builtin of its file.
    Operations are hung by ``@op``; this is for everything else that stands in a file of its own.

    >>> @method
    ... def half_of_it(self):
    ...     return self / 2
    >>> import accelgrad
    >>> accelgrad.tensor([4.0]).half_of_it()
    tensor([2.])
    >>> del Tensor.half_of_it
    """
    return _hung(function, lambda it: it)


def attribute(function: Any) -> Any:
    """Hang a function on Tensor as the read-only attribute of its name: ``x.name`` calls it.

    ``@attribute("T")`` gives another name.
    """
    return _hung(function, property)


def _hung(function: Any, form: Callable[[Any], Any]) -> Any:
    """Hang a function in a form, or return the decorator that does so under a name."""
    if isinstance(function, str):

        def decorate(named: Any) -> Any:
            setattr(Tensor, function, form(named))
            return named

        return decorate
    setattr(Tensor, function.__name__, form(function))
    return function
