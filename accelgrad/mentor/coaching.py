"""A context that watches a training loop and names common mistakes: ``with accelgrad.coach(): train()``."""

from __future__ import annotations

import functools
import html
import math
import statistics
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelgrad.core.graph import Node
from accelgrad.core.modes import is_grad_enabled
from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.nn.hooks import register_module_forward_hook, register_module_forward_pre_hook
from accelgrad.ops.losses.loss import CrossEntropy
from accelgrad.ops.losses.pair_loss import PairLoss
from accelgrad.ops.pointwise.arithmetic import Sub
from accelgrad.ops.reductions.softmax import LogSoftmax
from accelgrad.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from accelgrad.utils.data import DataLoader, SequentialSampler
from accelgrad.viz.record import PACKAGE
from accelgrad.viz.svg import GREEN, INK, MONO, RED

__all__ = ["Advice", "coach"]

ADVICE = {
    "zero-grad": (
        "backward() was called on gradients of the step before: they add up",
        "call optimizer.zero_grad() before every backward()",
    ),
    "no-eval": (
        "{name} was called for validation in training mode:"
        " dropout drops and batch norm learns from held-out data",
        "call model.eval() before validation and model.train() after it",
    ),
    "no-no-grad": (
        "{count} forward passes of {name} recorded a graph that no backward() used:"
        " time and memory for nothing",
        "put validation into `with accelgrad.no_grad():`",
    ),
    "softmax-before-loss": (
        "{loss} got the result of {name}, but it takes raw scores and applies its own softmax or sigmoid",
        "give the scores of the last Linear layer to the loss",
    ),
    "shapes": (
        "a difference of shapes {left} and {right} was broadcast to all pairs instead of element by element",
        "make the shapes equal: prediction.squeeze(1), or target.unsqueeze(1)",
    ),
    "graph-kept": (
        "the graphs of {count} earlier losses are still alive: memory grows with every step",
        "keep numbers, not graphs: losses.append(loss.item()), total += loss.item()",
    ),
    "not-in-optimizer": (
        "{name} got gradients but no optimizer has it: it never changes",
        "create the optimizer after the model is complete, with all of model.parameters()",
    ),
    "empty-step": (
        "{name}.step() found no gradient in any of its parameters: it changes nothing",
        "give the optimizer the parameters of the model that is trained, and call backward() before step()",
    ),
    "unused": (
        "{name} never got a gradient: nothing that was learned from depends on it",
        "use it in forward(), or remove it; accelgrad.explain(loss, model) says where it is cut off",
    ),
    "unshuffled": (
        "the training data came in the same order in every epoch",
        "DataLoader(..., shuffle=True) for training; validation needs none",
    ),
    "diverging": (
        "the loss rose from {first} to {last}: the learning rate is too large",
        "divide the learning rate by ten, then raise it again while the loss falls",
    ),
    "nan-loss": (
        "the loss became {last} at backward() number {step}",
        "call accelgrad.explain(loss, model) before that backward(): it names the operation",
    ),
}

SQUASHING = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid")
PASSING = ("View", "Cast", "Permute", "Transpose", "Squeeze", "Unsqueeze", "Select", "Slice")


@dataclass(frozen=True)
class Advice:
    """One mistake: its code, what was seen, what to do, the line of the program, and how often."""

    code: str
    sentence: str
    remedy: str
    line: str = ""

    def __str__(self) -> str:
        where = f" ({self.line})" if self.line else ""
        return f"[{self.code}] {self.sentence}{where}\n    → {self.remedy}"


