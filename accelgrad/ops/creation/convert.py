"""Changing dtype, device and memory layout: to, clone, contiguous, cpu, float and others."""

from __future__ import annotations

from typing import Any

from accelgrad.arrays import backend, dtypes, gpu
from accelgrad.arrays.dtypes import dtype
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor, method, wrap
from accelgrad.ops.registry import arg, op, sample

__all__ = ["clone", "contiguous", "to"]


class Cast(Primitive):
    """y = x in another element type;  dL/dx = dL/dy in the type of x."""

    exact = True

    @staticmethod
    def forward(ctx, x, *, kind):
        ctx.source = x.dtype
        return ctx.xp.rounded(x, kind)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.astype(grad, ctx.source)


class Clone(Primitive):
    """y = a copy of x;  dL/dx = dL/dy."""

    exact = True

    @staticmethod
    def forward(ctx, x, *, order: str = "K"):
        return x.copy(order=order)

    @staticmethod
    def backward(ctx, grad):
        return grad


class ToDevice(Primitive):
    """y = x in the memory of another device;  dL/dx = dL/dy, moved back."""

    exact = True

    @staticmethod
    def forward(ctx, x, *, source, target, wait: bool = True):
        ctx.source, ctx.target = source, target
        ctx.xp = target
        if source.asynchronous and target.asynchronous:
            return target.from_card(x, source)
        return target.from_host(source.to_host(x), wait)

    @staticmethod
    def backward(ctx, grad):
        return ctx.xp.run(ToDevice, grad, source=ctx.target, target=ctx.source)

    @classmethod
    def apply(cls, *inputs: Any, **options: Any) -> Any:
        """Apply the primitive, and let the result belong to the other device."""
        result = super().apply(*inputs, **options)
        result.xp = options["target"]
        return result


def move(input: Tensor, where: Any, wait: bool = True) -> Tensor:
    """Return ``input`` on another device, or itself if it is there already.

    With ``wait=False`` a card copies page-locked memory while the program goes on.
    """
    target = backend.namespace(where)
    if target is input.xp:
        return input
    return ToDevice.apply(input, source=input.xp, target=target, wait=wait)


