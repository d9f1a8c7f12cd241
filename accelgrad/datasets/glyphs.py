"""Glyphs: the letters A to J drawn from matplotlib's fonts, in NotMNIST's format, without a network."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelgrad.datasets.base import ImageRecords, Transform, open_records
from accelgrad.datasets.cache import FileLock, home, replacing
from accelgrad.datasets.notmnist import LETTERS, RECORD, check_split, split_rows

__all__ = ["Glyphs"]

SIDE = 28
VERSION = 1  # of the recipe below: a change of it must not read an older cache

# Families with ordinary capitals: no symbols, no large delimiters, no placeholder fonts.
FAMILIES = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmb", "cmmi", "cmr", "cmss", "cmsy", "cmti", "cmtt")
LEFT_OUT = ("Display",)


class Glyphs(ImageRecords):
    """White letters A to J on black, 28 x 28, uint8, each drawn from a font through a random affine map.

    NotMNIST was made in a similar way; here it is the two dozen fonts that every matplotlib has.  Size,
    slant, angle, breadth and place vary, and depend on ``seed`` alone.  Letters and fonts take turns, so
    classes are equally frequent.  The images are drawn once and kept as one array file under
    ``root/Glyphs``, which is memory-mapped; where that folder cannot be written they stay in memory.

    Args:
        root: the folder above; by default ``ACCELGRAD_HOME`` or ``~/.cache/accelgrad``.
        train: the training part, or the test part.
        transform, target_transform: applied to the image (a NumPy array, uint8) and to the label (an int).
        count: the images of both parts together.
        split: ``"random"`` takes single images for the test part, ``"font"`` whole fonts.
        test_fraction: the share of the test part.
        seed: decides the images and the split.

    Errors: ImportError where matplotlib is missing; ValueError for an unknown split, or a wrong count or
    fraction; RuntimeError, naming the file, where the kept file is damaged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     letters = Glyphs(root, count=100)
    ...     image, label = letters[0]
    >>> len(letters), image.shape, image.dtype, letters.classes[label]
    (90, (28, 28), dtype('uint8'), 'B')
    """

    classes = tuple(LETTERS)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
        *,
        count: int = 10_000,
        split: str = "random",
        test_fraction: float = 0.1,
        seed: int = 0,
    ) -> None:
        check_split("Glyphs", split, test_fraction)
        if count < len(LETTERS):
            raise ValueError(
                f"Glyphs: count must be at least {len(LETTERS)}, one for each letter; got {count}"
            )
        import matplotlib

        name = f"glyphs-v{VERSION}-{count}-seed{seed}-matplotlib{matplotlib.__version__}.npy"
        source = _cached(home(root) / "Glyphs" / name, count, seed)
        records = open_records(source) if isinstance(source, Path) else source
        rows = split_rows(records, split, test_fraction, seed, train)
        super().__init__(source, rows, train=train, transform=transform, target_transform=target_transform)
        self.split = split

    @property
    def fonts(self) -> list[str]:
        """The font of each sample of this part."""
        return [name.decode() for name in self.records["font"][self._rows].tolist()]


def _cached(path: Path, count: int, seed: int) -> Path | NDArray[Any]:
    """Return the path of the array file, made if need be, or the records if it cannot be written."""
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                with replacing(path) as temporary, open(temporary, "wb") as stream:
                    np.save(stream, draw(count, seed))
        return path
    except OSError:  # a read-only or full disk: the data is not kept, but there
        return draw(count, seed)


def font_files() -> list[Path]:
    """Return matplotlib's fonts that have ordinary capitals, sorted by name."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return sorted(
        path
        for path in folder.glob("*.ttf")
        if path.name.startswith(FAMILIES) and not any(word in path.name for word in LEFT_OUT)
    )


def draw(count: int, seed: int) -> NDArray[Any]:
    """Draw ``count`` records: image i shows letter i mod 10 in font (i div 10) mod (number of fonts)."""
    # The outlines of all letters in all fonts.
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Affine2D

    fonts = font_files()
    outlines = {}
    for font in fonts:
        properties = FontProperties(fname=str(font))
        for letter in LETTERS:
            outlines[font, letter] = TextPath((0, 0), letter, size=100, prop=properties)

    # The raw output of Philox, which NumPy promises to keep, as six uniform numbers in [0, 1) for each image.
    raw = np.random.Philox(seed).random_raw(6 * count).reshape(count, 6)  # (count, 6)
    uniform = (raw >> np.uint64(11)) * 2.0**-53

    # Each image: an outline, moved to the pixels and filled.
    renderer = RendererAgg(SIDE, SIDE, 72)
    pen = renderer.new_gc()
    pen.set_linewidth(0)
    records = np.zeros(count, RECORD)
    for i in range(count):
        font, letter = fonts[i // len(LETTERS) % len(fonts)], LETTERS[i % len(LETTERS)]
        outline = outlines[font, letter]
        matrix = _random_matrix(outline.vertices, uniform[i])
        renderer.clear()
        renderer.draw_path(pen, outline, Affine2D(matrix), (0.0, 0.0, 0.0))
        coverage = np.asarray(renderer.buffer_rgba())[..., 3]  # how much of each pixel the outline covers
        records[i] = (coverage, i % len(LETTERS), font.name.encode())
    return records


def _random_matrix(vertices: NDArray[Any], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine map (3 x 3, homogeneous) of an outline to the pixels, from six numbers in [0, 1)."""
    span = 2 * uniform - 1  # in [-1, 1)
    turn = math.radians(12) * span[0]
    slant = 0.2 * span[1]
    breadth = math.exp(0.15 * span[2])
    height = 22 + 3 * span[3]  # pixels

    # Rotation @ slant @ breadth, (2, 2), then the scale that fits the letter into the image.
    cos, sin = math.cos(turn), math.sin(turn)
    linear = (
        np.array([[cos, -sin], [sin, cos]]) @ np.array([[1.0, slant], [0.0, 1.0]]) @ np.diag([breadth, 1.0])
    )
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    moved = (vertices - (low + high) / 2) @ linear.T  # (points, 2)
    extent = moved.max(axis=0) - moved.min(axis=0)
    linear *= min(height / extent[1], (SIDE - 2) / extent[0])  # broad letters are bounded by their width
    moved = (vertices - (low + high) / 2) @ linear.T  # (points, 2)

    matrix = np.eye(3)
    matrix[:2, :2] = linear
    centre = (moved.max(axis=0) + moved.min(axis=0)) / 2
    matrix[:2, 2] = SIDE / 2 + span[4:] - centre - linear @ ((low + high) / 2)
    return matrix
