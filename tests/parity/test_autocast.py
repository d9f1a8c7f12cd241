"""autocast beside PyTorch's: the type of every operation's result, and of every step of small models."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")
sys.path.insert(0, str(Path(__file__).parent))
import test_op_db as database  # noqa: E402  (its samples, and what it knows of them)

pytestmark = pytest.mark.host  # PyTorch's tensors lie there

REASONS = {
    "einsum": "PyTorch's multiplies where one operand is a scalar",
    "inner": "PyTorch's multiplies where one operand is a scalar",
    "tensordot": "PyTorch's multiplies where nothing is summed",
    "linalg.det": "takes float32 here, as its factors do",
    "linalg.lu_solve": "takes float32 here, as its factors do",
    "linalg.solve_ex": "takes float32 here, as its factors do",
    "linalg.pinv": "is one operation here, and runs in float32",
    "linalg.pinv.hermitian": "is one operation here, and runs in float32",
    "pinverse": "is one operation here, and needs float32",
    "svd_lowrank": "needs float32 here: the test multiplies two factors first",
    "pca_lowrank": "needs float32 here: the test multiplies two factors first",
}
"""Operators whose results have another type than PyTorch's, and why."""


def lowered(value: Any, kind: Any) -> Any:
    """A sample with its float32 tensors in another type."""
    if isinstance(value, torch.Tensor):
        return value.to(kind) if value.dtype == torch.float32 else value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)([lowered(part, kind) for part in value])
    if isinstance(value, dict):
        return {key: lowered(part, kind) for key, part in value.items()}
    return value


def types(result: Any) -> list[str]:
    tensors = [one for one in database.flat(result) if isinstance(one, torch.Tensor | accelgrad.Tensor)]
    return [str(one.dtype).rpartition(".")[2] for one in tensors]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("info", database.OPERATORS)
def test_every_operation_gives_the_type_that_pytorch_gives(info: Any, dtype: str) -> None:
    label = info.name + (f".{info.variant_test_name}" if info.variant_test_name else "")
    if label in REASONS or torch.float32 not in info.dtypes:
        pytest.skip(REASONS.get(label, "PyTorch's has no float32"))
    function, compared = database.ours(info.name, info.variant_test_name), 0
    for sample in database.chosen(info, torch.float32, requires_grad=False)[:3]:
        args, kwargs = (
            lowered(one, getattr(torch, dtype)) for one in ((sample.input, *sample.args), sample.kwargs)
        )
        try:
            with torch.autocast("cpu"):
                expected = info.gradcheck_wrapper(info, *args, **kwargs)
        except (RuntimeError, NotImplementedError):
            continue  # PyTorch has no kernel for it
        try:
            mine, options = database.convert(args), database.convert(kwargs)
        except database.Unsupported:
            continue
        with accelgrad.autocast("cpu"):
            found = info.gradcheck_wrapper(function, *mine, **options)
        assert types(found) == types(expected), database.describe(sample)
        compared += 1
    if not compared:
        pytest.skip("no sample that both take")


# --- models, step by step