@op(
    primitive=Cast,
    samples=[
        sample(arg(2, 3, requires_grad=False), dtypes.float32),
        sample(arg(3), dtypes.float64),
        sample(arg(requires_grad=False), dtypes.float16),
    ],
    out=False,
    torch="Tensor.to",
)
def to(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the tensor on another device or in another dtype, or itself if neither changes.

    The forms are ``x.to("gpu")``, ``x.to(accelgrad.float64)``, both together, and ``x.to(other)`` with a
    tensor whose device and dtype are taken.  ``copy=True`` always copies.  ``non_blocking=True`` lets a card
    copy page-locked memory (:meth:`Tensor.pin_memory`) while the program goes on: do not write into that
    memory before ``accelgrad.cuda.synchronize()``.  Gradients come back in the original dtype, on the
    original device.

    >>> import accelgrad
    >>> accelgrad.tensor([1, 2]).to(accelgrad.float32)
    tensor([1., 2.])
    """
    where = kwargs.pop("device", None)
    kind = kwargs.pop("dtype", None)
    copy = kwargs.pop("copy", False)
    wait = not kwargs.pop("non_blocking", False)
    kwargs.pop("memory_format", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument {next(iter(kwargs))!r}")
    flags: list[bool] = []  # by position: non_blocking, then copy
    for one in args:
        if isinstance(one, Tensor):
            where, kind = one.device, one.dtype
        elif isinstance(one, dtype):
            kind = one
        elif isinstance(one, bool):
            flags.append(one)
        elif one is None:
            continue
        elif isinstance(one, str | int | backend.Device):
            where = one
        else:
            kind = dtypes.as_dtype(one)
    if flags:
        wait, copy = not flags[0], copy or flags[1:2] == [True]
    result = input
    if kind is not None and dtypes.as_numpy(kind) != result.array.dtype:
        result = Cast.apply(result, kind=dtypes.as_numpy(kind))
    if where is not None:
        result = move(result, where, wait)
    return clone(result) if copy and result is input else result


@op(
    primitive=Clone,
    reference=lambda x: x.copy(),
    samples=[sample(arg(2, 3)), sample(arg()), sample(arg(0, 3))],
    out=False,
)
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy with memory of its own, through which gradients flow.

    >>> import accelgrad
    >>> x = accelgrad.ones(2)
    >>> y = x.clone().fill_(3.0)
    >>> x
    tensor([1., 1.])
    """
    return Clone.apply(input)


@op(primitive=Clone, samples=[sample(arg(2, 3))], out=False, torch="Tensor.contiguous")
def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor with its elements in index order in memory, or itself if they are already.

    >>> import accelgrad
    >>> accelgrad.ones(2, 3).T.contiguous().is_contiguous()
    True
    """
    return input if input.is_contiguous() else Clone.apply(input, order="C")


def _typed(name: str, kind: dtype) -> Any:
    """Make the method ``name`` that converts a tensor to the dtype ``kind``."""

    def convert(self: Tensor) -> Tensor:
        return self.to(kind)

    convert.__name__ = name
    convert.__doc__ = f"Return the tensor as {kind!r}, or itself if it has that dtype already."
    return convert


for _name, _kind in {
    "bool": dtypes.bool, "byte": dtypes.uint8, "char": dtypes.int8, "short": dtypes.int16,
    "int": dtypes.int32, "long": dtypes.int64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16,
    "float": dtypes.float32, "double": dtypes.float64,
}.items():  # fmt: skip
    method(_name)(_typed(_name, _kind))


@method("cpu")
def _cpu(self: Tensor) -> Tensor:
    """Return the tensor in the memory of the CPU, or itself if it is there already.

    >>> import accelgrad
    >>> accelgrad.ones(2).cpu()
    tensor([1., 1.])
    """
    return move(self, "cpu")


@method("get_device")
def _get_device(self: Tensor) -> int:
    """Return the index of the card that the tensor lies on, or -1 for the CPU.

    >>> import accelgrad
    >>> accelgrad.ones(1).get_device()
    -1
    """
    return int(self.device.index or 0) if self.is_cuda else -1


@method("cuda")
def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """Return the tensor on the card ``device``, or on the current card if none is named.

    ``non_blocking`` is that of :func:`to`.  RuntimeError if there is no card.
    """
    return move(self, "cuda" if device is None else device, not non_blocking)


@method("pin_memory")
def _pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """Return a copy in page-locked memory, from which a card can copy while the program goes on.

    It is the tensor itself if that is pinned already, or if there is no card.  RuntimeError for a tensor on a
    card.

    >>> import accelgrad
    >>> accelgrad.ones(2).pin_memory()
    tensor([1., 1.])
    """
    if self.is_cuda:
        raise RuntimeError(
            f"cannot pin 'accelgrad.cuda.{self.dtype.title}': only dense CPU tensors can be pinned;"
            f" this one is on {self.device} already"
        )
    if self.is_pinned() or not gpu.status().ok:
        return self
    return wrap(backend.pin(self.array), self.xp)


@method("record_stream")
def _record_stream(self: Tensor, stream: Any) -> None:
    """Tell the memory pool that ``stream`` (an :class:`accelgrad.cuda.Stream`) uses the tensor too.

    Its memory is not given to another tensor before that stream has done the work it has now.  This is needed
    where a tensor is made in one stream and used in another.  RuntimeError for a tensor on the CPU.
    """
    if not self.is_cuda:
        raise RuntimeError(
            f"record_stream is for tensors on a card, this one is on {self.device}:"
            " memory of the host is never waited for"
        )
    self.xp.hold(self.array, stream.cupy)


@method("type")
def _type(self: Tensor, dtype: Any = None) -> Any:
    """Return the name of the tensor's type, or the tensor in another dtype if one is given.

    >>> import accelgrad
    >>> accelgrad.ones(2).type()
    'accelgrad.FloatTensor'
    >>> accelgrad.ones(2).type(accelgrad.int64)
    tensor([1, 1])
    """
    if dtype is None:
        return f"accelgrad.{'cuda.' if self.is_cuda else ''}{self.dtype.title}"
    if isinstance(dtype, str):
        title = dtype.rpartition(".")[2]
        for one in dtypes.ALL:
            if one.title == title:
                return self.to(one)
    return self.to(getattr(dtype, "dtype", dtype))


@method("type_as")
def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor in the dtype and on the device of ``other``.

    >>> import accelgrad
    >>> accelgrad.ones(2).type_as(accelgrad.tensor([3]))
    tensor([1, 1])
    """
    return self.to(other)
