"""The adaptive softmax: values, gradients and refusals are PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn

torch = pytest.importorskip("torch")

TARGETS = [[0, 4, 5, 11, 12, 19, 3], [1, 1, 2], [15, 19], 7]


def both(**options: Any) -> tuple[Any, Any]:
    settings = {"in_features": 8, "n_classes": 20, "cutoffs": [5, 12], "div_value": 2.0, **options}
    ours = nn.AdaptiveLogSoftmaxWithLoss(**settings).double()
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(**settings).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_pytorchs(target: Any, bias: bool) -> None:
    ours, theirs = both(head_bias=bias)
    x = np.random.default_rng(0).standard_normal((*np.shape(target), 8))
    mine, other = accelgrad.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    found, expected = ours(mine, accelgrad.tensor(target)), theirs(other, torch.tensor(target))
    np.testing.assert_allclose(found.output.detach().numpy(), expected.output.detach().numpy())
    np.testing.assert_allclose(found.loss.item(), expected.loss.item())
    found.loss.backward()
    expected.loss.backward()
    np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), atol=1e-12)
    for (name, one), (_, two) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        gradient = np.zeros(tuple(two.shape)) if two.grad is None else two.grad.numpy()
        own = np.zeros(one.shape) if one.grad is None else one.grad.numpy()
        np.testing.assert_allclose(own, gradient, atol=1e-12, err_msg=name)


def test_all_classes_and_the_best_one() -> None:
    ours, theirs = both()
    x = 3 * np.random.default_rng(1).standard_normal((40, 8))
    found = ours.log_prob(accelgrad.tensor(x))
    np.testing.assert_allclose(found.detach().numpy(), theirs.log_prob(torch.tensor(x)).detach().numpy())
    np.testing.assert_allclose(found.exp().sum(1).detach().numpy(), np.ones(40))
    best = ours.predict(accelgrad.tensor(x))
    assert best.tolist() == theirs.predict(torch.tensor(x)).tolist()
    assert repr(ours) == repr(theirs)


def test_wrong_use_is_refused() -> None:
    for cutoffs in ([], [5, 5], [0, 3], [3, 20], [7, 3]):
        with pytest.raises(ValueError, match="cutoffs should be a sequence"):
            nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs)
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])
    for x, target, message in (
        (accelgrad.ones(2, 8), [0, 20], r"Target values should be in \[0, 19\]"),
        (accelgrad.ones(2, 8), [0], "Input and target should have the same size"),
        (accelgrad.ones(2, 8), 0, "0D target tensor expects 1D input tensors"),
        (accelgrad.ones(2, 8), [[0]], "multi-target not supported"),
    ):
        with pytest.raises(RuntimeError, match=message):
            layer(x, accelgrad.tensor(target))


def test_new_first_values_are_drawn() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])
    before = [one.detach().clone() for one in layer.parameters()]
    layer.reset_parameters()
    assert all(not accelgrad.equal(one, old) for one, old in zip(layer.parameters(), before, strict=True))
