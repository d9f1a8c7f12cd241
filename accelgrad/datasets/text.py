"""English text without a network: Python's manual from the standard library, and a small vocabulary."""

from __future__ import annotations

import importlib
import operator
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from accelgrad.datasets.base import Transform, stratified_split

__all__ = ["PythonManual", "Vocabulary", "tokenize"]

# Class -> the chapters of the manual that belong to it.  Chapters that repeat parts of these are left out.
CHAPTERS = {
    "data model": ("types", "specialnames", "objects"),
    "statements": (
        "compound",
        "assert",
        "assignment",
        "augassign",
        "break",
        "continue",
        "del",
        "global",
        "import",
        "nonlocal",
        "pass",
        "raise",
        "return",
        "yield",
    ),
    "expressions": (
        "atom-identifiers",
        "atom-literals",
        "attribute-references",
        "await",
        "binary",
        "bitwise",
        "booleans",
        "calls",
        "comparisons",
        "conversions",
        "dict",
        "exprlists",
        "lambda",
        "lists",
        "operator-summary",
        "power",
        "shifting",
        "slicings",
        "subscriptions",
        "unary",
    ),
    "strings": ("string-methods", "formatstrings", "strings"),
    "containers": ("typesseq", "typesmapping"),
    "debugger": ("debugger",),
}

WORD = re.compile(r"[A-Za-z_]+(?:['’][a-z]+)?|\d+|[^\w\s]")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"“*])")


class PythonManual:
    """Paragraphs or sentences of Python's reference manual (``pydoc_data.topics``), each with its chapter.

    A sample is ``(text, label)``: a str without line breaks, and the index of one of six ``classes``.  The
    texts have very different lengths, so a batch of them needs padding, as ``pad_collate`` does it.  The
    manual grows with Python's version, and so do the counts (3.11: 1,131 paragraphs, 2,100 sentences).  Every
    fifth text of a class is in the test part.

    Args:
        unit: ``"paragraph"`` or ``"sentence"``.
        train: the training part, or the test part.
        transform, target_transform: applied to the text and to the label.

    Errors: ValueError for another unit; ImportError where this Python was built without its manual;
    IndexError for an index outside.

    >>> dataset = PythonManual()
    >>> text, label = dataset[0]
    >>> dataset.classes[label]
    'data model'
    >>> text
    'Below is a list of the types that are built into Python. ...'
    """

    classes = tuple(CHAPTERS)

    def __init__(
        self,
        unit: str = "paragraph",
        train: bool = True,
        transform: Transform | None = None,
        target_transform: Transform | None = None,
    ) -> None:
        if unit not in ("paragraph", "sentence"):
            raise ValueError(f"PythonManual: unit must be 'paragraph' or 'sentence', got {unit!r}")
        pairs = _labelled(unit)
        rows = np.flatnonzero(stratified_split(np.array([label for _, label in pairs]), 5) != train)
        self.texts = [pairs[row][0] for row in rows]
        self.targets = [pairs[row][1] for row in rows]
        self.unit, self.train = unit, train
        self.transform, self.target_transform = transform, target_transform

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"PythonManual: index {index} is out of range for {len(self)} samples")
        text: Any = self.texts[index]
        label: Any = self.targets[index]
        if self.transform is not None:
            text = self.transform(text)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return text, label

    def __repr__(self) -> str:
        lines = ["Dataset PythonManual", f"    Number of datapoints: {len(self)}", f"    Unit: {self.unit}"]
        return "\n".join([*lines, f"    Split: {'Train' if self.train else 'Test'}"])


def _labelled(unit: str) -> list[tuple[str, int]]:
    """Return every different text of the manual with its label, in the order of the chapters."""
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise ImportError(
            "PythonManual reads pydoc_data.topics of the standard library, which this Python lacks;"
            " install Python's full library (on some systems a package of its own)"
        ) from error
    seen: set[str] = set()
    pairs = []
    for label, chapters in enumerate(CHAPTERS.values()):
        for chapter in chapters:
            for paragraph in _paragraphs(topics.get(chapter, "")):
                for text in SENTENCE_END.split(paragraph) if unit == "sentence" else [paragraph]:
                    if text not in seen and len(tokenize(text)) >= 5:
                        seen.add(text)
                        pairs.append((text, label))
    return pairs


def _paragraphs(chapter: str) -> list[str]:
    """Return a chapter's paragraphs, one line each, without headings, code, grammar and tables."""
    paragraphs = []
    for block in re.split(r"\n\s*\n", chapter):
        text = " ".join(block.split())
        letters = sum(character.isalpha() or character == " " for character in text)
        is_prose = text[:1].isalpha() or text[:1] in '"*“‘('
        if (
            is_prose
            and text.endswith((".", ":", "!", ")"))
            and letters >= 0.8 * len(text)
            and "::=" not in text
        ):
            paragraphs.append(text)
    return paragraphs


def tokenize(text: str) -> list[str]:
    """Split a text into words (in lower case), numbers and signs.

    >>> tokenize("Don't panic: x = 42.")
    ["don't", 'panic', ':', 'x', '=', '42', '.']
    """
    return WORD.findall(text.lower())


class Vocabulary:
    """Numbers for tokens: the special ones first, then by decreasing frequency (ties by the alphabet).

    Args:
        texts: strings (split by :func:`tokenize`) or lists of tokens.
        min_count: rarer tokens are left out.
        max_size: the largest length, special tokens included.
        specials: tokens that come first; the second stands for every unknown token.

    >>> vocabulary = Vocabulary(["the cat", "the dog"])
    >>> len(vocabulary), vocabulary.encode("the bird")
    (5, [2, 1])
    >>> vocabulary.decode([2, 3, 0])
    ['the', 'cat', '<pad>']
    """

    def __init__(
        self,
        texts: Iterable[str | Sequence[str]],
        *,
        min_count: int = 1,
        max_size: int | None = None,
        specials: tuple[str, str, *tuple[str, ...]] = ("<pad>", "<unk>"),
    ) -> None:
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(tokenize(text) if isinstance(text, str) else text)
        for special in specials:
            counts.pop(special, None)
        ranked = sorted(
            (token for token in counts if counts[token] >= min_count), key=lambda t: (-counts[t], t)
        )
        self.tokens = [*specials, *ranked][:max_size]
        self.index = {token: number for number, token in enumerate(self.tokens)}
        self.padding, self.unknown = 0, 1

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.index

    def __getitem__(self, token: str) -> int:
        """Return the number of ``token``, or of the unknown token where it is not in the vocabulary."""
        return self.index.get(token, self.unknown)

    def encode(self, text: str | Sequence[str]) -> list[int]:
        """Return the numbers of a text's tokens."""
        return [self[token] for token in (tokenize(text) if isinstance(text, str) else text)]

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Return the tokens of the numbers; IndexError for a number that no token has."""
        return [self.tokens[number] for number in numbers]
