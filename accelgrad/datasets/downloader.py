"""The downloader: resumes, tries mirrors, checks size and digests; only a right file gets its name."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelgrad.datasets.cache import FileLock

__all__ = ["DownloadError", "RemoteFile", "download", "mismatch"]

CHUNK = 1 << 16

# Faults of a server, or of the way to it.  A full disk or a forbidden folder is not among them.
NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


class DownloadError(RuntimeError):
    """No mirror delivered the file; the text names every attempt, and what to do without a network.

    >>> issubclass(DownloadError, RuntimeError)
    True
    """


@dataclass(frozen=True)
class RemoteFile:
    """A file on the internet: its name here, the addresses that serve it, its size and its digests.

    Errors: ValueError for a name that is no plain file name, or an address other than http and https.

    >>> RemoteFile("a.gz", ("https://example.org/a.gz",), size=3, md5="900150983cd24fb0d6963f7d28e17f72").name
    'a.gz'
    """

    name: str
    urls: tuple[str, ...]
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if os.path.basename(self.name) != self.name or self.name in ("", ".", ".."):
            raise ValueError(f"RemoteFile: the name must be a plain file name, got {self.name!r}")
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"RemoteFile: only http and https addresses are fetched, got {url!r}")

    @property
    def digests(self) -> dict[str, str]:
        """The known digests, by their names in :mod:`hashlib`."""
        known = {"sha256": self.sha256, "md5": self.md5}
        return {name: digest for name, digest in known.items() if digest is not None}


def mismatch(path: Path, file: RemoteFile) -> str | None:
    """Return in words what is wrong with the bytes of ``path``; None if size and known digests are right."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes instead of {file.size:,}"
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in file.digests}
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            for digest in hashes.values():
                digest.update(chunk)
    for name, wanted in file.digests.items():
        if hashes[name].hexdigest() != wanted:
            return f"its {name} is {hashes[name].hexdigest()} instead of {wanted}"
    return None


def download(
    file: RemoteFile,
    folder: str | os.PathLike[str],
    *,
    progress: bool = True,
    timeout: float = 30.0,
    attempts: int = 3,
    pause: float = 1.0,
) -> Path:
    """Fetch ``file`` into ``folder`` and return its path; a file that is there and correct is kept.

    The bytes go to ``NAME.part``, which survives a broken connection, Ctrl-C or a crash: the next call asks
    the server for the rest (``Range``, with ``If-Range`` so that a changed file is sent whole).  After
    ``attempts`` tries in a row that bring nothing new, ``pause`` seconds (then twice that, ...) apart, the
    next mirror is asked.  The file gets its name only when its size and digests are correct.  A second
    process waits for a lock, and then finds the file.

    Errors: :class:`DownloadError` when every mirror failed; RuntimeError where a file of that name is there
    with other bytes (it is named and left as it is).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_text("abc")
    ...     download(RemoteFile("a.txt", urls=(), size=3), folder).name
    'a.txt'
    """
    folder = Path(folder)
    target = folder / file.name
    if target.exists():  # the common case needs no lock, so a read-only folder is fine
        return _checked(target, file)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{file.name}.lock"):
        if target.exists():  # another process was faster
            return _checked(target, file)
        failures: list[str] = []
        for url in file.urls:
            if _fetch(url, target, file, failures, progress, timeout, attempts, pause):
                return target
    raise DownloadError(_advice(file, folder, failures))


def _checked(path: Path, file: RemoteFile) -> Path:
    """Return ``path``; RuntimeError unless its bytes are right."""
    problem = mismatch(path, file)
    if problem is not None:
        raise RuntimeError(
            f"{path} is damaged or another file: {problem}."
            " It was left as it is; move it away or delete it, and the next call fetches it again"
        )
    return path


def _fetch(
    url: str,
    target: Path,
    file: RemoteFile,
    failures: list[str],
    progress: bool,
    timeout: float,
    attempts: int,
    pause: float,
) -> bool:
    """Try one address until the file is there (True) or another try is not worth it (False)."""
    part = target.with_name(target.name + ".part")
    furthest = _size(part)
    idle = 0  # tries in a row that brought nothing new
    fresh_retry = True
    while True:
        # One try: fetch the rest.
        resumed = _size(part) > 0
        try:
            _transfer(url, part, file, progress, timeout)
        except _Unsuitable as error:
            failures.append(f"{url}: {error}")
            return False
        except NETWORK_ERRORS as error:
            if _size(part) > furthest:
                furthest, idle = _size(part), 0
            else:
                idle += 1
            if idle >= attempts or _is_final(error):
                failures.append(f"{url}: {_reason(error)}")
                return False
            time.sleep(pause * 2**idle if idle else 0.0)
            continue
        # The file is complete: keep it, or begin again.
        problem = mismatch(part, file)
        if problem is None:
            os.replace(part, target)
            _notes(part).unlink(missing_ok=True)
            return True
        part.unlink()
        _notes(part).unlink(missing_ok=True)
        if not (resumed and fresh_retry):  # a resumed file may mix two versions: then one whole try is made
            failures.append(f"{url}: the file arrived, but {problem}")
            return False
        fresh_retry = False