class Attention:
    """The parts of an encoder with a residual path, in either library."""

    def __new__(cls, lib: Any) -> Any:
        class Encoder(lib.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.norm = lib.nn.LayerNorm(8)
                self.attention = lib.nn.MultiheadAttention(8, 2, batch_first=True)
                self.first, self.gelu, self.second = lib.nn.Linear(8, 16), lib.nn.GELU(), lib.nn.Linear(16, 8)
                self.head = lib.nn.Linear(8, 3)

            def forward(self, x: Any) -> Any:
                y = self.norm(x)
                x = x + self.attention(y, y, y)[0]
                x = x + self.second(self.gelu(self.first(x)))
                return self.head(x.mean(1))

        return Encoder()


class Recurrent:
    """An LSTM whose last output is classified, in either library."""

    def __new__(cls, lib: Any) -> Any:
        class Classifier(lib.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lstm, self.head = lib.nn.LSTM(8, 12, batch_first=True), lib.nn.Linear(12, 3)

            def forward(self, x: Any) -> Any:
                return self.head(self.lstm(x)[0][:, -1])

        return Classifier()


def mlp(lib: Any) -> Any:
    n = lib.nn
    return n.Sequential(
        n.Linear(8, 16), n.ReLU(), n.Linear(16, 16), n.Tanh(), n.Dropout(0.0), n.Linear(16, 3)
    )


def cnn(lib: Any) -> Any:
    n = lib.nn
    return n.Sequential(
        n.Conv2d(1, 4, 3, padding=1), n.BatchNorm2d(4), n.ReLU(), n.MaxPool2d(2), n.Conv2d(4, 6, 3), n.SiLU(),
        n.AvgPool2d(2), n.Flatten(), n.Linear(6, 3), n.LogSoftmax(1),
    )  # fmt: skip


MODELS = {
    "mlp": (mlp, (5, 8), "cross_entropy"),
    "cnn": (cnn, (5, 1, 8, 8), "nll_loss"),
    "attention": (Attention, (5, 4, 8), "cross_entropy"),
    "lstm": (Recurrent, (5, 4, 8), "cross_entropy"),
}


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_every_step_of_a_model_has_pytorchs_type_and_values(name: str, low: str) -> None:
    build, shape, loss_name = MODELS[name]
    torch.manual_seed(0)
    theirs, mine = build(torch), build(accelgrad)
    mine.load_state_dict({key: accelgrad.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    target = np.arange(5) % 3
    steps: dict[str, list[Any]] = {}

    def watch(label: str, who: int) -> Any:
        def note(module: Any, given: Any, result: Any) -> None:
            first = result[0] if isinstance(result, tuple) else result
            steps.setdefault(label, [None, None])[who] = first.detach()

        return note

    for who, model in enumerate((mine, theirs)):
        for label, part in model.named_modules():
            part.register_forward_hook(watch(label or "all of it", who))
    if (name, low) == ("lstm", "float16"):
        pytest.skip("PyTorch has no LSTM in float16 on this CPU")
    tolerance = 3e-2 if low == "bfloat16" else 4e-3
    with torch.autocast("cpu", dtype=getattr(torch, low)):
        expected = getattr(torch.nn.functional, loss_name)(
            theirs(torch.from_numpy(x)), torch.from_numpy(target)
        )
    with accelgrad.autocast("cpu", dtype=getattr(accelgrad, low)):
        found = getattr(nn.functional, loss_name)(mine(accelgrad.from_numpy(x)), accelgrad.from_numpy(target))
    for label, (one, two) in steps.items():
        if one is None or two is None:
            continue  # PyTorch's attention multiplies without calling its own layer
        assert types(one) == types(two), label
        np.testing.assert_allclose(
            one.float().numpy(), two.float().numpy(), rtol=0, atol=tolerance, err_msg=label
        )
    assert len([pair for pair in steps.values() if pair[0] is not None and pair[1] is not None]) >= 3
    assert types(found) == types(expected) == ["float32"]
    assert found.item() == pytest.approx(expected.item(), abs=tolerance)
    found.backward()
    expected.backward()
    for (label, one), two in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        assert one.grad.dtype is accelgrad.float32 and two.grad.dtype == torch.float32, label
        atol = 2 * tolerance * max(float(two.grad.abs().max()), 0.1)
        np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), rtol=0, atol=atol, err_msg=label)


LOSSES = [
    "l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "kl_div",
    "soft_margin_loss", "poisson_nll_loss", "gaussian_nll_loss", "cosine_embedding_loss",
    "margin_ranking_loss",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_low_predictions_have_pytorchs_type_and_gradient(name: str) -> None:
    rng = np.random.default_rng(1)
    prediction, weight = (rng.uniform(0.1, 0.9, shape).astype(np.float32) for shape in ((6, 4), (4, 4)))
    other = rng.uniform(0.1, 0.9, (6, 4)).astype(np.float32)
    results = []
    for lib, tensor in ((accelgrad, accelgrad.tensor), (torch, torch.tensor)):
        w = tensor(weight, requires_grad=True)
        with lib.autocast("cpu"):
            y = tensor(prediction) @ w
            function = getattr(lib.nn.functional, name)
            extra = {
                "gaussian_nll_loss": (tensor(other), tensor(np.abs(other) + 0.5)),
                "cosine_embedding_loss": (tensor(other), tensor(np.ones(6, np.float32))),
                "margin_ranking_loss": (tensor(other), tensor(np.ones((6, 4), np.float32))),
            }.get(name, (tensor(other),))
            loss = function(y, *extra)
        loss.backward()
        results.append((types(y) + types(loss) + types(w.grad), loss.item(), w.grad.numpy()))
    (kinds, mine, slope), (their_kinds, theirs, their_slope) = results
    assert kinds == their_kinds
    assert mine == pytest.approx(theirs, rel=2e-2)
    np.testing.assert_allclose(slope, their_slope, rtol=0, atol=3e-2 * max(np.abs(their_slope).max(), 0.1))


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
def test_a_parameter_changed_within_the_block_is_cast_anew_as_in_pytorch(low: str) -> None:
    values = []
    for lib in (accelgrad, torch):
        w = lib.ones(2, 2, requires_grad=True)
        with lib.autocast("cpu", dtype=getattr(lib, low), cache_enabled=False):
            first = (w @ w).sum().item()
            with lib.no_grad():
                w.add_(1)
            values.append((first, (w @ w).sum().item()))
    assert values[0] == values[1] == (8.0, 32.0)


@pytest.mark.filterwarnings("ignore")
def test_the_settings_have_pytorchs_defaults() -> None:
    for device in ("cpu", "cuda"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = str(torch.get_autocast_dtype(device))
        assert theirs == f"torch.{accelgrad.get_autocast_dtype(device).name}"
