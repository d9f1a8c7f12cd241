"""Our CPU kernels beside NumPy and, where it is installed, PyTorch: ``python benchmarks/kernels.py
[--quick]``.

In every round each contender gets its turn: a pause, in which the threads of the one before stop spinning,
one call that is not counted, and then timed calls until ``--milliseconds`` have passed.  The best call of
its turn is what the round says of a contender.  Printed are the medians over the rounds, and for each rival
the median of the rounds' own ratios with the middle half of them (from the first quartile to the third):
above 1 the kernel was faster. A machine that is busy with something else changes the figures, the ratios
less than the times.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import accelgrad
from accelgrad import kernels, nn, optim
from accelgrad.arrays import backend, dtypes
from accelgrad.kernels.windows import Geometry

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

RESULTS = pathlib.Path(__file__).resolve().parent / "results"

Call = Callable[[], Any]


@dataclass
class Case:
    """One row of the table: ``array`` is called on a namespace, with kernels and without."""

    group: str
    name: str
    array: Callable[[Any], Any]
    torch: Call | None = None
    work: float = 0.0  # floating point operations, for products
    foreach: Call | None = None  # a step of PyTorch's with foreach=True


def random(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=dtype)


def tensor(x: np.ndarray) -> Any:
    return torch.from_numpy(x) if torch else None


def products(quick: bool) -> Iterator[Case]:
    for dtype in ("float32",) if quick else ("float32", "float64"):
        for n in (64, 256, 1024) if quick else (64, 128, 256, 512, 1024, 2048):
            a, b = random(n, n, dtype=dtype), random(n, n, dtype=dtype)
            ta, tb = tensor(a), tensor(b)
            yield Case(
                "matmul",
                f"{n} x {n} x {n} {dtype}",
                lambda xp, a=a, b=b: xp.matmul(a, b),
                lambda a=ta, b=tb: a @ b,
                2.0 * n**3,
            )
    x, weight, bias = random(8, 64, 128), random(512, 128), random(512)
    tx, tw, tb = tensor(x), tensor(weight), tensor(bias)
    yield Case(
        "matmul",
        "linear, 8 x 64 x 128 to 512",
        lambda xp: xp.linear(x, weight, bias),
        (lambda: torch.nn.functional.linear(tx, tw, tb)) if torch else None,
        2.0 * x.size * len(weight),
    )
    shapes = {
        "64 x 784 by (256 x 784) transposed": (random(64, 784), random(256, 784).T),
        "64 products of 32 x 144 x 196": (random(32, 144), random(64, 144, 196)),
        "1024 x 1024 by a vector": (random(1024, 1024), random(1024)),
    }
    for name, (a, b) in shapes.items():
        ta, tb = tensor(a), tensor(b)
        yield Case(
            "matmul",
            name,
            lambda xp, a=a, b=b: xp.matmul(a, b),
            lambda a=ta, b=tb: a @ b,
            2.0 * a.size * b.size / a.shape[-1] if b.ndim < 3 else 2.0 * b.size * a.shape[0],
        )


def reductions(quick: bool) -> Iterator[Case]:
    shapes = [(1024, 1024)] if quick else [(256, 256), (1024, 1024), (64, 65536)]
    for shape in shapes:
        x = random(*shape)
        t = tensor(x)
        for axis in (None, 0, 1):
            dim = (0, 1) if axis is None else axis
            size = f"{shape[0]} x {shape[1]} " + ("whole" if axis is None else f"over axis {axis}")
            names: dict[str, Call | None] = {"sum": None, "max": None, "var": None, "logsumexp": None}
            if torch:
                names = {
                    "sum": lambda t=t, dim=dim: torch.sum(t, dim),
                    "max": lambda t=t, dim=dim: torch.amax(t, dim),
                    "var": lambda t=t, dim=dim: torch.var(t, dim, correction=0),
                    "logsumexp": lambda t=t, dim=dim: torch.logsumexp(t, dim),
                }
            for name, rival in names.items():
                yield Case(
                    "reduce",
                    f"{name} {size}",
                    lambda xp, name=name, x=x, axis=axis: getattr(xp, name)(x, axis=axis),
                    rival,
                )
        rival = (lambda t=t: torch.argmax(t, 0)) if torch else None
        yield Case(
            "reduce",
            f"argmax {shape[0]} x {shape[1]} over axis 0",
            lambda xp, x=x: xp.argmax(x, axis=0),
            rival,
        )


def fused(quick: bool) -> Iterator[Case]:
    functional = torch.nn.functional if torch else None
    for n, c in [(64, 10), (512, 1000)] if quick else [(64, 10), (512, 65), (512, 1000), (4096, 512)]:
        x, target = random(n, c), np.random.default_rng(0).integers(0, c, n)
        rows = target % 50
        t, tt, tr = tensor(x), tensor(target), tensor(rows)
        size = f"{n} x {c}"
        ones, lse = np.ones(n, np.float32), backend.CPU.softmax_cross_entropy(x, target)[1]
        weight = np.ones(c, np.float32)
        tw = tensor(weight)
        for name, call, rival in [
            ("softmax", lambda xp, x=x: xp.softmax(x), lambda t=t: torch.softmax(t, -1)),
            ("log_softmax", lambda xp, x=x: xp.log_softmax(x), lambda t=t: torch.log_softmax(t, -1)),
            (
                "softmax_cross_entropy",
                lambda xp, x=x, target=target: xp.softmax_cross_entropy(x, target),
                lambda t=t, tt=tt: functional.cross_entropy(t, tt, reduction="none"),
            ),
            (
                "softmax_cross_entropy_backward",
                lambda xp, ones=ones, x=x, target=target, lse=lse: xp.softmax_cross_entropy_backward(
                    ones, x, target, lse
                ),
                None,
            ),
            ("gelu", lambda xp, x=x: xp.gelu(x), lambda t=t: functional.gelu(t)),
            ("gelu_backward", lambda xp, x=x: xp.gelu_backward(x, x), None),
            ("rounded", lambda xp, x=x: xp.rounded(x, dtypes.bfloat16.numpy), lambda t=t: t.bfloat16()),
            (
                "layer_norm",
                lambda xp, x=x, w=weight: xp.layer_norm(x, w, w, 1e-5),
                lambda t=t, w=tw, c=c: functional.layer_norm(t, (c,), w, w),
            ),
            (
                "embedding_backward",
                lambda xp, x=x, i=rows: xp.embedding_backward(x, i, 50),
                lambda t=t, i=tr, c=c: torch.zeros(50, c).index_add_(0, i, t),
            ),
        ]:
            yield Case("fused", f"{name} {size}", call, rival if torch else None)


def images(quick: bool) -> Iterator[Case]:
    functional = torch.nn.functional if torch else None
    for shape in [(64, 16, 28, 28)] if quick else [(64, 16, 28, 28), (64, 32, 14, 14)]:
        n, c, h, w = shape
        x, weight = random(*shape), np.ones(c, np.float32)
        t, tw = tensor(x), tensor(weight)
        flat = x.reshape(n, c, h * w)
        pooled, places = backend.CPU.max_pool2d(x, 2)
        columns = backend.CPU.im2col(x, 3, 1, 1)
        tk = tensor(columns)
        _, mean, _, rstd = backend.CPU.batch_norm(flat, weight, weight, 1e-5)
        size = " x ".join(map(str, shape))
        for name, call, rival in [
            (
                "batch_norm",
                lambda xp, x=flat, w=weight: xp.batch_norm(x, w, w, 1e-5),
                lambda t=t, w=tw: functional.batch_norm(t, None, None, w, w, True),
            ),
            (
                "batch_norm_backward",
                lambda xp, x=flat, w=weight, m=mean, r=rstd: xp.batch_norm_backward(x, x, w, m, r),
                None,
            ),
            (
                "max_pool2d",
                lambda xp, x=x: xp.max_pool2d(x, 2),
                lambda t=t: functional.max_pool2d(t, 2, return_indices=True),
            ),
            (
                "max_pool2d_backward",
                lambda xp, g=pooled, i=places, s=shape: xp.max_pool2d_backward(g, i, s),
                None,
            ),
            (
                "im2col",
                lambda xp, x=x: xp.im2col(x, 3, 1, 1),
                lambda t=t: functional.unfold(t, 3, padding=1),
            ),
            (
                "col2im",
                lambda xp, k=columns, s=shape: xp.col2im(k, s, 3, 1, 1),
                lambda k=tk, s=shape: functional.fold(k, s[2:], 3, padding=1),
            ),
        ]:
            yield Case("images", f"{name} {size}", call, rival if torch else None)


def convolutions(quick: bool) -> Iterator[Case]:
    geometry = Geometry((1, 1), (1, 1), (1, 1))
    shapes = [(64, 16, 14, 32)] if quick else [(64, 1, 28, 16), (64, 16, 14, 32), (32, 64, 32, 64)]
    for n, c, side, o in shapes:
        x, weight, grad = random(n, c, side, side), random(o, c, 3, 3), random(n, o, side, side)
        t, tw, tg = tensor(x), tensor(weight), tensor(grad)
        rivals: list[Call | None] = [None, None, None]
        if torch:
            rivals = [
                lambda t=t, w=tw: torch.nn.functional.conv2d(t, w, padding=1),
                lambda s=x.shape, w=tw, g=tg: torch.nn.grad.conv2d_input(s, w, g, padding=1),
                lambda t=t, s=weight.shape, g=tg: torch.nn.grad.conv2d_weight(t, s, g, padding=1),
            ]
        calls = [
            ("convolution", lambda xp, x=x, w=weight: xp.convolution(x, w, None, geometry)),
            (
                "convolution_input",
                lambda xp, g=grad, w=weight, s=(side, side): xp.convolution_input(g, w, s, geometry),
            ),
            (
                "convolution_weight",
                lambda xp, x=x, g=grad: xp.convolution_weight(x, g, (3, 3), geometry),
            ),
        ]
        for (name, call), rival in zip(calls, rivals, strict=True):
            work = 2.0 * x.size * o * 9
            yield Case("convolutions", f"{name} {n} x {c} x {side} x {side} to {o}", call, rival, work)


def recurrent(quick: bool) -> Iterator[Case]:
    length, n, width = 64, 32, 128
    times = [(start * n, n) for start in range(length)]
    h, rows = random(n, width), length * n
    for name, gates in (("lstm", 4), ("gru", 3)):
        x, weight, grad = (
            random(rows, gates * width),
            0.05 * random(gates * width, width),
            random(rows, width),
        )
        backward: list[Any] = []
        if name == "lstm":
            values = x.copy()
            y, cells, tanhs, *_ = backend.CPU.lstm_steps(values, h, h, weight, times)
            forward = [h, h, weight, times]
            backward = [grad, h, h, values, cells, tanhs, h, weight, times]
        else:
            values = x.copy()
            y, inner, _ = backend.CPU.gru_steps(values, h, weight, None, times)
            forward = [h, weight, None, times]
            backward = [grad, h, values, inner, y, h, weight, times]
        size = f"{length} steps of {n} x {width}"
        yield Case(
            "recurrent",
            f"{name}_steps {size}",
            lambda xp, name=name, x=x, rest=forward: getattr(xp, f"{name}_steps")(x.copy(), *rest),
        )
        yield Case(
            "recurrent",
            f"{name}_steps_backward {size}",
            lambda xp, name=name, rest=backward: getattr(xp, f"{name}_steps_backward")(*rest),
        )


STEPS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {},
    **{name: {} for name in ("RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "ASGD", "Rprop")},
}


def steps(quick: bool) -> Iterator[Case]:
    """Whole steps of optimizers: with a kernel, with the formula over NumPy, and PyTorch's two ways."""
    models = {"MLP 64-32-10": [(32, 64), (32,), (10, 32), (10,)]}
    if not quick:
        models["MLP 784-256-128-10"] = [(256, 784), (256,), (128, 256), (128,), (10, 128), (10,)]
    for model, shapes in models.items():
        for name, options in STEPS.items():
            params = [nn.Parameter(accelgrad.tensor(random(*shape))) for shape in shapes]
            for one in params:
                one.grad = accelgrad.tensor(random(*one.shape))
            step = getattr(optim, name)(params, lr=1e-9, **options).step
            case = Case("steps", f"{name}, {model}", lambda xp, step=step: step())
            if torch:
                case.torch = twin_step(name, params, options, None)
                case.foreach = twin_step(name, params, options, True)
            yield case


