"""The exercises of notebook 10, the case study NotMNIST."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from accelgrad.core.tensor import Tensor
from accelgrad.mentor.checks import exercise, require, trials


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@exercise("10.verify", "a function that says whether a file has the right size and digest")
def verify(answer: Any) -> None:
    """A function of path, size and md5; verified on right, cut, changed, exchanged and missing files."""
    require(callable(answer), "is_right is a function of path, size and md5")

    def says(path: Path, size: int, md5: str, wanted: bool, case: str) -> None:
        got = answer(path, size, md5)
        require(isinstance(got, bool | np.bool_), f"{case} it returned {got!r}; True or False is asked for")
        require(bool(got) is wanted, f"{case} it says {bool(got)}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "letters.bin"
        for rng in trials(3):
            content = rng.bytes(int(rng.integers(1000, 200_000)))
            size, md5 = len(content), _md5(content)
            path.write_bytes(content)
            says(path, size, md5, True, "for a file that is right")
            says(path, size, md5.upper(), True, "for a right file whose digest is given in capital letters")
            says(path, size + 1, md5, False, "for a file with the right digest and one byte too few")
            changed = bytearray(content)
            changed[-1] ^= 1
            path.write_bytes(changed)
            says(path, size, md5, False, "for a file of the right size whose last bit was changed")
            path.write_bytes(content[:-7])
            says(path, size, md5, False, "for a file that was cut off")
            require(path.exists() and path.stat().st_size == size - 7, "the file was changed by the call")
        path.write_bytes(b"")
        says(path, 0, _md5(b""), True, "for an empty file that shall be empty")
        path.unlink()
        says(path, 0, _md5(b""), False, "for a file that does not exist")


@exercise("10.split", "a function that holds out whole fonts")
def split(answer: Any) -> None:
    """A function of fonts, number and seed; verified by the fonts on both sides and by its seeds."""
    require(callable(answer), "held_out is a function of fonts, number and seed")
    for rng in trials(4):
        kinds = [f"font{k}.ttf" for k in range(int(rng.integers(6, 12)))]
        fonts = [kinds[k] for k in rng.permutation(np.arange(len(kinds) * 5) % len(kinds))]
        fonts += [kinds[0]] * 9  # fonts are not equally frequent
        number = int(rng.integers(1, 4))
        held = list(fonts)
        answers = {}
        for seed in range(8):
            mask = _mask(answer(fonts, number, seed), len(fonts))
            require(fonts == held, "the list of fonts was changed by the call")
            test = {font for font, out in zip(fonts, mask, strict=True) if out}
            train = {font for font, out in zip(fonts, mask, strict=True) if not out}
            both = sorted(test & train)
            require(not both, f"{len(both)} fonts stand on both sides, for example {both[:2]}")
            require(len(test) == number, f"{len(test)} fonts are held out where {number} are asked for")
            again = _mask(answer(list(fonts), number, seed), len(fonts))
            require(np.array_equal(mask, again), f"two calls with seed {seed} give different answers")
            answers[seed] = frozenset(test)
        require(len(set(answers.values())) > 1, "eight seeds hold out the same fonts: is the seed used?")


def _mask(got: Any, length: int) -> np.ndarray:
    """The answer as an array of bool; refused where it is none."""
    mask = np.asarray(got.xp.to_host(got.array) if isinstance(got, Tensor) else got)
    require(
        mask.shape == (length,),
        f"for {length} samples the answer has shape {mask.shape}: one bool for each sample is asked for",
    )
    require(mask.dtype.kind == "b", f"the answer holds {mask.dtype} values; True and False are asked for")
    return mask
