"""save and load: checkpoints of tensors, numbers and strings in nested dicts and lists.

No file is ever executed.

Three formats.  A name that ends in ``.safetensors`` takes that format (a flat dict of tensors; extra
``io``).  Any other name takes ours: an npz archive with one array per tensor and a JSON text that says how
they are nested.  And PyTorch's own zip files (``.pt``, ``.pth``) are read without PyTorch, by an unpickler
that knows tensors and containers and refuses the rest.
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

    It holds tensors, arrays, numbers, strings and None, in dicts and lists.

    The file appears under its name only when it is complete: a crash never destroys an older checkpoint.
    TypeError for anything that a load could only bring back by running code; save ``model.state_dict()``, not
    the model.

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
    """What :func:`save` wrote, or PyTorch's ``save``: tensors and plain containers of them.

    ``map_location``: a device, or a function ``(tensor, "cpu") -> tensor``; by default tensors return to the
    device that they were saved from if it is at hand, else to the CPU.  ``weights_only`` is accepted: nothing
    else is ever loaded. RuntimeError names a file that is damaged, or that would have to run code.
    """
    name = os.fspath(f) if _is_name(f) else getattr(f, "name", "the open file")  # type: ignore[arg-type]
    try:
        if _is_name(f):
            with open(name, "rb") as file:
                return _read(file, str(name), map_location)
        return _read(f, str(name), map_location)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError, IndexError, json.JSONDecodeError) as error:
        raise RuntimeError(f"load: {name} is damaged or not a checkpoint ({error})") from error


def _is_name(f: Any) -> bool:
    return isinstance(f, str | os.PathLike)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside ``path`` that takes its place when everything has been written."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # mkstemp's files are for the owner alone
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- our own archive


def _write_archive(obj: Any, file: IO[bytes]) -> None:
    arrays: list[np.ndarray] = []
    known: dict[int, int] = {}  # one array for a tensor that occurs twice
    structure = {"format": FORMAT, "version": VERSION, "content": _describe(obj, arrays, known, "")}
    structure["bfloat16"] = [n for n, array in enumerate(arrays) if array.dtype.name == "bfloat16"]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(STRUCTURE, json.dumps(structure))
        for number, array in enumerate(arrays):
            with archive.open(f"{number}.npy", "w", force_zip64=True) as entry:
                plain = array.view(np.uint16) if number in structure["bfloat16"] else array
                np.lib.format.write_array(entry, plain, allow_pickle=False)


def _describe(value: Any, arrays: list[np.ndarray], known: dict[int, int], path: str) -> Any:
    """JSON for ``value``: plain values as they are, everything else as {"kind": ...}."""
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if type(value) is float:
        return value if np.isfinite(value) else {"kind": "float", "value": repr(value)}
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
    if isinstance(value, bytes):
        return {"kind": "bytes", "array": _store(value, np.frombuffer(value, dtype=np.uint8), arrays, known)}
    if isinstance(value, complex):
        return {"kind": "complex", "value": repr(value)}
    if isinstance(value, backend.Device):
        return {"kind": "device", "name": str(value)}
    if isinstance(value, int):  # an IntEnum, say
        return int(value)
    hint = ""
    if hasattr(value, "state_dict"):
        hint = "; save its state_dict() and load that into a new one"
    raise TypeError(
        f"save: cannot store a {type(value).__module__}.{type(value).__qualname__} at {path or 'the top'}:"
        f" only tensors, arrays, numbers, strings and containers of them{hint}"
    )


def _store(owner: Any, array: np.ndarray, arrays: list[np.ndarray], known: dict[int, int]) -> int:
    if id(owner) not in known:
        known[id(owner)] = len(arrays)
        arrays.append(np.require(array, requirements="C"))
    return known[id(owner)]


def _read(file: IO[bytes], name: str, map_location: Any) -> Any:
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


def _read_archive(archive: zipfile.ZipFile, name: str, map_location: Any) -> Any:
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
    arrays: dict[int, np.ndarray] = {}
    tensors: dict[int, Any] = {}

    def array_of(number: int) -> np.ndarray:
        if number not in arrays:
            with archive.open(f"{number}.npy") as entry:
                arrays[number] = np.lib.format.read_array(entry, allow_pickle=False)
            if number in structure.get("bfloat16", ()):  # the npy format knows NumPy's own types
                arrays[number] = arrays[number].view(dtypes.bfloat16.numpy)
        return arrays[number]

    def build(value: Any) -> Any:
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
    """A tensor where ``map_location`` says, or where it was saved from if that is at hand."""
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
        arrays[key] = np.require(host, requirements="C")  # safetensors takes the bytes as they lie
    file.write(_safetensors().numpy.save(arrays))


def _read_safetensors(file: IO[bytes], name: str, map_location: Any) -> Any:
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


_SAFE_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


# --- PyTorch's files


class _Storage:
    """A stretch of a PyTorch file: its element type, its bytes and where it was saved from."""

    def __init__(self, array: np.ndarray, location: str) -> None:
        self.array, self.location = array, location


_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


class _Kind:
    """Stands for a storage class of PyTorch's, or one of its dtypes."""

    def __init__(self, name: str) -> None:
        self.name = name


class _TorchReader(pickle.Unpickler):
    """Reads the pickle inside a PyTorch zip file: tensors, parameters, containers, numbers.

    Nothing else is looked up.
    """

    def __init__(self, archive: zipfile.ZipFile, prefix: str, name: str, map_location: Any) -> None:
        super().__init__(io.BytesIO(archive.read(f"{prefix}data.pkl")), encoding="utf-8")
        self.archive, self.prefix, self.name, self.map_location = archive, prefix, name, map_location
        self.storages: dict[str, _Storage] = {}
        self.big = f"{prefix}byteorder" in archive.namelist() and archive.read(f"{prefix}byteorder") == b"big"

    def read(self) -> Any:
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
        return data.requires_grad_(bool(requires_grad))


def _elements(raw: bytes, kind: str, count: int, big: bool) -> np.ndarray:
    """The elements of a storage, in the byte order of this machine."""
    order: Literal["<", ">"] = ">" if big else "<"
    if kind == "bfloat16":
        bits = np.frombuffer(raw, dtype=f"{order}u2", count=count)
        return bits.astype(np.uint16).view(dtypes.bfloat16.numpy)
    found = np.frombuffer(raw, dtype=np.dtype(kind).newbyteorder(order), count=count)
    return found.astype(kind)


def _encode(text: str, encoding: str) -> bytes:
    """``_codecs.encode`` as pickle uses it for bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"unexpected encoding {encoding!r}")
    return text.encode(encoding)