def twin_step(name: str, params: list[Any], options: dict[str, Any], foreach: bool | None) -> Call:
    """PyTorch's step on the same parameters and gradients."""
    twins = [torch.from_numpy(one.detach().numpy().copy()).requires_grad_() for one in params]
    for twin, one in zip(twins, params, strict=True):
        twin.grad = torch.from_numpy(one.grad.numpy().copy())
    return getattr(torch.optim, name)(twins, lr=1e-9, foreach=foreach, **options).step


def turn(call: Call, seconds: float) -> float:
    """The best time of one call in a turn."""
    if kernels.get_num_threads() > 1:
        time.sleep(0.15)  # OpenBLAS and OpenMP let their threads spin for up to 0.1 s after their last job
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def measure(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    """The times of the contenders in every round, in microseconds."""
    times: dict[str, list[float]] = {"kernel": [], "numpy": []}
    calls: dict[str, Call] = dict.fromkeys(times, lambda: case.array(backend.CPU))
    for name, rival in (("torch", case.torch), ("foreach", case.foreach)):
        if rival is not None:
            times[name], calls[name] = [], rival
    for _ in range(rounds):
        for contender, call in calls.items():
            with kernels.use("numba" if contender == "kernel" else "off"):
                times[contender].append(1e6 * turn(call, seconds))
    row: dict[str, Any] = {"group": case.group, "case": case.name, "microseconds": times}
    row["median"] = {name: statistics.median(values) for name, values in times.items()}
    row["ratio"] = {}
    for rival in times:
        if rival != "kernel":
            ratios = sorted(a / b for a, b in zip(times[rival], times["kernel"], strict=True))
            low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
            row["ratio"][rival] = {"median": middle, "quartiles": [low, high]}
    if case.work:
        row["gflops"] = {name: case.work / value / 1e3 for name, value in row["median"].items()}
    return row


def line(row: dict[str, Any]) -> str:
    parts = [f"{row['group']:7s} {row['case']:44s}"]
    parts += [f"{name} {value:9.1f}" for name, value in row["median"].items()]
    for rival, ratio in row["ratio"].items():
        low, high = ratio["quartiles"]
        parts.append(f"| {rival}/kernel {ratio['median']:5.2f} ({low:.2f} to {high:.2f})")
    return "  ".join(parts)


def processor() -> str:
    with contextlib.suppress(OSError):
        for entry in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if entry.startswith("model name"):
                return entry.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    for name in ("numba", "torch"):
        with contextlib.suppress(ImportError):
            versions[name] = importlib.import_module(name).__version__
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": processor(),
        "system": platform.system(),
        "threads": kernels.get_num_threads(),
        "torch threads": torch.get_num_threads() if torch else None,
        "versions": versions,
        "blas": f"{blas.get('name')} {blas.get('version')}",
        "load at the start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


GROUPS = {
    "matmul": products,
    "reduce": reductions,
    "fused": fused,
    "images": images,
    "convolutions": convolutions,
    "recurrent": recurrent,
    "steps": steps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Times CPU kernels beside NumPy and PyTorch.")
    parser.add_argument("--quick", action="store_true", help="fewer sizes and rounds")
    parser.add_argument("--rounds", type=int, help="rounds of turns for each case (9; quick: 3)")
    parser.add_argument("--milliseconds", type=float, default=40, help="of each turn")
    parser.add_argument("--only", choices=GROUPS, action="append", help="a group of cases; may be repeated")
    parser.add_argument("--json", type=pathlib.Path, help="where the results go (benchmarks/results/...)")
    parser.add_argument("--threads", type=int, help="of every contender; 1 is steadier on a busy machine")
    options = parser.parse_args()
    if options.threads and os.environ.get("OPENBLAS_NUM_THREADS") != str(options.threads):
        limits = {f"{name}_NUM_THREADS": str(options.threads) for name in ("OPENBLAS", "OMP", "MKL", "NUMBA")}
        os.execve(
            sys.executable, [sys.executable, *sys.argv], {**os.environ, **limits}
        )  # read at the imports
    rounds = options.rounds or (3 if options.quick else 9)
    report: dict[str, Any] = {
        "machine": machine(),
        "command": "python benchmarks/kernels.py " + " ".join(sys.argv[1:]),
        "rounds": rounds,
        "rows": [],
    }
    print(json.dumps(report["machine"]))
    print("medians in microseconds")
    for group in options.only or GROUPS:
        for case in GROUPS[group](options.quick):
            row = measure(case, rounds, options.milliseconds / 1e3)
            report["rows"].append(row)
            print(line(row), flush=True)
    name = "-".join(["kernels", *(["quick"] if options.quick else []), f"threads{kernels.get_num_threads()}"])
    path = options.json or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    for row in report["rows"]:
        row["microseconds"] = {
            name: [round(t, 2) for t in times] for name, times in row["microseconds"].items()
        }
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
