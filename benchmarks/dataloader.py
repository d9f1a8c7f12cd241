"""The DataLoader against PyTorch's: six workloads in paired rounds, first-batch latency, CPU, memory,
descriptors.

    python benchmarks/dataloader.py [--quick] [--workloads W1 W3] [--rounds N] [--out FILE]

The contenders of a round run one after the other, in an order that changes from round to round; all have two
persistent, warm workers, except "torch 0 workers".  The first epoch is not timed and compares checksums over
every byte; in the timed ones every page of every batch is touched.  The ratio of a round is the time of a
PyTorch configuration over ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from accelgrad.utils import data as ours  # noqa: E402

PAGE = 4096
OURS = "accelgrad"
DEFAULT, FILES, SERIAL = "torch default", "torch file_system", "torch 0 workers"
OURS_SERIAL = "accelgrad 0 workers"


# --- workloads


class Small:
    """W1: 784 float32 and a label."""

    batch, samples, target = 64, 12_800, {"best": 1.8}

    def __init__(self) -> None:
        self.x = np.random.default_rng(0).random((self.samples, 784), np.float32)

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Any:
        return self.x[index], index % 10


class Fields(Small):
    """W2: a dict of eight scalars and four vectors of length 4."""

    batch, samples, target = 32, 3_200, {DEFAULT: 10.0}

    def __getitem__(self, index: int) -> Any:
        row = self.x[index]
        scalars = {f"s{i}": float(i + index) for i in range(8)}
        return {**scalars, **{f"v{i}": row[4 * i : 4 * i + 4] for i in range(4)}}


class Image(Small):
    """W3: 3 x 224 x 224 float32 and a label."""

    batch, samples, target = 64, 1_280, {"best": 3.0}

    def __init__(self) -> None:
        self.x = np.random.default_rng(0).random((64, 3, 224, 224), np.float32)

    def __getitem__(self, index: int) -> Any:
        return self.x[index % 64], index % 10


class Sequences(Small):
    """W4: int64 of length 16 to 511, padded."""

    batch, samples, target = 64, 12_800, {"best": 2.0}

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.lengths = random.integers(16, 512, self.samples)
        self.tokens = random.integers(0, 30_000, 1 << 16)

    def __getitem__(self, index: int) -> Any:
        return self.tokens[index : index + self.lengths[index]]


class Work(Small):
    """W5: 32 x 32 x 3 uint8, normalised, flipped and cropped in NumPy."""

    batch, samples, target = 64, 6_400, {"best": 1.0}

    def __init__(self) -> None:
        self.x = np.random.default_rng(0).integers(0, 256, (1000, 32, 32, 3), np.uint8)
        self.mean = np.array([0.49, 0.48, 0.45], np.float32)
        self.std = np.array([0.25, 0.24, 0.26], np.float32)

    def __getitem__(self, index: int) -> Any:
        image = (self.x[index % 1000].astype(np.float32) / 255 - self.mean) / self.std
        if index % 2:
            image = image[:, ::-1]
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        top, left = index % 9, index // 9 % 9
        return np.ascontiguousarray(padded[top : top + 32, left : left + 32].transpose(2, 0, 1)), index % 10


class Waiting(Small):
    """W6: two milliseconds of waiting for each sample."""

    batch, samples, target = 8, 320, {DEFAULT: 1.0}

    def __init__(self) -> None:
        self.x = np.zeros((1, 16), np.float32)

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.002)
        return self.x[0], index


WORKLOADS = {"W1": Small, "W2": Fields, "W3": Image, "W4": Sequences, "W5": Work, "W6": Waiting}


def torch_pad(samples: list[np.ndarray]) -> Any:
    """What a PyTorch user writes to pad."""
    import torch

    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(sample) for sample in samples], batch_first=True)


# --- contenders


def make(name: str, workload: str, dataset: Any, persistent: bool = True) -> Any:
    """The loader of a contender."""
    workers = 0 if "0 workers" in name else 2
    options: dict[str, Any] = {"batch_size": dataset.batch, "num_workers": workers}
    if workers:
        options["persistent_workers"] = persistent
    if name.startswith(OURS):
        if workload == "W4":
            options["collate_fn"] = ours.pad_collate(lengths=False)
        return ours.DataLoader(dataset, **options)
    import torch

    torch.multiprocessing.set_sharing_strategy("file_system" if name == FILES else "file_descriptor")
    if workload == "W4":
        options["collate_fn"] = torch_pad
    return torch.utils.data.DataLoader(dataset, **options)


def leaves(batch: Any) -> list[np.ndarray]:
    """The arrays of a batch of either library."""
    if isinstance(batch, dict):
        return [leaf for value in batch.values() for leaf in leaves(value)]
    if isinstance(batch, list | tuple):
        return [leaf for value in batch for leaf in leaves(value)]
    return [batch.array if hasattr(batch, "array") else batch.numpy()]


def checksum(loader: Any) -> tuple[int, int]:
    """Over every byte of every batch, in order."""
    total, batches = 0, 0
    for batch in loader:
        for leaf in leaves(batch):
            content = np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
            total = (total * 31 + int(content.sum(dtype=np.int64))) % (1 << 61)
        batches += 1
    return total, batches


def epoch(loader: Any) -> float:
    """Seconds for one pass that touches every page."""
    start = time.perf_counter()
    touched = 0
    for batch in loader:
        for leaf in leaves(batch):
            touched += int(leaf.reshape(-1).view(np.uint8)[::PAGE].max())
    return time.perf_counter() - start


def workers_of(loader: Any, iterator: Any = None) -> list[int]:
    """The pids of a loader's workers."""
    if hasattr(loader, "_staff"):
        pool = iterator.pool if iterator is not None else loader._staff.idle
        return [handle.pid for handle in pool.handles]
    iterator = iterator if iterator is not None else loader._iterator
    return [worker.pid for worker in iterator._workers]


