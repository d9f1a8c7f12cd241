"""Attention: masks, dropout, shared heads, and the whole layer against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.nn import functional as F


def three(*shape: int) -> list[ag.Tensor]:
    rng = np.random.default_rng(0)
    return [ag.tensor(rng.standard_normal(shape), requires_grad=True) for _ in range(3)]


def test_causal_attention_is_attention_under_a_triangular_mask():
    q, k, v = three(2, 5, 4)
    mask = ag.ones(5, 5, dtype=ag.bool).tril()
    one = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    two = F.scaled_dot_product_attention(q, k, v, mask)
    np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy(), atol=1e-12)


def test_the_first_query_of_causal_attention_sees_the_first_value_only():
    q, k, v = three(5, 4)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(y[0].detach().numpy(), v[0].detach().numpy())


def test_a_query_that_may_see_nothing_gets_zeros_and_no_gradient():
    q, k, v = three(3, 4)
    mask = ag.tensor([[True, True, True], [False, False, False], [True, False, True]])
    y = F.scaled_dot_product_attention(q, k, v, mask)
    y.sum().backward()
    assert (y.detach().numpy()[1] == 0).all()
    assert (q.grad.numpy()[1] == 0).all()
    assert np.isfinite(k.grad.numpy()).all()


def test_half_precision_survives_a_hidden_row():
    q, k, v = (one.detach().half() for one in three(2, 4))
    mask = ag.tensor([[False, False], [True, False]])
    y = F.scaled_dot_product_attention(q, k, v, mask).numpy()
    assert np.isfinite(y.astype(float)).all()


def test_dropout_in_attention_keeps_the_mean():
    ag.manual_seed(0)
    q, k, v = ag.zeros(1, 4), ag.zeros(500, 4), ag.ones(500, 1)
    results = [F.scaled_dot_product_attention(q, k, v, dropout_p=0.4).item() for _ in range(20)]
    assert np.mean(results) == pytest.approx(1, abs=0.05)
    assert np.std(results) > 0


def test_groups_of_query_heads_share_a_key_head():
    rng = np.random.default_rng(0)
    q = ag.tensor(rng.standard_normal((1, 4, 3, 2)))
    k, v = (ag.tensor(rng.standard_normal((1, 2, 3, 2))) for _ in range(2))
    y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    for head in range(4):
        one = F.scaled_dot_product_attention(q[:, head], k[:, head // 2], v[:, head // 2])
        np.testing.assert_allclose(y[:, head].numpy(), one.numpy())


def test_heads_that_cannot_be_shared_are_refused():
    q, k = ag.zeros(1, 4, 2, 2), ag.zeros(1, 3, 2, 2)
    with pytest.raises(RuntimeError, match="Number of heads in key and value must divide"):
        F.scaled_dot_product_attention(q, k, k, enable_gqa=True)


@pytest.mark.parametrize("need_weights", [True, False])
def test_causal_multi_head_attention_hides_the_future(need_weights):
    x = three(4, 2, 6)[0]
    rng = np.random.default_rng(1)
    weight, out = ag.tensor(rng.standard_normal((18, 6))), ag.tensor(rng.standard_normal((6, 6)))
    rest = (6, 2, weight, None, None, None, False, 0.0, out, None)
    y, weights = F.multi_head_attention_forward(x, x, x, *rest, need_weights=need_weights, is_causal=True)
    (gradient,) = ag.autograd.grad(y[0].sum(), x)
    assert (gradient.numpy()[1:] == 0).all()
    assert (weights is not None) is need_weights


def test_an_embedding_that_the_heads_do_not_divide_is_refused():
    x, weight = ag.zeros(2, 1, 6), ag.zeros(18, 6)
    with pytest.raises(AssertionError, match="embed_dim 6 not divisible by num_heads 4"):
        F.multi_head_attention_forward(
            x, x, x, 6, 4, weight, None, None, None, False, 0.0, ag.zeros(6, 6), None
        )
