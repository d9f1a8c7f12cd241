"""Reading untrusted tar archives: only allowed names, no links, no path out of the folder, limited size."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

__all__ = ["UnsafeArchiveError", "extract", "members"]


class UnsafeArchiveError(RuntimeError):
    """An archive holds a link, a device, a path out of the folder, or too many bytes.

    >>> issubclass(UnsafeArchiveError, RuntimeError)
    True
    """


def members(
    archive: str | os.PathLike[str], allow: str, *, max_bytes: int, max_file_bytes: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files in a tar archive whose whole name matches ``allow``, one by one.

    The archive may be compressed; nothing is written to disk.  Other regular files are skipped.
    ``max_bytes`` limits the sum of all unpacked sizes, so a small archive cannot unpack without end;
    ``max_file_bytes`` limits each file.

    Errors: :class:`UnsafeArchiveError` at the first link, device, absolute name, ``..`` or file above a
    limit; RuntimeError, naming the archive, where it is cut off or no tar file.

    >>> import io, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with tarfile.open(f"{folder}/a.tar.gz", "w:gz") as tar:
    ...         info = tarfile.TarInfo("letters/A/one.txt")
    ...         info.size = 5
    ...         tar.addfile(info, io.BytesIO(b"hello"))
    ...     list(members(f"{folder}/a.tar.gz", r"letters/[A-J]/\\w+\\.txt", max_bytes=100))
    [('letters/A/one.txt', b'hello')]
    """
    pattern = re.compile(allow)
    unpacked = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                _refuse_unsafe(member, archive)
                unpacked += member.size
                if unpacked > max_bytes or member.size > (max_file_bytes or max_bytes):
                    raise UnsafeArchiveError(
                        f"{archive}: unpacking stops at {member.name!r}:"
                        f" more than {max_bytes:,} bytes in all,"
                        f" or {max_file_bytes or max_bytes:,} in one file"
                    )
                if member.isreg() and pattern.fullmatch(member.name):
                    stream = tar.extractfile(member)
                    if stream is not None:
                        yield member.name, stream.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise RuntimeError(
            f"{archive} is damaged or no tar archive: {error}; nothing was overwritten"
        ) from error


def _refuse_unsafe(member: tarfile.TarInfo, archive: str | os.PathLike[str]) -> None:
    """Raise UnsafeArchiveError unless ``member`` is a regular file or folder inside the target folder."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "no regular file"
        raise UnsafeArchiveError(f"{archive}: {member.name!r} is {kind}; nothing of it was unpacked")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in path.parts[0]:
        raise UnsafeArchiveError(
            f"{archive}: {member.name!r} would leave the folder; nothing of it was unpacked"
        )
    if hasattr(tarfile, "data_filter"):  # Python's own check as a second one (3.11.4 and later)
        try:
            tarfile.data_filter(member, os.curdir)
        except tarfile.FilterError as error:
            raise UnsafeArchiveError(f"{archive}: {error}") from error


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    allow: str,
    *,
    max_bytes: int,
    max_file_bytes: int | None = None,
) -> Path:
    """Unpack the allowed files of a tar archive into ``folder``, which must not exist yet; return its path.

    The files are written to a temporary folder beside it, which gets its name at the end: nobody sees a
    folder that is unpacked in part.

    Errors: those of :func:`members`; FileExistsError where ``folder`` exists (it is left as it is).

    >>> import io, tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with tarfile.open(f"{place}/a.tar", "w") as tar:
    ...         info = tarfile.TarInfo("one.txt")
    ...         info.size = 5
    ...         tar.addfile(info, io.BytesIO(b"hello"))
    ...     (extract(f"{place}/a.tar", f"{place}/out", ".*[.]txt", max_bytes=100) / "one.txt").read_text()
    'hello'
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} exists already; it was left as it is")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, content in members(archive, allow, max_bytes=max_bytes, max_file_bytes=max_file_bytes):
            path = temporary.joinpath(*PurePosixPath(name).parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
