"""NotMNIST: the letters A to J in thousands of fonts, 28 x 28 grey pixels, from archives of PNG files."""

from __future__ import annotations

import base64
import binascii
import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelgrad.datasets.archive import members
from accelgrad.datasets.base import ImageRecords, Transform, group_split, open_records, random_split_mask
from accelgrad.datasets.cache import FileLock, home, replacing
from accelgrad.datasets.downloader import RemoteFile, download
from accelgrad.datasets.folder import pillow

__all__ = ["NotMNIST"]

LETTERS = "ABCDEFGHIJ"
RECORD = np.dtype([("image", np.uint8, (28, 28)), ("label", np.uint8), ("font", "S80")])


class NotMNIST(ImageRecords):
    """Letters A to J from fonts found on the internet (Y. Bulatov, 2011), 28 x 28 pixels, uint8.

    ``size="small"`` has 18,724 images, cleaned by hand (an archive of 8 MB), ``"large"`` 529,114 (247 MB;
    about 6 % of its labels are said to be wrong).  The archive is fetched into ``root/NotMNIST``, checked,
    and read without being unpacked to disk.  The images become one array file there, which is memory-mapped
    from then on.  The few empty PNG files of the archives are skipped, and named in a line on standard error.

    Args:
        root: the folder above; by default ``ACCELGRAD_HOME`` or ``~/.cache/accelgrad``.
        train: the training part, or the test part.
        transform, target_transform: applied to the image (a NumPy array, uint8) and to the label (an int).
        download: fetch the archive if it is not there.
        size: ``"small"`` or ``"large"``.
        split: ``"random"`` takes single images for the test part, so a font may be in both parts; ``"font"``
            takes whole fonts, which shows how a model reads a font that it has not seen.
        test_fraction: the share of the test part.
        seed: decides the split, the same one on every machine.

    Errors: RuntimeError where the archive is missing and ``download`` is False, or where a file is damaged
    (it is named and left as it is); :class:`~accelgrad.datasets.DownloadError` where no mirror delivers;
    ImportError where Pillow is missing, when the array file is made; ValueError for a wrong size, split or
    fraction.

    >>> NotMNIST.classes[2]
    'C'
    """

    classes = tuple(LETTERS)
    mirrors = (
        "https://commondatastorage.googleapis.com/books1000/",
        "http://yaroslavvb.com/upload/notMNIST/",
    )
    resources = {
        "small": {
            "size": 8_458_043,
            "md5": "c9890a473a9769fda4bdf314aaf500dd",
            "sha256": "76b2ef7ccc56452964780569db37b279c9cbe1bf442c3b38be784752683b3cec",
        },
        "large": {
            "size": 247_336_696,
            "md5": "70a95b805ecfb6592c48e196df7c1499",
            "sha256": "1e8261b75484b520dc76027f5c22af50fe608e3bb16277caec086eb928f9b61c",
        },
    }
    # Unpacked, the large archive holds well under 1 GB; each image is a few hundred bytes.
    max_bytes = 2 << 30
    max_file_bytes = 1 << 20

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
        *,
        size: str = "small",
        split: str = "random",
        test_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        if size not in self.resources:
            raise ValueError(f"NotMNIST: size must be one of {', '.join(self.resources)}, got {size!r}")
        check_split("NotMNIST", split, test_fraction)
        folder = home(root) / type(self).__name__
        path = folder / f"notMNIST_{size}.npy"
        if not path.exists():
            self._prepare(folder, path, size, download)
        rows = split_rows(open_records(path), split, test_fraction, seed, train)
        super().__init__(path, rows, train=train, transform=transform, target_transform=target_transform)
        self.size, self.split = size, split

    @property
    def fonts(self) -> list[str]:
        """The font of each sample of this part, by the name of its file in the archive."""
        return [name.decode("utf-8", "replace") for name in self.records["font"][self._rows].tolist()]

    def _prepare(self, folder: Path, path: Path, size: str, may_download: bool) -> None:
        """Make the array file from the archive."""
        name = f"notMNIST_{size}.tar.gz"
        if not may_download and not (folder / name).exists():
            raise RuntimeError(
                f"Dataset not found. You can use download=True to download it, or put {name} into {folder}"
            )
        urls = tuple(mirror + name for mirror in self.mirrors)
        archive = download(RemoteFile(name, urls, **self.resources[size]), folder)  # type: ignore[arg-type]
        with FileLock(folder / f".{path.name}.lock"):
            if path.exists():  # another process was faster
                return
            allow = rf"notMNIST_{size}/[{LETTERS}]/[^/]+\.png"
            files = members(archive, allow, max_bytes=self.max_bytes, max_file_bytes=self.max_file_bytes)
            skipped: list[str] = []
            with replacing(path) as temporary:
                count = _write_records(temporary, _decoded(_with_bar(files, name), skipped))
                if count == 0 or len(skipped) > 0.01 * count + 10:
                    raise RuntimeError(
                        f"{archive} is damaged: {count:,} images could be read"
                        f" and {len(skipped):,} could not."
                        " It was left as it is; delete it, and it is fetched again"
                    )
        if skipped:
            print(f"{name}: skipped {len(skipped)} unreadable files: {', '.join(skipped)}", file=sys.stderr)


