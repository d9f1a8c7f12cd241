"""IDX, the file format of MNIST: a header of four bytes, the extents, then the numbers, big-endian."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_idx"]

# The third byte of the file says what the numbers are.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

MAX_BYTES = 1 << 30


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> NDArray[Any]:
    """Read the array in an IDX file, compressed (``.gz``) or not.

    The format: two zero bytes, a code for the dtype, the number of dimensions, one big-endian int32 for each
    extent, the values in C order (http://yann.lecun.com/exdb/mnist/).  At most ``max_bytes`` are unpacked.
    The array has the extents' shape, and the file's dtype in native byte order.

    Errors: FileNotFoundError; RuntimeError, naming the file, where it is cut off, too long or in another
    format.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as stream:
            content = stream.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from error
    if len(content) > max_bytes:
        raise _damaged(path, f"it unpacks to more than {max_bytes:,} bytes")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES:
        raise _damaged(path, f"it starts with {content[:4]!r}, which is no IDX head")
    dtype, dims = np.dtype(DTYPES[content[2]]), content[3]
    start = 4 + 4 * dims
    if len(content) < start:
        raise _damaged(path, "it ends within its head")
    shape = tuple(np.frombuffer(content, ">u4", count=dims, offset=4).tolist())
    wanted = start + math.prod(shape) * dtype.itemsize
    if len(content) != wanted:
        raise _damaged(path, f"it has {len(content):,} bytes; its head, shape {shape}, asks for {wanted:,}")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)  # the extents of the header
    return values.astype(dtype.newbyteorder("="))


def _damaged(path: Path, why: str) -> RuntimeError:
    """Return the error for a damaged file."""
    return RuntimeError(f"{path} is damaged: {why}. It was left as it is; delete it, and it is fetched again")
