"""Updates: what becomes of every element of every parameter, as formulas that are read in three ways.

A formula here is a function of one element or of a whole array, whichever it is given::

    def adagrad(xp, x, g, s, /, rate, eps):
        s += g * g
        x -= rate * (g / (xp.sqrt(s) + eps))
        return x, s

* :func:`update_all` reads it over arrays, one parameter after the other.  That is its specification, and the
  way it is computed where no kernel is;
* ``kernels/cpu/optimizer.py`` compiles it for one element of an array in memory, in a loop over all
  parameters in one call;
* ``kernels/cuda/optimizer.py`` compiles it for one element of a card's memory, for all parameters in one
  launch.

So a new optimizer is one formula here and a class in ``accelgrad.optim`` that says which numbers it takes.
What all three readings need:

* Before the slash stand ``xp``, the parameter ``x``, what it descends along, ``g``, and the arrays that it
  keeps from step to step; what is left out in some variant comes as None.  Behind it stand numbers.  What is
  returned is ``x`` and the arrays, without ``g``.
* ``x += ...`` changes an array in place and gives a number another value, so no other name for the old value
  may be used afterwards; ``g`` is not ours to change.
* Numbers come in as arguments, never as ``0`` or ``1`` in the text: so they have the type of the elements.
  A condition is a number that is zero or not.
* From ``xp`` only: abs, clip, maximum, minimum, sign, sqrt, where.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

__all__ = ["FORMULAS", "Formula", "total_norm", "update_all", "variants"]

Formula = Callable[..., tuple[Any, ...]]
Numbers = Sequence[float]

FORMULAS: dict[Formula, tuple[str, ...]] = {}
"""Every formula that the kernels compile, with the names of the arrays that may be left out."""


def formula(*optional: str) -> Callable[[Formula], Formula]:
    """Register the decorated formula; ``optional`` names the arrays that may be left out."""

    def register(function: Formula) -> Formula:
        FORMULAS[function] = optional
        return function

    return register


def arrays_of(formula: Formula) -> list[str]:
    """The names of a formula's arrays after x: g, and what is kept."""
    kinds = inspect.signature(formula).parameters.values()
    return [one.name for one in kinds if one.kind is one.POSITIONAL_ONLY][2:]


def numbers_of(formula: Formula) -> list[str]:
    """The names of a formula's numbers."""
    kinds = inspect.signature(formula).parameters.values()
    return [one.name for one in kinds if one.kind is one.POSITIONAL_OR_KEYWORD]


def variants(formula: Formula) -> Iterator[tuple[bool, ...]]:
    """For every way to leave arrays out: which of the arrays after x are there.

    >>> list(variants(sgd))
    [(True, True), (True, False)]
    """
    optional = FORMULAS[formula]
    yield from product(
        *(
            (False,) if name == "_" else (True, False) if name in optional else (True,)
            for name in arrays_of(formula)
        )
    )


# --- over all parameters


def update_all(
    xp: Any,
    params: Sequence[Any],
    formula: Formula,
    others: Sequence[Sequence[Any] | None],
    numbers: Any,
    sign: float = 1.0,
    decay: float = 0.0,
    shrink: float = 1.0,
) -> None:
    """``formula`` on every parameter, in place.

    ``others``: a list of arrays like ``params`` for each of the formula's arrays after x (the gradients come
    first), or None for one that is left out.  ``numbers``: a tuple for all parameters, a list with a tuple
    for each, or an array beside the parameters for all, which the host need not know.  First comes what all
    optimizers share: ``g`` is ``sign``, 1 or -1, times the gradient plus ``decay`` times x (weight decay),
    and x itself is multiplied by ``shrink`` (decoupled weight decay).
    """
    nothing = [None] * len(params)
    columns = [nothing if one is None else one for one in others]
    if type(numbers) is list:
        rows = [tuple(map(float, own)) for own in numbers]
    else:  # NumPy's own numbers, unlike Python's, would change the type
        rows = [tuple(map(float, numbers) if type(numbers) is tuple else numbers)] * len(params)
    for x, g, *kept, own in zip(params, *columns, rows, strict=True):
        if g is not None:
            if sign != 1:
                g = -g
            if decay:
                g = g + decay * x
        if shrink != 1:
            x *= shrink
        arrays = (x, *kept)
        for place, new in enumerate(formula(xp, x, g, *kept, *own)):
            if new is not arrays[place]:
                arrays[place][...] = new


def total_norm(xp: Any, arrays: Sequence[Any], ord: float = 2.0) -> Any:
    """The norm of all arrays together, as if they were one vector: the norm of their norms."""
    return xp.vector_norm(xp.stack([xp.vector_norm(one, ord) for one in arrays]), ord)


# --- the optimizers' steps


@formula("b")
def sgd(xp, x, g, b, /, lr, momentum, kept, fresh, nesterov):
    """Sutskever et al. 2013, in PyTorch's form, which multiplies the whole momentum by the present lr.

    ``kept`` is momentum and ``fresh`` is 1 - dampening; in the first step, which begins the buffer with the
    gradient, they are 0 and 1.
    """
    if b is not None:
        b *= kept
        b += fresh * g
        g = g + momentum * b if nesterov else b
    x -= lr * g
    return x, b


