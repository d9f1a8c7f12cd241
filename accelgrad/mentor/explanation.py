"""Explanations of gradients: ``accelgrad.explain(loss, model)`` says why one is None, zero, NaN or huge.

It does so in words and as a picture.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from accelgrad.core.graph import Node
from accelgrad.core.tensor import Tensor
from accelgrad.mentor.hazards import HUGE, Finding, called, extremes, listed, not_finite, zeros
from accelgrad.viz.graphs import Drawing, number, shape_text
from accelgrad.viz.record import Record, host, largest, operation, read
from accelgrad.viz.svg import GREEN, GREY, INK, MONO, RED

__all__ = ["Explanation", "Finding", "explain"]


CUTS = {
    "detach": (
        "detached",
        "was cut from the graph by {name}()",
        "use the tensor itself where the gradient shall pass; detach() is for values that are only looked at",
    ),
    "no_grad": (
        "no-grad",
        "was computed by {name} under no_grad(), so nothing was recorded",
        "move the computation out of the no_grad() block (it is for validation and for updating parameters)",
    ),
    "discrete": (
        "discrete",
        "went through {name}, whose result is not a floating point number: no gradient passes there",
        "compute the loss from the scores themselves;"
        " argmax, comparisons and casts to integers are for metrics",
    ),
}


class Explanation:
    """What :func:`explain` found: ``findings``, gravest first.

    Shows itself as text, and in Jupyter with the graph.
    """

    def __init__(self, findings: list[Finding], summary: str, record: Record | None) -> None:
        self.findings = sorted(findings, key=lambda one: not one.mistake)
        self.summary = summary
        self._record = record

    @property
    def codes(self) -> list[str]:
        """The codes of the findings."""
        return [one.code for one in self.findings]

    def __iter__(self) -> Any:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __repr__(self) -> str:
        return "\n".join([self.summary, *map(str, self.findings)])

    def picture(self) -> Any:
        """The graph with the operations of the findings in red; None where there is no graph."""
        if self._record is None:
            return None
        marked = {one.node for one in self.findings if one.node is not None and one.mistake}
        return Drawing(self._record, "auto", 60, marked).picture()

    def _repr_html_(self) -> str:
        parts = []
        for one in self.findings:
            color = RED if one.mistake else GREY
            parts.append(
                f'<div style="border-left:4px solid {color};padding:2px 10px;margin:6px 0">'
                f"<b>{html.escape(one.code)}</b> {html.escape(one.sentence)}<br>→"
                f" {html.escape(one.remedy)}</div>"
            )
        color = RED if any(one.mistake for one in self.findings) else GREEN
        picture = self.picture()
        drawn = picture._repr_html_() if picture is not None else ""
        return (
            f'<div style="font:13px {MONO};color:{INK};background:white;padding:6px">'
            f'<p style="color:{color};margin:4px 0">{html.escape(self.summary)}</p>'
            f"{''.join(parts)}</div>{drawn}"
        )


def explain(
    tensor: Tensor,
    model: Any = None,
    *,
    inputs: Sequence[Tensor] | Tensor | None = None,
    gradient: Tensor | None = None,
) -> Explanation:
    """Say why gradients of ``tensor``, usually the loss, are None, zero, NaN or huge.

    Call it before ``backward()``, which frees the graph.  It walks back on its own: nothing is accumulated in
    ``.grad``, no hook runs, the graph stays.  ``model`` gives parameters their names and lets unreached ones
    be found; ``inputs`` are further tensors whose gradient is in question.  ``gradient`` is that of
    ``tensor``, ones if not given.

    The codes: detached, no-grad, discrete, integer, no-parameters (there is no graph, or none to a tensor);
    unused, frozen, non-leaf, not-yet (a gradient is None); log-of-zero, division-by-zero, root-of-zero,
    root-of-negative, overflow, inf-minus-inf, nan-data, nan-parameter, nan (not finite); dead-relu,
    saturated, flat, clamped, times-zero, zero, converged (zero); huge, vanishing (extreme); in-place, freed,
    hook.

    >>> import accelgrad
    >>> w = accelgrad.tensor([0.0, 1.0], requires_grad=True)
    >>> explain(w.log().sum()).codes
    ['log-of-zero']
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"explain expects a Tensor, got {type(tensor).__name__}; the loss is the usual one")
    wanted = _wanted(model, inputs)
    if tensor.edge() is None:
        return Explanation(
            [_without_graph(tensor)], "This tensor has no graph: backward() would raise.", None
        )
    if tensor.is_leaf:
        return _of_leaf(tensor)
    names = {name: one for name, one in wanted if name}
    record = read(tensor, None, names)
    record.probe(gradient)
    findings: list[Finding] = []
    findings += _failures(record)
    findings += _unreached(record, wanted)
    if not record.failures:
        broken = not_finite(record)
        findings += broken
        if not broken:
            findings += zeros(record)
            findings += extremes(record)
    findings += _hooks(record)
    return Explanation(findings, _summary(record, findings), record)


