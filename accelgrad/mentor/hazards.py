"""What can go wrong in an operation, its poles, overflows and flat places, and where in a graph it did.

:func:`forward`, :func:`backward` and :func:`zero` take the name of an operation and the arrays that are known
(None for those that are not) and answer (code, sentence, remedy), or None where nothing is wrong;
:func:`not_finite`, :func:`zeros` and :func:`extremes` search a recorded graph with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accelgrad.core.graph import Node
from accelgrad.viz.graphs import number
from accelgrad.viz.record import PACKAGE, Record, count_bad, finite, has_nan, host, largest, operation

__all__ = [
    "HUGE",
    "Finding",
    "backward",
    "called",
    "extremes",
    "forward",
    "huge",
    "listed",
    "not_finite",
    "zero",
    "zeros",
]


@dataclass(frozen=True)
class Finding:
    """One thing found: a code to test for, the name it is about, what happened, what to do.

    ``mistake`` is False for what is worth knowing but often meant.  ``node`` is the operation, where there is
    one.
    """

    code: str
    name: str
    sentence: str
    remedy: str
    mistake: bool = True
    node: Node | None = None

    def __str__(self) -> str:
        return f"[{self.code}] {self.sentence}\n    → {self.remedy}"


Hazard = tuple[str, str, str]
HUGE = 1e4
TINY = 1e-9

LOGARITHMS = {"Log": 0.0, "Log2": 0.0, "Log10": 0.0, "Log1p": -1.0, "Xlogy": None}
RECTIFIERS = ("Relu", "Hardtanh", "Threshold")
SATURATING = ("Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Hardsigmoid", "Softsign", "Erf", "LogSigmoid")
STEPS = ("Floor", "Ceil", "Trunc", "Round", "Sign", "Heaviside")

CLAMP = "keep away from the pole: x.clamp(min=1e-12)"
LOG_REMEDY = (
    f"{CLAMP}; for probabilities use log_softmax, logsigmoid, cross_entropy or the with_logits losses"
)
ROOT_REMEDY = f"{CLAMP} before the root, or add a small eps inside it"


def forward(name: str, inputs: Sequence[Any], output: Any) -> Hazard | None:
    """Where a result is not finite although the operation's inputs are."""
    values = [None if one is None else host(one) for one in inputs]
    first = values[0] if values else None
    second = values[1] if len(values) > 1 else None
    result = None if output is None else host(output)
    pole = LOGARITHMS.get(name)
    if pole is not None and first is not None:
        if (first == pole).any():
            return "log-of-zero", f"{_some(first == pole)} exactly 0, whose logarithm is -inf", LOG_REMEDY
        if (first < pole).any():
            return "log-of-zero", f"{_some(first < pole)} negative, whose logarithm is nan", LOG_REMEDY
    if name in ("Div", "Reciprocal", "Rsqrt"):
        under = second if name == "Div" else first
        if under is not None and (under == 0).any():
            return "division-by-zero", f"{_some(under == 0)} 0 in the denominator", "add a small eps to it"
        unseen = under is None and (name != "Div" or _clean(first))
        if unseen and result is not None and np.isinf(result).any():
            return "division-by-zero", "the denominator is 0 somewhere", "add a small eps to it"
    if name == "Sqrt" and first is not None and (first < 0).any():
        return "root-of-negative", f"{_some(first < 0)} negative, whose root is nan", ROOT_REMEDY
    if name == "Sqrt" and result is not None and np.isnan(result).any() and (first is None or _clean(first)):
        return "root-of-negative", "a negative number has no root", ROOT_REMEDY
    if name == "Pow" and first is not None and second is not None:
        base, exponent = np.broadcast_arrays(first, second)
        if ((base == 0) & (exponent < 0)).any():
            return "division-by-zero", "0 to a negative power is inf", "add a small eps to the base"
        if ((base < 0) & (exponent != np.round(exponent))).any():
            return "root-of-negative", "a negative number to a fractional power is nan", CLAMP
    grows = name in ("Exp", "Exp2", "Expm1", "Sinh", "Cosh") and (first is None or _clean(first))
    if grows and result is not None and np.isinf(result).any():
        return (
            "overflow",
            f"{_some(np.isinf(result))} too large for {result.dtype}:"
            " exp(x) is inf above x = 88.7 in float32",
            "subtract the largest value first; log_softmax, logsumexp and softplus do so",
        )
    if name in ("Sub", "Add") and first is not None and second is not None:
        left, right = np.broadcast_arrays(first, second)
        other = right if name == "Sub" else -right
        if (np.isinf(left) & (left == other)).any():
            return (
                "inf-minus-inf",
                "inf - inf is nan",
                "find what made the two infinite (often exp or log of extreme values) and keep it finite",
            )
    if name == "Mul" and first is not None and second is not None:
        left, right = np.broadcast_arrays(first, second)
        if (((left == 0) & np.isinf(right)) | (np.isinf(left) & (right == 0))).any():
            return (
                "inf-times-zero",
                "0 times inf is nan",
                "select with where() before the operation that becomes infinite,"
                " not by multiplying with a mask",
            )
    if name in ("Softmax", "LogSoftmax") and (
        (first is not None and first.ndim and np.isneginf(first).all(axis=-1).any())
        or (first is None and result is not None and result.ndim and np.isnan(result).all(axis=-1).any())
    ):
        return (
            "inf-minus-inf",
            "a row is -inf throughout (everything masked): softmax of it is inf - inf",
            "leave at least one element of each row unmasked",
        )
    return None


