"""The graph of recorded operations, and the walk back through it.

Standard library only: this file moves gradients along edges and adds them up; what a gradient *is* (a NumPy
array, a CuPy array, or a Tensor when the gradient itself shall be differentiated) it never asks.

A :class:`Node` is one recorded operation.  It holds the *edges* to the nodes that made its inputs: pairs
``(node, slot)``, where the slot numbers the node's outputs.  A :class:`Leaf` stands for a tensor that nobody
computed, a parameter say. Nodes hold nodes, never tensors: there is no reference cycle, and a graph dies with
the last tensor that refers to it.
"""

from __future__ import annotations

import heapq
import itertools
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from accelgrad.core.modes import *  # TEMP
from accelgrad.core.modes import state

__all__ = ["Edge", "Leaf", "Node", "RemovableHandle", "walk"]

_numbers = itertools.count(1)


def now() -> int:
    """A number between those of the nodes recorded before and after this call."""
    return next(_numbers)


class _Extras:
    """What few nodes have: hooks of their own, and in anomaly mode the place where they were made."""

    __slots__ = ("made_at", "post_hooks", "pre_hooks")

    def __init__(self) -> None:
        self.pre_hooks: dict[int, Callable[..., Any]] = {}
        self.post_hooks: dict[int, Callable[..., Any]] = {}
        self.made_at: list[str] = []


