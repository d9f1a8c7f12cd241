"""Random tensors: seeds, ranges, moments, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import Generator

DRAWS = {
    "rand": lambda g: accelgrad.rand(4, 5, generator=g),
    "randn": lambda g: accelgrad.randn((4, 5), generator=g),
    "randint": lambda g: accelgrad.randint(0, 100, (20,), generator=g),
    "randperm": lambda g: accelgrad.randperm(20, generator=g),
    "normal": lambda g: accelgrad.normal(accelgrad.zeros(20), 2.0, generator=g),
    "bernoulli": lambda g: accelgrad.bernoulli(accelgrad.full((40,), 0.5), generator=g),
    "multinomial": lambda g: accelgrad.multinomial(accelgrad.ones(20), 10, generator=g),
    "poisson": lambda g: accelgrad.poisson(accelgrad.full((20,), 9.0), generator=g),
    "uniform_": lambda g: accelgrad.empty(20).uniform_(-1, 1, generator=g),
    "normal_": lambda g: accelgrad.empty(20).normal_(3, 2, generator=g),
    "bernoulli_": lambda g: accelgrad.empty(40).bernoulli_(0.5, generator=g),
    "exponential_": lambda g: accelgrad.empty(20).exponential_(2, generator=g),
    "random_": lambda g: accelgrad.empty(20).random_(0, 100, generator=g),
    "log_normal_": lambda g: accelgrad.empty(20).log_normal_(generator=g),
    "cauchy_": lambda g: accelgrad.empty(20).cauchy_(generator=g),
    "geometric_": lambda g: accelgrad.empty(40).geometric_(0.3, generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_seed_draws_the_same_numbers_and_leaves_other_generators_alone(name: str) -> None:
    state = accelgrad.get_rng_state()
    first = DRAWS[name](Generator().manual_seed(5))
    again = DRAWS[name](Generator().manual_seed(5))
    other = DRAWS[name](Generator().manual_seed(6))
    assert first.tolist() == again.tolist() != other.tolist()
    assert accelgrad.get_rng_state().tolist() == state.tolist()


@pytest.mark.parametrize("name", DRAWS)
def test_manual_seed_seeds_the_default_generator(name: str) -> None:
    accelgrad.manual_seed(11)
    first = DRAWS[name](None)
    accelgrad.manual_seed(11)
    assert DRAWS[name](None).tolist() == first.tolist() != DRAWS[name](None).tolist()


@pytest.mark.parametrize(
    ("draw", "mean", "deviation"),
    [
        (lambda: accelgrad.rand(20000), 0.5, 12**-0.5),
        (lambda: accelgrad.rand(20000, dtype=accelgrad.float16), 0.5, 12**-0.5),
        (lambda: accelgrad.randn(20000), 0.0, 1.0),
        (lambda: accelgrad.randn(20000, dtype=accelgrad.float64), 0.0, 1.0),
        (lambda: accelgrad.normal(2.0, 3.0, (20000,)), 2.0, 3.0),
        (lambda: accelgrad.normal(accelgrad.full((20000,), 2.0), accelgrad.full((20000,), 3.0)), 2.0, 3.0),
        (lambda: accelgrad.empty(20000).uniform_(2, 4), 3.0, 2 * 12**-0.5),
        (lambda: accelgrad.empty(20000).normal_(2, 3), 2.0, 3.0),
        (lambda: accelgrad.empty(20000).exponential_(2), 0.5, 0.5),
        (lambda: accelgrad.empty(20000).bernoulli_(0.25), 0.25, (0.25 * 0.75) ** 0.5),
        (lambda: accelgrad.bernoulli(accelgrad.full((20000,), 0.25)), 0.25, (0.25 * 0.75) ** 0.5),
        (lambda: accelgrad.poisson(accelgrad.full((20000,), 4.0)), 4.0, 2.0),
        (lambda: accelgrad.empty(20000).geometric_(0.25), 4.0, 12**0.5),
        (lambda: accelgrad.empty(20000).log_normal_(0, 0.5).log(), 0.0, 0.5),
        (lambda: accelgrad.randint(0, 10, (20000,)).double(), 4.5, 8.25**0.5),
    ],
)
def test_mean_and_deviation_are_those_of_the_distribution(draw: Any, mean: float, deviation: float) -> None:
    accelgrad.manual_seed(0)
    values = draw().numpy().astype(np.float64)
    assert abs(values.mean() - mean) < 5 * deviation / len(values) ** 0.5
    assert abs(values.std() - deviation) < 0.05 * deviation


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_rand_stays_below_one_and_keeps_its_type(kind: str) -> None:
    x = accelgrad.rand(5000, dtype=getattr(accelgrad, kind))
    assert x.array.dtype == kind and x.array.min() >= 0 and x.array.max() < 1


def test_randint_covers_its_range_and_no_more() -> None:
    assert sorted(set(accelgrad.randint(-2, 3, (500,)).tolist())) == [-2, -1, 0, 1, 2]
    assert accelgrad.randint(3, (2,), dtype=accelgrad.float32).dtype is accelgrad.float32


def test_randperm_holds_every_number_once() -> None:
    assert sorted(accelgrad.randperm(50).tolist()) == list(range(50))


def test_multinomial_follows_the_weights() -> None:
    accelgrad.manual_seed(0)
    picked = accelgrad.multinomial(
        accelgrad.tensor([[1.0, 3.0, 0.0], [0.0, 1.0, 1.0]]), 8000, replacement=True
    )
    shares = np.stack([np.bincount(row, minlength=3) / 8000 for row in picked.numpy()])
    np.testing.assert_allclose(shares, [[0.25, 0.75, 0], [0, 0.5, 0.5]], atol=0.03)


def test_multinomial_without_replacement_names_nothing_twice() -> None:
    for _ in range(20):
        picked = accelgrad.multinomial(accelgrad.tensor([1.0, 5.0, 0.0, 2.0]), 3).tolist()
        assert sorted(picked) == [0, 1, 3]
    with pytest.raises(RuntimeError, match="not enough non-negative category"):
        accelgrad.multinomial(accelgrad.tensor([1.0, 0.0]), 2)


def test_like_forms_take_shape_and_type() -> None:
    model = accelgrad.zeros(2, 3, dtype=accelgrad.float64)
    for made in (accelgrad.rand_like(model), accelgrad.randn_like(model), accelgrad.randint_like(model, 5)):
        assert made.shape == model.shape and made.dtype is model.dtype
    assert accelgrad.rand_like(model, dtype=accelgrad.float32).dtype is accelgrad.float32


def test_fork_rng_returns_to_the_state_before() -> None:
    before = accelgrad.get_rng_state()
    with accelgrad.fork_rng():
        accelgrad.rand(3)
    assert accelgrad.get_rng_state().tolist() == before.tolist()


def test_the_random_tensors_may_need_gradients() -> None:
    assert accelgrad.randn(2, requires_grad=True).requires_grad
    x = accelgrad.zeros(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x.normal_()
    with accelgrad.no_grad():
        x.normal_()
    assert x.requires_grad


@pytest.mark.parametrize(
    ("draw", "exception", "message"),
    [
        (lambda: accelgrad.rand(2, dtype=accelgrad.int64), NotImplementedError, "not implemented for 'Long'"),
        (lambda: accelgrad.rand(-1), RuntimeError, "negative dimension"),
        (
            lambda: accelgrad.rand(2, generator=3),
            TypeError,
            "argument 'generator' must be Generator, not int",
        ),
        (lambda: accelgrad.randint(5, 5, (2,)), RuntimeError, "random_ expects 'from' to be less than 'to'"),
        (lambda: accelgrad.randperm(-1), RuntimeError, "n must be non-negative"),
        (lambda: accelgrad.zeros(2).uniform_(2, 1), RuntimeError, "uniform_ expects to return a"),
        (lambda: accelgrad.zeros(2).normal_(0, -1), RuntimeError, "normal expects std >= 0.0"),
        (
            lambda: accelgrad.normal(0.0, accelgrad.tensor([-1.0])),
            RuntimeError,
            "normal expects all elements of std >= 0.0",
        ),
        (lambda: accelgrad.normal(0.0, 1.0), TypeError, "needs a size"),
        (lambda: accelgrad.zeros(2).bernoulli_(2.0), RuntimeError, r"bernoulli_ expects p to be in \[0, 1\]"),
        (lambda: accelgrad.bernoulli(accelgrad.tensor([1.5])), RuntimeError, "p_in"),
        (lambda: accelgrad.zeros(2).exponential_(0), RuntimeError, "exponential_ expects lambda > 0.0"),
        (
            lambda: accelgrad.zeros(2).random_(3, 3),
            RuntimeError,
            "random_ expects 'from' to be less than 'to'",
        ),
        (lambda: accelgrad.zeros(2).log_normal_(0, 0), RuntimeError, "log_normal_ expects std > 0.0"),
        (lambda: accelgrad.zeros(2).cauchy_(0, 0), RuntimeError, "cauchy_ expects sigma > 0.0"),
        (lambda: accelgrad.zeros(2).geometric_(0), RuntimeError, r"geometric_ expects p to be in \(0, 1\)"),
        (lambda: accelgrad.poisson(accelgrad.tensor([-1.0])), RuntimeError, "invalid Poisson rate"),
    ],
)
def test_wrong_parameters_are_refused(draw: Any, exception: type[Exception], message: str) -> None:
    with pytest.raises(exception, match=message):
        draw()
