"""``demo``: the main job.

A CNN on real handwritten digits, from the data set to figures, on the CPU or a card.
"""

from __future__ import annotations

import argparse
import pathlib
import signal
import threading
import time
from typing import Any

import accelgrad
from accelgrad import nn, optim
from accelgrad.nn import functional as F

__all__ = ["DigitsNet", "configure", "evaluate", "run", "train_epoch"]


class DigitsNet(nn.Module):
    """Two convolutions with batch norm and pooling, and two linear layers: (n, 1, 8, 8) -> (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(32)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.dropout = nn.Dropout(0.25)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        x = self.pool(F.relu(self.norm1(self.conv1(x))))  # (n, 16, 4, 4)
        x = self.pool(F.relu(self.norm2(self.conv2(x))))  # (n, 32, 2, 2)
        x = self.dropout(F.relu(self.fc1(x.flatten(1))))  # (n, 64)
        return self.fc2(x)  # (n, 10)


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``demo``."""
    parser.add_argument(
        "--device", default="cpu", help="cpu (the default), gpu, or auto: a card if there is one"
    )
    parser.add_argument(
        "--epochs", type=_positive, default=15, help="how often all training images are seen (15)"
    )
    parser.add_argument(
        "--workers", type=_count, default=2, help="worker processes that prepare the batches (2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="the seed of weights, order and augmentation (0)")
    parser.add_argument("--out", default="demo-out", help="the folder for checkpoint and figures (demo-out)")


def _positive(text: str) -> int:
    value = _count(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def run(options: argparse.Namespace) -> int:
    """Train, save, load again, compare, draw; returns the exit code."""
    from accelgrad.datasets import Digits
    from accelgrad.transforms import Compose, Normalize, RandomRotation, ToTensor
    from accelgrad.utils.data import DataLoader

    try:
        device = accelgrad.device(options.device)
        accelgrad.zeros(1, device=device)
    except RuntimeError as error:
        print(f"--device {options.device}: {error}")
        return 1
    out = pathlib.Path(options.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"--out {out}: the folder cannot be made ({error.strerror}); name another one")
        return 1

    if options.workers:  # leave the workers their cores: see set_num_threads
        accelgrad.set_num_threads(max(1, accelgrad.get_num_threads() - options.workers))
    accelgrad.manual_seed(options.seed)
    normalize = Normalize((0.305,), (0.376,))  # mean and standard deviation of the training images
    train_set = Digits(train=True, transform=Compose([RandomRotation(10), ToTensor(), normalize]))
    test_set = Digits(train=False, transform=Compose([ToTensor(), normalize]))
    generator = accelgrad.Generator().manual_seed(options.seed)
    workers = {"num_workers": options.workers, "persistent_workers": options.workers > 0}
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True, generator=generator, **workers)
    test_loader = DataLoader(test_set, batch_size=256)

    model = DigitsNet().to(device)
    count = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(train_set)} images to train on, {len(test_set)} held out; {count:,} parameters on {device}")
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1e-2, epochs=options.epochs, steps_per_epoch=len(train_loader)
    )
    checkpoint = out / "digits-cnn.npz"
    history: dict[str, list[float]] = {"loss": [], "accuracy": [], "test_loss": [], "test_accuracy": []}
    begun = time.perf_counter()
    interrupted = False
    with CtrlC() as ctrl_c:
        try:
            for epoch in range(options.epochs):
                label = f"epoch {epoch + 1:2}/{options.epochs}"
                loss, accuracy = train_epoch(model, train_loader, optimizer, schedule, device, label, ctrl_c)
                test_loss, test_accuracy, _, _ = evaluate(model, test_loader, device)
                for name, value in zip(history, (loss, accuracy, test_loss, test_accuracy), strict=True):
                    history[name].append(value)
                _save(model, checkpoint, epoch + 1)
        except KeyboardInterrupt:
            interrupted = True
            _save(model, checkpoint, len(history["loss"]))
            print(f"\nstopped after {len(history['loss'])} whole epochs; the checkpoint is {checkpoint}")
        finally:
            train_loader.close()
    if not interrupted:
        print(f"trained in {time.perf_counter() - begun:.1f} s")

    _, accuracy, predicted, actual = evaluate(model, test_loader, device)
    restored = DigitsNet().to(device)
    restored.load_state_dict(accelgrad.load(checkpoint, map_location=device)["model"])
    _, _, again, _ = evaluate(restored, test_loader, device)
    if not bool((predicted == again).all()):
        print(f"the model loaded from {checkpoint} predicts differently: the file is not what was saved")
        return 1
    files = draw(out, history, test_set, predicted, actual)
    print(f"checkpoint {checkpoint.name} saved, loaded again: the same predictions")
    print("figures: " + ", ".join(files))
    print(f"test accuracy {100 * accuracy:.1f} %, files in {out.resolve()}")
    return 130 if interrupted else 0