def backward(name: str, inputs: Sequence[Any], output: Any) -> Hazard | None:
    """Where gradients become infinite or NaN although they and the values were finite."""
    found = forward(name, inputs, output)
    if found is not None:
        return found
    first = host(inputs[0]) if inputs and inputs[0] is not None else None
    result = host(output) if output is not None else None
    if name in ("Sqrt", "Pow", "Norm", "Hypot", "Std"):
        at_zero = (result is not None and (result == 0).any()) or (first is not None and (first == 0).any())
        if at_zero:
            return "root-of-zero", f"the slope of {name.lower()} at 0 is infinite", ROOT_REMEDY
    if name in ("Asin", "Acos", "Atanh") and first is not None and (np.abs(first) == 1).any():
        return (
            "root-of-zero",
            f"the slope of {name.lower()} at ±1 is infinite",
            "clamp to just inside -1 and 1",
        )
    return None


def zero(
    name: str, inputs: Sequence[Any], output: Any, ratio: float, node: Any, root_value: Any
) -> Hazard | None:
    """Where gradients end; ``ratio`` is the largest that is sent over the largest that came."""
    first = host(inputs[0]) if inputs and inputs[0] is not None else None
    result = host(output) if output is not None else None
    if name in RECTIFIERS:
        dead = _dead(result if result is not None else first)
        if ratio == 0 or dead > 0.5:
            share = "every input is" if ratio == 0 else f"{100 * dead:.0f} % of its units have only inputs"
            return (
                "dead-relu",
                f"{share} negative, for every sample: no gradient passes",
                "lower the learning rate, start with smaller or non-negative biases,"
                " or use leaky_relu or gelu",
            )
    if name in SATURATING and ratio < 1e-6 and not _symmetric(result):
        return (
            "saturated",
            "its inputs are so extreme that the slope is almost 0"
            f" (gradients shrink to {number(ratio)} of what came)",
            "scale the inputs down: normalise, initialise smaller;"
            " give logits, not probabilities, to the loss",
        )
    if name in STEPS and ratio == 0:
        return (
            "flat",
            f"{name.lower()} is constant between its steps: its slope is 0",
            "leave it out while training",
        )
    if name == "Clamp" and ratio == 0:
        return "clamped", "every input lies outside the limits, where clamp is constant", "widen the limits"
    if name == "Mul" and ratio == 0:
        return (
            "times-zero",
            "the other factor is 0 everywhere",
            "look at the mask or the scale it is multiplied by",
        )
    if name in ("CrossEntropy", "BceWithLogits") and ratio < 1e-6 and root_value is not None:
        if float(np.abs(host(root_value)).max()) < 1e-4:
            return (
                "converged",
                "the loss is almost 0: there is nothing left to learn from it",
                "nothing to do",
            )
        return "saturated", "the scores are so extreme that the slope is almost 0", "scale the scores down"
    return None


