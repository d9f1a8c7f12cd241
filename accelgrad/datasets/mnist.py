"""MNIST and FashionMNIST: 70,000 grey images of 28 x 28 in the IDX format, fetched once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from accelgrad.datasets.base import ImageRecords, Transform, open_records
from accelgrad.datasets.cache import FileLock, home, replacing
from accelgrad.datasets.downloader import RemoteFile, download
from accelgrad.datasets.idx import read_idx

__all__ = ["MNIST", "FashionMNIST"]

RECORD = np.dtype([("image", np.uint8, (28, 28)), ("label", np.uint8)])


class MNIST(ImageRecords):
    """Handwritten digits: 60,000 images for training, 10,000 for testing, 28 x 28 pixels, uint8.

    The files lie in ``root/MNIST/raw``, as with torchvision, compressed (``.gz``) or not.  The first call
    makes one array file of them, ``root/MNIST/train.npy`` or ``test.npy``, which is memory-mapped from then
    on.

    Args:
        root: the folder above; by default ``ACCELGRAD_HOME`` or ``~/.cache/accelgrad``.
        train: the training part, or the test part.
        transform, target_transform: applied to the image (a NumPy array, uint8) and to the label (an int).
        download: fetch what is missing.

    Errors: RuntimeError where files are missing and ``download`` is False, or where a file is damaged (it is
    named and left as it is); :class:`~accelgrad.datasets.DownloadError` where no mirror delivers.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     raw = Path(root, "MNIST", "raw")
    ...     raw.mkdir(parents=True)
    ...     head = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28])
    ...     _ = (raw / "train-images-idx3-ubyte").write_bytes(head + bytes(28 * 28))
    ...     _ = (raw / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    ...     image, label = MNIST(root)[0]
    >>> image.shape, image.dtype, label
    ((28, 28), dtype('uint8'), 7)
    """

    classes = (
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    )
    mirrors = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    # name without .gz: (size, md5) of the compressed file
    resources = {
        "train-images-idx3-ubyte": (9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train-labels-idx1-ubyte": (28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        "t10k-images-idx3-ubyte": (1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        "t10k-labels-idx1-ubyte": (4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    }

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        download: bool = False,
    ) -> None:
        folder = home(root) / type(self).__name__
        path = folder / ("train.npy" if train else "test.npy")
        source = path if path.exists() else self._prepare(folder, path, train, download)
        rows = np.arange(len(open_records(source) if isinstance(source, Path) else source))
        super().__init__(source, rows, train=train, transform=transform, target_transform=target_transform)

    def _prepare(
        self, folder: Path, path: Path, train: bool, may_download: bool
    ) -> Path | np.ndarray[Any, Any]:
        """Make the array file of the two IDX files; return the records where it cannot be written."""
        prefix = "train" if train else "t10k"
        image_name, label_name = (name for name in self.resources if name.startswith(prefix))
        image_path = self._raw_file(folder / "raw", image_name, may_download)
        label_path = self._raw_file(folder / "raw", label_name, may_download)
        if not os.access(folder, os.W_OK):  # a course's shared folder
            return self._read(image_path, label_path)
        with FileLock(folder / f".{path.name}.lock"):
            if not path.exists():  # else another process was faster
                with replacing(path) as temporary, open(temporary, "wb") as stream:
                    np.save(stream, self._read(image_path, label_path))
        return path

    @staticmethod
    def _read(image_path: Path, label_path: Path) -> np.ndarray[Any, Any]:
        """Read images and labels into records; RuntimeError where they do not belong together."""
        images, labels = read_idx(image_path), read_idx(label_path)
        if images.shape != (len(labels), 28, 28) or labels.ndim != 1:
            raise RuntimeError(
                f"{image_path} (shape {images.shape}) and {label_path}"
                f" (shape {labels.shape}) do not belong together; both were left as they are:"
                " delete them, and they are fetched again"
            )
        records = np.empty(len(labels), dtype=RECORD)
        records["image"], records["label"] = images, labels
        return records

    def _raw_file(self, raw: Path, name: str, may_download: bool) -> Path:
        """Return the path of an IDX file, unpacked or compressed; fetch a missing one if that is allowed."""
        if (raw / name).exists():
            return raw / name
        size, md5 = self.resources[name]
        packed = f"{name}.gz"
        if not may_download and not (raw / packed).exists():
            raise RuntimeError(
                f"Dataset not found. You can use download=True to download it, or put {packed} into {raw}"
            )
        urls = tuple(mirror + packed for mirror in self.mirrors)
        return download(RemoteFile(packed, urls, size=size, md5=md5), raw)


class FashionMNIST(MNIST):
    """Zalando's articles of clothing, in MNIST's format: 60,000 images for training, 10,000 for testing.

    Arguments, files (in ``root/FashionMNIST``) and errors as for :class:`MNIST`.

    >>> FashionMNIST.classes[8]
    'Bag'
    """

    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    mirrors = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
    resources = {
        "train-images-idx3-ubyte": (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte": (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte": (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte": (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    }
