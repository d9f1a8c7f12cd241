"""``doctor``: what is installed, what is used, and what to do: OK, WARN or FIX, with the exact line."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accelgrad import kernels
from accelgrad.arrays import backend

__all__ = ["Finding", "configure", "examine", "run"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    status: str  # OK, WARN (something optional is missing) or FIX (something does not work)
    subject: str
    detail: str
    remedy: str = ""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``doctor``."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 if something has to be fixed."""
    findings = list(examine())
    if options.json:
        print(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        width = max(len(one.subject) for one in findings)
        for one in findings:
            print(f"{one.status:4} {one.subject:{width}}  {one.detail}")
            if one.remedy:
                print(f"     {'':{width}}  -> {one.remedy}")
    return 1 if any(one.status == "FIX" for one in findings) else 0


def examine() -> Iterator[Finding]:
    """All findings, most basic first."""
    yield Finding("OK", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _package("accelgrad")
    yield from _numpy()
    yield from _numba()
    yield _threads()
    yield _cache()
    yield _gpu()
    for name, extra, use in (
        ("matplotlib", "", "figures"),
        ("tqdm", "", "progress bars"),
        ("ml_dtypes", "", "bfloat16"),
        ("cloudpickle", "", "loader workers with lambdas and notebook classes"),
        ("PIL", "data", "image files and PIL transforms"),
        ("safetensors", "io", "state dicts in .safetensors files"),
    ):
        yield _optional(name, extra, use)
    yield _shared_memory()
    ours = os.environ
    for name in (
        "ACCELGRAD_DEVICE",
        "ACCELGRAD_KERNELS",
        "ACCELGRAD_HOME",
        "ACCELGRAD_SHM_LIMIT",
        "ACCELGRAD_KEEP_MEMORY",
    ):
        if ours.get(name):
            yield Finding("OK", name, ours[name])


def _package(name: str) -> Iterator[Finding]:
    import accelgrad

    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = f"{accelgrad.__version__} (from a source folder, not installed)"
    yield Finding("OK", name, f"{version} in {os.path.dirname(accelgrad.__file__)}")


def _numpy() -> Iterator[Finding]:
    version = tuple(int(part) for part in np.__version__.split(".")[:2])
    if version < (2, 0) or version >= (2, 6):
        yield Finding("FIX", "numpy", f"{np.__version__} is not supported", 'pip install "numpy>=2.0,<2.6"')
    else:
        blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
        yield Finding(
            "OK", "numpy", f"{np.__version__}, BLAS: {blas.get('name', 'unknown')} {blas.get('version', '')}"
        )


def _numba() -> Iterator[Finding]:
    try:
        version = importlib.metadata.version("numba")
    except importlib.metadata.PackageNotFoundError:
        yield Finding("WARN", "numba", "not installed: NumPy does all the work", "pip install numba")
        return
    names = list(kernels.report("cpu"))
    broken = {reason for (kind, _), reason in kernels.missing.items() if kind == "cpu"}
    if broken:
        yield Finding(
            "FIX", "numba", f"{version}: {'; '.join(sorted(broken))}", "pip install --upgrade numba"
        )
    else:
        yield Finding("OK", "numba", f"{version}, kernels: {kernels.mode()}, {len(names)} names on the CPU")


def _threads() -> Finding:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding(
        "OK", "threads", f"{kernels.get_num_threads()} for our kernels, {available} cores to run on"
    )


def _cache() -> Finding:
    folder = os.environ.get("NUMBA_CACHE_DIR")
    if folder and not os.access(folder, os.W_OK):
        return Finding(
            "WARN",
            "compile cache",
            f"NUMBA_CACHE_DIR={folder} cannot be written",
            "name a writable folder, or unset it",
        )
    return Finding("OK", "compile cache", folder or "beside the kernels, or in the user's cache folder")


def _gpu() -> Finding:
    from accelgrad.arrays import gpu

    status = gpu.status()
    if status.ok:
        return Finding("OK", "gpu", status.message)
    return Finding("WARN", "gpu", f"not used ({status.code})", " ".join(status.message.split()))


def _optional(name: str, extra: str, use: str) -> Finding:
    package = {"PIL": "pillow"}.get(name, name)
    try:
        return Finding("OK", package, importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        line = f'pip install "accelgrad[{extra}]"' if extra else f"pip install {package}"
        return Finding("WARN", package, f"not installed: no {use}", line)


def _shared_memory() -> Finding:
    free: Any = None
    if hasattr(os, "statvfs") and os.path.isdir("/dev/shm"):
        stat = os.statvfs("/dev/shm")
        free = stat.f_bavail * stat.f_frsize / 2**20
    if free is not None and free < 64 and not hasattr(os, "memfd_create"):
        return Finding(
            "WARN", "shared memory", f"{free:.0f} MiB in /dev/shm", "give the container more: --shm-size=1g"
        )
    how = "memfd (no limit by /dev/shm)" if hasattr(os, "memfd_create") else tempfile.gettempdir()
    return Finding("OK", "shared memory", f"the loader uses {how}")


def show_config() -> None:
    """Print, name by name, which kernel is used on the CPU and why; ``accelgrad.show_config()``."""
    where = backend.default_device()
    print(f"kernels: {kernels.mode()}, threads: {kernels.get_num_threads()}, default device: {where}")
    for name, used, why in kernels.report("cpu"):
        print(f"  {name:28} {used:13} {why}")
