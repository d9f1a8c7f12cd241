"""Shapes: what shares memory and what copies, in-place changes, and what samples cannot say."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad
from accelgrad.core import views
from accelgrad.ops.registry.dims import element, sizes, wrap_dim, wrap_dims

VIEWS = {
    "view": lambda x: x.view(4, 6),
    "reshape": lambda x: x.reshape(-1),
    "permute": lambda x: x.permute(2, 0, 1),
    "transpose": lambda x: x.transpose(0, 2),
    "T": lambda x: x[0].T,
    "t": lambda x: x[0].t(),
    "mT": lambda x: x.mT,
    "movedim": lambda x: x.movedim(0, 2),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "select": lambda x: x.select(1, 0),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "split": lambda x: x.split(1)[1],
    "chunk": lambda x: x.chunk(2, 2)[0],
    "tensor_split": lambda x: x.tensor_split(3, 1)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "unfold": lambda x: x.unfold(2, 2, 1),
    "as_strided": lambda x: x.as_strided((3, 2), (4, 1), 1),
    "meshgrid": lambda x: accelgrad.meshgrid(x[0, 0], x[0, 1])[0],
    "atleast_3d": lambda x: accelgrad.atleast_3d(x[0]),
    "detach": lambda x: x.detach(),
}
COPIES = {
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "repeat": lambda x: x.repeat(1, 1, 1),
    "cat": lambda x: accelgrad.cat([x]),
    "diag": lambda x: x[0, :, :3].diag(),
    "tril": lambda x: x.tril(),
    "reshape of a permuted tensor": lambda x: x.permute(2, 0, 1).reshape(-1),
    "clone": lambda x: x.clone(),
}


def tensor(**options: object) -> accelgrad.Tensor:
    return accelgrad.tensor(np.arange(24.0).reshape(2, 3, 4), **options)


@pytest.mark.parametrize("name", VIEWS)
def test_views_show_the_memory_of_their_base(name: str) -> None:
    x = tensor()
    y = VIEWS[name](x)
    assert views.same_memory(x.array, y.array)
    x.zero_()
    assert not y.numpy().any()


@pytest.mark.parametrize("name", COPIES)
def test_copies_have_memory_of_their_own(name: str) -> None:
    x = tensor()
    assert not views.same_memory(x.array, COPIES[name](x).array)


@pytest.mark.parametrize("name", sorted(set(VIEWS) - {"expand", "meshgrid", "detach"}))
def test_a_change_through_a_view_reaches_base_and_gradient(name: str) -> None:
    leaf = tensor(requires_grad=True)
    base = leaf * 1
    VIEWS[name](base).fill_(0.0)
    zeroed = tensor()
    VIEWS[name](zeroed).fill_(0.0)
    np.testing.assert_array_equal(base.detach().numpy(), zeroed.numpy())
    base.sum().backward()
    marked = accelgrad.ones(2, 3, 4)
    VIEWS[name](marked).fill_(0.0)
    np.testing.assert_array_equal(leaf.grad.numpy(), marked.numpy())


def test_view_refuses_what_would_need_a_copy() -> None:
    with pytest.raises(RuntimeError, match=r"view size is not compatible .* Use .reshape\(...\) instead"):
        tensor().permute(2, 0, 1).view(-1)
    assert tensor()[:, :, ::2].view(2, 3, 2, 1).shape == (2, 3, 2, 1)


def test_view_reads_the_bytes_as_another_type() -> None:
    x = accelgrad.tensor([1.0, -1.0])
    bits = x.view(accelgrad.int32)
    assert bits.tolist() == [0x3F800000, -0x40800000]
    bits[0] = 0
    assert x.tolist() == [0.0, -1.0]
    assert x.view(accelgrad.uint8).shape == (8,) and x.view(dtype=accelgrad.float64).shape == (1,)
    for wrong in (accelgrad.zeros(3), accelgrad.tensor(1.0), accelgrad.zeros(2, 2).T):
        with pytest.raises(RuntimeError, match=r"to view accelgrad\.float32 as accelgrad\.float64"):
            wrong.view(accelgrad.float64)


def test_the_number_of_dimensions_a_property_needs_is_checked() -> None:
    with pytest.raises(RuntimeError, match=r"tensor.mT is only supported on matrices or batches of matrices"):
        _ = accelgrad.zeros(3).mT
    assert accelgrad.zeros(2, 3, 4).T.shape == (4, 3, 2)


def test_extents_may_be_numpy_integers_and_tensors() -> None:
    x = tensor()
    assert x.reshape(np.int64(6), accelgrad.tensor(4)).shape == (6, 4)
    assert x.reshape(accelgrad.Size([24])).shape == (24,)
    with pytest.raises(TypeError):
        x.reshape(2.5, 4)


def test_split_with_numbers_that_do_not_fit_is_refused() -> None:
    with pytest.raises(RuntimeError, match="split_size can only be 0 if dimension size is 0"):
        accelgrad.zeros(3).split(0)
    with pytest.raises(RuntimeError, match=r"narrow\(\) cannot be applied to a 0-dim tensor"):
        accelgrad.tensor(1.0).narrow(0, 0, 1)


def test_repeat_interleave_alone_gives_indices() -> None:
    assert accelgrad.repeat_interleave(accelgrad.tensor([2, 0, 1])).tolist() == [0, 0, 2]


def test_cat_of_different_types_meets_in_the_larger_and_gradients_return_in_their_own() -> None:
    x = accelgrad.ones(2, requires_grad=True)
    y = accelgrad.ones(1, dtype=accelgrad.float64, requires_grad=True)
    z = accelgrad.cat([x, y, accelgrad.tensor([1])])
    assert z.dtype is accelgrad.float64
    z.sum().backward()
    assert x.grad.dtype is accelgrad.float32 and y.grad.dtype is accelgrad.float64


def test_a_missing_dimension_is_named_with_its_range() -> None:
    assert [wrap_dim(dim, 3) for dim in (0, 2, -1, -3)] == [0, 2, 2, 0]
    assert wrap_dim(-1, 0) == 0
    with pytest.raises(IndexError, match=r"expected to be in range of \[-3, 2\], but got 3"):
        wrap_dim(3, 3)
    with pytest.raises(RuntimeError, match="dim 1 appears multiple times in the list of dims"):
        wrap_dims((1, -2), 3)


def test_sizes_come_as_numbers_or_as_one_sequence() -> None:
    assert sizes((2, 3)) == sizes(((2, 3),)) == sizes(([2, 3],)) == (2, 3)
    assert sizes((5,)) == sizes(((5,),)) == (5,) and sizes(((),)) == ()


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1.9, "int64", 1),
        (-1.9, "int32", -1),
        (-1, "uint8", 255),
        (2, "bool", True),
        (3, "float32", 3.0),
        (True, "int8", 1),
    ],
)
def test_numbers_become_elements_of_a_type(value: float, kind: str, expected: float) -> None:
    assert element(value, getattr(accelgrad, kind)) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (300, "uint8"),
        (-300, "uint8"),
        (200, "int8"),
        (float("nan"), "int64"),
        (1e6, "float16"),
        (1e300, "float32"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(value: float, kind: str) -> None:
    with pytest.raises(RuntimeError, match=f"value cannot be converted to type {kind} without overflow"):
        element(value, getattr(accelgrad, kind))
