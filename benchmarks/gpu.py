"""On a card: training steps against PyTorch, our matrix product against cuBLAS, bandwidth, and the cost of
a launch.

    python benchmarks/gpu.py [--quick] [--only steps matmul bandwidth launch] [--models small large]
        [--device cuda|cpu] [--json FILE]

Contenders take turns in every round, after warming up; the device is synchronised around each timing;
medians and the spread of the ratios are printed and written with the card, the driver and the versions.
A case that fails is noted and the others go on; figures of an earlier run in the FILE are kept where this
one does not replace them.  ``--device cpu`` times the training steps alone, to see without a card that
everything runs.  Without PyTorch only accelgrad is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import gc
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import pathlib
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

PACKAGES = ("accelgrad", "torch", "numpy", "numba", "numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "llvmlite")

Step = Callable[[], Any]

# --- training steps


def trainer(library: Any, model: Any, x: Any, target: Any, classes: int, optimizer: str = "Adam") -> Step:
    """One step: zero_grad, forward, cross-entropy, backward, update."""
    functional = library.nn.functional
    update = getattr(library.optim, optimizer)(model.parameters(), lr=1e-3)

    def step() -> None:
        update.zero_grad()
        loss = functional.cross_entropy(model(x).reshape(-1, classes), target)
        loss.backward()
        update.step()

    return step


def numbers(library: Any, device: str, *shape: int) -> Any:
    return library.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32)).to(device)


def labels(library: Any, device: str, classes: int, *shape: int) -> Any:
    return library.from_numpy(np.random.default_rng(1).integers(0, classes, shape)).to(device)


def mlp(library: Any, device: str, widths: tuple[int, ...], batch: int, optimizer: str) -> Step:
    nn = library.nn
    layers: list[Any] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    x, target = numbers(library, device, batch, widths[0]), labels(library, device, widths[-1], batch)
    return trainer(library, model, x, target, widths[-1], optimizer)


def cnn(library: Any, device: str) -> Step:
    nn = library.nn
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 49, 10)),
    ).to(device)
    return trainer(
        library, model, numbers(library, device, 64, 1, 28, 28), labels(library, device, 10, 64), 10
    )


def lstm(library: Any, device: str) -> Step:
    nn = library.nn

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(128, 128, batch_first=True)
            self.head = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    model = Reader().to(device)
    return trainer(library, model, numbers(library, device, 32, 64, 128), labels(library, device, 10, 32), 10)


def gpt(library: Any, device: str, layers: int, width: int, heads: int, length: int, batch: int) -> Step:
    nn, functional, words = library.nn, library.nn.functional, 256

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            n, t, c = x.shape
            parts = self.qkv(self.norm1(x)).reshape(n, t, 3, heads, c // heads).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(n, t, c))
            return x + self.down(functional.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

        def forward(self, x: Any) -> Any:
            return self.head(self.norm(self.blocks(self.words(x) + self.places.weight)))

    model = Model().to(device)
    x, target = labels(library, device, words, batch, length), labels(library, device, words, batch * length)
    return trainer(library, model, x, target, words, "AdamW")


def resnet(library: Any, device: str, batch: int = 128) -> Step:
    """ResNet-18 for images of 32 x 32 (He et al. 2016, the variant for small images: no first pooling)."""
    nn = library.nn

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
            self.norm1, self.norm2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
            self.relu = nn.ReLU()
            self.short = None
            if stride != 1 or before != after:
                self.short = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
                )

        def forward(self, x: Any) -> Any:
            y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
            return self.relu(y + (x if self.short is None else self.short(x)))

    layers: list[Any] = [nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    before = 64
    for after, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(Block(before, after, stride))
        before = after
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)).to(device)
    x, target = numbers(library, device, batch, 3, 32, 32), labels(library, device, 10, batch)
    return trainer(library, model, x, target, 10, "SGD")


MODELS: dict[str, Callable[[Any, str], Step]] = {
    "tiny MLP, SGD": lambda lib, device: mlp(lib, device, (64, 32, 10), 32, "SGD"),
    "tiny MLP, Adam": lambda lib, device: mlp(lib, device, (64, 32, 10), 32, "Adam"),
    "MLP, SGD": lambda lib, device: mlp(lib, device, (784, 256, 128, 10), 64, "SGD"),
    "MLP, Adam": lambda lib, device: mlp(lib, device, (784, 256, 128, 10), 64, "Adam"),
    "CNN 28x28": cnn,
    "LSTM 128": lstm,
    "GPT 4 x 128": lambda lib, device: gpt(lib, device, 4, 128, 4, 64, 8),
    "ResNet-18, 32x32": resnet,
    "GPT 12 x 768": lambda lib, device: gpt(lib, device, 12, 768, 12, 512, 4),
}
LARGE = ("ResNet-18, 32x32", "GPT 12 x 768")


def synchronise(device: str) -> None:
    """Wait for whatever either library has asked of the card."""
    if device == "cpu":
        return
    cupy = sys.modules.get("cupy")
    if cupy is not None:
        cupy.cuda.runtime.deviceSynchronize()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


def paired(contenders: dict[str, Step], device: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Median microseconds of one call of each, in rounds that take turns, and the ratios of the rounds."""
    loops: dict[str, int] = {}
    for name, step in contenders.items():
        for _ in range(3):
            step()
        synchronise(device)
        begun = time.perf_counter()
        step()
        synchronise(device)
        loops[name] = max(1, min(1000, int(seconds / max(time.perf_counter() - begun, 1e-7))))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name in list(contenders) if turn % 2 == 0 else list(reversed(contenders)):
            step, count = contenders[name], loops[name]
            synchronise(device)
            begun = time.perf_counter()
            for _ in range(count):
                step()
            synchronise(device)
            times[name].append((time.perf_counter() - begun) / count * 1e6)
    found: dict[str, Any] = {"us": {name: statistics.median(values) for name, values in times.items()}}
    first = next(iter(times))
    for name in list(times)[1:]:
        ratios = [one / other for one, other in zip(times[first], times[name], strict=True)]
        found[f"{first} / {name}"] = [min(ratios), statistics.median(ratios), max(ratios)]
    return found


