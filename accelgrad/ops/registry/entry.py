"""The registry: one entry per operation, from which its method, operators, exports and tests come.

An operation is a function with the decorator :func:`op`::

    @op(primitive=Tanh, reference=np.tanh, samples=[sample(arg(2, 3)), sample(arg())], inplace=True)
    def tanh(input: Tensor) -> Tensor:
        \"\"\"Hyperbolic tangent ...\"\"\"
        return Tanh.apply(input)

This adds the methods ``Tensor.tanh`` and ``Tensor.tanh_``, exports ``accelgrad.tanh`` (with ``out=``), and
gives the tests of ``tests/ops/test_grid.py`` their arguments and the NumPy function to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from accelgrad.core.primitive import Primitive
from accelgrad.core.tensor import Tensor
from accelgrad.ops.registry.autocast import choosing
from accelgrad.ops.registry.operators import in_place, operator
from accelgrad.ops.registry.public import changes_in_place, public_form
from accelgrad.ops.registry.samples import Sample

__all__ = ["OPS", "Op", "op", "shown_in"]


@dataclass(frozen=True)
class Op:
    """The entry of one operation: the arguments of :func:`op`, and in ``call`` the function for users."""

    name: str
    call: Callable[..., Any]
    primitive: type[Primitive] | None
    reference: Callable[..., Any] | None
    samples: tuple[Sample, ...]
    errors: tuple[tuple[Sample, type[Exception], str], ...]
    differentiable: bool
    twice: bool
    namespace: str
    method: str | None
    inplace: bool
    aliases: tuple[str, ...]
    random: bool
    torch: str | None

    @property
    def path(self) -> str:
        """The public name below ``accelgrad``, e.g. ``nn.functional.relu``."""
        return _joined(self.namespace, self.name)


OPS: dict[str, Op] = {}
"""Every operation by its path."""

_SHOWN: dict[str, dict[str, Callable[..., Any]]] = {}
"""A public namespace -> the names it shows -> their functions."""


def shown_in(namespace: str) -> dict[str, Callable[..., Any]]:
    """Return the operations of a public namespace by name; it is "" for ``accelgrad``, or "linalg", say.

    >>> import accelgrad
    >>> "expit" in shown_in("special"), "relu" in shown_in("nn.functional"), "exp_" in shown_in("")
    (True, True, True)
    """
    return dict(_SHOWN.get(namespace, {}))


def op(
    *,
    primitive: type[Primitive] | None = None,
    reference: Callable[..., Any] | None = None,
    samples: Sequence[Sample] = (),
    errors: Sequence[tuple[Sample, type[Exception], str]] = (),
    differentiable: bool = True,
    twice: bool = True,
    namespace: str = "",
    also: Sequence[str] = (),
    aliases: Sequence[str] = (),
    method: bool | str = True,
    inplace: bool = False,
    operators: Sequence[str] = (),
    out: bool = True,
    random: bool = False,
    torch: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as an operation.

    ``primitive`` is the Primitive that computes it, if a single one does.  For the tests of the operation:

    * ``reference``: the same computation on NumPy arrays, called with the sample's arguments;
    * ``samples``: the calls to test;
    * ``errors``: triples (sample, exception, regular expression) of calls that are refused;
    * ``differentiable=False``: results have no gradient; ``twice=False``: there is no second derivative;
    * ``random=True``: results differ from call to call;
    * ``torch``: PyTorch's dotted name, if it is not the path.

    For its users:

    * ``namespace``: "" for ``accelgrad``, else e.g. "nn.functional" or "linalg";
    * ``aliases``: more names for it there and on Tensor;
    * ``also``: dotted names in other namespaces, e.g. ("nn.functional.relu", "relu_"), where a name that ends
      in an underscore is the change in place;
    * ``method``: whether it is a method of Tensor; a string is the name of the method;
    * ``inplace=True``: there is a method ``name_`` too;
    * ``operators``: Python's operators that it is, e.g. ("__add__", "__radd__", "__iadd__");
    * ``out``: whether ``out=`` is accepted.

    ValueError if the path is registered already.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        """Make the entry of ``function``, and show it on Tensor and in its namespaces."""
        name = function.__name__
        path = _joined(namespace, name)
        if path in OPS:
            raise ValueError(f"the operation {path!r} is registered twice")
        changes = changes_in_place(name)
        call = public_form(choosing(function, path), out=out and not changes)
        changing = call if changes else in_place(function, name)
        hung = (name if method is True else method) if method else None
        OPS[path] = Op(
            name, call, primitive, reference, tuple(samples), tuple(errors), differentiable, twice, namespace,
            hung, inplace, tuple(aliases), random, torch,
        )  # fmt: skip

        # --- on Tensor
        if hung:
            for one in (hung, *aliases):
                setattr(Tensor, one, call)
        if inplace:
            for one in (name, *aliases):
                setattr(Tensor, f"{one}_", changing)
        for one in operators:
            setattr(Tensor, one, operator(one, primitive) if primitive and _takes_two(function) else call)

        # --- in the public namespaces
        for one in (name, *aliases):
            _SHOWN.setdefault(namespace, {})[one] = call
        for one in also:
            where, _, short = one.rpartition(".")
            _SHOWN.setdefault(where, {})[short] = changing if changes_in_place(short) else call
        return call

    return register


def _joined(namespace: str, name: str) -> str:
    """Return the dotted path of a name in a namespace."""
    return f"{namespace}.{name}" if namespace else name


def _takes_two(function: Callable[..., Any]) -> bool:
    """Tell whether a function has two operands, as the operators ``+`` and ``<`` have."""
    parameters = signature(function).parameters.values()
    return sum(one.kind is one.POSITIONAL_OR_KEYWORD and one.default is one.empty for one in parameters) > 1
