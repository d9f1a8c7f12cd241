"""The optimizers' steps equal the plain formulas to the last bit, for any list of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accelgrad import backend, kernels
from accelgrad.kernels import plain

SHAPES = [[(3, 5), (), (0,), (33,)], [(1023,), (33, 31)], [(1,)], [(4097,), (1025,), (7, 1)]]


def arrays(shapes: list[tuple[int, ...]], dtype: Any, seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [np.array(generator.normal(size=shape).astype(dtype)) for shape in shapes]


def copies(lists: Any) -> Any:
    return [[x.copy() for x in one] for one in lists]


def equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
        {"momentum": 0.9, "nesterov": True, "maximize": True},
    ],
)
def test_sgd_equals_its_formula_to_the_last_bit(shapes, options, dtype, threads, xp, formula, took):
    params = arrays(shapes, dtype, 0)
    buffers: list[Any] = [None] * len(params)
    others, other_buffers = copies([params])[0], list(buffers)
    for step in range(4):
        grads = arrays(shapes, dtype, step + 1)
        xp.sgd_step(params, grads, buffers, 0.01, **options)
        plain.sgd_step(formula, others, copies([grads])[0], other_buffers, 0.01, **options)
    equal(params, others)
    # The first step with momentum makes the buffers, which is the formula's part.
    assert took == ["sgd_step"] * (3 if "momentum" in options else 4)
    if "momentum" in options:
        equal(buffers, other_buffers)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True, "maximize": True}]
)
def test_adam_equals_its_formula_to_the_last_bit(shapes, amsgrad, options, dtype, threads, xp, formula, took):
    params = arrays(shapes, dtype, 0)
    state = [[np.zeros_like(x) for x in params] for _ in range(3)]
    others, other_state = copies([params])[0], copies(state)
    for step in range(1, 4):
        grads = arrays(shapes, dtype, step)
        for run, p, s in ((xp.adam_step, params, state), (formula.adam_step, others, other_state)):
            run(
                p,
                grads,
                s[0],
                s[1],
                [step] * len(p),
                0.01,
                max_exp_avg_sqs=s[2] if amsgrad else None,
                **options,
            )
    assert took == ["adam_step"] * 3
    equal(params, others)
    for one, other in zip(state, other_state, strict=True):
        equal(one, other)


def test_transposed_gradients_are_copied_not_refused(xp, took):
    params = arrays([(31, 33)], np.float32, 0)
    grads = [np.asfortranarray(params[0])]
    xp.sgd_step(params, grads, None, 1.0)
    assert took == ["sgd_step"]
    np.testing.assert_array_equal(params[0], 0)


@pytest.mark.parametrize("order", ["F", "strided"])
def test_strided_parameters_are_stepped_where_they_are(order, xp, took):
    base = np.ones((8, 6), np.float32)
    param = base.T if order == "F" else base[::2]
    xp.sgd_step([param], [np.ones(param.shape, np.float32)], None, 0.5)
    assert took == []
    assert (param == 0.5).all() and base.sum() == (24 if order == "F" else 36)


def test_parameters_of_two_dtypes_are_all_stepped(xp):
    params = [np.ones(3, np.float32), np.ones(4, np.float64)]
    xp.sgd_step(params, [np.ones(3, np.float32), np.ones(4)], None, 0.25)
    assert (params[0] == 0.75).all() and (params[1] == 0.75).all()


def test_parameters_of_different_ages_are_stepped_by_their_own(xp, formula):
    params, grads = arrays([(5,), (6,)], np.float64, 0), arrays([(5,), (6,)], np.float64, 1)
    state = [[np.zeros_like(x) for x in params] for _ in range(2)]
    others, other_state = copies([params])[0], copies(state)
    xp.adam_step(params, grads, *state, [1, 7], 0.01)
    formula.adam_step(others, grads, *other_state, [1, 7], 0.01)
    equal(params, others)


def test_lists_that_do_not_match_raise_and_nothing_is_written_out_of_bounds(xp):
    params = arrays([(5,)], np.float32, 0)
    with pytest.raises(ValueError):
        xp.sgd_step(params, [np.ones(4, np.float32)], None, 0.1)
    with pytest.raises(ValueError):
        xp.sgd_step(params, [], None, 0.1)


def test_a_read_only_parameter_is_refused_by_numpy(xp):
    param = np.ones(5, np.float32)
    param.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        xp.sgd_step([param], [np.ones(5, np.float32)], None, 0.1)
    assert (param == 1).all()


def test_the_steps_pay_at_any_size_in_the_mode_auto(took):
    import numba  # noqa: F401 - the first calls would wait with this import

    with kernels.use("auto"):
        backend.CPU.sgd_step([np.ones(3, np.float32)], [np.ones(3, np.float32)], None, 0.1)
    assert took == ["sgd_step"]