def _wanted(model: Any, inputs: Any) -> list[tuple[str, Tensor]]:
    wanted: list[tuple[str, Tensor]] = [] if model is None else list(model.named_parameters())
    if inputs is not None:
        given = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        known = {id(one) for _, one in wanted}
        wanted += [("", one) for one in given if id(one) not in known]
    return wanted


# --- no gradient at all


def _without_graph(tensor: Tensor) -> Finding:
    """Why a tensor has no graph behind it."""
    if tensor._cut is not None:
        return _of_cut(tensor._cut, "this tensor, or what it was computed from,", "this tensor")
    if not tensor.is_floating_point():
        return Finding(
            "integer",
            "this tensor",
            f"this tensor is {tensor.dtype}: only floating point tensors can have a gradient",
            "make it a float first: .float(), or accelgrad.tensor(data, dtype=accelgrad.float32)",
        )
    return Finding(
        "no-parameters",
        "this tensor",
        "nothing that this tensor was computed from requires a gradient",
        "set requires_grad=True on what shall be learned, before computing;"
        " values taken out by .item(), .numpy() or tensor(...)"
        " begin anew",
    )


def _of_cut(cut: Any, subject: str, name: str, node: Node | None = None, mistake: bool = True) -> Finding:
    kind, operation_name, _, place = cut
    kind = "detach" if kind in ("detach", "detach_", "data") else kind
    code, sentence, remedy = CUTS[kind]
    said = f"{subject} {sentence.format(name=operation_name)}".replace("data()", ".data")
    if place is not None:
        said += f" (line {place[1]} of {place[0].rpartition('/')[2]})"
    return Finding(code, name, said, remedy, mistake, node)


def _of_leaf(tensor: Tensor) -> Explanation:
    """A tensor that was not computed: only its own ``.grad`` can be looked at."""
    grad = tensor.grad
    findings: list[Finding] = []
    if grad is None:
        summary = "This is a leaf, a tensor that nobody computed, and its .grad is None."
        findings.append(
            Finding(
                "not-yet",
                "this tensor",
                "no backward() has reached this tensor since it was made"
                " or since zero_grad() took its gradient away",
                "call explain on the loss instead: explain(loss,"
                " inputs=[tensor]) says whether the loss depends on it",
            )
        )
    else:
        values = host(grad.array)
        summary = f"This is a leaf with a gradient of shape {shape_text(values.shape)}."
        trouble = ""
        if not np.isfinite(values).all():
            trouble = "nan"
        elif values.size and not values.any():
            trouble = "zero"
        elif values.size and np.abs(values).max() > HUGE:
            trouble = "huge"
        if trouble:
            findings.append(
                Finding(
                    trouble,
                    "this tensor",
                    f"its .grad is {'not finite' if trouble == 'nan' else trouble}",
                    "compute the loss again and call explain(loss,"
                    " inputs=[tensor]) before backward() to see where it comes from",
                )
            )
    return Explanation(findings, summary, None)


