"""The special functions against known values, identities and the C library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accelgrad.kernels import special

# 17 digits from the functions' definitions, evaluated with 40-digit arithmetic
ERFINV = {
    0.1: 0.088855990494257692,
    0.5: 0.47693627620446987,
    0.999: 2.3267537655135245,
    1 - 2**-40: 5.05125408524939,
}
DIGAMMA = {
    1.0: -0.57721566490153286,
    0.5: -1.9635100260214235,
    10.0: 2.2517525890667211,
    -0.5: 0.036489973978576521,
}


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_erf_and_erfc_agree_with_the_c_library(name, formula):
    x = np.concatenate(
        [np.linspace(-6, 6, 4001), np.linspace(6, 26, 501), [0.46875, 4, 1e-300, 1e200, -1e200]]
    )
    found = getattr(special, name)(formula, x)
    wanted = np.array([getattr(math, name)(value) for value in x])
    np.testing.assert_allclose(found, wanted, rtol=2e-15)


def test_lgamma_agrees_with_the_c_library(formula):
    x = np.concatenate(
        [np.linspace(0.01, 30, 4001), 10.0 ** np.linspace(-300, 300, 101), -np.linspace(0.3, 9.7, 300)]
    )
    found = special.lgamma(formula, x)
    wanted = np.array([math.lgamma(value) for value in x])
    np.testing.assert_allclose(found, wanted, rtol=5e-15, atol=5e-15)


@pytest.mark.parametrize(
    "x, wanted", [(0.0, math.inf), (-3.0, math.inf), (1.0, 0), (2.0, 0), (math.inf, math.inf)]
)
def test_lgamma_at_its_poles_and_zeros(x, wanted, formula):
    assert special.lgamma(formula, np.array(x)) == wanted


@pytest.mark.parametrize("x, wanted", DIGAMMA.items())
def test_digamma_has_its_known_values(x, wanted, formula):
    assert special.digamma(formula, np.array(x)) == pytest.approx(wanted, rel=1e-14)


def test_digamma_obeys_its_recurrence(formula):
    x = np.linspace(0.05, 20, 999)
    difference = special.digamma(formula, x + 1) - special.digamma(formula, x)
    np.testing.assert_allclose(difference, 1 / x, rtol=1e-12, atol=1e-13)


def test_digamma_at_its_poles_is_as_pytorchs(formula):
    found = special.digamma(formula, np.array([0.0, -0.0, -1.0, -7.0]))
    np.testing.assert_array_equal(found, [-np.inf, np.inf, np.nan, np.nan])


@pytest.mark.parametrize("y, wanted", ERFINV.items())
def test_erfinv_has_its_known_values(y, wanted, formula):
    assert special.erfinv(formula, np.array(y)) == pytest.approx(wanted, rel=2e-15)


def test_erfinv_undoes_erf_to_the_last_digits(formula):
    y = np.concatenate([np.linspace(-0.999, 0.999, 2001), 1 - 2.0 ** -np.arange(10, 53)])
    x = special.erfinv(formula, y)
    # where y is near 1, its distance from 1 is what x is made of
    complement = np.array([math.erfc(abs(value)) for value in x])
    np.testing.assert_allclose(complement, 1 - np.abs(y), rtol=1e-12)
    np.testing.assert_array_equal(np.sign(x), np.sign(y))


def test_erfinv_at_and_beyond_the_ends(formula):
    found = special.erfinv(formula, np.array([-1.0, 1.0, 1.5, -2.0, np.nan, 0.0]))
    np.testing.assert_array_equal(found, [-np.inf, np.inf, np.nan, np.nan, np.nan, 0.0])


@pytest.mark.parametrize("name", special.__all__)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_special_functions_keep_the_dtype_and_pass_nan(name, dtype, formula):
    x = np.array([0.25, np.nan, 0.75], dtype)
    found = getattr(special, name)(formula, x)
    assert found.dtype == dtype
    assert np.isnan(found).tolist() == [False, True, False]
    exact = getattr(special, name)(formula, x.astype(np.float64))
    np.testing.assert_allclose(found.astype(np.float64), exact, rtol=4 * np.finfo(dtype).eps)
