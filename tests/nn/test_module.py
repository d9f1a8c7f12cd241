"""Module: registration, walks, state, hooks, messages."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import accelgrad
from accelgrad import nn
from accelgrad.nn.hooks import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 3)
        self.act = nn.ReLU()
        self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(2)])
        self.register_buffer("scale", accelgrad.ones(1))

    def forward(self, x):
        x = self.act(self.fc1(x))
        for block in self.blocks:
            x = block(x)
        return x * self.scale


NAMES = ["fc1.weight", "fc1.bias", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"]


def test_parts_are_found_by_name_in_the_order_of_assignment():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["scale"]
    assert [name for name, _ in net.named_children()] == ["fc1", "act", "blocks"]
    assert [name for name, _ in net.named_modules()] == ["", "fc1", "act", "blocks", "blocks.0", "blocks.1"]
    assert list(net.state_dict()) == ["scale", *NAMES]
    assert {"fc1", "scale", "training"} <= set(dir(net))
    assert [name for name, _ in net.named_parameters(prefix="net", recurse=False)] == []


def test_a_shared_part_is_counted_once():
    layer = nn.Linear(2, 2)
    both = nn.Sequential(layer, layer)
    assert len(list(both.parameters())) == 2
    assert len(list(both.named_parameters(remove_duplicate=False))) == 4
    assert list(both.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_a_plain_tensor_is_not_registered():
    module = nn.Module()
    module.plain = accelgrad.ones(2)
    module.learned = nn.Parameter(accelgrad.ones(2))
    assert [name for name, _ in module.named_parameters()] == ["learned"]


def test_assigning_anew_moves_a_name_to_its_new_kind():
    module = nn.Module()
    module.x = 3
    module.x = nn.Parameter(accelgrad.ones(1))
    assert "x" not in module.__dict__ and "x" in dict(module.named_parameters())
    module.x = None
    assert module.x is None and list(module.parameters()) == []
    del module.x
    module.x = nn.ReLU()
    assert list(module.children()) == [module.x]
    module.x = nn.Parameter(accelgrad.ones(1))
    assert list(module.children()) == []


def test_a_buffer_may_be_left_out_of_the_state():
    module = nn.Module()
    module.register_buffer("kept", accelgrad.ones(1))
    module.register_buffer("left", accelgrad.ones(1), persistent=False)
    module.other = nn.Buffer(accelgrad.ones(1), persistent=False)
    assert list(module.state_dict()) == ["kept"]
    assert [name for name, _ in module.named_buffers()] == ["kept", "left", "other"]
    module.kept = accelgrad.zeros(1)
    assert module.get_buffer("kept").item() == 0


def test_parts_are_reached_by_their_path():
    net = Net()
    assert net.get_submodule("blocks.1") is net.blocks[1]
    assert net.get_parameter("blocks.1.bias") is net.blocks[1].bias
    net.set_submodule("blocks.1", nn.Identity())
    assert isinstance(net.blocks[1], nn.Identity)
    with pytest.raises(AttributeError, match="ModuleList has no attribute `7`"):
        net.get_submodule("blocks.7")
    with pytest.raises(AttributeError, match=r"not an nn[.]Parameter"):
        net.get_parameter("fc1.in_features")
    with pytest.raises(AttributeError, match="not a buffer"):
        net.get_buffer("fc1.weight")


@pytest.mark.parametrize(
    ("act", "error", "words"),
    [
        (lambda m: m.register_parameter("a.b", None), KeyError, 'contain "[.]"'),
        (lambda m: m.register_parameter("", None), KeyError, "be empty string"),
        (lambda m: m.register_parameter(3, None), TypeError, "should be a string. Got int"),
        (
            lambda m: m.register_parameter("x", accelgrad.ones(1)),
            TypeError,
            "cannot assign 'accelgrad.FloatTensor' object to parameter",
        ),
        (lambda m: m.register_parameter("forward", None), KeyError, "attribute 'forward' already exists"),
        (lambda m: m.register_buffer("x", 3), TypeError, "cannot assign 'int' object to buffer 'x'"),
        (lambda m: m.add_module("x", 3), TypeError, "int is not a Module subclass"),
        (lambda m: setattr(m, "weight", accelgrad.ones(1)), TypeError, "as parameter 'weight'"),
        (lambda m: setattr(m, "child", 3), TypeError, "cannot assign 'int' as child module 'child'"),
        (lambda m: setattr(m, "buffer", 3), TypeError, "cannot assign 'int' as buffer 'buffer'"),
        (lambda m: m(1), NotImplementedError, 'missing the required "forward" function'),
        (lambda m: m.train(1), ValueError, "expected to be boolean"),
        (lambda m: m.to(accelgrad.int64), TypeError, "only accepts floating point"),
        (lambda m: m.load_state_dict([1]), TypeError, "dict-like"),
        (lambda m: m.wieght, AttributeError, "no attribute 'wieght'; did you mean 'weight'"),
        (lambda m: nn.Linear(2, 2, bia=True), TypeError, "unexpected keyword argument 'bia'"),
    ],
)
def test_mistakes_are_explained(act, error, words):
    module = nn.Module()
    module.weight = nn.Parameter(accelgrad.ones(1))
    module.child = nn.Identity()
    module.register_buffer("buffer", accelgrad.ones(1))
    with pytest.raises(error, match=words):
        act(module)


def test_a_missing_super_init_is_named():
    class Wrong(nn.Module):
        def __init__(self, value):
            self.part = value

    for value, kind in ((nn.Parameter(accelgrad.ones(1)), "parameters"), (nn.ReLU(), "module")):
        with pytest.raises(AttributeError, match=f"cannot assign {kind} before Module.__init__"):
            Wrong(value)
    with pytest.raises(AttributeError, match=r"super\(\).__init__"):
        Wrong(3).other  # noqa: B018


def test_a_parameter_must_be_a_leaf():
    module, parameter = nn.Module(), nn.Parameter(accelgrad.ones(1))
    parameter._edge = (parameter * 2)._edge
    with pytest.raises(ValueError, match="Cannot assign non-leaf Tensor to parameter 'x'"):
        module.register_parameter("x", parameter)


def test_an_error_names_the_layer_and_what_it_expected():
    with pytest.raises(RuntimeError, match=r"^mat1 and mat2 shapes cannot be multiplied") as caught:
        Net()(accelgrad.ones(2, 8))
    (note,) = caught.value.__notes__
    assert note.startswith(
        "in Net.fc1 = Linear(in_features=10, out_features=3, bias=True): the input has 8 features"
    )
    assert "Input shape (2, 8)" in note


def test_an_error_in_a_conv_recognises_channels_that_come_last():
    with pytest.raises(RuntimeError) as caught:
        nn.Sequential(nn.Conv2d(3, 4, 3))(accelgrad.ones(1, 8, 8, 3))
    assert "expects 3 channels" in caught.value.__notes__[-1]
    assert "x.permute(0, 3, 1, 2)" in caught.value.__notes__[-1]


def test_an_error_about_types_says_how_to_convert():
    with pytest.raises(RuntimeError) as caught:
        nn.Linear(3, 2)(accelgrad.ones(2, 3, dtype=accelgrad.float64))
    assert "NumPy arrays are float64 by default: x.float()" in caught.value.__notes__[-1]


def test_training_mode_reaches_every_part():
    net = Net()
    assert net.eval() is net and not any(module.training for module in net.modules())
    assert net(accelgrad.ones(1, 10)).requires_grad  # eval does not switch gradients off
    assert net.train() is net and all(module.training for module in net.modules())


def test_freezing_and_forgetting_gradients():
    net = Net()
    net(accelgrad.ones(1, 10)).sum().backward()
    assert net.fc1.weight.grad is not None
    net.zero_grad(set_to_none=False)
    assert not net.fc1.weight.grad.numpy().any()
    net.zero_grad()
    assert net.fc1.weight.grad is None
    net.requires_grad_(False)
    assert not net(accelgrad.ones(1, 10)).requires_grad


def test_conversion_keeps_the_parameter_objects_and_integers():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight = net[0].weight
    net(accelgrad.ones(2, 2)).sum().backward()
    assert net.double() is net and net[0].weight is weight
    assert weight.dtype is accelgrad.float64 and weight.grad.dtype is accelgrad.float64
    assert net[1].running_mean.dtype is accelgrad.float64
    assert net[1].num_batches_tracked.dtype is accelgrad.int64
    assert net.half()[0].weight.dtype is accelgrad.float16
    assert net.to(accelgrad.ones(1)).to("cpu")[0].weight.dtype is accelgrad.float32
    assert weight.requires_grad and weight.is_leaf


def test_apply_visits_children_first():
    order = []
    nn.Sequential(nn.ReLU(), nn.Sequential(nn.Tanh())).apply(
        lambda module: order.append(type(module).__name__)
    )
    assert order == ["ReLU", "Tanh", "Sequential", "Sequential"]


def test_the_state_goes_out_and_comes_back():
    one, other = Net(), Net()
    assert str(other.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
    x = accelgrad.randn(3, 10)
    np.testing.assert_array_equal(one(x).detach().numpy(), other(x).detach().numpy())
    other.load_state_dict({key: value.numpy() for key, value in one.state_dict().items()})
    one.fc1.weight.data.fill_(0.0)
    assert not one.state_dict()["fc1.weight"].numpy().any()  # shares memory
    assert other.fc1.weight.detach().numpy().any()


def test_a_state_that_does_not_fit_is_explained_in_full():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = net.state_dict()
    state["2.weight"] = state.pop("1.weight")
    state["0.bias"] = accelgrad.ones(7)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith(
        'Error(s) in loading state_dict for Sequential:\n\tMissing key(s) in state_dict: "1.weight".'
        " \n\tUnexpected key(s)"
        ' in state_dict: "2.weight". \n\tsize mismatch for 0.bias: copying a param with shape'
    )
    assert '"2.weight" -> "1.weight"' in message
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.bias"):
        net.load_state_dict(state, strict=False)
    del state["0.bias"]
    report = net.load_state_dict(state, strict=False)
    assert report.missing_keys == ["0.bias", "1.weight"] and report.unexpected_keys == ["2.weight"]


def test_assign_takes_the_tensors_themselves():
    net = nn.Linear(2, 2)
    state = {"weight": accelgrad.ones(2, 2, dtype=accelgrad.float64), "bias": accelgrad.zeros(2)}
    net.load_state_dict(state, assign=True)
    assert net.weight.dtype is accelgrad.float64 and isinstance(net.weight, nn.Parameter)
    assert net.weight.array is state["weight"].array


def test_state_hooks_see_and_change():
    net, seen = nn.Linear(2, 2), []
    net.register_state_dict_pre_hook(lambda module, prefix, keep: seen.append(prefix))
    net.register_state_dict_post_hook(lambda module, state, prefix, meta: state.update(extra=1))
    state = net.state_dict()
    assert seen == [""] and state["extra"] == 1
    net.register_load_state_dict_pre_hook(lambda module, state, *rest: state.pop("extra"))
    net.register_load_state_dict_post_hook(lambda module, keys: seen.append(keys.missing_keys))
    net.load_state_dict(state)
    assert seen == ["", []]


def test_extra_state_is_saved_and_restored():
    class Counting(nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    one, other = Counting(), Counting()
    one.count = 5
    other.load_state_dict(one.state_dict())
    assert other.count == 5
    with pytest.raises(RuntimeError, match="_extra_state"):
        other.load_state_dict({})


def test_modules_are_copied_and_pickled():
    net = Net()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.fc1.weight is not net.fc1.weight
        assert other.fc1.weight.requires_grad and isinstance(other.fc1.weight, nn.Parameter)
        x = accelgrad.ones(1, 10)
        for one, two in zip(net.parameters(), other.parameters(), strict=True):
            np.testing.assert_array_equal(one.detach().numpy(), two.detach().numpy())
        # A compiled product may round the last bit by how the weights lie in memory.
        np.testing.assert_allclose(other(x).detach().numpy(), net(x).detach().numpy(), rtol=1e-5, atol=1e-6)


# --- hooks


def test_forward_hooks_see_and_replace():
    layer = nn.Identity()
    first = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    second = layer.register_forward_hook(lambda module, args, output: output * 10)
    assert layer(accelgrad.tensor([1.0])).item() == 20
    first.remove()
    assert layer(accelgrad.tensor([1.0])).item() == 10
    with second:
        pass
    assert layer(accelgrad.tensor([1.0])).item() == 1


def test_hooks_run_in_order_and_may_be_put_first():
    layer, order = nn.Identity(), []
    layer.register_forward_hook(lambda *_: order.append("a"))
    layer.register_forward_hook(lambda *_: order.append("b"), prepend=True)
    layer(accelgrad.ones(1))
    assert order == ["b", "a"]


def test_hooks_may_see_keyword_arguments():
    class Scale(nn.Module):
        def forward(self, x, *, by):
            return x * by

    module, seen = Scale(), []
    module.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"by": kwargs["by"] + 1}), with_kwargs=True
    )
    module.register_forward_hook(lambda m, args, kwargs, output: seen.append(kwargs["by"]), with_kwargs=True)
    assert module(accelgrad.tensor([2.0]), by=3).item() == 8
    assert seen == [4]
    module.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="None or a tuple of"):
        module(accelgrad.ones(1), by=1)


def test_a_hook_that_is_always_called_runs_after_an_error_too():
    layer, seen = nn.Linear(2, 2), []
    layer.register_forward_hook(lambda m, args, output: seen.append(output), always_call=True)
    with pytest.raises(RuntimeError):
        layer(accelgrad.ones(1, 3))
    assert seen == [None]


def test_backward_hooks_see_the_gradients_of_inputs_and_outputs():
    layer, seen = nn.Linear(2, 3), []
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append((grad_in, grad_out)))
    x = accelgrad.ones(1, 2, requires_grad=True)
    (layer(x) * accelgrad.tensor([1.0, 2.0, 3.0])).sum().backward()
    ((grad_in,), (grad_out,)) = seen[0]
    np.testing.assert_array_equal(grad_out.numpy(), [[1, 2, 3]])
    np.testing.assert_allclose(grad_in.numpy(), x.grad.numpy())


def test_a_backward_hook_replaces_the_gradient_of_the_input():
    layer = nn.Linear(2, 3)
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: (grad_in[0] * 0 + 7,))
    x = accelgrad.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[7, 7]])
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: (1, 2, 3))
    with pytest.raises(RuntimeError, match="invalid number of grad, got 3, but expected 1"):
        layer(x).sum().backward()


def test_a_backward_pre_hook_replaces_the_gradient_of_the_output():
    layer = nn.Linear(2, 3)
    layer.register_full_backward_pre_hook(lambda m, grad_out: (grad_out[0] * 2,))
    layer(accelgrad.ones(1, 2)).sum().backward()
    np.testing.assert_array_equal(layer.bias.grad.numpy(), [2, 2, 2])


def test_a_backward_hook_without_an_input_that_needs_a_gradient_gets_none():
    layer, seen = nn.Linear(2, 3), []
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append(grad_in))
    layer(accelgrad.ones(1, 2)).sum().backward()
    assert seen == [(None,)]


def test_backward_hooks_work_in_a_gradient_that_is_differentiated_again():
    layer, seen = nn.Tanh(), []
    layer.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append(grad_in[0].requires_grad))
    x = accelgrad.tensor([0.5], dtype=accelgrad.float64, requires_grad=True)
    layer(x).sum().backward(create_graph=True)
    x.grad.sum().backward()
    assert True in seen
    t = np.tanh(0.5)
    assert x.grad.item() == pytest.approx((1 - t * t) + -2 * t * (1 - t * t))


def test_several_inputs_and_outputs_pass_one_boundary():
    class Two(nn.Module):
        def forward(self, x, text, y):
            return x * 2, {"not": "a tensor"}, y * 3

    module, seen = Two(), []
    module.register_full_backward_hook(lambda m, grad_in, grad_out: seen.append((grad_in, grad_out)))
    x, y = accelgrad.ones(1, requires_grad=True), accelgrad.ones(1, requires_grad=True)
    a, _, b = module(x, "text", y)
    (a + b * 10).sum().backward()
    grad_in, grad_out = seen[0]
    assert [None if g is None else g.item() for g in grad_in] == [2, None, 30]
    assert [None if g is None else g.item() for g in grad_out] == [1, None, 10]


def test_hooks_on_every_module():
    seen = []
    net = nn.Sequential(nn.Tanh(), nn.ReLU())
    x = accelgrad.ones(1, requires_grad=True)
    with contextlib.ExitStack() as handles:
        for register, label in (
            (register_module_forward_pre_hook, "pre"),
            (register_module_forward_hook, "out"),
            (register_module_full_backward_hook, "back"),
        ):
            handles.enter_context(
                register(lambda module, *_, label=label: seen.append((label, type(module).__name__)))
            )
        net(x).sum().backward()
    net(x)
    assert seen == [
        ("pre", "Sequential"),
        ("pre", "Tanh"),
        ("out", "Tanh"),
        ("pre", "ReLU"),
        ("out", "ReLU"),
        ("out", "Sequential"),
        ("back", "ReLU"),
        ("back", "Tanh"),
        ("back", "Sequential"),
    ]


# --- a course's own backward


def test_a_module_may_define_its_own_backward_and_optimize():
    class LogisticRegression(nn.Module):
        def __init__(self, features):
            super().__init__()
            self.weight = nn.Parameter(accelgrad.zeros(features, 1))
            self.bias = nn.Parameter(accelgrad.zeros(1))

        def forward(self, x):
            self.x = x
            return accelgrad.sigmoid(x @ self.weight + self.bias)

        def backward(self, probability, y):
            error = (probability - y) / len(y)
            self.weight.grad = self.x.T @ error
            self.bias.grad = error.sum(0)

        def optimize(self, lr):
            for parameter in self.parameters():
                parameter.data = parameter.data - lr * parameter.grad

    rng = np.random.default_rng(0)
    x = accelgrad.tensor(rng.standard_normal((200, 2)), dtype=accelgrad.float32)
    y = (x[:, :1] + 2 * x[:, 1:] > 0).float()
    model = LogisticRegression(2)
    with accelgrad.no_grad():
        for _ in range(200):
            model.backward(model(x), y)
            model.optimize(1.0)
        assert ((model(x) > 0.5).float() == y).float().mean().item() > 0.95
    loss = nn.functional.binary_cross_entropy(model(x), y)
    by_hand = model.weight.grad
    model.backward(model(x).detach(), y)
    by_hand = model.weight.grad
    model.weight.grad = model.bias.grad = None
    loss.backward()
    np.testing.assert_allclose(model.weight.grad.numpy(), by_hand.numpy(), rtol=1e-4, atol=1e-6)


# --- containers


def test_sequential_is_indexed_sliced_and_changed():
    net = nn.Sequential(OrderedDict([("a", nn.Tanh()), ("b", nn.ReLU())]))
    assert net.a is net[0] and net[-1] is net.b and len(net) == 2
    assert list(net[1:]._modules) == ["b"]
    net = nn.Sequential(nn.Tanh(), nn.ReLU()).append(nn.Sigmoid()).insert(0, nn.Identity())
    assert [type(one).__name__ for one in net] == ["Identity", "Tanh", "ReLU", "Sigmoid"]
    del net[1]
    assert list(net._modules) == ["0", "1", "2"]
    assert isinstance(net.pop(0), nn.Identity)
    net[0] = nn.GELU()
    assert len(net + nn.Sequential(nn.Tanh())) == 3 and len(net * 2) == 4
    with pytest.raises(IndexError, match="index 9 is out of range"):
        net[9]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential(3)


def test_module_list_and_dict_register_what_they_hold():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.Linear(1, 1)]
    layers.extend([nn.Linear(1, 1)])
    assert len(list(layers.parameters())) == 6 and len(layers[1:]) == 2
    with pytest.raises(NotImplementedError, match="iterate over it"):
        layers(accelgrad.ones(1))
    named = nn.ModuleDict({"a": nn.Linear(1, 1)})
    named["b"] = nn.ReLU()
    assert list(named) == ["a", "b"] and "a" in named
    named.pop("a")
    assert list(named.parameters()) == []


def test_parameter_list_and_dict_register_what_they_hold():
    several = nn.ParameterList([accelgrad.ones(1), nn.Parameter(accelgrad.ones(2))])
    several.append(accelgrad.ones(3))
    assert [len(one) for one in several.parameters()] == [1, 2, 3]
    assert several[-1] is several[2] and len(several[:2]) == 2
    named = nn.ParameterDict({"a": accelgrad.ones(1)}) | nn.ParameterDict({"b": accelgrad.ones(2)})
    assert [name for name, _ in named.named_parameters()] == ["a", "b"]
    assert named.popitem()[0] == "b" and named.get("b") is None


# --- parameters


@pytest.mark.host
def test_a_parameter_prints_copies_and_pickles_as_one():
    x = nn.Parameter(accelgrad.tensor([1.0, 2.0]))
    assert repr(x) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert type(other) is nn.Parameter and other.requires_grad
    assert not nn.Parameter(accelgrad.ones(1), requires_grad=False).requires_grad
    with pytest.raises(TypeError, match="expects a Tensor, got list"):
        nn.Parameter([1.0])
    with pytest.raises(RuntimeError, match="only Tensors of floating point"):
        nn.Parameter(accelgrad.tensor([1]))


def test_a_lazy_layer_learns_its_size_and_becomes_ordinary():
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    assert repr(net[2].weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="uninitialized parameter"):
        net[2].weight.shape  # noqa: B018
    assert net(accelgrad.ones(1, 3, 5, 5)).shape == (1, 2)
    assert type(net[0]) is nn.Conv2d and type(net[2]) is nn.Linear
    assert net[2].in_features == 36 and type(net[2].weight) is nn.Parameter
    other = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    other.load_state_dict(net.state_dict())
    assert other[2].weight.shape == (2, 36)
