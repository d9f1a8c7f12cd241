"""Facts read off a recorded graph without changing it: its nodes, its saved values, its gradients."""

from __future__ import annotations

import heapq
import operator
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from accelgrad.arrays import backend
from accelgrad.arrays.quiet import hush, unhush
from accelgrad.core import modes
from accelgrad.core.backward import root
from accelgrad.core.graph import Edge, Node
from accelgrad.core.tensor import Tensor

__all__ = [
    "Record", "count_bad", "finite", "has_nan", "host", "largest", "names_of_caller", "operation", "read",
]  # fmt: skip

ARITHMETIC: dict[str, Any] = {
    "Mul": operator.mul,
    "Div": operator.truediv,
    "Sub": operator.sub,
    "Neg": operator.neg,
}
PACKAGE = __file__.rpartition("viz")[0]
"""The folder of this package, by which frames and lines of its own code are told from the user's."""


class Record:
    """The graph behind a tensor, read once.

    ``nodes`` stand in the order of their making; ``values[(node, slot)]`` is a result as far as somebody
    saved it, ``constants[(node, place)]`` an input that needs no gradient; ``gradients`` and ``sent`` (by
    node and place of the input) are filled by :meth:`probe`; ``failures`` holds what went wrong at a node.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        edge = tensor.edge()
        if edge is None:
            raise ValueError(
                "there is no graph behind this tensor: it does not require a gradient;"
                " accelgrad.explain(tensor) says why"
            )
        self.root: Edge = edge
        self.nodes = _nodes(edge[0])
        self.values: dict[Edge, Any] = {}
        self.constants: dict[tuple[Node, int], Any] = {}
        self.names: dict[Edge, str] = {}
        self.gradients: dict[Edge, Any] = {}
        self.sent: dict[tuple[Node, int], Any] = {}
        self.failures: dict[Node, Exception] = {}
        self.order: list[Node] = []
        for node in self.nodes:
            self._values_of(node)
        self.values[edge] = tensor.array

    @property
    def leaves(self) -> list[Node]:
        """The nodes at which gradients end."""
        return [node for node in self.nodes if node.is_leaf]

    def inputs(self, node: Node) -> list[Any]:
        """The values of a node's inputs, None where nobody saved one."""
        return [
            self.constants.get((node, place)) if edge is None else self.values.get(edge)
            for place, edge in enumerate(node.edges)
        ]

    def name(self, tensors: Mapping[str, Any]) -> None:
        """Take over names (and values) of tensors that somebody holds."""
        members = set(self.nodes)
        for name, tensor in tensors.items():
            edge = tensor.edge()
            if edge is not None and name and edge[0] in members:
                self.names.setdefault(edge, name)
                self.values.setdefault(edge, tensor.array)
            for place, array in self.constants.items():
                if array is tensor.array:
                    self.names.setdefault(("constant", *place), name)  # type: ignore[arg-type]

    def probe(self, gradient: Any = None) -> None:
        """Walk back and note the gradient at every edge; nothing is accumulated, freed or hooked.

        A node that fails is noted in ``failures`` and sends nothing.
        """
        xp = self.tensor.xp
        if gradient is None:
            start = xp.ones(self.tensor.array.shape, dtype=self.tensor.array.dtype)
        else:
            start = root(self.tensor, gradient, False)[1]
        arrived: dict[Node, list[Any]] = {self.root[0]: [None] * self.root[0].outputs}
        arrived[self.root[0]][self.root[1]] = start
        heap = [(-self.root[0].number, self.root[0])]
        token = hush()
        before, modes.state.grad = modes.state.grad, False
        checked, modes.state.check_nan = modes.state.check_nan, False
        try:
            while heap:
                node = heapq.heappop(heap)[1]
                self.order.append(node)
                for slot, one in enumerate(arrived[node]):
                    if one is not None:
                        self.gradients[(node, slot)] = one
                if node.is_leaf:
                    continue
                try:
                    results = node.propagate(list(arrived[node]), False)
                except Exception as error:
                    self.failures[node] = error
                    continue
                for place, (edge, one) in enumerate(zip(node.edges, results, strict=True)):
                    if edge is None or one is None:
                        continue
                    self.sent[(node, place)] = one
                    if edge[0] not in arrived:
                        arrived[edge[0]] = [None] * edge[0].outputs
                        heapq.heappush(heap, (-edge[0].number, edge[0]))
                    held = arrived[edge[0]][edge[1]]
                    arrived[edge[0]][edge[1]] = one if held is None else held + one
        finally:
            modes.state.grad = before
            modes.state.check_nan = checked
            unhush(token)

    def complete(self) -> None:
        """Compute what nobody saved, as far as arithmetic on known inputs gives it."""
        token = hush()
        try:
            for node in self.nodes:
                formula = ARITHMETIC.get(operation(node))
                if formula is None or (node, 0) in self.values:
                    continue
                inputs = self.inputs(node)
                if all(one is not None for one in inputs):
                    self.values[(node, 0)] = formula(*inputs)
        finally:
            unhush(token)

    def _values_of(self, node: Node) -> None:
        if node.is_leaf:
            tensor = getattr(node, "variable", None)
            if tensor is not None:
                self.values[(node, 0)] = tensor.array
            return
        saved = getattr(node, "_saved", ())
        for array, source in zip(saved, getattr(node, "_sources", ()), strict=False):
            if source is None or array is None:
                continue
            if source < 0:
                self.values.setdefault((node, -1 - source), array)
            elif node.edges[source] is None:
                self.constants[(node, source)] = array
            else:
                self.values.setdefault(node.edges[source], array)


