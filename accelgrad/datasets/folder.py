"""Data sets that are folders: one sub-folder for each class, as ImageFolder and DatasetFolder read them."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelgrad.datasets.base import Transform

__all__ = ["IMG_EXTENSIONS", "DatasetFolder", "ImageFolder", "pil_loader"]

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def pillow() -> Any:
    """The module ``PIL.Image``, imported at the first call; ImportError with the way out if missing."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "decoding images needs Pillow, which is not installed: pip install 'accelgrad[data]'"
        ) from error
    return Image


def pil_loader(path: str | os.PathLike[str]) -> Any:
    """The image in the file ``path`` as an RGB ``PIL.Image``.

    Errors: FileNotFoundError; RuntimeError, naming the file, where it is empty or cannot be decoded.
    """
    image_module = pillow()
    try:
        with open(path, "rb") as stream:
            return image_module.open(stream).convert("RGB")
    except FileNotFoundError:
        raise
    # Pillow reports a broken PNG as SyntaxError, an unknown or cut-off file as OSError.
    except (OSError, SyntaxError, ValueError) as error:
        why = "the file is empty" if os.path.getsize(path) == 0 else f"{type(error).__name__}: {error}"
        raise RuntimeError(f"{path} cannot be read as an image: {why}") from error


class DatasetFolder:
    """Files in sub-folders of ``root`` named by class: ``root/cat/1.npy`` is a sample of class *cat*.

    Classes are numbered in the order of their sorted names; samples are sorted by path, sub-sub-folders
    included. A sample is ``(transform(loader(path)), target_transform(class index))``.

    Args:
        root: the folder.
        loader: makes a sample of a path.
        extensions: the file endings that count (with the dot, any case), or
        is_valid_file: a predicate on the path instead; exactly one of the two.
        allow_empty: whether a class may have no file.

    Attributes: ``classes``, ``class_to_idx``, ``samples`` (pairs of path and class index), ``targets``.

    Errors: FileNotFoundError where the folder, its classes or the files of a class are missing; ValueError
        unless
    exactly one of ``extensions`` and ``is_valid_file`` is given.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for name in ("cat", "dog"):
    ...         os.mkdir(f"{root}/{name}")
    ...         _ = Path(f"{root}/{name}/1.txt").write_text(name.upper())
    ...     dataset = DatasetFolder(root, lambda path: Path(path).read_text(), extensions=(".txt",))
    ...     dataset.classes, dataset[1]
    (['cat', 'dog'], ('DOG', 1))
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        if (extensions is None) == (is_valid_file is None):
            raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
        self.root = Path(root)
        self.loader = loader
        self.extensions = extensions
        self.transform = transform
        self.target_transform = target_transform
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self._find_samples(is_valid_file, allow_empty)
        self.targets = [label for _, label in self.samples]

    @staticmethod
    def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """The sorted names of the sub-folders, and the index of each."""
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        if not classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
        return classes, {name: label for label, name in enumerate(classes)}

    def _find_samples(
        self, is_valid_file: Callable[[str], bool] | None, allow_empty: bool
    ) -> list[tuple[str, int]]:
        endings = tuple(ending.lower() for ending in self.extensions or ())
        samples: list[tuple[str, int]] = []
        empty = []
        for name, label in self.class_to_idx.items():
            before = len(samples)
            for folder, _, files in sorted(os.walk(self.root / name, followlinks=True)):
                for path in (os.path.join(folder, file) for file in sorted(files)):
                    if is_valid_file(path) if is_valid_file is not None else path.lower().endswith(endings):
                        samples.append((path, label))
            if len(samples) == before:
                empty.append(name)
        if empty and not allow_empty:
            supported = f" Supported extensions are: {', '.join(endings)}" if endings else ""
            raise FileNotFoundError(f"Found no valid file for the classes {', '.join(empty)}.{supported}")
        return samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} is out of range for {len(self)} samples")
        path, label = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        if self.target_transform is not None:
            return sample, self.target_transform(label)
        return sample, label

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        lines.append(f"    Root location: {self.root}")
        if self.transform is not None:
            lines.append("    Transform: " + repr(self.transform).replace("\n", "\n               "))
        return "\n".join(lines)


class ImageFolder(DatasetFolder):
    """Image files in sub-folders of ``root`` named by class; a sample is (RGB ``PIL.Image``, label).

    Needs Pillow.  Arguments, attributes and errors as for :class:`DatasetFolder`; a file that cannot be
    decoded raises a RuntimeError that names it, when the sample is asked for.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        loader: Callable[[str], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