def _unreached(record: Record, wanted: list[tuple[str, Tensor]]) -> list[Finding]:
    """The tensors in question that the walk does not reach, and why."""
    reached = set(record.nodes)
    found: list[Finding] = []
    unused: list[tuple[str, Tensor]] = []
    frozen = []
    for place, (name, one) in enumerate(wanted):
        label = name or f"inputs[{place - sum(bool(n) for n, _ in wanted)}]"
        edge = one.edge()
        if edge is None:
            if one._cut is not None:
                found.append(_of_cut(one._cut, f"{label}, or what it was computed from,", label))
            elif not one.is_floating_point():
                found.append(
                    Finding(
                        "integer", label, f"{label} is {one.dtype}, which has no gradient", "make it a float"
                    )
                )
            else:
                frozen.append(label)
        elif edge[0] not in reached:
            unused.append((label, one))
        elif not one.is_leaf and one.grad is None and not one.retains_grad:
            found.append(
                Finding(
                    "non-leaf",
                    label,
                    f"{label} was computed; backward() keeps .grad for leaves only",
                    "call retain_grad() on it before backward()",
                    mistake=False,
                )
            )
    if frozen:
        found.append(
            Finding(
                "frozen",
                ", ".join(frozen),
                f"{listed(frozen)} {_has(frozen, 'does', 'do')} not require a gradient",
                "set requires_grad=True if it shall be learned",
                mistake=False,
            )
        )
    cuts = [(node, cut) for node in record.nodes if (cut := getattr(node, "_cut", None)) is not None]
    for node, cut in cuts:
        behind = cut[2]() if cut[2] is not None else None
        if behind is not None:
            lost = _leaves(behind)
            names = [name for name, one in unused if one.edge()[0] in lost]
            unused = [pair for pair in unused if pair[0] not in names]
        else:  # who made it is gone: what nobody else explains
            names = [name for name, _ in unused]
            unused = []
        subject = f"an input of {operation(node)}"
        if names:
            finding = _of_cut(
                cut, f"{subject}, through which {listed(names)} would get a gradient,", ", ".join(names)
            )
            found.append(_at(finding, node))
        elif cut[0] in ("detach", "data", "detach_"):
            found.append(_at(_of_cut(cut, subject, operation(node), mistake=False), node))
    if unused:
        names = [name for name, _ in unused]
        found.append(
            Finding(
                "unused",
                ", ".join(names),
                f"{listed(names)} {_has(names, 'was', 'were')} not used in computing this tensor:"
                " .grad stays None",
                "use it in forward(), or take it out of the model; inside, .numpy(), .item() and tensor(...)"
                " lose the graph",
            )
        )
    return found


def _at(finding: Finding, node: Node) -> Finding:
    return Finding(finding.code, finding.name, finding.sentence, finding.remedy, finding.mistake, node)


def _leaves(start: Node) -> set[Node]:
    seen, stack = {start}, [start]
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    return {node for node in seen if node.is_leaf}


# --- walks that fail


def _failures(record: Record) -> list[Finding]:
    found = []
    for node, error in record.failures.items():
        text = str(error)
        if "inplace operation" in text:
            found.append(
                Finding(
                    "in-place",
                    operation(node),
                    f"what {called(record, node)} saved for its backward was overwritten in place afterwards",
                    "write y = y + 1 instead of y += 1 (or clone() first) between the two",
                    node=node,
                )
            )
        elif "second time" in text:
            found.append(
                Finding(
                    "freed",
                    operation(node),
                    "backward() has already run through this graph and freed what it had saved",
                    "call explain before backward(), or use backward(retain_graph=True)",
                    node=node,
                )
            )
        else:
            found.append(
                Finding(
                    "error",
                    operation(node),
                    f"the backward of {called(record, node)} raises {type(error).__name__}: {text}",
                    "see the message",
                    node=node,
                )
            )
    return found[:1] if found and found[0].code == "freed" else found


def _hooks(record: Record) -> list[Finding]:
    found = []
    for node in record.nodes:
        for hooks in (node.hooks or {}).values():
            if any(
                "register_hook" in hook.__qualname__
                for hook in hooks.values()
                if hasattr(hook, "__qualname__")
            ):
                name = record.names.get((node, 0)) or operation(node)
                found.append(
                    Finding(
                        "hook",
                        name,
                        f"a hook is registered at {name}; it may change the gradient that is shown here",
                        "remove() it to compare",
                        mistake=False,
                        node=node,
                    )
                )
    return found


# --- words


def _summary(record: Record, findings: list[Finding]) -> str:
    sizes = [size for leaf in record.leaves if (size := largest(record.gradients.get((leaf, 0)))) is not None]
    count = len(record.leaves)
    text = f"{len(record.nodes) - count} operations, {count} tensor{'s' if count != 1 else ''} with gradients"
    if sizes and all(np.isfinite(sizes)):
        text += f", the largest of each between {number(min(sizes))} and {number(max(sizes))}"
    if not any(one.mistake for one in findings):
        text += ". No trouble found."
    return text


def _has(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many
