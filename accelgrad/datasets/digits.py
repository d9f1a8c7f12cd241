"""Digits: 1,797 real handwritten digits of 8 x 8 pixels that come with the package."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accelgrad.datasets.base import ImageRecords, Transform, stratified_split

__all__ = ["Digits"]

SHA256 = "b2dab7b501728c22e9119ad76740b2e17c77a231e42d1e592380d90886f1a05e"
RECORD = np.dtype([("image", np.uint8, (8, 8)), ("label", np.uint8)])


class Digits(ImageRecords):
    """Handwritten digits of 13 people: 1,442 for training, 355 for testing, 8 x 8 pixels; no network needed.

    The file is a part of the package (45 kB; its source and licence are in ``digits.md`` beside it).  Its
    pixels count the ink in blocks of 4 x 4, 0 ... 16.  Here they are scaled to 0 ... 255 (``round(255 * count
    / 16)``), as in every other image; ``transforms.ToTensor`` makes float32 of shape (1, 8, 8) in 0 ... 1 of
    them.

    The split is fixed: of each class every fifth image, in the order of the file, belongs to the test part.
    All 13 writers are on both sides, so the accuracy is that for *known* writers.

    Args:
        root: another folder with a ``digits.npz``; by default the package's own.
        train: the training part, or the test part.
        transform, target_transform: applied to the image (a NumPy array, uint8) and to the label (an int).

    Errors: FileNotFoundError; RuntimeError, naming the file, where its bytes are not the known ones.

    >>> from accelgrad import datasets
    >>> train, test = datasets.Digits(), datasets.Digits(train=False)
    >>> len(train), len(test)
    (1442, 355)
    >>> image, label = train[0]
    >>> image.shape, image.dtype, label
    ((8, 8), dtype('uint8'), 0)
    """

    classes = tuple("0123456789")

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        folder = Path(root) if root is not None else Path(__file__).parent
        records = _load(folder / "digits.npz")
        rows = np.flatnonzero(stratified_split(records["label"], 5) != train)
        super().__init__(records, rows, train=train, transform=transform, target_transform=target_transform)


def _load(path: Path) -> NDArray[np.void]:
    """Read all 1,797 records, with pixels scaled to 0 ... 255."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise RuntimeError(
            f"{path} is damaged: its {len(content):,} bytes are not the known ones"
            f" (sha256 {SHA256[:12]}...)."
            " It was left as it is; install accelgrad again to get the right file"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        counts, labels = file["images"], file["labels"]
    records = np.empty(len(labels), dtype=RECORD)
    records["image"] = np.rint(counts * (255 / 16)).astype(np.uint8)
    records["label"] = labels
    return records
