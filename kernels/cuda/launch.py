"""How the CUDA kernels are compiled, kept on disk, and launched on CuPy's current stream.

A kernel is a Python function over flat pointers and numbers.  Numba compiles it, nvJitLink makes the
machine code of one architecture (a cubin, so no driver has to understand a newer PTX), the file is kept,
and CuPy loads and launches it: at CuPy's launch cost, on CuPy's stream.  With NUMBA_ENABLE_CUDASIM=1 the
same functions run in Numba's simulator on NumPy arrays, which is how they are tested where there is no card.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib
import math
import os
import pathlib
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types

from accelgrad import kernels
from accelgrad.kernels.cpu.compile import cache_folder, sources

__all__ = [
    "PROGRAMS",
    "SIMULATED",
    "Program",
    "Unavailable",
    "array_module",
    "cuda",
    "cuda_kernel",
    "on_card",
    "room",
]

SIMULATED = bool(getattr(numba.config, "ENABLE_CUDASIM", 0))


def import_numba_cuda() -> Any:
    """``numba.cuda``: the one place that imports it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba-cuda 0.30 uses what NumPy 2.5 calls deprecated
        if not SIMULATED and not hasattr(np, "row_stack"):
            # NumPy 2.5 dropped a name that numba-cuda 0.30 still looks up while it is imported.
            old_name = "row_stack"
            setattr(np, old_name, np.vstack)
            try:
                importlib.import_module("numba.cuda.np.arrayobj")
            finally:
                delattr(np, old_name)
        return importlib.import_module("numba.cuda")


cuda: Any = import_numba_cuda()

NUMBA_TYPES: dict[str, Any] = {"f": types.float32, "d": types.float64}
LETTERS = {
    "P": None,  # pointer to the element type
    "t": None,  # number of the element type
    "L": types.CPointer(types.int64),
    "B": types.CPointer(types.uint8),
    "i": types.int32,
    "q": types.int64,
    "d": types.float64,
}
NUMBERS: dict[str, Any] = {"i": np.int32, "q": np.int64, "d": np.float64}
POINTED: dict[str, Any] = {"L": np.int64, "B": np.uint8}


class Unavailable(RuntimeError):
    """A kernel that cannot be compiled or loaded here; the array module's own way is taken instead."""


PROGRAMS: list[Program] = []
"""Every kernel, for the report on registers and stack."""


