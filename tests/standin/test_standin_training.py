"""Whole training steps on the device: every model family runs and agrees with the CPU; on the stand-in,
which counts, the host never waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import amp, nn, optim

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def waits(request: pytest.FixtureRequest, device: str) -> Callable[[], int]:
    """How often the host has waited for the device; only the stand-in counts, elsewhere it is always 0."""
    if device != "gpu":
        pytest.skip("needs pytest --device standin, cupy-on-host or gpu")
    if request.config.getoption("--device") != "standin":
        return lambda: 0
    import cupy

    return lambda: cupy.cuda.counts["syncs"]


class Reader(nn.Module):
    def __init__(self, layer: type) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.layer = layer(6, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.layer(self.words(x))[0][:, -1])


class Attender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.block(self.words(x)).mean(1))


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 4, 3, stride=2), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Dropout(0.2), nn.Linear(4, 3)),
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], bool]] = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(7, 9), nn.LayerNorm(9), nn.Tanh(), nn.Linear(9, 3)),
        (5, 7),
        False,
    ),
    "cnn": (cnn, (5, 1, 8, 8), False),
    "lstm": (lambda: Reader(nn.LSTM), (5, 4), True),
    "gru": (lambda: Reader(nn.GRU), (5, 4), True),
    "transformer": (Attender, (5, 4), True),
}
# A bias before batch norm has the gradient 0, of which rounding leaves something else on every device: a
# large eps keeps Adam from making steps of it.
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda params: optim.AdamW(params, lr=0.01, eps=1e-3),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "rmsprop": lambda params: optim.RMSprop(params, lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda params: optim.Adagrad(params, lr=0.05, lr_decay=0.1, weight_decay=0.01),
    "adadelta": lambda params: optim.Adadelta(params, lr=0.5),
    "adamax": lambda params: optim.Adamax(params, lr=0.01, weight_decay=0.01),
    "nadam": lambda params: optim.NAdam(params, lr=0.01),
    "radam": lambda params: optim.RAdam(params, lr=0.01, decoupled_weight_decay=True, weight_decay=0.1),
    "asgd": lambda params: optim.ASGD(params, lr=0.05, t0=1),
    "rprop": lambda params: optim.Rprop(params, lr=0.01),
    "adafactor": lambda params: optim.Adafactor(params, lr=0.1, weight_decay=0.01),
    "amsgrad": lambda params: optim.Adam(params, lr=0.01, amsgrad=True, maximize=True),
    "nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
}


def train(name: str, optimizer: str, device: str, clip: bool = False) -> tuple[Any, Any]:
    """The model after three steps on ``device``, and the last loss."""
    make, shape, words = MODELS[name]
    accelgrad.manual_seed(1)
    rng = np.random.default_rng(0)
    data = rng.integers(0, 11, shape) if words else rng.standard_normal(shape).astype("float32")
    x, target = accelgrad.from_numpy(data), accelgrad.from_numpy(rng.integers(0, 3, shape[0]))
    model = make().to(device)
    x, target = x.to(device), target.to(device)
    update = (OPTIMIZERS | OTHERS)[optimizer](model.parameters())
    for _ in range(3):
        update.zero_grad()
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        update.step()
    return model, loss


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [(name, optimizer) for name in MODELS for optimizer in OPTIMIZERS] + [("mlp", other) for other in OTHERS],
)
def test_a_step_never_waits_and_agrees_with_the_cpu(
    name: str, optimizer: str, waits: Callable[[], int]
) -> None:
    expected, expected_loss = train(name, optimizer, "cpu", clip=True)
    before = waits()
    model, loss = train(name, optimizer, "gpu", clip=True)
    assert waits() == before, "the host waited for the device within a step"
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-4)
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert one.device.type == "cuda"
        np.testing.assert_allclose(one.detach().cpu().numpy(), other.detach().numpy(), rtol=2e-3, atol=2e-5)


def test_mixed_precision_waits_once_a_step(request: pytest.FixtureRequest, waits: Callable[[], int]) -> None:
    model = nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 3)).to("gpu")
    update, scaler = optim.SGD(model.parameters(), lr=0.1), amp.GradScaler()
    x, target = accelgrad.randn(5, 7, device="gpu"), accelgrad.zeros(5, dtype=accelgrad.int64, device="gpu")
    for _ in range(2):
        before = waits()
        update.zero_grad()
        with amp.autocast():
            loss = nn.functional.cross_entropy(model(x), target)
        scaler.scale(loss).backward()
        scaler.step(update)
        scaler.update()
        assert waits() - before == (1 if request.config.getoption("--device") == "standin" else 0)
    assert np.isfinite(loss.item())


def test_a_checkpoint_travels_between_the_devices(tmp_path: Any) -> None:
    model = cnn().to("gpu")
    file = tmp_path / "model.npz"
    accelgrad.save(model.state_dict(), file)
    other = cnn()
    other.load_state_dict(accelgrad.load(file, map_location="cpu"))
    np.testing.assert_array_equal(other[0].weight.detach().numpy(), model[0].weight.detach().cpu().numpy())


def test_a_loader_feeds_the_device() -> None:
    from accelgrad.utils.data import DataLoader, TensorDataset

    data = TensorDataset(accelgrad.arange(10).float().reshape(10, 1), accelgrad.arange(10))
    total = accelgrad.zeros(1, device="gpu")
    for x, _ in DataLoader(data, batch_size=4, pin_memory=True):
        total += x.to("gpu", non_blocking=True).sum(0)
    assert total.tolist() == [45.0]
