"""New tensors: types, shared memory, typed constructors, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad

CALLS = [
    ("zeros", (2, 3), {}),
    ("zeros", ((2, 3),), {}),
    ("zeros", ((),), {}),
    ("ones", (0, 2), {"dtype": "int32"}),
    ("full", ((2,), 3), {}),
    ("full", ((2,), 3.5), {}),
    ("full", ((), True), {}),
    ("full", ((2,), 1), {"dtype": "float16"}),
    ("arange", (5,), {}),
    ("arange", (1, 6, 2), {}),
    ("arange", (5.0,), {}),
    ("arange", (0, 1, 0.1), {}),
    ("arange", (5, 0, -2), {}),
    ("arange", (3,), {"dtype": "float64"}),
    ("arange", (0.5, 3.5), {"dtype": "int64"}),
    ("arange", (3, 3), {}),
    ("arange", (1, 2, 0.3), {"dtype": "float64"}),
    ("arange", (-3, 3), {"dtype": "uint8"}),
    ("linspace", (0, 1, 5), {}),
    ("linspace", (3, -3, 4), {"dtype": "float64"}),
    ("linspace", (0, 10, 4), {"dtype": "int64"}),
    ("linspace", (1, 2, 1), {}),
    ("linspace", (1, 2, 0), {}),
    ("logspace", (0, 2, 5), {}),
    ("logspace", (0, 3, 4, 2), {}),
    ("eye", (3,), {}),
    ("eye", (2, 4), {"dtype": "bool"}),
    ("range", (1, 2, 0.25), {}),
    ("scalar_tensor", (2,), {}),
    ("tensor", ([[1, 2], [3, 4]],), {}),
    ("tensor", ([1.5, 2],), {}),
    ("tensor", ([True],), {}),
    ("tensor", ([],), {}),
    ("tensor", (3,), {"dtype": "float64"}),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS, ids=str)
def test_values_and_types_equal_pytorchs(name: str, args: Any, kwargs: dict[str, str]) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch, name)(*args, **{key: getattr(torch, one) for key, one in kwargs.items()})
    ours = getattr(accelgrad, name)(*args, **{key: getattr(accelgrad, one) for key, one in kwargs.items()})
    assert str(ours.dtype).partition(".")[2] == str(theirs.dtype).partition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-7)


@pytest.mark.host
def test_from_numpy_shares_memory_and_keeps_the_type() -> None:
    a = np.zeros((2, 3), np.float32)[:, ::2]
    x = accelgrad.from_numpy(a)
    x[0, 0] = 5
    assert a[0, 0] == 5 and x.stride() == (3, 2)
    assert accelgrad.as_tensor(a).data_ptr() == x.data_ptr()
    assert accelgrad.tensor(a).data_ptr() != x.data_ptr()
    assert accelgrad.asarray(a).data_ptr() == x.data_ptr() != accelgrad.asarray(a, copy=True).data_ptr()


def test_from_numpy_gives_tensors_that_promote_as_any_other() -> None:
    kind = np.dtype("float32").newbyteorder("=")
    x = accelgrad.from_numpy(np.ones(2, kind)) + accelgrad.ones(2)
    assert x.dtype is accelgrad.float32 and x.array.dtype is accelgrad.float32.numpy


@pytest.mark.parametrize(
    ("array", "exception", "message"),
    [
        (np.array(["a"]), TypeError, "can't convert np.ndarray of type numpy.str"),
        (np.array([1j]), TypeError, "The only supported types are"),
        (np.zeros(2, ">f4"), ValueError, "byte order different from the native byte order"),
        (np.zeros(3)[::-1], ValueError, "At least one stride in the given numpy array is negative"),
        ([1, 2], TypeError, r"expected np.ndarray \(got list\)"),
    ],
)
def test_from_numpy_refuses_what_it_cannot_share(array: Any, exception: Any, message: str) -> None:
    with pytest.raises(exception, match=message):
        accelgrad.from_numpy(array)


@pytest.mark.host
def test_dlpack_shares_memory_with_numpy_and_pytorch() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.zeros(3)
    accelgrad.from_dlpack(theirs)[1] = 7
    assert theirs.tolist() == [0, 7, 0]
    ours = accelgrad.zeros(3)
    torch.from_dlpack(ours)[2] = 8
    assert ours.tolist() == [0, 0, 8]
    with pytest.raises(TypeError, match="expects an object with __dlpack__"):
        accelgrad.from_dlpack([1])


@pytest.mark.host
def test_asarray_refuses_a_copy_that_was_forbidden() -> None:
    with pytest.raises(ValueError, match="can't alias arbitrary sequence"):
        accelgrad.asarray([1, 2], copy=False)
    assert accelgrad.asarray(np.ones(2), copy=False, requires_grad=True).requires_grad


def test_like_forms_take_shape_type_and_options() -> None:
    model = accelgrad.zeros(2, 3, dtype=accelgrad.int32)
    for name, value in (("zeros_like", 0), ("ones_like", 1)):
        made = getattr(accelgrad, name)(model)
        assert made.dtype is accelgrad.int32 and made.tolist() == [[value] * 3] * 2
        assert getattr(accelgrad, name)(model, dtype=accelgrad.float64, requires_grad=True).requires_grad
    assert accelgrad.full_like(model, 7).tolist() == [[7] * 3] * 2
    assert accelgrad.empty_like(model).shape == model.shape


def test_new_forms_take_type_and_device() -> None:
    x = accelgrad.ones(2, dtype=accelgrad.float64)
    assert x.new_zeros(3).dtype is x.new_tensor([1]).dtype is x.new_full((1,), 2).dtype is accelgrad.float64
    assert x.new_ones((2, 2), dtype=accelgrad.int64).tolist() == [[1, 1], [1, 1]]
    assert x.new_empty(4).shape == (4,) and x.new([1, 2]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", accelgrad.arrays.dtypes.ALL, ids=repr)
def test_typed_constructors_make_tensors_of_their_type(kind: Any) -> None:
    make = getattr(accelgrad, kind.title)
    x = make([0, 1])
    assert x.dtype is kind and type(x) is accelgrad.Tensor and isinstance(x, make)
    assert make(2, 3).shape == (2, 3) and make().shape == (0,) and make(accelgrad.Size([4])).shape == (4,)
    other = accelgrad.float64 if kind is not accelgrad.float64 else accelgrad.int64
    assert not isinstance(x.to(other), make) and not isinstance([1.0], make)
    with pytest.raises(TypeError, match="expected a tensor of"):
        make(x.to(other))
    with pytest.raises(TypeError, match="data must be a sequence"):
        make(3.5)


def test_everything_accepts_requires_grad() -> None:
    for made in (
        accelgrad.zeros(2, requires_grad=True),
        accelgrad.ones(2, requires_grad=True),
        accelgrad.full((2,), 1.0, requires_grad=True),
        accelgrad.arange(2.0, requires_grad=True),
        accelgrad.eye(2, requires_grad=True),
        accelgrad.empty(2, requires_grad=True),
        accelgrad.linspace(0, 1, 3, requires_grad=True),
        accelgrad.tensor([1.0], requires_grad=True),
    ):
        assert made.requires_grad and made.is_leaf
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        accelgrad.zeros(2, dtype=accelgrad.int64, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "exception", "message"),
    [
        (lambda: accelgrad.zeros(-1), RuntimeError, "negative dimension -1"),
        (lambda: accelgrad.zeros(2.5), TypeError, "float"),
        (lambda: accelgrad.zeros(), TypeError, r"zeros\(\) missing 1 required positional arguments"),
        (lambda: accelgrad.arange(0, 1, 0), RuntimeError, "step must be nonzero"),
        (
            lambda: accelgrad.arange(5, 1),
            RuntimeError,
            "upper bound and lower bound inconsistent with step sign",
        ),
        (lambda: accelgrad.arange(float("inf")), RuntimeError, "unsupported range: 0 -> inf"),
        (lambda: accelgrad.range(1, 0), RuntimeError, "inconsistent with step sign"),
        (lambda: accelgrad.linspace(0, 1, -1), RuntimeError, "number of steps must be non-negative"),
        (lambda: accelgrad.eye(-1), RuntimeError, "n must be greater or equal to 0, got -1"),
        (lambda: accelgrad.full((2,), 300, dtype=accelgrad.uint8), RuntimeError, "without overflow"),
        (lambda: accelgrad.tensor(1 + 2j), TypeError, "complex"),
        (lambda: accelgrad.zeros(2, dtype="complex64"), TypeError, "dtype must be an accelgrad dtype"),
        (lambda: accelgrad.is_floating_point(3), TypeError, "must be Tensor, not int"),
    ],
)
def test_wrong_arguments_are_refused(call: Any, exception: type[Exception], message: str) -> None:
    with pytest.raises(exception, match=message):
        call()


def test_the_shape_may_be_given_by_name() -> None:
    for make in (accelgrad.zeros, accelgrad.ones, accelgrad.empty, accelgrad.rand, accelgrad.randn):
        assert make(size=(2, 3)).shape == (2, 3)


def test_result_type_follows_the_categories() -> None:
    ints, one = accelgrad.tensor([1]), accelgrad.tensor(1.0, dtype=accelgrad.float64)
    assert accelgrad.result_type(ints, 1.5) is accelgrad.float32
    assert accelgrad.result_type(ints, one) is accelgrad.float64
    assert accelgrad.result_type(accelgrad.ones(1), one) is accelgrad.float32
