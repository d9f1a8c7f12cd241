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
    """Return the module ``PIL.Image``, imported at the first call; ImportError, with what to install."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "decoding images needs Pillow, which is not installed: pip install 'accelgrad[data]'"
        ) from error
    return Image


def pil_loader(path: str | os.PathLike[str]) -> Any:
    """Read the image file ``path`` as a ``PIL.Image`` in RGB.

    Errors: FileNotFoundError; RuntimeError, naming the file, where it is empty or cannot be decoded;
    ImportError without Pillow.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pillow().new("L", (4, 2)).save(f"{folder}/grey.png")
    ...     image = pil_loader(f"{folder}/grey.png")
    >>> image.mode, image.size
    ('RGB', (4, 2))
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
    """Files in sub-folders of ``root``, one for each class: ``root/cat/1.npy`` is a sample of class *cat*.

    Classes are numbered in the order of their sorted names; samples are sorted by path, and may lie in deeper
    folders too.  A sample is ``(transform(loader(path)), target_transform(class index))``.

    Args:
        root: the folder.
        loader: a function from a path to a sample.
        extensions: the file endings that count (with the dot, in upper or lower case).
        is_valid_file: a function that says whether a path counts, instead of ``extensions``.
        allow_empty: whether a class may have no file.

    Attributes: ``classes``, ``class_to_idx``, ``samples`` (pairs of path and class index), ``targets``.

    Errors: FileNotFoundError where the folder, its classes or the files of a class are missing; ValueError
    unless exactly one of ``extensions`` and ``is_valid_file`` is given; IndexError for an index outside.

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
        """Return the sorted names of the sub-folders, and a dict from each to its index."""
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        if not classes:
            raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
        return classes, {name: label for label, name in enumerate(classes)}

    def _find_samples(
        self, is_valid_file: Callable[[str], bool] | None, allow_empty: bool
    ) -> list[tuple[str, int]]:
        """Return (path, class index) of every file that counts; FileNotFoundError for a class without one."""
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
    """Image files in sub-folders of ``root``, one for each class; a sample is (``PIL.Image`` in RGB, label).

    Needs Pillow.  Arguments, attributes and errors as for :class:`DatasetFolder`; a file that cannot be
    decoded raises a RuntimeError that names it, when its sample is read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     os.mkdir(f"{root}/cat")
    ...     pillow().new("L", (4, 2)).save(f"{root}/cat/1.png")
    ...     image, label = ImageFolder(root)[0]
    >>> image.size, label
    ((4, 2), 0)
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
