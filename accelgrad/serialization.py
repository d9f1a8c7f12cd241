"""save and load: checkpoints of tensors, numbers and strings in nested dicts and lists.

No file can run code when it is loaded.  There are three formats:

* a file whose name ends in ``.safetensors`` is a flat dict of tensors in that format (extra ``io``);
* a file of any other name is an npz archive: one array per tensor, and a JSON text that says how they are
  nested;
* PyTorch's own zip files (``.pt``, ``.pth``) are read without PyTorch, by an unpickler that knows tensors and
  containers and refuses everything else.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from accelgrad.arrays import backend, dtypes
from accelgrad.core.tensor import Size, Tensor, wrap

__all__ = ["load", "save"]

File = str | os.PathLike[str] | IO[bytes]

STRUCTURE = "structure.json"
FORMAT = "accelgrad checkpoint"
VERSION = 1


def save(obj: Any, f: File) -> None:
    """Write ``obj`` to a file, given by its name or as an open binary file.

    ``obj`` is a tensor, an array, a number, a string, bytes, None, a dtype, a device, a shape, or a dict,
    list, tuple or set of such things, nested to any depth.  A tensor that occurs twice is stored once.
    A named file appears, or replaces an older one, only when it is complete: a crash destroys no checkpoint.

    TypeError for any other object, since loading it would have to run code: save ``model.state_dict()``, not
    the model.  TypeError too if a ``.safetensors`` file is to hold anything but a flat dict of tensors.

    >>> import accelgrad, io
    >>> file = io.BytesIO()
    >>> accelgrad.save({"weight": accelgrad.Tensor([1.0, 2.0]), "epoch": 3}, file)
    >>> _ = file.seek(0)
    >>> accelgrad.load(file)
    {'weight': tensor([1., 2.]), 'epoch': 3}
    """
    if _is_name(f):
        name = os.fspath(f)  # type: ignore[arg-type]
        write = _write_safetensors if str(name).endswith(".safetensors") else _write_archive
        with _replacing(Path(name)) as file:
            write(obj, file)
    else:
        _write_archive(obj, f)  # type: ignore[arg-type]


def load(
    f: File, map_location: Any = None, *, weights_only: bool | None = None, mmap: bool | None = None
) -> Any:
    """Read what :func:`save` has written, or PyTorch's ``save``, from a file name or an open binary file.

    Every tensor goes to the device that it was saved from if that can be used, else to the CPU.
    ``map_location`` chooses another one: a device for all tensors, a dict from saved devices to others, or a
    function ``(tensor, saved_device) -> tensor`` that is given each tensor on the CPU.  ``weights_only`` and
    ``mmap`` are accepted and change nothing: code is never loaded.

    RuntimeError names a file that is damaged, that is no checkpoint, or that would have to run code;
    FileNotFoundError if there is no such file.

    >>> import accelgrad, io
    >>> file = io.BytesIO()
    >>> accelgrad.save([accelgrad.ones(2), "two ones"], file)
    >>> _ = file.seek(0)
    >>> accelgrad.load(file, map_location="cpu")
    [tensor([1., 1.]), 'two ones']
    """
    name = os.fspath(f) if _is_name(f) else getattr(f, "name", "the open file")  # type: ignore[arg-type]
    try:
        if _is_name(f):
            with open(name, "rb") as file:
                return _read(file, str(name), map_location)
        return _read(f, str(name), map_location)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, IndexError, json.JSONDecodeError) as error:
        raise RuntimeError(f"load: {name} is damaged or not a checkpoint ({error})") from error


def _read(file: IO[bytes], name: str, map_location: Any) -> Any:
    """Find out the format of a file from its first bytes and entries, and read it."""
    start = file.read(16)
    file.seek(-len(start), io.SEEK_CUR)
    if start[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if STRUCTURE in names:
                return _read_archive(archive, name, map_location)
            for entry in names:
                if entry.endswith("/data.pkl") or entry == "data.pkl":
                    return _TorchReader(archive, entry.removesuffix("data.pkl"), name, map_location).read()
            if names and all(entry.endswith(".npy") for entry in names):
                raise RuntimeError(f"load: {name} is a plain npz file: numpy.load reads it")
        raise RuntimeError(f"load: {name} is a zip file, but not a checkpoint")
    if name.endswith(".safetensors") or start[8:9] == b"{":
        return _read_safetensors(file, name, map_location)
    if start[:1] == b"\x80":
        raise RuntimeError(
            f"load: {name} is a bare pickle (or a PyTorch file from before version 1.6),"
            " which could run code on loading."
            " Save it again with a current PyTorch, or as .safetensors"
        )
    if not start:
        raise RuntimeError(f"load: {name} is empty")
    raise RuntimeError(f"load: {name} is damaged or not a checkpoint: it begins with {start[:8]!r}")


def _is_name(f: Any) -> bool:
    """Tell whether a file is given by its name."""
    return isinstance(f, str | os.PathLike)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path``, which takes its place when everything has been written."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's files are for the owner alone.
        with contextlib.suppress(OSError):
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    """Return the permissions that this process withholds from new files; reading means setting them."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- our own archive


