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

from accelgrad.core.modes import state

__all__ = ["Edge", "Leaf", "Node", "RemovableHandle", "nodes_behind", "walk"]

_numbers = itertools.count(1)


def now() -> int:
    """Return a number between those of the nodes recorded before and after this call."""
    return next(_numbers)


class _Extras:
    """The node's own hooks and, in anomaly mode, where it was made; few nodes have either."""

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
        # The order of creation: every node is younger than the makers of its inputs.
        self.number = next(_numbers)
        self.hooks: dict[int, dict[int, Callable[[Any], Any]]] | None = None
        self._extras: _Extras | None = None
        if state.anomaly:
            self.extras.made_at = traceback.format_stack()[:-3]

    @property
    def extras(self) -> _Extras:
        """The node's own hooks and origin, made on first use, since most nodes have neither."""
        if self._extras is None:
            self._extras = _Extras()
        return self._extras

    def propagate(self, gradients: list[Any], differentiable: bool) -> Sequence[Any]:
        """Return the gradients of the inputs, one per edge; None among ``gradients`` means that none came."""
        raise NotImplementedError(f"{type(self).__name__} does not say how gradients pass through it")

    def owns(self, gradient: Any, arrived: list[Any], results: Sequence[Any]) -> bool:
        """Tell whether ``gradient``, one of the ``results``, is a fresh array that nobody else refers to."""
        return False

    def release(self) -> None:
        """Forget what was saved for the walk back."""

    def name(self) -> str:
        """The name that ``grad_fn`` shows, e.g. ``MulBackward0``."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The edges, under PyTorch's name: the nodes that made the inputs, and the number of their output."""
        return tuple(edge if edge is not None else (None, 0) for edge in self.edges)

    def register_hook(self, fn: Callable[[tuple[Any, ...], tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after this node; it may return other ``grad_inputs``."""
        return RemovableHandle(self.extras.post_hooks, fn)

    def register_prehook(self, fn: Callable[[tuple[Any, ...]], Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before this node; what it returns replaces ``grad_outputs``."""
        return RemovableHandle(self.extras.pre_hooks, fn)

    def hooks_of(self, slot: int) -> dict[int, Callable[[Any], Any]]:
        """Return the hooks on the gradient of output ``slot``: number -> function."""
        if self.hooks is None:
            self.hooks = {}
        return self.hooks.setdefault(slot, {})

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


Edge = tuple[Node, int]


class Leaf(Node):
    """The end of a walk: it stands for a tensor that keeps its gradient in ``.grad``."""

    __slots__ = ()
    is_leaf = True

    def __init__(self) -> None:
        self.record(())

    def accumulate(self, gradient: Any, owned: bool) -> None:
        """Add ``gradient`` to the tensor's; ``owned`` says that it may be kept without a copy."""
        raise NotImplementedError("the tensor's own leaf says where its gradient is kept")

    def name(self) -> str:
        return "AccumulateGrad"


# --- the walk back


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
    ``add`` adds two gradients where ``+`` does not do (with several cards).

    A node runs once.  The makers of its inputs are all older than it is, so when it is the newest node that
    waits, everything that it will ever get has arrived.
    """
    # --- where to start, and what to look for
    roots = list(roots)
    wanted = None if targets is None else frozenset(targets)
    leading = None if wanted is None else _leading_to(wanted, [edge[0] for edge, _ in roots])
    found: dict[Edge, Any] = {}
    # For each node that waits: [gradient, owned, gradient, owned ...], two entries for each of its outputs.
    waiting: dict[Node, list[Any]] = {}
    # The waiting nodes again, so that the newest one (the largest number) can be taken quickly.
    heap: list[tuple[int, Node]] = []
    for (node, slot), gradient in roots:
        arrived = waiting.get(node)
        if arrived is None:
            arrived = waiting[node] = [None, False] * node.outputs
            heapq.heappush(heap, (-node.number, node))
        held = arrived[2 * slot]
        arrived[2 * slot] = gradient if held is None else add(held, gradient) if add else held + gradient

    while heap:
        # --- the newest node, and the gradients of its outputs
        node = heapq.heappop(heap)[1]
        arrived = waiting.pop(node)
        gradients = arrived[::2]
        if node.hooks is not None:
            _run_hooks(node.hooks, gradients, arrived)
        if wanted is not None:
            for slot, gradient in enumerate(gradients):
                if (node, slot) in wanted:
                    found[(node, slot)] = gradient
                    # It is given to the caller: nobody may add to it in place.
                    arrived[2 * slot + 1] = False
        if node.is_leaf:
            if gradients[0] is not None and accumulate and (wanted is None or (node, 0) in wanted):
                node.accumulate(gradients[0], arrived[1])  # type: ignore[attr-defined]
            continue
        if leading is not None and node not in leading:
            continue

        # --- its formula: the gradients of its inputs
        if node._extras is None:
            results = node.propagate(gradients, differentiable)
        else:
            results = _through(node, gradients, differentiable)

        # --- onwards: each gradient goes to the node that made the input, and is added to what is there
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
                # Only a leaf asks whether it may keep the gradient without a copy.
                if parent.is_leaf and not differentiable:
                    arrived[place + 1] = node.owns(gradient, gradients, results)
            elif add is not None:
                arrived[place] = add(arrived[place], gradient)
                arrived[place + 1] = not differentiable
            elif arrived[place + 1]:
                # A sum of our own making, or a fresh array: add in place.
                arrived[place] += gradient
            else:
                arrived[place] = arrived[place] + gradient
                arrived[place + 1] = not differentiable
        if not keep_graph:
            node.release()
    return found


def _run_hooks(
    hooks: dict[int, dict[int, Callable[[Any], Any]]], gradients: list[Any], arrived: list[Any]
) -> None:
    """Call the hooks on the gradients of a node's outputs; what a hook returns replaces the gradient."""
    for slot, of_slot in hooks.items():
        if gradients[slot] is None:
            continue
        for hook in list(of_slot.values()):
            changed = hook(gradients[slot])
            if changed is not None:
                gradients[slot] = changed
        # A hook may have kept the array: nobody owns it alone any more.
        arrived[2 * slot + 1] = False


def _through(node: Node, gradients: list[Any], differentiable: bool) -> Sequence[Any]:
    """Run the formula of a node that has hooks of its own, or that knows where it was made."""
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


def nodes_behind(starts: Iterable[Node]) -> set[Node]:
    """Return every node that can be reached from ``starts`` along edges, the starts included."""
    seen: set[Node] = set()
    stack = list(starts)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(edge[0] for edge in node.edges if edge is not None)
    return seen


def _leading_to(wanted: frozenset[Edge], starts: Iterable[Node]) -> set[Node]:
    """Return the nodes behind ``starts`` from which an edge of ``wanted`` can be reached."""
    leading: set[Node] = set()
    # Makers before users, so that one pass is enough.
    for node in sorted(nodes_behind(starts), key=lambda one: one.number):
        if any(edge is not None and (edge in wanted or edge[0] in leading) for edge in node.edges):
            leading.add(node)
    return leading


class RemovableHandle:
    """A hook's handle: ``remove()``, or the end of a ``with`` block, takes the hook away."""

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
