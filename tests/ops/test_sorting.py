"""Order: ties, NaN, types, and large selections."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad


def test_equal_elements_keep_their_order_in_both_directions() -> None:
    x = accelgrad.tensor([1, 0, 1, 0, 1])
    assert x.sort().indices.tolist() == [1, 3, 0, 2, 4]
    assert x.sort(descending=True).indices.tolist() == [0, 2, 4, 1, 3]
    assert x.argsort(descending=True).tolist() == [0, 2, 4, 1, 3]


def test_nan_counts_as_the_largest() -> None:
    x = accelgrad.tensor([3.0, float("nan"), 1.0])
    assert x.sort().indices.tolist() == [2, 0, 1]
    assert x.sort(descending=True).indices.tolist() == [1, 0, 2]
    assert x.topk(1).indices.tolist() == [1]
    assert x.kthvalue(2).values.item() == 3.0


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("descending", [False, True])
def test_every_type_is_sorted(kind: str, descending: bool) -> None:
    values = np.random.default_rng(0).integers(0, 2 if kind == "bool" else 100, (3, 50)).astype(kind)
    out = accelgrad.tensor(values).sort(descending=descending)
    expected = np.sort(values, axis=-1)
    np.testing.assert_array_equal(out.values.numpy(), expected[:, ::-1] if descending else expected)
    np.testing.assert_array_equal(np.take_along_axis(values, out.indices.numpy(), -1), out.values.numpy())


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("k", [0, 1, 7, 399, 400])
def test_topk_of_a_long_dimension_equals_the_sorted_one(largest: bool, dim: int, k: int) -> None:
    values = np.random.default_rng(1).permutation(160000).reshape(400, 400).astype("float32")
    out = accelgrad.tensor(values).topk(k, dim, largest=largest)
    ordered = np.sort(values, axis=dim)
    ordered = np.flip(ordered, dim) if largest else ordered
    np.testing.assert_array_equal(out.values.numpy(), np.take(ordered, range(k), axis=dim))
    np.testing.assert_array_equal(np.take_along_axis(values, out.indices.numpy(), dim), out.values.numpy())


def test_results_have_names_and_unpack() -> None:
    values, indices = accelgrad.tensor([2, 1]).sort()
    assert values.tolist() == [1, 2] and indices.dtype is accelgrad.int64
    out = accelgrad.tensor([2, 1]).topk(1)
    assert out.values.tolist() == [2] and out.indices.tolist() == [0]
    assert repr(out).startswith("accelgrad.return_types.topk(")


def test_gradients_go_back_to_where_the_values_came_from() -> None:
    x = accelgrad.tensor([3.0, 1.0, 2.0], requires_grad=True)
    (x.sort().values * accelgrad.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [100.0, 1.0, 10.0]
    assert x.sort().values.grad_fn.name() == "SortBackward0"


def test_unique_tells_every_nan_apart() -> None:
    x = accelgrad.tensor([1.0, float("nan"), float("nan"), 1.0])
    assert accelgrad.unique(x).numel() == 3


def test_unique_of_slices_along_a_later_dimension() -> None:
    x = accelgrad.tensor([[1, 0, 1], [2, 5, 2]])
    values, inverse, counts = accelgrad.unique(x, return_inverse=True, return_counts=True, dim=1)
    assert values.tolist() == [[0, 1], [5, 2]]
    assert inverse.tolist() == [1, 0, 1] and counts.tolist() == [1, 2]


def test_bincount_weights_keep_float32() -> None:
    x = accelgrad.tensor([0, 1, 1])
    assert accelgrad.bincount(x, accelgrad.ones(3)).dtype is accelgrad.float32
    assert accelgrad.bincount(x, accelgrad.ones(3, dtype=accelgrad.int64)).dtype is accelgrad.float64


def test_searchsorted_compares_values_of_different_types() -> None:
    bounds = accelgrad.tensor([1, 3, 5])
    assert accelgrad.searchsorted(bounds, accelgrad.tensor([1.5, 5.0])).tolist() == [1, 2]
    assert accelgrad.bucketize(2.5, bounds).item() == 1


def test_histc_of_a_range_that_is_not_finite_is_refused() -> None:
    with pytest.raises(RuntimeError, match="is not finite"):
        accelgrad.histc(accelgrad.tensor([1.0, float("nan")]), 3)
    assert accelgrad.histc(accelgrad.tensor([0.5, float("nan"), 2.0]), 2, 0, 1).tolist() == [0.0, 1.0]