class _Unsuitable(Exception):
    """This address does not serve the file: asking it again would not help."""


def _transfer(url: str, part: Path, file: RemoteFile, progress: bool, timeout: float) -> None:
    """Append to ``part`` what is missing; an exception of NETWORK_ERRORS where the connection failed."""
    # How much of the file is there, and may be resumed.
    have = _size(part)
    validator = _validator(part, url)
    if have and file.size is not None and have >= file.size:
        if have == file.size:
            return  # complete: the caller checks the digests
        have = 0
    if have and validator is None and not file.digests:
        have = 0  # nothing would show that the two halves belong together
    # Ask for the rest.
    headers = {"User-Agent": "accelgrad", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator is not None:
            headers["If-Range"] = validator
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # the server has no such rest: begin again
            part.unlink(missing_ok=True)
            raise ConnectionError("the server could not resume (416)") from None
        raise
    # Check the answer, then write what comes.
    with response:
        if response.status == 206 and not _continues(response.headers, have, file.size):
            part.unlink(missing_ok=True)
            raise ConnectionError(f"unexpected Content-Range {response.headers.get('Content-Range')!r}")
        if response.status != 206:
            have = 0  # Range was ignored, or the file has changed: it comes whole
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None and length.isdigit() else file.size
        if file.size is not None and total is not None and total != file.size:
            raise _Unsuitable(f"serves {total:,} bytes instead of {file.size:,}")
        note = {"url": url, "validator": _strong_validator(response.headers)}
        _notes(part).write_text(json.dumps(note), encoding="utf-8")
        with open(part, "ab" if have else "wb") as stream, _bar(file.name, total, have, progress) as bar:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                if total is not None and have > total:
                    raise _Unsuitable(f"sends more than the {total:,} bytes that it announced")
                stream.write(chunk)
                bar.update(len(chunk))
    if total is not None and have < total:
        raise ConnectionError(f"the connection closed after {have:,} of {total:,} bytes")


def _continues(headers: Any, have: int, size: int | None) -> bool:
    """Return whether a 206 answer starts where ``part`` ends, in a file of the right length."""
    unit, _, rest = (headers.get("Content-Range") or "").partition(" ")
    span, _, total = rest.partition("/")
    right_total = size is None or total in ("*", str(size))
    return unit == "bytes" and span.partition("-")[0] == str(have) and right_total


def _strong_validator(headers: Any) -> str | None:
    """Return the value for If-Range: a strong ETag, or else the date (RFC 9110, section 13.1.5)."""
    tag = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return headers.get("Last-Modified")


def _notes(part: Path) -> Path:
    """Return the small file beside ``part`` that says which address it came from, in which version."""
    return part.with_name(part.name + ".json")


def _validator(part: Path, url: str) -> str | None:
    """Return the noted version of ``part``, if it came from this address."""
    try:
        note = json.loads(_notes(part).read_text(encoding="utf-8"))
        return note["validator"] if note["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # without a note there is no If-Range; nothing else changes


def _size(path: Path) -> int:
    """Return the size of a file in bytes, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _is_final(error: Exception) -> bool:
    """Return whether another try is pointless, since the server refuses or cannot be reached."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code < 500 and error.code not in (408, 429)
    return isinstance(error, urllib.error.URLError) and not isinstance(
        error.reason, (TimeoutError, ConnectionError)
    )


def _reason(error: Exception) -> str:
    """Return in words why the connection failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"{error.reason}"
    return f"{error}" or type(error).__name__


def _advice(file: RemoteFile, folder: Path, failures: list[str]) -> str:
    """Return the text of the DownloadError: what was tried, and what to do without a network."""
    size = "" if file.size is None else f" ({file.size:,} bytes)"
    tried = "".join(f"\n  {failure}" for failure in failures) or "\n  no address is known"
    digests = ", ".join(f"{name} {digest}" for name, digest in file.digests.items())
    return (
        f"could not download {file.name}{size}:{tried}\nWithout a network here:"
        f" fetch the file elsewhere, put it into\n  {folder.absolute()}\nunder the name {file.name},"
        " and call again"
        + (f" (it is checked against {digests})." if digests else ".")
        + " What has arrived so far is kept and will be resumed."
        * (_size(folder / (file.name + ".part")) > 0)
    )


class _NoBar:
    """A stand-in for the progress bar that shows nothing."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        pass

    def update(self, n: int) -> None:
        """Show nothing."""


def _bar(name: str, total: int | None, initial: int, progress: bool) -> Any:
    """Return tqdm's progress bar, or a stand-in where none is wanted or tqdm is missing."""
    if not progress:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, initial=initial, desc=name, unit="B", unit_scale=True, unit_divisor=1024)
