"""CuPy itself on a machine without a card: arrays in host memory, kernels compiled by g++ and run.

:func:`install` must be called before anything imports CuPy.  CuPy's extension modules call CUDA's runtime
and driver through tables of function pointers, which this puts others into (runtime.cpp).  What CuPy would
give to NVIDIA's compiler goes to g++, after device.h has explained CUDA's words; our Numba kernels are
compiled by LLVM (kernels_on_host.py); cuBLAS is replaced by blas.cpp, sorting and the solvers by NumPy.
This tests what accelgrad asks of CuPy and what CuPy does with it, and nothing about a card.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import importlib
import importlib.util
import os
import pathlib
import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
CXX = os.environ.get("CXX", "g++")
PINNED = "14.2.0"  # the CuPy whose tables of functions these are

# name: "result (parameters)" as CuPy writes it into its capsules, without the marks that Cython adds
RUNTIME = {
    "deviceSynchronize": "PyObject * ()",
    "memGetInfo": "PyObject * ()",
    "_deviceEnsurePeerAccess": "PyObject * (int)",
    "deviceEnablePeerAccess": "PyObject * (int)",
    "check_status": "PyObject * (int)",
    "deviceGetPCIBusId": "PyObject * (int)",
    "getDeviceProperties": "PyObject * (int)",
    "setDevice": "PyObject * (int)",
    "getDevice": "int ()",
    "getDeviceCount": "int ()",
    "runtimeGetVersion": "int ()",
    "driverGetVersion": "int ()",
    "_getCUDAMajorVersion": "int ()",
    "deviceCanAccessPeer": "int (int, int)",
    "deviceGetAttribute": "int (int, int)",
    "_ensure_context": "PyObject * (void)",
    "malloc": "intptr_t (size_t)",
    "mallocAsync": "intptr_t (size_t, intptr_t)",
    "hostAlloc": "intptr_t (size_t, unsigned int)",
    "free": "PyObject * (intptr_t)",
    "freeAsync": "PyObject * (intptr_t, intptr_t)",
    "freeHost": "PyObject * (intptr_t)",
    "memcpy": "PyObject * (intptr_t, intptr_t, size_t, int)",
    "memcpyAsync": "PyObject * (intptr_t, intptr_t, size_t, int, intptr_t)",
    "memcpyPeer": "PyObject * (intptr_t, int, intptr_t, int, size_t)",
    "memcpyPeerAsync": "PyObject * (intptr_t, int, intptr_t, int, size_t, intptr_t)",
    "memset": "PyObject * (intptr_t, int, size_t)",
    "memsetAsync": "PyObject * (intptr_t, int, size_t, intptr_t)",
    "pointerGetMemoryType": "int (intptr_t)",
    "pointerGetAttributes": "PyObject * (intptr_t)",
    "streamCreate": "intptr_t ()",
    "streamCreateWithFlags": "intptr_t (unsigned int)",
    "streamCreateWithPriority": "intptr_t (unsigned int, int)",
    "streamDestroy": "PyObject * (intptr_t)",
    "streamQuery": "PyObject * (intptr_t)",
    "streamSynchronize": "PyObject * (intptr_t)",
    "streamWaitEvent": "PyObject * (intptr_t, intptr_t)",
    "streamGetPriority": "int (intptr_t)",
    "streamIsCapturing": "int (intptr_t)",
    "eventCreate": "intptr_t ()",
    "eventCreateWithFlags": "intptr_t (unsigned int)",
    "eventDestroy": "PyObject * (intptr_t)",
    "eventQuery": "PyObject * (intptr_t)",
    "eventSynchronize": "PyObject * (intptr_t)",
    "eventRecord": "PyObject * (intptr_t, intptr_t)",
    "eventElapsedTime": "float (intptr_t, intptr_t)",
}
DRIVER = {
    "ctxGetCurrent": "intptr_t ()",
    "streamGetCtx": "intptr_t (intptr_t)",
    "moduleLoad": "intptr_t (PyObject *)",
    "moduleLoadData": "intptr_t (PyObject *)",
    "moduleUnload": "PyObject * (intptr_t)",
    "moduleGetFunction": "intptr_t (intptr_t, PyObject *)",
    "funcGetAttribute": "int (int, intptr_t)",
    "funcSetAttribute": "PyObject * (intptr_t, int, int)",
    "occupancyMaxActiveBlocksPerMultiprocessor": "int (intptr_t, int, size_t)",
    "occupancyMaxPotentialBlockSize": "PyObject * (intptr_t, size_t, int)",
    "launchKernel": "PyObject * (intptr_t" + ", unsigned int" * 7 + ", intptr_t, intptr_t, intptr_t)",
    "launchCooperativeKernel": "PyObject * (intptr_t" + ", unsigned int" * 7 + ", intptr_t, intptr_t)",
}
NAMES_OF_C = ("malloc", "free", "memcpy", "memset")  # runtime.cpp calls these malloc_ and so on
CTYPES: dict[str, Any] = {
    "PyObject *": ctypes.py_object,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "int": ctypes.c_int,
    "unsigned int": ctypes.c_uint,
    "float": ctypes.c_float,
}


# --- building


def site_packages() -> pathlib.Path:
    """Where CuPy is installed; found without importing it."""
    spec = importlib.util.find_spec("cupy")
    if spec is None or spec.origin is None:
        raise RuntimeError(f"CuPy is not installed: pip install cupy-cuda13x=={PINNED}")
    return pathlib.Path(spec.origin).parents[1]


@functools.cache
def build_folder(*suffixes: str) -> pathlib.Path:
    """What was built from the files with these suffixes (.cpp and .h), kept by their content:
    ``CUPY_ON_HOST_BUILD``, else in the folder for temporary files.
    """
    digest = hashlib.sha256(str(site_packages()).encode())
    for file in sorted(HERE.iterdir()):
        if file.suffix in (suffixes or (".cpp", ".h")):
            digest.update(file.read_bytes())
    base = os.environ.get("CUPY_ON_HOST_BUILD") or f"{tempfile.gettempdir()}/cupy-on-host-{os.getuid()}"
    folder = pathlib.Path(base) / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def kernel_folder() -> pathlib.Path:
    """Compiled kernels and the precompiled header that they need: they know nothing of the .cpp files."""
    return build_folder(".h")


def run_compiler(*arguments: Any) -> None:
    done = subprocess.run([CXX, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise RuntimeError("g++ refused: " + "\n".join(errors[:8] or done.stderr.splitlines()[-8:]))


RUNTIME_PARTS = ("runtime", "threads", "detector", "libdevice")
KERNEL_OPTIONS = ("-std=c++17", "-O1", "-fPIC", "-w", "-fno-strict-aliasing")


def includes() -> list[str]:
    root = site_packages() / "cupy/_core/include"
    parts = ("", "cupy/_cccl/thrust", "cupy/_cccl/libcudacxx", "cupy/_cccl/cub")
    return [f"-I{root / part}" for part in parts]


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """One process at a time."""
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def missing_blas() -> str:
    """C for the functions of cuBLAS that CuPy wants and blas.cpp does not have: they say "not supported"."""
    (extension,) = (site_packages() / "cupy_backends/cuda/libs").glob("cublas.*.so")
    listed = subprocess.run(["nm", "-D", "--undefined-only", extension], capture_output=True, text=True)
    wanted = set(re.findall(r"(cublas\w+)@", listed.stdout))
    source = (HERE / "blas.cpp").read_text()
    for letter in "SD":
        source += "".join(f" cublas{letter}{name}(" for name in re.findall(r"cublas##letter##(\w+)", source))
    return "".join(
        f'extern "C" int {name}() {{ return 15; }}\n'
        for name in sorted(wanted)
        if not re.search(rf"\b{name}\(", source)
    )


def build() -> pathlib.Path:
    """Build what is not there yet: the runtime, the two libraries, the header."""
    folder = build_folder()
    with alone(folder):
        if (folder / "done").exists():
            return folder
        python = sysconfig.get_path("include")
        run_compiler(
            "-std=c++17", "-O2", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", f"-I{python}", f"-I{HERE}",
            *(HERE / f"{name}.cpp" for name in RUNTIME_PARTS), "-o", folder / "runtime.so",
        )  # fmt: skip
        rest = folder / "rest.cpp"
        rest.write_text(missing_blas())
        versions = folder / "cublas.map"
        versions.write_text("libcublas.so.13 { global: *; };\n")
        run_compiler(
            "-O2", "-fPIC", "-shared", "-Wl,-soname,libcublas.so.13", f"-Wl,--version-script={versions}",
            HERE / "blas.cpp", rest, "-o", folder / "libcublas.so.13",
        )  # fmt: skip
        rest.write_text('extern "C" int cublasLtCreate() { return 15; }\n')
        run_compiler(
            "-fPIC", "-shared", "-Wl,-soname,libcublasLt.so.13", rest, "-o", folder / "libcublasLt.so.13"
        )
        (folder / "done").touch()
    return folder


def build_header() -> None:
    """Precompile the header of all kernels."""
    folder = kernel_folder()
    with alone(folder):
        if (folder / "done").exists():
            return
        for name in ("device.h", "kernel.h", "cuda_bf16.h"):
            (folder / name).write_text((HERE / name).read_text())
        run_compiler(
            *(*KERNEL_OPTIONS, "-x", "c++-header", folder / "device.h"),
            *("-o", folder / "device.h.gch", f"-I{folder}", *includes()),
        )
        (folder / "done").touch()


# --- kernels

KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s+)?(\w+)\s*\(")
EXPRESSION = re.compile(r"^// kernel (\w+) is (.+)$", re.MULTILINE)
_libraries: dict[bytes, Any] = {}


def kernel_address(source: bytes, name: str | bytes) -> int:
    """The address of the HostKernel of this name: compiles the source that CuPy generated, once."""
    name = name.decode() if isinstance(name, bytes) else name
    library = _libraries.get(source)
    if library is None:
        file = machine_code(source) if source.startswith(b"\x7fELF") else compiled(source.decode())
        library = _libraries[source] = ctypes.CDLL(str(file))
    return ctypes.addressof(ctypes.c_char.in_dll(library, f"host_kernel_{name}"))


def machine_code(image: bytes) -> pathlib.Path:
    """The file of a kernel of ours, which was compiled before (kernels_on_host.py)."""
    folder = kernel_folder()
    target = folder / f"{hashlib.sha256(image).hexdigest()[:24]}.so"
    if not target.exists():
        handle, made = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as stream:
            stream.write(image)
        os.replace(made, target)
    return target


def compiled(source: str) -> pathlib.Path:
    """The shared library of a CUDA source."""
    folder = kernel_folder()
    target = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:24]}.so"
    if target.exists():
        return target
    names = sorted(set(KERNEL.findall(source)))
    barriers = "true" if re.search(r"__sync|__shfl", source) else "false"
    loops = "true" if barriers == "false" and "CUPY_FOR" in source and "threadIdx" not in source else "false"
    text = re.sub(
        r"#include\s*<cupy/(?:complex|carray|float16|bfloat16|atomics)\.cuh>", "", source
    )  # in device.h
    text = re.sub(
        r"extern\s+__shared__\s+([\w\s]+?)\s*(\w+)\[\]\s*;", r"\1* \2 = (\1*)host_dynamic_shared;", text
    )
    text = '#include "device.h"\n' + text + "\n"
    chosen = EXPRESSION.findall(source) or [(name, name) for name in names]
    text += "".join(f"HOST_KERNEL({name}, {barriers}, {loops}, {what})\n" for name, what in chosen)
    handle, made = tempfile.mkstemp(suffix=".cpp", dir=folder)
    os.write(handle, text.encode())
    os.close(handle)
    try:
        run_compiler(*KERNEL_OPTIONS, "-shared", f"-I{folder}", *includes(), made, "-o", f"{made}.so")
        os.replace(f"{made}.so", target)  # whole or not at all, also with two processes at it
    finally:
        os.unlink(made)
    return target


# --- in place of CuPy's functions


def parse(signature: str) -> tuple[str, list[str]]:
    """Result and parameters of a capsule's signature, without Cython's marks."""
    result, _, rest = signature.partition("(")
    parameters = [one.strip() for one in rest.rstrip(")").split(",")]
    kept = [one for one in parameters if one and "__pyx_skip_dispatch" not in one and "opt_args" not in one]
    result = "PyObject *" if "__pyx_obj_" in result else result.strip()  # one of CuPy's own classes
    return result, kept


def replace(module: Any, wanted: dict[str, str], library: Any) -> None:
    """Put our functions into the table that CuPy's other modules read, and among the module's names."""
    name_of, new = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_New
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    for name, expected in wanted.items():
        signature = name_of(module.__pyx_capi__[name])
        if parse(signature.decode()) != parse(expected):
            raise RuntimeError(f"this CuPy's {name} is {signature.decode()!r}; written for CuPy {PINNED}")
        ours = getattr(library, f"{name}_" if name in NAMES_OF_C else name)
        address = ctypes.cast(ours, ctypes.c_void_p).value
        _kept.append((signature, module.__pyx_capi__[name]))
        module.__pyx_capi__[name] = new(address, signature, None)
        result, parameters = parse(expected)
        parameters = [one for one in parameters if one != "void"]
        prototype = ctypes.PYFUNCTYPE(CTYPES[result], *[CTYPES[one] for one in parameters], ctypes.c_int)
        if hasattr(module, name):
            setattr(module, name, python_form(prototype(address)))


_kept: list[Any] = []


def python_form(function: Any) -> Callable[..., Any]:
    """The function for callers in Python, who know nothing of Cython's last parameter."""

    def call(*arguments: Any) -> Any:
        return function(*arguments, 0)

    return call