class coach:
    """Watch what happens within the ``with`` block, and name mistakes of training loops at its end.

    ``findings`` holds one :class:`Advice` for each kind of mistake, ``codes`` their codes: zero-grad,
    no-eval, no-no-grad, softmax-before-loss, shapes, graph-kept, not-in-optimizer, empty-step, unused,
    unshuffled, diverging, nan-loss. They are printed at the end of the block unless ``quiet``.  Hooks and
    wrappers exist within the block only: outside it nothing is slower.  Watching costs a walk over the graph
    at every ``backward()``.

    >>> import accelgrad
    >>> model = accelgrad.nn.Linear(2, 1)
    >>> optimizer = accelgrad.optim.SGD(model.parameters(), lr=0.01)
    >>> with coach(quiet=True) as watched:
    ...     for step in range(3):
    ...         loss = model(accelgrad.ones(4, 2)).pow(2).mean()
    ...         loss.backward()
    ...         optimizer.step()
    >>> watched.codes
    ['zero-grad']
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.findings: list[Advice] = []
        self._undo: list[Callable[[], None]] = []
        self._depth = 0
        self._models: dict[int, Any] = {}
        self._optimizers: dict[int, Any] = {}
        self._stale: dict[int, tuple[Tensor, Tensor, int]] = {}
        self._graded: set[int] = set()
        self._recorded: list[tuple[weakref.ref[Node], Any, bool, bool]] = []
        self._trained: set[int] = set()
        self._orphans: dict[int, int] = {}
        self._roots: list[weakref.ref[Node]] = []
        self._losses: dict[tuple[str, int], list[float]] = {}
        self._loader: Any = None
        self._loader_batches: dict[int, tuple[Any, int, int]] = {}
        self._passes: dict[int, int] = {}
        self._steps = self._backwards = 0

    @property
    def codes(self) -> list[str]:
        """The codes of the findings, in the order in which they were made."""
        return [one.code for one in self.findings]

    def __repr__(self) -> str:
        seen = f"coach: {self._steps} steps and {self._backwards} backward passes watched"
        if not self.findings:
            return f"{seen}, no mistakes found"
        return "\n".join([f"{seen}, {len(self.findings)} found:", *map(str, self.findings)])

    def _repr_html_(self) -> str:
        color = RED if self.findings else GREEN
        return (
            f'<div style="font:13px {MONO};color:{INK};background:white;border-left:4px solid {color};'
            f'padding:4px 10px;white-space:pre-wrap">{html.escape(repr(self))}</div>'
        )

    # --- on and off

    def __enter__(self) -> coach:
        handles = [
            register_module_forward_pre_hook(self._before_forward),
            register_module_forward_hook(self._after_forward, always_call=True),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        self._undo = [handle.remove for handle in handles]
        self._wrap(Tensor, "backward", self._backward)
        self._wrap(DataLoader, "__iter__", self._iterate)
        self._watch(CrossEntropy, self._scores)
        self._watch(LogSoftmax, self._scores)
        self._watch(PairLoss, self._pairs)
        self._watch(Sub, self._pairs)
        self._wrap(Tensor, "__sub__", self._difference)  # the operator holds Sub.apply of its own
        return self

    def __exit__(self, *exception: object) -> None:
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        self._conclude()
        self._recorded, self._roots, self._stale = [], [], {}
        if self.findings and not self.quiet:
            print(self)

    def _wrap(self, owner: type, name: str, around: Callable[..., Any]) -> None:
        """Replace a method by ``around(original, self, ...)`` until the end of the block."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(instance: Any, *args: Any, **kwargs: Any) -> Any:
            return around(original, instance, *args, **kwargs)

        setattr(owner, name, wrapped)
        self._undo.append(lambda: setattr(owner, name, original))

    def _watch(self, primitive: type[Primitive], look: Callable[..., None]) -> None:
        """Show the inputs of every call of ``primitive`` to ``look`` until the end of the block."""
        own = primitive.__dict__.get("apply")
        original = primitive.apply.__func__  # type: ignore[attr-defined]

        def apply(cls: type[Primitive], *inputs: Any, **options: Any) -> Any:
            look(cls, *inputs)
            return original(cls, *inputs, **options)

        def undo() -> None:
            if own is None:
                del primitive.apply
            else:
                primitive.apply = own  # type: ignore[method-assign]

        primitive.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
        self._undo.append(undo)

    def _note(self, code: str, **facts: Any) -> None:
        if code in self.codes:
            return
        sentence, remedy = ADVICE[code]
        self.findings.append(Advice(code, sentence.format(**facts), remedy, facts.get("line", _line()[2])))

    # --- modules

    def _before_forward(self, module: Any, args: Any) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        if not is_grad_enabled() and module.training and _modal(module):
            self._note("no-eval", name=type(module).__name__)

    def _after_forward(self, module: Any, args: Any, output: Any) -> None:
        self._depth = max(0, self._depth - 1)
        if self._depth or not list(module.parameters()):
            return
        self._models.setdefault(id(module), module)
        for tensor in _tensors(output):
            if tensor.grad_fn is not None:
                self._recorded.append((weakref.ref(tensor.grad_fn), module, module.training, _modal(module)))
                break
        if len(self._recorded) > 512:
            self._settle()

    def _settle(self, everything: bool = False) -> None:
        """Count the forward passes whose graph is gone and was never walked back through."""
        kept = []
        for reference, module, training, modal in self._recorded:
            node = reference()
            if node is not None and not everything:
                kept.append((reference, module, training, modal))
                continue
            self._orphans[id(module)] = count = self._orphans.get(id(module), 0) + 1
            if training and modal and count >= 3 and id(module) in self._trained:
                self._note("no-eval", name=type(module).__name__, line="")
        self._recorded = kept

    # --- losses

    def _scores(self, primitive: type[Primitive], *inputs: Any) -> None:
        """Whether what a loss takes for scores has been through a softmax or sigmoid already."""
        squashed = _squashed(inputs[0]) if inputs and isinstance(inputs[0], Tensor) else ""
        if squashed:
            loss = "cross_entropy" if primitive is CrossEntropy else "log_softmax"
            self._note("softmax-before-loss", name=squashed.lower(), loss=loss)

    def _pairs(self, primitive: type[Primitive], *inputs: Any) -> None:
        """Whether (n,) meets (n, 1), and whether a loss of logits gets probabilities."""
        if len(inputs) < 2 or not all(isinstance(one, Tensor) for one in inputs[:2]):
            return
        left, right = inputs[0], inputs[1]
        if primitive.__name__ == "BceWithLogits":
            squashed = _squashed(left)
            if squashed:
                self._note(
                    "softmax-before-loss", name=squashed.lower(), loss="binary_cross_entropy_with_logits"
                )
        one, other = sorted((left.array.shape, right.array.shape), key=len)
        aligned = len(one) == 1 and len(other) == 2 and other == (one[0], 1) and one[0] > 1
        if aligned and left.requires_grad != right.requires_grad:
            self._note("shapes", left=tuple(left.array.shape), right=tuple(right.array.shape))

    def _difference(self, original: Any, tensor: Tensor, other: Any) -> Any:
        self._pairs(Sub, tensor, other)
        return original(tensor, other)

    def _backward(self, original: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        self._backwards += 1
        place = _line()
        edge = tensor.edge()
        seen: set[Node] = set()
        if edge is not None:
            seen = self._walk(edge[0])
            self._memory(edge[0])
        if tensor.numel() == 1:
            self._loss(float(tensor.item()), place)
        for parameter, grad, count in self._stale.values():
            leaf = parameter.edge()
            same = parameter.grad is grad and grad._version[0] == count and bool(grad.array.any())
            if same and leaf is not None and leaf[0] in seen:
                self._note("zero-grad")
                break
        self._stale.clear()
        result = original(tensor, *args, **kwargs)
        for model in self._models.values():
            self._graded.update(id(one) for one in model.parameters() if one.grad is not None)
        return result

    def _walk(self, start: Node) -> set[Node]:
        seen, stack = {start}, [start]
        while stack:
            for edge in stack.pop().edges:
                if edge is not None and edge[0] not in seen:
                    seen.add(edge[0])
                    stack.append(edge[0])
        waiting = []
        for mark in self._recorded:
            node = mark[0]()
            if node is not None and node in seen:
                self._trained.add(id(mark[1]))
            else:
                waiting.append(mark)
        self._recorded = waiting
        return seen

    def _memory(self, root: Node) -> None:
        self._roots = [one for one in self._roots if one() is not None and one() is not root]
        if len(self._roots) >= 4:
            # The one before may still be held by its variable, a second by another loss.
            self._note("graph-kept", count=len(self._roots))
        self._roots.append(weakref.ref(root))

    def _loss(self, value: float, place: tuple[str, int, str]) -> None:
        losses = self._losses.setdefault(place[:2], [])
        start = statistics.median(losses[:3]) if len(losses) >= 3 else None
        if start is not None:
            limit = 10 * abs(start) + 1e-3
            above = [one for one in [*losses, value] if math.isfinite(one) and one > limit]
            if above and all(one > limit or not math.isfinite(one) for one in [*losses[-2:], value]):
                self._note("diverging", first=f"{start:.4g}", last=f"{max(above):.4g}")
        if not math.isfinite(value):
            self._note("nan-loss", last=str(value), step=self._backwards)
        losses.append(value)

    # --- optimizers and data

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._optimizers.setdefault(id(optimizer), optimizer)
        held = [one for group in optimizer.param_groups for one in group["params"]]
        graded = [id(one) for one in held if one.grad is not None]
        self._graded.update(graded)
        if held and not graded and self._backwards and not (args or kwargs):
            self._note("empty-step", name=type(optimizer).__name__)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._steps += 1
        for group in optimizer.param_groups:
            for one in group["params"]:
                if one.grad is not None:
                    self._stale[id(one)] = (one, one.grad, one.grad._version[0])
        if self._loader is not None:
            loader = self._loader
            held = self._loader_batches.get(id(loader), (loader, 0, 0))
            self._loader_batches[id(loader)] = (loader, held[1] + 1, held[2])

    def _iterate(self, original: Any, loader: Any) -> Any:
        self._loader = loader
        self._passes[id(loader)] = self._passes.get(id(loader), 0) + 1
        return original(loader)

    def _conclude(self) -> None:
        """What can only be said at the end."""
        self._settle(everything=True)
        for number, count in self._orphans.items():
            if count >= 3 and number in self._trained and self._steps:  # fewer: somebody looked at a shape
                name = type(self._models[number]).__name__
                self._note("no-no-grad", name=name, count=count, line="")
        for loader, steps, _ in self._loader_batches.values():
            in_order = isinstance(getattr(loader, "sampler", None), SequentialSampler)
            if (
                in_order
                and steps >= 2
                and type(loader.batch_sampler).__name__ in ("BatchSampler", "NoneType")
            ):
                self._note("unshuffled", line="")
        if not self._optimizers:
            return
        held = {
            id(one)
            for optimizer in self._optimizers.values()
            for group in optimizer.param_groups
            for one in group["params"]
        }
        lost, unused = [], []
        seen: set[int] = set()
        for model in self._models.values():
            if not any(id(one) in held for one in model.parameters()):
                continue  # learned from by hand, or not at all
            for name, one in model.named_parameters():
                if id(one) in seen or not one.requires_grad:
                    continue
                seen.add(id(one))
                if id(one) in self._graded and id(one) not in held:
                    lost.append(name)
                elif id(one) not in self._graded and id(model) in self._trained:
                    unused.append(name)
        if lost:
            self._note("not-in-optimizer", name=_list(lost), line="")
        if unused:
            self._note("unused", name=_list(unused), line="")


def _squashed(tensor: Tensor) -> str:
    """The softmax or sigmoid that a tensor comes from, through reshaping; empty where it does not."""
    node = tensor.grad_fn
    for _ in range(6):
        if node is None or node.is_leaf:
            return ""
        name = getattr(getattr(node, "primitive", None), "__name__", "")
        if name in SQUASHING:
            return name
        if name not in PASSING or node.edges[0] is None:
            return ""
        node = node.edges[0][0]
    return ""


def _modal(module: Any) -> bool:
    """Whether a module behaves differently in training: it drops, or learns statistics."""
    for one in module.modules():
        name = type(one).__name__
        if "Dropout" in name and getattr(one, "p", 1.0) > 0:
            return True
        if "BatchNorm" in name:
            return True
    return False


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [one for part in value for one in _tensors(part)]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    return []


def _list(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _line() -> tuple[str, int, str]:
    """File and line of the nearest caller outside this package, and both in short."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "", 0, ""
    file, line = frame.f_code.co_filename, frame.f_lineno
    return file, line, f"line {line} of {file.rpartition('/')[2]}"
