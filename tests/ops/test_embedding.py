"""Tables: padding rows, frequencies, norms, bags."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F


def table(rows: int = 4, width: int = 2) -> ag.Tensor:
    return ag.arange(float(rows * width)).reshape(rows, width).requires_grad_()


def test_a_row_that_was_looked_up_twice_gets_both_gradients():
    weight = table()
    F.embedding(ag.tensor([1, 3, 1]), weight).sum().backward()
    assert weight.grad.tolist() == [[0, 0], [2, 2], [0, 0], [1, 1]]


@pytest.mark.parametrize("padding_idx", [1, -3])
def test_the_padding_row_gets_no_gradient(padding_idx):
    weight = table()
    F.embedding(ag.tensor([1, 3, 1]), weight, padding_idx).sum().backward()
    assert weight.grad.tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]


def test_frequent_rows_can_be_made_to_count_once():
    weight = table()
    F.embedding(ag.tensor([[1, 1], [2, 1]]), weight, scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), [[0, 0], [1, 1], [1, 1], [0, 0]], rtol=1e-6)


def test_max_norm_shrinks_the_rows_that_are_looked_up_in_place():
    weight = ag.tensor([[3.0, 4.0], [30.0, 40.0], [0.3, 0.4]])
    F.embedding(ag.tensor([0, 2]), weight, max_norm=1.0)
    np.testing.assert_allclose(weight.numpy(), [[0.6, 0.8], [30, 40], [0.3, 0.4]], rtol=1e-5)


@pytest.mark.parametrize("index", [4, -1])
@pytest.mark.usefixtures("looking")
def test_an_index_outside_the_table_is_named(index):
    with pytest.raises(
        IndexError, match=f"index out of range in self: embedding looked up {index} in a table of 4"
    ):
        F.embedding(ag.tensor([0, index]), table())


def test_a_padding_row_outside_the_table_is_refused():
    with pytest.raises(AssertionError, match="Padding_idx must be within num_embeddings"):
        F.embedding(ag.tensor([0]), table(), padding_idx=4)


def test_a_gradient_of_the_gradient_reaches_the_table():
    weight = table()
    (first,) = ag.autograd.grad(
        (F.embedding(ag.tensor([1, 1]), weight) ** 2).sum(), weight, create_graph=True
    )
    (second,) = ag.autograd.grad(first.sum(), weight)
    assert second.tolist() == [[0, 0], [4, 4], [0, 0], [0, 0]]


def test_one_hot_counts_its_classes_itself():
    assert F.one_hot(ag.tensor([[0], [2]])).tolist() == [[[1, 0, 0]], [[0, 0, 1]]]


def test_an_empty_bag_gives_zeros_in_every_mode():
    index, offsets = ag.tensor([1, 2]), ag.tensor([0, 0, 2])
    for mode in ("sum", "mean", "max"):
        assert F.embedding_bag(index, table(), offsets, mode=mode)[0].tolist() == [0.0, 0.0]


def test_padding_counts_for_nothing_in_a_bag():
    torch = pytest.importorskip("torch")
    index, offsets = np.array([1, 2, 2, 0, 3]), np.array([0, 3])
    for mode in ("sum", "mean", "max"):
        y = F.embedding_bag(ag.tensor(index), table(), ag.tensor(offsets), mode=mode, padding_idx=2)
        z = torch.nn.functional.embedding_bag(
            torch.tensor(index),
            torch.arange(8.0).reshape(4, 2),
            torch.tensor(offsets),
            mode=mode,
            padding_idx=2,
        )
        np.testing.assert_allclose(y.detach().numpy(), z.numpy())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mode": "median"}, ValueError, "mode has to be one of sum, mean or max"),
        ({"per_sample_weights": ag.ones(1, 2)}, NotImplementedError, "only supported for mode='sum'"),
        ({"offsets": ag.tensor([0])}, ValueError, "if input is 2D, then offsets has to be None"),
        (
            {"mode": "sum", "per_sample_weights": ag.ones(3)},
            ValueError,
            "it must have the same shape as the input",
        ),
    ],
)
def test_wrong_bags_are_refused(options, error, message):
    here = ag.get_default_device()
    options = {name: one.to(here) if isinstance(one, ag.Tensor) else one for name, one in options.items()}
    with pytest.raises(error, match=message):
        F.embedding_bag(ag.tensor([[0, 1]]), table(), **options)


def test_offsets_that_go_back_are_refused():
    with pytest.raises(RuntimeError, match="offsets must not decrease"):
        F.embedding_bag(ag.tensor([0, 1, 2]), table(), ag.tensor([0, 2, 1]))
