"""How often the host waits for the card in a loop as lectures write it: once a step, for the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import amp, nn, optim
from accelgrad.nn import functional as F
from accelgrad.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.host


@pytest.fixture(autouse=True)
def counts(request: pytest.FixtureRequest) -> dict[str, int]:
    if request.config.getoption("--device") != "standin":
        pytest.skip("the stand-in counts: pytest --device standin")
    import cupy

    return cupy.cuda.counts


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm_one = nn.BatchNorm2d(outputs)
        self.two = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm_two = nn.BatchNorm2d(outputs)
        self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Any) -> Any:
        y = F.relu(self.norm_one(self.one(x)), inplace=True)
        y = self.norm_two(self.two(y))
        y += self.short(x)
        return F.relu(y)


class Gpt(nn.Module):
    def __init__(self, words: int = 11, width: int = 8, length: int = 6) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.norm, self.mix = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight
        self.drop = nn.Dropout(0.1)
        self.register_buffer("mask", accelgrad.tril(accelgrad.ones(length, length)))

    def forward(self, ids: Any) -> Any:
        n, t = ids.shape
        x = self.drop(self.words(ids) + self.places(accelgrad.arange(t, device=ids.device)))
        q, k, v = self.mix(self.norm(x)).view(n, t, 3, 2, -1).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(n, t, -1)
        scores = (q @ k.transpose(-2, -1)).masked_fill(self.mask[:t, :t] == 0, float("-inf"))
        x = x + (self.drop(F.softmax(scores, dim=-1)) @ v).transpose(1, 2).contiguous().view(n, t, -1)
        return self.head(x + self.down(F.gelu(self.up(self.norm(x))))).transpose(1, 2)


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.cell = (
            nn.Embedding(11, 6, padding_idx=0),
            nn.LSTM(6, 5, 2, dropout=0.1, bidirectional=True),
        )
        self.head = nn.Linear(10, 3)

    def forward(self, ids: Any) -> Any:
        return self.head(self.cell(self.words(ids.T))[0][-1])


def resnet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), Residual(4, 4, 1), Residual(4, 8, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.1)),
        *(nn.Flatten(), nn.LazyLinear(16), nn.BatchNorm1d(16), nn.LeakyReLU(), nn.Linear(16, 3)),
    )


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.GELU(), nn.Dropout(0.1), nn.Linear(16, 3))


def images(rng: Any) -> tuple[np.ndarray, np.ndarray]:
    return rng.standard_normal((24, 1, 8, 8)).astype("float32"), rng.integers(0, 3, 24)


def sentences(rng: Any) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 11, (24, 6)), rng.integers(0, 3, 24)


def next_words(rng: Any) -> tuple[np.ndarray, np.ndarray]:
    return rng.integers(0, 11, (24, 6)), rng.integers(0, 11, (24, 6))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any]]] = {
    "mlp": (mlp, images),
    "cnn": (cnn, images),
    "resnet": (resnet, images),
    "lstm": (Reader, sentences),
    "gpt": (Gpt, next_words),
}


def prepared(name: str) -> tuple[nn.Module, Any]:
    make, data = MODELS[name]
    x, y = data(np.random.default_rng(0))
    model = make().to("gpu")
    first = accelgrad.from_numpy(x[:4]).to("gpu")
    model(first)  # lazy layers find their sizes
    return model, DataLoader(
        TensorDataset(accelgrad.from_numpy(x), accelgrad.from_numpy(y)), 8, shuffle=True, pin_memory=True
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_lectures_loop_waits_once_a_step_for_the_loss(name: str, counts: dict[str, int]) -> None:
    model, loader = prepared(name)
    update = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = optim.lr_scheduler.OneCycleLR(update, max_lr=1e-2, total_steps=50)
    criterion, total, steps = nn.CrossEntropyLoss(label_smoothing=0.1), 0.0, 0
    correct = accelgrad.zeros((), dtype=accelgrad.int64, device="gpu")
    model.train()
    before = counts["syncs"]
    for _ in range(2):
        for x, y in loader:
            x, y = x.to("gpu", non_blocking=True), y.to("gpu", non_blocking=True)
            update.zero_grad(set_to_none=True)
            scores = model(x)
            loss = criterion(scores, y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            update.step()
            schedule.step()
            correct += (scores.argmax(1) == y).sum()
            total += loss.item()
            steps += 1
    assert counts["syncs"] - before == steps == 6
    assert np.isfinite(total) and int(correct.item()) >= 0


@pytest.mark.parametrize("name", ["mlp", "lstm", "gpt"])
def test_mixed_precision_with_clipping_waits_once_more_for_its_verdict(
    name: str, counts: dict[str, int]
) -> None:
    model, loader = prepared(name)
    update, scaler = (
        optim.SGD(model.parameters(), lr=1e-2, momentum=0.9),
        amp.GradScaler("cuda", init_scale=8.0),
    )
    steps, before = 0, counts["syncs"]
    for x, y in loader:
        x, y = x.to("gpu", non_blocking=True), y.to("gpu", non_blocking=True)
        update.zero_grad()
        with amp.autocast("cuda", dtype=accelgrad.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(update)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(update)
        scaler.update()
        steps += 1
    assert counts["syncs"] - before == steps == 3
    assert np.isfinite(loss.item())


def test_losses_by_indexing_do_not_wait(counts: dict[str, int]) -> None:
    scores = accelgrad.randn(5, 4, device="gpu", requires_grad=True)
    target = accelgrad.arange(5, device="gpu") % 4
    before = counts["syncs"]
    chosen = F.log_softmax(scores, 1)
    (-chosen[accelgrad.arange(5, device="gpu"), target].mean()).backward()
    (-chosen.detach().requires_grad_().gather(1, target[:, None]).mean()).backward()
    F.one_hot(target, 4)
    batch = accelgrad.arange(20.0, device="gpu")[accelgrad.randint(0, 20, (6,), device="gpu")]
    assert counts["syncs"] == before
    assert chosen[range(5), [0, 1, 2, 3, 0]].shape == (5,) and batch.shape == (6,)
    assert counts["syncs"] == before


def test_evaluation_waits_only_for_what_is_asked(counts: dict[str, int]) -> None:
    model, loader = prepared("cnn")
    model.eval()
    correct = accelgrad.zeros((), device="gpu")
    before = counts["syncs"]
    with accelgrad.no_grad():
        for x, y in loader:
            scores = model(x.to("gpu", non_blocking=True))
            correct += (scores.argmax(1) == y.to("gpu", non_blocking=True)).float().sum()
    assert counts["syncs"] == before
    assert 0 <= correct.item() / 24 <= 1
    assert counts["syncs"] == before + 1