def install(devices: int = 2) -> None:
    """Let ``import cupy`` from here on give a CuPy that believes to have ``devices`` cards."""
    os.environ["CUPY_ACCELERATORS"] = ""  # CUB and cuTENSOR are machine code for cards
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
    folder = build()
    build_header()
    for name in ("libcublasLt.so.13", "libcublas.so.13"):
        ctypes.CDLL(str(folder / name), ctypes.RTLD_GLOBAL)
    library = ctypes.PyDLL(str(folder / "runtime.so"), ctypes.RTLD_GLOBAL)
    runtime = importlib.import_module("cupy_backends.cuda.api.runtime")
    driver = importlib.import_module("cupy_backends.cuda.api.driver")
    library.host_configure.argtypes = [ctypes.c_int, ctypes.py_object, ctypes.py_object]
    library.host_configure.restype = None
    library.host_configure(devices, runtime.PointerAttributes, kernel_address)
    replace(runtime, RUNTIME, library)
    replace(driver, DRIVER, library)
    cupy: Any = importlib.import_module("cupy")
    if cupy.__version__ != PINNED:
        raise RuntimeError(f"CuPy {cupy.__version__} is installed; these tests are written for {PINNED}")
    compiler: Any = importlib.import_module("cupy.cuda.compiler")
    compiler._get_nvrtc_version = lambda: (13, 0)
    compiler._preprocess = lambda *arguments: ""
    compiler._compile_using_nvrtc_no_warning = take_source
    replace_sorting(importlib.import_module("cupy.cuda.thrust"))
    replace_solvers(cupy)
    install_kernels()


