"""Parametrizations: values, gradients, saved states and errors are PyTorch's."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn
from accelgrad.nn.utils import parametrizations, parametrize
from accelgrad.nn.utils.spectral_norm import SpectralNorm

torch = pytest.importorskip("torch")


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, value):
        return value.triu()


class Exponential(nn.Module):
    def forward(self, x):
        return x.exp()


class Product(nn.Module):
    """A matrix of rank one from two vectors."""

    def forward(self, x, y):
        return x.unsqueeze(1) * y

    def right_inverse(self, value):
        return value[:, 0].clone(), value[0].clone()


def carry(ours: Any, theirs: Any) -> None:
    ours.load_state_dict({key: value.detach().numpy() for key, value in theirs.state_dict().items()})


@pytest.mark.parametrize(
    "build",
    ["parametrizations.weight_norm", "parametrizations.spectral_norm", "weight_norm", "spectral_norm"],
)
@pytest.mark.parametrize(
    ("layer", "shape", "options"),
    [
        ("Linear(3, 4)", (5, 3), {}),
        ("Conv2d(2, 4, 3)", (2, 2, 5, 5), {}),
        ("ConvTranspose1d(2, 4, 3)", (2, 2, 5), {}),
        ("Linear(3, 4)", (5, 3), {"dim": 1}),
        ("Linear(3, 4)", (5, 3), {"dim": None}),
        ("BatchNorm1d(3)", (5, 3), {}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_a_normed_layer_is_pytorchs(build: str, layer: str, shape: Any, options: dict[str, Any]) -> None:
    if layer.startswith("Batch") and build == "spectral_norm":
        pytest.skip("the older form knows matrices only")

    def normed(library: Any) -> Any:
        module = eval(layer, vars(library)).double()
        place = library.utils
        for part in build.split("."):
            place = getattr(place, part)
        return place(module, **options)

    ours, theirs = normed(nn), normed(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    carry(ours, theirs)
    x = np.random.default_rng(0).standard_normal(shape)
    for _ in range(3):
        mine, other = ours(accelgrad.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-9)
    ours.zero_grad()
    theirs.zero_grad()
    mine.square().sum().backward()
    other.square().sum().backward()
    for (name, one), (_, two) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), rtol=1e-6, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(
        ours.eval()(accelgrad.tensor(x)).detach().numpy(), theirs.eval()(torch.tensor(x)).detach().numpy()
    )


def test_two_forwards_before_backward_keep_their_own_vectors() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(3, 3))
    (layer(accelgrad.ones(1, 3)).sum() - layer(accelgrad.zeros(1, 3)).sum()).backward()
    assert layer.parametrizations.weight.original.grad.abs().sum() > 0


def test_an_older_state_is_read() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = nn.utils.weight_norm(nn.Linear(2, 3))
    new = parametrizations.weight_norm(nn.Linear(2, 3))
    new.load_state_dict(old.state_dict())
    np.testing.assert_allclose(new.weight.detach().numpy(), old.weight.detach().numpy(), rtol=1e-6)


def test_a_norm_is_taken_off_again() -> None:
    x = accelgrad.randn(2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = nn.utils.weight_norm(nn.Linear(3, 4))
    second = nn.utils.spectral_norm(nn.Linear(3, 4)).eval()
    third = parametrizations.weight_norm(nn.Linear(3, 4))
    for layer, remove in (
        (first, nn.utils.remove_weight_norm),
        (second, nn.utils.remove_spectral_norm),
        (third, lambda layer: parametrize.remove_parametrizations(layer, "weight")),
    ):
        before = layer(x).detach().numpy()
        assert remove(layer) is layer
        assert sorted(layer.state_dict()) == ["bias", "weight"] and type(layer) is nn.Linear
        assert isinstance(layer.weight, nn.Parameter)
        np.testing.assert_allclose(layer(x).detach().numpy(), before, rtol=1e-6)
    for remove in (nn.utils.remove_weight_norm, nn.utils.remove_spectral_norm):
        with pytest.raises(ValueError, match="_norm of 'weight' not found in Linear"):
            remove(nn.Linear(1, 1))


def test_what_is_learned_is_the_original_and_stays_known_to_its_optimizer() -> None:
    layer = nn.Linear(3, 3)
    known = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert layer.parametrizations.weight.original is known
    assert accelgrad.equal(layer.weight, layer.weight.T) and isinstance(layer, nn.Linear)
    layer(accelgrad.ones(1, 3)).sum().backward()
    assert known.grad is not None and known.grad[2, 0] == 0
    assert repr(layer).startswith("ParametrizedLinear(") and "(0): Symmetric()" in repr(layer)


def test_an_assignment_goes_through_the_inverse() -> None:
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    layer.weight = accelgrad.tensor([[1.0, 2.0], [2.0, 3.0]])
    assert layer.parametrizations.weight.original.tolist() == [[1.0, 2.0], [0.0, 3.0]]
    assert layer.weight.tolist() == [[1.0, 2.0], [2.0, 3.0]]
    second = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Exponential())
    with pytest.raises(RuntimeError, match="parametrization Exponential does not implement right_inverse"):
        second.weight = accelgrad.ones(2, 2)


def test_several_act_one_after_the_other() -> None:
    layer = nn.Linear(2, 2)
    start = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Symmetric())
    parametrize.register_parametrization(layer, "weight", Exponential())
    assert accelgrad.allclose(layer.weight, (start.triu() + start.triu(1).T).exp())
    assert [type(one).__name__ for one in layer.parametrizations.weight] == ["Symmetric", "Exponential"]


def test_several_originals() -> None:
    layer = nn.Linear(3, 2)
    parametrize.register_parametrization(layer, "weight", Product())
    assert [name for name, _ in layer.named_parameters()] == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    ]  # fmt: skip
    layer.weight = accelgrad.full((2, 3), 2.0)
    assert layer.weight.tolist() == [[4.0] * 3] * 2
    with pytest.raises(ValueError, match="Cannot leave unparametrized"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def test_the_original_is_left_where_that_is_wished() -> None:
    layer = nn.Linear(2, 2)
    known, value = layer.weight, layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Exponential())
    parametrize.register_parametrization(layer, "bias", Exponential())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight is known and accelgrad.equal(known, value)
    assert parametrize.is_parametrized(layer) and not parametrize.is_parametrized(layer, "weight")
    parametrize.remove_parametrizations(layer, "bias")
    assert type(layer) is nn.Linear and not hasattr(layer, "parametrizations")


def test_buffers_are_parametrized_too() -> None:
    layer = nn.BatchNorm1d(2)
    parametrize.register_parametrization(layer, "running_mean", Exponential())
    assert layer.running_mean.tolist() == [1.0, 1.0]
    assert "parametrizations.running_mean.original" in dict(layer.named_buffers())


def test_a_copy_has_a_parametrization_of_its_own() -> None:
    layer = parametrizations.weight_norm(nn.Linear(2, 2))
    other = copy.deepcopy(layer)
    parametrize.remove_parametrizations(other, "weight")
    assert parametrize.is_parametrized(layer, "weight") and type(other) is nn.Linear
    assert accelgrad.allclose(layer.weight, other.weight)
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)


def test_within_cached_a_tensor_is_computed_once() -> None:
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Exponential())
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        assert layer.weight is first
    assert layer.weight is not first


def test_parametrizations_are_transferred() -> None:
    source = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
    target = nn.Linear(2, 2)
    assert parametrize.transfer_parametrizations_and_params(source, target) is target
    assert target.parametrizations.weight.original is source.parametrizations.weight.original
    assert accelgrad.equal(source.weight, target.weight)
    assert parametrize.type_before_parametrizations(target) is nn.Linear
    untouched = nn.Linear(2, 2)
    parametrize.transfer_parametrizations_and_params(nn.Linear(2, 2), untouched)
    assert not parametrize.is_parametrized(untouched)


class Shorter(nn.Module):
    def forward(self, x):
        return x[:1]


class Halved(nn.Module):
    def forward(self, x):
        return x.half()


def test_what_changes_shape_or_type_is_refused_unless_unsafe() -> None:
    layer = nn.Linear(2, 2)
    for wrong, word in ((Shorter(), "shape"), (Halved(), "dtype")):
        with pytest.raises(ValueError, match=f"may not change the {word} of the tensor, unless"):
            parametrize.register_parametrization(layer, "weight", wrong)
    assert type(layer) is nn.Linear and layer.weight.shape == (2, 2)
    parametrize.register_parametrization(layer, "weight", Exponential())
    with pytest.raises(ValueError, match="may not change the shape of the tensor, unless the `unsafe`"):
        parametrize.register_parametrization(layer, "weight", Shorter())
    parametrize.register_parametrization(layer, "weight", Shorter(), unsafe=True)
    assert layer.weight.shape == (1, 2)


def test_unknown_names_and_bad_settings_are_refused() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="does not have a parameter, a buffer, or a parametrized element"):
        parametrize.register_parametrization(layer, "weights", Exponential())
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(layer, "weight")
    with pytest.raises(ValueError, match="has no parameter or buffer with name 'weights'"):
        parametrizations.spectral_norm(layer, "weights")
    with pytest.raises(ValueError, match="Expected n_power_iterations to be positive"):
        parametrizations.spectral_norm(layer, n_power_iterations=0)
    with pytest.raises(IndexError, match="Dimension out of range"):
        parametrizations.spectral_norm(layer, dim=2)
    nn.utils.spectral_norm(layer)
    with pytest.raises(RuntimeError, match="Cannot register two spectral_norm hooks on the same parameter"):
        hooked = SpectralNorm("weight")
        hooked.attach(layer, "spectral_norm")


def test_fused_weights_are_pytorchs() -> None:
    rng = np.random.default_rng(0)
    for function, shape in (("fuse_conv_bn_weights", (4, 2, 3, 3)), ("fuse_linear_bn_weights", (4, 2))):
        values = [rng.standard_normal(shape), None, *(rng.uniform(0.5, 1, 4) for _ in range(2)), 1e-3]
        values += [rng.standard_normal(4), None if "conv" in function else rng.standard_normal(4)]

        def take(library: Any, values: Any = values, function: str = function) -> Any:
            made = [library.tensor(one) if isinstance(one, np.ndarray) else one for one in values]
            return getattr(library.nn.utils, function)(*made)

        for mine, other in zip(take(accelgrad), take(torch), strict=True):
            np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("trivial", [True, False])
def test_an_orthogonal_weight_is_pytorchs_and_stays_orthogonal(kind: str, shape: Any, trivial: bool) -> None:
    def build(library: Any) -> Any:
        module = library.Linear(shape[1], shape[0]).double()
        return library.utils.parametrizations.orthogonal(
            module, orthogonal_map=kind, use_trivialization=trivial
        )

    ours, theirs = build(nn), build(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    if not (trivial or kind == "householder"):
        for one, library in ((ours, accelgrad), (theirs, torch)):
            with pytest.raises(NotImplementedError, match="It is not possible to assign to the matrix exp"):
                one.weight = library.zeros(*shape, dtype=library.float64)
    carry(ours, theirs)
    x = np.random.default_rng(0).standard_normal((2, shape[1]))
    for one, library in ((ours, accelgrad), (theirs, torch)):
        optimizer = library.optim.SGD(one.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            one(library.tensor(x)).square().sum().backward()
            optimizer.step()
    weight = ours.weight.detach().numpy()
    np.testing.assert_allclose(weight, theirs.weight.detach().numpy(), atol=1e-9)
    gram = weight.T @ weight if shape[0] >= shape[1] else weight @ weight.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-9)


def test_an_orthogonal_weight_starts_from_the_given_one_made_orthogonal() -> None:
    layer = nn.Linear(3, 3)
    start = accelgrad.linalg.qr(accelgrad.randn(3, 3)).Q
    with accelgrad.no_grad():
        layer.weight.copy_(start)
    for kind in ("matrix_exp", "cayley", "householder"):
        parametrizations.orthogonal(layer, orthogonal_map=kind)
        assert accelgrad.allclose(layer.weight, start, atol=1e-5)
        parametrize.remove_parametrizations(layer, "weight")
    parametrizations.orthogonal(layer, use_trivialization=False, orthogonal_map="householder")
    assert accelgrad.allclose(layer.weight, start, atol=1e-5)
    with pytest.raises(ValueError, match="Got a tensor of shape"):
        layer.weight = accelgrad.ones(2, 2)


def test_what_cannot_be_orthogonal_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected a matrix or batch of matrices"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="euler")
