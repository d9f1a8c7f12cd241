"""The gradient of an embedding table: rows added up by their index, the same result every time."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels.cuda.launch import Program, array_module, cuda, cuda_kernel, on_card

__all__ = ["embedding_backward"]

COLUMNS = 128


def segment_sums(T: Any) -> Any:
    """A block stands at each place of the sorted indices; the one at the start of a run sums the run.

    Atomic additions would be shorter, but their order is another one each time.  An index that is no row
    adds nothing: there the card would write somewhere else.
    """
    ZERO = T(0)

    def kernel(grad, order, sorted_indices, table, n, width, rows):
        first = cuda.blockIdx.x
        row = sorted_indices[first]
        if 0 <= row < rows and (first == 0 or sorted_indices[first - 1] != row):
            j = cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x
            if j < width:
                total = ZERO
                i = first
                while i < n and sorted_indices[i] == row:
                    total += grad[order[i] * width + j]
                    i += 1
                table[row * width + j] = total

    return kernel


SEGMENTS = Program(segment_sums, "PLLPiii")


def accepts(grad: Any, indices: Any, rows: int) -> bool:
    return (
        grad.ndim == 2
        and grad.size > 0
        and on_card(grad)
        and hasattr(indices, "shape")
        and indices.shape == grad.shape[:1]
        and indices.dtype == np.int64
    )


@cuda_kernel("embedding_backward", accepts=accepts)
def embedding_backward(grad: Any, indices: Any, rows: int) -> Any:
    """``table[indices[i]] += grad[i]``: grad (n, d), indices (n,) in 0 ... rows - 1; (rows, d).

    for i in sorted order of the indices:  for j:  table[indices[i], j] += grad[i, j]
    """
    module = array_module()
    n, width = grad.shape
    order = module.argsort(indices, kind="stable")
    table = module.zeros((rows, width), dtype=grad.dtype)
    threads = min(COLUMNS, -(-width // 32) * 32)
    grid = (n, -(-width // threads))
    if grid[1] > 65535:
        return NotImplemented
    SEGMENTS(grid, threads, grad.dtype.char, grad, order, indices[order], table, n, width, rows)
    return table