def take_source(
    source: Any,
    options: Any = (),
    arch: Any = None,
    filename: str = "",
    name_expressions: Any = None,
    *arguments: Any,
    **more: Any,
) -> tuple[bytes, dict[str, str] | None]:
    """In place of NVIDIA's compiler: the source is its own machine code until a kernel of it is asked for.

    Instances of templates, which the caller names by expressions, are noted at its end.
    """
    text = source.decode() if isinstance(source, bytes) else source
    names = {one: f"instance_{number}" for number, one in enumerate(name_expressions or ())}
    text += "".join(f"\n// kernel {name} is {one}" for one, name in names.items()) + "\n" * bool(names)
    return text.encode(), names or None


def launches() -> int:
    """How many kernels have run, cuBLAS's not among them."""
    return counted(runtime_library().host_launches)


def products() -> int:
    """How many products cuBLAS was asked for."""
    return counted(blas_library().host_products)


def counted(function: Any) -> int:
    function.restype = ctypes.c_long
    return int(function())


@contextlib.contextmanager
def nothing_runs() -> Iterator[None]:
    """Inside, kernels, products, large copies and fills are counted and not carried out: what a program takes
    is the time of its host.  Values are rubbish.
    """
    runtime_library().host_drop(1)
    blas_library().host_drop_products(1)
    try:
        yield
    finally:
        runtime_library().host_drop(0)
        blas_library().host_drop_products(0)


