"""Wrong calls as beginners make them: the class of the error and its first words are PyTorch's.

What follows after these words is our own: what was passed, and the way out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import accelgrad
import accelgrad.nn.functional
import accelgrad.utils.data

torch = pytest.importorskip("torch")

WORDS = 24
"""How many letters of the two messages must be equal."""


class Untold:
    """Modules that go wrong, over either library."""

    def __init__(self, nn: Any, parameter: Any) -> None:
        class Early(nn.Module):
            def __init__(self):
                self.layer = nn.Linear(1, 1)

        class EarlyParameter(nn.Module):
            def __init__(self):
                self.p = parameter

        class Small(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(2, 3)

        class Without(nn.Module):
            pass

        self.early, self.early_parameter, self.small, self.without = Early, EarlyParameter, Small, Without


def modules(t: Any) -> Untold:
    return Untold(t.nn, t.nn.Parameter(t.zeros(1)))


def augmented(t: Any) -> None:
    x = t.ones(3, requires_grad=True)
    x += 1


CALLS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "module before init": lambda t, F, nn: modules(t).early(),
    "parameter before init": lambda t, F, nn: modules(t).early_parameter(),
    "no such attribute": lambda t, F, nn: modules(t).small().fc,
    "no forward": lambda t, F, nn: modules(t).without()(t.ones(1)),
    "tensor for parameter": lambda t, F, nn: setattr(modules(t).small().layer, "weight", t.ones(3, 2)),
    "missing keys": lambda t, F, nn: modules(t).small().load_state_dict({}),
    "unexpected key": lambda t, F, nn: nn.Linear(2, 3).load_state_dict(
        {"weight": t.ones(3, 2), "bias": t.ones(3), "x": t.ones(1)}
    ),
    "other shape": lambda t, F, nn: nn.Linear(2, 3).load_state_dict(
        {"weight": t.ones(3, 3), "bias": t.ones(3)}
    ),
    "no dict": lambda t, F, nn: nn.Linear(2, 3).load_state_dict([1]),
    "optimizer of a module": lambda t, F, nn: t.optim.SGD(nn.Linear(1, 1), lr=0.1),
    "augmented leaf": lambda t, F, nn: augmented(t),
    "batch size": lambda t, F, nn: t.utils.data.DataLoader([1, 2], batch_size=0),
    "sampler and shuffle": lambda t, F, nn: t.utils.data.DataLoader([1, 2], sampler=[0], shuffle=True),
    "random_split": lambda t, F, nn: t.utils.data.random_split([1, 2, 3], [1, 1]),
    "datasets of two sizes": lambda t, F, nn: t.utils.data.TensorDataset(t.ones(2), t.ones(3)),
    "collate": lambda t, F, nn: t.utils.data.default_collate([t.ones(2), t.ones(3)]),
    "unused input": lambda t, F, nn: t.autograd.grad(
        t.ones(1, requires_grad=True).sum(), t.ones(1, requires_grad=True)
    ),
    "gradient of another type": lambda t, F, nn: setattr(t.ones(1), "grad", t.ones(1).double()),
    "text among numbers": lambda t, F, nn: t.tensor([1.0, "a"]),
    "text first": lambda t, F, nn: t.tensor(["a", 1.0]),
    "an object": lambda t, F, nn: t.tensor([object()]),
    "matmul 2d": lambda t, F, nn: t.ones(2, 3) @ t.ones(2, 3),
    "matmul 1d": lambda t, F, nn: t.ones(3) @ t.ones(2),
    "matmul 3d": lambda t, F, nn: t.ones(2, 3, 4) @ t.ones(3, 4, 5),
    "matmul 0d": lambda t, F, nn: t.tensor(1.0) @ t.ones(2),
    "matmul dtype": lambda t, F, nn: t.ones(2, 3) @ t.ones(3, 2, dtype=t.float64),
    "mm 1d": lambda t, F, nn: t.mm(t.ones(2), t.ones(2, 2)),
    "bmm": lambda t, F, nn: t.bmm(t.ones(2, 3, 4), t.ones(3, 4, 5)),
    "mv": lambda t, F, nn: t.mv(t.ones(2, 3), t.ones(2)),
    "dot": lambda t, F, nn: t.dot(t.ones(2), t.ones(3)),
    "linear": lambda t, F, nn: nn.Linear(3, 2)(t.ones(2, 4)),
    "linear dtype": lambda t, F, nn: nn.Linear(3, 2)(t.ones(2, 3, dtype=t.float64)),
    "linear long": lambda t, F, nn: nn.Linear(3, 2)(t.ones(2, 3, dtype=t.int64)),
    "conv channels": lambda t, F, nn: nn.Conv2d(3, 4, 3)(t.ones(1, 1, 8, 8)),
    "conv dims": lambda t, F, nn: nn.Conv2d(3, 4, 3)(t.ones(8, 8)),
    "conv kernel": lambda t, F, nn: nn.Conv2d(3, 4, 9)(t.ones(1, 3, 4, 4)),
    "conv groups": lambda t, F, nn: nn.Conv2d(3, 4, 3, groups=2),
    "maxpool": lambda t, F, nn: nn.MaxPool2d(5)(t.ones(1, 1, 3, 3)),
    "ce float": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.ones(2)),
    "ce int32": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.ones(2, dtype=t.int32)),
    "ce batch": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.zeros(3, dtype=t.int64)),
    "ce class": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.tensor([0, 3])),
    "ce neg": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.tensor([0, -1])),
    "ce 2d": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.zeros(2, 1, dtype=t.int64)),
    "ce weight": lambda t, F, nn: F.cross_entropy(t.ones(2, 3), t.tensor([0, 1]), weight=t.ones(2)),
    "nll float": lambda t, F, nn: F.nll_loss(t.ones(2, 3), t.ones(2)),
    "bce shape": lambda t, F, nn: F.binary_cross_entropy(t.ones(2, 1), t.ones(2)),
    "bce range": lambda t, F, nn: F.binary_cross_entropy(t.ones(2) * 2, t.ones(2)),
    "bce long": lambda t, F, nn: F.binary_cross_entropy(t.ones(2), t.ones(2, dtype=t.int64)),
    "bcel shape": lambda t, F, nn: F.binary_cross_entropy_with_logits(t.ones(2, 1), t.ones(2)),
    "bcel long": lambda t, F, nn: F.binary_cross_entropy_with_logits(t.ones(2), t.ones(2, dtype=t.int64)),
    "mse shape": lambda t, F, nn: F.mse_loss(t.ones(2, 3), t.ones(4)),
    "mse long": lambda t, F, nn: F.mse_loss(t.ones(2), t.ones(2, dtype=t.int64)).backward(),
    "view": lambda t, F, nn: t.ones(2, 3).view(4),
    "view -1": lambda t, F, nn: t.ones(2, 3).view(-1, 4),
    "view two -1": lambda t, F, nn: t.ones(2, 3).view(-1, -1),
    "view nc": lambda t, F, nn: t.ones(2, 3).t().view(6),
    "reshape": lambda t, F, nn: t.ones(2, 3).reshape(4, 2),
    "cat shape": lambda t, F, nn: t.cat([t.ones(2, 3), t.ones(2, 4)]),
    "cat dims": lambda t, F, nn: t.cat([t.ones(2, 3), t.ones(2)]),
    "cat empty": lambda t, F, nn: t.cat([]),
    "cat dim": lambda t, F, nn: t.cat([t.ones(2)], 1),
    "cat list": lambda t, F, nn: t.cat(t.ones(2), t.ones(2)),
    "stack": lambda t, F, nn: t.stack([t.ones(2), t.ones(3)]),
    "broadcast": lambda t, F, nn: t.ones(2, 3) + t.ones(2, 4),
    "expand": lambda t, F, nn: t.ones(2, 3).expand(2, 4),
    "add None": lambda t, F, nn: t.ones(2) + None,
    "add list": lambda t, F, nn: t.ones(2) + [1, 2],  # noqa: RUF005
    "float index": lambda t, F, nn: t.ones(3)[1.5],
    "float tensor index": lambda t, F, nn: t.ones(3)[t.tensor([1.0])],
    "index oob": lambda t, F, nn: t.ones(3)[3],
    "index oob 2": lambda t, F, nn: t.ones(3, 4)[1, 5],
    "index tensor oob": lambda t, F, nn: t.ones(3)[t.tensor([5])],
    "too many idx": lambda t, F, nn: t.ones(3)[0, 0],
    "mask shape": lambda t, F, nn: t.ones(3)[t.tensor([True, False])],
    "0d index": lambda t, F, nn: t.tensor(1.0)[0],
    "str index": lambda t, F, nn: t.ones(3)["a"],
    "setitem shape": lambda t, F, nn: t.ones(3).__setitem__(slice(0, 2), t.ones(3)),
    "iter 0d": lambda t, F, nn: list(t.tensor(1.0)),
    "len 0d": lambda t, F, nn: len(t.tensor(1.0)),
    "unpack": lambda t, F, nn: (lambda a, b: 0)(*t.ones(3)),
    "item": lambda t, F, nn: t.ones(3).item(),
    "float": lambda t, F, nn: float(t.ones(3)),
    "int": lambda t, F, nn: int(t.ones(3)),
    "bool": lambda t, F, nn: bool(t.ones(3)),
    "if empty": lambda t, F, nn: bool(t.ones(0)),
    "index()": lambda t, F, nn: [1, 2, 3][t.tensor(1.0)],
    "range": lambda t, F, nn: range(t.tensor(1.5)),
    "backward nonscalar": lambda t, F, nn: t.ones(3, requires_grad=True).mul(2).backward(),
    "backward nograd": lambda t, F, nn: t.ones(3).sum().backward(),
    "backward twice": lambda t, F, nn: (lambda y: (y.backward(), y.backward()))(
        (t.ones(3, requires_grad=True) ** 2).sum()
    ),
    "numpy grad": lambda t, F, nn: t.ones(3, requires_grad=True).numpy(),
    "inplace leaf": lambda t, F, nn: t.ones(3, requires_grad=True).add_(1),
    "inplace setitem": lambda t, F, nn: t.ones(3, requires_grad=True).__setitem__(0, 1),
    "inplace saved": lambda t, F, nn: (lambda y: (y.add_(1), y.sum().backward()))(
        t.ones(3, requires_grad=True).exp()
    ),
    "inplace dtype": lambda t, F, nn: t.ones(3, dtype=t.int64).add_(0.5),
    "inplace shape": lambda t, F, nn: t.ones(3).add_(t.ones(2, 3)),
    "opt empty": lambda t, F, nn: t.optim.SGD([], lr=0.1),
    "opt tensor": lambda t, F, nn: t.optim.SGD(t.ones(3), lr=0.1),
    "opt nonleaf": lambda t, F, nn: t.optim.SGD([t.ones(3, requires_grad=True) * 2], lr=0.1),
    "opt neg lr": lambda t, F, nn: t.optim.Adam([t.ones(3, requires_grad=True)], lr=-1),
    "opt str": lambda t, F, nn: t.optim.SGD(["a"], lr=0.1),
    "opt dup": lambda t, F, nn: (lambda p: t.optim.SGD([{"params": [p]}, {"params": [p]}], lr=0.1))(
        t.ones(1, requires_grad=True)
    ),
    "rg long": lambda t, F, nn: t.tensor([1, 2], requires_grad=True),
    "rg long2": lambda t, F, nn: t.tensor([1, 2]).requires_grad_(),
    "param long": lambda t, F, nn: nn.Parameter(t.tensor([1, 2])),
    "tensor ragged": lambda t, F, nn: t.tensor([[1, 2], [3]]),
    "tensor str": lambda t, F, nn: t.tensor(["a"]),
    "tensor None": lambda t, F, nn: t.tensor([None]),
    "tensor obj": lambda t, F, nn: t.tensor(object()),
    "from_numpy list": lambda t, F, nn: t.from_numpy([1, 2]),
    "from_numpy str": lambda t, F, nn: t.from_numpy(np.array(["a"])),
    "arange": lambda t, F, nn: t.arange(0, 5, -1),
    "dim range": lambda t, F, nn: t.ones(2, 3).sum(2),
    "softmax dim": lambda t, F, nn: F.softmax(t.ones(2, 3), dim=2),
    "mean long": lambda t, F, nn: t.ones(3, dtype=t.int64).mean(),
    "max empty": lambda t, F, nn: t.ones(0).max(),
    "argmax empty": lambda t, F, nn: t.ones(0).argmax(),
    "transpose": lambda t, F, nn: t.ones(2, 3).transpose(0, 2),
    "squeeze": lambda t, F, nn: t.ones(2, 3).squeeze(2),
    "t 3d": lambda t, F, nn: t.ones(2, 3, 4).t(),
    "split": lambda t, F, nn: t.ones(5).split([2, 2]),
    "chunk": lambda t, F, nn: t.ones(5).chunk(0),
    "gather float": lambda t, F, nn: t.ones(2, 3).gather(1, t.zeros(2, 3)),
    "gather oob": lambda t, F, nn: t.ones(2, 3).gather(1, t.full((2, 3), 7)),
    "scatter": lambda t, F, nn: t.ones(2, 3).scatter(1, t.zeros(2), 1.0),
    "embedding oob": lambda t, F, nn: nn.Embedding(3, 2)(t.tensor([3])),
    "embedding float": lambda t, F, nn: nn.Embedding(3, 2)(t.tensor([1.0])),
    "one_hot float": lambda t, F, nn: F.one_hot(t.tensor([1.0])),
    "one_hot small": lambda t, F, nn: F.one_hot(t.tensor([3]), 2),
    "batchnorm dims": lambda t, F, nn: nn.BatchNorm2d(3)(t.ones(2, 3)),
    "batchnorm ch": lambda t, F, nn: nn.BatchNorm1d(3)(t.ones(2, 4)),
    "batchnorm 1": lambda t, F, nn: nn.BatchNorm1d(3)(t.ones(1, 3)),
    "layernorm": lambda t, F, nn: nn.LayerNorm(3)(t.ones(2, 4)),
    "groupnorm": lambda t, F, nn: nn.GroupNorm(2, 3),
    "groupnorm call": lambda t, F, nn: nn.GroupNorm(2, 4)(t.ones(2, 6)),
    "dropout p": lambda t, F, nn: nn.Dropout(1.5),
    "lstm dims": lambda t, F, nn: nn.LSTM(3, 4)(t.ones(2, 2, 2, 3)),
    "lstm size": lambda t, F, nn: nn.LSTM(3, 4)(t.ones(2, 2, 5)),
    "lstm hidden": lambda t, F, nn: nn.LSTM(3, 4)(t.ones(2, 2, 3), (t.ones(1, 3, 4), t.ones(1, 3, 4))),
    "mha heads": lambda t, F, nn: nn.MultiheadAttention(5, 2),
    "mha dims": lambda t, F, nn: nn.MultiheadAttention(4, 2)(
        t.ones(2, 2, 3), t.ones(2, 2, 3), t.ones(2, 2, 3)
    ),
    "sequential idx": lambda t, F, nn: nn.Sequential(nn.ReLU())[1],
    "modulelist call": lambda t, F, nn: nn.ModuleList([nn.ReLU()])(t.ones(1)),
    "sequential type": lambda t, F, nn: nn.Sequential(1),
    "reduction": lambda t, F, nn: nn.MSELoss(reduction="avg")(t.ones(1), t.ones(1)),
    "manual_seed": lambda t, F, nn: t.manual_seed("a"),
    "where": lambda t, F, nn: t.where(t.ones(2), 1, 2),
    "clamp": lambda t, F, nn: t.ones(2).clamp(),
    "topk": lambda t, F, nn: t.ones(3).topk(5),
    "multinomial": lambda t, F, nn: t.multinomial(t.tensor([0.0, 0.0]), 1),
    "multinomial2": lambda t, F, nn: t.multinomial(t.tensor([1.0, 1.0]), 3),
    "floordiv0": lambda t, F, nn: t.tensor([1]) // t.tensor([0]),
    "bool sub": lambda t, F, nn: t.tensor([True]) - t.tensor([True]),
    "neg bool": lambda t, F, nn: -t.tensor([True]),
    "grad attr": lambda t, F, nn: t.ones(1, requires_grad=True).__setattr__("grad", t.ones(2)),
    "deepcopy nonleaf": lambda t, F, nn: copy.deepcopy(t.ones(1, requires_grad=True) * 2),
    "einsum": lambda t, F, nn: t.einsum("ij,jk->ik", t.ones(2, 3), t.ones(2, 3)),
    "einsum2": lambda t, F, nn: t.einsum("ij", t.ones(2, 3, 4)),
    "flatten": lambda t, F, nn: t.ones(2, 3).flatten(1, 0),
    "unflatten": lambda t, F, nn: t.ones(6).unflatten(0, (2, 2)),
    "interpolate": lambda t, F, nn: F.interpolate(t.ones(1, 1, 4), scale_factor=2, mode="bilinear"),
    "pad": lambda t, F, nn: F.pad(t.ones(2), (1,)),
    "inverse": lambda t, F, nn: t.inverse(t.zeros(2, 2)),
    "cholesky": lambda t, F, nn: t.linalg.cholesky(-t.eye(2)),
    "clip": lambda t, F, nn: nn.utils.clip_grad_norm_("a", 1.0),
    "sched": lambda t, F, nn: t.optim.lr_scheduler.StepLR("a", 1),
    "init": lambda t, F, nn: nn.init.xavier_uniform_(t.ones(2)),
    "scalar add_": lambda t, F, nn: t.tensor(1.0).add_(t.ones(3)),
}


def outcome(library: Any, call: Callable[[Any, Any, Any], Any]) -> Exception | None:
    try:
        call(library, library.nn.functional, library.nn)
    except Exception as error:
        return error
    return None


def opening(error: Exception) -> str:
    return str(error).replace("torch.", "").replace("accelgrad.", "").lower()[:WORDS]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("looking")
def test_the_error_is_pytorchs(name: str) -> None:
    expected, found = outcome(torch, CALLS[name]), outcome(accelgrad, CALLS[name])
    assert expected is not None, "PyTorch takes this call: it is no error"
    assert found is not None, f"PyTorch raises {type(expected).__name__}: {expected}"
    classes = [kind.__name__.lstrip("_") for kind in type(found).__mro__]
    assert type(expected).__name__.lstrip("_") in classes, f"{found!r} for {expected!r}"
    assert opening(found).startswith(opening(expected))
