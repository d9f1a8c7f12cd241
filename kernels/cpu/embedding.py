"""The gradient of a table of embeddings: rows added up by their index.

    for k in the indices:  for j in columns:  table[index[k], j] += grad[k, j]

The columns are shared out among the threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelgrad.kernels import kernel
from accelgrad.kernels.cpu.compile import jit
from accelgrad.kernels.cpu.softmax import plain_float, whole_numbers
from accelgrad.kernels.cpu.threads import parallel

__all__ = ["embedding_backward"]

PARALLEL = 1 << 18  # elements of the gradient from which a second thread pays


@jit()
def add_rows(start, stop, grad, indices, table, bad):
    for k in range(indices.size):
        index = indices[k]
        if index < 0 or index >= len(table):
            bad[0] = 1
            return
        row, piece = table[index, start:stop], grad[k, start:stop]
        for j in range(row.size):
            row[j] += piece[j]


def accepts(grad: Any, indices: Any, rows: Any) -> bool:
    """grad (n, d) contiguous, indices (n,) int64."""
    return (
        plain_float(grad) and grad.ndim == 2 and whole_numbers(indices, len(grad)) and isinstance(rows, int)
    )


@kernel("embedding_backward", "cpu", accepts=accepts)
def embedding_backward(grad: np.ndarray, indices: np.ndarray, rows: int) -> Any:
    """(rows, d); declined if an index is not a row.

    Repeated rows are added in the order of their indices.
    """
    table, bad = np.zeros((rows, grad.shape[1]), grad.dtype), np.zeros(1, np.int64)
    parallel(add_rows, grad.shape[1], grad, indices, table, bad, wide=grad.size >= PARALLEL, grain=16)
    return NotImplemented if bad[0] else table