def read(tensor: Tensor, model: Any = None, names: Mapping[str, Any] | None = None) -> Record:
    """Return the :class:`Record` of ``tensor`` with names.

    They are the given ones, the model's parameters, and the caller's variables.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"a Tensor is expected, got {type(tensor).__name__}")
    record = Record(tensor)
    if names:
        record.name(names)
    if model is not None:
        record.name(dict(model.named_parameters()))
    record.name(names_of_caller())
    return record


def names_of_caller() -> dict[str, Tensor]:
    """Return the tensors among the variables of the nearest caller outside this package.

    The parameters of its modules are among them.
    """
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return {}
    found: dict[str, Tensor] = {}
    modules = []
    for name, value in list(frame.f_locals.items()):
        if name.startswith("_"):
            continue
        if isinstance(value, Tensor):
            found[name] = value
        elif hasattr(type(value), "named_parameters"):
            modules.append((name, value))
    known = {id(value) for value in found.values()}
    for name, module in modules:
        for path, parameter in module.named_parameters():
            if id(parameter) not in known:
                found[f"{name}.{path}"] = parameter
    return found


def operation(node: Node) -> str:
    """The name of a node's operation: ``Mul`` for ``MulBackward0``."""
    return node.name().removesuffix("0").removesuffix("Backward") or node.name()


def host(array: Any) -> np.ndarray:
    """A NumPy array of a value, wherever it lives."""
    return backend.of_array(array).to_host(array) if backend.is_array(array) else np.asarray(array)


def _nodes(start: Node) -> list[Node]:
    seen = {start}
    stack = [start]
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    return sorted(seen, key=lambda one: one.number)


def finite(array: Any) -> bool:
    """Whether every element is a finite number."""
    values = host(array)
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def has_nan(array: Any) -> bool:
    """Whether an element is NaN."""
    values = host(array)
    return values.dtype.kind == "f" and bool(np.isnan(values).any())


def count_bad(array: Any) -> str:
    """How many elements are NaN or infinite, in words."""
    values = host(array)
    nan, inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    parts = [f"{count} {word}" for count, word in ((nan, "nan"), (inf, "inf")) if count]
    return f"{' and '.join(parts)} of {values.size}"


def largest(array: Any) -> float | None:
    """The largest magnitude; None for None, 0 for an empty array."""
    if array is None:
        return None
    values = host(array)
    return float(np.abs(values).max()) if values.size else 0.0
