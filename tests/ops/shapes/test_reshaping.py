"""Another shape in place: gradients, older views and versions behave as PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad as ag

torch = pytest.importorskip("torch")


def both(script: Any) -> None:
    """The same script with both libraries: equal values of everything that it returns."""
    mine, theirs = script(ag), script(torch)
    for one, other in zip(mine, theirs, strict=True):
        assert tuple(one.shape) == tuple(other.shape)
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def leaf(library: Any, *shape: int) -> Any:
    size = int(np.prod(shape))
    return library.arange(1.0, size + 1).reshape(*shape).clone().requires_grad_()


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.unsqueeze_(0),
        lambda y: y.squeeze_(),
        lambda y: y.squeeze_(1),
        lambda y: y.transpose_(0, 2),
        lambda y: y.swapaxes_(0, 1),
        lambda y: y.swapdims_(1, 2).unsqueeze_(-1),
        lambda y: y.transpose_(0, 2).squeeze_().t_(),
    ],
)
def test_gradients_pass_through_the_new_shape(change: Any) -> None:
    def script(library: Any) -> Any:
        x = leaf(library, 2, 1, 3)
        y = x * 2
        assert change(y) is y
        weight = library.arange(float(y.numel())).reshape(y.shape)
        (y * y * weight).sum().backward()
        return y, x.grad

    both(script)


def test_older_views_keep_their_meaning() -> None:
    def script(library: Any) -> Any:
        x = leaf(library, 2, 3)
        y = x * 1
        row = y[0]
        y.t_()
        row.mul_(5)  # writes through the view, after its base was transposed
        (y * library.arange(6.0).reshape(3, 2)).sum().backward()
        return y, row, x.grad

    both(script)


def test_a_write_after_the_change_reaches_older_views() -> None:
    def script(library: Any) -> Any:
        x = leaf(library, 2, 3)
        y = x * 1
        row = y[1]
        y.t_().unsqueeze_(0)
        y[0, 0].mul_(3)
        (row * row).sum().backward()
        return y, row, x.grad

    both(script)


def test_a_view_is_reshaped_and_its_base_is_not() -> None:
    def script(library: Any) -> Any:
        x = leaf(library, 2, 3)
        y = x * 1
        row = y[0]
        row.unsqueeze_(1)
        row.mul_(2)
        (y * y).sum().backward()
        return y, row, x.grad

    both(script)


def test_without_gradients_memory_is_shared_as_before() -> None:
    def script(library: Any) -> Any:
        b = library.zeros(2, 3)
        v = b[0]
        b.t_()
        v.add_(1)
        b.mul_(2)
        return b, v

    both(script)


def test_the_change_counts_as_one() -> None:
    x = ag.ones(2, requires_grad=True)
    y = x.exp()
    y.unsqueeze_(0)
    assert y._version[0] == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_leaves_that_need_a_gradient_are_refused_but_under_no_grad() -> None:
    x = ag.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
        x.unsqueeze_(0)
    with ag.no_grad():
        x.unsqueeze_(0)
    (x * 2).sum().backward()
    assert x.is_leaf and x.grad.shape == (1, 3)


def test_resize_goes_on_with_the_same_memory_where_it_is_enough() -> None:
    x = ag.arange(6)
    view = x[:2]
    x.resize_(2, 2)
    x[0, 0] = 9
    assert view.tolist() == [9, 1] and x.tolist() == [[9, 1], [2, 3]]
    x.resize_(2, 4)
    assert x.tolist() == [[9, 1, 2, 3], [0, 0, 0, 0]]


def test_what_cannot_be_resized_says_why() -> None:
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        ag.ones(2, requires_grad=True).resize_(1)
    with pytest.raises(RuntimeError, match="this tensor is not contiguous"):
        ag.ones(2, 3).t().resize_(2)


def test_nothing_is_shared_by_an_empty_tensor_and_nothing_breaks() -> None:
    x = ag.ones(0, 3, requires_grad=True) * 2
    x.t_().unsqueeze_(0)
    x.sum().backward()
    assert x.shape == (1, 3, 0)
