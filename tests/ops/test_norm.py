"""Norms: running statistics, evaluation, what is normalised."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F


def test_batch_norm_in_training_moves_the_running_statistics_in_place():
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    mean, var = ag.zeros(3), ag.ones(3)
    F.batch_norm(ag.tensor(x), mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * x.mean((0, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * x.var((0, 2), ddof=1), rtol=1e-5)


def test_batch_norm_in_evaluation_leaves_the_running_statistics_alone():
    mean, var = ag.tensor([1.0]), ag.tensor([4.0])
    y = F.batch_norm(ag.tensor([[3.0], [5.0]]), mean, var, eps=0.0)
    assert y.tolist() == [[1.0], [2.0]]
    assert (mean.item(), var.item()) == (1.0, 4.0)


def test_one_value_per_channel_is_refused_in_training():
    with pytest.raises(ValueError, match=r"Expected more than 1 value per channel when training.*drop_last"):
        F.batch_norm(ag.ones(1, 3), None, None, training=True)


def test_a_change_of_the_running_mean_is_noticed_by_its_version():
    mean, var = ag.zeros(2), ag.ones(2)
    before = mean._version[0]
    F.batch_norm(ag.randn(4, 2), mean, var, training=True)
    assert mean._version[0] == before + 1


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 5), (4, 3, 6, 7), (2, 3, 4, 3, 2)])
def test_batch_norm_leaves_mean_zero_and_variance_one(shape):
    y = F.batch_norm(ag.randn(*shape) * 5 + 3, None, None, training=True).numpy()
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axes), 1, rtol=1e-3)


def test_instance_norm_averages_its_running_statistics_over_the_samples():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal((3, 2, 7))
    ours = [ag.zeros(2, dtype=ag.float64), ag.ones(2, dtype=ag.float64)]
    others = [torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)]
    y = F.instance_norm(ag.tensor(x), *ours)
    z = torch.nn.functional.instance_norm(torch.tensor(x), *others)
    np.testing.assert_allclose(y.numpy(), z.numpy(), atol=1e-9)
    for one, two in zip(ours, others, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-9)


def test_layer_norm_of_large_numbers_keeps_its_precision():
    x = ag.tensor([[10000.0, 10001.0, 10002.0]])
    expected = np.array([[-1, 0, 1]]) / np.sqrt(2 / 3)
    np.testing.assert_allclose(F.layer_norm(x, (3,)).numpy(), expected, rtol=1e-3, atol=1e-6)


def test_group_norm_with_one_group_per_channel_is_instance_norm():
    x = ag.randn(2, 4, 6)
    np.testing.assert_allclose(F.group_norm(x, 4).numpy(), F.instance_norm(x).numpy(), rtol=1e-4, atol=1e-5)


def test_rms_norm_does_not_subtract_the_mean():
    assert F.rms_norm(ag.full((2, 3), 5.0), (3,)).tolist() == [[1.0] * 3] * 2


def test_a_weight_of_another_type_is_named():
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double: in layer_norm"):
        F.layer_norm(ag.ones(2, 3), (3,), ag.ones(3, dtype=ag.float64))
