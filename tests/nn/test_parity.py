"""Every layer against PyTorch's: the same weights in, the same outputs and gradients out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    common_modules = pytest.importorskip("torch.testing._internal.common_modules")

DRAWN = {"nn.FractionalMaxPool2d", "nn.FractionalMaxPool3d"}
"""Windows drawn at random from a generator that we do not share; ``test_every_module.py`` gives the draws."""
NOT_HERE = {"nn.LinearCrossEntropyLoss"}
"""Newer than the layers that we follow."""
CASES = {info.name: info for info in common_modules.module_db if info.name not in DRAWN | NOT_HERE}


def convert(value: Any) -> Any:
    """An argument of PyTorch's as ours."""
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy().copy()
        return accelgrad.from_numpy(array).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return getattr(accelgrad, str(value).removeprefix("torch."))
    if isinstance(value, torch.nn.Module):
        return None
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, tuple | list):
        return type(value)(convert(one) for one in value)
    if isinstance(value, dict):
        return {key: convert(one) for key, one in value.items()}
    if callable(value) and getattr(value, "__name__", "") in ("relu", "gelu"):
        return getattr(nn.functional, value.__name__)
    return value


def flat(value: Any, kind: type) -> list[Any]:
    """The tensors in a result or in arguments, in order."""
    if isinstance(value, kind):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, tuple | list):
        return [one for part in value for one in flat(part, kind)]
    return []


def build(info: Any, arguments: Any, like: Any) -> Any:
    """Our module with the arguments and weights of PyTorch's."""
    ours = getattr(nn, info.name.removeprefix("nn."))
    args, kwargs = convert(arguments.args), convert(arguments.kwargs)
    if any(
        isinstance(one, torch.nn.Module) for one in arguments.args
    ):  # a stack of layers: ours of the same kind
        args = tuple(
            equivalent(one) if isinstance(one, torch.nn.Module) else convert(one) for one in arguments.args
        )
    module = ours(*args, **kwargs)
    lazy = any(isinstance(one, torch.nn.parameter.UninitializedParameter) for one in like.parameters())
    if not lazy:
        module.load_state_dict({key: value.detach().numpy() for key, value in like.state_dict().items()})
    return module


def equivalent(layer: Any) -> Any:
    """A layer that PyTorch's test hands to a stack, as ours."""
    attention = layer.self_attn
    return nn.TransformerEncoderLayer(
        attention.embed_dim,
        attention.num_heads,
        layer.linear1.out_features,
        layer.dropout.p,
        norm_first=layer.norm_first,
        batch_first=attention.batch_first,
        dtype=accelgrad.float64,
        layer_norm_eps=layer.norm1.eps,
        activation=convert(layer.activation),
        bias=layer.linear1.bias is not None,
    )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_layer_computes_what_pytorch_computes(name: str, training: bool):
    info = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
        )
        assert inputs
        for case in inputs:
            compare(info, case, training)


def compare(info: Any, case: Any, training: bool) -> None:
    made, called = case.constructor_input, case.forward_input
    theirs = info.module_cls(*made.args, **made.kwargs).double().train(training)
    ours = build(info, made, theirs).double().train(training)
    lazy = any(isinstance(one, torch.nn.parameter.UninitializedParameter) for one in theirs.parameters())
    if lazy:  # let both see an input first, then take the weights over
        theirs(*called.args, **called.kwargs)
        ours(*convert(called.args), **convert(called.kwargs))
        ours.load_state_dict({key: value.detach().numpy() for key, value in theirs.state_dict().items()})
    for one in flat([called.args, called.kwargs], torch.Tensor):
        one.grad = None  # some cases share their tensors
    args, kwargs = convert(called.args), convert(called.kwargs)
    expected = theirs(*called.args, **called.kwargs)
    got = ours(*args, **kwargs)
    what = f"{case.desc} {made.args} {made.kwargs}"
    expected_flat, got_flat = flat(expected, torch.Tensor), flat(got, accelgrad.Tensor)
    assert len(expected_flat) == len(got_flat), what
    for one, other in zip(expected_flat, got_flat, strict=True):
        assert tuple(one.shape) == tuple(other.shape), what
        np.testing.assert_allclose(
            other.detach().numpy(), one.detach().numpy(), rtol=1e-7, atol=1e-9, err_msg=what
        )
    pairs = [(one, other) for one, other in zip(expected_flat, got_flat, strict=True) if one.requires_grad]
    assert all(other.requires_grad for _, other in pairs), what
    if not pairs:
        return
    rng = np.random.default_rng(0)
    factors = [rng.standard_normal(tuple(one.shape)) for one, _ in pairs]
    torch.autograd.backward([one for one, _ in pairs], [torch.from_numpy(np.asarray(f)) for f in factors])
    total = sum((other * accelgrad.tensor(f)).sum() for (_, other), f in zip(pairs, factors, strict=True))
    total.backward()
    own = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        same_gradient(parameter.grad, own[name].grad, f"{what}: {name}")
    for one, other in zip(
        flat([called.args, called.kwargs], torch.Tensor), flat([args, kwargs], accelgrad.Tensor), strict=True
    ):
        if one.is_leaf:
            same_gradient(one.grad, other.grad, f"{what}: input")