def check_split(name: str, split: str, test_fraction: float) -> None:
    """Raise a ValueError for an unknown split, or a fraction outside 0 ... 1."""
    if split not in ("random", "font"):
        raise ValueError(f"{name}: split must be 'random' or 'font', got {split!r}")
    if not 0 < test_fraction < 1:
        raise ValueError(f"{name}: test_fraction must lie between 0 and 1, got {test_fraction!r}")


def split_rows(
    records: NDArray[Any], split: str, test_fraction: float, seed: int, train: bool
) -> NDArray[np.int64]:
    """Return the numbers of the records that belong to one part of the split."""
    if split == "font":
        mask = group_split(records["font"], test_fraction, seed)
    else:
        mask = random_split_mask(len(records), test_fraction, seed)
    return np.flatnonzero(mask != train)


def _decoded(
    files: Iterable[tuple[str, bytes]], skipped: list[str]
) -> Iterator[tuple[NDArray[np.uint8], int, bytes]]:
    """Yield image, label and font of each PNG file; names of unreadable ones go to ``skipped``."""
    image_module = pillow()
    for name, content in files:
        try:
            image = np.asarray(image_module.open(io.BytesIO(content)).convert("L"))
        except (OSError, SyntaxError, ValueError):  # how Pillow reports empty, unknown and broken files
            image = np.empty((0, 0), np.uint8)
        if image.shape != (28, 28):
            skipped.append(name)
            continue
        path = PurePosixPath(name)
        yield image, LETTERS.index(path.parent.name), _font(path.stem)


def _font(stem: str) -> bytes:
    """Return the font's file name, which is the PNG's name in base64 (of either alphabet)."""
    try:
        return base64.b64decode(stem.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return stem.encode()


def _write_records(path: Path, rows: Iterable[tuple[NDArray[np.uint8], int, bytes]]) -> int:
    """Write an .npy file of records row by row, since it need not fit in memory; return their number."""
    count = 0
    record = np.zeros(1, RECORD)
    header = np.lib.format.header_data_from_array_1_0(record)
    with open(path, "wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {**header, "shape": (count,)})
        start = stream.tell()
        for image, label, font in rows:
            record[0] = (image, label, font)
            stream.write(record.tobytes())
            count += 1
        # The header again, with the true count: NumPy pads it, so its length stays when the first extent
        # grows.
        stream.seek(0)
        np.lib.format.write_array_header_1_0(stream, {**header, "shape": (count,)})
        if stream.tell() != start:
            raise RuntimeError(f"{path}: NumPy {np.__version__} changed the length of the file's head")
    return count


def _with_bar(files: Iterable[tuple[str, bytes]], name: str) -> Iterable[tuple[str, bytes]]:
    """Return the same files, counted by a progress bar if tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return files
    return tqdm(files, desc=f"reading {name}", unit=" images")
