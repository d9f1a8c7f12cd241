"""The base of the image data sets: one array of images of one size, and the split into two parts."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageRecords", "group_split", "open_records", "random_split_mask", "stratified_split"]

Transform = Callable[[Any], Any]


class ImageRecords:
    """Images of one size with their labels, in an array of records that may lie on disk.

    A subclass sets ``classes`` and calls this constructor.  ``records`` are an array with the fields
    ``image`` (uint8, height x width) and ``label``, or the path of a file of them, which is memory-mapped
    (and opened again in each worker process instead of being sent there).  ``rows`` are the records that
    belong to this part of the split.

    A sample is ``(image, label)``: the image a NumPy array of uint8 in 0 ... 255, of which
    ``transforms.ToTensor`` makes float32 of shape (1, height, width) in 0 ... 1; the label a Python int.
    ``transform`` is applied to the image, ``target_transform`` to the label.

    Errors: IndexError for an index outside; those of :func:`open_records`.

    >>> records = np.zeros(3, [("image", np.uint8, (2, 2)), ("label", np.uint8)])
    >>> records["label"] = [0, 1, 0]
    >>> dataset = ImageRecords(records, rows=np.array([1, 2]))
    >>> len(dataset), dataset[0][1], dataset.data.shape
    (2, 1, (2, 2, 2))
    """

    classes: Sequence[str] = ()

    def __init__(
        self,
        records: Path | NDArray[Any],
        rows: NDArray[np.int64],
        *,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        self._path = records if isinstance(records, Path) else None
        self._records = None if isinstance(records, Path) else records
        self._rows = rows
        self.train = train
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        row = self._rows[self._checked(index)]
        record = self.records[row]
        # A copy: the file is mapped read-only, and a transform may write.
        return self._sample(np.array(record["image"]), int(record["label"]))

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Return the samples of a whole batch; a loader calls this once instead of once for each index."""
        records = self.records[self._rows[[self._checked(index) for index in indices]]]
        labels = records["label"].tolist()
        return [self._sample(image, label) for image, label in zip(records["image"], labels, strict=True)]

    def _sample(self, image: NDArray[Any], label: int) -> tuple[Any, Any]:
        """Return the sample, after both transforms."""
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def _checked(self, index: int) -> int:
        """Return the index as an int; IndexError outside of the data set."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(self)} samples")
        return index

    @property
    def records(self) -> NDArray[Any]:
        """All records of both parts of the split; memory-mapped where there is a file."""
        if self._records is None:
            assert self._path is not None  # one of the two is always there
            self._records = open_records(self._path)
        return self._records

    @property
    def data(self) -> NDArray[np.uint8]:
        """A copy of the images of this part: uint8, (samples, height, width)."""
        return np.ascontiguousarray(self.records["image"][self._rows])

    @property
    def targets(self) -> NDArray[np.int64]:
        """The labels of this part: int64, (samples,)."""
        return self.records["label"][self._rows].astype(np.int64)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """A dict from each class's name to its label."""
        return {name: label for label, name in enumerate(self.classes)}

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self._path is not None:
            state["_records"] = None  # the receiver maps the file again
        return state

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        if self._path is not None:
            lines.append(f"    Root location: {self._path.parent}")
        lines.append(f"    Split: {'Train' if self.train else 'Test'}")
        if self.transform is not None:
            lines.append("    Transform: " + repr(self.transform).replace("\n", "\n               "))
        return "\n".join(lines)


def open_records(path: Path) -> NDArray[Any]:
    """Open the records of an array file, memory-mapped and read-only.

    Errors: FileNotFoundError; RuntimeError, naming the file, where it is cut off or holds something else.
    """
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, EOFError) as error:
        raise RuntimeError(_damaged(path, str(error))) from error
    names = records.dtype.names if isinstance(records, np.ndarray) else None
    if names is None or not {"image", "label"} <= set(names) or records.ndim != 1:
        raise RuntimeError(_damaged(path, "it holds no records of images and labels"))
    return records


def _damaged(path: str | os.PathLike[str], why: str) -> str:
    """Return the text of the error for a damaged file."""
    return f"{path} is damaged: {why}. It was left as it is; delete it, and it is made again at the next call"


# --- splits
# Each returns a mask that is True for the test part.  The random ones use the raw output of the Philox
# generator, which NumPy promises never to change, as it does not promise for permutations: so a split is the
# same on every machine, with every version.


def stratified_split(labels: NDArray[Any], every: int) -> NDArray[np.bool_]:
    """Select of each class the samples number ``every``, ``2 every``, ... in the order of the file.

    >>> stratified_split(np.array([0, 0, 1, 0, 1, 0]), 2)
    array([False,  True, False, False,  True,  True])
    """
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        mask[np.flatnonzero(labels == label)[every - 1 :: every]] = True
    return mask


def random_split_mask(n: int, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Select ``round(fraction * n)`` of ``n`` samples at random.

    >>> int(random_split_mask(100, 0.2, seed=0).sum())
    20
    """
    mask = np.zeros(n, dtype=bool)
    mask[_shuffled(n, seed)[: round(fraction * n)]] = True
    return mask


def group_split(groups: NDArray[Any], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Select whole groups at random until they hold ``fraction`` of the samples: no group is divided.

    >>> groups = np.array(["a", "b", "a", "c", "b"])
    >>> mask = group_split(groups, 0.2, seed=0)
    >>> set(groups[mask]) & set(groups[~mask])
    set()
    """
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = _shuffled(len(counts), seed)
    wanted = int(np.searchsorted(np.cumsum(counts[order]), fraction * len(groups))) + 1
    return np.isin(members, order[:wanted])


def _shuffled(n: int, seed: int) -> NDArray[np.int64]:
    """Return 0 ... n-1 in an order that depends on the seed alone."""
    return np.argsort(np.random.Philox(seed).random_raw(n), kind="stable")
