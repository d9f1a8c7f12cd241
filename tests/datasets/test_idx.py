"""The IDX format, read and refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from accelgrad.datasets import read_idx
from accelgrad.datasets.idx import DTYPES


def idx(values, code=0x08):
    """The bytes of an IDX file, by the format's definition."""
    head = bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape)
    return head + values.astype(DTYPES[code]).tobytes()


@pytest.mark.parametrize("code", DTYPES)
def test_every_type_of_number_is_read(tmp_path, code):
    values = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "x").write_bytes(idx(values, code))
    result = read_idx(tmp_path / "x")
    assert (result == values).all() and result.dtype.isnative and result.flags.writeable


def test_a_compressed_file_is_read(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(np.arange(5))))
    assert read_idx(tmp_path / "x.gz").tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX head"),
        (b"<htm", "no IDX head"),
        (b"\0\0\x08\x03\0\0", "ends within its head"),
        (idx(np.arange(9))[:-1], "has 16 bytes; its head, shape \\(9,\\), asks for 17"),
        (idx(np.arange(9)) + b"x", "has 18 bytes"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    (tmp_path / "x-idx").write_bytes(content)
    with pytest.raises(RuntimeError, match=rf"x-idx is damaged: .*{message}"):
        read_idx(tmp_path / "x-idx")


def test_a_compressed_file_that_is_cut_off_is_named(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(idx(np.arange(200)))[:-20])
    with pytest.raises(RuntimeError, match=r"x\.gz is damaged"):
        read_idx(tmp_path / "x.gz")


def test_a_file_that_is_not_compressed_in_spite_of_its_name_is_named(tmp_path):
    (tmp_path / "x.gz").write_bytes(idx(np.arange(5)))
    with pytest.raises(RuntimeError, match=r"x\.gz is damaged: Not a gzipped file"):
        read_idx(tmp_path / "x.gz")


def test_a_bomb_is_not_unpacked_to_its_end(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(1_000_000)))
    with pytest.raises(RuntimeError, match="unpacks to more than 1,000 bytes"):
        read_idx(tmp_path / "x.gz", max_bytes=1000)


def test_an_enormous_shape_in_the_head_allocates_nothing(tmp_path):
    (tmp_path / "x").write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", *[2**32 - 1] * 3))
    with pytest.raises(RuntimeError, match="asks for"):
        read_idx(tmp_path / "x")
