"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from accelgrad.core.tensor import Tensor
from accelgrad.ops.shapes.join import cat

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened and joined: for line searches, averages and distances.

    Any shapes; the result is a vector of all elements, in order.

    >>> from accelgrad import nn
    >>> parameters_to_vector(nn.Linear(3, 2).parameters()).shape
    accelgrad.Size([8])
    """
    return cat([one.reshape(-1) for one in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Cut ``vec`` into the shapes of ``parameters`` and let them share its memory.

    TypeError where ``vec`` is no Tensor.

    >>> import accelgrad
    >>> from accelgrad import nn
    >>> layer = nn.Linear(2, 1)
    >>> vector_to_parameters(accelgrad.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected Tensor, but got: {type(vec).__name__}")
    start = 0
    for one in parameters:
        part = vec.array[start : start + one.array.size]
        one.data = vec.detach()[start : start + one.array.size].reshape(one.array.shape)
        start += part.size
