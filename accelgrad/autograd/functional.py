"""grad and backward for several tensors, and whole derivatives: jacobian, hessian, vjp, jvp, hvp, vhp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from accelgrad.core import context, modes
from accelgrad.core.backward import root, run_backward, silently_walk
from accelgrad.core.tensor import Tensor, wrap

__all__ = ["backward", "grad", "hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | Sequence[Tensor]


def _tuple(values: Any) -> tuple[Any, ...]:
    """Several values as a tuple; one Tensor, or None, as a tuple of one."""
    return (values,) if isinstance(values, Tensor) or values is None else tuple(values)


def backward(
    tensors: Tensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensors | None = None,
) -> None:
    """Accumulate the gradients of several tensors at once in the leaves' ``.grad``, or in ``inputs``.

    ``grad_tensors`` gives one gradient, of the same shape, for each of ``tensors``; None for those with one
    element, which get 1.  The graph is freed unless ``retain_graph``; with ``create_graph`` the gradients can
    be differentiated.  RuntimeError for a tensor without history, and for lists of different lengths.

    >>> import accelgrad
    >>> x = accelgrad.tensor(3.0, requires_grad=True)
    >>> backward([x * 2, x ** 2])
    >>> x.grad
    tensor(8.)
    """
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

    One for each input, in its shape and dtype; nothing is accumulated in ``.grad``.  ``create_graph`` makes
    gradients that can be differentiated again.  RuntimeError for an input that was not used, unless
    ``allow_unused`` (then None) or ``materialize_grads`` (then zeros), and for ``is_grads_batched=True``,
    which is not supported.

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
    # The roots of the walk, and the edges at which gradients are collected.
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

    # One result for each input: its gradient, or what stands for one that was not used.
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
    """The inputs as tensors of their own that require grad, and whether only one was given.

    With ``create_graph`` they keep the connection to the tensors that were given.
    """
    single = isinstance(inputs, Tensor)
    many = _tuple(inputs)
    return tuple(
        one.view_as(one) if create_graph and one.requires_grad else one.detach().requires_grad_()
        for one in many
    ), single


def _call(func: Callable[..., Any], inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], bool]:
    """The outputs of ``func`` as a tuple, recorded, and whether it returned only one."""
    with modes.enable_grad():
        result = func(*inputs)
    return _tuple(result), isinstance(result, Tensor)


def _finish(results: tuple[Any, ...], create_graph: bool, single: bool) -> Any:
    """The results as the caller gets them: detached unless ``create_graph``, one by itself."""
    done = tuple(one if create_graph else one.detach() for one in results)
    return done[0] if single else done


def _gradients(
    outputs: Any, inputs: tuple[Tensor, ...], weights: Any, create_graph: bool
) -> tuple[Tensor, ...]:
    """:func:`grad` with zeros where an input was not used, or an output needs no gradient."""
    many = [(one, weight) for one, weight in zip(outputs, weights, strict=True) if one.requires_grad]
    if not many:
        return tuple(wrap(one.xp.zeros_like(one.array), one.xp) for one in inputs)
    with modes.enable_grad():
        return grad(
            [one for one, _ in many], inputs, [weight for _, weight in many],
            retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True,
        )  # fmt: skip


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """``func(inputs)`` and the product vᵀJ of a vector with the Jacobian.

    ``v`` has the shape of the output (a tuple for several), the product that of the inputs; None stands for 1
    where the output is one number, otherwise it is a RuntimeError.

    >>> import accelgrad
    >>> vjp(lambda x: x ** 2, accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 10.0]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    many, single = _prepare(inputs, create_graph)
    outputs, one_output = _call(func, many)
    if v is None:
        if len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor"
                " with a single element."
            )
        v = (wrap(outputs[0].xp.ones_like(outputs[0].array), outputs[0].xp),)
    products = _gradients(outputs, many, _tuple(v), create_graph)
    return _finish(outputs, create_graph, one_output), _finish(products, create_graph, single)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """``func(inputs)`` and the product Jv of the Jacobian with a vector.

    It is computed as the derivative of uᵀJ, which is linear in u, in the direction v.  ``v`` has the shape of
    the inputs (a tuple for several; None stands for ones), the product that of the output.

    >>> import accelgrad
    >>> jvp(lambda x: x.sum() ** 2, accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 0.0]))
    (tensor(9.), tensor(6.))
    """
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
    """The Jacobian: all derivatives of the outputs of ``func`` with respect to its inputs.

    For each output and each input a tensor of shape (*output.shape, *input.shape), row by row by one walk
    back for each element of the output; nested tuples where there are several outputs or inputs.

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
            weight = wrap(unit.reshape(output.array.shape), output.xp)  # output.shape
            for part, found in zip(parts, _gradients((output,), many, (weight,), create_graph), strict=True):
                part.append(found)
        row = []
        for one, part in zip(many, parts, strict=True):
            shape = (*output.shape, *one.shape)
            if part:
                xp = context.reading
                row.append(xp.reshape(xp.stack(part), shape))  # (*output.shape, *input.shape)
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
    """The Hessian: the second derivatives of a function whose value is one number.

    For each pair of inputs a and b a tensor of shape (*a.shape, *b.shape); nested tuples where there are
    several inputs.  RuntimeError where ``func`` returns more than one element.

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
    """``func(inputs)`` and the product vᵀH of a vector with the second derivatives of a scalar function.

    ``v`` has the shape of the inputs (a tuple for several; None stands for ones), and so has the product.

    >>> import accelgrad
    >>> vhp(lambda x: (x ** 3).sum(), accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([1.0, 0.0]))
    (tensor(9.), tensor([6., 0.]))
    """
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
    """``func(inputs)`` and the product Hv, which is :func:`vhp`, since second derivatives are symmetric.

    >>> import accelgrad
    >>> hvp(lambda x: (x ** 3).sum(), accelgrad.tensor([1.0, 2.0]), accelgrad.tensor([0.0, 1.0]))
    (tensor(9.), tensor([ 0., 12.]))
    """
    return vhp(func, inputs, v, create_graph, strict)
