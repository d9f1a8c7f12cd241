"""TF32 on a card: which products are computed in it by which switch, and that CuPy is left as it was."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import kernels
from accelgrad.arrays import backend, precision
from accelgrad.nn import functional as F

pytestmark = pytest.mark.host
cuda, cudnn = accelgrad.backends.cuda, accelgrad.backends.cudnn


@pytest.fixture
def seen(device: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """For each product that CuPy is asked for, whether it is to be computed in TF32."""
    if device != "gpu":
        pytest.skip("needs pytest --device standin, cupy-on-host or gpu")
    accelgrad.zeros(1, device="gpu")
    import cupy
    from cupy._core import _routines_linalg, get_compute_type

    found: list[bool] = []

    def spied(original: Any) -> Any:
        def spy(*args: Any, **options: Any) -> Any:
            mode = cupy.cuda.cublas.getMathMode(cupy.cuda.get_cublas_handle())
            found.append(get_compute_type(np.float32) == _routines_linalg.COMPUTE_TYPE_TF32)
            assert found[-1] == (mode == 3)  # CUBLAS_TF32_TENSOR_OP_MATH, for products of stacks
            return original(*args, **options)

        return spy

    for name in ("matmul", "dot", "tensordot"):  # which our kernels and formulas call,
        monkeypatch.setattr(cupy, name, spied(getattr(cupy, name)))
    operator = backend.CudaNamespace._direct["matmul"]  # and what stands for the first in formulas
    monkeypatch.setitem(backend.CudaNamespace._direct, "matmul", spied(operator))
    with kernels.use("auto"):
        kernels.forget()
        yield found
    assert get_compute_type(np.float32) != _routines_linalg.COMPUTE_TYPE_TF32
    assert cupy.cuda.cublas.getMathMode(cupy.cuda.get_cublas_handle()) == 0
    monkeypatch.undo()
    kernels.forget()


def train_linear() -> None:
    x, w = accelgrad.ones(3, 4, device="gpu"), accelgrad.ones(5, 4, device="gpu", requires_grad=True)
    (F.linear(x, w) @ accelgrad.ones(5, 2, device="gpu")).sum().backward()


def train_convolution() -> None:
    x = accelgrad.ones(2, 3, 5, 5, device="gpu", requires_grad=True)
    w = accelgrad.ones(4, 3, 3, 3, device="gpu", requires_grad=True)
    F.conv2d(x, w).sum().backward()


@pytest.mark.parametrize("convolutions", [False, True])
@pytest.mark.parametrize("products", ["highest", "high", "medium"])
def test_each_switch_decides_about_its_products_forwards_and_backwards(
    products: str, convolutions: bool, seen: list[bool]
) -> None:
    accelgrad.set_float32_matmul_precision(products)
    cudnn.allow_tf32 = convolutions
    train_linear()
    assert len(seen) >= 4 and set(seen) == {products != "highest"}
    seen.clear()
    train_convolution()
    assert len(seen) >= 3 and set(seen) == {convolutions}


def test_a_card_without_tf32_is_left_alone(seen: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    class Older:
        compute_capability = "75"

    monkeypatch.setattr(cupy.cuda, "Device", Older)
    assert precision.in_tf32(train_linear) is train_linear
    monkeypatch.undo()
    assert precision.in_tf32(train_linear) is not train_linear


def test_an_error_within_a_product_leaves_cupy_as_it_was(seen: list[bool]) -> None:
    from cupy._core import get_compute_type

    before = get_compute_type(np.float32)
    cuda.matmul.allow_tf32 = True
    with pytest.raises(RuntimeError, match=r"mat1 and mat2|size|shape"):
        accelgrad.ones(2, 3, device="gpu") @ accelgrad.ones(4, 5, device="gpu")
    assert get_compute_type(np.float32) == before


def test_cublas_gets_the_type(request: pytest.FixtureRequest, device: str) -> None:
    if request.config.getoption("--device") != "cupy-on-host":
        pytest.skip("the cuBLAS of cupy-on-host tells what it was asked")
    kernels.use("auto")  # in the mode numba a kernel of ours multiplies, in float32
    train_linear()
    blas = ctypes.CDLL("libcublas.so.13")
    two, left, right = accelgrad.ones(4, 4, device="gpu"), *accelgrad.ones(2, 3, 4, 4, device="gpu")

    def asked() -> tuple[int, int]:
        return blas.latest_compute_type(), blas.latest_math_mode()

    def tf32() -> list[bool]:
        """Of a product of matrices, of stacks, of stacks that are broadcast, and within a convolution."""
        found = []
        for make in (lambda: two @ two, lambda: left @ right, lambda: left @ two, train_convolution):
            make()
            # 77 is CUBLAS_COMPUTE_32F_FAST_TF32; CuPy says so for two matrices, for stacks it is the mode
            found.append(asked()[0] == 77 or asked()[1] == 3)
        return found

    assert asked()[1] == 0 and tf32() == [False, False, False, False]
    cuda.matmul.allow_tf32 = True
    _ = two @ two
    assert asked() == (77, 3)
    assert tf32() == [True, True, True, False]
    cuda.matmul.allow_tf32, cudnn.allow_tf32 = False, True
    assert tf32() == [False, False, False, True]


def test_the_switches_are_one_setting_under_several_names() -> None:
    assert not cuda.matmul.allow_tf32 and accelgrad.get_float32_matmul_precision() == "highest"
    cuda.matmul.allow_tf32 = True
    assert accelgrad.get_float32_matmul_precision() == "high" and cuda.matmul.fp32_precision == "tf32"
    accelgrad.set_float32_matmul_precision("medium")
    assert cuda.matmul.allow_tf32
    cuda.matmul.fp32_precision = "ieee"
    assert accelgrad.get_float32_matmul_precision() == "highest"
    with pytest.raises(RuntimeError, match="expects one of highest, high, medium; got 'low'"):
        accelgrad.set_float32_matmul_precision("low")
    with pytest.raises(RuntimeError, match="Unknown precision: half"):
        cuda.matmul.fp32_precision = "half"
    cudnn.benchmark = cudnn.deterministic = True
    assert cudnn.benchmark and cudnn.enabled and cudnn.version() is None and not cudnn.is_available()
    cudnn.benchmark = cudnn.deterministic = False


def test_what_is_not_repeatable_is_refused_or_warned_of(device: str) -> None:
    x, index = accelgrad.zeros(3, device=device), accelgrad.tensor([0, 0], device=device)
    accelgrad.use_deterministic_algorithms(True)
    assert accelgrad.are_deterministic_algorithms_enabled()
    if device == "cpu":
        assert x.index_add(0, index, accelgrad.ones(2)).tolist() == [2.0, 0.0, 0.0]
        return
    ones = accelgrad.ones(2, device=device)
    with pytest.raises(RuntimeError, match="index_add_cuda_ does not have a deterministic implementation"):
        x.index_add(0, index, ones)
    assert accelgrad.zeros(3, dtype=accelgrad.int64, device=device).index_add(0, index, ones.long())[0] == 2
    accelgrad.use_deterministic_algorithms(True, warn_only=True)
    assert accelgrad.is_deterministic_algorithms_warn_only_enabled()
    with pytest.warns(UserWarning, match="scatter_add_cuda_ does not have a deterministic implementation"):
        assert x.scatter_add(0, index, ones).tolist() == [2.0, 0.0, 0.0]
