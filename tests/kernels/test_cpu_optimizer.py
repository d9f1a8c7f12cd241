"""The updates of all parameters equal their plain reading to the last bit, for any formula and any list."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.arrays import backend
from accelgrad.kernels import updates

SHAPES = [[(3, 5), (), (0,), (33,)], [(1023,), (33, 31)], [(1,)], [(4097,), (1025,), (7, 1)]]
VARIANTS = [(formula, there) for formula in updates.FORMULAS for there in updates.variants(formula)]
NAMES = ["-".join([formula.__name__, *map(str, there)]) for formula, there in VARIANTS]
SGD = (0.5, 0.0, 0.0, 0.0, 0.0)  # plain descent with the rate 0.5


def arrays(shapes: list[tuple[int, ...]], dtype: Any, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [np.array(generator.normal(size=shape).astype(dtype)) for shape in shapes]


def copies(lists: Any) -> Any:
    return [None if one is None else [x.copy() for x in one] for one in lists]


def equal(found: Any, wanted: Any) -> None:
    for one, other in zip(found, wanted, strict=True):
        if one is None:
            assert other is None
            continue
        for x, y in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, y)


def lists(there: tuple[bool, ...], shapes: list[tuple[int, ...]], dtype: Any) -> list[Any]:
    """Parameters, gradients, and what is kept (which no formula makes negative), None for what is not
    there.
    """
    made: list[Any] = [arrays(shapes, dtype, 0)]
    for place, here in enumerate(there):
        column = arrays(shapes, dtype, place + 1)
        made.append((column if place == 0 else [np.array(abs(x)) for x in column]) if here else None)
    return made


def numbers_for(formula: Any, seed: int) -> tuple[float, ...]:
    """Some in (0, 1); every third seed has zeros, which the conditions in the formulas look for."""
    generator = np.random.default_rng(seed)
    chosen = generator.uniform(0.1, 0.9, len(updates.numbers_of(formula)))
    return tuple((chosen * (seed % 3 > 0)).tolist())


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(("formula", "there"), VARIANTS, ids=NAMES)
def test_a_kernel_equals_its_formula_to_the_last_bit(
    formula: Any, there: Any, shapes: Any, dtype: Any, threads: int, xp: Any, took: list[str]
) -> None:
    ours = lists(there, shapes, dtype)
    theirs = copies(ours)
    for step, common in enumerate([(1.0, 0.0, 1.0), (-1.0, 0.1, 1.0), (1.0, 0.0, 0.9), (1.0, 0.3, 0.7)]):
        numbers = numbers_for(formula, step)
        xp.update_all(ours[0], formula, ours[1:], numbers, *common)
        updates.update_all(np, theirs[0], formula, theirs[1:], numbers, *common)
        equal(ours, theirs)
    assert took == ["update_all"] * 4


@pytest.mark.parametrize(("formula", "there"), VARIANTS, ids=NAMES)
def test_nan_and_the_infinities_go_their_way(
    formula: Any, there: Any, dtype: Any, xp: Any, took: Any
) -> None:
    ours = lists(there, [(40,)], dtype)
    for place, one in enumerate(ours):
        if one is not None:
            one[0][3 * place : 3 * place + 3] = [np.nan, np.inf, -np.inf]
    theirs = copies(ours)
    numbers = numbers_for(formula, 1)
    xp.update_all(ours[0], formula, ours[1:], numbers, -1.0, 0.1, 0.9)
    updates.update_all(np, theirs[0], formula, theirs[1:], numbers, -1.0, 0.1, 0.9)
    assert took == ["update_all"]
    equal(ours, theirs)


@pytest.mark.parametrize(("formula", "there"), VARIANTS, ids=NAMES)
def test_every_parameter_may_have_numbers_of_its_own(formula: Any, there: Any, xp: Any, took: Any) -> None:
    shapes = [(5,), (40, 2), (), (6,), (2,)]
    ours = lists(there, shapes, np.float32)
    theirs = copies(ours)
    numbers = [numbers_for(formula, seed) for seed in (1, 2, 1, 3, 2)]
    xp.update_all(ours[0], formula, ours[1:], numbers, -1.0, 0.1, 0.9)
    updates.update_all(np, theirs[0], formula, theirs[1:], numbers, -1.0, 0.1, 0.9)
    assert took == ["update_all"]
    equal(ours, theirs)


def test_numbers_may_be_an_array(dtype: Any, xp: Any, took: Any) -> None:
    ours, theirs = arrays([(5,), (33,)], dtype, 0), arrays([(5,), (33,)], dtype, 0)
    factor = np.array([0.3], dtype)
    xp.update_all(ours, updates.scale, [None], factor)
    updates.update_all(np, theirs, updates.scale, [None], factor)
    assert took == ["update_all"]
    equal([ours], [theirs])


def test_numbers_of_numpy_are_rounded_as_pythons(formula: Any) -> None:
    ours, theirs = arrays([(33,)], np.float32, 0), arrays([(33,)], np.float32, 0)
    formula.update_all(ours, updates.scale, [None], (np.float64(0.3),))
    formula.update_all(theirs, updates.scale, [None], (0.3,))
    equal([ours], [theirs])


def test_transposed_gradients_are_copied_not_refused(xp: Any, took: Any) -> None:
    params = arrays([(31, 33)], np.float32, 0)
    grads = [np.asfortranarray(params[0])]
    xp.update_all(params, updates.sgd, [grads, None], (1.0, *SGD[1:]))
    assert took == ["update_all"]
    np.testing.assert_array_equal(params[0], 0)


def test_a_wrong_call_is_an_error_of_pythons_and_the_kernel_remains(xp: Any, took: Any) -> None:
    params = arrays([(5,)], np.float32, 0)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'nesterov'"):
        xp.update_all(params, updates.sgd, [params, None], SGD[1:])
    with pytest.raises(TypeError):
        xp.update_all(params, updates.adagrad, [params, None], (0.1, 0.1))
    xp.update_all(params, updates.sgd, [[params[0].copy()], None], SGD)
    assert took == ["update_all"] and ("cpu", "update_all") not in kernels.missing


@pytest.mark.parametrize("order", ["F", "strided"])
def test_strided_parameters_are_stepped_where_they_are(order: str, xp: Any, took: Any) -> None:
    base = np.ones((8, 6), np.float32)
    param = base.T if order == "F" else base[::2]
    xp.update_all([param], updates.sgd, [[np.ones(param.shape, np.float32)], None], SGD)
    assert took == []
    assert (param == 0.5).all() and base.sum() == (24 if order == "F" else 36)


@pytest.mark.parametrize("own", [False, True])
def test_parameters_of_two_dtypes_are_all_stepped_once(own: bool, xp: Any) -> None:
    params = [np.ones(3, np.float32), np.ones(2, np.float32), np.ones(4, np.float64)]
    grads = [np.ones(3, np.float32), np.ones(2, np.float32), np.ones(4)]
    numbers = [SGD, (0.25, *SGD[1:]), SGD] if own else SGD
    xp.update_all(params, updates.sgd, [grads, None], numbers)
    assert [float(x[0]) for x in params] == [0.5, 0.75 if own else 0.5, 0.5]


def test_half_precision_takes_the_plain_reading(xp: Any, took: Any) -> None:
    params, grads = [np.ones(3, np.float16)], [np.ones(3, np.float16)]
    xp.update_all(params, updates.sgd, [grads, None], SGD)
    assert took == [] and params[0].dtype == np.float16 and (params[0] == 0.5).all()


@pytest.mark.parametrize("numbers", [SGD, [SGD]])
def test_lists_that_do_not_match_raise_and_nothing_is_written_out_of_bounds(xp: Any, numbers: Any) -> None:
    params = arrays([(5,)], np.float32, 0)
    with pytest.raises(ValueError):
        xp.update_all(params, updates.sgd, [[np.ones(4, np.float32)], None], numbers)
    with pytest.raises(ValueError):
        xp.update_all(params, updates.sgd, [[], None], numbers)
    with pytest.raises(ValueError):
        xp.update_all(params, updates.sgd, [[np.ones(5, np.float32)], None], [SGD, SGD])


def test_a_read_only_parameter_is_refused_by_numpy(xp: Any) -> None:
    param = np.ones(5, np.float32)
    param.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        xp.update_all([param], updates.sgd, [[np.ones(5, np.float32)], None], SGD)
    assert (param == 1).all()


def test_a_formula_of_somebody_elses_is_read_over_arrays(xp: Any, took: Any) -> None:
    def signs(xp: Any, x: Any, g: Any, /, lr: float) -> Any:
        x -= lr * xp.sign(g)
        return (x,)

    param = np.ones(3, np.float32)
    xp.update_all([param], signs, [[np.array([3, -3, 0], np.float32)]], (0.5,))
    assert took == [] and param.tolist() == [0.5, 1.5, 1.0]


def test_the_steps_pay_at_any_size_in_the_mode_auto(took: Any) -> None:
    import numba  # noqa: F401 - the first calls would wait with this import

    with kernels.use("auto"):
        backend.CPU.update_all([np.ones(3, np.float32)], updates.sgd, [[np.ones(3, np.float32)], None], SGD)
    assert took == ["update_all"]


# --- the norm of all of them


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("ord", [1, 2, math.inf])
def test_the_norm_of_all_is_that_of_one_vector(
    ord: float, shapes: Any, dtype: Any, threads: int, xp: Any, took: Any
) -> None:
    given = arrays(shapes, dtype, 0)
    found = xp.total_norm(given, ord)
    wanted = np.linalg.norm(np.concatenate([x.ravel() for x in given]).astype(np.float64), ord)
    # The largest element of an empty array is an error of NumPy's, and no kernel takes that call.
    assert took == ["total_norm"]
    assert found.dtype == dtype and np.ndim(found) == 0
    np.testing.assert_allclose(found, wanted, rtol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("ord", [1, 2, math.inf])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_norm_shows_what_is_not_finite(ord: float, value: float, xp: Any, took: Any) -> None:
    given = arrays([(40,), (3, 3)], np.float32, 0)
    given[1][1, 1] = value
    np.testing.assert_array_equal(xp.total_norm(given, ord), np.float32(value))
    assert took == ["total_norm"]


def test_squares_beyond_float32_are_summed_all_the_same(xp: Any, took: Any) -> None:
    assert xp.total_norm([np.full(4, 1e30, np.float32)], 2) == np.float32(2e30)
    assert took == ["total_norm"]


@pytest.mark.parametrize("ord", [0, 3, -math.inf])
def test_other_norms_take_the_plain_way(ord: float, xp: Any, formula: Any, took: Any) -> None:
    given = arrays([(40,), (3, 3)], np.float64, 0)
    assert xp.total_norm(given, ord) == pytest.approx(formula.total_norm(given, ord))
    assert "total_norm" not in took


def test_the_norm_of_strided_arrays_takes_the_plain_way(xp: Any, took: Any) -> None:
    given = arrays([(40, 4)], np.float64, 0)[0]
    assert xp.total_norm([given[::2], given[1::2]], 2) == pytest.approx(np.linalg.norm(given))
    assert "total_norm" not in took
