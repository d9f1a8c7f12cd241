"""grad and backward for several tensors, and whole derivatives: jacobian, hessian, vjp, jvp, hvp, vhp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelgrad.core import graph
from accelgrad.core.backward import root, run_backward, silently_walk
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["backward", "grad", "hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | Sequence[Tensor]


def _tuple(values: Any) -> tuple[Any, ...]:
    return (values,) if isinstance(values, Tensor) or values is None else tuple(values)


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Accumulate the gradients of several tensors at once; see :meth:`accelgrad.Tensor.backward`."""
    many = _tuple(tensors)
    weights = _tuple(grad_tensors) if grad_tensors is not None else (None,) * len(many)
    if len(weights) != len(many):
        raise RuntimeError(f"got {len(many)} tensors and {len(weights)} gradients")
    run_backward(many, weights, retain_graph, create_graph, inputs)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """The gradients of the sum of ``outputs`` (weighted by ``grad_outputs``) with respect to ``inputs``.

    Nothing is accumulated in ``.grad``.  RuntimeError for an input that was not used, unless ``allow_unused``
    (then None) or ``materialize_grads`` (then zeros).

    >>> import accelgrad
    >>> x = accelgrad.tensor(3.0, requires_grad=True)
    >>> (dx,) = grad(x ** 2, x, create_graph=True)
    >>> grad(dx, x)
    (tensor(2.),)
    """
    if is_grads_batched:
        raise RuntimeError("is_grads_batched=True is not supported: loop over the rows of grad_outputs")
    if allow_unused is False and materialize_grads:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got False"
        )
    many, wanted = _tuple(outputs), _tuple(inputs)
    weights = _tuple(grad_outputs) if grad_outputs is not None else (None,) * len(many)
    if len(weights) != len(many):
        raise RuntimeError(
            f"grad requires one gradient for each of the {len(many)} outputs, got {len(weights)}"
        )
    roots = [root(tensor, weight, create_graph) for tensor, weight in zip(many, weights, strict=True)]
    edges = []
    for one in wanted:
        if not isinstance(one, Tensor):
            raise TypeError(f"grad(): inputs must be Tensors, got {type(one).__name__}")
        edge = one.edge()
        if edge is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
        edges.append(edge)
    keep = create_graph if retain_graph is None else retain_graph
    found = silently_walk(roots, keep, create_graph, edges, accumulate=False)
    results: list[Tensor | None] = []
    for place, (one, edge) in enumerate(zip(wanted, edges, strict=True)):
        gradient = found.get(edge)
        if gradient is None:
            if materialize_grads:
                results.append(wrap(one.xp.zeros_like(one.array), one.xp))
                continue
            if not allow_unused:
                raise RuntimeError(
                    f"The differentiated Tensor at index {place} appears to not have been used in the graph."
                    " Set allow_unused=True if this is the desired behavior."
                )
            results.append(None)
        else:
            results.append(
                gradient if isinstance(gradient, Tensor) else wrap(one.xp.asarray(gradient), one.xp)
            )
    return tuple(results)


def _prepare(inputs: Tensors, create_graph: bool) -> tuple[tuple[Tensor, ...], bool]:
    single = isinstance(inputs, Tensor)
    many = _tuple(inputs)
    return tuple(
        one.view_as(one) if create_graph and one.requires_grad else one.detach().requires_grad_()
        for one in many
    ), single


def _call(func: Callable[..., Any], inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], bool]:
    with graph.enable_grad():
        result = func(*inputs)
    return _tuple(result), isinstance(result, Tensor)


def _finish(results: tuple[Any, ...], create_graph: bool, single: bool) -> Any:
    done = tuple(one if create_graph else one.detach() for one in results)
    return done[0] if single else done