@formula("largest")
def adam(xp, x, g, m, v, largest, /, beta1, rest1, beta2, rest2, rate, root, eps):
    """Kingma & Ba 2015, Algorithm 1; with ``largest`` Reddi et al. 2018, Algorithm 2 (AMSGrad).

    ``rest`` is 1 - beta.  The corrections of the start from zero are gathered in two numbers: ``rate`` is
    lr / (1 - beta1^t), ``root`` is sqrt(1 - beta2^t).
    """
    m *= beta1
    m += rest1 * g
    v *= beta2
    v += rest2 * (g * g)
    second = v
    if largest is not None:
        largest = xp.maximum(largest, v)
        second = largest
    x -= rate * (m / (xp.sqrt(second) / root + eps))
    return x, m, v, largest


@formula("mean", "b")
def rmsprop(xp, x, g, v, mean, b, /, lr, alpha, rest, eps, momentum):
    """Hinton, Neural Networks for Machine Learning, lecture 6e; with ``mean`` Graves 2013, equations 38-45.

    ``rest`` is 1 - alpha.
    """
    v *= alpha
    v += rest * (g * g)
    second = v
    if mean is not None:
        mean += rest * (g - mean)
        second = v - mean * mean
    d = g / (xp.sqrt(second) + eps)
    if b is not None:
        b *= momentum
        b += d
        d = b
    x -= lr * d
    return x, v, mean, b


@formula()
def adagrad(xp, x, g, s, /, rate, eps):
    """Duchi, Hazan & Singer 2011.  ``rate`` is lr / (1 + (t - 1) lr_decay)."""
    s += g * g
    x -= rate * (g / (xp.sqrt(s) + eps))
    return x, s


@formula()
def adadelta(xp, x, g, v, u, /, lr, rho, rest, eps):
    """Zeiler 2012, Algorithm 1.  ``rest`` is 1 - rho."""
    v *= rho
    v += rest * (g * g)
    d = xp.sqrt(u + eps) / xp.sqrt(v + eps) * g
    u *= rho
    u += rest * (d * d)
    x -= lr * d
    return x, v, u


@formula()
def adamax(xp, x, g, m, u, /, rest1, beta2, eps, rate):
    """Kingma & Ba 2015, Algorithm 2.  ``rest1`` is 1 - beta1, ``rate`` is lr / (1 - beta1^t)."""
    m += rest1 * (g - m)
    u = xp.maximum(beta2 * u, xp.abs(g) + eps)
    x -= rate * (m / u)
    return x, m, u


@formula()
def nadam(xp, x, g, m, v, /, rest1, beta2, rest2, correction, eps, rate_g, rate_m):
    """Dozat 2016, Algorithm 2.

    ``correction`` is 1 - beta2^t; the momentum schedule, which needs all mu so far, is in the rates of the
    gradient and of its mean.
    """
    m += rest1 * (g - m)
    v *= beta2
    v += rest2 * (g * g)
    denominator = xp.sqrt(v / correction) + eps
    x -= rate_g * (g / denominator)
    x -= rate_m * (m / denominator)
    return x, m, v


@formula()
def radam(xp, x, g, m, v, /, lr, rest1, beta2, rest2, correction, rectified, eps):
    """Liu et al. 2020, Algorithm 2.

    ``correction`` is 1 - beta1^t; ``rectified`` is r sqrt(1 - beta2^t), or 0 while the variance cannot be
    trusted.
    """
    m += rest1 * (g - m)
    v *= beta2
    v += rest2 * (g * g)
    d = m / correction
    if rectified:
        d = d * rectified / (xp.sqrt(v) + eps)
    x -= lr * d
    return x, m, v


@formula()
def asgd(xp, x, g, mean, /, eta, kept, mu, begins):
    """Polyak & Juditsky 1992.

    ``kept`` is 1 - lambd eta; the average of the path ``begins`` anew while mu is 1.
    """
    x *= kept
    x -= eta * g
    mean = x if begins else mean + mu * (x - mean)
    return x, mean


@formula()
def rprop(xp, x, g, previous, size, /, shrink, grow, smallest, largest, zero):
    """Riedmiller & Braun 1993.  After a change of sign the element stays, and its gradient is forgotten."""
    agreement = g * previous
    changed = agreement < zero
    size = xp.where(changed, size * shrink, xp.where(agreement > zero, size * grow, size))
    size = xp.clip(size, smallest, largest)
    g = xp.where(changed, zero, g)
    x -= size * xp.sign(g)
    return x, g, size


# --- what else is done to all of them


@formula()
def scale(xp, x, _, /, factor):
    """x times a factor."""
    x *= factor
    return (x,)


@formula()
def fill(xp, x, _, /, value):
    """The value in place of x."""
    return (value,)


@formula()
def cut(xp, x, _, /, low, high):
    """x, but not below ``low`` nor above ``high``."""
    return (xp.clip(x, low, high),)


@formula()
def exponential_average(xp, x, g, /, kept, rest):
    """The average x of many g, of which the latest weigh most: ``rest`` is 1 - kept."""
    x *= kept
    x += rest * g
    return (x,)


@formula()
def equal_average(xp, x, g, /, count):
    """The average x of ``count`` g, the latest among them."""
    x += (g - x) / count
    return (x,)
