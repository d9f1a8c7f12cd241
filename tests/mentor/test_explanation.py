"""explain: every planted trouble is found under its own code, and sound graphs get no finding."""

from __future__ import annotations

import pytest

import accelgrad
from accelgrad import nn
from accelgrad.mentor.explanation import explain
from accelgrad.nn import functional as F


def weights(*values):
    return accelgrad.tensor(values, requires_grad=True)


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def loss_of(model):
    return F.cross_entropy(model(accelgrad.rand(16, 4)), accelgrad.arange(16) % 2)


def test_a_sound_loss_has_no_finding():
    model = network()
    found = explain(loss_of(model), model)
    assert found.codes == []
    assert "4 tensors with gradients" in repr(found) and "No trouble found" in repr(found)


def test_explaining_accumulates_nothing_and_keeps_the_graph():
    model = network()
    loss = loss_of(model)
    calls = []
    model[0].weight.register_hook(lambda grad: calls.append(1))
    explain(loss, model)
    assert all(parameter.grad is None for parameter in model.parameters()) and not calls
    loss.backward()
    assert model[0].weight.grad is not None and calls == [1]


def test_it_is_a_method_of_tensors_too():
    assert (weights(0.0).log() * 1).explain().codes == ["log-of-zero"]


# --- None


@pytest.mark.parametrize("cut", [lambda x: x.detach(), lambda x: x.data, lambda x: x.clone().detach_()])
def test_a_detached_result_is_named_with_its_line(cut):
    found = explain((cut(weights(1.0)) * 2).sum())
    assert found.codes == ["detached"]
    assert "test_explanation.py" in found.findings[0].sentence


def test_a_detached_branch_names_the_parameters_behind_it():
    model = network()
    hidden = model[0](accelgrad.rand(16, 4))
    found = explain(model[2](hidden.detach().relu()).sum(), model)
    assert found.codes == ["detached"]
    assert found.findings[0].name == "0.weight, 0.bias"


def test_a_detached_branch_that_nobody_asks_for_is_only_a_note():
    w = weights(1.0, 2.0)
    found = explain((w - w.detach().amax()).exp().sum())
    assert [(one.code, one.mistake) for one in found] == [("detached", False)]


def test_a_result_computed_under_no_grad_is_named():
    w = weights(1.0)
    with accelgrad.no_grad():
        y = w * 2
    found = explain((y + 1).sum())
    assert found.codes == ["no-grad"]
    assert "Mul" in found.findings[0].sentence


def test_a_branch_computed_under_no_grad_names_the_parameters_behind_it():
    model = network()
    with accelgrad.no_grad():
        hidden = model[0](accelgrad.rand(16, 4))
    found = explain(model[2](hidden).sum(), model)
    assert found.codes == ["no-grad"]
    assert "0.weight, 0.bias" in found.findings[0].sentence


@pytest.mark.parametrize("metric", [lambda s: s.argmax(1), lambda s: s > 0, lambda s: s.long()])
def test_a_result_that_is_discrete_is_named(metric):
    scores = network()(accelgrad.rand(3, 4))
    assert explain(metric(scores).float().mean()).codes == ["discrete"]


def test_a_mask_made_by_a_comparison_is_no_trouble():
    w = weights(1.0, -2.0)
    assert explain((w * (w > 0)).sum()).codes == []


def test_an_integer_tensor_is_named():
    assert explain(accelgrad.tensor([1, 2]).sum()).codes == ["integer"]


def test_data_without_parameters_is_named():
    found = explain(accelgrad.tensor([1.0]).exp().sum())
    assert found.codes == ["no-parameters"]
    assert "requires_grad=True" in found.findings[0].remedy


def test_unused_parameters_are_named():
    model = network()
    found = explain(model[0](accelgrad.rand(2, 4)).sum(), model)
    assert found.codes == ["unused"]
    assert found.findings[0].name == "2.weight, 2.bias"


