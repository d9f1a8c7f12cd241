"""The walk back: accumulation, shared parts, freed graphs, hooks, modes, and the known defects of other
frameworks."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import accelgrad as ag
from accelgrad.core.modes import state


def leaf(*values: float, dtype=ag.float64) -> ag.Tensor:
    return ag.tensor(list(values) if len(values) != 1 else values[0], dtype=dtype, requires_grad=True)


def values(tensor: ag.Tensor) -> list[float]:
    return tensor.detach().numpy().tolist()


# --- known defects of others


def test_the_derivative_of_x_minus_x_is_zero():
    x = leaf(3.0)
    (x - x).backward()
    assert values(x.grad) == 0.0


def test_the_derivative_of_x_over_x_is_zero():
    x = leaf(3.0)
    (x / x).backward()
    assert values(x.grad) == 0.0


def test_two_losses_share_a_trunk():
    x = leaf(2.0)
    trunk = x * x
    first, second = trunk * 3, trunk * trunk
    first.backward(retain_graph=True)
    assert values(x.grad) == 12.0
    second.backward()
    assert values(x.grad) == 12.0 + 4 * 8.0


def test_a_backward_leaves_an_independent_graph_alone():
    x, z = leaf(2.0), leaf(5.0)
    one, other = x * x, z * z
    one.backward()
    assert z.grad is None
    other.backward()
    assert values(z.grad) == 10.0


def test_eval_does_not_switch_gradients_off():
    layer = ag.nn.Linear(2, 1)
    layer.eval()
    assert layer(ag.ones(1, 2)).requires_grad


def test_a_second_backward_accumulates():
    x = leaf(2.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert values(x.grad) == 8.0


def test_a_mistyped_attribute_raises():
    with pytest.raises(AttributeError):
        leaf(1.0).gard  # noqa: B018


# --- the walk


def test_a_chain_of_ten_thousand_operations():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1.0
    y.backward()
    assert values(x.grad) == 1.0


def test_a_node_with_several_users_runs_once():
    calls = []

    class Counted(ag.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            calls.append(grad.item())
            return grad

    x = leaf(1.0)
    y = Counted.apply(x)
    (y * 2 + y * 3 + y).backward()
    assert calls == [6.0]
    assert values(x.grad) == 6.0


def test_a_gradient_that_two_leaves_share_is_not_added_to_in_place():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = x + y
    z.backward(ag.ones(2, dtype=ag.float64))
    (x * 5).backward(ag.ones(2, dtype=ag.float64))
    assert values(x.grad) == [6.0, 6.0]
    assert values(y.grad) == [1.0, 1.0]


def test_the_given_gradient_is_left_alone():
    x = leaf(1.0, 2.0)
    given = ag.ones(2, dtype=ag.float64)
    (x + 0.0).backward(given)
    (x * 3).backward(given)
    assert values(given) == [1.0, 1.0]
    assert values(x.grad) == [4.0, 4.0]


def test_backward_with_an_external_gradient():
    a, b = leaf(2.0, 3.0), leaf(6.0, 4.0)
    q = 3 * a**3 - b**2
    q.backward(gradient=ag.tensor([1.0, 1.0], dtype=ag.float64))
    assert values(a.grad) == [36.0, 81.0]
    assert values(b.grad) == [-12.0, -8.0]


def test_inputs_limits_what_is_accumulated():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert values(x.grad) == 3.0
    assert y.grad is None


def test_second_and_third_derivatives():
    x = leaf(2.0)
    (first,) = ag.autograd.grad(x**4, x, create_graph=True)
    (second,) = ag.autograd.grad(first, x, create_graph=True)
    (third,) = ag.autograd.grad(second, x)
    assert [values(first), values(second), values(third)] == [32.0, 48.0, 48.0]


def test_create_graph_leaves_a_gradient_that_can_be_differentiated():
    x = leaf(3.0)
    (x**3).backward(create_graph=True)
    slope = x.grad
    assert slope.requires_grad
    x.grad = None
    slope.backward()
    assert values(x.grad) == 18.0


def test_a_dropped_loss_keeps_nothing_alive():
    gc.disable()
    try:
        x = ag.randn(100, requires_grad=True)
        hidden = (x * x).exp()
        loss = hidden.sum()
        watched = [
            weakref.ref(hidden.grad_fn),
            weakref.ref(hidden),
            weakref.ref(hidden.array),
            weakref.ref(loss),
        ]
        loss.backward(retain_graph=True)
        del hidden, loss
        assert [ref() for ref in watched] == [None] * 4, "reference counting alone must free a graph"
    finally:
        gc.enable()


def test_saved_arrays_are_freed_by_backward():
    x = ag.randn(10, requires_grad=True)
    y = x.exp()
    saved = weakref.ref(y.array)
    loss = (y * 2).sum()
    del y
    assert saved() is not None
    loss.backward()
    assert saved() is None


# --- errors


def test_a_second_backward_through_a_freed_graph_is_refused():
    x = leaf(1.0)
    y = (x * x).exp()
    y.backward()
    with pytest.raises(
        RuntimeError, match=r"Trying to backward through the graph a second time.*retain_graph=True"
    ):
        y.backward()


def test_a_backward_of_several_values_is_refused():
    with pytest.raises(
        RuntimeError, match=r"grad can be implicitly created only for scalar outputs.*\(2,\).*sum"
    ):
        (leaf(1.0, 2.0) * 2).backward()


def test_a_backward_without_history_is_refused():
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad"):
        ag.tensor(1.0).backward()


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(RuntimeError, match="Mismatch in shape: grad_output"):
        (leaf(1.0, 2.0) * 2).backward(ag.ones(3))


def test_integers_cannot_require_a_gradient():
    with pytest.raises(RuntimeError, match=r"only Tensors of floating point.*float\(\)"):
        ag.tensor([1, 2], requires_grad=True)


def test_an_unused_input_is_named_or_allowed():
    x, y = leaf(1.0), leaf(2.0)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        ag.autograd.grad(x * 2, [x, y])
    assert ag.autograd.grad(x * 2, [x, y], allow_unused=True)[1] is None
    assert values(ag.autograd.grad(x * 2, [x, y], materialize_grads=True)[1]) == 0.0


def test_adding_to_a_saved_output_in_place_is_reported():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.add_(1)
    with pytest.raises(
        RuntimeError, match=r"modified by an inplace operation.*version 1; expected version 0"
    ):
        y.sum().backward()


def test_changing_a_saved_input_through_a_view_is_reported():
    x, w = leaf(1.0, 2.0), ag.tensor([3.0, 4.0], dtype=ag.float64)
    y = x * w
    w[0] = 7.0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_leaf_is_not_changed_in_place():
    x = leaf(1.0, 2.0)
    with pytest.raises(
        RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"
    ):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0] = 5.0
    with ag.no_grad():
        x.add_(1)
    assert values(x) == [2.0, 3.0]


def test_the_requires_grad_of_a_result_is_not_changed():
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        (leaf(1.0) * 2).requires_grad_(False)


# --- changes in place


def test_assignment_through_a_view_reaches_the_graph():
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 2
    y[1] = v * 10
    (y * ag.tensor([1.0, 2.0, 3.0], dtype=ag.float64)).sum().backward()
    assert values(x.grad) == [2.0, 0.0, 6.0]
    assert values(v.grad) == 20.0


def test_a_view_taken_before_sees_the_change_of_its_base():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    head = y[:2]
    y.mul_(3)
    head.sum().backward()
    assert values(x.grad) == [3.0, 3.0, 0.0]


def test_an_in_place_change_of_a_flattened_view():
    x = leaf(1.0, 2.0)
    y = (x * 2).reshape(2, 1)
    y.view(-1).mul_(x)
    assert values(y) == [[2.0], [8.0]]
    y.sum().backward()
    assert values(x.grad) == [4.0, 8.0]


def test_a_masked_assignment_has_the_right_gradient():
    x = leaf(1.0, -2.0, 3.0)
    y = x * 1
    y[y < 0] = 0.0
    y.sum().backward()
    assert values(x.grad) == [1.0, 0.0, 1.0]


def test_changing_an_expanded_tensor_is_refused():
    with pytest.raises(
        RuntimeError, match="more than one element of the written-to tensor refers to a single memory"
    ):
        ag.zeros(1).expand(3).add_(1)


def test_an_in_place_result_must_fit():
    with pytest.raises(
        RuntimeError, match=r"output with shape \[3\] doesn't match the broadcast shape \[2, 3\]"
    ):
        ag.zeros(3).add_(ag.zeros(2, 3))
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        ag.tensor([1, 2]).add_(0.5)


# --- hooks


def test_a_hook_may_change_the_gradient():
    x = leaf(1.0, 2.0)
    handle = x.register_hook(lambda grad: grad * 10)
    (x * 2).sum().backward()
    assert values(x.grad) == [20.0, 20.0]
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert values(x.grad) == [2.0, 2.0]


def test_a_hook_on_a_result_sees_its_whole_gradient_once():
    seen = []
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda grad: seen.append(grad.item()))
    (y * 3 + y * 4).backward()
    assert seen == [7.0]


def test_a_hook_that_keeps_the_gradient_keeps_its_value():
    kept = []
    x = leaf(1.0, 2.0)
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert [values(one) for one in kept] == [[2.0, 2.0], [3.0, 3.0]]


def test_a_hook_must_keep_the_shape():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda grad: grad[:1])
    with pytest.raises(RuntimeError, match="has changed the size of value"):
        (x * 2).sum().backward()


def test_a_post_accumulate_hook_runs_after_the_sum():
    seen = []
    x = leaf(1.0)
    x.register_post_accumulate_grad_hook(lambda tensor: seen.append(tensor.grad.item()))
    (x * 2).backward()
    (x * 2).backward()
    assert seen == [2.0, 4.0]


def test_retain_grad_keeps_the_gradient_of_a_result():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    (y * y).backward()
    assert values(y.grad) == 12.0
    assert y.retains_grad and not y.is_leaf


def test_hooks_on_a_node():
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_prehook(lambda grads: tuple(g * 5 for g in grads))
    y.backward()
    assert values(x.grad) == 10.0


# --- modes


def test_modes_nest_and_decorate():
    x = leaf(1.0)

    @ag.no_grad()
    def quiet():
        assert not ag.is_grad_enabled()
        with ag.enable_grad():
            assert (x * 2).requires_grad
        return (x * 2).requires_grad

    assert quiet() is False
    with ag.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    with ag.inference_mode():
        assert not (x * 2).requires_grad
        assert ag.is_inference_mode_enabled()
    assert ag.is_grad_enabled()


def test_a_mode_ends_with_an_exception():
    with pytest.raises(ValueError, match="planned"), ag.no_grad():
        raise ValueError("planned")
    assert state.grad


def test_a_decorated_generator_runs_in_the_mode_and_its_caller_does_not():
    @ag.no_grad()
    def numbers():
        yield ag.is_grad_enabled()
        yield ag.is_grad_enabled()

    found = []
    for inside in numbers():
        found.append((inside, ag.is_grad_enabled()))
    assert found == [(False, True), (False, True)]


def test_detach_shares_memory_and_stops_the_gradient():
    x = leaf(1.0, 2.0)
    y = x.detach()
    assert not y.requires_grad
    assert y.data_ptr() == x.data_ptr()


def test_anomaly_mode_names_the_forward_call():
    x = leaf(-1.0)
    with (
        ag.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="SqrtBackward0' returned nan values") as caught,
    ):
        (x.sqrt() * 1.0).backward()
    assert caught.value is not None


def test_numpy_is_not_disturbed():
    with np.errstate(divide="raise"):
        ag.tensor([0.0]).log()
        with pytest.raises(FloatingPointError):
            np.log(np.zeros(1))
