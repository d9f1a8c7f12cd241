"""What upper rooms give to lower classes: methods that are imported when they are first called.

A Tensor can show itself in a notebook, yet no file of the core may import the room that draws.  So a class
says that it is open (:func:`open_to_upper_rooms`), and the top of the house says what is hung on it
(:func:`hang`; the list stands in ``accelgrad/__init__.py``).  Until the first call such a method is a line of
text, ``"accelgrad.viz.notebook:tensor_html"``.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

__all__ = ["Late", "hang", "open_to_upper_rooms"]

_hung: dict[str, dict[str, str]] = {}
_open: dict[str, type] = {}


class Late:
    """A method whose function is imported when it is first asked for.

    >>> class Point:
    ...     quarter = Late("fractions:Fraction.limit_denominator")
    >>> Point.quarter.__name__
    'limit_denominator'
    """

    def __init__(self, place: str) -> None:
        self.place = place

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def load(self) -> Any:
        """Import the function: ``"package.module:name"``, where the name may have dots."""
        module, _, name = self.place.partition(":")
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))

    def __get__(self, instance: Any, owner: type) -> Any:
        function = self.load()
        setattr(self.owner, self.name, function)
        return function if instance is None else function.__get__(instance, owner)


def open_to_upper_rooms(cls: type) -> Any:
    """Decorate a class on which upper rooms may hang methods."""
    path = f"{cls.__module__}:{cls.__qualname__}"
    _open[path] = cls
    for name, place in _hung.get(path, {}).items():
        _attach(cls, name, place)
    return cls


def hang(path: str, **methods: str) -> None:
    """Give the class at ``path`` methods that stand elsewhere, all named as ``"package.module:name"``.

    The class need not be imported yet.  Its file must have opened it.
    """
    _hung.setdefault(path, {}).update(methods)
    if path in _open:
        for name, place in methods.items():
            _attach(_open[path], name, place)


def _attach(cls: type, name: str, place: str) -> None:
    method = Late(place)
    method.__set_name__(cls, name)
    setattr(cls, name, method)