def same_gradient(expected: Any, got: Any, what: str) -> None:
    if expected is None:
        assert got is None or not got.numpy().any(), what
        return
    assert got is not None, what
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-6, atol=1e-9, err_msg=what)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Linear", (3, 4)),
        ("Conv2d", (2, 4, (3, 2))),
        ("ConvTranspose2d", (2, 4, 3)),
        ("LSTM", (3, 4, 2)),
        ("Embedding", (50, 8)),
        ("Bilinear", (3, 4, 5)),
        ("MultiheadAttention", (8, 2)),
    ],
)
def test_first_values_have_the_distribution_of_pytorchs(name: str, args: tuple):
    drawn: dict[str, list[np.ndarray]] = {}
    reference: dict[str, list[np.ndarray]] = {}
    torch.manual_seed(0)
    for _ in range(60):
        for key, value in getattr(nn, name)(*args).state_dict().items():
            drawn.setdefault(key, []).append(value.numpy().copy().ravel())
        for key, value in getattr(torch.nn, name)(*args).state_dict().items():
            reference.setdefault(key, []).append(value.numpy().copy().ravel())
    assert drawn.keys() == reference.keys()
    for key, values in drawn.items():
        mine, theirs = np.concatenate(values), np.concatenate(reference[key])
        scale = max(float(theirs.std()), 1e-6)
        assert abs(mine.mean() - theirs.mean()) < 0.2 * scale, key
        assert mine.std() == pytest.approx(theirs.std(), rel=0.2, abs=1e-6), key
        if key.endswith("weight") and name != "Embedding":
            assert np.abs(mine).max() == pytest.approx(np.abs(theirs).max(), rel=0.1), key


REPRS = [
    "AdaptiveAvgPool2d((1, None))",
    "CELU(inplace=True)",
    "Conv1d(2, 4, 3, dilation=2, padding_mode='circular')",
    "Conv2d(3, 8, 3, padding='same', bias=False)",
    "Embedding(3, 4, padding_idx=0, max_norm=1.0, sparse=True)",
    "EmbeddingBag(4, 3, mode='sum', padding_idx=1)",
    "GELU('tanh')",
    "GroupNorm(2, 4, affine=False)",
    "LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)",
    "LeakyReLU(0.2, inplace=True)",
    "Linear(3, 4, bias=False)",
    "MaxPool2d((2, 3), padding=1, ceil_mode=True)",
    "ModuleDict({'a': ReLU()})",
    "ModuleList([Linear(2, 2) for _ in range(3)])",
    "RNN(3, 4, nonlinearity='relu')",
    "RNNCell(3, 4, bias=False, nonlinearity='relu')",
    "ReLU(inplace=True)",
    "Sequential(Linear(2, 3), Sequential(ReLU(), Linear(3, 1)))",
    "Upsample((4, 5), mode='bilinear')",
]
"""Settings that are not the default; ``test_every_module.py`` prints every class once."""


@pytest.mark.parametrize("text", REPRS)
def test_a_layer_prints_as_pytorchs(text: str):
    expected = repr(eval(text, vars(torch.nn) | {"range": range}))
    got = repr(eval(text, vars(nn) | {"range": range}))
    assert got == expected


def test_what_the_tables_leave_out_for_being_missing_is_missing():
    assert [name for name in NOT_HERE if hasattr(nn, name.removeprefix("nn."))] == []
