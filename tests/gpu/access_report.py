"""How the memory accesses of a warp lie beside each other in every CUDA kernel, without a card.

python tests/gpu/access_report.py [NAME]      # only calls of this operation; with the lines of its source

The kernels run on the host under the detector (cupy_on_host), which takes the 32 threads' accesses at one
place in the program for one access of the warp.  Shared memory: turns taken for each access, where 1 is a
warp without a bank conflict (8 and 16 bytes a thread go in two and four parts).  Device memory: sectors of
32 bytes fetched for each sector's worth of different bytes; what a cache holds from before is not counted.
"""

from __future__ import annotations

import collections
import importlib
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
Row = tuple[str, str, str, int, int, int]


def calls(cases: Any) -> Iterator[Any]:
    """One call of ordinary size for every kernel."""
    numbers, integers = cases.numbers, cases.integers
    x, grad, width = numbers(16, 1024), numbers(16, 1024, seed=1), numbers(1024)
    one, target = numbers(16, 1), integers(1024, 16)
    for name in ("softmax", "log_softmax"):
        yield name, (x,), {}
        yield f"{name}_backward", (grad, x), {}
    yield "logsumexp", (x, 1), {}
    yield "softmax_cross_entropy", (x, target), {}
    yield "softmax_cross_entropy_backward", (one.ravel(), x, target, one.ravel()), {}
    yield "layer_norm", (x, width, width, 1e-5), {}
    yield "layer_norm_backward", (grad, x, width, one, one), {}
    images, channel = numbers(8, 16, 28, 28), numbers(16)
    planes = images.reshape(8, 16, -1)
    yield "batch_norm", (planes, channel, channel, 1e-5), {}
    yield "batch_norm_backward", (planes, planes, channel, channel, channel), {}
    for axis in (1, 0):
        for name in ("sum", "max", "vector_norm"):
            yield name, (numbers(64, 1024), *([2] if name == "vector_norm" else [])), {"axis": axis}
        yield "var", (numbers(64, 1024),), {"axis": axis}
    yield "sum", (numbers(8, 32, 64),), {"axis": (0, 2)}
    yield "argmax", (numbers(16, 1024),), {"axis": 1}
    for left in (numbers(256, 64), cases.Transposed(numbers(256, 64))):
        for right in (numbers(64, 256), cases.Transposed(numbers(64, 256))):
            yield "matmul", (left, right), {}
    yield "im2col", (images, 3), {"padding": 1}
    columns = numbers(8, 16 * 9, 28 * 28)
    yield "col2im", (columns, images.shape, 3), {"padding": 1}
    yield "max_pool2d", (images, 2), {}
    places = cases.expected(("max_pool2d", (images, 2), {}))[1]
    yield "max_pool2d_backward", (numbers(8, 16, 14, 14), places, images.shape), {}
    yield "embedding_backward", (numbers(256, 128), integers(97, 256), 97), {}


def measure(wanted: str | None) -> list[Row]:
    """The rows that the detector has counted: kernel, line, memory, accesses, taken, least."""
    sys.path[:0] = [str(HERE / "cupy_on_host"), str(HERE / "compiled"), str(HERE.parent.parent)]
    importlib.import_module("host_cuda").install()
    host: Any = importlib.import_module("kernels_on_host")
    cases: Any = importlib.import_module("cases")
    backend: Any = importlib.import_module("accelgrad.arrays.backend")
    kernels: Any = importlib.import_module("accelgrad.kernels")
    with kernels.use("numba"), host.watched(), host.measured() as found:
        for case in calls(cases):
            if wanted in (None, case[0]):
                cases.results(backend.namespace("gpu"), case)
    if kernels.missing:
        raise RuntimeError(f"kernels that could not be compiled: {kernels.missing}")
    return found


def gathered(rows: Iterable[Row], with_lines: bool) -> dict[tuple[str, ...], dict[str, list[int]]]:
    """Sums of accesses, taken and least for each kernel (and line), by kind of memory."""
    sums: Any = collections.defaultdict(lambda: {"shared": [0, 0, 0], "global": [0, 0, 0]})
    for kernel, line, memory, *numbers in rows:
        total = sums[(kernel, line) if with_lines else (kernel,)][memory]
        for i, number in enumerate(numbers):
            total[i] += number
    return dict(sums)


def main(wanted: str | None) -> None:
    """Print the table."""
    print(f"{'kernel':58}{'shared':>10}{'turns':>8}{'device':>10}{'sectors':>9}")
    for key, of_memory in sorted(gathered(measure(wanted), wanted is not None).items()):
        row = f"{' '.join(key):58}"
        for memory, space in (("shared", 8), ("global", 9)):
            accesses, taken, least = of_memory[memory]
            row += f"{accesses:>10}" + (f"{taken / least:>{space}.2f}" if least else f"{'':>{space}}")
        print(row)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
