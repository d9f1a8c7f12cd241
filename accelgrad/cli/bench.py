"""``bench``: training steps of small models, next to PyTorch where it is installed, in alternating rounds.

Each library runs in a process of its own, and while it has its turn the other one waits: in one process the
threads of both would get in each other's way, and what accelgrad asks of the C library
(``accelgrad/kernels/memory.py``) would act on PyTorch too.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["MODELS", "Contender", "configure", "machine", "paired", "run", "serve"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``bench``."""
    parser.add_argument("models", nargs="*", metavar="model", help=f"of {', '.join(MODELS)} (all)")
    parser.add_argument("--rounds", type=int, default=15, help="alternating rounds of each model (15)")
    parser.add_argument("--quick", action="store_true", help="three short rounds, to see that it runs")
    parser.add_argument(
        "--threads", type=int, help="of each library (all cores); 1 is steadier on a busy machine"
    )
    parser.add_argument(
        "--start", action="store_true", help="measure import and first step in new processes, too"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")


def run(options: argparse.Namespace) -> int:
    """Time every model and print a table; ratios below 1 are in accelgrad's favour."""
    unknown = [name for name in options.models if name not in MODELS]
    if unknown:
        print(f"no model is called {unknown[0]!r}; there are {', '.join(MODELS)}")
        return 2
    rounds, seconds = (3, 0.02) if options.quick else (options.rounds, 0.25)
    if os.environ.get("ACCELGRAD_DEVICE", "cpu") != "cpu":
        print("bench times the processor; python benchmarks/gpu.py times a card")
        os.environ["ACCELGRAD_DEVICE"] = "cpu"  # for the contenders, which are processes of their own
    if options.threads:
        for pool in ("OPENBLAS", "OMP", "MKL", "NUMBA"):  # read by the contenders when they start
            os.environ[f"{pool}_NUM_THREADS"] = str(options.threads)
    libraries = ["accelgrad"] + (["torch"] if importlib.util.find_spec("torch") else [])
    if "torch" not in libraries:
        print("PyTorch is not installed: only accelgrad is timed")
    results: dict[str, Any] = {}
    print(f"{'training step':24} {'accelgrad':>12} {'PyTorch':>12} {'ratio (min ... max)':>24}")
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(Contender(library)) for library in libraries]
        for name in options.models or MODELS:
            results[name] = entry = paired(contenders, name, rounds, seconds)
            shown = other = ""
            if "ratio" in entry:
                shown = f"{entry['ratio']:8.2f} ({entry['ratio_min']:.2f} ... {entry['ratio_max']:.2f})"
                other = f"{entry['torch_us']:9.0f} us"
            print(f"{name:24} {entry['accelgrad_us']:9.0f} us {other:>12} {shown:>24}", flush=True)
    if options.start:
        results["start"] = _starts(libraries)
        for what, value in results["start"].items():
            print(f"{what:40} {value:8.2f} s")
    if options.json:
        setting = machine(libraries) | {"threads": options.threads or "all"}
        document = {"machine": setting, "command": sys.argv[1:], "results": results}
        path = pathlib.Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")
    return 0


