"""The base class of all transforms, and the transforms made of others: Compose, RandomApply, ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accelgrad import random

__all__ = ["Compose", "Lambda", "RandomApply", "RandomChoice", "RandomOrder", "Transform"]


def generator() -> np.random.Generator:
    """Return the generator of every transform: accelgrad's default one, which ``manual_seed`` sets.

    It is looked up at each draw, because each worker process of a loader seeds its own.
    """
    return random.default_generator.numpy


class Transform:
    """A callable that makes an image of another one; a subclass defines ``forward(img)``.

    An image is a Tensor (..., C, H, W), a ``PIL.Image`` or a NumPy array (H, W) or (H, W, C).

    Errors: NotImplementedError where ``forward`` is not defined.

    >>> class Invert(Transform):
    ...     def forward(self, img):
    ...         return 255 - img
    >>> Invert()(np.uint8(5)), Invert()
    (np.uint8(250), Invert())
    """

    def __call__(self, *inputs: Any) -> Any:
        return self.forward(*inputs)

    def forward(self, img: Any) -> Any:
        """Return the transformed image."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(img)")

    def extra_repr(self) -> str:
        """Return the arguments as ``repr`` shows them between its brackets."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


class Compose(Transform):
    """Applies ``transforms`` one after the other.

    Errors: TypeError for one that cannot be called.

    >>> from accelgrad import transforms
    >>> transforms.Compose([transforms.CenterCrop(10), transforms.ToTensor()])
    Compose(
        CenterCrop(size=(10, 10))
        ToTensor()
    )
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        for transform in transforms:
            if not callable(transform):
                raise TypeError(f"Compose: every transform must be callable, got {transform!r}")
        self.transforms = transforms

    def forward(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return _nested(type(self).__name__, self.transforms)


class Lambda(Transform):
    """Applies the function ``lambd`` to the image.

    Errors: TypeError where it cannot be called.

    >>> Lambda(lambda img: 255 - img)(np.uint8(5))
    np.uint8(250)
    """

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def forward(self, img: Any) -> Any:
        return self.lambd(img)


class RandomApply(Transform):
    """Applies all ``transforms``, one after the other, with probability ``p``; otherwise none of them.

    Errors: TypeError for an empty sequence or none; ValueError for a ``p`` outside 0 ... 1.

    >>> RandomApply([Lambda(lambda img: 255 - img)], p=1)(np.uint8(5))
    np.uint8(250)
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        self.transforms = _sequence(transforms)
        self.p = probability(p)

    def forward(self, img: Any) -> Any:
        if generator().random() < self.p:
            for transform in self.transforms:
                img = transform(img)
        return img

    def __repr__(self) -> str:
        return _nested(type(self).__name__, self.transforms, f"p={self.p}")


class RandomChoice(Transform):
    """Applies one of ``transforms``, drawn with the weights ``p`` (None: equal ones).

    Errors: TypeError for an empty sequence or none; ValueError for weights that are negative, all 0, or not
    one for each transform.

    >>> RandomChoice([Lambda(lambda img: 0), Lambda(lambda img: 1)], p=[0, 3])(np.uint8(5))
    1
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None) -> None:
        self.transforms = _sequence(transforms)
        if p is not None and (len(p) != len(transforms) or min(p) < 0 or sum(p) <= 0):
            raise ValueError(
                f"RandomChoice: p needs a weight of at least 0 for each of {len(transforms)} transforms: {p}"
            )
        self.p = p

    def forward(self, img: Any) -> Any:
        weights = None if self.p is None else np.asarray(self.p) / sum(self.p)
        return self.transforms[int(generator().choice(len(self.transforms), p=weights))](img)

    def __repr__(self) -> str:
        return _nested(type(self).__name__, self.transforms, *([] if self.p is None else [f"p={self.p}"]))


class RandomOrder(Transform):
    """Applies all ``transforms`` in an order that is drawn for each image.

    Errors: TypeError for an empty sequence or none.

    >>> RandomOrder([Lambda(lambda img: img + 1), Lambda(lambda img: img + 2)])(5)
    8
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = _sequence(transforms)

    def forward(self, img: Any) -> Any:
        for i in generator().permutation(len(self.transforms)):
            img = self.transforms[i](img)
        return img

    def __repr__(self) -> str:
        return _nested(type(self).__name__, self.transforms)


def probability(p: float) -> float:
    """Return ``p``; ValueError unless it lies in 0 ... 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies between 0 and 1, got p={p!r}")
    return p


def _sequence(transforms: Any) -> Sequence[Callable[[Any], Any]]:
    """Return ``transforms``; TypeError for anything but a sequence that is not empty."""
    if not isinstance(transforms, Sequence) or not transforms:
        raise TypeError(f"Argument transforms should be a sequence, not empty, got {transforms!r}")
    return transforms


def _nested(name: str, transforms: Sequence[Any], *first: str) -> str:
    """Return ``name(...)`` with one indented line for each part."""
    parts = [*first, *(repr(transform) for transform in transforms)]
    return "\n".join([f"{name}(", *("    " + part.replace("\n", "\n    ") for part in parts), ")"])