class Program:
    """One kernel function for every element type and card.

    ``make(T)`` gives the function for the Numba type ``T``; ``signature`` has a letter an argument: P a
    pointer to the element type, t a number of it, L and B pointers to int64 and uint8, i, q and d numbers.
    ``threads`` is the size of the largest block: so many must find room for their registers, as the report
    of tests/gpu checks.  As a launch bound it stands among the options only where the compiler would take too
    many: told a bound, it spills registers to fit more blocks.
    The function gets the arguments from number ``gathered`` on as one tuple.
    """

    def __init__(
        self,
        make: Callable[[Any], Callable[..., None]],
        signature: str,
        *,
        dtypes: str = "fd",
        threads: int = 512,
        gathered: int | None = None,
        **options: Any,
    ) -> None:
        self.make, self.signature, self.dtypes = make, signature, dtypes
        self.threads, self.gathered = threads, gathered
        self.options = options
        self.name = make.__name__
        self._loaded: dict[Any, Any] = {}
        self._ready: dict[str, Callable[..., None]] = {}  # where all cards are of one kind
        self._numbers: dict[str, list[Numbers | None]] = {}
        PROGRAMS.append(self)

    def types(self, char: str) -> Any:
        """Numba's signature for elements of this type."""
        element = NUMBA_TYPES[char]
        special = {"P": types.CPointer(element), "t": element}
        kinds = [LETTERS[letter] or special[letter] for letter in self.signature]
        if self.gathered is not None:
            kinds[self.gathered :] = [types.Tuple(kinds[self.gathered :])]
        return types.void(*kinds)

    def cubin(self, char: str, arch: int) -> tuple[bytes, str, str]:
        """The machine code, the name of its entry and the linker's words on registers and stack."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code, _ = cuda.compile(
                self.make(NUMBA_TYPES[char]),
                self.types(char),
                cc=(arch // 10, arch % 10),
                output="ltoir",
                abi="numba",
                device=False,
                **self.options,
            )
        cubin, log = link(code, arch)
        entry = re.findall(rb"\.text\.([A-Za-z_][\w$]*)\0", cubin)[0].decode()
        return cubin, entry, log

    def load(self, char: str) -> Callable[..., None]:
        """The function that launches the kernel with elements of this type on the current card.

        Unavailable where that cannot be.
        """
        if SIMULATED:
            function = cuda.jit(self.make(NUMBA_TYPES[char]))
            if self.gathered is None:
                return lambda grid, block, args: function[grid, block](*args)
            alone = self.gathered
            return lambda grid, block, args: function[grid, block](*args[:alone], args[alone:])
        cupy = sys.modules["cupy"]
        try:
            arch = int(cupy.cuda.Device().compute_capability)
            return load_cubin(cupy, self, char, arch)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            kernels.missing[("cuda", self.name)] = reason
            raise Unavailable(reason) from error

    def prepare(self, char: str) -> Callable[..., None]:
        """Load the kernel, once for every kind of card: for callers that write before they launch.

        Unavailable where that cannot be; the reason is remembered, for to find it took a second.
        """
        key = (char, card_kind())
        found = self._loaded.get(key)
        if found is None:
            try:
                found = self.load(char)
            except Unavailable as error:
                found = error
            self._loaded[key] = found
        if isinstance(found, Unavailable):
            raise found.with_traceback(None)
        if one_kind():
            self._ready[char] = found
        return found

    def __call__(self, grid: Any, threads: Any, char: str, *args: Any) -> None:
        """Launch ``grid`` blocks of ``threads``; arrays go by their memory, None as a null pointer."""
        function = self._ready.get(char) or self.prepare(char)
        of_type = self._numbers.get(char)
        if of_type is None:
            of_type = self._numbers[char] = [numbers_of(letter, char) for letter in self.signature]
        if SIMULATED:
            if math.prod(threads if type(threads) is tuple else (threads,)) > self.threads:
                raise ValueError(f"{self.name} may be launched with blocks of {self.threads} threads at most")
            element = np.dtype(char).type
            pointed = [POINTED.get(letter, element) for letter in self.signature]
            values = [
                flat(one, kind) if made is None else made[one]
                for made, one, kind in zip(of_type, args, pointed, strict=True)
            ]
        else:
            values = [
                made[one] if made is not None else NULL if one is None else one
                for made, one in zip(of_type, args, strict=True)
            ]
        function(
            grid if type(grid) is tuple else (grid,),
            threads if type(threads) is tuple else (threads,),
            tuple(values),
        )


NULL = np.intp(0)


class Numbers(dict[Any, Any]):
    """Python numbers as numbers of one size, which a launch needs; those that come again are made once."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def __missing__(self, number: Any) -> Any:
        made = self.kind(number)
        if len(self) < 4096:
            self[number] = made
        return made


@functools.cache
def numbers_of(letter: str, char: str) -> Numbers | None:
    """How arguments of this letter are passed; None: by their memory."""
    if letter in "PLB":
        return None
    return Numbers(NUMBERS.get(letter, np.dtype(char).type))


def flat(array: Any, element: Any) -> Any:
    """The memory of an array as the simulator wants it: one-dimensional."""
    if array is None:
        return np.empty(0, element)
    steps = [(extent - 1) * step for extent, step in zip(array.shape, array.strides, strict=True)]
    count = sum(steps) // array.itemsize + 1 if array.size else 0
    return np.lib.stride_tricks.as_strided(array, (count,), (array.itemsize,))


def link(code: bytes, arch: int) -> tuple[bytes, str]:
    """Machine code for ``sm_<arch>`` from Numba's intermediate code, and what the linker says of it."""
    linker = importlib.import_module("cuda.bindings.nvjitlink")
    handle = linker.create(3, [f"-arch=sm_{arch}", "-lto", "-verbose"])

    def text(size: Any, get: Any) -> str:
        log = bytearray(size(handle))
        get(handle, log)
        return log.decode(errors="replace").strip("\0 \n")

    try:
        linker.add_data(handle, linker.InputType.LTOIR, code, len(code), "kernel")
        linker.complete(handle)
        cubin = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, cubin)
        return bytes(cubin), text(linker.get_info_log_size, linker.get_info_log)
    except Exception as error:
        raise Unavailable(text(linker.get_error_log_size, linker.get_error_log) or str(error)) from error
    finally:
        linker.destroy(handle)