def compare(workload: str, rounds: int, contenders: list[str]) -> dict[str, Any]:
    """Paired rounds of one workload."""
    dataset = WORKLOADS[workload]()
    loaders = {
        name: make(name, workload, dataset) for name in sorted(contenders, key=lambda n: n.startswith(OURS))
    }
    sums = {name: checksum(loader) for name, loader in loaders.items()}
    if len(set(sums.values())) != 1:
        raise SystemExit(f"{workload}: the contenders' batches differ: {sums}")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for loader in loaders.values():
        epoch(loader)
    for number in range(rounds):
        shift = number % len(contenders)
        for name in contenders[shift:] + contenders[:shift]:
            times[name].append(epoch(loaders[name]))
    result: dict[str, Any] = {
        "about": " ".join((WORKLOADS[workload].__doc__ or "").split()),
        "batch": dataset.batch,
        "samples": len(dataset),
        "checksum": next(iter(sums.values()))[0],
        "milliseconds_per_batch": {
            n: 1000 * statistics.median(t) * dataset.batch / len(dataset) for n, t in times.items()
        },
        "fastest_round": {name: 1000 * min(t) * dataset.batch / len(dataset) for name, t in times.items()},
        "ratios": {},
    }
    rivals = [name for name in contenders if not name.startswith(OURS)]
    if rivals:
        ratios = {name: [a / b for a, b in zip(times[name], times[OURS], strict=True)] for name in rivals}
        ratios["best"] = [min(row) for row in zip(*(ratios[name] for name in rivals), strict=True)]
        result["ratios"] = {
            name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            for name, values in ratios.items()
        }
        result["target"] = WORKLOADS[workload].target
        result["reached"] = all(
            result["ratios"][name]["median"] >= goal for name, goal in result["target"].items()
        )
    for name, loader in loaders.items():
        if name.startswith(OURS):
            loader.close()
    return result


# --- footprint


