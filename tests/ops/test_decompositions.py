"""Factorisations beyond their samples: failures in numbers, random ones on low rank, what complex numbers
forbid."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag

BATCH = [[[2.0, 1.0], [1.0, 3.0]], [[1.0, 2.0], [2.0, 4.0]], [[-1.0, 0.0], [0.0, 1.0]]]


def test_the_forms_with_info_tell_which_matrix_failed_and_where():
    A = ag.tensor(BATCH, dtype=ag.float64)
    L, info = ag.linalg.cholesky_ex(A)
    assert info.tolist() == [0, 2, 1] and info.dtype == ag.int32
    assert ag.allclose(L[0] @ L[0].T, A[0]) and L[1].isnan().all()
    inverse, info = ag.linalg.inv_ex(A)
    assert info.tolist() == [0, 2, 0] and ag.allclose(inverse[2] @ A[2], ag.eye(2, dtype=ag.float64))
    x, info = ag.linalg.solve_ex(A, ag.ones(3, 2, dtype=ag.float64))
    assert info.tolist() == [0, 2, 0] and x[1].isnan().all() and ag.allclose(A[0] @ x[0], ag.ones(2).double())
    assert ag.linalg.lu_factor_ex(A).info.tolist() == [0, 2, 0]


def test_gradients_pass_beside_failed_matrices():
    A = ag.tensor(BATCH, dtype=ag.float64, requires_grad=True)
    inverse, info = ag.linalg.inv_ex(A)
    inverse[info == 0].sum().backward()
    assert A.grad[1].abs().sum() == 0 and A.grad[0].abs().sum() > 0


@pytest.mark.usefixtures("looking")
def test_the_first_singular_matrix_of_a_batch_is_named():
    with pytest.raises(ag.linalg.LinAlgError, match=r"U\[2,2\] is zero and using it on lu_solve"):
        ag.linalg.lu_factor(ag.tensor(BATCH))


def test_one_factorisation_solves_many_systems():
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((4, 4)), rng.standard_normal((3, 4, 2))
    LU, pivots = ag.linalg.lu_factor(ag.tensor(A))
    X = ag.linalg.lu_solve(LU, pivots, ag.tensor(B))
    np.testing.assert_allclose(X.numpy(), np.linalg.solve(A[None].repeat(3, 0), B), atol=1e-10)


def test_a_matrix_of_low_rank_is_found_from_few_samples():
    rng = np.random.default_rng(1)
    A = rng.standard_normal((30, 3)) @ rng.standard_normal((3, 12))
    for matrix in (A, A.T):
        U, S, V = ag.svd_lowrank(ag.tensor(matrix), q=4)
        np.testing.assert_allclose((U * S @ V.T).numpy(), matrix, atol=1e-9)
        np.testing.assert_allclose(S[:3].numpy(), np.linalg.svd(matrix)[1][:3], rtol=1e-9)
        M = ag.ones(*matrix.shape, dtype=ag.float64)
        U, S, V = ag.svd_lowrank(ag.tensor(matrix) + M, q=4, M=M)
        np.testing.assert_allclose((U * S @ V.T).numpy(), matrix, atol=1e-9)


def test_principal_components_are_those_of_the_covariance():
    x = ag.randn(200, 5, dtype=ag.float64) * ag.tensor([5.0, 3.0, 1.0, 0.1, 0.1], dtype=ag.float64)
    _, S, V = ag.pca_lowrank(x, q=3, niter=10)
    values, vectors = np.linalg.eigh(np.cov(x.numpy().T))
    np.testing.assert_allclose((S**2 / 199).numpy(), values[::-1][:3], rtol=1e-6)
    np.testing.assert_allclose(np.abs(V[:, 0].numpy()), np.abs(vectors[:, -1]), atol=1e-5)


def test_the_exponential_of_large_matrices_is_scaled_per_matrix():
    A = ag.tensor([[[0.0, -100.0], [100.0, 0.0]], [[0.0, 1e-3], [0.0, 0.0]]], dtype=ag.float64)
    E = ag.matrix_exp(A).numpy()
    np.testing.assert_allclose(E[0], [[np.cos(100), -np.sin(100)], [np.sin(100), np.cos(100)]], atol=1e-11)
    np.testing.assert_allclose(E[1], [[1, 1e-3], [0, 1]], atol=1e-15)


def test_what_needs_complex_numbers_says_so():
    for name in ("eig", "eigvals"):
        with pytest.raises(AttributeError, match="are complex numbers, and accelgrad has none; linalg"):
            getattr(ag.linalg, name)
    with pytest.raises(AttributeError, match="has no attribute 'eigenvalues'"):
        ag.linalg.eigenvalues  # noqa: B018
    with pytest.raises(NotImplementedError, match="the derivative for 'geqrf' is not implemented"):
        ag.geqrf(ag.eye(2).requires_grad_())[0].sum().backward()
