"""Optimizers: their paths are PyTorch's, their first steps are those of the papers, their errors help."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, optim
from accelgrad.optim.elementwise import Elementwise

KINDS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        {"weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "maximize": True, "momentum": 0.5},
    ],
    "Adam": [
        {},
        {"lr": 0.1, "betas": (0.7, 0.8)},
        {"weight_decay": 0.5},
        {"amsgrad": True, "lr": 0.1},
        {"eps": 0.1},
        {"maximize": True, "weight_decay": 0.1},
        {"decoupled_weight_decay": True, "weight_decay": 0.1, "lr": 0.1},
    ],
    "AdamW": [{}, {"lr": 0.1, "weight_decay": 0.5}, {"amsgrad": True, "maximize": True, "lr": 0.1}],
    "RMSprop": [
        {},
        {"lr": 0.1, "alpha": 0.5},
        {"centered": True},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"centered": True, "momentum": 0.5, "maximize": True},
    ],
    "Adagrad": [
        {},
        {"lr": 0.1, "lr_decay": 0.2},
        {"initial_accumulator_value": 0.5, "weight_decay": 0.1, "maximize": True},
    ],
    "Adadelta": [{}, {"rho": 0.5, "weight_decay": 0.1}, {"lr": 0.5, "maximize": True, "eps": 1e-3}],
    "Adafactor": [
        {},
        {"lr": 0.1, "beta2_decay": -0.5, "weight_decay": 0.1},
        {"eps": (1e-3, 0.1), "d": 1.5, "maximize": True, "lr": 0.5},
    ],
    "Adamax": [{}, {"lr": 0.1, "betas": (0.7, 0.8), "weight_decay": 0.1}, {"maximize": True}],
    "NAdam": [
        {},
        {"lr": 0.1, "momentum_decay": 0.1},
        {"weight_decay": 0.1, "maximize": True},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "RAdam": [
        {},
        {"lr": 0.1, "weight_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    ],
    "ASGD": [{}, {"lr": 0.1, "t0": 5, "weight_decay": 0.1}, {"lambd": 0.1, "alpha": 0.5, "maximize": True}],
    "Rprop": [{}, {"lr": 0.1, "etas": (0.3, 1.5)}, {"step_sizes": (0.01, 0.02), "maximize": True}],
    "Muon": [
        {},
        {"lr": 0.02, "weight_decay": 0.5, "nesterov": False},
        {"lr": 0.1, "momentum": 0.5, "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw"},
    ],
}
"""Settings of every optimizer; those of LBFGS, which needs a loss, stand in test_lbfgs.py."""

CASES = [(name, options) for name, several in KINDS.items() for options in several]
TOLERANCES = {"NAdam": {"rtol": 2e-6}, "ASGD": {"rtol": 2e-6}, "Muon": {"rtol": 0.05, "atol": 5e-3}}
"""PyTorch keeps the rates of the first two in float32, and the matrices of Muon in bfloat16."""


def shapes(name: str) -> list[tuple[int, ...]]:
    return [(3, 2), (2, 4), (3, 3)] if name == "Muon" else [(3, 2), (4,), ()]


def gradients(name: str, step: int) -> list[np.ndarray]:
    rng = np.random.default_rng(step)
    return [np.asarray(rng.standard_normal(shape)) for shape in shapes(name)]


def starts(name: str) -> list[np.ndarray]:
    return [np.linspace(-1, 2, math.prod(shape)).reshape(shape) for shape in shapes(name)]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{options}" for name, options in CASES])
def test_the_path_is_pytorchs(name: str, options: dict[str, Any]):
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, name):
        pytest.skip(f"PyTorch has no {name}: its first steps are computed by hand below")
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in starts(name)]
    ours = [nn.Parameter(accelgrad.tensor(start)) for start in starts(name)]
    slower_form = {} if name == "Muon" else {"foreach": False}
    their_optimizer = getattr(torch.optim, name)(theirs, **options, **slower_form)
    optimizer = getattr(optim, name)(ours, **options)
    for step in range(12):
        for one, other, gradient in zip(theirs, ours, gradients(name, step), strict=True):
            one.grad, other.grad = torch.tensor(gradient), accelgrad.tensor(gradient)
        if step == 7:  # a parameter without a gradient is left alone
            theirs[1].grad = ours[1].grad = None
        their_optimizer.step()
        optimizer.step()
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(
                other.detach().numpy(), one.detach().numpy(), **TOLERANCES.get(name, {"rtol": 1e-10})
            )
    expected, got = their_optimizer.state_dict(), optimizer.state_dict()
    assert expected["state"].keys() == got["state"].keys()
    for key, entry in expected["state"].items():
        assert {name for name, value in entry.items() if value is not None} == set(got["state"][key])
        for part, value in got["state"][key].items():
            np.testing.assert_allclose(value.numpy(), entry[part].numpy(), rtol=1e-5)
    theirs_keys, ours_keys = set(expected["param_groups"][0]), set(got["param_groups"][0])
    assert theirs_keys == ours_keys


def one_parameter(value: float = 1.0, gradient: float = 2.0) -> nn.Parameter:
    x = nn.Parameter(accelgrad.tensor([value], dtype=accelgrad.float64))
    x.grad = accelgrad.tensor([gradient], dtype=accelgrad.float64)
    return x


def test_sgd_by_hand():
    x = one_parameter()
    optimizer = optim.SGD([x], lr=0.1, momentum=0.9)
    optimizer.step()
    assert x.item() == pytest.approx(1 - 0.1 * 2)
    optimizer.step()
    assert x.item() == pytest.approx(0.8 - 0.1 * (0.9 * 2 + 2))


def test_adam_by_hand():
    x = one_parameter()
    optimizer = optim.Adam([x], lr=0.1, eps=0.0)
    optimizer.step()
    assert x.item() == pytest.approx(0.9)  # m / sqrt(v) is 1 after the corrections
    x.grad = accelgrad.tensor([-1.0], dtype=accelgrad.float64)
    optimizer.step()
    m, v = 0.9 * 0.1 * 2 + 0.1 * -1, 0.999 * 0.001 * 4 + 0.001
    assert x.item() == pytest.approx(0.9 - 0.1 * (m / (1 - 0.81)) / np.sqrt(v / (1 - 0.999**2)))


def test_adamw_shrinks_the_parameter_itself():
    x = one_parameter(gradient=0.0)
    optim.AdamW([x], lr=0.1, weight_decay=0.5).step()
    assert x.item() == pytest.approx(1 - 0.1 * 0.5)


def test_every_group_has_its_own_settings():
    x, y = one_parameter(), one_parameter()
    optim.SGD([{"params": [x]}, {"params": y, "lr": 1.0}], lr=0.1).step()
    assert (x.item(), y.item()) == pytest.approx((0.8, -1.0))


def test_named_parameters_keep_their_names():
    layer = nn.Linear(2, 1)
    optimizer = optim.SGD(layer.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_a_step_is_noticed_by_a_backward_that_saved_the_parameter():
    x = nn.Parameter(accelgrad.tensor([2.0]))
    y = (x * x).sum()
    x.grad = accelgrad.tensor([1.0])
    optim.SGD([x], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_zero_grad_forgets_or_fills():
    x = one_parameter()
    optimizer = optim.SGD([x], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    assert x.grad is not None and x.grad.item() == 0.0
    optimizer.zero_grad()
    assert x.grad is None


def test_a_closure_computes_the_loss_with_gradients_on():
    x = nn.Parameter(accelgrad.tensor([3.0]))
    optimizer = optim.SGD([x], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with accelgrad.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert x.item() == pytest.approx(3 - 0.1 * 6)


def test_an_optimizer_is_written_by_one_formula():
    class Signs(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def update_parameter(self, xp, x, grad, state, group):
            state["count"] = state.get("count", 0) + 1
            x -= group["lr"] * xp.sign(grad)

    x = one_parameter()
    optimizer = Signs([x], lr=0.25)
    optimizer.step()
    optimizer.step()
    assert x.item() == 0.5 and optimizer.state[x]["count"] == 2


def test_an_optimizer_is_written_by_a_formula_for_one_element():
    def climb(xp, x, g, total, /, rate):
        total += xp.abs(g)
        x += rate * g / total
        return x, total

    class Climber(Elementwise):
        formula = staticmethod(climb)

        def kept(self, group):
            return ("total",)

        def numbers(self, group, t):
            return (group["lr"] / (t + 1),), {"step": t + 1}

    x, y = one_parameter(), one_parameter(gradient=-4.0)
    optimizer = Climber([x, y], {"lr": 0.5})
    optimizer.step()
    y.grad = None
    optimizer.step()
    y.grad = accelgrad.tensor([-4.0], dtype=accelgrad.float64)
    optimizer.step()  # now they are of different ages
    assert x.item() == pytest.approx(1 + 0.5 + 0.5 / 2 / 2 + 0.5 / 3 / 3)
    assert y.item() == pytest.approx(1 - 0.5 - 0.5 / 2 / 2)
    assert optimizer.state[x]["step"] == 3 and optimizer.state[y]["total"].item() == 8


@pytest.mark.parametrize("name", sorted(KINDS))
def test_parameters_of_several_types_share_an_optimizer(name: str):
    types = (accelgrad.float32, accelgrad.float64, accelgrad.float16, accelgrad.float32)
    params = [nn.Parameter(accelgrad.full((2, 3), 1.0, dtype=kind)) for kind in types]
    optimizer = getattr(optim, name)(params, lr=0.125)
    for _ in range(2):
        for one in params:
            one.grad = accelgrad.full((2, 3), 0.5, dtype=one.dtype)
        optimizer.step()
    assert [one.dtype for one in params] == list(types)
    for one in params:
        assert one._version[0] == 2
        np.testing.assert_allclose(one.detach().numpy(), params[1].detach().numpy(), rtol=4e-3)
    assert (params[0].detach() != 1).all()


def test_zeros_in_a_gradient_are_a_change_in_place():
    params = [one_parameter(), one_parameter(gradient=float("nan"))]
    gradients = [one.grad for one in params]
    y = (params[0].grad.requires_grad_() ** 2).sum()
    optim.SGD(params, lr=0.1).zero_grad(set_to_none=False)
    assert [one.item() for one in gradients] == [0, 0]
    assert [one.grad.requires_grad for one in params] == [False, False]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_an_optimizer_is_written_as_in_pytorch():
    class Descent(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, dict(lr=lr))  # noqa: C408

        @accelgrad.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.add_(p.grad, alpha=-group["lr"])

    x = one_parameter()
    optimizer = Descent([x], lr=0.1)
    seen = []
    optimizer.register_step_post_hook(lambda *arguments: seen.append(len(arguments)))
    optimizer.step()
    assert x.item() == pytest.approx(0.8) and seen == [3]


def test_state_dicts_carry_on(tmp_path):
    x, y = one_parameter(), one_parameter()
    first, second = optim.Adam([x], lr=0.1), optim.Adam([y], lr=0.5)
    first.step()
    y.data = x.detach().clone()
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    for optimizer in (first, second):
        optimizer.step()
    assert x.item() == y.item()
    assert second.param_groups[0]["lr"] == 0.1


def test_a_loaded_state_does_not_share_memory_with_the_file():
    x, y = one_parameter(), one_parameter()
    first, second = optim.SGD([x], lr=0.1, momentum=0.9), optim.SGD([y], lr=0.1, momentum=0.9)
    first.step()
    second.load_state_dict(first.state_dict())
    second.step()
    assert first.state[x]["momentum_buffer"].item() == 2.0


def test_an_optimizer_is_copied_and_pickled_with_its_state():
    x = one_parameter()
    optimizer = optim.SGD([x], lr=0.1, momentum=0.9)
    optimizer.step()
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        (parameter,) = other.param_groups[0]["params"]
        assert parameter is not x
        assert other.state[parameter]["momentum_buffer"].item() == 2.0
        other.step()


def test_hooks_run_around_a_step_and_may_change_its_arguments():
    x = one_parameter()
    optimizer = optim.SGD([x], lr=0.1)
    order = []
    handle = optimizer.register_step_pre_hook(lambda *_: order.append("before"))
    optimizer.register_step_post_hook(lambda *_: order.append("after"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert order == ["before", "after", "after"]
    optimizer.register_step_pre_hook(lambda *_: 3)
    with pytest.raises(RuntimeError, match="must return None or a tuple"):
        optimizer.step()


def test_state_dict_hooks_change_what_is_saved_and_loaded():
    x = one_parameter()
    optimizer = optim.SGD([x], lr=0.1)
    optimizer.register_state_dict_post_hook(lambda _, state: {**state, "extra": 1})
    optimizer.register_load_state_dict_pre_hook(
        lambda _, state: {**state, "param_groups": [{**state["param_groups"][0], "lr": 7.0}]}
    )
    state = optimizer.state_dict()
    assert state["extra"] == 1
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 7.0


def test_an_optimizer_prints_its_groups():
    optimizer = optim.SGD([one_parameter()], lr=0.1)
    assert repr(optimizer).startswith("SGD (\nParameter Group 0\n    dampening: 0\n")
    assert repr(optimizer).endswith("    weight_decay: 0\n)")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(2, 2)]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: optim.SGD([], lr=0.1), ValueError, "empty parameter list.*nn.ModuleList"),
        (lambda: optim.SGD(Plain().parameters(), lr=0.1), ValueError, "empty parameter list.*nn.ModuleList"),
        (lambda: optim.SGD(one_parameter(), lr=0.1), TypeError, "should be an iterable of Tensors or dicts"),
        (
            lambda: optim.SGD([3], lr=0.1),
            TypeError,
            "can only optimize Tensors, but one of the params is int",
        ),
        (lambda: optim.SGD([one_parameter() * 2], lr=0.1), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda: optim.SGD([{"params": {one_parameter()}}], lr=0.1), TypeError, "ordered collections"),
        (lambda: optim.SGD([one_parameter()], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda: optim.SGD([one_parameter()], momentum=-1), ValueError, "Invalid momentum value: -1"),
        (lambda: optim.SGD([one_parameter()], nesterov=True), ValueError, "Nesterov momentum requires"),
        (
            lambda: optim.Adam([one_parameter()], betas=(1.0, 0.9)),
            ValueError,
            "Invalid beta parameter at index 0: 1.0",
        ),
        (lambda: optim.Adam([one_parameter()], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (
            lambda: optim.Adam([one_parameter()], differentiable=True),
            RuntimeError,
            "differentiable=True is not offered",
        ),
        (lambda: optim.Adafactor([one_parameter()], lr=-1), ValueError, "Learning rate should be >= 0 but"),
        (lambda: optim.Adafactor([one_parameter()], beta2_decay=1), ValueError, "beta2_decay should be <= 0"),
        (lambda: optim.Adafactor([one_parameter()], d=0.5), ValueError, "threshold d should be >= 1 but is"),
        (lambda: optim.Adafactor([one_parameter()], eps=(-1, 1)), ValueError, "epsilon1 should be >= 0 but"),
        (lambda: optim.Rprop([one_parameter()], etas=(1.5, 1.2)), ValueError, "Invalid eta values: 1.5, 1.2"),
        (lambda: optim.Adadelta([one_parameter()], rho=2), ValueError, "Invalid rho value: 2"),
    ],
)
def test_wrong_arguments_are_explained(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_parameter_belongs_to_one_group_only():
    x = one_parameter()
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [x]}, {"params": [x]}], lr=0.1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([x, x], lr=0.1)


def test_a_required_setting_must_be_given():
    class Needs(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": optim.optimizer.required})

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Needs([one_parameter()])
    Needs([{"params": [one_parameter()], "lr": 1.0}])


def test_a_state_of_another_shape_is_refused():
    one, two = optim.SGD([one_parameter()], lr=0.1), optim.SGD([one_parameter(), one_parameter()], lr=0.1)
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group: 1 against 2"):
        two.load_state_dict(one.state_dict())
    one.add_param_group({"params": one_parameter()})
    with pytest.raises(ValueError, match="different number of parameter groups: 2, the optimizer has 1"):
        two.load_state_dict(one.state_dict())


def test_a_learning_rate_may_be_a_tensor():
    x = one_parameter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optim.SGD([x], lr=accelgrad.tensor(0.5)).step()
    assert x.item() == 0.0