class Node:
    """One recorded operation: the edges to its inputs' makers, and how gradients pass through it."""

    __slots__ = ("__weakref__", "_extras", "edges", "hooks", "number")

    is_leaf = False
    outputs = 1

    def record(self, edges: tuple[Edge | None, ...]) -> None:
        """Take a place in the graph, behind ``edges`` (None for an input that needs no gradient)."""
        self.edges = edges
        self.number = next(_numbers)  # creation order: every node is younger than the makers of its inputs
        self.hooks: dict[int, dict[int, Callable[[Any], Any]]] | None = None
        self._extras: _Extras | None = None
        if state.anomaly:
            self.extras.made_at = traceback.format_stack()[:-3]

    @property
    def extras(self) -> _Extras:
        """What few nodes have."""
        if self._extras is None:
            self._extras = _Extras()
        return self._extras

    def propagate(self, gradients: list[Any], differentiable: bool) -> Sequence[Any]:
        """The gradients of the inputs, one per edge, from those of the outputs (None: nothing arrived)."""
        raise NotImplementedError(f"{type(self).__name__} does not say how gradients pass through it")

    def owns(self, gradient: Any, arrived: list[Any], results: Sequence[Any]) -> bool:
        """Whether ``gradient``, one of the ``results``, is a fresh array that nobody else refers to."""
        return False

    def release(self) -> None:
        """Forget what was saved for the walk back."""

    def name(self) -> str:
        """The name that ``grad_fn`` shows, e.g. ``MulBackward0``."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The nodes that made the inputs, with the number of their output (PyTorch's name for the edges)."""
        return tuple(edge if edge is not None else (None, 0) for edge in self.edges)

    def register_hook(self, fn: Callable[[tuple[Any, ...], tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after this node; it may return other ``grad_inputs``."""
        return RemovableHandle(self.extras.post_hooks, fn)

    def register_prehook(self, fn: Callable[[tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before this node; what it returns replaces ``grad_outputs``."""
        return RemovableHandle(self.extras.pre_hooks, fn)

    def hooks_of(self, slot: int) -> dict[int, Callable[[Any], Any]]:
        """The hooks on the gradient of output ``slot``: number -> function."""
        if self.hooks is None:
            self.hooks = {}
        return self.hooks.setdefault(slot, {})

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


Edge = tuple[Node, int]


class Leaf(Node):
    """The end of a walk: a tensor that keeps its gradient in ``.grad``."""

    __slots__ = ()
    is_leaf = True

    def __init__(self) -> None:
        self.record(())

    def accumulate(self, gradient: Any, owned: bool) -> None:
        """Add ``gradient`` to the tensor's; ``owned`` says that it may be kept without a copy."""
        raise NotImplementedError("the tensor's own leaf says where its gradient is kept")

    def name(self) -> str:
        return "AccumulateGrad"


def walk(
    roots: Iterable[tuple[Edge, Any]],
    *,
    keep_graph: bool = False,
    differentiable: bool = False,
    targets: Iterable[Edge] | None = None,
    accumulate: bool = True,
    add: Callable[[Any, Any], Any] | None = None,
) -> dict[Edge, Any]:
    """Send the gradients at ``roots`` back through the graph, newest node first.

    Without ``targets`` every leaf accumulates what arrives.  With them, only the nodes that lead to a target
    run; the gradients of the targets are returned, and with ``accumulate`` the leaves among them keep theirs.
    ``add`` says what the sum of two gradients is where ``+`` does not do (with several cards). A node runs
    once: since the makers of its inputs are all older, everything it will get has arrived when it is the
    newest one waiting.
    """
    roots = list(roots)
    wanted = None if targets is None else frozenset(targets)
    leading = None if wanted is None else _leading_to(wanted, [edge[0] for edge, _ in roots])
    found: dict[Edge, Any] = {}
    waiting: dict[Node, list[Any]] = {}  # node -> [gradient, owned] for each output, flat
    heap: list[tuple[int, Node]] = []

    for (node, slot), gradient in roots:
        arrived = waiting.get(node)
        if arrived is None:
            arrived = waiting[node] = [None, False] * node.outputs
            heapq.heappush(heap, (-node.number, node))
        held = arrived[2 * slot]
        arrived[2 * slot] = gradient if held is None else add(held, gradient) if add else held + gradient

    while heap:
        node = heapq.heappop(heap)[1]
        arrived = waiting.pop(node)
        gradients = arrived[::2]
        if node.hooks is not None:
            for slot, hooks in node.hooks.items():
                if gradients[slot] is None:
                    continue
                for hook in list(hooks.values()):
                    changed = hook(gradients[slot])
                    if changed is not None:
                        gradients[slot] = changed
                arrived[2 * slot + 1] = False  # a hook may have kept it
        if wanted is not None:
            for slot, gradient in enumerate(gradients):
                if (node, slot) in wanted:
                    found[(node, slot)] = gradient
                    arrived[2 * slot + 1] = False
        if node.is_leaf:
            if gradients[0] is not None and accumulate and (wanted is None or (node, 0) in wanted):
                node.accumulate(gradients[0], arrived[1])  # type: ignore[attr-defined]
            continue
        if leading is not None and node not in leading:
            continue
        if node._extras is None:
            results = node.propagate(gradients, differentiable)
        else:
            results = _through(node, gradients, differentiable)
        for edge, gradient in zip(node.edges, results, strict=True):
            if edge is None or gradient is None:
                continue
            parent, slot = edge
            if leading is not None and parent not in leading and edge not in wanted:  # type: ignore[operator]
                continue
            arrived = waiting.get(parent)
            if arrived is None:
                arrived = waiting[parent] = [None, False] * parent.outputs
                heapq.heappush(heap, (-parent.number, parent))
            place = 2 * slot
            if arrived[place] is None:
                arrived[place] = gradient
                if parent.is_leaf and not differentiable:
                    arrived[place + 1] = node.owns(gradient, gradients, results)
            elif add is not None:
                arrived[place] = add(arrived[place], gradient)
                arrived[place + 1] = not differentiable
            elif arrived[place + 1]:
                arrived[place] += gradient  # a sum of our own making: add in place
            else:
                arrived[place] = arrived[place] + gradient
                arrived[place + 1] = not differentiable
        if not keep_graph:
            node.release()
    return found


def _through(node: Node, gradients: list[Any], differentiable: bool) -> Sequence[Any]:
    """The step of a node that has hooks of its own, or knows where it was made."""
    extras = node.extras
    for hook in list(extras.pre_hooks.values()):
        changed = hook(tuple(gradients))
        if changed is not None:
            gradients[:] = changed if isinstance(changed, tuple | list) else [changed]
    try:
        results = node.propagate(gradients, differentiable)
    except Exception as error:
        if extras.made_at:
            where = "".join(extras.made_at)
            error.add_note(f"in the backward of {node.name()}; its forward was called here:\n{where}")
        raise
    for hook in list(extras.post_hooks.values()):
        changed = hook(tuple(results), tuple(gradients))
        if changed is not None:
            results = changed if isinstance(changed, tuple) else (changed,)
    return results


def _leading_to(wanted: frozenset[Edge], starts: list[Node]) -> set[Node]:
    """The nodes from which an edge of ``wanted`` can be reached."""
    seen: set[Node] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(edge[0] for edge in node.edges if edge is not None)
    leading: set[Node] = set()
    for node in sorted(seen, key=lambda one: one.number):  # makers before users
        if any(edge is not None and (edge in wanted or edge[0] in leading) for edge in node.edges):
            leading.add(node)
    return leading


class RemovableHandle:
    """What registering a hook returns: ``remove()``, or the end of a ``with`` block, takes the hook away."""

    _keys = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Callable[..., Any], *, first: bool = False) -> None:
        self.id = next(self._keys)
        self._hooks: dict[int, Any] | None = hooks
        others = dict(hooks) if first else {}
        if first:
            hooks.clear()
        hooks[self.id] = hook
        hooks.update(others)

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self._hooks is not None:
            self._hooks.pop(self.id, None)
            self._hooks = None

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()
