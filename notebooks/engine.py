"""Autograd in 200 lines: the middle rung between notebook 02's scalar engine and the real core.

Read it from top to bottom.  It uses NumPy only, and every name in it is a name of the core, with the same
meaning, so that afterwards ``accelgrad/core/graph.py``, ``tensor.py`` and ``primitive.py`` read like an old
story with more details.  Run it, and it trains a small network: ``python engine.py``.
"""

from __future__ import annotations

import heapq
import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np

# --- 1. The graph: nodes, and edges to the makers of their inputs
#
# A node is one recorded operation.  It holds edges: for each input the pair (node, slot), the node that made
# this input and the number of its output.  Nodes hold nodes, never tensors.  So a tensor refers to its node,
# the node to older nodes, and nothing refers back: when the last tensor goes, the whole graph goes with it.

_numbers = itertools.count(1)
state = SimpleNamespace(grad=True)


class Node:
    """One recorded operation: the edges to its inputs' makers, and how gradients pass through it."""

    is_leaf = False

    def record(self, edges: tuple[Any, ...]) -> None:
        """Take a place in the graph.  The number says when: a node is younger than its inputs' makers."""
        self.edges = edges
        self.number = next(_numbers)


class Leaf(Node):
    """The end of a walk: a tensor that nobody computed, such as a weight.  It keeps its gradient."""

    is_leaf = True

    def __init__(self, tensor: Tensor) -> None:
        self.record(())
        self.tensor = tensor

    def accumulate(self, gradient: np.ndarray) -> None:
        """Add to ``.grad``: a weight that is used twice, or in two backwards, gets the sum."""
        held = self.tensor.grad
        self.tensor.grad = gradient.copy() if held is None else held + gradient


# --- 2. The walk back: newest node first
#
# The chain rule says: the gradient of a node's output is the sum over everything that used it.  So a node may
# run only when all its users have run.  Every user is younger than the node; hence, if we always take the
# youngest node that waits, everything that it will ever get has arrived.  No recursion, no sorting before.


def walk(roots: list[tuple[tuple[Node, int], np.ndarray]]) -> None:
    """Send the gradients at ``roots`` back through the graph to the leaves."""
    waiting: dict[Node, np.ndarray] = {}
    heap: list[tuple[int, Node]] = []

    def arrive(edge: tuple[Node, int], gradient: np.ndarray) -> None:
        node = edge[0]
        if node in waiting:
            waiting[node] = waiting[node] + gradient
        else:
            waiting[node] = gradient
            heapq.heappush(heap, (-node.number, node))

    for edge, gradient in roots:
        arrive(edge, gradient)
    while heap:
        node = heapq.heappop(heap)[1]
        gradient = waiting.pop(node)
        if isinstance(node, Leaf):
            node.accumulate(gradient)
            continue
        for edge, result in zip(node.edges, node.propagate(gradient), strict=True):
            if edge is not None:
                arrive(edge, result)


# --- 3. A primitive: two formulas, forward and backward
#
# ``forward`` computes the result from raw arrays and saves what ``backward`` will need.  ``backward`` gets
# the gradient of the result and returns one for each input.  Both speak to ``ctx.xp``, the array module: here
# it is NumPy, in the core it may be CuPy, or our own operations when a gradient is differentiated again.


