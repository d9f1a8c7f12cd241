"""Every random draw gives the same numbers on both devices for a seed, and takes as much from the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, transforms
from accelgrad.nn import functional as F
from accelgrad.ops.registry import OPS

pytestmark = pytest.mark.host
init = nn.init


@pytest.fixture(autouse=True)
def only_with_a_card(device: str) -> None:
    if device != "gpu":
        pytest.skip("needs pytest --device standin, cupy-on-host or gpu")


def ramp(*shape: int, device: str) -> accelgrad.Tensor:
    """Numbers between 0 and 1."""
    size = int(np.prod(shape))
    return accelgrad.from_numpy((np.arange(1, size + 1, dtype="float32") / (size + 1)).reshape(shape)).to(
        device
    )


def weight(where: str, *shape: int) -> accelgrad.Tensor:
    return accelgrad.zeros(*shape, device=where)


# One call for every operation that draws; the test below demands that none is missing.
DRAWS: dict[str, Callable[[str], Any]] = {
    "rand": lambda where: accelgrad.rand(3, 5, device=where),
    "randn": lambda where: accelgrad.randn(3, 5, device=where),
    "randint": lambda where: accelgrad.randint(-3, 9, (40,), device=where),
    "randperm": lambda where: accelgrad.randperm(17, device=where),
    "rand_like": lambda where: accelgrad.rand_like(weight(where, 7)),
    "randn_like": lambda where: accelgrad.randn_like(weight(where, 7).double()),
    "randint_like": lambda where: accelgrad.randint_like(weight(where, 30), 5),
    "bernoulli": lambda where: accelgrad.bernoulli(ramp(30, device=where)),
    "normal": lambda where: accelgrad.normal(ramp(9, device=where), ramp(9, device=where)),
    "poisson": lambda where: accelgrad.poisson(ramp(30, device=where) * 5),
    "multinomial": lambda where: accelgrad.multinomial(ramp(2, 9, device=where), 5),
    "dropout": lambda where: accelgrad.dropout(accelgrad.ones(7, 33, device=where), 0.3),
    "alpha_dropout": lambda where: accelgrad.alpha_dropout(ramp(50, device=where), 0.4, True),
    "feature_dropout": lambda where: accelgrad.feature_dropout(
        accelgrad.ones(5, 9, 4, device=where), 0.4, True
    ),
    "feature_alpha_dropout": lambda where: accelgrad.feature_alpha_dropout(
        ramp(5, 9, 2, device=where), 0.4, True
    ),
    "nn.functional.dropout": lambda where: F.dropout(accelgrad.ones(7, 33, device=where), 0.3),
    "nn.functional.dropout1d": lambda where: F.dropout1d(accelgrad.ones(5, 9, 4, device=where), 0.4),
    "nn.functional.dropout2d": lambda where: F.dropout2d(accelgrad.ones(5, 9, 2, 2, device=where), 0.4),
    "nn.functional.dropout3d": lambda where: F.dropout3d(accelgrad.ones(5, 9, 2, 1, 2, device=where), 0.4),
    "nn.functional.alpha_dropout": lambda where: F.alpha_dropout(ramp(50, device=where), 0.4, True),
    "nn.functional.feature_alpha_dropout": lambda where: F.feature_alpha_dropout(
        ramp(5, 9, 2, device=where), 0.4, True
    ),
    "rrelu": lambda where: F.rrelu(-ramp(40, device=where), training=True),
    "nn.functional.gumbel_softmax": lambda where: F.gumbel_softmax(ramp(4, 6, device=where), hard=True),
    "nn.functional.fractional_max_pool2d": lambda where: F.fractional_max_pool2d(
        ramp(1, 2, 9, 9, device=where), 2, output_size=4
    ),
    "nn.functional.fractional_max_pool3d": lambda where: F.fractional_max_pool3d(
        ramp(1, 2, 7, 7, 7, device=where), 2, output_size=3
    ),
    "nn.functional.scaled_dot_product_attention": lambda where: F.scaled_dot_product_attention(
        *[ramp(1, 2, 9, 4, device=where)] * 3, dropout_p=0.5
    ),
    "nn.functional.multi_head_attention_forward": lambda where: nn.MultiheadAttention(4, 2, dropout=0.5).to(
        where
    )(*[ramp(5, 2, 4, device=where)] * 3)[0],
    "pca_lowrank": lambda where: accelgrad.pca_lowrank(ramp(9, 5, device=where), q=2)[1],
    "svd_lowrank": lambda where: accelgrad.svd_lowrank(ramp(9, 5, device=where), q=2)[1],
    "uniform_": lambda where: weight(where, 20).uniform_(-2, 3),
    "normal_": lambda where: weight(where, 20).normal_(1, 2),
    "bernoulli_": lambda where: weight(where, 40).bernoulli_(0.3),
    "exponential_": lambda where: weight(where, 20).exponential_(1.5),
    "random_": lambda where: weight(where, 40).random_(0, 9),
    "log_normal_": lambda where: weight(where, 20).log_normal_(),
    "cauchy_": lambda where: weight(where, 20).cauchy_(),
    "geometric_": lambda where: weight(where, 20).geometric_(0.3),
}
OTHERS: dict[str, Callable[[str], Any]] = {
    "init.uniform_": lambda where: init.uniform_(weight(where, 4, 5)),
    "init.normal_": lambda where: init.normal_(weight(where, 4, 5)),
    "init.trunc_normal_": lambda where: init.trunc_normal_(weight(where, 4, 5)),
    "init.xavier_uniform_": lambda where: init.xavier_uniform_(weight(where, 4, 5)),
    "init.xavier_normal_": lambda where: init.xavier_normal_(weight(where, 4, 5)),
    "init.kaiming_uniform_": lambda where: init.kaiming_uniform_(weight(where, 4, 5)),
    "init.kaiming_normal_": lambda where: init.kaiming_normal_(weight(where, 4, 5)),
    "init.orthogonal_": lambda where: init.orthogonal_(weight(where, 4, 5)),
    "init.sparse_": lambda where: init.sparse_(weight(where, 10, 5), 0.3),
    "a layer": lambda where: nn.Linear(4, 5, device=where).weight,
    "an LSTM with dropout": lambda where: nn.LSTM(3, 4, num_layers=2, dropout=0.5, device=where)(
        ramp(5, 2, 3, device=where)
    )[0],
    "crop": lambda where: transforms.RandomCrop(4)(ramp(1, 9, 9, device=where)),
    "flip": lambda where: transforms.RandomHorizontalFlip()(ramp(1, 3, 3, device=where)),
    "rotation": lambda where: transforms.RandomRotation(40)(ramp(1, 9, 9, device=where)),
    "affine": lambda where: transforms.RandomAffine(20, (0.1, 0.1), (0.8, 1.2))(ramp(1, 9, 9, device=where)),
    "resized crop": lambda where: transforms.RandomResizedCrop(5)(ramp(1, 9, 9, device=where)),
    "jitter": lambda where: transforms.ColorJitter(0.3, 0.3, 0.3, 0.1)(ramp(3, 4, 4, device=where)),
    "erasing": lambda where: transforms.RandomErasing(p=1, value="random")(ramp(3, 9, 9, device=where)),
}


def drawing() -> set[str]:
    """The operations that take part: whose results differ from call to call."""
    return {path for path, entry in OPS.items() if entry.random and not path.endswith("rng_state")} - {
        "fork_rng"
    }


def test_every_operation_that_draws_is_among_them() -> None:
    assert drawing() - set(DRAWS) == set()


@pytest.mark.filterwarnings("ignore:dropout")
@pytest.mark.parametrize("name", [*DRAWS, *OTHERS])
def test_a_draw_is_the_same_on_both_devices(name: str) -> None:
    draw = {**DRAWS, **OTHERS}[name]
    results, states = [], []
    for where in ("cpu", "gpu"):
        accelgrad.manual_seed(11)
        found = draw(where)
        assert found.device.type == ("cpu" if where == "cpu" else "cuda")
        results.append(found.detach().cpu().numpy())
        states.append(accelgrad.rand(3).tolist())  # both have taken as much from the stream
    np.testing.assert_allclose(results[1], results[0], rtol=2e-5, atol=1e-6)
    assert states[0] == states[1]
    if results[0].dtype.kind != "f" or name in ("rand", "randn", "nn.functional.dropout", "bernoulli"):
        np.testing.assert_array_equal(results[1], results[0])
    accelgrad.manual_seed(12)
    assert name in ("flip", "poisson") or not np.array_equal(draw("gpu").detach().cpu().numpy(), results[0])


@pytest.mark.parametrize("before", range(10))
def test_masks_go_on_where_the_stream_is(before: int) -> None:
    masks = []
    for where in ("cpu", "gpu"):
        accelgrad.manual_seed(5)
        accelgrad.randint(0, 9, (before,), dtype=accelgrad.int32)
        masks.append([F.dropout(accelgrad.ones(n, device=where), 0.5).tolist() for n in (1, 7, 8, 9, 33)])
    assert masks[0] == masks[1]