def _gradients(
    outputs: Any, inputs: tuple[Tensor, ...], weights: Any, create_graph: bool
) -> tuple[Tensor, ...]:
    many = [(one, weight) for one, weight in zip(outputs, weights, strict=True) if one.requires_grad]
    if not many:
        return tuple(wrap(one.xp.zeros_like(one.array), one.xp) for one in inputs)
    with graph.enable_grad():
        return grad(
            [one for one, _ in many], inputs, [weight for _, weight in many],
            retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True,
        )  # fmt: skip


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """(func(inputs), vᵀJ): the product of a vector with the Jacobian."""
    many, single = _prepare(inputs, create_graph)
    outputs, one_output = _call(func, many)
    if v is None:
        if len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a"
                " single element."
            )
        v = (wrap(outputs[0].xp.ones_like(outputs[0].array), outputs[0].xp),)
    products = _gradients(outputs, many, _tuple(v), create_graph)
    return _finish(outputs, create_graph, one_output), _finish(products, create_graph, single)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """(func(inputs), Jv): the product of the Jacobian with a vector, by differentiating vᵀJ with respect to
    v."""
    many, _ = _prepare(inputs, create_graph)
    outputs, one_output = _call(func, many)
    if v is None:
        v = tuple(wrap(one.xp.ones_like(one.array), one.xp) for one in many)
    weights = tuple(wrap(one.xp.zeros_like(one.array), one.xp).requires_grad_() for one in outputs)
    products = _gradients(outputs, many, weights, True)
    results = _gradients(products, weights, _tuple(v), create_graph)
    return _finish(outputs, create_graph, one_output), _finish(results, create_graph, one_output)


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
) -> Any:
    """dfunc/dinputs: for each output and input a tensor of shape (*output.shape, *input.shape).

    >>> import accelgrad
    >>> jacobian(lambda x: x ** 2, accelgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    many, single = _prepare(inputs, create_graph)
    outputs, one_output = _call(func, many)
    rows = []
    for output in outputs:
        parts: list[list[Tensor]] = [[] for _ in many]
        for place in range(output.numel()):
            unit = output.xp.zeros(output.numel(), dtype=output.array.dtype)
            unit[place] = 1
            weight = wrap(unit.reshape(output.array.shape), output.xp)
            for part, found in zip(parts, _gradients((output,), many, (weight,), create_graph), strict=True):
                part.append(found)
        row = []
        for one, part in zip(many, parts, strict=True):
            shape = (*output.shape, *one.shape)
            if part:
                from accelgrad.core.primitive import reading

                row.append(reading.reshape(reading.stack(part), shape))
            else:
                row.append(wrap(one.xp.zeros(shape, dtype=one.array.dtype), one.xp))
        rows.append(_finish(tuple(row), create_graph, single))
    return rows[0] if one_output else tuple(rows)


def hessian(
    func: Callable[..., Tensor],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
) -> Any:
    """The second derivatives of a scalar function: for each pair of inputs a tensor (*a.shape, *b.shape).

    >>> import accelgrad
    >>> hessian(lambda x: (x ** 3).sum(), accelgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    single = isinstance(inputs, Tensor)

    def slope(*given: Tensor) -> Any:
        value = func(*given)
        if value.numel() != 1:
            raise RuntimeError(
                "The Tensor returned by the function given to hessian should contain a single element"
            )
        return _gradients((value,), given, (wrap(value.xp.ones_like(value.array), value.xp),), True)

    result = jacobian(slope, inputs, create_graph)
    return result[0] if single else result


def vhp(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """(func(inputs), vᵀH): the product of a vector with the second derivatives of a scalar function."""
    many, single = _prepare(inputs, create_graph)
    outputs, _ = _call(func, many)
    slopes = _gradients(
        outputs, many, (wrap(outputs[0].xp.ones_like(outputs[0].array), outputs[0].xp),), True
    )
    weights = _tuple(v) if v is not None else tuple(wrap(one.xp.ones_like(one.array), one.xp) for one in many)
    products = _gradients(slopes, many, weights, create_graph)
    return _finish(outputs, create_graph, True), _finish(products, create_graph, single)


def hvp(
    func: Callable[..., Tensor],
    inputs: Tensors,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """(func(inputs), Hv): the same as :func:`vhp`, since second derivatives are symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
