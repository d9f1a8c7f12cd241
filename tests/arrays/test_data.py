"""Data into raw arrays: which type numbers get, and which data is refused."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad
from accelgrad.arrays.backend import CPU
from accelgrad.arrays.data import as_array


def test_data_of_unequal_length_is_refused():
    with pytest.raises(ValueError, match=r"expected sequence of length 2 at dim 1 \(got 1\).*pad_sequence"):
        accelgrad.tensor([[1, 2], [3]])


def test_text_is_refused():
    with pytest.raises(TypeError, match="new\\(\\): invalid data type 'str'"):
        accelgrad.tensor("abc")
    with pytest.raises(TypeError, match=r"can't convert np.ndarray of type numpy.*encode the strings"):
        accelgrad.from_numpy(np.array(["a", "b"]))


def test_big_endian_data_is_read():
    assert accelgrad.tensor(np.array([1.5, 2.0], dtype=">f4")).tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, accelgrad.int64), (1.0, accelgrad.float32), (True, accelgrad.bool),
        ([1, 2.5], accelgrad.float32), ([], accelgrad.float32),
    ],
)  # fmt: skip
def test_types_of_python_data(value, dtype):
    assert accelgrad.tensor(value).dtype is dtype


@pytest.mark.parametrize(
    ("data", "exception", "message"),
    [
        (None, RuntimeError, "Could not infer dtype of NoneType"),
        ([1.0, None], RuntimeError, "Could not infer dtype of NoneType"),
        (object(), RuntimeError, "Could not infer dtype of object; a tensor holds numbers"),
        ([1, 2j], TypeError, "can't convert np.ndarray of type numpy.complex128"),
        (["a", "b"], ValueError, "too many dimensions 'str'; a tensor holds numbers"),
        ([[1, 2], ["a", "b"]], ValueError, "too many dimensions 'str'; a tensor holds numbers"),
        (
            [[1], 2],
            ValueError,
            r"length 1 at dim 1 \(got 0\): element 0 has shape \(1,\), element 1 has \(\)",
        ),
    ],
)
def test_what_is_no_number_is_refused_by_name(data, exception, message):
    with pytest.raises(exception, match=message):
        as_array(data, None, CPU)


@pytest.mark.host
def test_data_is_always_copied():
    array, tensor = np.arange(3.0), accelgrad.ones(3)
    for source, memory in ((array, array), (tensor, tensor.array), (np.float64(1.5), array)):
        made = as_array(source, None, CPU)
        assert type(made) is np.ndarray and not np.shares_memory(made, memory)
        assert made.dtype == memory.dtype


@pytest.mark.host
def test_a_type_that_is_given_decides():
    for data in (
        7,
        [7],
        np.array([7]),
        accelgrad.tensor([7]),
        [accelgrad.tensor(7)],
        [np.int8(7)],
        range(7, 8),
    ):
        made = as_array(data, np.dtype("float16"), CPU)
        assert made.dtype == np.float16 and made.ravel().tolist() == [7]


@pytest.mark.host
def test_numpys_numbers_keep_their_type_alone_and_floats_take_the_default_in_lists():
    assert as_array(np.float64(1), None, CPU).dtype == np.float64
    assert as_array([np.float64(1)], None, CPU).dtype == np.float32
    assert as_array([np.int8(1)], None, CPU).dtype == np.int8


@pytest.mark.host
def test_tensors_within_lists_are_read_and_stacked():
    rows = [accelgrad.ones(2), (3.0, np.float32(4.0))]
    assert as_array(rows, None, CPU).tolist() == [[1, 1], [3, 4]]
    assert as_array([[], []], None, CPU).shape == (2, 0)