def _write_archive(obj: Any, file: IO[bytes]) -> None:
    """Write ``obj`` as an npz archive with its structure in JSON."""
    arrays: list[np.ndarray] = []
    # The id of each tensor -> its array's number, so that one that occurs twice is stored once.
    known: dict[int, tuple[int, Any]] = {}
    structure = {"format": FORMAT, "version": VERSION, "content": _describe(obj, arrays, known, "")}
    structure["bfloat16"] = [n for n, array in enumerate(arrays) if array.dtype.name == "bfloat16"]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(STRUCTURE, json.dumps(structure))
        for number, array in enumerate(arrays):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as entry:
                plain = array.view(np.uint16) if number in structure["bfloat16"] else array
                np.lib.format.write_array(entry, plain, allow_pickle=False)


def _describe(value: Any, arrays: list[np.ndarray], known: dict[int, tuple[int, Any]], path: str) -> Any:
    """Describe ``value`` for JSON: plain values as they are, everything else as {"kind": ...}.

    Arrays are added to ``arrays`` and described by their number.  ``path`` says in an error where the value
    stands in the whole.
    """
    # Values that JSON has too.
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if np.isfinite(value) else {"kind": "float", "value": repr(value)}

    # Arrays, and what belongs to them.
    if isinstance(value, Tensor):
        entry = {
            "kind": "tensor",
            "array": _store(value, value.xp.to_host(value.array), arrays, known),
        }
        if value.is_cuda:
            entry["device"] = str(value.device)
        if value.requires_grad:
            entry["requires_grad"] = True
        return entry
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(
                f"save: the array at {path or 'the top'} holds Python objects, which are never loaded back"
            )
        return {"kind": "array", "array": _store(value, value, arrays, known)}
    if isinstance(value, np.generic):
        return {"kind": "scalar", "array": _store(value, np.asarray(value), arrays, known)}
    if isinstance(value, dtypes.dtype):
        return {"kind": "dtype", "name": value.name}
    if isinstance(value, Size):
        return {"kind": "size", "items": [int(extent) for extent in value]}

    # Containers.
    if isinstance(value, Mapping):
        pairs = [
            [_describe(key, arrays, known, f"{path}.keys"), _describe(one, arrays, known, f"{path}[{key!r}]")]
            for key, one in value.items()
        ]
        kind = "ordered" if isinstance(value, OrderedDict) else "dict"
        return {"kind": kind, "items": pairs}
    if isinstance(value, list | tuple | set | frozenset):
        kind = next(one.__name__ for one in (list, tuple, set, frozenset) if isinstance(value, one))
        items = [_describe(one, arrays, known, f"{path}[{place}]") for place, one in enumerate(value)]
        return {"kind": kind, "items": items}

    # Other values of Python's; an int of another class, such as an IntEnum, becomes an int.
    if isinstance(value, bytes):
        return {"kind": "bytes", "array": _store(value, np.frombuffer(value, dtype=np.uint8), arrays, known)}
    if isinstance(value, complex):
        return {"kind": "complex", "value": repr(value)}
    if isinstance(value, backend.Device):
        return {"kind": "device", "name": str(value)}
    if isinstance(value, int):
        return int(value)

    hint = ""
    if hasattr(value, "state_dict"):
        hint = "; save its state_dict() and load that into a new one"
    raise TypeError(
        f"save: cannot store a {type(value).__module__}.{type(value).__qualname__} at {path or 'the top'}:"
        f" only tensors, arrays, numbers, strings and containers of them{hint}"
    )


def _store(owner: Any, array: np.ndarray, arrays: list[np.ndarray], known: dict[int, tuple[int, Any]]) -> int:
    """Add the array of ``owner`` to ``arrays``, unless it is there already; return its number."""
    if id(owner) not in known:
        # The owner is kept alive: otherwise the next one might get its id.
        known[id(owner)] = (len(arrays), owner)
        arrays.append(np.require(array, requirements="C"))
    return known[id(owner)][0]


