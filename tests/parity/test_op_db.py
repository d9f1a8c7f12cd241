"""PyTorch's own operator database (``op_db``): its samples through accelgrad and through PyTorch.

For every operator of the database that accelgrad has under the same name: values and result types for float,
integer and boolean samples, first gradients and second gradients.  ``DIFFERENT`` names what is meant to
differ, with the reason.
"""

from __future__ import annotations

import inspect
import itertools
import warnings
from typing import Any

import numpy as np
import pytest

import accelgrad
import accelgrad.nn.functional as F
from accelgrad.autograd import grad
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import OPS

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.host  # PyTorch's tensors lie there

TOLERANCE = {"bfloat16": 1.6e-2}
"""Relative and absolute, where it is not 2e-4: two units in the last of bfloat16's 8 binary digits."""

SAMPLES = 8
"""How many of an operator's samples are taken: they are spread over its whole list."""

DIFFERENT: dict[str, str] = {
    "empty": "uninitialised memory",
    "empty_like": "uninitialised memory",
    "empty_strided": "uninitialised memory",
    "empty_permuted": "uninitialised memory",
    "new_empty": "uninitialised memory",
    "new_empty_strided": "uninitialised memory",
    "zero_": "the database calls it on a leaf, which both refuse outside of a test",
    "as_strided.partial_views": "reads memory before the first element of its input",
    "cholesky_inverse": "PyTorch's gradient does not stop at the triangle that is read",
    "cholesky_solve": "PyTorch's gradient does not stop at the triangle that is read",
    "linalg.lstsq": "PyTorch's drivers leave out residuals and rank that its manual promises",
    "linalg.norm.subgradients_at_zero": "PyTorch's second derivative is nan where the first one is 0",
    "logcumsumexp-gradient-bfloat16": "e^-result is its gradient, and a result of 10,000 has units of 64",
    "linalg.pinv.singular": "the database multiplies two factors first",
}
"""``name``, ``name.variant`` or ``name-dtype`` -> why it is not compared."""

REFUSED: dict[str, tuple[str, str]] = {
    "nn.functional.batch_norm": (
        "got 1D of shape",
        "PyTorch reads a channel count that a vector does not have",
    ),
}
"""Operators that refuse some samples on purpose -> words of the error, and why."""

ORDER: dict[str, Any] = {
    "where": lambda x, condition, other: accelgrad.where(condition, x, other),
    "nn.functional.embedding": lambda weight, indices, **options: F.embedding(indices, weight, **options),
    "nn.functional.embedding_bag": lambda weight, indices, *rest, **options: F.embedding_bag(
        indices, weight, *rest, **options
    ),
    "normal.in_place": lambda x, *args, **options: x.normal_(*args, **options),
    "cauchy": lambda x, *args, **options: x.clone().cauchy_(*args, **options),
    "exponential": lambda x, *args, **options: x.clone().exponential_(*args, **options),
    "geometric": lambda x, *args, **options: x.clone().geometric_(*args, **options),
    "log_normal": lambda x, *args, **options: x.clone().log_normal_(*args, **options),
    "uniform": lambda x, *args, **options: x.clone().uniform_(*args, **options),
    "einsum": lambda tensors, equation: accelgrad.einsum(equation, *tensors),
    "polygamma": lambda x, n: accelgrad.polygamma(n, x),
    "svd_lowrank": lambda a, b, **options: accelgrad.svd_lowrank(a @ b.mT, **options),
    "pca_lowrank": lambda a, b, **options: accelgrad.pca_lowrank(a @ b.mT, **options),
    "special.polygamma": lambda x, n: accelgrad.special.polygamma(n, x),
}
"""Functions to which the database gives its arguments in another order."""

CHOICES = {
    "sort", "argsort", "topk", "kthvalue", "mode", "median", "nanmedian", "msort", "max", "min", "cummax",
    "cummin",
}  # fmt: skip
"""Operators that may choose any of several equal elements: the values are compared, the places are not."""

SIGNS = {"linalg.eigh", "linalg.svd", "svd", "linalg.lstsq", "linalg.qr", "qr"}
"""Decompositions whose factors are determined up to signs: shapes and types are compared, and invariant
gradients."""

