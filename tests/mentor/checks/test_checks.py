"""The mechanism of the exercises' checks: any right answer passes, a wrong one gets a hint without the
solution.
"""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad
from accelgrad.mentor import checks
from accelgrad.mentor.checks import check, exercise, exercises, require, same, trials


@pytest.fixture(autouse=True)
def sealed_registry():
    before = dict(checks.REGISTRY)
    yield
    checks.REGISTRY.clear()
    checks.REGISTRY.update(before)


@pytest.fixture
def double():
    @exercise("t.double", "a function that doubles")
    def verify(answer):
        for rng in trials(3):
            x = accelgrad.from_numpy(rng.normal(size=(2, 3)))
            same(answer(x), x.numpy() * 2)


@pytest.mark.parametrize("answer", [lambda x: x * 2, lambda x: x + x, lambda x: x.numpy() * 2.0])
def test_every_right_answer_is_accepted(double, answer):
    verdict = check("t.double", answer)
    assert verdict and verdict.state == "right"
    assert "right" in repr(verdict)


def test_a_wrong_value_is_refused_with_its_place_but_not_the_right_value(double):
    verdict = check("t.double", lambda x: x * 3)
    assert not verdict and verdict.state == "wrong"
    assert "6 of 6 values are wrong; the first one at [0, 0]" in verdict.message
    first = next(trials(1)).normal(size=(2, 3))[0, 0]
    assert f"{2 * first:.4f}"[:6] not in verdict.message


def test_a_wrong_shape_is_refused_with_the_shape_that_came(double):
    assert (
        "has shape (3, 2); the right extents in another order"
        in check("t.double", lambda x: (2 * x).T).message
    )
    assert "1 dimensions, 2 are asked for" in check("t.double", lambda x: x[0]).message
    assert "the extent of dimension 1" in check("t.double", lambda x: x[:, :2]).message


def test_a_function_without_return_is_told_so(double):
    assert "is there a return?" in check("t.double", lambda x: None).message


def test_an_exception_in_the_answer_is_a_wrong_answer_that_names_its_line(double):
    def broken(x):
        return x.no_such_method()

    message = check("t.double", broken).message
    assert "AttributeError" in message and "x.no_such_method()" in message


def test_an_answer_of_the_wrong_kind_is_refused(double):
    assert "could not be used: TypeError" in check("t.double", 7).message


@pytest.mark.parametrize("nothing", [None, ...])
def test_no_answer_yet_is_neither_right_nor_an_error(double, nothing):
    verdict = check("t.double", nothing)
    assert verdict.state == "open" and not verdict
    assert "a function that doubles" in repr(verdict)


def test_a_verifier_may_return_its_hint():
    exercise("t.hint")(lambda answer: None if answer == 1 else "think of one")
    assert check("t.hint", 1)
    assert check("t.hint", 2).message == "think of one"


def test_require_gives_its_hint():
    exercise("t.require")(lambda answer: require(answer.ndim == 2, "two dimensions are needed"))
    assert check("t.require", accelgrad.ones(2, 2))
    assert check("t.require", accelgrad.ones(2)).message == "two dimensions are needed"


def test_same_compares_dtype_nan_integers_and_booleans():
    same(accelgrad.tensor([float("nan"), 1.0]), np.array([np.nan, 1.0]))
    same(accelgrad.tensor([True]), np.array([True]))
    with pytest.raises(checks.Refusal, match="dtype"):
        same(accelgrad.tensor([1.0]), [1.0], dtype=accelgrad.float64)
    with pytest.raises(checks.Refusal, match="1 of 2 values"):
        same(accelgrad.tensor([1, 3]), np.array([1, 2]))
    with pytest.raises(checks.Refusal, match="numbers are asked for"):
        same("text", 1.0)


def test_random_state_and_grad_mode_are_left_alone():
    def verify(answer):
        answer()

    exercise("t.state")(verify)
    accelgrad.manual_seed(3)
    expected = accelgrad.rand(2).tolist()
    accelgrad.manual_seed(3)

    def careless():
        accelgrad.manual_seed(99)
        accelgrad.set_grad_enabled(False)

    assert check("t.state", careless)
    assert accelgrad.is_grad_enabled()
    assert accelgrad.rand(2).tolist() == expected


def test_an_unknown_name_is_a_key_error_with_the_nearest(double):
    with pytest.raises(KeyError, match=r"did you mean 't\.double'"):
        check("t.duble", 1)


def test_names_have_two_parts_and_are_taken_once(double):
    with pytest.raises(ValueError, match=r"<notebook>\.<name>"):
        exercise("double")
    with pytest.raises(ValueError, match="already registered"):
        exercise("t.double")(lambda answer: None)
    assert [one.name for one in exercises("t")] == ["t.double"]


def test_a_verdict_shows_itself_as_escaped_html():
    exercise("t.html")(lambda answer: "a < b")
    assert "a &lt; b" in check("t.html", 1)._repr_html_()


def test_a_right_answer_is_green_and_the_package_offers_check():
    exercise("t.any")(lambda answer: None)
    assert "#2c7a4b" in accelgrad.check("t.any", 1)._repr_html_()