class Contender:
    """A library in a process of its own that times training steps when it is asked to."""

    def __init__(self, library: str) -> None:
        self.library = library
        code = f"from accelgrad.cli.bench import serve; serve({library!r})"
        environment = dict(os.environ)
        if library != "accelgrad":  # it shall run as it does by itself
            environment["ACCELGRAD_KEEP_MEMORY"] = "0"
        root = pathlib.Path(__file__).resolve().parents[2]
        path = [str(root), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def ask(self, model: str, seconds: float) -> float:
        """Train for about so many seconds; the seconds of one step."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([model, seconds]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process that trains {model!r} with {self.library} has ended")
        return float(answer)


def serve(library: str) -> None:
    """The other side of a :class:`Contender`: a line asks for a model and a time, a line answers."""
    module = importlib.import_module(library)
    known = ""
    for line in sys.stdin:
        model, seconds = json.loads(line)
        if model != known:
            known, step = model, MODELS[model](module)
            for _ in range(WARM_UP):
                step()
        begun = now = time.perf_counter()
        count = 0
        while now - begun < seconds:
            step()
            count += 1
            now = time.perf_counter()
        print((now - begun) / count, flush=True)


WARM_UP = 60
"""Steps before the first that counts: both libraries compile or choose code while they are new."""


def paired(contenders: list[Contender], model: str, rounds: int, seconds: float) -> dict[str, float]:
    """Median microseconds of a step with each library, by rounds that take turns; ratios round by round."""
    times: dict[str, list[float]] = {one.library: [] for one in contenders}
    for turn in range(-1, rounds):  # the first round is not counted
        for one in contenders if turn % 2 == 0 else reversed(contenders):
            taken = one.ask(model, seconds) * 1e6
            if turn >= 0:
                times[one.library].append(taken)
    entry = {f"{name}_us": statistics.median(values) for name, values in times.items()}
    if len(times) == 2:
        first, second = times.values()
        ratios = [one / other for one, other in zip(first, second, strict=True)]
        entry |= {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    return entry


def machine(libraries: list[str]) -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
        )
    except OSError:
        pass
    versions = {name: importlib.import_module(name).__version__ for name in [*libraries, "numpy"]}
    if importlib.util.find_spec("numba"):
        versions["numba"] = importlib.import_module("numba").__version__
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.date.today().isoformat(),
        "processor": model,
        "cores": cores,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _starts(libraries: list[str]) -> dict[str, float]:
    """Measure new processes, in seconds: the import, and the first step with a cold and a warm cache."""
    import tempfile

    step = (
        "import accelgrad as t; from accelgrad import nn, optim;"
        " m = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10));"
        " o = optim.Adam(m.parameters()); x = t.randn(64, 784); y = t.randint(0, 10, (64,));"
        " l = nn.functional.cross_entropy(m(x), y); l.backward(); o.step()"
    )
    found = {}

    def timed(code: str, name: str) -> float:
        # Python's own bytecode is kept, as it is where a package was installed.
        kept = {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "PYTHONDONTWRITEBYTECODE": ""}
        environment = {**os.environ, **kept, "NUMBA_CACHE_DIR": f"{folder}/{name}"}
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - begun

    with tempfile.TemporaryDirectory() as folder:
        cache = "machine code"
        for library in libraries:  # not timed: now there is bytecode
            timed(step.replace("accelgrad", library), "machine code of another time")
        empty = statistics.median(timed("import numpy", cache) for _ in range(5))
        found["import numpy (for comparison)"] = empty
        found["import accelgrad"] = statistics.median(timed("import accelgrad", cache) for _ in range(5))
        found["first trained step, cold cache"] = timed(step, cache)
        found["first trained step, warm cache"] = statistics.median(timed(step, cache) for _ in range(3))
        if "torch" in libraries:
            found["first trained step, PyTorch"] = statistics.median(
                timed(step.replace("accelgrad", "torch"), cache) for _ in range(3)
            )
    return found


# --- the models


def _step(
    library: Any, model: Any, inputs: np.ndarray, targets: np.ndarray, optimizer: str, lr: float
) -> Any:
    """The four steps as one function."""
    x, y = library.from_numpy(inputs), library.from_numpy(targets)
    classes = {"sgd": library.optim.SGD, "adam": library.optim.Adam}
    chosen = classes[optimizer](model.parameters(), lr=lr)
    criterion = library.nn.CrossEntropyLoss()

    def step() -> None:
        chosen.zero_grad()
        criterion(model(x), y).backward()
        chosen.step()

    return step


def _images(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def tiny_mlp(optimizer: str) -> Callable[[Any], Any]:
    """64-32-10, batch 32."""

    def build(library: Any) -> Any:
        rng, nn = np.random.default_rng(0), library.nn
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        return _step(library, model, _images(rng, 32, 64), rng.integers(0, 10, 32), optimizer, 0.01)

    return build


def mlp(optimizer: str) -> Callable[[Any], Any]:
    """784-256-128-10, batch 64."""

    def build(library: Any) -> Any:
        rng, nn = np.random.default_rng(0), library.nn
        model = nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )
        return _step(library, model, _images(rng, 64, 784), rng.integers(0, 10, 64), optimizer, 0.01)

    return build


def cnn(optimizer: str) -> Callable[[Any], Any]:
    """28 x 28 images, two convolutions (16, 32) with batch normalisation and pooling, batch 64."""

    def build(library: Any) -> Any:
        rng, nn = np.random.default_rng(0), library.nn
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
        )  # fmt: skip
        return _step(library, model, _images(rng, 64, 1, 28, 28), rng.integers(0, 10, 64), optimizer, 0.01)

    return build


def lstm(optimizer: str) -> Callable[[Any], Any]:
    """128 units, 64 steps, batch 32."""

    def build(library: Any) -> Any:
        rng, nn = np.random.default_rng(0), library.nn

        class Reader(nn.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.lstm = nn.LSTM(128, 128, batch_first=True)
                self.head = nn.Linear(128, 10)

            def forward(self, x: Any) -> Any:
                return self.head(self.lstm(x)[0][:, -1])

        return _step(library, Reader(), _images(rng, 32, 64, 128), rng.integers(0, 10, 32), optimizer, 0.01)

    return build


def gpt(optimizer: str) -> Callable[[Any], Any]:
    """Four pre-norm blocks, 128 wide, 4 heads, 64 tokens of 65, batch 8."""

    def build(library: Any) -> Any:
        rng, nn, functional = np.random.default_rng(0), library.nn, library.nn.functional
        width, heads, length, words = 128, 4, 64, 65

        class Block(nn.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
                self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
                self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

            def forward(self, x: Any) -> Any:
                n, t, c = x.shape
                qkv = self.qkv(self.norm1(x)).view(n, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
                mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
                x = x + self.out(mixed.transpose(1, 2).reshape(n, t, c))
                return x + self.narrow(functional.gelu(self.wide(self.norm2(x))))

        class Gpt(nn.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
                self.blocks = nn.Sequential(*[Block() for _ in range(4)])
                self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

            def forward(self, tokens: Any) -> Any:
                x = self.words(tokens) + self.places(library.arange(tokens.shape[1]))
                return self.head(self.norm(self.blocks(x))).view(-1, words)

        tokens = rng.integers(0, words, (8, length))
        return _step(library, Gpt(), tokens, rng.integers(0, words, 8 * length), optimizer, 1e-3)

    return build


def small_operation(_: str) -> Callable[[Any], Any]:
    """One multiplication of 8 numbers, forward and backward: the overhead of an operation."""

    def build(library: Any) -> Any:
        x = library.ones(8, requires_grad=True)
        weight = library.ones(8)

        def step() -> None:
            x.grad = None
            (x * 2.0).backward(weight)

        return step

    return build


MODELS: dict[str, Callable[[Any], Any]] = {
    "one operation": small_operation(""),
    "tiny MLP, SGD": tiny_mlp("sgd"),
    "tiny MLP, Adam": tiny_mlp("adam"),
    "MLP, SGD": mlp("sgd"),
    "MLP, Adam": mlp("adam"),
    "CNN, SGD": cnn("sgd"),
    "CNN, Adam": cnn("adam"),
    "LSTM, SGD": lstm("sgd"),
    "GPT, Adam": gpt("adam"),
}
