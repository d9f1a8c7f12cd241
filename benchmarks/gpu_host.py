"""What a training step on a card costs its host: launches, products, and microseconds of the processor.

    python benchmarks/gpu_host.py [--models small large] [--json FILE]

No card is needed: the real CuPy runs on host memory (tests/gpu/run_on_host_cupy.sh makes the environment),
and launches, products, large copies and fills are counted instead of carried out.  So this is the least
time in which a step can be given to a card, without what CUDA's driver takes for each launch (some 2 us).
Where a card finishes sooner than that, as with small models, it is the time of the step.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import statistics
import sys
import time
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE.parent / part) for part in (".", "benchmarks", "tests/gpu", "tests/gpu/cupy_on_host")
]

import host_cuda  # noqa: E402  (before anything imports CuPy)


def measure(step: Any, seconds: float, rounds: int) -> dict[str, Any]:
    """Launches and products of a step, and the median microseconds of processor time with the quartiles."""
    for _ in range(60):  # kernels are found, and Numba's patience is over
        step()
    before = host_cuda.launches(), host_cuda.products()
    step()
    counts = {"launches": host_cuda.launches() - before[0], "products": host_cuda.products() - before[1]}
    begun = time.process_time()
    step()
    loops = max(1, int(seconds / rounds / max(time.process_time() - begun, 1e-6)))
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        for _ in range(loops):
            step()
        times.append((time.process_time() - begun) / loops * 1e6)
    low, middle, high = statistics.quantiles(times, n=4)
    return {**counts, "us": middle, "quartiles": [low, high]}


def main() -> None:
    """Print a row for each model, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="*", default=["small"], choices=["small", "large"])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each model")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    host_cuda.install(1)
    gpu: Any = importlib.import_module("gpu")
    accelgrad: Any = importlib.import_module("accelgrad")
    results = {}
    print(f"{'model':20}{'launches':>10}{'products':>10}{'us of the host':>16}  quartiles")
    for name, make in gpu.MODELS.items():
        if ("large" if name in gpu.LARGE else "small") not in options.models:
            continue
        with host_cuda.nothing_runs():
            found = results[name] = measure(make(accelgrad, "gpu"), options.seconds, options.rounds)
        low, high = found["quartiles"]
        row = f"{name:20}{found['launches']:>10}{found['products']:>10}{found['us']:>16.0f}"
        print(f"{row}  {low:.0f} ... {high:.0f}", flush=True)
    if options.json:
        options.json.write_text(
            json.dumps({"machine": gpu.machine("cpu"), "host of a step": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
