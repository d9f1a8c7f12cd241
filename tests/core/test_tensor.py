"""The Tensor as an object: what it is, how it meets Python and NumPy, copies and pickles."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import accelgrad as ag


def test_shape_and_kin():
    x = ag.zeros(2, 3, dtype=ag.float64)
    assert x.shape == (2, 3) and x.size() == (2, 3) and x.size(-1) == 3 and x.dim() == 2
    assert repr(x.shape) == "accelgrad.Size([2, 3])"
    assert x.numel() == 6 and x.element_size() == 8 and x.nbytes == 48 and x.stride() == (3, 1)
    assert x.T.stride() == (1, 3) and not x.T.is_contiguous()
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.size(2)


@pytest.mark.host
def test_from_numpy_shares_memory_and_tensor_copies():
    array = np.arange(3.0)
    shared, copied = ag.from_numpy(array), ag.tensor(array)
    array[0] = 7
    assert shared[0].item() == 7 and copied[0].item() == 0
    shared[1] = 9.0
    assert array[1] == 9


@pytest.mark.parametrize(
    ("left", "right", "dtype"),
    [
        (ag.ones(2, dtype=ag.int32), 1.5, ag.float32),
        (ag.ones(2, dtype=ag.float16), 1.5, ag.float16),
        (ag.ones(2, dtype=ag.int8), ag.tensor(1, dtype=ag.int64), ag.int8),
        (ag.ones(2, dtype=ag.int8), ag.ones(2, dtype=ag.uint8), ag.int16),
        (ag.ones(2, dtype=ag.int64), ag.ones(2, dtype=ag.float16), ag.float16),
        (ag.ones(2, dtype=ag.float32), ag.tensor(1.0, dtype=ag.float64), ag.float32),
        (ag.ones(2, dtype=ag.bool), 1, ag.int64),
        (ag.tensor(1.0, dtype=ag.float64), ag.tensor(1.0), ag.float64),
    ],
)
def test_promotion_is_pytorchs(left, right, dtype):
    assert (left + right).dtype is dtype
    assert (right + left).dtype is dtype


def test_uint8_wraps_around():
    assert (ag.tensor([250], dtype=ag.uint8) + 10).tolist() == [4]
    assert (ag.tensor([1], dtype=ag.uint8) - 2).tolist() == [255]


def test_numbers_out_of_a_tensor():
    assert float(ag.tensor([2.5])) == 2.5 and int(ag.tensor(3)) == 3 and [10, 20][ag.tensor(1)] == 20
    assert bool(ag.tensor([0.0])) is False
    with pytest.raises(RuntimeError, match="Boolean value of Tensor with more than one value is ambiguous"):
        bool(ag.ones(2))
    with pytest.raises(RuntimeError, match="a Tensor with 2 elements cannot be converted to Scalar"):
        ag.ones(2).item()
    with pytest.raises(
        TypeError, match="only integer tensors of a single element can be converted to an index"
    ):
        [1, 2][ag.tensor(1.0)]
    assert f"{ag.tensor(0.12345):.2f}" == "0.12"


def test_iteration_and_length():
    assert [row.tolist() for row in ag.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    assert len(ag.zeros(3, 2)) == 3
    assert 2 in ag.tensor([1, 2]) and 5 not in ag.tensor([1, 2])
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(ag.tensor(1))
    with pytest.raises(TypeError, match="len\\(\\) of a 0-d tensor"):
        len(ag.tensor(1))


def test_numpy_of_a_tensor_that_needs_a_gradient():
    x = ag.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        x.numpy()
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(x)
    assert x.numpy(force=True).tolist() == [1, 1]


@pytest.mark.host
def test_an_array_and_a_tensor_add_up_and_keep_the_gradient():
    x = ag.ones(2, dtype=ag.float64, requires_grad=True)
    y = np.array([2.0, 3.0]) * x + np.ones(2)
    assert isinstance(y, ag.Tensor)
    np.exp(y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [2 * np.exp(3), 3 * np.exp(4)])


def test_a_numpy_function_without_counterpart_says_so():
    with pytest.raises(TypeError, match=r"numpy.* does not work on Tensors; use accelgrad's functions"):
        np.fft.fft(ag.ones(4))


def test_deepcopy_copies_leaves_only():
    x = ag.ones(2, requires_grad=True)
    x.note = "mine"
    (x * 2).sum().backward()
    y = copy.deepcopy(x)
    assert y.requires_grad and y.is_leaf and y.grad.tolist() == [2, 2] and y.note == "mine"
    assert y.data_ptr() != x.data_ptr() and y.grad is not x.grad
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_pickle_keeps_values_types_and_requires_grad():
    x = ag.tensor([1, 2], dtype=ag.int16)
    y = ag.tensor([1.5], requires_grad=True)
    again_x, again_y = pickle.loads(pickle.dumps((x, y)))
    assert again_x.tolist() == [1, 2] and again_x.dtype is ag.int16
    assert again_y.requires_grad and again_y.item() == 1.5
    assert pickle.loads(pickle.dumps(ag.float32)) is ag.float32
    assert pickle.loads(pickle.dumps(ag.device("gpu:1"))) == ag.device("cuda", 1)


def test_a_gradient_must_fit_its_tensor():
    x = ag.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="attempting to assign a gradient of size"):
        x.grad = ag.ones(3)
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None"):
        x.grad = 3.0


def test_lists_are_not_taken_for_tensors():
    with pytest.raises(TypeError, match=r"must be Tensor, not list"):
        ag.exp([1.0, 2.0])
    with pytest.raises(TypeError):
        ag.ones(2) + "a"


def test_setting_data_keeps_the_tensor():
    x = ag.ones(2, requires_grad=True)
    x.data = ag.zeros(2)
    assert x.tolist() == [0, 0] and x.requires_grad
    x.data.add_(1)
    assert x.tolist() == [1, 1]
