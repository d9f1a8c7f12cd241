"""Reading other people's tar archives: allowed names only, no links, no way out of the folder, a size cap."""

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
    """An archive holds what no data set needs: a link, a device, a way out of the folder, too many bytes."""


def members(
    archive: str | os.PathLike[str], allow: str, *, max_bytes: int, max_file_bytes: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """The regular files of a tar archive, compressed or not, whose whole name matches ``allow``, one by one.

    Nothing is written to disk.  A harmless name outside the pattern is skipped.  ``max_bytes`` bounds the
    sum of all unpacked sizes, so that a small archive cannot unpack without end.

    Errors: :class:`UnsafeArchiveError` at the first link, device, absolute name, ``..`` or file above a cap;
    RuntimeError, naming the archive, where it is cut off or no tar file.

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
    """Raise unless ``member`` is a regular file or folder that stays inside the folder it is unpacked to."""
    path = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "no regular file"
        raise UnsafeArchiveError(f"{archive}: {member.name!r} is {kind}; nothing of it was unpacked")
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in path.parts[0]:
        raise UnsafeArchiveError(
            f"{archive}: {member.name!r} would leave the folder; nothing of it was unpacked"
        )
    if hasattr(tarfile, "data_filter"):  # Python's own judgement as a second one (3.11.4 and later)
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
    """Unpack the allowed files of a tar archive into ``folder``, which must not exist yet; all or none.

    They are written to a temporary folder beside it, which takes the name at the end: a half-unpacked
        folder is
    never seen.  Errors as in :func:`members`; FileExistsError where ``folder`` exists (it is left as it is).
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