def _read_archive(archive: zipfile.ZipFile, name: str, map_location: Any) -> Any:
    """Read an archive of :func:`_write_archive`."""
    # Is it whole, ours, and of a version that is known here?
    broken = archive.testzip()
    if broken is not None:
        raise RuntimeError(f"load: {name} is damaged: the checksum of {broken} is wrong")
    structure = json.loads(archive.read(STRUCTURE))
    if structure.get("format") != FORMAT:
        raise RuntimeError(f"load: {name} is not an {FORMAT}")
    if structure["version"] > VERSION:
        raise RuntimeError(
            f"load: {name} was written by a newer accelgrad (format {structure['version']},"
            f" this one reads {VERSION})"
        )

    # Each array is read when it is first named, and one array is one tensor.
    arrays: dict[int, np.ndarray] = {}
    tensors: dict[int, Any] = {}

    def array_of(number: int) -> np.ndarray:
        """Return the array of this number."""
        if number not in arrays:
            with archive.open(f"{number}.npy") as entry:
                arrays[number] = np.lib.format.read_array(entry, allow_pickle=False)
            # The npy format knows NumPy's own types only: bfloat16 is stored as integers of 16 bits.
            if number in structure.get("bfloat16", ()):
                arrays[number] = arrays[number].view(dtypes.bfloat16.numpy)
        return arrays[number]

    def build(value: Any) -> Any:
        """Make the value that :func:`_describe` has described."""
        if not isinstance(value, dict):
            return value
        kind = value["kind"]
        if kind == "tensor":
            number = value["array"]
            if number not in tensors:
                made = _placed(array_of(number), value.get("device", "cpu"), map_location)
                tensors[number] = made.requires_grad_(value.get("requires_grad", False))
            return tensors[number]
        if kind == "array":
            return array_of(value["array"])
        if kind == "scalar":
            return array_of(value["array"])[()]
        if kind == "bytes":
            return array_of(value["array"]).tobytes()
        if kind in ("dict", "ordered"):
            pairs = ((build(key), build(one)) for key, one in value["items"])
            return OrderedDict(pairs) if kind == "ordered" else dict(pairs)
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](build(one) for one in value["items"])
        if kind == "float":
            return float(value["value"])
        if kind == "complex":
            return complex(value["value"])
        if kind == "dtype":
            return dtypes.as_dtype(value["name"])
        if kind == "device":
            return backend.Device(value["name"])
        raise RuntimeError(f"load: {name} holds a {kind!r}, which this version does not know")

    return build(structure["content"])


_SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "size": Size,
}  # fmt: skip


def _placed(array: np.ndarray, location: str, map_location: Any) -> Tensor:
    """Make a tensor on the device that ``map_location`` chooses; by default where it was saved from."""
    if callable(map_location):
        made = wrap(array)
        answer = map_location(made, location)
        return made if answer is None else answer
    if isinstance(map_location, Mapping):
        location = str(map_location.get(location, location))
    elif map_location is not None:
        location = str(map_location)
    try:
        xp = backend.namespace(location)
    except RuntimeError:
        if map_location is not None:
            raise
        xp = backend.CPU
    return wrap(xp.from_host(array), xp)


# --- safetensors


