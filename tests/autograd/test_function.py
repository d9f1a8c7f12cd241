"""Functions of one's own: what ctx carries, what backward may return, and what is refused, as in PyTorch."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad.autograd import Function, once_differentiable


def leaf(*values: float) -> accelgrad.Tensor:
    return accelgrad.tensor(values, dtype=accelgrad.float64, requires_grad=True)


class Exp(Function):
    """e^x, which saves its output."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad * y


def returning(*gradients: Any) -> Any:
    """2 x, with a backward that returns the given values."""

    class Double(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return gradients

    return Double


def test_a_saved_output_has_its_history_in_the_second_derivative():
    x = leaf(0.5, 1.0)
    (first,) = accelgrad.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
    (second,) = accelgrad.autograd.grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), np.exp([0.5, 1.0]))


def test_a_saved_output_is_no_reference_cycle():
    x = leaf(1.0)
    y = Exp.apply(x)
    node = weakref.ref(y.grad_fn)
    gc.disable()
    try:
        del y
        assert node() is None
    finally:
        gc.enable()


def test_a_change_of_a_saved_tensor_is_noticed():
    y = Exp.apply(leaf(1.0))
    y.add_(1)
    with pytest.raises(
        RuntimeError, match=r"modified by an inplace operation.*\[1\]\] is at version 1; expected version 0"
    ):
        y.sum().backward()


def test_what_was_saved_is_freed_by_backward():
    y = Exp.apply(leaf(1.0)).sum()
    node = y.grad_fn.next_functions[0][0]
    y.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        _ = node.saved_tensors
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_arguments_that_are_no_tensors_need_no_gradient():
    needed = []

    class Power(Function):
        @staticmethod
        def forward(ctx: Any, x: Any, power: int, other: Any) -> Any:
            ctx.save_for_backward(x, None)
            ctx.power = power
            return x**power

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, nothing = ctx.saved_tensors
            needed.append((ctx.needs_input_grad, nothing))
            return grad * ctx.power * x ** (ctx.power - 1), None, None

    x = leaf(2.0)
    Power.apply(x, 3, accelgrad.ones(1)).backward()
    assert needed == [((True, False, False), None)] and x.grad.tolist() == [12.0]


def test_the_context_may_be_set_up_apart_from_forward():
    class Square(Function):
        @staticmethod
        def forward(x: Any) -> Any:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2 * ctx.saved_tensors[0]

    x = leaf(3.0)
    Square.apply(x).backward()
    assert x.grad.tolist() == [6.0]


def test_an_input_changed_in_place_goes_on_in_the_graph():
    class Triple(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(3)
            ctx.mark_dirty(x)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            assert ctx.saved_tensors[0].tolist() == [6.0]
            return grad * 3

    x = leaf(1.0)
    y = x * 2
    assert Triple.apply(y) is y
    y.backward()
    assert x.grad.tolist() == [6.0]


def test_an_input_handed_through_is_another_tensor_on_the_same_memory():
    class Through(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return -grad

    x = leaf(1.0)
    y = Through.apply(x)
    assert y is not x and y.data_ptr() == x.data_ptr()
    y.backward()
    assert x.grad.tolist() == [-1.0]


def test_outputs_without_a_gradient_and_outputs_nobody_used():
    seen: list[Any] = []

    def function(materialize: bool) -> Any:
        class Three(Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.set_materialize_grads(materialize)
                places = x.argsort()
                ctx.mark_non_differentiable(places)
                return x * 2, places, None, x * 3

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                seen.append([one if one is None else one.tolist() for one in grads])
                return grads[0] * 2

        return Three

    x = leaf(1.0, 0.0)
    for materialize in (True, False):
        first, places, nothing, _ = function(materialize).apply(x)
        assert not places.requires_grad and nothing is None
        first.sum().backward()
    assert seen == [[[1.0, 1.0], [0, 0], None, [0.0, 0.0]], [[1.0, 1.0], None, None, None]]


def test_a_gradient_gets_the_shape_and_dtype_of_its_argument():
    class Stretch(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.double().expand(3, 2)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad

    x = accelgrad.ones(2, requires_grad=True)
    Stretch.apply(x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and x.grad.dtype is accelgrad.float32


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: (), RuntimeError, r"incorrect number of gradients \(expected 1, got 0\)"),
        (
            lambda: (accelgrad.ones(2), 1),
            RuntimeError,
            r"incorrect number of gradients \(expected 1, got 2\)",
        ),
        (lambda: (2.0,), TypeError, "must return Tensors or None, got float as gradient 0"),
        (
            lambda: (accelgrad.ones(3),),
            RuntimeError,
            r"invalid gradient: got \[3\] but expected shape .* \[2\]",
        ),
    ],
)
def test_wrong_gradients_are_refused(make: Any, error: type, words: str):
    with pytest.raises(error, match=words):
        returning(*make()).apply(leaf(1.0, 2.0)).sum().backward()


def test_too_many_gradients_may_be_none():
    x = leaf(1.0)
    returning(accelgrad.full((1,), 5.0), None).apply(x).backward()
    assert x.grad.tolist() == [5.0]


def test_wrong_uses_are_refused():
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(3)

    class Number(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return 3

    with pytest.raises(TypeError, match="save_for_backward can only save variables, but argument is of type"):
        Wrong.apply(leaf(1.0))
    with pytest.raises(TypeError, match=r"Number.forward must return Tensors, got int"):
        Number.apply(leaf(1.0))
    with pytest.raises(RuntimeError, match=r"should not be instantiated.*call Exp.apply\(...\)"):
        Exp()
    with pytest.raises(NotImplementedError, match="must implement the forward function"):
        Function.apply(leaf(1.0))
    with pytest.raises(NotImplementedError, match="must implement the backward function"):
        type("Half", (Function,), {"forward": Exp.forward}).apply(leaf(1.0)).backward()
    with pytest.raises(NotImplementedError, match="setup_context is not implemented"):
        Function.setup_context(None, (), None)


def test_a_function_that_is_differentiable_once_refuses_the_second_time():
    class Once(Exp):
        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.saved_tensors[0]

    x = leaf(1.0)
    y = Once.apply(x) ** 2
    (first,) = accelgrad.autograd.grad(y, x, create_graph=True)
    assert first.item() == pytest.approx(2 * np.exp(2.0))
    with pytest.raises(RuntimeError, match="marked with @once_differentiable"):
        first.backward()


def test_anomaly_mode_names_a_function_whose_gradient_is_nan():
    class Broken(accelgrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan")

    x = accelgrad.ones(2, requires_grad=True)
    with (
        accelgrad.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"BrokenBackward.*nan values"),
    ):
        Broken.apply(x).sum().backward()
