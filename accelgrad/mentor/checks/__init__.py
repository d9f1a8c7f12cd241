"""Instant checks for exercises: ``accelgrad.check("01.diagonal", answer)`` says right or wrong, and why.

A check never compares with one stored answer: it *verifies*, so that every correct answer is accepted, and
what it says about a wrong one is a hint, never the solution.  Exercises are registered under
``<notebook>.<name>`` in the file ``accelgrad/mentor/checks/notebook_<notebook>.py``, which is imported when
one of them is first asked for.  One that asks for a function is verified on random inputs against a second
formula::

    import numpy as np
    from accelgrad.core import modes
from accelgrad.mentor.checks import exercise, here, require, same, trials

    @exercise("01.double", "a function that doubles every element")
    def double(answer):
        for rng in trials(5):
            x = here(rng.normal(size=(3, int(rng.integers(1, 6)))))
            before = x.clone()
            y = answer(x)
            require(y is not x, "return a new tensor; x itself shall stay as it is")
            same(x, before, "the input after the call")
            same(y, x.numpy(force=True) * 2, "the result for an input of shape (3, n)")

One that asks for a value looks at its properties::

    @exercise("01.view", "a view of x that shows its transpose")
    def view(answer):
        x, y = answer
        require(y.data_ptr() == x.data_ptr(), "y has memory of its own: a view shares x's")
        same(y, x.numpy(force=True).T, "y")

Rules for verifiers: a parameter named ``answer``; no ``assert``; random inputs from :func:`trials` only (the
same ones every time, and different sizes); the answer's function is called with fresh inputs; hints name what
was seen in the answer, not what should be written.  In the notebook: ``accelgrad.check("01.double", ...)`` as
the last line of a cell, where ``...`` stands for no answer yet.
"""

from __future__ import annotations

import difflib
import html
import importlib
import importlib.util
import linecache
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelgrad.arrays import backend
from accelgrad.core import modes
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.random import default_generator
from accelgrad.viz.record import PACKAGE

__all__ = ["Exercise", "Verdict", "check", "exercise", "exercises", "here", "require", "same", "trials"]


@dataclass(frozen=True)
class Exercise:
    """One registered exercise: its name, its task in one phrase, and the function that verifies answers."""

    name: str
    task: str
    verify: Callable[[Any], Any]


@dataclass(frozen=True)
class Verdict:
    """What :func:`check` found; true where the answer is right.  ``state`` is "right", "wrong" or "open"."""

    exercise: str
    state: str
    message: str

    def __bool__(self) -> bool:
        return self.state == "right"

    def __repr__(self) -> str:
        sign = {"right": "✓", "wrong": "✗", "open": "…"}[self.state]
        return f"{sign} {self.exercise}: {self.message}"

    def _repr_html_(self) -> str:
        color, back = {
            "right": ("#2c7a4b", "#eaf6ee"),
            "wrong": ("#b3452c", "#fdf0ec"),
            "open": ("#6b7079", "#f3f4f6"),
        }[self.state]
        return (
            f'<div style="border-left:4px solid {color};background:{back};color:#20242b;padding:6px 12px;'
            f'white-space:pre-wrap">{html.escape(repr(self))}</div>'
        )


class Refusal(Exception):
    """Raised by :func:`require` and :func:`same`: the answer is wrong, for the reason given."""


REGISTRY: dict[str, Exercise] = {}


