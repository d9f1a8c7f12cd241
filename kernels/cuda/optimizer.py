"""The steps of SGD and Adam for all parameters in one launch: a table of addresses tells each block where
it works.
"""

from __future__ import annotations

import functools
import math
import sys
from typing import Any

import numpy as np
from accelgrad.kernels.cuda.launch import SIMULATED, Program, cuda, cuda_kernel, on_card
from numba import types

__all__ = ["adam_step", "sgd_step"]

# Elements that one block of THREADS threads takes care of.
CHUNK = 4096
THREADS = 256

if SIMULATED:
    import ctypes

    _C_TYPES = {32: ctypes.c_float, 64: ctypes.c_double}

    def at_address(T: Any) -> tuple[Any, Any]:
        """How to read and write the number at an address."""
        number = _C_TYPES[T.bitwidth]

        def read(address: Any, index: Any) -> Any:
            return np.dtype(number).type(
                number.from_address(int(address) + int(index) * (T.bitwidth // 8)).value
            )

        def write(address: Any, index: Any, value: Any) -> None:
            number.from_address(int(address) + int(index) * (T.bitwidth // 8)).value = float(value)

        return read, write

else:
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    @functools.cache
    def at_address(T: Any) -> tuple[Any, Any]:
        """How to read and write the number at an address."""
        llvm_type = ir.FloatType() if T.bitwidth == 32 else ir.DoubleType()

        def place(builder: Any, args: Any) -> Any:
            return builder.gep(builder.inttoptr(args[0], llvm_type.as_pointer()), [args[1]])

        @intrinsic
        def read(typingctx: Any, address: Any, index: Any) -> Any:
            def generate(cg: Any, builder: Any, signature: Any, args: Any) -> Any:
                return builder.load(place(builder, args))

            return T(types.int64, types.int64), generate

        @intrinsic
        def write(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
            def generate(cg: Any, builder: Any, signature: Any, args: Any) -> Any:
                builder.store(args[2], place(builder, args))
                return cg.get_dummy_value()

            return types.void(types.int64, types.int64, T), generate

        return read, write


def sgd_all(T: Any) -> Any:
    """One step for every element: table rows are parameter, gradient, buffer, size, first step or not."""
    read, write = at_address(T)
    ONE = T(1)

    def kernel(table, blocks, lr, momentum, dampening, decay, nesterov, maximize):
        entry = blocks[cuda.blockIdx.x * 2] * 5
        low = blocks[cuda.blockIdx.x * 2 + 1]
        param, grad, buffer = table[entry], table[entry + 1], table[entry + 2]
        high = min(low + CHUNK, table[entry + 3])
        first = table[entry + 4]
        i = low + cuda.threadIdx.x
        while i < high:
            g, p = read(grad, i), read(param, i)
            if maximize:
                g = -g
            g += decay * p
            if buffer != 0:
                b = g if first else momentum * read(buffer, i) + (ONE - dampening) * g
                write(buffer, i, b)
                g = g + momentum * b if nesterov else b
            write(param, i, p - lr * g)
            i += cuda.blockDim.x

    return kernel


def adam_all(T: Any) -> Any:
    """One step for every element; ``corrections`` has 1 - beta1^t and sqrt(1 - beta2^t) of every
    parameter.
    """
    read, write = at_address(T)
    ONE = T(1)

    def kernel(table, blocks, corrections, lr, beta1, beta2, eps, decay, decoupled, maximize):
        which = blocks[cuda.blockIdx.x * 2]
        low = blocks[cuda.blockIdx.x * 2 + 1]
        entry = which * 6
        param, grad, first, second = table[entry], table[entry + 1], table[entry + 2], table[entry + 3]
        largest = table[entry + 4]
        high = min(low + CHUNK, table[entry + 5])
        scale, root = lr / corrections[which * 2], corrections[which * 2 + 1]
        i = low + cuda.threadIdx.x
        while i < high:
            g, p = read(grad, i), read(param, i)
            if maximize:
                g = -g
            if decoupled:
                p *= ONE - lr * decay
            else:
                g += decay * p
            m = beta1 * read(first, i) + (ONE - beta1) * g
            v = beta2 * read(second, i) + (ONE - beta2) * g * g
            write(first, i, m)
            write(second, i, v)
            if largest != 0:
                v = max(read(largest, i), v)
                write(largest, i, v)
            write(param, i, p - scale * m / (math.sqrt(v) / root + eps))
            i += cuda.blockDim.x

    return kernel


SGD = Program(sgd_all, "LLttttii")
ADAM = Program(adam_all, "LLPtttttii")


def upload(values: Any, dtype: Any) -> Any:
    """A small table on the card."""
    module = np if SIMULATED else sys.modules["cupy"]
    return module.asarray(np.asarray(values, dtype))


@functools.lru_cache(maxsize=64)
def table_of(addresses: tuple[int, ...], device: int) -> Any:
    """The table of addresses on the card: the same one as in the last step, as long as memory is used
    again.
    """
    return upload(addresses, np.int64)


@functools.lru_cache(maxsize=64)
def blocks_of(sizes: tuple[int, ...], device: int) -> tuple[Any, int]:
    """For every block the parameter and the element that it begins with, and how many blocks there are."""
    pairs = [(which, low) for which, size in enumerate(sizes) for low in range(0, size, CHUNK)]
    return upload(pairs, np.int64), len(pairs)


def address(x: Any) -> int:
    return 0 if x is None else x.ctypes.data if SIMULATED else x.data.ptr


def device_of(x: Any) -> int:
    return 0 if SIMULATED else x.device.id


def arrays_accepted(params: Any, *groups: Any) -> bool:
    """Float32 or float64 arrays of one type, in index order, each beside others of its own shape."""
    if not params or any(len(group) != len(params) for group in groups):
        return False
    char = params[0].dtype.char
    for p, *others in zip(params, *groups, strict=True):
        present = [one for one in others if one is not None]
        if p.dtype.char != char or not on_card(p, *present) or any(one.shape != p.shape for one in present):
            return False
    return True


def sgd_accepts(
    params: Any,
    grads: Any,
    momentum_buffers: Any,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> bool:
    groups = [momentum_buffers] if momentum_buffers is not None and momentum else []
    return arrays_accepted(params, grads, *groups)


@cuda_kernel("sgd_step", accepts=sgd_accepts)
def sgd_step(
    params: Any,
    grads: Any,
    momentum_buffers: Any,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> None:
    """One step of gradient descent on every parameter, in place.

    for every parameter:  for i:  g = grad[i] + decay p[i];  b[i] = momentum b[i] + (1 - dampening) g;
    p[i] -= lr b[i]
    """
    SGD.prepare(params[0].dtype.char)
    buffers = momentum_buffers if momentum and momentum_buffers is not None else [None] * len(params)
    table: list[int] = []
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        first = buffers[i] is None
        if first and buffers is momentum_buffers:
            buffers[i] = param.copy()
        table += (address(param), address(grad), address(buffers[i]), param.size, first)
    device = device_of(params[0])
    blocks, count = blocks_of(tuple([param.size for param in params]), device)
    SGD(
        *(count, THREADS, params[0].dtype.char, table_of(tuple(table), device), blocks),
        *(lr, momentum, dampening, weight_decay, nesterov, maximize),
    )


def adam_accepts(
    params: Any,
    grads: Any,
    exp_avgs: Any,
    exp_avg_sqs: Any,
    steps: Any,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
    max_exp_avg_sqs: Any = None,
) -> bool:
    groups = [grads, exp_avgs, exp_avg_sqs] + ([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])
    return arrays_accepted(params, *groups) and all(isinstance(t, int | float) for t in steps)


@cuda_kernel("adam_step", accepts=adam_accepts)
def adam_step(
    params: Any,
    grads: Any,
    exp_avgs: Any,
    exp_avg_sqs: Any,
    steps: Any,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
    maximize: bool = False,
    max_exp_avg_sqs: Any = None,
) -> None:
    """One step of Adam on every parameter, in place.

    for every parameter:  for i:  m[i] = beta1 m[i] + (1 - beta1) g;  v[i] = beta2 v[i] + (1 - beta2) g^2
                                  p[i] -= lr / (1 - beta1^t) m[i] / (sqrt(v[i]) / sqrt(1 - beta2^t) + eps)
    """
    largest = max_exp_avg_sqs or [None] * len(params)
    table: list[int] = []
    for group in zip(params, grads, exp_avgs, exp_avg_sqs, largest, strict=True):
        table += [address(one) for one in group]
        table.append(group[0].size)
    device = device_of(params[0])
    blocks, count = blocks_of(tuple([param.size for param in params]), device)
    corrections = upload([(1 - beta1**t, math.sqrt(1 - beta2**t)) for t in steps], params[0].dtype)
    ADAM(
        *(count, THREADS, params[0].dtype.char, table_of(tuple(table), device), blocks, corrections),
        *(lr, beta1, beta2, eps, weight_decay, decoupled, maximize),
    )