def huge(name: str, inputs: Sequence[Any], output: Any) -> str:
    """What about an operation makes gradients huge, as the end of a sentence."""
    values = [None if one is None else host(one) for one in inputs]
    near = values[1] if name == "Div" and len(values) > 1 else values[0] if values else None
    if name in (*LOGARITHMS, "Div", "Reciprocal", "Sqrt", "Rsqrt") and near is not None and near.size:
        return f": an input is as near to 0 as {number(float(np.abs(near).min()))}"
    if name in ("Exp", "Exp2", "Pow") and output is not None and host(output).size:
        return f": its result reaches {number(float(np.abs(host(output)).max()))}"
    return ""


def _dead(values: np.ndarray | None) -> float:
    """Return the share of units that are at most 0 for every sample; a unit is a feature or a channel."""
    if values is None or values.ndim < 2 or values.shape[0] < 8:
        return 0.0
    axis = values.ndim - 1 if values.ndim in (2, 3) else 1
    others = tuple(place for place in range(values.ndim) if place != axis)
    return float((values <= 0).all(axis=others).mean())


def _symmetric(result: np.ndarray | None) -> bool:
    """Whether a softmax has one element only, which is 1 whatever the score."""
    return result is not None and result.ndim > 0 and result.shape[-1] == 1


def _clean(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.isfinite(values).all())


def _some(mask: np.ndarray) -> str:
    count = int(mask.sum())
    return f"{count} of {mask.size} inputs {'is' if count == 1 else 'are'}"


# --- not finite


def not_finite(record: Record) -> list[Finding]:
    """Where the first value, or the first gradient, that is not finite comes from."""
    forward = [edge for edge, value in record.values.items() if not finite(value)]
    if not finite(record.values[record.root]) or any(has_nan(record.values[edge]) for edge in forward):
        return [_forward_origin(record)]
    arrived = {edge[0] for edge, value in record.gradients.items() if not finite(value)}
    for node in record.order:
        if node.is_leaf or node in arrived:
            continue
        for place in range(len(node.edges)):
            if (node, place) in record.sent and not finite(record.sent[(node, place)]):
                return [_backward_origin(record, node)]
    return []


def _forward_origin(record: Record) -> Finding:
    record.complete()
    for node in record.nodes:
        if node.is_leaf:
            value = record.values.get((node, 0))
            if value is not None and not finite(value):
                name = record.names.get((node, 0), "a tensor that requires a gradient")
                return Finding(
                    "nan-parameter",
                    name,
                    f"{name} itself holds values that are not finite ({count_bad(value)}):"
                    " an earlier step broke it",
                    "start again from a good state with a smaller learning rate, or clip the gradients",
                    node=node,
                )
    for node in record.nodes:
        if node.is_leaf:
            continue
        inputs = record.inputs(node)
        for place, (edge, value) in enumerate(zip(node.edges, inputs, strict=True)):
            if edge is None and value is not None and has_nan(value):
                known: Any = ("constant", node, place)
                name = record.names.get(known, f"input {place} of {operation(node)}")
                return Finding(
                    "nan-data",
                    name,
                    f"{name} holds NaN ({count_bad(value)}): the data is broken before any computation",
                    "look at the samples: numpy.isnan(...).any(axis=...) finds them",
                    node=node,
                )
        output = record.values.get((node, 0))
        hazard = forward(operation(node), inputs, output)
        if hazard is not None:
            code, sentence, remedy = hazard
            return Finding(code, operation(node), f"{called(record, node)}: {sentence}", remedy, node=node)
        healthy = all(finite(value) for value in inputs if value is not None)
        if output is not None and not finite(output) and healthy:
            return Finding(
                "nan" if has_nan(output) else "overflow",
                operation(node),
                f"the first result known to be not finite is that of {called(record, node)}"
                f" ({count_bad(output)})",
                "print its inputs; within autograd.detect_anomaly() the line is shown too",
                node=node,
            )
    node = record.root[0]
    return Finding(
        "nan", operation(node), "this tensor is not finite", "print what it was computed from", node=node
    )