def blas_library() -> Any:
    """What was built from blas.cpp."""
    return ctypes.CDLL(str(build_folder() / "libcublas.so.13"))


def runtime_library() -> Any:
    """What was built from runtime.cpp and its neighbours."""
    return ctypes.PyDLL(str(build_folder() / "runtime.so"))


# --- what CuPy has from libraries for the card


def memory(address: int, dtype: Any, shape: Any) -> np.ndarray:
    """NumPy's view of a piece of "device" memory."""
    count = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return (
        np.frombuffer((ctypes.c_char * max(count, 1)).from_address(address), np.uint8, count)
        .view(dtype)
        .reshape(shape)
    )


def replace_sorting(thrust: Any) -> None:
    """NumPy's stable sorts in place of Thrust's, which are machine code for cards."""

    def sort(dtype: Any, data: int, keys: int, shape: Any) -> None:
        memory(data, dtype, tuple(shape)).sort(axis=-1, kind="stable")

    def argsort(dtype: Any, places: int, data: int, keys: int, shape: Any) -> None:
        found = memory(data, dtype, tuple(shape)).argsort(axis=-1, kind="stable")
        memory(places, np.intp, tuple(shape))[...] = found

    def lexsort(dtype: Any, places: int, keys: int, count: int, length: int) -> None:
        memory(places, np.intp, (length,))[...] = np.lexsort(memory(keys, dtype, (count, length)))

    thrust.sort, thrust.argsort, thrust.lexsort = sort, argsort, lexsort


