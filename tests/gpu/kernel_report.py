"""Compile every CUDA kernel for several architectures and report registers, stack, spills and shared memory.

python tests/gpu/kernel_report.py [75 80 90 100]

Needs numba-cuda with its compiler wheels, but neither a card nor a driver.  Exit status 1 where a kernel
cannot be compiled, or keeps local variables in (slow) memory.
"""

from __future__ import annotations

import importlib
import re
import sys
import types
from typing import Any

ARCHITECTURES = (75, 80, 90, 100)


def programs() -> list[Any]:
    """Every kernel of the table of contents."""
    from accelgrad.kernels.cuda import CONTENTS

    without_a_driver()
    for file in sorted({file for file, _ in CONTENTS.values()}):
        importlib.import_module(f"accelgrad.kernels.cuda.{file}")
    from accelgrad.kernels.cuda.launch import PROGRAMS

    return PROGRAMS


def without_a_driver() -> None:
    """Numba asks the driver for the card's architecture before it types a device function; here there is
    none.

    What is typed does not depend on the answer: the machine code is made later, for the architecture of
    the report.
    """
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    dispatcher.get_current_device = lambda: types.SimpleNamespace(compute_capability=(7, 5))


def measure(program: Any, char: str, arch: int) -> dict[str, int]:
    """What the linker says of one kernel."""
    cubin, _, log = program.cubin(char, arch)

    def number(pattern: str) -> int:
        return max((int(one) for one in re.findall(pattern, log)), default=0)

    return {
        "registers": number(r"Used (\d+) registers"),
        "stack": max(number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes cumulative stack")),
        "spills": number(r"(\d+) bytes spill (?:stores|loads)"),
        "shared": number(r"(\d+) bytes smem"),
        "bytes": len(cubin),
    }


def double_operations(program: Any) -> int:
    """How many instructions of the float32 kernel compute in float64: a constant of the wrong type is
    enough.
    """
    from accelgrad.kernels.cuda.launch import NUMBA_TYPES, cuda

    code, _ = cuda.compile(
        program.make(NUMBA_TYPES["f"]),
        program.types("f"),
        cc=(9, 0),
        output="ptx",
        abi="numba",
        device=False,
        **program.options,
    )
    return len(re.findall(r"\.f64", code if isinstance(code, str) else code.decode()))


def main(architectures: list[int]) -> int:
    """Print the table; the number of kernels that fail."""
    columns = ("registers", "stack", "spills", "shared", "bytes")
    print(f"{'kernel':32}{'type':>5}{'sm':>5}" + "".join(f"{column:>10}" for column in columns))
    failed = 0
    for program in programs():
        for char in program.dtypes:
            for arch in architectures:
                try:
                    found = measure(program, char, arch)
                except Exception as error:
                    failed += 1
                    print(f"{program.name:32}{char:>5}{arch:>5}  {type(error).__name__}: {str(error)[:300]}")
                    continue
                bad = found["stack"] > 0 or found["spills"] > 0
                failed += bad
                row = "".join(f"{found[column]:>10}" for column in columns)
                print(f"{program.name:32}{char:>5}{arch:>5}{row}" + ("  <- stack or spills" if bad else ""))
    print(f"{failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main([int(one) for one in sys.argv[1:]] or list(ARCHITECTURES)) else 0)