def test_frozen_parameters_are_noted():
    model = network()
    model[0].weight.requires_grad_(False)
    assert [(one.code, one.mistake) for one in explain(loss_of(model), model)] == [("frozen", False)]


def test_inputs_that_are_not_leaves_are_noted_until_they_retain_their_gradient():
    w = weights(1.0)
    y = w * 2
    assert explain(y.sum(), inputs=[y]).codes == ["non-leaf"]
    y.retain_grad()
    assert explain(y.sum(), inputs=[y]).codes == []
    assert explain(y.sum(), inputs=weights(2.0)).codes == ["unused"]


def test_a_leaf_without_a_gradient_yet_is_explained():
    w = weights(1.0)
    assert explain(w).codes == ["not-yet"]
    w.exp().sum().backward()
    assert explain(w).codes == []
    w.grad.zero_()
    assert explain(w).codes == ["zero"]


# --- not finite


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        (lambda w: w.log(), "log-of-zero"),
        (lambda w: (w - 1).log(), "log-of-zero"),
        (lambda w: (w - 1).log1p(), "log-of-zero"),
        (lambda w: 1 / w, "division-by-zero"),
        (lambda w: (w + 2) / w, "division-by-zero"),
        (lambda w: w**-1.0, "division-by-zero"),
        (lambda w: w.rsqrt(), "division-by-zero"),
        (lambda w: (w - 1).sqrt(), "root-of-negative"),
        (lambda w: (w * 1000).exp() / 2, "overflow"),
        (lambda w: (w + 1) * 3e38 * 10, "overflow"),
        (lambda w: w.sqrt(), "root-of-zero"),
        (lambda w: w**0.5, "root-of-zero"),
        (lambda w: (1 - w).acos(), "root-of-zero"),
        (lambda w: (w * 0 - float("inf")).softmax(0), "inf-minus-inf"),
    ],
)
def test_what_is_not_finite_is_traced_to_its_operation(formula, code):
    found = explain(formula(weights(0.0, 1.0)).sum())
    assert found.codes == [code]
    assert found.findings[0].node is not None


def test_inf_minus_inf_is_named():
    w = weights(1.0)
    big = w * float("inf")
    other = w * float("inf")
    assert explain((big - other).sum()).codes == ["inf-minus-inf"]


def test_inf_times_zero_is_named():
    w = weights(1.0, 2.0)
    assert explain((w * accelgrad.tensor([0.0, 1.0]) * float("inf")).sum()).codes == ["inf-times-zero"]


def test_the_hidden_nan_of_where_is_named():
    w = weights(0.0, 4.0)
    loss = accelgrad.where(w > 0, w.sqrt(), accelgrad.zeros(2)).sum()
    assert loss.item() == 2.0
    found = explain(loss)
    assert found.codes == ["root-of-zero"]
    assert "it spreads to w" in found.findings[0].sentence


def test_nan_in_the_data_is_told_from_nan_in_the_parameters():
    w = weights(1.0, 2.0)
    x = accelgrad.tensor([1.0, float("nan")])
    found = explain((w * x).sum())
    assert found.codes == ["nan-data"] and found.findings[0].name == "x"
    broken = weights(1.0, float("nan"))
    found = explain((broken * 2).sum())
    assert found.codes == ["nan-parameter"] and found.findings[0].name == "broken"


def test_an_infinite_mask_in_attention_is_no_trouble():
    scores = weights(1.0, 2.0, 3.0)
    masked = scores.masked_fill(accelgrad.tensor([False, False, True]), float("-inf"))
    assert explain((masked.softmax(0) * accelgrad.tensor([1.0, 2.0, 3.0])).sum()).codes == []


# --- zero and extreme


def test_a_dead_relu_is_named_with_the_parameters_that_stand_still():
    model = network()
    with accelgrad.no_grad():
        model[0].bias.fill_(-100.0)
    found = explain(loss_of(model), model)
    assert found.codes == ["dead-relu"]
    assert "0.weight, 0.bias" in found.findings[0].sentence


