"""Linear algebra: gradients that samples cannot express, and the overloads of matmul."""

from __future__ import annotations

import pytest

import accelgrad
from accelgrad.autograd import gradcheck, gradgradcheck
from accelgrad.linalg import LinAlgError


def random(*shape, seed=0):
    generator = accelgrad.Generator().manual_seed(seed)
    return accelgrad.randn(*shape, generator=generator, dtype=accelgrad.float64).requires_grad_()


def positive(A):
    return A @ A.mT + accelgrad.eye(A.shape[-1], dtype=A.dtype)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_the_gradient_of_cholesky_of_a_symmetric_matrix(shape):
    A = random(*shape)
    assert gradcheck(lambda A: accelgrad.linalg.cholesky(positive(A)), [A])
    assert gradgradcheck(lambda A: accelgrad.linalg.cholesky(positive(A)), [A], atol=1e-4)


def test_the_gradient_of_eigenvalues_and_of_what_does_not_depend_on_signs():
    A = random(3, 3)

    def function(A):
        values, vectors = accelgrad.linalg.eigh(positive(A))
        return values, vectors * vectors

    assert gradcheck(function, [A])
    assert gradgradcheck(function, [A], atol=1e-4)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3)])
def test_the_gradient_of_what_a_singular_value_decomposition_puts_together_again(shape):
    A = random(*shape)

    def function(A):
        U, S, Vh = accelgrad.linalg.svd(A, full_matrices=False)
        return U * (S * S) @ Vh

    assert gradcheck(function, [A])


def test_qr_puts_together_what_it_took_apart():
    A = random(4, 3)
    Q, R = accelgrad.linalg.qr(A)
    assert accelgrad.allclose(Q @ R, A)
    assert accelgrad.allclose(Q.mT @ Q, accelgrad.eye(3, dtype=A.dtype), atol=1e-12)


def test_the_gradient_of_a_singular_determinant_is_its_cofactors():
    A = accelgrad.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=accelgrad.float64, requires_grad=True)
    accelgrad.linalg.det(A).backward()
    assert A.grad.tolist() == [[4.0, -2.0], [-2.0, 1.0]]


def test_a_singular_matrix_in_a_batch_is_named():
    A = accelgrad.stack([accelgrad.eye(2), accelgrad.zeros(2, 2)])
    with pytest.raises(LinAlgError, match=r"singular \(Batch element \(1,\)\)"):
        accelgrad.linalg.inv(A)
    assert issubclass(LinAlgError, RuntimeError)


def test_matmul_of_many_rows_with_one_matrix_equals_the_batched_product():
    x, y = random(2, 3, 4), random(4, 5, seed=1)
    together, apart = x @ y, accelgrad.stack([x[0] @ y, x[1] @ y])
    assert accelgrad.allclose(together, apart)
    assert gradcheck(lambda x, y: x @ y, [x, y])


def test_an_in_place_matrix_product_makes_a_new_tensor():
    x = before = accelgrad.ones(2, 3)
    x @= accelgrad.ones(3, 4)
    assert x is not before and x.shape == (2, 4)


def test_einsum_takes_numbers_for_letters():
    a, b = random(2, 3), random(3, 4, seed=1)
    assert accelgrad.allclose(accelgrad.einsum(a, [0, 1], b, [1, 2]), a @ b)


def test_a_least_squares_solution_leaves_residuals_at_right_angles():
    A, B = random(5, 3), random(5, 2, seed=1)
    solution, residuals, rank, _ = accelgrad.linalg.lstsq(A, B)
    rest = A @ solution - B
    assert rank.item() == 3
    assert accelgrad.allclose(A.mT @ rest, accelgrad.zeros(3, 2, dtype=A.dtype), atol=1e-10)
    assert accelgrad.allclose(residuals, (rest * rest).sum(0))


def test_chain_matmul_takes_the_cheapest_order_and_the_same_result():
    parts = [random(2, 30), random(30, 3, seed=1), random(3, 20, seed=2)]
    assert accelgrad.allclose(accelgrad.chain_matmul(*parts), parts[0] @ parts[1] @ parts[2])