RANDOM = {
    "bernoulli", "multinomial", "normal", "rand_like", "randn_like", "randint", "randint_like", "randn",
    "uniform", "cauchy", "exponential", "geometric", "log_normal", "poisson", "nn.functional.dropout",
    "nn.functional.dropout2d", "nn.functional.dropout3d", "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout", "rand", "nn.functional.rrelu", "nn.functional.gumbel_softmax",
    "nn.functional.fractional_max_pool2d", "randperm", "_native", "nn.functional.fractional_max_pool3d",
    "svd_lowrank", "pca_lowrank",
}  # fmt: skip
"""Operators whose values are drawn: shapes and types are compared only."""


NORMWISE = {"matrix_exp"}
"""Operators whose rounding errors are those of their largest result."""

DRAWING = ("dropout_p", "dropout", "p_dropout")
"""Arguments that make an operator random where they are not 0."""


def ours(name: str, variant: str = "") -> Any:
    """Our function (or method) of a dotted PyTorch name; None where there is none."""
    for label in (f"{name}.{variant}", name):
        if label in ORDER:
            return ORDER[label]
    place: Any = accelgrad
    for part in name.split("."):
        try:
            place = getattr(place, part, None)
        except ImportError:
            return None
    if callable(place):
        return place
    method = getattr(Tensor, name, None)
    return (lambda x: getattr(x, name)) if isinstance(method, property) else method


def operators() -> list[Any]:
    found, seen = [], set()
    for info in op_db:
        label = info.name + (f".{info.variant_test_name}" if info.variant_test_name else "")
        if info.name in DIFFERENT or label in DIFFERENT or label in seen or ours(info.name) is None:
            continue
        seen.add(label)
        found.append(pytest.param(info, id=label))
    return found


OPERATORS = operators()


class Unsupported(Exception):
    """The sample uses something that accelgrad does not have (complex numbers, sparse layouts)."""