def exercise(name: str, task: str = "") -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register the decorated function as the verifier of exercise ``name``, e.g. ``"01.diagonal"``.

    The function takes the answer and returns if it is right; it refuses by :func:`require`, by :func:`same`,
    or by returning a hint.  ValueError where the name is not ``<notebook>.<name>`` or is taken.
    """
    if name.count(".") != 1 or not all(name.split(".")):
        raise ValueError(f"an exercise is named <notebook>.<name>, like '01.diagonal', got {name!r}")

    def register(verify: Callable[[Any], Any]) -> Callable[[Any], Any]:
        held = REGISTRY.get(name)
        if held is not None and (held.verify.__module__, held.verify.__qualname__) != (
            verify.__module__,
            verify.__qualname__,
        ):
            raise ValueError(f"the exercise {name!r} is already registered in {held.verify.__module__}")
        REGISTRY[name] = Exercise(name, task, verify)
        return verify

    return register


def exercises(notebook: str = "") -> list[Exercise]:
    """The registered exercises of a notebook (``"01"``), by name; without an argument those loaded so far."""
    if notebook:
        _load(notebook)
    return [
        REGISTRY[name] for name in sorted(REGISTRY) if name.split(".")[0] == (notebook or name.split(".")[0])
    ]


def check(name: str, answer: Any) -> Verdict:
    """Verify the answer to an exercise.

    Returns a :class:`Verdict`, which is true for a right answer and shows itself with a hint for a wrong one;
    an exception in the answer's own code is part of the verdict.  ``...`` and None mean that there is no
    answer yet.  Random state and grad mode are left as they were.  KeyError where no exercise has that name.

    >>> @exercise("doc.even", "an even number")
    ... def even(answer):
    ...     require(answer % 2 == 0, f"{answer} leaves a rest when divided by two")
    >>> check("doc.even", 4)
    ✓ doc.even: right
    >>> check("doc.even", 3)
    ✗ doc.even: 3 leaves a rest when divided by two
    """
    found = _find(name)
    if answer is None or answer is ...:
        return Verdict(name, "open", "no answer yet" + (f": {found.task}" if found.task else ""))
    random_state, grad = default_generator.get_state(), modes.state.grad
    try:
        hint = found.verify(answer)
    except Refusal as refusal:
        hint = str(refusal)
    except Exception as error:  # the answer's code failed: that is a wrong answer, and its message the hint
        hint = _where(error, found)
    finally:
        default_generator.set_state(random_state)
        modes.state.grad = grad
    if hint is None or hint is True:
        return Verdict(name, "right", "right")
    return Verdict(name, "wrong", hint if isinstance(hint, str) and hint else "not yet")


def require(condition: Any, hint: str) -> None:
    """Refuse the answer with ``hint`` unless ``condition`` holds."""
    if not bool(condition):
        raise Refusal(hint)


def same(
    got: Any, wanted: Any, what: str = "the result", *, dtype: Any = None, tolerance: float = 1e-5
) -> None:
    """Refuse the answer unless ``got`` has the values of ``wanted``; say where they differ, not the solution.

    Both may be Tensors, arrays or numbers; NaN equals NaN.  ``tolerance`` is relative to the largest wanted
    magnitude, ``dtype`` (an accelgrad dtype) is required if given.
    """
    if got is None or got is ...:
        raise Refusal(f"{what} is {got}: is there a return?")
    if dtype is not None:
        require(
            getattr(got, "dtype", None) is dtype,
            f"{what} has dtype {getattr(got, 'dtype', None)}; another is asked for",
        )
    try:
        value, goal = np.asarray(_host(got)), np.asarray(_host(wanted))
    except (TypeError, ValueError):
        raise Refusal(f"{what} is a {type(got).__name__}, which does not become a tensor") from None
    if value.dtype.kind not in "biuf":
        raise Refusal(f"{what} is a {type(got).__name__}; numbers are asked for")
    if value.shape != goal.shape:
        raise Refusal(f"{what} has shape {tuple(value.shape)}; {_shape_hint(value.shape, goal.shape)}")
    scale = float(np.max(np.abs(goal[np.isfinite(goal)]), initial=0.0)) if goal.dtype.kind == "f" else 0.0
    limit = tolerance * max(scale, 1e-3) if goal.dtype.kind == "f" else 0.0
    with np.errstate(invalid="ignore"):
        if "b" in value.dtype.kind + goal.dtype.kind:
            wrong = value != goal
        else:
            difference = np.abs(value.astype(np.float64) - goal.astype(np.float64))
            wrong = ~((difference <= limit) | (value == goal) | (np.isnan(value) & np.isnan(goal)))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        if value.ndim == 0:
            raise Refusal(f"{what} is {value}, and that is not the value")
        raise Refusal(
            f"{what} has the right shape, but {int(wrong.sum())} of {wrong.size} values are wrong;"
            f" the first one at [{', '.join(map(str, place))}], where you have {value[place]}"
        )


def trials(count: int = 5, seed: int = 2024) -> Iterator[np.random.Generator]:
    """``count`` random generators for test inputs, the same ones in every check."""
    for number in range(count):
        yield np.random.default_rng([seed, number])


def here(values: np.ndarray) -> Tensor:
    """A tensor with a copy of ``values`` on the default device, where the answer's own new tensors lie too.

    >>> here(np.arange(3))
    tensor([0, 1, 2])
    """
    xp = backend.default_namespace()
    return wrap(xp.from_host(values.copy()), xp)


def _shape_hint(have: tuple[int, ...], goal: tuple[int, ...]) -> str:
    if len(have) != len(goal):
        return f"it has {len(have)} dimensions, {len(goal)} are asked for"
    if sorted(have) == sorted(goal):
        return "the right extents in another order"
    places = [str(axis) for axis, (one, other) in enumerate(zip(have, goal, strict=True)) if one != other]
    return f"the extent of dimension {' and '.join(places)} is not the one asked for"


def _host(value: Any) -> Any:
    return value.xp.to_host(value.array) if isinstance(value, Tensor) else value


def _where(error: Exception, found: Exercise) -> str:
    """The error of an answer with the line of the answer's code it came from."""
    theirs = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if code is not found.verify.__code__ and not code.co_filename.startswith(PACKAGE):
            theirs.append((code.co_filename, line))
    text = f"{type(error).__name__}: {error}"
    if not theirs:
        return f"the answer could not be used: {text}"
    file, line = [one for one in theirs if one[0] == theirs[0][0]][-1]
    source = linecache.getline(file, line).strip()
    return f"your code raised {text}" + (f"\n    line {line}: {source}" if source else "")


def _find(name: str) -> Exercise:
    notebook = name.split(".")[0] if isinstance(name, str) else ""
    if name not in REGISTRY and notebook:
        _load(notebook)
    if name not in REGISTRY:
        close = difflib.get_close_matches(str(name), list(REGISTRY), 1)
        raise KeyError(f"no exercise is named {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    return REGISTRY[name]


def _load(notebook: str) -> None:
    module = f"{__name__}.notebook_{notebook}"
    if (notebook.isidentifier() or notebook.isdigit()) and importlib.util.find_spec(module) is not None:
        importlib.import_module(module)
