"""Clipping of gradients: clip_grad_norm_, clip_grad_value_ and their parts.

``parameters`` is one tensor or several; those without a gradient are passed over.  ``foreach`` is accepted
and changes nothing: all gradients of a kind are always scaled in one call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from accelgrad.arrays import backend, dtypes
from accelgrad.core import foreach as together
from accelgrad.core.modes import no_grad
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.kernels import updates

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The gradients of the parameters that have one."""
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [one._grad for one in parameters if one._grad is not None]


@no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The ``norm_type`` norm of all tensors together, as if they were one vector.

    A tensor without dimensions.  RuntimeError where it is not finite and ``error_if_nonfinite`` is set.

    >>> import accelgrad
    >>> get_total_norm([accelgrad.tensor([3.0]), accelgrad.tensor([[4.0]])])
    tensor(5.)
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return wrap(backend.namespace().zeros((), dtype=dtypes.get_default_dtype().numpy))
    total = wrap(*together.total_norm(tensors, norm_type))
    if error_if_nonfinite and not math.isfinite(float(total.item())):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite,"
            " so it cannot be clipped."
            " To disable this error and scale the gradients by the non-finite norm anyway,"
            " set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients in place by ``max_norm / total_norm`` where that is less than 1.

    >>> import accelgrad
    >>> x = accelgrad.zeros(2, requires_grad=True); x.grad = accelgrad.tensor([3.0, 4.0])
    >>> clip_grads_with_norm_(x, max_norm=5.0, total_norm=accelgrad.tensor(10.0))
    >>> x.grad
    tensor([1.5000, 2.0000])
    """
    gradients = _gradients(parameters)
    home = total_norm.xp
    if home.asynchronous and all(one.xp is home for one in gradients):
        # To ask whether there is anything to scale would make the host wait for the card.
        with home.scope():
            scale = home.reshape(home.minimum(float(max_norm) / (total_norm.array + 1e-6), 1.0), (1,))
            for xp, alike in together.by_kind(gradients):
                factor = home.astype(scale, alike[0].array.dtype)
                together.update_all(xp, alike, updates.scale, [None], factor)
        return
    factor = float(max_norm) / (float(total_norm.item()) + 1e-6)
    if not factor >= 1:  # also where the norm is nan
        for xp, alike in together.by_kind(gradients):
            together.update_all(xp, alike, updates.scale, [None], (factor,))


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their norm is at most ``max_norm``; returns the norm before.

    Pascanu, Mikolov & Bengio 2013.  The norm is that of order ``norm_type`` over all gradients as one vector.
    RuntimeError where it is not finite and ``error_if_nonfinite`` is set.

    >>> from accelgrad import Tensor, nn
    >>> x = nn.Parameter(Tensor([0.0, 0.0])); x.grad = Tensor([3.0, 4.0])
    >>> clip_grad_norm_([x], max_norm=1.0)
    tensor(5.)
    >>> x.grad
    tensor([0.6000, 0.8000])
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


clip_grad_norm = clip_grad_norm_


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every element of the gradients to -``clip_value`` ... ``clip_value``, in place.

    >>> import accelgrad
    >>> x = accelgrad.zeros(2, requires_grad=True); x.grad = accelgrad.tensor([0.5, -4.0])
    >>> clip_grad_value_(x, 1.0)
    >>> x.grad
    tensor([ 0.5000, -1.0000])
    """
    clip_value = float(clip_value)
    for xp, alike in together.by_kind(_gradients(parameters)):
        together.update_all(xp, alike, updates.cut, [None], (-clip_value, clip_value))
