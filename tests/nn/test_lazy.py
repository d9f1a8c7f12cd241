"""Norms without a number of channels, and pools at random places: they become PyTorch's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn

torch = pytest.importorskip("torch")

NORMS = [
    ("LazyBatchNorm1d", (4, 3), {}),
    ("LazyBatchNorm1d", (4, 3, 5), {"momentum": None}),
    ("LazyBatchNorm2d", (4, 3, 2, 2), {"affine": False}),
    ("LazyBatchNorm3d", (4, 3, 2, 2, 2), {"track_running_stats": False}),
    ("LazyInstanceNorm1d", (4, 3, 5), {}),
    ("LazyInstanceNorm2d", (4, 3, 2, 2), {"track_running_stats": False}),
    ("LazyInstanceNorm3d", (4, 3, 2, 2, 2), {}),
]


@pytest.mark.parametrize(("name", "shape", "options"), NORMS, ids=str)
def test_a_lazy_norm_becomes_pytorchs(name: str, shape: Any, options: dict[str, Any]) -> None:
    mine, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(mine) == repr(theirs) and list(mine.state_dict()) == list(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    copied = copy.deepcopy(mine)
    for _ in range(2):
        found, expected = mine(accelgrad.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), atol=1e-5)
    assert type(mine).__name__ == type(theirs).__name__ == name.removeprefix("Lazy")
    assert repr(mine) == repr(theirs)
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(mine.state_dict()[key].numpy(), value.numpy(), atol=1e-6, err_msg=key)
    if options.get("affine", True):
        copied.load_state_dict(mine.state_dict())
        assert copied.weight.shape == (3,)
        copied(accelgrad.tensor(x))
        assert copied.num_features == 3


def test_an_unbatched_input_shows_its_channels_too() -> None:
    norm = nn.LazyInstanceNorm1d()
    norm(accelgrad.rand(3, 5))
    assert norm.num_features == 3


def test_a_buffer_without_shape_says_so() -> None:
    norm = nn.LazyBatchNorm1d()
    assert repr(norm.running_mean) == "<UninitializedBuffer>" and norm.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter or buffer"):
        norm.running_mean.shape  # noqa: B018


@pytest.mark.parametrize(
    ("name", "shape", "args"),
    [
        ("FractionalMaxPool2d", (2, 3, 7, 8), {"kernel_size": 2, "output_size": (3, 4)}),
        ("FractionalMaxPool2d", (2, 3, 7, 8), {"kernel_size": (2, 3), "output_ratio": 0.5}),
        (
            "FractionalMaxPool3d",
            (2, 3, 5, 7, 8),
            {"kernel_size": 2, "output_size": 3, "return_indices": True},
        ),
    ],
)
def test_a_pool_with_given_draws_is_pytorchs(name: str, shape: Any, args: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    x, draws = rng.standard_normal(shape), rng.random((2, 3, len(shape) - 2))
    mine = getattr(nn, name)(**args, _random_samples=accelgrad.tensor(draws))(accelgrad.tensor(x))
    theirs = getattr(torch.nn, name)(**args, _random_samples=torch.tensor(draws))(torch.tensor(x))
    pairs = zip(mine, theirs, strict=True) if args.get("return_indices") else [(mine, theirs)]
    for one, other in pairs:
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_pool_draws_anew_in_every_call() -> None:
    pool = nn.FractionalMaxPool2d(2, output_size=5)
    x = accelgrad.rand(1, 1, 12, 12)
    assert any(not accelgrad.equal(pool(x), pool(x)) for _ in range(20))


def test_a_pool_needs_one_size() -> None:
    with pytest.raises(ValueError, match="FractionalMaxPool2d requires specifying either an output size"):
        nn.FractionalMaxPool2d(2)
    with pytest.raises(ValueError, match="only one of output_size and output_ratio may be specified"):
        nn.FractionalMaxPool2d(2, 2, 0.5)
    with pytest.raises(ValueError, match="output_ratio must be between 0 and 1"):
        nn.FractionalMaxPool3d(2, output_ratio=1.5)
