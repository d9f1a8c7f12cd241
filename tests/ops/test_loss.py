"""Losses: warnings, ignored targets, extreme scores, one node in the graph."""

from __future__ import annotations

import math

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F


def test_cross_entropy_of_classes_is_one_node():
    x = ag.randn(4, 3).requires_grad_()
    loss = F.cross_entropy(x, ag.tensor([0, 1, 2, 0]))
    assert loss.grad_fn.name() == "CrossEntropyBackward0"
    assert loss.grad_fn.next_functions[0][0].variable is x


def test_cross_entropy_of_huge_scores_is_finite():
    x = ag.tensor([[1000.0, 0.0], [-1000.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, ag.tensor([1, 1]), reduction="none")
    assert loss.tolist() == [1000.0, 0.0]
    loss.sum().backward()
    assert x.grad.tolist() == [[1.0, -1.0], [0.0, 0.0]]


def test_the_mean_over_no_counted_target_is_nan():
    loss = F.cross_entropy(ag.zeros(2, 3), ag.tensor([-100, -100]))
    assert math.isnan(loss.item())


def test_ignored_rows_get_no_gradient():
    x = ag.randn(3, 4).requires_grad_()
    F.cross_entropy(x, ag.tensor([1, 7, 2]), ignore_index=7).backward()
    assert (x.grad.numpy()[1] == 0).all()
    assert (x.grad.numpy()[[0, 2]] != 0).all()


def test_an_impossible_class_that_is_ignored_does_not_make_nan():
    x = ag.tensor([[-math.inf, 0.0], [0.0, 0.0]])
    assert F.nll_loss(x, ag.tensor([-100, 1])).item() == 0.0


@pytest.mark.parametrize("target", [[0, 3], [-1, 0]])
@pytest.mark.usefixtures("looking")
def test_a_class_out_of_bounds_is_named(target):
    with pytest.raises(IndexError, match=r"Target (3|-1) is out of bounds. The input scores 3 classes"):
        F.cross_entropy(ag.zeros(2, 3), ag.tensor(target))


def test_float_targets_of_the_wrong_shape_name_both_types():
    with pytest.raises(RuntimeError, match="expected scalar type Long but found Float"):
        F.cross_entropy(ag.zeros(2, 3), ag.zeros(2))


def test_byte_targets_are_accepted():
    target = ag.tensor([0, 2], dtype=ag.uint8)
    x = ag.randn(2, 3)
    expected = F.cross_entropy(x, target.long()).item()
    assert F.cross_entropy(x, target).item() == pytest.approx(expected, rel=1e-6)


def test_a_column_against_a_row_warns_with_the_line_that_fixes_it():
    with pytest.warns(UserWarning, match=r"Using a target size .* target = target.reshape\(3, 1\)"):
        loss = F.mse_loss(ag.zeros(3, 1), ag.ones(3), reduction="none")
    assert loss.shape == (3, 3)


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_losses_that_do_not_broadcast_say_so_in_pytorchs_words():
    with pytest.raises(
        RuntimeError, match=r"The size of tensor a \(3\) must match the size of tensor b \(4\)"
    ):
        F.mse_loss(ag.zeros(2, 3), ag.zeros(2, 4))


def test_losses_of_integers_ask_for_floats():
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        F.mse_loss(ag.tensor([1]), ag.tensor([2]))


def test_mse_promotes_its_target():
    assert F.mse_loss(ag.tensor([1.5]), ag.tensor([1])).item() == 0.25


def test_the_old_flags_choose_the_reduction():
    x, y = ag.tensor([1.0, 3.0]), ag.zeros(2)
    assert F.mse_loss(x, y, size_average=False).item() == 10.0
    assert F.mse_loss(x, y, reduce=False).tolist() == [1.0, 9.0]
    assert F.mse_loss(x, y, size_average=True).item() == 5.0


def test_weighted_mse_divides_by_the_weights():
    loss = F.mse_loss(ag.tensor([1.0, 3.0]), ag.zeros(2), weight=ag.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx((3 * 1 + 9) / 4)


def test_binary_cross_entropy_at_its_ends_stops_at_a_hundred():
    x = ag.tensor([0.0, 1.0])
    assert F.binary_cross_entropy(x, 1 - x, reduction="none").tolist() == [100.0, 100.0]


@pytest.mark.usefixtures("looking")
def test_binary_cross_entropy_points_to_the_form_for_scores():
    with pytest.raises(RuntimeError, match=r"all elements of input should be between 0 and 1.*with_logits"):
        F.binary_cross_entropy(ag.tensor([2.0]), ag.tensor([1.0]))


def test_kl_div_warns_that_the_mean_is_not_the_divergence():
    with pytest.warns(UserWarning, match="'batchmean' divides only by the batch size"):
        F.kl_div(ag.zeros(2, 2), ag.ones(2, 2))


def test_kl_div_of_a_zero_probability_is_zero():
    x = ag.tensor([[-1.0, -2.0]], requires_grad=True)
    loss = F.kl_div(x, ag.tensor([[0.0, 1.0]]), reduction="sum")
    loss.backward()
    assert loss.item() == 2.0
    assert x.grad.tolist() == [[0.0, -1.0]]


def test_triplet_swap_takes_the_nearer_negative():
    a, p, n = (ag.tensor([[float(v)]]) for v in (0, 3, 4))
    plain = F.triplet_margin_loss(a, p, n, margin=2.0)
    swapped = F.triplet_margin_loss(a, p, n, margin=2.0, swap=True)
    assert plain.item() == pytest.approx(1.0, abs=1e-4)
    assert swapped.item() == pytest.approx(4.0, abs=1e-4)


def test_ctc_after_log_softmax_has_pytorchs_value_and_gradient():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    scores = rng.standard_normal((12, 4, 6))
    targets, lengths, sizes = rng.integers(1, 6, (4, 5)), [12, 9, 11, 3], [5, 3, 0, 2]
    for reduction in ("mean", "sum"):
        x = ag.tensor(scores, requires_grad=True)
        loss = F.ctc_loss(F.log_softmax(x, 2), ag.tensor(targets), lengths, sizes, reduction=reduction)
        loss.backward()
        t = torch.tensor(scores, requires_grad=True)
        other = torch.nn.functional.ctc_loss(
            t.log_softmax(2), torch.tensor(targets), lengths, sizes, reduction=reduction
        )
        other.backward()
        assert loss.item() == pytest.approx(other.item())
        np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), atol=1e-8)


def test_ctc_of_a_target_longer_than_its_frames_is_infinite_or_zero():
    x = F.log_softmax(ag.zeros(2, 1, 3), 2).requires_grad_()
    target = ag.tensor([[1, 1]])
    assert math.isinf(F.ctc_loss(x, target, (2,), (2,)).item())
    loss = F.ctc_loss(x, target, (2,), (2,), zero_infinity=True)
    loss.backward()
    assert loss.item() == 0.0
    assert (x.grad.numpy() == 0).all()


def test_the_gradient_of_ctc_has_a_gradient_also_beside_impossible_targets():
    x = ag.randn(3, 2, 3, dtype=ag.float64, requires_grad=True)
    targets = ag.tensor([[1, 1, 1], [1, 2, 0]])  # the first needs five frames

    def loss(x):
        return F.ctc_loss(F.log_softmax(x, 2), targets, (3, 3), (3, 2), zero_infinity=True, reduction="sum")

    assert ag.autograd.gradgradcheck(loss, (x,))
    (first,) = ag.autograd.grad(loss(x), x, create_graph=True)
    (second,) = ag.autograd.grad(first.square().sum(), x)
    assert not second[:, 0].any() and second[:, 1].abs().min() > 0
