"""Backward on Tensors: where a walk through the graph starts, and where its gradients are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from accelgrad.arrays import backend
from accelgrad.arrays.quiet import hush, unhush
from accelgrad.core import graph
from accelgrad.core.modes import state
from accelgrad.core.tensor import Tensor, method, wrap

__all__ = ["backward", "root", "run_backward", "silently_walk"]


@method
def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | Tensor | None = None,
) -> None:
    """Accumulate the gradient of this tensor in the ``.grad`` of every leaf that it was computed from.

    ``gradient`` is dL/d(self), of the same shape; a tensor with one element needs none (1 is meant).
    ``retain_graph`` keeps what was saved, for a second call; ``create_graph`` records the computation of the
    gradients too, so that they can be differentiated; ``inputs`` limits the accumulation to these tensors.
    RuntimeError where no gradient is needed, for a second walk through a freed graph, and where a saved
    tensor was changed in place since.

    >>> import accelgrad
    >>> x = accelgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).backward(gradient=accelgrad.tensor([1.0, 10.0]))
    >>> x.grad
    tensor([ 2., 40.])
    """
    run_backward((self,), (gradient,), retain_graph, create_graph, inputs)


def run_backward(
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    retain_graph: bool | None,
    create_graph: bool,
    inputs: Sequence[Tensor] | Tensor | None,
) -> None:
    """Accumulate the gradients of ``tensors`` in the leaves (or in ``inputs``): what ``backward`` calls."""
    roots = [
        root(tensor, gradient, create_graph) for tensor, gradient in zip(tensors, gradients, strict=True)
    ]
    targets = None
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if not inputs:
            raise RuntimeError("'inputs' argument to backward() cannot be empty.")
        targets = []
        for tensor in inputs:
            edge = tensor.edge()
            if edge is None:
                raise RuntimeError("One of the differentiated Tensors does not require grad")
            if not edge[0].is_leaf:
                tensor.retain_grad()
            targets.append(edge)
    keep = create_graph if retain_graph is None else retain_graph
    silently_walk(roots, keep, create_graph, targets, accumulate=True)


def silently_walk(
    roots: list[tuple[graph.Edge, Any]], keep: bool, create_graph: bool, targets: Any, accumulate: bool
) -> dict[graph.Edge, Any]:
    """The walk, without NumPy's floating point warnings, and recorded only if asked to."""
    token = hush()
    before = state.grad
    state.grad = create_graph
    xp = getattr(roots[0][0][0], "xp", backend.CPU)
    try:
        with contextlib.nullcontext() if xp.alone else xp.scope():
            return graph.walk(
                roots,
                keep_graph=keep,
                differentiable=create_graph,
                targets=targets,
                accumulate=accumulate,
                add=backend.added if backend.several_cards else None,
            )
    finally:
        state.grad = before
        unhush(token)


def root(tensor: Tensor, gradient: Tensor | None, create_graph: bool) -> tuple[graph.Edge, Any]:
    """The edge and the gradient at which a walk starts, checked as PyTorch checks them."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"backward expects Tensors, got {type(tensor).__name__}")
    edge = tensor.edge()
    if edge is None:
        raise RuntimeError(
            "element 0 of tensors does not require grad and does not have a grad_fn;"
            " was it computed under no_grad, from detached or integer tensors, or from data only?"
            " Set requires_grad=True on what you differentiate for."
        )
    if gradient is None:
        if tensor.array.size != 1:
            raise RuntimeError(
                "grad can be implicitly created only for scalar outputs,"
                f" but this tensor has shape {tuple(tensor.shape)};"
                " reduce it first (loss.sum() or loss.mean()), or pass gradient= of that shape"
            )
        with tensor.xp.scope():
            array = tensor.xp.ones(tensor.array.shape, dtype=tensor.array.dtype)
        return edge, wrap(array, tensor.xp) if create_graph else array
    if not isinstance(gradient, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(gradient).__name__}")
    if gradient.array.shape != tensor.array.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[0] has a shape of {gradient.shape}"
            f" and output[0] has a shape of {tensor.shape}."
        )
    if gradient.xp is not tensor.xp:
        raise RuntimeError(
            f"backward: the gradient is on {gradient.device} but the tensor on {tensor.device};"
            f" move it with gradient.to('{tensor.device}')"
        )
    if create_graph:
        return edge, gradient
    return edge, gradient.array.astype(tensor.array.dtype, copy=False)
