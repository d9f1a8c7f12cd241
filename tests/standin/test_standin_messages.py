"""What a user hears who mixes devices: PyTorch's class and opening words, both devices, and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, optim
from accelgrad.nn import functional as F

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def only_with_a_card(device: str) -> None:
    if device != "gpu":
        pytest.skip("needs pytest --device standin, cupy-on-host or gpu")


def card(*shape: int) -> accelgrad.Tensor:
    return accelgrad.ones(*shape, device="gpu")


def host(*shape: int) -> accelgrad.Tensor:
    return accelgrad.ones(*shape)


def numbers(*values: int, device: str = "cpu") -> accelgrad.Tensor:
    return accelgrad.tensor(values, device=device)


MIXED: dict[str, Callable[[], Any]] = {
    "add": lambda: card(3) + host(3),
    "add, other way round": lambda: host(3) + card(3),
    "in place": lambda: card(3).add_(host(3)),
    "an array": lambda: card(3) * np.ones(3, "float32"),
    "an array on the left": lambda: np.ones(3, "float32") * card(3),
    "matmul": lambda: card(2, 3) @ host(3, 2),
    "einsum": lambda: accelgrad.einsum("ij,jk", card(2, 3), host(3, 2)),
    "cat": lambda: accelgrad.cat([card(2), host(2)]),
    "stack": lambda: accelgrad.stack([host(2), card(2)]),
    "where": lambda: accelgrad.where(host(3) > 0, card(3), card(3)),
    "normal": lambda: accelgrad.normal(card(2), host(2)),
    "searchsorted": lambda: accelgrad.searchsorted(card(3), host(2)),
    "equal": lambda: accelgrad.equal(card(2), host(2)),
    "assignment": lambda: card(3).__setitem__(slice(None), host(3)),
    "gather": lambda: card(3).gather(0, numbers(0)),
    "index_select": lambda: card(3).index_select(0, numbers(0)),
    "scatter": lambda: card(3).scatter(0, numbers(0), card(1)),
    "masked_fill": lambda: card(3).masked_fill(host(3) > 0, 0),
    "input not moved": lambda: nn.Linear(3, 2).to("gpu")(host(1, 3)),
    "model not moved": lambda: nn.Linear(3, 2)(card(1, 3)),
    "convolution": lambda: nn.Conv2d(1, 1, 3).to("gpu")(host(1, 1, 5, 5)),
    "recurrent": lambda: nn.LSTM(3, 4).to("gpu")(host(2, 1, 3)),
    "hidden state": lambda: nn.GRU(3, 4).to("gpu")(card(2, 1, 3), host(1, 1, 4)),
    "embedding's input": lambda: nn.Embedding(4, 3).to("gpu")(numbers(1)),
    "embedding's table": lambda: nn.Embedding(4, 3)(numbers(1, device="gpu")),
    "normalisation": lambda: nn.BatchNorm1d(3).to("gpu")(host(4, 3)),
    "attention": lambda: nn.TransformerEncoderLayer(4, 2, 8).to("gpu")(host(2, 1, 4)),
    "attention's mask": lambda: F.scaled_dot_product_attention(*[card(1, 2, 4)] * 3, attn_mask=host(2, 2)),
    "targets": lambda: F.cross_entropy(card(2, 3), numbers(0, 1)),
    "targets of nll": lambda: F.nll_loss(card(2, 3), numbers(0, 1)),
    "weights of classes": lambda: F.cross_entropy(card(1, 3), numbers(0, device="gpu"), weight=host(3)),
    "mse": lambda: F.mse_loss(card(2), host(2)),
    "bce": lambda: F.binary_cross_entropy_with_logits(card(2), host(2)),
    "grid": lambda: F.grid_sample(card(1, 1, 2, 2), host(1, 2, 2, 2), align_corners=False),
    "a hook that moved the output": lambda: moved_between()(card(1, 3)),
}


def moved_between() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).to("gpu")
    model[0].register_forward_hook(lambda module, inputs, output: output.cpu())
    return model


@pytest.mark.parametrize("name", MIXED)
def test_mixed_devices_are_named_with_the_call_that_moves_one(name: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        MIXED[name]()
    text = str(caught.value)
    assert text.startswith("Expected all tensors to be on the same device, but found at least two devices, ")
    assert "cuda:0 and cpu!" in text or "cpu and cuda:0!" in text
    assert ".to('cuda:0')" in text or "device='cuda:0')" in text, text


def test_a_zero_dimensional_tensor_of_the_host_may_meet_a_card() -> None:
    assert (card(2) * accelgrad.tensor(3.0)).tolist() == [3.0, 3.0]
    assert (accelgrad.tensor(3.0) - card(2)).device.type == "cuda"


def test_a_module_tells_which_of_its_layers_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).to("gpu")
    with pytest.raises(RuntimeError) as caught:
        model(host(1, 3))
    notes = "\n".join(getattr(caught.value, "__notes__", []))
    assert (
        "Linear(in_features=3" in str(caught.value) + notes and "x.to('cuda:0')" in str(caught.value) + notes
    )


def test_an_index_may_come_from_the_host_but_not_the_other_way_round() -> None:
    assert card(3)[numbers(0, 2)].shape == (2,) and card(3)[host(3) > 0].shape == (3,)
    for index in (numbers(0, device="gpu"), card(3) > 0):
        with pytest.raises(
            RuntimeError,
            match=r"^indices should be either on cpu or on the same device as the indexed tensor \(cpu\), but"
            r" this one is on cuda:0: move it with \.to\('cpu'\)",
        ):
            host(3)[index]


def test_an_index_that_the_host_knows_is_checked_at_once() -> None:
    for index in ([5], numbers(5), np.array([-4])):
        with pytest.raises(IndexError, match=r"index (5|-4) is out of bounds for dimension 0 with size 3"):
            card(3)[index]


@pytest.mark.usefixtures("looking")
def test_with_launch_blocking_wrong_labels_and_indices_raise_as_on_the_cpu() -> None:
    with pytest.raises(IndexError, match="Target 3 is out of bounds"):
        F.cross_entropy(card(1, 3), numbers(3, device="gpu"))
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(numbers(4, device="gpu"), card(4, 2))
    with pytest.raises(IndexError, match="index 9 is out of bounds"):
        card(3)[numbers(9, device="gpu")]
    with pytest.raises(RuntimeError, match="index 5 is out of bounds"):
        card(3).gather(0, numbers(5, device="gpu"))


def test_a_card_does_not_become_numpys_by_itself() -> None:
    for convert in (lambda: card(2).numpy(), lambda: np.asarray(card(2))):
        with pytest.raises(
            TypeError,
            match=r"^can't convert cuda:0 device type tensor to numpy\. Use Tensor\.cpu\(\) to copy",
        ):
            convert()
    assert card(2).numpy(force=True).tolist() == [1.0, 1.0]


def test_a_card_that_is_not_there_is_named(tmp_path: Path) -> None:
    accelgrad.save({"weight": card(2)}, tmp_path / "file")
    for ask in (
        lambda: accelgrad.from_numpy(np.ones(2)).to("gpu:7"),
        lambda: host(2).cuda(7),
        lambda: nn.Linear(2, 2).to("cuda:7"),
        lambda: accelgrad.load(tmp_path / "file", map_location="cuda:7"),
        lambda: accelgrad.set_default_device("gpu:7"),
    ):
        with pytest.raises(
            RuntimeError, match=r"invalid device ordinal: 'gpu:7' was asked for, but there (is|are)"
        ):
            ask()
    assert accelgrad.load(tmp_path / "file", map_location="cpu")["weight"].device.type == "cpu"
    assert accelgrad.load(tmp_path / "file")["weight"].device.type == "cuda"


def test_hooks_and_functions_must_return_gradients_where_they_belong() -> None:
    x = card(3).requires_grad_()
    x.register_hook(lambda grad: grad.cpu())
    with pytest.raises(
        RuntimeError, match=r"hook '<lambda>' has changed the type of value.*\.to\('cuda:0'\)"
    ):
        (x * 2).sum().backward()
    model = nn.Linear(3, 2).to("gpu")
    model.register_full_backward_hook(lambda module, inputs, outputs: tuple(one.cpu() for one in inputs))
    with pytest.raises(
        RuntimeError, match=r"Backward hook has changed the type of value: gradient 0 is on cuda:0"
    ):
        model(card(1, 3).requires_grad_()).sum().backward()

    class Wrong(accelgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: accelgrad.Tensor) -> accelgrad.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: accelgrad.Tensor) -> accelgrad.Tensor:
            return grad.cpu()

    with pytest.raises(
        RuntimeError,
        match=r"^Function WrongBackward returned an invalid gradient at index 0 - expected device cuda:0 but",
    ):
        Wrong.apply(card(3).requires_grad_()).sum().backward()
    with pytest.raises(RuntimeError, match="attempting to assign a gradient with device type 'cpu'"):
        x.grad = host(3)
    with pytest.raises(RuntimeError, match=r"the gradient is on cpu but the tensor on cuda:0"):
        (x * 2).backward(host(3))


def test_an_out_on_another_device_is_refused() -> None:
    with pytest.raises(
        RuntimeError, match=r"^Expected out tensor to have device cuda:0, but got cpu instead"
    ):
        accelgrad.add(card(3), card(3), out=host(3))


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_a_model_that_moves_after_a_step_leaves_the_optimizers_state_behind(kind: str) -> None:
    model = nn.Linear(3, 2)
    options = {"momentum": 0.9} if kind == "SGD" else {}
    update = getattr(optim, kind)(model.parameters(), lr=0.1, **options)
    model(host(1, 3)).sum().backward()
    update.step()
    model.to("gpu")
    update.zero_grad()
    model(card(1, 3)).sum().backward()
    with pytest.raises(
        RuntimeError, match=rf"cuda:0 and cpu! In {kind}, parameter 0 of shape \(2, 3\) is on cuda:0, but its"
    ):
        update.step()
    update.load_state_dict(update.state_dict())
    update.step()
    assert model.weight.is_cuda


def test_a_model_that_moves_before_the_first_step_is_followed() -> None:
    model = nn.Linear(3, 2)
    update = optim.Adam(model.parameters(), lr=0.1)
    model.to("gpu")
    model(card(1, 3)).sum().backward()
    update.step()
    assert update.state[model.weight]["exp_avg"].is_cuda