def test_a_relu_with_most_units_dead_is_named_too():
    model = network()
    with accelgrad.no_grad():
        model[0].bias[:6] = -100.0
        model[0].bias[6:] = 100.0
    found = explain(loss_of(model), model)
    assert found.codes == ["dead-relu"]
    assert "75 % of its units" in found.findings[0].sentence


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        (lambda w: (w * 1000).softmax(0)[0], "saturated"),
        (lambda w: (w * 1000).sigmoid(), "saturated"),
        (lambda w: (w * 1000).tanh(), "saturated"),
        (lambda w: w.round(), "flat"),
        (lambda w: w.sign() * 2, "flat"),
        (lambda w: w.clamp(5, 6), "clamped"),
        (lambda w: w * accelgrad.zeros(2), "times-zero"),
        (lambda w: w - w, "zero"),
    ],
)
def test_a_gradient_of_zero_is_traced_to_its_operation(formula, code):
    assert explain(formula(weights(0.5, -2.0)).sum()).codes == [code]


def test_a_loss_that_is_already_zero_is_only_noted():
    scores = accelgrad.tensor([[50.0, -50.0]], requires_grad=True)
    found = explain(F.cross_entropy(scores, accelgrad.tensor([0])))
    assert "converged" in found.codes
    assert all(not one.mistake for one in found if one.code == "converged")


def test_a_huge_gradient_names_the_operation_that_enlarges_most():
    w = weights(1e-5, 1.0)
    found = explain((1 / w).sum())
    assert found.codes == ["huge"]
    assert "as near to 0 as 1e−5" in found.findings[0].sentence


def test_a_vanishing_gradient_is_named():
    w = weights(0.1)
    y = w
    for _ in range(20):
        y = (y * 0.5).sigmoid()
    assert explain(y.sum()).codes == ["vanishing"]


# --- the graph itself


def test_an_overwritten_saved_tensor_is_named():
    y = weights(1.0).exp()
    y.add_(1)
    found = explain(y.sum())
    assert found.codes == ["in-place"]
    assert "Exp" in found.findings[0].sentence


def test_a_freed_graph_is_named():
    loss = (weights(1.0) ** 2).sum()
    loss.backward()
    assert explain(loss).codes == ["freed"]


def test_a_hook_is_noted():
    w = weights(1.0)
    w.register_hook(lambda grad: grad * 0)
    assert [(one.code, one.mistake) for one in explain((w * 2).sum())] == [("hook", False)]


def test_in_anomaly_mode_the_line_is_shown():
    w = weights(0.0)
    with accelgrad.autograd.detect_anomaly():
        loss = w.log().sum()
    assert "test_explanation.py" in explain(loss).findings[0].sentence


def test_it_shows_itself_as_text_and_as_html_with_the_graph():
    found = explain(weights(0.0).log().sum())
    assert "[log-of-zero] Log: 1 of 1 inputs is exactly 0" in repr(found)
    assert "→ keep away from the pole" in repr(found)
    assert "<svg" in found._repr_html_() and "log-of-zero" in found._repr_html_()
    assert explain(accelgrad.tensor([1])).picture() is None


def test_what_is_no_tensor_is_refused():
    with pytest.raises(TypeError, match="explain expects a Tensor, got float"):
        explain(1.0)


def test_gradients_are_probed_from_the_given_one():
    w = weights(1.0, 2.0)
    assert explain(w * 2, gradient=accelgrad.zeros(2)).codes == ["zero"]
    assert explain(w * 2).codes == []


def test_detached_tensors_do_not_keep_graphs_alive():
    import gc
    import weakref

    y = weights(1.0) * 2
    node = weakref.ref(y.grad_fn)
    kept = y.detach()
    del y
    gc.collect()
    assert node() is None and kept._cut[2]() is None
