"""The text of tensors, compared with PyTorch's own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import accelgrad
from accelgrad.core.printing import get_printoptions, printoptions, set_printoptions

pytestmark = pytest.mark.host

KINDS = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    set_printoptions(profile="default")


def same_text(array: np.ndarray, **options: object) -> None:
    """Equal texts, apart from where the line before ``dtype=`` breaks: our package's name is longer."""
    torch = pytest.importorskip("torch")
    array = np.asarray(array)
    torch.set_printoptions(profile="default", **options)
    set_printoptions(profile="default", **options)
    try:
        theirs = repr(torch.from_numpy(array.copy())).replace("torch.", "accelgrad.")
    finally:
        torch.set_printoptions(profile="default")
    ours = repr(accelgrad.from_numpy(array.copy()))
    head, _, note = theirs.partition("dtype=")
    our_head, _, our_note = ours.partition("dtype=")
    assert (our_head.rstrip() if note else our_head) == (head.rstrip() if note else head)
    assert our_note == note


def numbers(seed: int, kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, [40, 12, 7, 5][seed % 4], seed % 4 + 1))
    values = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 9)
    if seed % 3 == 1:
        values = np.round(values)
    if seed % 5 == 2:
        values = values * 10.0 ** rng.integers(-8, 8, shape)
    if seed % 7 == 3:
        values = np.where(rng.random(shape) < 0.3, rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0]), values)
    if kind == "bool":
        return values > 0
    with np.errstate(over="ignore"):
        return values.astype(kind) if kind[0] == "f" else rng.integers(0, 100, shape).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_random_tensors_print_as_pytorchs(kind: str) -> None:
    for seed in range(60):
        same_text(numbers(seed, kind))


@pytest.mark.parametrize(
    "shape", [(), (0,), (0, 3), (2, 0), (1001,), (7, 200), (30, 4, 10), (3, 3, 3, 40), (1000,)]
)
@pytest.mark.parametrize("kind", ["float32", "int64", "float64"])
def test_empty_single_and_large_tensors_print_as_pytorchs(shape: tuple[int, ...], kind: str) -> None:
    same_text((np.arange(int(np.prod(shape))).reshape(shape) / 2).astype(kind))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2},
        {"sci_mode": True},
        {"sci_mode": False},
        {"threshold": 5, "edgeitems": 1},
        {"linewidth": 40},
        {"edgeitems": 0, "threshold": 2},
    ],
    ids=str,
)
def test_options_act_as_pytorchs(options: dict[str, object]) -> None:
    for seed in range(20):
        same_text(numbers(seed, "float32"), **options)


@pytest.mark.parametrize(
    "special",
    [[np.nan], [np.inf, 1.0], [np.nan, 1.5], [0.0, -0.0], [1e-5], [1e9], [1.0, 1001.0], [1e-4, 1.0]],
)
def test_special_values_print_as_pytorchs(special: list[float]) -> None:
    same_text(np.array(special, dtype=np.float32))


def test_what_is_out_of_the_ordinary_is_noted() -> None:
    x = accelgrad.tensor([1.0], requires_grad=True)
    assert repr(x) == "tensor([1.], requires_grad=True)"
    assert repr(x + 1) == "tensor([2.], grad_fn=<AddBackward0>)"
    assert repr(x.double()) == "tensor([1.], dtype=accelgrad.float64, grad_fn=<CastBackward0>)"
    assert repr(accelgrad.tensor([], dtype=accelgrad.int64)) == "tensor([], dtype=accelgrad.int64)"
    assert repr(accelgrad.zeros(0, 2)) == "tensor([], size=(0, 2))"


def test_the_default_dtype_is_not_noted() -> None:
    accelgrad.set_default_dtype(accelgrad.float64)
    assert repr(accelgrad.ones(1)) == "tensor([1.])"
    assert repr(accelgrad.ones(1, dtype=accelgrad.float32)) == "tensor([1.], dtype=accelgrad.float32)"


def test_options_hold_within_their_block_only() -> None:
    with printoptions(precision=1):
        assert repr(accelgrad.tensor(0.26)) == "tensor(0.3)"
        assert get_printoptions()["precision"] == 1
    assert repr(accelgrad.tensor(0.26)) == "tensor(0.2600)"


def test_profiles_set_several_options() -> None:
    set_printoptions(profile="short")
    assert repr(accelgrad.tensor(0.268)) == "tensor(0.27)"
    set_printoptions(profile="full")
    assert "..." not in repr(accelgrad.zeros(2000))
    with pytest.raises(ValueError, match="profile must be one of default, short, full"):
        set_printoptions(profile="long")