def _backward_origin(record: Record, node: Node) -> Finding:
    hazard = backward(operation(node), record.inputs(node), record.values.get((node, 0)))
    if hazard is None:
        hazard = (
            "nan",
            "finite gradients come in and some that are not finite go out",
            "look at its inputs: a slope is infinite or an intermediate result overflows there",
        )
    code, sentence, remedy = hazard
    names = [record.names.get((leaf, 0), "") for leaf in record.leaves if _broken(record, leaf)]
    reach = f"; it spreads to {listed([name for name in names if name])}" if any(names) else ""
    return Finding(code, operation(node), f"{called(record, node)}: {sentence}{reach}", remedy, node=node)


def _broken(record: Record, leaf: Node) -> bool:
    value = record.gradients.get((leaf, 0))
    return value is not None and not finite(value)


# --- zero and extreme


def zeros(record: Record) -> list[Finding]:
    """Operations at which gradients become zero, or nearly."""
    found: list[Finding] = []
    root_value = record.values[record.root]
    for node in record.order:
        if node.is_leaf:
            continue
        came = largest(record.gradients.get((node, 0)))
        sizes = [largest(record.sent.get((node, place))) for place in range(len(node.edges))]
        sent = [one for one in sizes if one is not None]
        name = operation(node)
        if came is None or came == 0 or not sent:
            continue
        inputs, output = record.inputs(node), record.values.get((node, 0))
        hazard = zero(name, inputs, output, max(sent) / came, node, root_value)
        if hazard is not None:
            code, sentence, remedy = hazard
            lost = [
                record.names[(leaf, 0)]
                for leaf in record.leaves
                if (leaf, 0) in record.names and largest(record.gradients.get((leaf, 0))) == 0
            ]
            tail = f"; zero in the end: {listed(lost)}" if lost else ""
            meant = code == "converged"
            found.append(
                Finding(code, name, f"{called(record, node)}: {sentence}{tail}", remedy, not meant, node)
            )
    none = [leaf for leaf in record.leaves if largest(record.gradients.get((leaf, 0))) == 0]
    if none and not found:
        names = [record.names.get((leaf, 0), "a tensor") for leaf in none]
        found.append(
            Finding(
                "zero",
                ", ".join(names),
                f"the gradient of {listed(names)} is zero everywhere",
                "the paths to it cancel, or select other elements: look at the picture",
                node=none[0],
            )
        )
    return found


def extremes(record: Record) -> list[Finding]:
    """Gradients that are huge or vanish."""
    found = []
    for leaf in record.leaves:
        size = largest(record.gradients.get((leaf, 0)))
        if size is None or size == 0:
            continue
        name = record.names.get((leaf, 0), "a tensor that requires a gradient")
        if size > HUGE:
            node, ratio = _amplifier(record)
            hazard = huge(operation(node), record.inputs(node), record.values.get((node, 0)))
            found.append(
                Finding(
                    "huge",
                    name,
                    f"the gradient of {name} reaches {number(size)};"
                    f" the operation that enlarges most is {called(record, node)}"
                    f" ({number(ratio)} times){hazard}",
                    "scale the input or the loss (mean instead of sum), keep away from poles, or clip:"
                    " nn.utils.clip_grad_norm_",
                    node=node,
                )
            )
        elif size < TINY:
            found.append(
                Finding(
                    "vanishing",
                    name,
                    f"the gradient of {name} is at most {number(size)}: too small to learn from",
                    "use relu instead of sigmoid or tanh, normalisation, or residual connections",
                    node=leaf,
                )
            )
    return found[:1] if found and found[0].code == "huge" else found


def _amplifier(record: Record) -> tuple[Node, float]:
    best, most = record.root[0], 0.0
    for node in record.order:
        came = largest(record.gradients.get((node, 0)))
        if node.is_leaf or not came:
            continue
        for place in range(len(node.edges)):
            sent = largest(record.sent.get((node, place)))
            if sent is not None and sent / came > most:
                best, most = node, sent / came
    return best, most


def called(record: Record, node: Node) -> str:
    """An operation with the name of its result, and the line that made it where anomaly mode recorded it."""
    text = operation(node)
    name = record.names.get((node, 0))
    if name:
        text += f" (→ {name})"
    extras = getattr(node, "_extras", None)
    if extras is not None and extras.made_at:
        lines = [line for line in extras.made_at if f'File "{PACKAGE}' not in line]
        if lines:
            text += f", called at {' '.join(lines[-1].split())}"
    return text


def listed(names: Iterable[str]) -> str:
    """Up to four names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
