"""Indexing and assignment: every form of index, changes through views, gradients, messages."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad

INDICES = [
    0,
    -1,
    slice(None),
    slice(1, 3),
    slice(None, None, 2),
    slice(5, 2),
    None,
    Ellipsis,
    True,
    False,
    (0, 1),
    (slice(None), 1),
    (Ellipsis, 0),
    (None, 0),
    (0, Ellipsis, None),
    (slice(1, 2), slice(None), -1),
    (0, 1, 2),
    [0, 2],
    [[0, 1], [1, 0]],
    np.array([2, 0]),
    np.int64(1),
    (np.array([0, 2]), np.array([1, 0])),
    (np.array([[0], [2]]), np.array([0, 1])),
    (slice(None), np.array([1, 0])),
    (np.array([0, 1]), slice(None), np.array([2, 0])),
    (0, slice(None), np.array([2, 0])),
    (np.array([0, 1]), 1, slice(None), None),
    (np.array([True, False, True]),),
    (slice(None), np.array([True, False])),
    (np.ones((3, 2), bool),),
    (np.array([0, 1]), np.array([True, True])),
    (np.array(1), slice(None)),
    (Ellipsis, np.array([0, 1])),
    (True, np.array([0, 1])),
    np.array(True),
    (),
    [],
    np.zeros((0,), np.int64),
    (None, np.array([1, 1, 1]), None),
    (range(2)),
    [True, False, True],
]


def show(index: Any) -> str:
    return repr(index).replace("\n", "").replace(" ", "")[:60]


def convert(index: Any, make: Any) -> Any:
    """The index with its NumPy arrays as tensors of one library."""
    if isinstance(index, tuple):
        return tuple(convert(part, make) for part in index)
    return make(index) if isinstance(index, np.ndarray) else index


def both(program: Any, *arrays: np.ndarray) -> None:
    """Run ``program(library, *tensors)`` with PyTorch and with accelgrad: equal results, equal gradients."""
    torch = pytest.importorskip("torch")
    results = []
    for library in (torch, accelgrad):
        tensors = [library.tensor(one, requires_grad=one.dtype.kind == "f") for one in arrays]
        result = program(library, *tensors)
        weights = np.random.default_rng(0).standard_normal(tuple(result.shape))
        (result * library.tensor(weights)).sum().backward()
        results.append([result, *[one.grad for one in tensors if one.requires_grad]])
    for theirs, ours in zip(*results, strict=True):
        if theirs is None or ours is None:  # no gradient and a gradient of zeros mean the same
            assert all(one is None or not one.any() for one in (theirs, ours))
        else:
            assert tuple(ours.shape) == tuple(theirs.shape)
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)


X = np.arange(24.0).reshape(3, 2, 4)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own words about lists of lists
@pytest.mark.parametrize("index", INDICES, ids=show)
def test_reading_by_an_index_equals_pytorch_with_gradient(index: Any) -> None:
    both(lambda lib, x: x[convert(index, lib.tensor)] * 1, X)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("index", INDICES, ids=show)
def test_writing_by_an_index_equals_pytorch_with_gradient(index: Any) -> None:
    def program(lib: Any, x: Any, v: Any) -> Any:
        y = x * 2
        chosen = convert(index, lib.tensor)
        y[chosen] = v
        y[chosen] = y[chosen].clone() * v
        return y

    both(program, X, np.array(1.5))


@pytest.mark.parametrize("index", INDICES, ids=show)
def test_writing_a_number_without_gradient_equals_numpy_on_the_same_index(index: Any) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = torch.tensor(X), accelgrad.tensor(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs[convert(index, torch.tensor)] = 7
    before = ours._version[0]
    ours[convert(index, accelgrad.tensor)] = 7
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert ours._version[0] > before


def test_changes_through_views_reach_the_base_and_its_gradient() -> None:
    def program(lib: Any, x: Any, v: Any) -> Any:
        y = x * 1
        y[0] += v
        y.view(-1)[3:5].mul_(v)
        y[1:].transpose(1, 2)[0, 2] = v * 3
        y.select(1, 1).add_(1)
        y.narrow(2, 0, 2).mul_(2)
        y.permute(2, 0, 1)[1][2].sub_(v)
        y.select(0, 2).narrow(1, 0, 2).pow_(2)
        y[0].diagonal().add_(v)
        mask = y.detach() > 20
        y[mask] += v
        y[mask] = y[mask].clone() * v
        return y

    both(program, X, np.array(1.5))


def test_parts_of_split_and_unbind_can_be_changed() -> None:
    x = accelgrad.tensor(X, requires_grad=True)
    y = x * 1
    y.split(2, dim=2)[1].mul_(2)
    y.unbind(1)[0].mul_(3)
    y.chunk(3)[2].zero_()
    factors = np.ones_like(X)
    factors[:, :, 2:] *= 2
    factors[:, 0] *= 3
    factors[2] = 0
    np.testing.assert_array_equal(y.detach().numpy(), X * factors)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), factors)


def test_a_view_taken_before_a_change_of_its_base_sees_the_change_and_its_gradient() -> None:
    def program(lib: Any, x: Any, v: Any) -> Any:
        y = x * 1
        row = y[1]
        y.mul_(v)
        row.add_(1)
        y[1, 0] = v
        return row * row

    both(program, X, np.array(1.5))


def test_transposed_views_can_be_changed() -> None:
    def program(lib: Any, x: Any) -> Any:
        y = x * 1
        y[0].T[1].mul_(2)
        y[1].mT[0] = 0
        y.flatten()[5:7].zero_()
        y.unsqueeze(0).squeeze()[2].fill_(4)
        return y

    both(program, X)


def test_an_element_named_twice_gathers_both_gradients() -> None:
    def program(lib: Any, x: Any) -> Any:
        rows = lib.tensor([0, 2, 0, 0])
        return x[rows] + x[rows, rows - rows].unsqueeze(1) + x[:, lib.tensor([1, 1, 0, 1]), 0].T.sum(0)[0]

    both(program, X)


@pytest.mark.parametrize(
    ("index", "exception", "message"),
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        (-3, IndexError, "index -3 is out of bounds for dimension 0 with size 2"),
        ((0, 5), IndexError, "index 5 is out of bounds for dimension 1 with size 3"),
        ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (slice(None, None, 0), ValueError, "step must be greater than zero"),
        (slice(0.5, 1), TypeError, "slice indices must be integers or None or have an __index__ method"),
        (0.5, IndexError, r"only integers, slices \(`:`\), ellipsis"),
        ("a", TypeError, r"new\(\): invalid data type 'str'"),
        (np.array([5]), IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        (np.array([0.5]), IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
        (np.array([True]), IndexError, r"The shape of the mask \[1\] at index 0 does not match"),
        (
            (np.array([0, 1]), np.array([0, 1, 2])),
            IndexError,
            r"could not be broadcast together with shapes \[2\], \[3\]",
        ),
    ],
)
@pytest.mark.usefixtures("looking")
def test_wrong_indices_are_refused_in_pytorchs_words(index: Any, exception: Any, message: str) -> None:
    x = accelgrad.zeros(2, 3)
    with pytest.raises(exception, match=message):
        x[convert(index, accelgrad.tensor)]
    with pytest.raises(exception, match=message):
        x[convert(index, accelgrad.tensor)] = 1.0


def test_an_index_of_a_0d_tensor_says_how_to_get_the_number() -> None:
    with pytest.raises(IndexError, match=r"invalid index of a 0-dim tensor. Use `tensor.item\(\)`"):
        accelgrad.tensor(1.0)[0]


@pytest.mark.parametrize(
    ("index", "value", "exception", "message"),
    [
        (
            0,
            accelgrad.zeros(2),
            RuntimeError,
            r"The expanded size of the tensor \(3\) must match the existing size \(2\)",
        ),
        (
            [0, 1],
            accelgrad.zeros(3, 3),
            RuntimeError,
            r"shape mismatch: value tensor of shape \[3, 3\] cannot be broadcast",
        ),
        (
            np.ones((2, 3), bool),
            accelgrad.zeros(2),
            RuntimeError,
            r"shape mismatch: value tensor of shape \[2\] cannot be",
        ),
        (0, [1, 2, 3], TypeError, "can't assign a list to a accelgrad.FloatTensor"),
        (0, np.ones(3), TypeError, "can't assign a numpy.ndarray to a accelgrad.FloatTensor"),
        (0, None, TypeError, "can't assign a NoneType"),
        (0, 1e300, RuntimeError, "value cannot be converted to type float32 without overflow"),
    ],
    ids=str,
)
@pytest.mark.parametrize("recorded", [False, True])
def test_values_that_do_not_fit_are_refused(
    index: Any, value: Any, exception: Any, message: str, recorded: bool
) -> None:
    x = accelgrad.zeros(2, 3, requires_grad=recorded) * 1
    if isinstance(value, accelgrad.Tensor):
        value = value.to(x.device)
    with pytest.raises(exception, match=message):
        x[convert(index, accelgrad.tensor)] = value


def test_values_are_converted_to_the_type_of_the_tensor() -> None:
    x = accelgrad.zeros(3, dtype=accelgrad.int64)
    x[0], x[1] = 1.7, accelgrad.tensor(-2.7)
    x[accelgrad.tensor([2])] = True
    assert x.tolist() == [1, -2, 1]
    y = accelgrad.zeros(2, dtype=accelgrad.uint8)
    y[0] = -1
    assert y.tolist() == [255, 0]
    with pytest.raises(RuntimeError, match="value cannot be converted to type uint8 without overflow"):
        y[0] = 300


def test_a_leaf_that_needs_a_gradient_is_not_written() -> None:
    x = accelgrad.zeros(3, requires_grad=True)
    for index in (0, slice(1, 2), accelgrad.tensor([1])):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            x[index] = 1.0
    with accelgrad.no_grad():
        x[0] = 1.0
    assert x.tolist() == [1.0, 0.0, 0.0]


@pytest.mark.host
def test_expanded_and_read_only_memory_is_not_written() -> None:
    with pytest.raises(RuntimeError, match="clone"):
        accelgrad.zeros(1, 3).expand(2, 3)[0] = 1.0
    with pytest.raises(RuntimeError, match="clone"):
        accelgrad.frombuffer(b"abc", dtype=accelgrad.uint8)[0] = 1


def test_an_index_of_bytes_warns_and_means_a_mask() -> None:
    mask = accelgrad.tensor([1, 0], dtype=accelgrad.uint8)
    with pytest.warns(UserWarning, match="indexing with dtype accelgrad.uint8 is now deprecated"):
        assert accelgrad.tensor([3.0, 4.0])[mask].tolist() == [3.0]


def test_a_basic_index_shares_memory_and_an_advanced_one_does_not() -> None:
    x = accelgrad.zeros(3)
    assert x[0]._is_view() and x[1:]._is_view() and x[...]._is_view() and x[None]._is_view()
    assert not x[accelgrad.tensor([0])]._is_view()
    x[0].fill_(5)
    x[accelgrad.tensor([1])].fill_(6)
    assert x.tolist() == [5.0, 0.0, 0.0]


def test_a_saved_tensor_that_is_assigned_to_is_noticed() -> None:
    x = accelgrad.ones(3, requires_grad=True)
    y = x * 1
    z = y * y
    y[0] = 2.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_larger_source_of_scatter_add_gets_zeros_where_it_was_not_used() -> None:
    source = accelgrad.ones(2, 5, requires_grad=True)
    index = accelgrad.tensor([[0, 2]])
    accelgrad.scatter_add(accelgrad.zeros(2, 3), 1, index, source).sum().backward()
    assert source.grad.tolist() == [[1.0, 1.0, 0.0, 0.0, 0.0], [0.0] * 5]


def test_masked_fill_with_infinity_keeps_the_gradient_finite() -> None:
    x = accelgrad.ones(2, requires_grad=True)
    y = x.masked_fill(accelgrad.tensor([True, False]), float("-inf"))
    y[1].backward()
    assert y.tolist() == [-np.inf, 1.0] and x.grad.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64"])
def test_integers_are_added_by_an_index_too(dtype: str) -> None:
    kind = getattr(accelgrad, dtype)
    zeros, ones = accelgrad.zeros(3, dtype=kind), accelgrad.ones(4, dtype=kind)
    index = accelgrad.tensor([0, 2, 2, 2])
    expected = [True, False, True] if dtype == "bool" else [1, 0, 3]
    assert zeros.index_add(0, index, ones).tolist() == expected
    assert zeros.scatter_add(0, index, ones).tolist() == expected


def test_fill_and_copy_in_place_cut_the_old_gradient() -> None:
    def program(lib: Any, x: Any, v: Any) -> Any:
        y = x * 2
        y[0].fill_(v)
        y[1].zero_()
        z = x * 3
        z.copy_(y[2])
        return y + z

    both(program, X, np.array(1.5))


def test_scatter_reduce_shares_the_gradient_of_equal_maxima() -> None:
    def program(lib: Any, x: Any, y: Any) -> Any:
        return x.scatter_reduce(0, lib.tensor([0, 0, 1, 1]), y, "amax")

    both(program, np.array([3.0, 0.0, 1.0]), np.array([3.0, 3.0, 2.0, 1.0]))


@pytest.mark.parametrize("zeros", [[], [0], [0, 1], [3]])
def test_scatter_reduce_prod_has_the_right_gradient_beside_zeros(zeros: list[int]) -> None:
    y = np.array([3.0, 2.0, 4.0, 5.0])
    y[zeros] = 0

    def program(lib: Any, x: Any, y: Any) -> Any:
        return x.scatter_reduce(0, lib.tensor([0, 0, 0, 1]), y, "prod")

    both(program, np.array([3.0, 2.0, 1.0]), y)


def test_scatter_reduce_combines_long_runs() -> None:
    rng = np.random.default_rng(0)
    values, index = rng.standard_normal(1000), rng.integers(0, 7, 1000)
    out = accelgrad.full((7,), -np.inf, dtype=accelgrad.float64).scatter_reduce(
        0, accelgrad.tensor(index), accelgrad.tensor(values), "amax"
    )
    np.testing.assert_array_equal(out.numpy(), [values[index == place].max() for place in range(7)])