def steps(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Training steps of every model against PyTorch's."""
    libraries = {"accelgrad": importlib.import_module("accelgrad")}
    if importlib.util.find_spec("torch"):
        torch = importlib.import_module("torch")
        if device == "cpu" or torch.cuda.is_available():
            libraries["torch"] = torch
    for library in libraries.values():  # the same arithmetic on both sides
        library.backends.cuda.matmul.allow_tf32 = library.backends.cudnn.allow_tf32 = False
    results = options.kept("steps")
    for name, make in MODELS.items():
        size = "large" if name in LARGE else "small"
        if size not in options.models or (size == "large" and (device == "cpu" or options.quick)):
            continue
        with noting(results, name):
            contenders = {label: make(library, device) for label, library in libraries.items()}
            found = results[name] = paired(contenders, device, options.rounds, options.seconds)
            ratio = found.get("accelgrad / torch")
            line = "  ".join(f"{label} {value:10.0f} us" for label, value in found["us"].items())
            print(
                f"{name:20} {line}"
                + (f"  ratio {ratio[1]:.2f} ({ratio[0]:.2f} ... {ratio[2]:.2f})" if ratio else ""),
                flush=True,
            )
        contenders = {}
        gc.collect()
        importlib.import_module("accelgrad.cuda").empty_cache()
    return results


@contextlib.contextmanager
def noting(results: dict[str, Any], name: str) -> Iterator[None]:
    """A block whose error becomes the result of this name, so that the other cases go on."""
    try:
        yield
    except Exception as error:
        traceback.print_exc(limit=-4)
        results[name] = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        print(f"{name}: failed", flush=True)


def ran(name: str, step: Step) -> Step:
    """``step``, after one call has shown that our kernel takes it."""
    if step() is NotImplemented:
        missing = importlib.import_module("accelgrad.kernels").missing
        reasons = "; ".join(f"{one}: {why[:200]}" for (_, one), why in missing.items())
        raise RuntimeError(f"our kernel declined {name}; {reasons or 'none is missing'}")
    return step


# --- products, bandwidth, launches


def matmul(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Our float32 product against cuBLAS, in TFLOP/s; the largest difference between the two."""
    cupy = importlib.import_module("cupy")
    ours = importlib.import_module("accelgrad.kernels.cuda.matmul").matmul
    precision = importlib.import_module("accelgrad.arrays.precision")
    results = options.kept("matmul")
    for n in (64, 128) if options.quick else (512, 1024, 2048, 4096, 8192):
        with noting(results, str(n)):
            a, b = (
                cupy.asarray(np.random.default_rng(i).standard_normal((n, n), np.float32)) for i in (0, 1)
            )
            contenders = {
                "ours": ran(f"matmul {n}", functools.partial(ours, a, b)),
                "cuBLAS": functools.partial(cupy.matmul, a, b),
            }
            error = float(cupy.abs(ours(a, b) - a @ b).max())
            if not options.quick:
                contenders["cuBLAS, TF32"] = precision.in_tf32(functools.partial(cupy.matmul, a, b))
                stack = [one.reshape(4, n, n // 4) for one in (a, b)]  # whether stacks are multiplied in TF32
                stack[1] = stack[1].swapaxes(1, 2)
                exact = stack[0] @ stack[1]
                rounded = float(cupy.abs(precision.in_tf32(cupy.matmul)(*stack) - exact).max())
            found = paired(contenders, device, options.rounds, options.seconds)
            rates = {name: 2 * n**3 / us / 1e6 for name, us in found["us"].items()}
            share = rates["ours"] / rates["cuBLAS"]
            figures = {"tflops": rates, "share": share, "largest error": error}
            if not options.quick:
                figures["TF32 changes products of stacks by"] = rounded
            results[str(n)] = figures
            print(
                f"matmul {n:5}  ours {rates['ours']:7.2f}  cuBLAS {rates['cuBLAS']:7.2f} TFLOP/s  share"
                f" {share:.2f}  off {error:.1e}",
                flush=True,
            )
    return results


def bandwidth(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Reductions and fused rows in GB/s, and as a share of what a copy reaches."""
    cupy = importlib.import_module("cupy")
    reduce = importlib.import_module("accelgrad.kernels.cuda.reduce")
    softmax = importlib.import_module("accelgrad.kernels.cuda.softmax")
    norm = importlib.import_module("accelgrad.kernels.cuda.norm")
    rows, width = (64, 64) if options.quick else (65536, 1024)  # 256 MB
    x = cupy.asarray(np.random.default_rng(0).standard_normal((rows, width), np.float32))
    y = cupy.empty_like(x)
    size = x.nbytes
    cases: dict[str, tuple[Step, int]] = {
        "copy": (lambda: cupy.copyto(y, x), 2 * size),
        "ours: sum of all": (lambda: reduce.sum_(x), size),
        "CuPy: sum of all": (lambda: x.sum(), size),
        "ours: sum of rows": (lambda: reduce.sum_(x, 1), size),
        "CuPy: sum of rows": (lambda: x.sum(axis=1), size),
        "ours: sum of columns": (lambda: reduce.sum_(x, 0), size),
        "CuPy: sum of columns": (lambda: x.sum(axis=0), size),
        "ours: max of rows": (lambda: reduce.max_(x, 1), size),
        "ours: variance of rows": (lambda: reduce.var(x, 1), size),
        "CuPy: variance of rows": (lambda: x.var(axis=1), size),
        "ours: argmax of rows": (lambda: reduce.argmax(x, 1), size),
        "CuPy: argmax of rows": (lambda: x.argmax(axis=1), size),
        "ours: softmax": (lambda: softmax.softmax(x), 2 * size),
        "ours: layer norm": (lambda: norm.layer_norm(x, None, None, 1e-5), 2 * size),
    }
    results = options.kept("bandwidth")
    for name in list(cases):
        results.pop(name, None)
        with noting(results, name):
            ran(name, cases[name][0])
        if name in results:
            del cases[name]
    found = paired({name: step for name, (step, _) in cases.items()}, device, options.rounds, options.seconds)
    for name, us in found["us"].items():
        rate = cases[name][1] / us / 1e3
        copy = results.get("copy", {}).get("GB/s", rate if name == "copy" else float("nan"))
        results[name] = {"GB/s": rate, "share of copy": rate / copy}
        print(f"{name:24} {rate:8.0f} GB/s  {rate / copy:.2f} of the copy", flush=True)
    return results


def launch(device: str, options: argparse.Namespace) -> dict[str, Any]:
    """Microseconds of the host for one launch on 1024 numbers by every route, whether a graph takes it, and
    what one replay of that graph then costs the host.
    """
    cupy = importlib.import_module("cupy")
    module = importlib.import_module("accelgrad.kernels.cuda.launch")
    cuda, types = module.cuda, importlib.import_module("numba").types
    a, b, c = (cupy.ones(1024, "f") for _ in range(3))
    elementwise = cupy.ElementwiseKernel("float32 x, float32 y", "float32 z", "z = x + y", "bench_add")
    raw = cupy.RawKernel(
        'extern "C" __global__ void add(const float* x, const float* y, float* z, int n)'
        " { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) z[i] = x[i] + y[i]; }",
        "add",
    )

    def bench_add(T: Any) -> Any:
        def kernel(x: Any, y: Any, z: Any, n: Any) -> None:
            i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
            if i < n:
                z[i] = x[i] + y[i]

        return kernel

    program = module.Program(bench_add, "PPPi", dtypes="f")
    dispatched = cuda.jit(bench_add(types.float32))
    count, square = np.int32(1024), cupy.ones((64, 64), "f")
    ours = importlib.import_module("accelgrad.kernels.cuda.matmul").matmul
    routes: dict[str, Step] = {
        "CuPy ufunc": lambda: cupy.add(a, b, out=c),
        "CuPy ElementwiseKernel": lambda: elementwise(a, b, c),
        "CuPy RawKernel": lambda: raw((4,), (256,), (a, b, c, count)),
        "our kernels (cubin through CuPy)": lambda: program(4, 256, "f", a, b, c, 1024),
        "Numba's dispatcher": lambda: dispatched[4, 256](a, b, c, 1024),
        "CuPy sum": lambda: a.sum(),
        "CuPy matmul 64 (cuBLAS)": lambda: cupy.matmul(square, square),
        "our matmul 64": lambda: ours(square, square),
        "ten CuPy ufuncs": lambda: [cupy.add(a, b, out=c) for _ in range(10)],
    }
    results = options.kept("launch")
    count_of_calls = 200 if options.quick else 2000
    for name, step in routes.items():
        with noting(results, name):
            ran(name, step)
            for _ in range(20):
                step()
            synchronise(device)
            begun = time.perf_counter()
            for _ in range(count_of_calls):
                step()
            host = (time.perf_counter() - begun) / count_of_calls * 1e6
            synchronise(device)
            graph, replay = captured(cupy, step, count_of_calls)
            results[name] = {"host us": host, "captured in a graph": graph, "replay us": replay}
            print(f"{name:34} {host:7.2f} us  graph: {graph}, replay {replay or 0:.2f} us", flush=True)
    return results


def captured(cupy: Any, step: Step, count: int) -> tuple[str, float | None]:
    """Whether a stream capture takes the launch ("yes", or the error), and the host's time for a replay."""
    stream = cupy.cuda.Stream(non_blocking=True)
    try:
        with stream:
            step()
            stream.synchronize()
            stream.begin_capture()
            try:
                step()
            finally:
                graph = stream.end_capture()
            graph.launch(stream)
            stream.synchronize()
            begun = time.perf_counter()
            for _ in range(count):
                graph.launch(stream)
            replay = (time.perf_counter() - begun) / count * 1e6
            stream.synchronize()
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}", None
    return "yes", replay


# --- the machine


def machine(device: str) -> dict[str, Any]:
    """Date, card, driver and versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "versions": versions,
        "device": device,
    }
    if device != "cpu":
        cuda, gpu = importlib.import_module("accelgrad.cuda"), importlib.import_module("accelgrad.arrays.gpu")
        properties = cuda.get_device_properties()
        found |= {
            "card": properties.name,
            "compute capability": f"{properties.major}.{properties.minor}",
            "memory": properties.total_memory,
            "driver": gpu.driver_version(),
            "runtime": sys.modules["cupy"].cuda.runtime.runtimeGetVersion(),
        }
    return found


class Kept(dict[str, Any]):
    """The figures of a section; every new one is written to the file at once, in case a later one hangs."""

    def __init__(self, begin: dict[str, Any], write: Callable[[], None]) -> None:
        super().__init__(begin)
        self.write = write

    def __setitem__(self, name: str, figures: Any) -> None:
        super().__setitem__(name, figures)
        self.write()


SECTIONS: dict[str, Callable[[str, argparse.Namespace], dict[str, Any]]] = {
    "launch": launch, "bandwidth": bandwidth, "matmul": matmul, "steps": steps,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--models", nargs="*", choices=("small", "large"), default=["small", "large"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each contender in each round")
    parser.add_argument("--quick", action="store_true", help="small and short, to see that it runs")
    parser.add_argument("--json", metavar="FILE", help="write the figures to FILE")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 0.01
    if options.device == "cuda":
        status = importlib.import_module("accelgrad.arrays.gpu").status()
        if not status.ok:
            print(f"no card to measure: {status.message}")
            return 2
    path = pathlib.Path(options.json) if options.json else None
    document: dict[str, Any] = {}
    if path is not None and path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
    document["machine"] = machine(options.device)

    def write() -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".new").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            path.with_suffix(".new").replace(path)

    document.setdefault("commands", []).append(" ".join(arguments or sys.argv[1:]))

    def keep(name: str) -> Kept:
        document[name] = Kept(document.get(name, {}), write)
        return document[name]

    options.kept = keep
    failed = 0
    for name in SECTIONS:
        if name not in options.only or (options.device == "cpu" and name != "steps"):
            continue
        print(f"--- {name}", flush=True)
        known = set(document.get(name, {}))
        before = {key: document[name][key] for key in known}
        whole: dict[str, Any] = {}
        with noting(whole, "the section"):
            SECTIONS[name](options.device, options)
        found = document.setdefault(name, {})
        found.pop("the section", None)
        found.update(whole)
        failed += sum("error" in one for key, one in found.items() if one is not before.get(key))
        write()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