def pss(pids: list[int]) -> int:
    """Proportional set size of several processes together, in bytes."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def cpu(pids: list[int]) -> float:
    """CPU seconds that the processes have used, by the scheduler's exact account."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def footprint(name: str, workload: str) -> dict[str, Any]:
    """Latency, CPU, memory and descriptors of one contender, alone in its process."""
    dataset = WORKLOADS[workload]()
    if name.startswith("torch"):
        import torch.utils.data  # noqa: F401  the import is not what is measured
    before = len(os.listdir("/proc/self/fd"))
    loader = make(name, workload, dataset, persistent=False)
    start = time.perf_counter()
    next(iter(loader))
    cold = time.perf_counter() - start
    start = time.perf_counter()
    next(iter(loader))
    warm = time.perf_counter() - start
    loader = make(name, workload, dataset)
    epoch(loader)
    iterator = iter(loader)
    pids = [os.getpid(), *workers_of(loader, iterator)]
    used, peak, kept = cpu(pids), 0, []
    for number, _ in enumerate(iterator):
        if number % 8 == 0:
            peak = max(peak, pss(pids))
    used = cpu(pids) - used
    del iterator
    for batch in loader:
        kept.append(batch)
        if len(kept) == 16:
            break
    return {
        "first_batch_cold_seconds": cold,
        "first_batch_warm_seconds": warm,
        "cpu_seconds_per_1000_samples": 1000 * used / len(dataset),
        "peak_pss_megabytes": peak / 2**20,
        "descriptors_with_16_batches": len(os.listdir("/proc/self/fd")) - before,
    }


def footprints(workload: str, contenders: list[str], repeats: int) -> dict[str, Any]:
    """The median of several :func:`footprint`, each in a new process."""
    found: dict[str, Any] = {}
    for name in contenders:
        runs = []
        for _ in range(repeats):
            command = [sys.executable, __file__, "--footprint", name, "--workloads", workload]
            runs.append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            )
        found[name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return found


# --- in memory


def in_memory(rounds: int) -> dict[str, Any]:
    """TensorDataset without workers against taking the same rows from the arrays by hand."""
    x = np.random.default_rng(0).random((20_000, 784), np.float32)
    y = np.arange(20_000)
    order = np.random.default_rng(1).permutation(20_000)
    dataset = ours.TensorDataset(x, y)
    found = {}
    for kind, sampler in (("sequential", None), ("shuffled", order.tolist())):
        loader = ours.DataLoader(dataset, batch_size=256, sampler=sampler)

        def by_hand(kind: str = kind) -> float:
            start, touched = time.perf_counter(), 0
            for at in range(0, 20_000, 256):
                if kind == "sequential":
                    batch = [x[at : at + 256].copy(), y[at : at + 256].copy()]
                else:
                    batch = [x[order[at : at + 256]], y[order[at : at + 256]]]
                for leaf in batch:
                    touched += int(leaf.reshape(-1).view(np.uint8)[::PAGE].max())
            return time.perf_counter() - start

        epoch(loader), by_hand()
        pairs = [(epoch(loader), by_hand()) for _ in range(rounds)]
        ratios = [a / b for a, b in pairs]
        found[kind] = {"ratio_median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    return found


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three rounds, no footprints")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS))
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "results" / "dataloader.json")
    parser.add_argument("--footprint", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.footprint:
        print(json.dumps(footprint(arguments.footprint, arguments.workloads[0])))
        return
    rounds = arguments.rounds or (3 if arguments.quick else 11)
    contenders = [OURS, OURS_SERIAL]
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    if importlib.util.find_spec("torch") is not None:
        import torch

        versions["torch"] = torch.__version__
        contenders += [DEFAULT, FILES, SERIAL]
    report: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "versions": versions,
        "command": "python benchmarks/dataloader.py" + " --quick" * arguments.quick,
        "rounds": rounds,
        "load_at_start": os.getloadavg(),
        "workloads": {},
    }
    for workload in arguments.workloads:
        result = compare(workload, rounds, contenders)
        report["workloads"][workload] = result
        times = "  ".join(f"{name} {value:.3f}" for name, value in result["milliseconds_per_batch"].items())
        print(f"{workload}: ms/batch  {times}")
        print("    fastest round  ", "  ".join(f"{n} {v:.3f}" for n, v in result["fastest_round"].items()))
        for name, ratio in result["ratios"].items():
            print(f"    {name} / ours: {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})")
        if not arguments.quick:
            result["footprint"] = footprints(
                workload, [name for name in contenders if "0 workers" not in name], 3
            )
            for name, values in result["footprint"].items():
                print(f"    {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in values.items()))
    report["in_memory"] = in_memory(rounds)
    print("TensorDataset, 0 workers, against slicing by hand:", json.dumps(report["in_memory"]))
    report["load_at_end"] = os.getloadavg()
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
