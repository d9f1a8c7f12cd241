"""The folder of data files on this machine, and the lock that keeps two processes from one file."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows has msvcrt instead
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock", "home", "replacing"]


def home(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for downloaded and prepared data; it need not exist yet.

    It is ``root`` if that is given, otherwise the environment's ``ACCELGRAD_HOME``, otherwise
    ``~/.cache/accelgrad``.

    >>> home("/data").as_posix()
    '/data'
    """
    if root is not None:
        return Path(root).expanduser()
    configured = os.environ.get("ACCELGRAD_HOME")
    if configured:
        return Path(configured).expanduser()
    return Path.home() / ".cache" / "accelgrad"


class FileLock:
    """A lock that one process (or thread) holds at a time: the operating system's lock of a file.

    The system releases the lock when its holder dies, so a crash leaves nothing to clean up.  The empty file
    stays: deleting it could give the same lock to two waiting processes.

    Errors: TimeoutError when ``timeout`` seconds pass while another process holds the lock.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with FileLock(Path(folder) / "digits.lock"):
    ...         print("alone")
    alone
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 3600.0, poll: float = 0.1) -> None:
        self.path = Path(path)
        self.timeout = timeout
        self.poll = poll
        self._file: IO[bytes] | None = None

    def __enter__(self) -> FileLock:
        file = open(self.path, "a+b")
        deadline = time.monotonic() + self.timeout
        said = False
        while not _try_lock(file):
            if time.monotonic() >= deadline:
                file.close()
                raise TimeoutError(
                    f"{self.path} is still locked by another process after {self.timeout:g} s;"
                    " wait until it has finished, or stop it"
                )
            if not said:
                print(f"accelgrad: waiting for another process that holds {self.path}", file=sys.stderr)
                said = True
            time.sleep(self.poll)
        self._file = file
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self._file is not None:
            _unlock(self._file)
            self._file.close()
            self._file = None


def _try_lock(file: IO[bytes]) -> bool:
    """Take the lock without waiting; False where somebody else has it."""
    try:
        if fcntl is not None:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _unlock(file: IO[bytes]) -> None:
    """Release the lock."""
    if fcntl is not None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
    else:
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write to; its file replaces ``target`` when the block ends without an error.

    Readers see the old file or the whole new one, never a part of it; after an error ``target`` is as before.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "numbers.txt"
    ...     with replacing(target) as temporary:
    ...         _ = temporary.write_text("1 2 3")
    ...     print(target.read_text(), len(list(Path(folder).iterdir())))
    1 2 3 1
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