@functools.cache
def fingerprint() -> str:
    """A number that changes with any of these files and with the compiler."""
    digest = hashlib.sha256(f"{cuda.__name__} {numba.__version__} {compiler_version()}".encode())
    for file in [*sorted(pathlib.Path(__file__).parent.glob("*.py")), *sources()]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def compiler_version() -> str:
    """The version of numba-cuda."""
    metadata = importlib.import_module("importlib.metadata")
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("numba-cuda")
    return "none"


def load_cubin(cupy: Any, program: Program, char: str, arch: int) -> Callable[..., None]:
    """Load the kernel from the disk, compiling it first if nobody has."""
    folder = pathlib.Path(cache_folder() or own_folder()) / f"cuda-{fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    found = sorted(folder.glob(f"{program.name}-{char}-sm{arch}-*.cubin"))
    if found:
        file = found[0]
    else:
        cubin, entry, _ = program.cubin(char, arch)
        number = hashlib.sha256(entry.encode()).hexdigest()[:8]
        file = folder / f"{program.name}-{char}-sm{arch}-{number}.cubin"
        write_whole(folder / f"{number}.entry", entry.encode())
        write_whole(file, cubin)
    number = file.stem.rpartition("-")[2]
    entry = (folder / f"{number}.entry").read_text()
    return cupy.RawModule(path=str(file)).get_function(entry)


def write_whole(file: pathlib.Path, content: bytes) -> None:
    """Write a file that others find whole or not at all, also where several processes are at it."""
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    os.replace(name, file)


@functools.cache
def own_folder() -> str:
    """Where there is no folder to keep things in: one of this process, which goes with it.

    CuPy reads a file again when a second card wants the kernel.
    """
    folder = tempfile.mkdtemp(prefix="accelgrad-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


# --- for the kernels


@functools.cache
def capabilities() -> list[str]:
    """The compute capability of every card."""
    cupy = sys.modules["cupy"]
    return [cupy.cuda.Device(i).compute_capability for i in range(cupy.cuda.runtime.getDeviceCount())]


def card_kind() -> str:
    """The compute capability of the current card: machine code for one kind does not run on another."""
    if SIMULATED:
        return "simulated"
    found = capabilities()
    return found[0] if len(found) == 1 else found[sys.modules["cupy"].cuda.runtime.getDevice()]


@functools.cache
def one_kind() -> bool:
    """Whether what was loaded for one card runs on all."""
    return SIMULATED or len(set(capabilities())) == 1


@functools.cache
def can_launch() -> bool:
    """Whether CuPy can load machine code."""
    return hasattr(sys.modules.get("cupy"), "RawModule")


def on_card(*arrays: Any, contiguous: bool = True) -> bool:
    """Tell whether these are float32 or float64 arrays of one type, in index order, below 2^31 elements.

    They lie on the card.
    """
    kind = arrays[0].dtype
    if kind.char not in "fd":
        return False
    wanted = array_type()
    for x in arrays:
        if type(x) is not wanted or x.size >= 2**31:
            return False
        if (x.dtype is not kind and x.dtype != kind) or (contiguous and not x.flags.c_contiguous):
            return False
    return True


def array_module() -> Any:
    """CuPy; NumPy in the simulator."""
    return np if SIMULATED else sys.modules["cupy"]


@functools.cache
def array_type() -> Any:
    """The type of arrays that a kernel takes; one that no array has where CuPy cannot load machine code."""
    return np.ndarray if SIMULATED else sys.modules["cupy"].ndarray if can_launch() else Unavailable


def room(like: Any, shape: Any, dtype: Any = None) -> Any:
    """Uninitialised memory beside ``like``."""
    return array_type()(shape, like.dtype if dtype is None else dtype)


def cuda_kernel(
    name: str, *, accepts: Callable[..., bool], faster: Callable[..., bool] = kernels.always
) -> Any:
    """Register a CUDA kernel of this name; one that cannot be loaded answers NotImplemented."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except Unavailable:
                return NotImplemented

        return kernels.kernel(name, "cuda", accepts=accepts, faster=faster)(call)

    return decorate
