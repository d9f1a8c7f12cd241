"""gradcheck and gradgradcheck: analytical gradients against central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from accelgrad.core import modes
from accelgrad.core.backward import silently_walk
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """The error of :func:`gradcheck` where the analytical and the numerical gradient differ.

    >>> import accelgrad
    >>> x = accelgrad.tensor([1.0], dtype=accelgrad.float64, requires_grad=True)
    >>> gradcheck(lambda x: x * x.detach(), (x,))
    Traceback (most recent call last):
    accelgrad.autograd.gradcheck.GradcheckError: Jacobian mismatch for output 0 with respect to input 0,
    ...
    """


def gradcheck(
    func: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the Jacobians of ``func`` by backward and by (f(x + eps) - f(x - eps)) / 2 eps, entry by entry.

    Two entries agree if they differ by less than ``atol + rtol |numerical|``.  Only inputs with
    ``requires_grad=True`` are varied; ValueError if there is none, or if one is not float64.  GradcheckError
    (or False, without ``raise_exception``) names the output, the input and both Jacobians where they differ.

    >>> import accelgrad
    >>> x = accelgrad.tensor([1.0, 2.0], dtype=accelgrad.float64, requires_grad=True)
    >>> gradcheck(lambda x: x * x, (x,))
    True
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    varied = [one for one in arguments if isinstance(one, Tensor) and one.requires_grad]
    if not varied:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient,"
            " but none of the them have requires_grad=True."
        )
    for one in varied:
        if one.array.dtype != np.float64:
            raise ValueError(
                f"gradcheck needs float64 inputs to be precise; this one is {one.dtype}: use .double()"
            )
    outputs = [one for one in _outputs(func, arguments) if one.is_floating_point()]
    analytical = [[_analytical(output, one) for one in varied] for output in outputs]
    for column, one in enumerate(varied):
        for row, numerical in enumerate(_numerical(func, arguments, one, len(outputs), eps)):
            computed = analytical[row][column]
            if not np.allclose(computed, numerical, rtol=rtol, atol=atol, equal_nan=True):
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {row} with respect to input"
                    f" {column},\nnumerical:{numerical}\nanalytical:{computed}\n"
                )
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Sequence[Tensor] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
) -> bool:
    """Check the second derivatives: :func:`gradcheck` of the gradients of ``func``.

    They are varied with the inputs and with the gradients of the outputs, ``grad_outputs``, which are drawn
    at random from ``seed`` if they are not given.

    >>> import accelgrad
    >>> x = accelgrad.tensor([1.0, 2.0], dtype=accelgrad.float64, requires_grad=True)
    >>> gradgradcheck(lambda x: x ** 3, (x,))
    True
    """
    arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outputs = [one for one in _outputs(func, arguments) if one.requires_grad]
    if not outputs:
        return True
    if grad_outputs is None:
        rng = np.random.default_rng(seed)
        grad_outputs = [
            wrap(one.xp.from_host(rng.standard_normal(one.array.shape)), one.xp) for one in outputs
        ]
    outgoing = [one.detach().requires_grad_() for one in grad_outputs]
    count = len(arguments)

    def gradients(*both: Any) -> tuple[Tensor, ...]:
        given, weights = both[:count], both[count:]
        varied = [one for one in given if isinstance(one, Tensor) and one.requires_grad]
        results = [one for one in _outputs(func, given) if one.requires_grad]
        roots = [(one.edge(), weight) for one, weight in zip(results, weights, strict=True)]
        found = silently_walk(roots, True, True, [one.edge() for one in varied], accumulate=False)
        return tuple(
            found[one.edge()] if one.edge() in found else wrap(one.xp.zeros_like(one.array), one.xp)
            for one in varied
        )

    return gradcheck(
        gradients, (*arguments, *outgoing), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )


def _outputs(func: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Tensor]:
    """The Tensors among the results of ``func``."""
    result = func(*arguments)
    return [result] if isinstance(result, Tensor) else [one for one in result if isinstance(one, Tensor)]


def _analytical(output: Tensor, one: Tensor) -> np.ndarray:
    """The Jacobian by backward, of shape (elements of one, elements of output), column by column."""
    jacobian = np.zeros((one.numel(), output.numel()))
    edge, target = output.edge(), one.edge()
    if edge is None:
        return jacobian
    for place in range(output.numel()):
        unit = np.zeros(output.numel())
        unit[place] = 1.0
        gradient = output.xp.from_host(unit.reshape(output.array.shape))  # output.shape
        found = silently_walk([(edge, gradient)], True, False, [target], accumulate=False)
        if found.get(target) is not None:
            jacobian[:, place] = one.xp.to_host(one.xp.asarray(found[target])).reshape(-1)
    return jacobian


def _numerical(
    func: Callable[..., Any], arguments: tuple[Any, ...], one: Tensor, outputs: int, eps: float
) -> list[np.ndarray]:
    """The Jacobians of all outputs by central differences; ``one`` is changed and restored."""
    rows: list[list[np.ndarray]] = [[] for _ in range(outputs)]
    original = one.array
    for place in range(one.numel()):
        sides = []
        for step in (eps, -eps):
            moved = one.xp.to_host(original).copy()
            moved.reshape(-1)[place] += step
            one.array = one.xp.from_host(moved)
            try:
                with modes.enable_grad():
                    found = [r for r in _outputs(func, arguments) if r.is_floating_point()]
                    sides.append([r.xp.to_host(r.array).copy() for r in found])
            finally:
                one.array = original
        for row in range(outputs):
            rows[row].append(((sides[0][row] - sides[1][row]) / (2 * eps)).reshape(-1))
    return [np.array(row).reshape(one.numel(), -1) for row in rows] if one.numel() else []