def _save(model: nn.Module, path: pathlib.Path, epochs: int) -> None:
    accelgrad.save({"model": model.state_dict(), "epochs": epochs}, path)


class CtrlC:
    """Within the block the first Ctrl-C asks for a stop after the present batch; a second one stops at once.

    Python raises KeyboardInterrupt wherever it happens to be, in a finalizer too, where it is lost.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> CtrlC:
        self.here = threading.current_thread() is threading.main_thread()  # nobody else gets signals
        if self.here:
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def stop_if_asked(self) -> None:
        """KeyboardInterrupt, if Ctrl-C was pressed."""
        if self.asked:
            raise KeyboardInterrupt

    def __exit__(self, *exception: object) -> None:
        if self.here:
            signal.signal(signal.SIGINT, self.before)


def train_epoch(
    model: Any, loader: Any, optimizer: Any, schedule: Any, device: Any, label: str, ctrl_c: CtrlC
) -> tuple[float, float]:
    """One pass over the training images in the four steps; returns mean loss and accuracy."""
    from tqdm import tqdm

    model.train()
    total_loss, right, seen = 0.0, 0, 0
    with tqdm(loader, desc=label, unit="batch", leave=True, mininterval=0.2) as bar:
        for images, labels in bar:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            scores = model(images)
            loss = F.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            seen += len(labels)
            total_loss += loss.item() * len(labels)
            right += int((scores.argmax(1) == labels).sum())
            ctrl_c.stop_if_asked()
            bar.set_postfix(
                loss=f"{total_loss / seen:.3f}", accuracy=f"{100 * right / seen:.1f} %", refresh=False
            )
    return total_loss / max(seen, 1), right / max(seen, 1)


def evaluate(model: Any, loader: Any, device: Any) -> tuple[float, float, Any, Any]:
    """Return mean loss, accuracy, scores (n, 10) and labels (n,) of the held-out images, on the CPU."""
    model.eval()
    scores, labels = [], []
    with accelgrad.no_grad():
        for images, expected in loader:
            scores.append(model(images.to(device)).cpu())
            labels.append(expected)
    found, actual = accelgrad.cat(scores), accelgrad.cat(labels)
    loss = F.cross_entropy(found, actual).item()
    return loss, (found.argmax(1) == actual).float().mean().item(), found, actual


def draw(
    out: pathlib.Path, history: dict[str, list[float]], test_set: Any, scores: Any, actual: Any
) -> list[str]:
    """Save the three figures of the demo; returns their file names."""
    from accelgrad import viz

    predicted = scores.argmax(1)
    matrix = accelgrad.zeros(10, 10, dtype=accelgrad.int64)
    matrix.index_put_(
        (actual, predicted), accelgrad.ones(len(actual), dtype=accelgrad.int64), accumulate=True
    )
    losses = F.cross_entropy(scores, actual, reduction="none")
    worst = losses.argsort(descending=True)[:16]
    shares = F.softmax(scores, dim=1)
    titles = [
        f"{int(predicted[i])} ({100 * float(shares[i, predicted[i]]):.0f} %)\nis {int(actual[i])}"
        for i in worst.tolist()
    ]
    pictures = accelgrad.stack([test_set[i][0] for i in worst.tolist()])
    figures = {
        "training.png": viz.training_curves(history, "a CNN on handwritten digits"),
        "confusion.png": viz.confusion_matrix(matrix, test_set.classes),
        "most-wrong.png": viz.image_grid(pictures, titles, 8, "held-out digits with the highest loss"),
    }
    for name, figure in figures.items():
        figure.savefig(out / name)
    return list(figures)