def replace_solvers(cupy: Any) -> None:
    """NumPy's LAPACK in place of cuSOLVER; where a matrix is singular, NaN in place of the error, as CuPy
    has it.
    """

    def on_host(name: str) -> Callable[..., Any]:
        function = getattr(np.linalg, name)

        def call(*arguments: Any, **options: Any) -> Any:
            for one in arguments:
                if isinstance(one, np.ndarray):
                    raise TypeError(f"Unsupported type {type(one)}")
            host = [one.get() if isinstance(one, cupy.ndarray) else one for one in arguments]
            try:
                found = function(*host, **options)
            except np.linalg.LinAlgError as error:
                if "ingular" not in str(error) and "positive definite" not in str(error):
                    raise
                found = np.full_like(host[-1], np.nan)
            if isinstance(found, tuple):
                return tuple(cupy.asarray(one) for one in found)
            return cupy.asarray(found)

        return functools.wraps(getattr(cupy.linalg, name))(call)

    for name in ("cholesky", "qr", "svd", "eigh", "eigvalsh", "inv", "pinv", "solve", "det", "slogdet"):
        call = on_host(name)
        for module in (cupy.linalg, *map(importlib.import_module, SOLVERS)):
            if hasattr(module, name):
                setattr(module, name, call)


SOLVERS = (
    "cupy.linalg._decomposition",
    "cupy.linalg._solve",
    "cupy.linalg._norms",
    "cupy.linalg._eigenvalue",
)


def install_kernels() -> None:
    """Our Numba kernels as machine code for the host; without numba-cuda they say that they are missing."""
    if importlib.util.find_spec("numba_cuda") is not None:
        importlib.import_module("kernels_on_host").install()
        return
    launch: Any = importlib.import_module("accelgrad.kernels.cuda.launch")

    def refuse(*arguments: Any) -> None:
        raise RuntimeError("numba-cuda, which compiles the kernels, is not installed")

    launch.load_cubin = refuse