def _safetensors() -> Any:
    """Import the package safetensors; RuntimeError with the way to get it if it is missing."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise RuntimeError(
            "the .safetensors format needs the package safetensors: pip install 'accelgrad[io]';"
            " any other ending takes the format of accelgrad itself"
        ) from error
    return safetensors


def _write_safetensors(obj: Any, file: IO[bytes]) -> None:
    """Write a flat dict of tensors and arrays in the safetensors format."""
    if not isinstance(obj, Mapping) or not all(isinstance(key, str) for key in obj):
        raise TypeError(
            "save: a .safetensors file holds a flat dict of tensors with string keys; use another ending"
        )
    arrays = {}
    for key, value in obj.items():
        if not isinstance(value, Tensor | np.ndarray):
            raise TypeError(
                f"save: a .safetensors file holds tensors only, {key!r} is a {type(value).__name__};"
                " use another ending"
            )
        host = value.xp.to_host(value.array) if isinstance(value, Tensor) else value
        # safetensors takes the bytes in the order in which they lie in memory.
        arrays[key] = np.require(host, requirements="C")
    file.write(_safetensors().numpy.save(arrays))


def _read_safetensors(file: IO[bytes], name: str, map_location: Any) -> Any:
    """Read a file in the safetensors format as a dict of tensors."""
    content = file.read()
    reader = _safetensors()
    try:
        entries = reader.deserialize(content)
    except Exception as error:
        raise RuntimeError(f"load: {name} is damaged or not a safetensors file ({error})") from error
    found = {}
    for key, entry in entries:
        kind = _SAFE_TYPES.get(entry["dtype"])
        if kind is None:
            raise RuntimeError(
                f"load: {key!r} in {name} has the type {entry['dtype']}, which tensors do not have"
            )
        array = np.frombuffer(entry["data"], dtypes.as_numpy(kind)).reshape(entry["shape"])
        found[key] = _placed(array.copy(), "cpu", map_location)
    return found


# The names of the types in the safetensors format.
_SAFE_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


# --- PyTorch's files


class _TorchReader(pickle.Unpickler):
    """Reads the pickle inside a PyTorch zip file: tensors, parameters, containers and numbers.

    A pickle asks for classes and functions by name; the names in :meth:`find_class` are given, all others
    are refused.
    """

    def __init__(self, archive: zipfile.ZipFile, prefix: str, name: str, map_location: Any) -> None:
        super().__init__(io.BytesIO(archive.read(f"{prefix}data.pkl")), encoding="utf-8")
        self.archive, self.prefix, self.name, self.map_location = archive, prefix, name, map_location
        self.storages: dict[str, _Storage] = {}
        self.big = f"{prefix}byteorder" in archive.namelist() and archive.read(f"{prefix}byteorder") == b"big"

    def read(self) -> Any:
        """Read the whole file; RuntimeError if it asks for something that is refused."""
        try:
            return self.load()
        except pickle.UnpicklingError as error:
            raise RuntimeError(f"load: {self.name}: {error}") from error

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self._parameter,
            ("torch", "Size"): Size,
            ("torch", "device"): backend.Device,
            ("builtins", "set"): set,
            ("builtins", "complex"): complex,
            ("_codecs", "encode"): _encode,
        }
        found = known.get((module, name))
        if found is not None:
            return found
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        if module == "torch.storage" and name == "UntypedStorage":
            return _Kind("uint8")
        if module == "torch" and name in {kind.name for kind in dtypes.ALL}:
            return dtypes.as_dtype(name)
        raise pickle.UnpicklingError(
            f"the file asks for {module}.{name}, which is code and not data; refused."
            " Save a state_dict, whose entries are tensors"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        _, kind, key, location, count = pid
        if key not in self.storages:
            raw = self.archive.read(f"{self.prefix}data/{key}")
            self.storages[key] = _Storage(_elements(raw, kind.name, int(count), self.big), str(location))
        return self.storages[key]

    def _tensor(
        self, storage: _Storage, offset: int, size: Any, stride: Any, requires_grad: bool = False, *_: Any
    ) -> Tensor:
        """Stand in for PyTorch's function that rebuilds a tensor: a view of a storage, copied."""
        flat = storage.array
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if min(size, default=1) > 0 and (last >= flat.size or offset < 0 or min(stride, default=0) < 0):
            raise pickle.UnpicklingError("a tensor reaches beyond its storage")
        if min(size, default=1) == 0:
            array = np.empty(tuple(size), dtype=flat.dtype)
        else:
            steps = tuple(step * flat.itemsize for step in stride)
            array = np.lib.stride_tricks.as_strided(flat[offset:], tuple(size), steps).copy()
        made = _placed(array, storage.location, self.map_location)
        return made.requires_grad_() if requires_grad else made

    def _parameter(self, data: Tensor, requires_grad: bool = True, *_: Any) -> Tensor:
        """Stand in for PyTorch's function that rebuilds a Parameter."""
        return data.requires_grad_(bool(requires_grad))


class _Storage:
    """The memory of one or more tensors in a PyTorch file, and the device that it was saved from."""

    def __init__(self, array: np.ndarray, location: str) -> None:
        self.array, self.location = array, location


class _Kind:
    """A stand-in for one of PyTorch's storage classes: the name of its element type."""

    def __init__(self, name: str) -> None:
        self.name = name


# PyTorch's storage classes and the types of their elements.
_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


def _elements(raw: bytes, kind: str, count: int, big: bool) -> np.ndarray:
    """Return the elements of a storage, in the byte order of this machine."""
    order: Literal["<", ">"] = ">" if big else "<"
    if kind == "bfloat16":
        bits = np.frombuffer(raw, dtype=f"{order}u2", count=count)
        return bits.astype(np.uint16).view(dtypes.bfloat16.numpy)
    found = np.frombuffer(raw, dtype=np.dtype(kind).newbyteorder(order), count=count)
    return found.astype(kind)


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for ``_codecs.encode``, which pickle uses for bytes; the encoding is always latin1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected encoding {encoding!r}")
    return text.encode(encoding)
