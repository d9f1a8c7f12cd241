"""Our Numba CUDA kernels as machine code for the CPU, in place of a card's.

Numba makes LLVM's intermediate code for them, as it would for NVIDIA's compiler.  Here that is told of
another machine: indices, barriers and shuffles become calls of threads.cpp, shared arrays the memory of the
running block, libdevice's functions those of libdevice.cpp.  LLVM compiles it, and the result takes the way
of a cubin: it is kept by launch.py, loaded by CuPy's RawModule and launched with CuPy's parameters.

Inside of :func:`watched` every load and store calls the detector first (detector.cpp).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import host_cuda

HERE = pathlib.Path(__file__).resolve().parent
BITS = {"half": 16, "bfloat": 16, "float": 32, "double": 64, "ptr": 64}
CALLED = ("llvm.", "host_", "__nv_")  # what a finished kernel may call
GAP = 128  # bytes between shared arrays, so that a step over the edge of one is seen

# In place of what NVIDIA's compiler has built in.
PRELUDE = """
%uint3 = type {{ i32, i32, i32 }}
{indices}
declare i64 @host_shuffle(i32, i32, i32, i32, i32, i32)
declare void @host_block_barrier(i32)
declare void @host_warp_barrier(i32, i32)
define linkonce_odr {{i32, i1}} @host_shuffle_pair(i32 %mask, i32 %mode, i32 %value, i32 %lane, i32 %clamp,
                                                 i32 %site) alwaysinline {{
  %both = call i64 @host_shuffle(i32 %mask, i32 %mode, i32 %value, i32 %lane, i32 %clamp, i32 %site)
  %lower = trunc i64 %both to i32
  %upper = lshr i64 %both, 32
  %inside = trunc i64 %upper to i1
  %half = insertvalue {{i32, i1}} undef, i32 %lower, 0
  %pair = insertvalue {{i32, i1}} %half, i1 %inside, 1
  ret {{i32, i1}} %pair
}}
"""
INDICES = {"tid": "threadIdx", "ctaid": "blockIdx", "ntid": "blockDim", "nctaid": "gridDim"}
INDEX = """
define linkonce_odr i32 @host_{name}_{axis}() alwaysinline {{
  %value = load i32, ptr getelementptr (%uint3, ptr @{variable}, i32 0, i32 {number})
  ret i32 %value
}}"""


def prelude() -> str:
    indices = [f"@{variable} = external global %uint3" for variable in INDICES.values()]
    for name, variable in INDICES.items():
        for number, axis in enumerate("xyz"):
            indices.append(INDEX.format(name=name, axis=axis, variable=variable, number=number))
    return PRELUDE.format(indices="\n".join(indices))


def declarations() -> list[str]:
    """What a module may call."""
    indices = [f"declare i32 @host_{name}_{axis}()" for name in INDICES for axis in "xyz"]
    shuffle = f"declare {{i32, i1}} @host_shuffle_pair({', '.join(['i32'] * 6)})"
    barriers = ["declare void @host_block_barrier(i32)", "declare void @host_warp_barrier(i32, i32)"]
    return [*indices, shuffle, *barriers]


# --- from Numba's code to the host's


@dataclasses.dataclass
class Shared:
    """The arrays that a block's threads share: where each begins, and the length of all."""

    places: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    size: int = 0

    def add(self, name: str, size: int, alignment: int) -> None:
        start = -(-self.size // max(alignment, 16)) * max(alignment, 16)
        self.places[name] = (start, size)
        self.size = start + size + GAP


@dataclasses.dataclass
class Sites:
    """Where in the source the barriers and accesses of one kernel stand; a site is a number in this list."""

    names: list[str] = dataclasses.field(default_factory=list)

    def add(self, name: str) -> int:
        self.names.append(name)
        return len(self.names) - 1


def size_of(kind: str) -> int:
    """The bytes of a value of this type of LLVM's."""
    kind = kind.strip()
    if kind in BITS:
        return BITS[kind] // 8
    if found := re.fullmatch(r"i(\d+)", kind):
        return -(-int(found[1]) // 8)
    if found := re.fullmatch(r"[\[<](\d+) x (.+)[\]>]", kind):
        return int(found[1]) * size_of(found[2])
    raise ValueError(f"LLVM's type {kind!r} is not known here")


SHARED = re.compile(
    r'^@"?([\w.$]+)"? = (?:\w+ )*addrspace\(3\) (?:\w+ )*global (\[.+\]) undef(?:, align (\d+))?'
)
INDEX_CALL = re.compile(r'@"?llvm\.nvvm\.read\.ptx\.sreg\.(tid|ctaid|ntid|nctaid)\.([xyz])"?')


class Rewriter:
    """Numba's modules of one kernel as text for the host."""

    def __init__(self) -> None:
        self.shared, self.sites, self.lines = Shared(), Sites(), Lines("")

    def module(self, text: str) -> str:
        """One module with its machine, indices, barriers, shuffles and shared arrays replaced."""
        self.lines = Lines(text)
        lines = [one for line in text.splitlines() if (one := self.line(line)) is not None]
        return "\n".join([*lines, *declarations()])

    def line(self, line: str) -> str | None:
        if line.startswith(("target ", '@"llvm.used"', "!nvvm")):
            return None
        if line.startswith("declare") and "llvm.nvvm." in line:
            return None
        if found := SHARED.match(line):
            self.shared.add(found[1], size_of(found[2]), int(found[3] or 16))
            return f'@"{found[1]}" = external global {found[2]}'
        if line.startswith("define linkonce_odr"):
            line = re.sub(r"\)(?=[^)]*$)", ") alwaysinline", line, count=1)
        line = line.replace(" addrspace(3)", "").replace("addrspacecast", "bitcast")
        line = INDEX_CALL.sub(r"@host_\1_\2", line)
        if "llvm.nvvm." in line:
            line = self.meeting(line)
        return line

    def meeting(self, line: str) -> str:
        """A barrier or a shuffle, which gets the number of its site."""
        site = self.sites.add(self.lines.of(line))
        line = line.replace('@"llvm.nvvm.barrier0"()', f"@host_block_barrier(i32 {site})")
        for old, new in ((r"bar\.warp\.sync", "warp_barrier"), (r"shfl\.sync\.i32", "shuffle_pair")):
            line = re.sub(rf'@"llvm\.nvvm\.{old}"\((.*?)\)', rf"@host_{new}(\1, i32 {site})", line)
        if found := re.search(r"llvm\.nvvm\.[\w.]+", line):
            raise NotImplementedError(f"{found[0]} has no counterpart in kernels_on_host.py")
        return line


class Lines:
    """The places in the source that the notes ``!dbg`` of a module stand for."""

    def __init__(self, text: str) -> None:
        forms = (r"(!DI\w+\(.*\))", r"!\{\s*(!DI\w+\(.*\))\s*\}")  # LLVM's, and llvmlite's
        self.nodes: dict[str, str] = {}
        for form in forms:
            self.nodes.update(re.findall(rf"^(!\d+) = (?:distinct )?{form}$", text, re.MULTILINE))

    def of(self, line: str) -> str:
        """ "file:line", or where it was called from; "?" without notes."""
        found = re.search(r"!dbg (!\d+)", line)
        node = self.nodes.get(found[1], "") if found else ""
        where = re.search(r"line: (\d+)", node)
        return f"{self.file(node)}:{where[1]}" if where else "?"

    def file(self, node: str) -> str:
        for _ in range(20):  # from the innermost block outwards to its file
            if found := re.search(r'filename: "([^"]+)"', node):
                return pathlib.PurePath(found[1]).name
            found = re.search(r"\b(?:file|scope): (!\d+)", node)
            node = self.nodes.get(found[1], "") if found else ""
        return "?"


# --- the detector


NAME = r'[%@](?:[\w.$-]+|"[^"]+")'
LOAD = re.compile(r"^\s+" + NAME + r" = load (?:atomic )?(?:volatile )?(.+?), (?=ptr )")
STORE = re.compile(r"^\s+store (?:atomic )?(?:volatile )?(\w+|<[^>]+>|\[[^]]+\]|\{[^}]+\}) .+, (?=ptr )")
ATOMIC = re.compile(r"^\s+" + NAME + r" = (?:atomicrmw \w+|cmpxchg(?: weak)?) (?=ptr )")
OWN = re.compile(rf"^\s+({NAME}) = (alloca|getelementptr|select|bitcast|phi)\b(.*)$")
KINDS = {"read": 0, "write": 1, "atomic": 2, "float": 4}


def operand(text: str) -> str:
    """The pointer that ``text`` begins with: ``ptr %x`` or ``ptr getelementptr (...)``."""
    if found := re.match(rf"ptr {NAME}(?=[,\s]|$)", text):
        return found[0]
    depth = 0
    for end, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == ")" and not depth:
            return text[: end + 1]
    raise ValueError(f"no pointer in {text!r}")


def own_memory(text: str) -> set[str]:
    """The pointers into a thread's own memory, which no other thread knows."""
    derived = {}
    for line in text.splitlines():
        if found := OWN.match(line):
            derived[found[1]] = (found[2], re.findall(rf"ptr ({NAME})", found[3]))
    own = {name for name, (how, _) in derived.items() if how == "alloca"}
    while True:
        more = {
            name
            for name, (how, sources) in derived.items()
            if name not in own and how in ("getelementptr", "bitcast") and sources and sources[0] in own
        }
        if not more:
            return own
        own |= more


def watch(text: str, sites: Sites) -> str:
    """The module with a call of the detector before every access to memory that threads share."""
    lines, own = Lines(text), own_memory(text)
    made: list[str] = []
    for line in text.splitlines():
        if found := LOAD.match(line):
            kind = "float" if re.search(r"\b(float|double)\b", found[1]) else "read"
            made += hook(line, found.end(), found[1], KINDS[kind], sites, lines, own)
        elif found := STORE.match(line):
            made += hook(line, found.end(), found[1], KINDS["write"], sites, lines, own)
        elif found := ATOMIC.match(line):
            rest = line[found.end() :]
            kind = rest[len(operand(rest)) + 2 :].split(" ", 1)[0]
            made += hook(line, found.end(), kind, KINDS["atomic"], sites, lines, own)
        elif re.search(r"^\s+(?:\S+ = load|store) |call void @llvm\.mem(set|cpy|move)", line):
            raise NotImplementedError(f"the detector does not know {line.strip()[:80]}")
        made.append(line)
    return "\n".join([*made, "declare void @host_access(ptr, i64, i64, i32, i32)"])


def hook(line: str, start: int, kind: str, what: int, sites: Sites, lines: Lines, own: set[str]) -> list[str]:
    """The call before one access; none for a thread's own memory and the indices."""
    pointer = operand(line[start:])
    name = pointer.removeprefix("ptr ")
    if name in own or any(f"@{variable}" in name for variable in INDICES.values()):
        return []
    size = size_of(kind)
    found = re.search(r"align (\d+)", line[start:])
    alignment = int(found[1]) if found else size
    note = re.search(r", !dbg !\d+", line)
    given = f"{pointer}, i64 {size}, i64 {alignment}, i32 {what}, i32 {sites.add(lines.of(line))}"
    return [f"  call void @host_access({given}){note[0] if note else ''}"]


# --- compilation


@functools.cache
def target_machine() -> Any:
    """LLVM's compiler for any processor of this kind."""
    binding: Any = importlib.import_module("llvmlite.binding")
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(opt=2, reloc="pic", codemodel="default")


def parameter_types(text: str, entry: str) -> list[str]:
    """The types of a kernel's parameters, as the optimised module's text has them."""
    found = re.search(
        rf'^define [^@]*@(?:"{re.escape(entry)}"|{re.escape(entry)})\((.*?)\)[^()]*{{', text, re.MULTILINE
    )
    if not found:
        raise ValueError(f"no function {entry}")
    return [one.split()[0] for one in found[1].split(",") if one.strip()]


def caller(entry: str, types: list[str]) -> str:
    """The function that takes a kernel's parameters as the driver has them: pointers to the values."""
    text = ["define void @host_call(ptr %arguments) {"]
    for i, kind in enumerate(types):
        text += [
            f"  %place{i} = getelementptr ptr, ptr %arguments, i64 {i}",
            f"  %at{i} = load ptr, ptr %place{i}",
            f"  %value{i} = load {kind}, ptr %at{i}, align 1",
        ]
    values = ", ".join(f"{kind} %value{i}" for i, kind in enumerate(types))
    return "\n".join([*text, f'  call void @"{entry}"({values})', "  ret void", "}"])


def string(name: str, value: str) -> str:
    data = value.encode() + b"\0"
    escaped = "".join(f"\\{byte:02X}" for byte in data)
    return f'@{name} = internal constant [{len(data)} x i8] c"{escaped}"'


def description(entry: str, name: str, rewriter: Rewriter, most_threads: int, watching: bool) -> str:
    """The HostKernel of kernel.h, and the block's memory."""
    shared, sites = rewriter.shared, rewriter.sites
    lines = [
        string("host_name", name),
        f"@host_memory = internal global [{max(shared.size, 16)} x i8] undef, align 128",
    ]
    for array, (start, _) in shared.places.items():
        lines.append(f'@"{array}" = internal alias i8, ptr getelementptr (i8, ptr @host_memory, i64 {start})')
    pairs = ", ".join(f"i32 {start}, i32 {size}" for start, size in shared.places.values()) or "i32 0, i32 0"
    lines.append(f"@host_arrays = internal constant [{2 * max(len(shared.places), 1)} x i32] [{pairs}]")
    texts = list(dict.fromkeys(sites.names))
    lines += [string(f"host_text_{i}", text) for i, text in enumerate(texts)]
    table = "null"
    if watching:
        where = ", ".join(f"ptr @host_text_{texts.index(one)}" for one in sites.names) or "ptr null"
        lines.append(f"@host_sites = internal constant [{max(len(sites.names), 1)} x ptr] [{where}]")
        table = "@host_sites"
    lines += [
        f'@"host_kernel_{entry}" = global {{ ptr, i8, i8, ptr, ptr, i64, ptr, i32, i32, ptr }} {{',
        "  ptr @host_call, i8 1, i8 0, ptr @host_name, ptr @host_memory,"
        f" i64 {shared.size}, ptr @host_arrays, i32 {len(shared.places)}, i32 {most_threads}, ptr {table} }}",
    ]
    return "\n".join(lines)


def intermediate(program: Any, char: str, notes: bool) -> tuple[list[str], str]:
    """Numba's modules for a kernel, and its name in them; ``notes`` say which line made what."""
    launch: Any = importlib.import_module("accelgrad.kernels.cuda.launch")
    compiler: Any = importlib.import_module("numba.cuda.compiler")
    library, _ = compiler._compile_pyfunc_with_fixup(
        program.make(launch.NUMBA_TYPES[char]),
        program.types(char),
        cc=(9, 0),
        lineinfo=notes,
        device=False,
        abi="numba",
        lto=False,
        **program.options,
    )
    return [str(one) for one in library.modules], library._entry_name


def compile_kernel(program: Any, char: str, watching: bool) -> tuple[bytes, str]:
    """A shared library with the HostKernel of a program, and the kernel's name."""
    binding: Any = importlib.import_module("llvmlite.binding")
    modules, entry = intermediate(program, char, watching)
    rewriter, machine = Rewriter(), target_machine()
    whole = binding.parse_assembly(prelude())
    for text in modules:
        whole.link_in(binding.parse_assembly(rewriter.module(text)))
    options = binding.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    builder = binding.create_pass_builder(machine, options)
    first = binding.create_new_module_pass_manager()
    first.add_always_inliner_pass()
    first.add_global_dead_code_eliminate_pass()
    first.add_sroa_pass()
    first.add_simplify_cfg_pass()
    first.add_instruction_combine_pass()
    first.add_sroa_pass()
    first.run(whole, builder)
    text = str(whole)
    check_parameters(program, char, parameter_types(text, entry))
    if watching:
        text = watch(text, rewriter.sites)
    bounds = program.options.get("launch_bounds")
    most_threads = bounds[0] if isinstance(bounds, tuple) else bounds or 0
    # The shared arrays are declared until here and defined now, as parts of one piece.
    for array in rewriter.shared.places:
        text = re.sub(rf'^@"?{re.escape(array)}"? = external .*$', "", text, flags=re.MULTILINE)
    text += "\n" + description(entry, f"{program.name}-{char}", rewriter, most_threads, watching)
    text += "\n" + caller(entry, parameter_types(text, entry))
    done = binding.parse_assembly(text)
    done.verify()
    builder.getModulePassManager().run(done, builder)
    for function in done.functions:
        if function.is_declaration and not function.name.startswith(CALLED):
            raise NotImplementedError(f"{program.name} calls {function.name}, which is not known here")
    return linked(machine.emit_object(done)), entry


def check_parameters(program: Any, char: str, types: list[str]) -> None:
    """What launch.py hands over must be what the kernel takes."""
    report: Any = importlib.import_module("kernel_report")
    expected, found = report.expected_parameters(program, char), [size_of(one) for one in types]
    if found != expected:
        raise TypeError(f"{program.name} takes parameters of {found} bytes, is given {expected}")


def linked(code: bytes) -> bytes:
    """The shared library of one object file."""
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        source, target = pathlib.Path(folder) / "kernel.o", pathlib.Path(folder) / "kernel.so"
        source.write_bytes(code)
        host_cuda.run_compiler("-shared", "-nostdlib", source, "-o", target)
        return target.read_bytes()


# --- in place of the card's


@dataclasses.dataclass
class Mode:
    watching: bool = False


MODE = Mode()


def install() -> None:
    """Let the kernels of accelgrad be compiled for the host."""
    sys.path.append(str(HERE.parent))
    importlib.import_module("kernel_report").without_a_driver()
    launch: Any = importlib.import_module("accelgrad.kernels.cuda.launch")

    def cubin(program: Any, char: str, arch: int) -> tuple[bytes, str, str]:
        code, entry = compile_kernel(program, char, MODE.watching)
        return code, entry, ""

    launch.Program.cubin = cubin
    of_the_sources = launch.fingerprint

    def fingerprint() -> str:
        """Other than a card's, so that neither takes the other's kept code."""
        text = f"host {of_the_sources()} {harness()} {MODE.watching}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    launch.fingerprint = fingerprint


@functools.cache
def harness() -> str:
    """A number that changes with this file, what it shares with C++, and LLVM."""
    binding: Any = importlib.import_module("llvmlite.binding")
    digest = hashlib.sha256(repr(binding.llvm_version_info).encode())
    for name in ("kernels_on_host.py", "kernel.h"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


ORDERS = {"forwards": 0, "backwards": 1, "mixed": 2}


@contextlib.contextmanager
def in_order(order: str, seed: int = 0) -> Iterator[None]:
    """Threads and blocks that could all go on do so forwards, backwards, or as chance will have it."""
    library = host_cuda.runtime_library()
    library.host_order(ORDERS[order], seed)
    try:
        yield
    finally:
        library.host_order(0, 0)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Our kernels run under the detector: an access that is wrong raises RuntimeError from its launch.

    Memory comes from the "driver" and not from CuPy's pool, so that every array ends where it ends.
    """
    launch: Any = importlib.import_module("accelgrad.kernels.cuda.launch")
    cupy: Any = importlib.import_module("cupy")
    allocator = cupy.cuda.get_allocator()
    before = {one: code_of(one) for one in launch.PROGRAMS}
    try:
        MODE.watching = True
        cupy.cuda.set_allocator(None)
        for one in before:
            vars(one).update({name: {} for name in before[one]})
        yield
    finally:
        MODE.watching = False
        cupy.cuda.set_allocator(allocator)
        for one in launch.PROGRAMS:  # files of kernels that were imported meanwhile have added theirs
            vars(one).update(before.get(one) or {name: {} for name in code_of(one)})


def code_of(program: Any) -> dict[str, Any]:
    """Where a program keeps what it has loaded."""
    return {name: value for name, value in vars(program).items() if name in ("_loaded", "_ready")}


@contextlib.contextmanager
def measured() -> Iterator[list[tuple[str, str, str, int, int, int]]]:
    """Inside of :func:`watched`: kernel, site, memory, accesses of warps, sectors or turns taken, the least
    possible; filled in at the end.
    """
    import ctypes

    library = host_cuda.runtime_library()
    library.host_measured.restype = ctypes.c_char_p
    found: list[tuple[str, str, str, int, int, int]] = []
    library.host_measure(1)
    try:
        yield found
    finally:
        for line in library.host_measured().decode().splitlines():
            kernel, site, memory, *numbers = line.split("\t")
            accesses, taken, least = map(int, numbers)
            found.append((kernel, site, memory, accesses, taken, least))
        library.host_measure(0)
