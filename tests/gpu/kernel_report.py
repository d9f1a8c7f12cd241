"""Compile every CUDA kernel for several architectures and report registers, stack, spills and shared memory.

python tests/gpu/kernel_report.py [75 80 90 100]

Needs numba-cuda with its compiler wheels, but neither a card nor a driver.  Exit status 1 where a kernel
cannot be compiled, keeps local variables in (slow) memory, has no registers for the largest block, or expects
other arguments than it is given.
"""

from __future__ import annotations

import importlib
import re
import struct
import sys
import types
from typing import Any

ARCHITECTURES = (75, 80, 90, 100)
REGISTERS = 65536  # of one multiprocessor, for all threads of a block


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
    if parameters(cubin) != expected_parameters(program, char):
        raise TypeError(f"takes {parameters(cubin)}, is given {expected_parameters(program, char)}")

    def number(pattern: str) -> int:
        return max((int(one) for one in re.findall(pattern, log)), default=0)

    return {
        "registers": number(r"Used (\d+) registers"),
        "stack": max(number(r"(\d+) bytes stack frame"), number(r"(\d+) bytes cumulative stack")),
        "spills": number(r"(\d+) bytes spill (?:stores|loads)"),
        "shared": number(r"(\d+) bytes smem"),
        "bytes": len(cubin),
    }


def parameters(cubin: bytes) -> list[int]:
    """The sizes in bytes of a kernel's parameters, as its machine code expects them.

    They stand in the ELF section .nv.info.<kernel>: entries of a format byte, an attribute byte and a
    16-bit size; 0x17 is a parameter, whose ordinal is a 16-bit number at 4 and whose size are the upper 14
    bits of the word at 8.
    """
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    step, count, of_names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + i * step) for i in range(count)]
    found: dict[int, int] = {}
    for name, _, _, _, start, length in sections:
        if not cubin.startswith(b".nv.info.", sections[of_names][4] + name):
            continue
        place = start
        while place < start + length:
            form, attribute, size = struct.unpack_from("<BBH", cubin, place)
            place += 4
            if form == 4:  # the others carry their value in the place of the size
                if attribute == 0x17:
                    ordinal, word = struct.unpack_from("<4xH2xI", cubin, place)
                    found[ordinal] = word >> 18
                place += size
    return [found[ordinal] for ordinal in sorted(found)]


def expected_parameters(program: Any, char: str) -> list[int]:
    """The sizes of what launch.Program hands over: see the letters of its signature."""
    sizes = {"P": 8, "L": 8, "B": 8, "i": 4, "q": 8, "d": 8, "t": 4 if char == "f" else 8}
    return [sizes[letter] for letter in program.signature]


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
                fault = ""
                if found["stack"] > 0 or found["spills"] > 0:
                    fault = "  <- stack or spills"
                elif found["registers"] * program.threads > REGISTERS:
                    fault = f"  <- no room for {program.threads} threads"
                failed += bool(fault)
                row = "".join(f"{found[column]:>10}" for column in columns)
                print(f"{program.name:32}{char:>5}{arch:>5}{row}{fault}")
    print(f"{failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main([int(one) for one in sys.argv[1:]] or list(ARCHITECTURES)) else 0)