def convert(value: Any, leaves: list[Tensor] | None = None) -> Any:
    """PyTorch's argument as ours."""
    if isinstance(value, torch.Tensor):
        if value.dtype.is_complex or value.layout is not torch.strided:
            raise Unsupported(value.dtype)
        plain = value.detach().resolve_neg()
        if value.dtype == torch.bfloat16:  # .numpy() has no such type, and DLPack no memory for nothing
            tensor = (
                accelgrad.from_dlpack(plain) if plain.numel() else accelgrad.empty(plain.shape).bfloat16()
            )
        else:
            tensor = wrap(plain.numpy())
        if value.requires_grad:
            tensor.requires_grad_()
            if leaves is not None:
                leaves.append(tensor)
        return tensor
    if inspect.isfunction(value) or inspect.isbuiltin(value):
        raise Unsupported(value)
    if isinstance(value, torch.dtype):
        if not hasattr(accelgrad, str(value).removeprefix("torch.")):
            raise Unsupported(value)
        return getattr(accelgrad, str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return accelgrad.device(str(value))
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, torch.memory_format | torch.layout | torch.Generator | complex | torch.nn.Module):
        raise Unsupported(value)
    if isinstance(value, list | tuple):
        parts = [convert(part, leaves) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {key: convert(part, leaves) for key, part in value.items()}
    return value


def gather_leaves(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad else []
    if isinstance(value, list | tuple):
        return [leaf for part in value for leaf in gather_leaves(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in gather_leaves(part)]
    return []


def flat(result: Any) -> list[Any]:
    if isinstance(result, torch.Tensor | Tensor):
        return [result]
    if isinstance(result, list | tuple):
        return [leaf for part in result for leaf in flat(part)]
    return [result]


def chosen(info: Any, dtype: Any, requires_grad: bool) -> list[Any]:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (the database draws from it)
    everything = list(itertools.islice(info.sample_inputs("cpu", dtype, requires_grad=requires_grad), 400))
    step = max(1, len(everything) // SAMPLES)
    taken = everything[::step][:SAMPLES]
    if (
        requires_grad and info.name == "nn.functional.multi_head_attention_forward"
    ):  # by position: without dropout
        for sample in taken:
            sample.args = tuple(0.0 if isinstance(one, float) else one for one in sample.args)
    return taken


def in_float32(value: Any, leaf: bool = False) -> Any:
    """A sample of bfloat16 numbers as one of float32 numbers, the same ones; ``leaf`` asks for gradients
    where the sample does."""
    if isinstance(value, torch.Tensor):
        wide = value.detach().float() if value.dtype == torch.bfloat16 else value
        return wide.requires_grad_() if leaf and value.requires_grad else wide
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)([in_float32(part, leaf) for part in value])
    if isinstance(value, dict):
        return {key: in_float32(part, leaf) for key, part in value.items()}
    return torch.float32 if value == torch.bfloat16 else value


def near(mine: Any, other: Any, exact: Any, tolerance: float, what: str) -> None:
    """bfloat16 results agree where they are equal up to their rounding, or where ours is at least as close to
    the float32 result as PyTorch's: a formula of several steps is rounded after each of them there."""
    mine, other = mine.float().detach().numpy(), other.detach().float().numpy()
    close = np.isclose(mine, other, rtol=tolerance, atol=tolerance, equal_nan=True)
    if not close.all() and isinstance(exact, torch.Tensor) and exact.shape == other.shape:
        exact = exact.detach().double().numpy()
        allowed = np.fmax(np.abs(other - exact), np.abs(exact) * 2.0**-8)
        close |= np.abs(mine - exact) <= allowed
    assert close.all(), f"{what}: {mine[~close][:5]} is not {other[~close][:5]}"


def agree(mine: Any, other: Any, tolerance: float, what: str, values: bool = True, exact: Any = None) -> None:
    mine, other = flat(mine), flat(other)
    exact = [None] * len(other) if exact is None else flat(exact)
    assert len(mine) == len(other), what
    for one, two, best in zip(mine, other, exact, strict=True):
        if not isinstance(two, torch.Tensor):
            assert one == two or (one != one and two != two), what
            continue
        assert str(one.dtype).removeprefix("accelgrad.") == str(two.dtype).removeprefix("torch."), what
        assert tuple(one.shape) == tuple(two.shape), f"{what}: {tuple(one.shape)} and {tuple(two.shape)}"
        if values:
            if two.dtype == torch.bfloat16:
                near(one, two, best, tolerance, what)
                continue
            expected = two.detach().numpy(force=True)
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(
                    one.detach().numpy(),
                    expected,
                    rtol=tolerance,
                    atol=tolerance,
                    equal_nan=True,
                    err_msg=what,
                )
            else:
                np.testing.assert_array_equal(one.detach().numpy(), expected, err_msg=what)


def describe(sample: Any) -> str:
    def short(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype)[6:]}{list(value.shape)}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(short(part) for part in value) + "]"
        return repr(value)[:60]

    keywords = "".join(f", {key}={short(value)}" for key, value in sample.kwargs.items())
    return f"({short(sample.input)}, {', '.join(short(one) for one in sample.args)}{keywords})"


def attempt(info: Any, function: Any, args: Any, kwargs: Any) -> Any:
    """Our result; None where the sample is refused as ``REFUSED`` says.

    The wrapper of the database makes a sample what it stands for, symmetric or triangular, by the operators
    of whatever tensor it is given.
    """
    try:
        return info.gradcheck_wrapper(function, *args, **kwargs)
    except (RuntimeError, ValueError) as error:
        if info.name in REFUSED and REFUSED[info.name][0] in str(error):
            return None
        raise


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
@pytest.mark.parametrize("info", OPERATORS)
def test_values_and_types(info: Any, dtype: str) -> None:
    kind = getattr(torch, dtype)
    if kind not in info.dtypes or f"{info.name}-{dtype}" in DIFFERENT:
        pytest.skip(f"not compared in {dtype}")
    function, compared = ours(info.name, info.variant_test_name), 0
    tolerance = TOLERANCE.get(dtype, 2e-4)
    for sample in chosen(info, kind, requires_grad=False):
        try:
            args = convert((sample.input, *sample.args))
            kwargs = convert(sample.kwargs)
        except Unsupported:
            continue
        what = describe(sample)
        expected = info.gradcheck_wrapper(info, sample.input, *sample.args, **sample.kwargs)
        if any(isinstance(one, torch.Tensor) and one.dtype.is_complex for one in flat(expected)):
            continue
        found = attempt(info, function, args, kwargs)
        if found is None:
            continue
        if info.name in CHOICES:
            agree(found, expected, 0.0, what, values=False)
            if info.name != "argsort":
                agree(flat(found)[0], flat(expected)[0], tolerance, what)
            compared += 1
            continue
        drawn = info.name in RANDOM | SIGNS or any(sample.kwargs.get(name) for name in DRAWING)
        largest = float(expected.abs().max()) if info.name in NORMWISE and expected.numel() else 1.0
        exact = None
        if dtype == "bfloat16" and not drawn:
            exact = info.gradcheck_wrapper(
                info, *in_float32((sample.input, *sample.args)), **in_float32(sample.kwargs)
            )
        agree(found, expected, tolerance * max(1.0, largest), what, values=not drawn, exact=exact)
        compared += 1
    if not compared:
        pytest.skip("no sample without complex numbers, layouts or generators")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", [one for one in OPERATORS if one.values[0].supports_autograd])
def test_gradients(info: Any) -> None:
    if torch.float64 not in info.dtypes or info.name in RANDOM:
        pytest.skip("PyTorch's has no float64, or its values are drawn")
    function, compared = ours(info.name, info.variant_test_name), 0
    for sample in chosen(info, torch.float64, requires_grad=True):
        leaves: list[Tensor] = []
        try:
            args = convert((sample.input, *sample.args), leaves)
            kwargs = convert(sample.kwargs, leaves)
        except Unsupported:
            continue
        what = describe(sample)
        if any(sample.kwargs.get(name) for name in DRAWING) or info.name in ("half", "bfloat16"):
            continue
        others = gather_leaves([sample.input, *sample.args, sample.kwargs])
        result = attempt(info, function, args, kwargs)
        if result is None:
            continue
        expected = info.gradcheck_wrapper(info, sample.input, *sample.args, **sample.kwargs)
        if sample.output_process_fn_grad:  # what does not depend on signs or on the choice among equals
            expected, result = sample.output_process_fn_grad(expected), sample.output_process_fn_grad(result)
        theirs, mine = flat(expected), flat(result)
        if any(isinstance(one, torch.Tensor) and one.dtype.is_complex for one in theirs):
            continue
        theirs = [one for one in theirs if isinstance(one, torch.Tensor) and one.requires_grad]
        mine = [one for one in mine if isinstance(one, Tensor) and one.requires_grad]
        assert len(mine) == len(theirs), (
            f"{what}: {len(mine)} results with a gradient, PyTorch has {len(theirs)}"
        )
        if not theirs or not others:
            continue
        rng = np.random.default_rng(1)
        weights = [rng.standard_normal(tuple(one.shape)) for one in theirs]
        expected = torch.autograd.grad(
            theirs,
            others,
            [torch.from_numpy(np.asarray(w)) for w in weights],
            create_graph=info.supports_gradgrad,
            allow_unused=True,
        )
        twice = info.supports_gradgrad and (info.name not in OPS or OPS[info.name].twice)
        found = grad(
            mine, leaves, [wrap(np.asarray(w)) for w in weights], create_graph=twice, allow_unused=True
        )
        for one, two, leaf in zip(found, expected, leaves, strict=True):
            zero = torch.zeros(tuple(leaf.shape), dtype=torch.float64)
            agree(
                wrap(np.zeros(leaf.shape)) if one is None else one, zero if two is None else two, 1e-6,
                f"gradient of {what}",
            )  # fmt: skip
        compared += 1
        if not twice:
            continue
        pairs = [
            (one, two)
            for one, two in zip(found, expected, strict=True)
            if two is not None and two.requires_grad and one is not None
        ]
        if not pairs:
            continue
        try:
            second = torch.autograd.grad([(two * two).sum() for _, two in pairs], others, allow_unused=True)
        except (RuntimeError, NotImplementedError):
            continue
        wanted = [torch.zeros_like(o) if s is None else s for s, o in zip(second, others, strict=True)]
        with_graph = [one for one, _ in pairs if one.requires_grad]
        got = (
            grad([(one * one).sum() for one in with_graph], leaves, allow_unused=True, materialize_grads=True)
            if with_graph
            else [wrap(np.zeros(leaf.shape)) for leaf in leaves]
        )
        agree(list(got), wanted, 1e-5, f"second gradient of {what}")
    if not compared:
        pytest.skip("no differentiable sample that can be compared")


def gradients(results: Any, others: Any, seed: int = 1) -> Any:
    """PyTorch's gradients of weighted results; None where nothing flows."""
    theirs = [one for one in flat(results) if isinstance(one, torch.Tensor) and one.requires_grad]
    if not theirs or not others:
        return None
    rng = np.random.default_rng(seed)
    weights = [torch.from_numpy(np.asarray(rng.standard_normal(tuple(one.shape)))) for one in theirs]
    weights = [weight.bfloat16().to(one.dtype) for weight, one in zip(weights, theirs, strict=True)]
    found = torch.autograd.grad(theirs, others, weights, allow_unused=True)
    return [torch.zeros_like(o) if g is None else g for g, o in zip(found, others, strict=True)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", [one for one in OPERATORS if one.values[0].supports_autograd])
def test_gradients_in_bfloat16(info: Any) -> None:
    """Types, and values as near to the float32 gradients as PyTorch's."""
    if torch.bfloat16 not in info.supported_backward_dtypes("cpu") or info.name in RANDOM | SIGNS | CHOICES:
        pytest.skip(
            "PyTorch has no gradient of it in bfloat16, or its values are drawn, or chosen among equals"
        )
    if f"{info.name}-gradient-bfloat16" in DIFFERENT:
        pytest.skip(DIFFERENT[f"{info.name}-gradient-bfloat16"])
    function, compared = ours(info.name, info.variant_test_name), 0
    for sample in chosen(info, torch.bfloat16, requires_grad=True):
        leaves: list[Tensor] = []
        try:
            args = convert((sample.input, *sample.args), leaves)
            kwargs = convert(sample.kwargs, leaves)
        except Unsupported:
            continue
        if any(sample.kwargs.get(name) for name in DRAWING):
            continue
        what = describe(sample)
        others = gather_leaves([sample.input, *sample.args, sample.kwargs])
        try:
            expected = info.gradcheck_wrapper(info, sample.input, *sample.args, **sample.kwargs)
            wanted = gradients(expected, others)
        except (RuntimeError, NotImplementedError):
            continue  # PyTorch has no kernel for this sample
        if wanted is None:
            continue
        result = attempt(info, function, args, kwargs)
        if result is None:
            continue
        mine = [one for one in flat(result) if isinstance(one, Tensor) and one.requires_grad]
        rng = np.random.default_rng(1)
        weights = [wrap(np.asarray(rng.standard_normal(one.shape))).bfloat16().to(one.dtype) for one in mine]
        found = grad(mine, leaves, weights, allow_unused=True, materialize_grads=True)
        wide = in_float32((sample.input, *sample.args, sample.kwargs), leaf=True)
        exact = info.gradcheck_wrapper(info, *wide[:-1], **wide[-1])
        exact = gradients(exact, gather_leaves(list(wide)))
        largest = max([float(one.abs().max()) for one in exact if one.numel()], default=0.0)
        agree(
            list(found), wanted, TOLERANCE["bfloat16"] * max(1.0, largest), f"gradient of {what}", exact=exact
        )
        compared += 1
    if not compared:
        pytest.skip("no differentiable sample that can be compared")


def test_most_of_the_database_is_covered() -> None:
    names = {info.name for info in op_db if not info.name.startswith(("_", "torch."))}
    known = {name for name in names if ours(name) is not None}
    assert len(known) >= 0.75 * len(names), f"{len(known)} of {len(names)}; missing: {sorted(names - known)}"