class Context(Node):
    """One call of a primitive: what it saved, and its place in the graph.  The context *is* the node."""

    def __init__(self, primitive: type[Primitive], shapes: list[tuple[int, ...]]) -> None:
        self.primitive, self.shapes, self.xp = primitive, shapes, np

    def save_for_backward(self, *arrays: np.ndarray) -> None:
        """Keep arrays until the walk back."""
        self.saved_tensors = arrays

    def propagate(self, gradient: np.ndarray) -> list[np.ndarray]:
        """Run the backward formula; each gradient leaves in the shape of its input."""
        results = self.primitive.backward(self, gradient)
        results = results if isinstance(results, tuple) else (results,)
        return [unbroadcast(one, shape) for one, shape in zip(results, self.shapes, strict=True)]


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum over the axes along which an input of ``shape`` was stretched: one number, used many times."""
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    stretched = tuple(axis for axis, extent in enumerate(shape) if extent == 1)
    return gradient.sum(axis=stretched, keepdims=True) if stretched else gradient


class Primitive:
    """A pair of formulas.  ``apply`` makes them an operation on Tensors."""

    @classmethod
    def apply(cls, *inputs: Any) -> Tensor:
        """Unwrap the inputs, run ``forward``, wrap the result; record the call if a gradient is needed."""
        # the inputs: their arrays and their edges
        tensors = [one if isinstance(one, Tensor) else Tensor(one) for one in inputs]
        edges = tuple(one._edge for one in tensors)
        ctx = Context(cls, [one.array.shape for one in tensors])
        # the formula
        result = Tensor(cls.forward(ctx, *[one.array for one in tensors]))
        # the result: a tensor that knows where it came from
        if state.grad and any(edge is not None for edge in edges):
            ctx.record(edges)
            result._edge = (ctx, 0)
        return result


# y and x stand for arrays, grad for the gradient of the result.


class Add(Primitive):
    """z = x + y,  dL/dx = dL/dz,  dL/dy = dL/dz."""

    def forward(ctx, x, y):
        return x + y

    def backward(ctx, grad):
        return grad, grad


class Mul(Primitive):
    """z = x y,  dL/dx = dL/dz y,  dL/dy = dL/dz x."""

    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad * y, grad * x


class Matmul(Primitive):
    """z = x y of matrices,  dL/dx = dL/dz yᵀ,  dL/dy = xᵀ dL/dz."""

    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x @ y

    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad @ y.T, x.T @ grad


class Tanh(Primitive):
    """y = tanh(x),  dL/dx = dL/dy (1 - y²)."""

    def forward(ctx, x):
        y = ctx.xp.tanh(x)
        ctx.save_for_backward(y)
        return y

    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


class Sum(Primitive):
    """y = the sum of all x,  dL/dx = dL/dy everywhere."""

    def forward(ctx, x):
        ctx.shape = x.shape
        return ctx.xp.sum(x)

    def backward(ctx, grad):
        return ctx.xp.broadcast_to(grad, ctx.shape)


# --- 4. The Tensor: an array with a history


class Tensor:
    """An array, whether it needs a gradient, and where it came from.  ``requires_grad`` is having an edge."""

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.array = np.asarray(data, dtype=float)
        self.grad: np.ndarray | None = None
        self._edge: tuple[Node, int] | None = (Leaf(self), 0) if requires_grad else None

    def backward(self) -> None:
        """Send dL/dL = 1 back to every leaf from which this number was computed."""
        walk([(self._edge, np.ones_like(self.array))])

    def __add__(self, other):
        return Add.apply(self, other)

    def __mul__(self, other):
        return Mul.apply(self, other)

    def __matmul__(self, other):
        return Matmul.apply(self, other)

    def __sub__(self, other):
        return self + other * -1.0

    def tanh(self):
        return Tanh.apply(self)

    def sum(self):
        return Sum.apply(self)


class no_grad:
    """Record nothing within the ``with`` block: for the step of an optimizer, say."""

    def __enter__(self) -> None:
        self.previous, state.grad = state.grad, False

    def __exit__(self, *exception: object) -> None:
        state.grad = self.previous


# --- 5. It learns: two rings of points, one inside the other, which no straight line can separate


def train(steps: int = 300, rate: float = 0.1, seed: int = 0) -> list[float]:
    """Train a network of two layers by gradient descent, and return the loss of every step."""
    rng = np.random.default_rng(seed)
    angle, ring = rng.uniform(0, 2 * np.pi, 200), rng.integers(0, 2, 200)
    points = (1 + ring[:, None]) * np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (200, 2)
    targets = 2.0 * ring[:, None] - 1  # (200, 1)
    shapes = (2, 16), (16,), (16, 1), (1,)
    w1, b1, w2, b2 = weights = [Tensor(rng.normal(0, 0.5, shape), requires_grad=True) for shape in shapes]
    losses = []
    for _ in range(steps):
        error = ((Tensor(points) @ w1 + b1).tanh() @ w2 + b2) - targets  # (200, 1)
        loss = (error * error).sum() * (1 / 200)
        loss.backward()
        with no_grad():
            for weight in weights:
                weight.array -= rate * weight.grad
                weight.grad = None
        losses.append(float(loss.array))
    return losses


# --- 6. What the real core adds
#
# The same story with more cases: several outputs of a node (the slot of an edge), hooks, views that share
# memory and version counters that notice changes in place (tensor.py, views.py, inplace.py), formulas that
# are read a second time over Tensors so that gradients have gradients (context.py), leaves that refer to
# their tensor weakly (here Leaf and Tensor hold each other), numbers of 16 bits (reduced.py), several
# devices, and kernels laid over ``xp`` (accelgrad/kernels).

if __name__ == "__main__":
    history = train()
    print(f"loss {history[0]:.3f} -> {history[-1]:.3f}")
