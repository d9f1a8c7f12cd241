"""bfloat16 and float16: every operation beside itself in float32, and what the types are as such."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import nn
from accelgrad.arrays import backend
from accelgrad.core.tensor import Tensor, wrap
from accelgrad.ops.registry import OPS, Arg, Op, Sample

LOW = {"bfloat16": accelgrad.bfloat16, "float16": accelgrad.float16}
OTHER = {"to", "nan_to_num"}  # their results depend on the type by intention
CASES = [
    pytest.param(entry, sample, id=f"{entry.path}-{place}")
    for entry in OPS.values()
    if not entry.random and (entry.differentiable or entry.reference is not None) and entry.path not in OTHER
    for place, sample in enumerate(entry.samples)
]
REFUSALS = "Low precision dtypes not supported|must be either float or double|not implemented for"
"""What an operation says that has no numbers of 16 bits, as PyTorch's has not."""

COARSE = {
    "matrix_exp",
    "linalg.matrix_power",
    "matrix_power",
    "mvlgamma",
    "special.zeta",
    "polygamma",
    "special.log_ndtr",
}
"""Their results grow so fast with the input that the rounding of an intermediate or kept result is seen."""


def flat(values: Any) -> list[Any]:
    return [leaf for one in values for leaf in (flat(one) if isinstance(one, list | tuple) else [one])]


def leaves(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in leaves(part)]
    return [] if result is None else [result]


def build(sample: Sample, device: str, kind: Any, low: Any) -> tuple[Any, Any, list[Tensor]]:
    """The sample in one type, its numbers such as ``low`` has."""
    rng, xp = np.random.default_rng(7), backend.namespace(device)
    varied: list[Tensor] = []

    def convert(one: Arg) -> Tensor:
        tensor = wrap(xp.from_host(one.make(rng, "float32")), xp)
        if one.dtype == "float":
            tensor = tensor.to(low).to(kind)
            if one.requires_grad:
                varied.append(tensor.requires_grad_())
        return tensor

    args, kwargs = sample.make(rng, convert)
    return args, kwargs, varied


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def near(found: list[Any], wanted: list[Any], low: Any, digits: float) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(one, Tensor):
            assert type(one) is type(other)
            continue
        assert one.dtype is (low if other.dtype is accelgrad.float32 else other.dtype)
        expected = numbers(other)
        largest = accelgrad.finfo(low).max
        finite = np.abs(expected[np.isfinite(expected) & (np.abs(expected) < largest)])
        scale = max(1.0, float(finite.max(initial=0.0)))
        expected = np.where(np.abs(expected) > largest, np.copysign(np.inf, expected), expected)
        np.testing.assert_allclose(numbers(one), expected, rtol=digits, atol=digits * scale)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("low", LOW)
@pytest.mark.parametrize(("entry", "sample"), CASES)
def test_results_and_gradients_are_those_of_float32_rounded(
    entry: Op, sample: Sample, low: str, device: str
) -> None:
    kind = LOW[low]
    args, kwargs, varied = build(sample, device, kind, kind)
    if not any(isinstance(one, Tensor) and one.dtype is kind for one in flat([*args, *kwargs.values()])):
        pytest.skip("the sample holds integers only")
    try:
        result = entry.call(*args, **kwargs)
    except (RuntimeError, NotImplementedError) as error:
        assert re.search(REFUSALS, str(error))
        pytest.skip(str(error))
    if entry.name.endswith("_"):
        return  # on a leaf it may only be refused, and that it was not
    args, kwargs, others = build(sample, device, accelgrad.float32, kind)
    expected = entry.call(*args, **kwargs)
    digits = (3e-2 if low == "bfloat16" else 4e-3) * (8 if entry.path in COARSE else 1)
    found, wanted = leaves(result), leaves(expected)
    near(found, wanted, kind, digits)
    pairs = [
        (one, other)
        for one, other in zip(found, wanted, strict=True)
        if isinstance(one, Tensor) and one.requires_grad
    ]
    if not pairs or not varied or not entry.differentiable:
        return
    gradients = []
    for side, inputs in ((0, varied), (1, others)):
        roots = [pair[side] for pair in pairs]
        seeds = [accelgrad.ones_like(one) for one in roots]
        gradients.append(
            accelgrad.autograd.grad(roots, inputs, seeds, allow_unused=True, materialize_grads=True)
        )
    near(list(gradients[0]), list(gradients[1]), kind, 3 * digits)


# --- the type as such


def test_bfloat16_is_a_type_like_the_others() -> None:
    kind = accelgrad.bfloat16
    assert repr(kind) == "accelgrad.bfloat16" and kind.itemsize == 2 and kind.is_signed
    assert kind.is_floating_point and not kind.is_complex
    assert accelgrad.finfo(kind).eps == 2**-7 and accelgrad.finfo(kind).bits == 16
    assert (
        accelgrad.finfo(kind).max
        == float(np.uint32(0x7F7F0000).view(np.float32))
        == -accelgrad.finfo(kind).min
    )
    assert accelgrad.finfo(kind).tiny == 2.0**-126
    assert pickle.loads(pickle.dumps(kind)) is copy.deepcopy(kind) is kind


def test_tensors_of_bfloat16_are_made_and_shown_as_in_pytorch(device: str) -> None:
    x = accelgrad.tensor([1.5, 3.1], dtype=accelgrad.bfloat16, device=device)
    assert x.dtype is accelgrad.bfloat16 and x.tolist() == [1.5, 3.09375] and x[1].item() == 3.09375
    assert "tensor([1.5000, 3.0938]" in repr(x) and "dtype=accelgrad.bfloat16" in repr(x)
    assert accelgrad.ones(2, device=device).bfloat16().type().endswith("BFloat16Tensor")
    for made in (
        accelgrad.zeros(2, dtype=accelgrad.bfloat16, device=device), x.new_ones(3), accelgrad.rand_like(x),
        accelgrad.full_like(x, 2), accelgrad.randn(3, dtype=accelgrad.bfloat16, device=device),
        accelgrad.arange(3, dtype=accelgrad.bfloat16, device=device), accelgrad.empty_like(x),
        accelgrad.linspace(0, 1, 3, dtype=accelgrad.bfloat16, device=device),
    ):  # fmt: skip
        assert made.dtype is accelgrad.bfloat16 and made.is_floating_point()


def test_the_legacy_constructor_knows_bfloat16() -> None:
    x = accelgrad.BFloat16Tensor([1, 2])
    assert isinstance(x, accelgrad.BFloat16Tensor) and not isinstance(x, accelgrad.HalfTensor)
    assert x.type("accelgrad.FloatTensor").dtype is accelgrad.float32


@pytest.mark.parametrize(
    ("other", "result"),
    [
        (accelgrad.bfloat16, accelgrad.bfloat16), (accelgrad.float16, accelgrad.float32),
        (accelgrad.float32, accelgrad.float32), (accelgrad.float64, accelgrad.float64),
        (accelgrad.int64, accelgrad.bfloat16), (accelgrad.uint8, accelgrad.bfloat16),
        (accelgrad.bool, accelgrad.bfloat16),
    ],
)  # fmt: skip
def test_bfloat16_meets_other_types_by_pytorchs_rules(other: Any, result: Any, device: str) -> None:
    x, y = (
        accelgrad.ones(2, dtype=accelgrad.bfloat16, device=device),
        accelgrad.ones(2, device=device).to(other),
    )
    assert (x + y).dtype is (y + x).dtype is accelgrad.promote_types(x.dtype, other) is result
    assert (x + y.sum().to(other)).dtype is accelgrad.bfloat16  # 0-d tensors give way


def test_numbers_do_not_change_bfloat16(device: str) -> None:
    x = accelgrad.ones(3, dtype=accelgrad.bfloat16, device=device, requires_grad=True)
    y = 1.5 * x / 3 - True + 2
    z = accelgrad.where(y > 0, y, 0.0) ** 2 * 0.5
    assert y.dtype is z.dtype is accelgrad.bfloat16
    z.sum().backward()
    assert x.grad.dtype is accelgrad.bfloat16
    x = x.detach()
    x *= 0.1
    x += 1
    assert x.dtype is accelgrad.bfloat16


def test_sums_and_products_add_up_in_float32(device: str) -> None:
    x = accelgrad.ones(4096, dtype=accelgrad.bfloat16, device=device)
    assert x.sum().item() == 4096.0 and (x @ x).item() == 4096.0 and x.mean().item() == 1.0
    ones = accelgrad.ones(4, 2048, dtype=accelgrad.bfloat16, device=device)
    assert (ones @ ones.T).tolist() == [[2048.0] * 4] * 4
    assert accelgrad.linalg.vector_norm(x).item() == 64.0
    x.requires_grad_()
    x.reshape(1, -1).expand(3, -1).sum().backward()
    assert x.grad.dtype is accelgrad.bfloat16 and x.grad.eq(3).all()


def test_the_graph_keeps_16_bits_and_gives_second_derivatives(device: str) -> None:
    x = accelgrad.tensor([1.5, -2.0], dtype=accelgrad.bfloat16, device=device, requires_grad=True)
    y = x.exp() * x
    assert all(one.dtype == x.array.dtype for one in y.grad_fn._saved)
    (first,) = accelgrad.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = accelgrad.autograd.grad(first.sum(), x)
    assert first.dtype is second.dtype is accelgrad.bfloat16
    values = np.array([1.5, -2.0])
    np.testing.assert_allclose(numbers(first), (1 + values) * np.exp(values), rtol=1.6e-2, atol=1e-3)
    np.testing.assert_allclose(numbers(second), (2 + values) * np.exp(values), rtol=1.6e-2, atol=4e-3)


def test_the_next_number_is_one_of_16_bits() -> None:
    x = accelgrad.ones(1, dtype=accelgrad.bfloat16)
    assert accelgrad.nextafter(x, x + 1).item() == 1 + 2**-7
    assert accelgrad.nan_to_num(x * float("inf")).item() == accelgrad.finfo(accelgrad.bfloat16).max


def test_mixed_types_are_refused_where_pytorch_refuses_them(device: str) -> None:
    low, wide = (
        accelgrad.ones(2, 2, dtype=accelgrad.bfloat16, device=device),
        accelgrad.ones(2, 2, device=device),
    )
    with pytest.raises(RuntimeError, match="expected m1 and m2 to have the same dtype"):
        low @ wide
    with pytest.raises(RuntimeError, match="mat1 and mat2 must have the same dtype"):
        nn.functional.linear(low, wide)
    with pytest.raises(RuntimeError, match="Low precision dtypes not supported"):
        accelgrad.linalg.inv(low)


def test_a_module_becomes_bfloat16_and_learns(device: str) -> None:
    model = (
        nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1)).to(device).bfloat16()
    )
    assert {one.dtype for one in model.parameters()} == {accelgrad.bfloat16}
    assert (
        model[1].running_mean.dtype is accelgrad.bfloat16
        and model[1].num_batches_tracked.dtype is accelgrad.int64
    )
    x = accelgrad.randn(32, 4, device=device).bfloat16()
    target = x[:, :1] * 0.5
    optimizer = accelgrad.optim.AdamW(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert {one.dtype for one in (*model.parameters(), loss)} == {accelgrad.bfloat16}
    assert model.float()[0].weight.dtype is accelgrad.float32
    assert model.to(accelgrad.bfloat16)[0].weight.dtype is accelgrad.bfloat16


@pytest.mark.host
def test_the_default_type_may_be_bfloat16() -> None:
    accelgrad.set_default_dtype(accelgrad.bfloat16)
    assert (
        accelgrad.tensor([1.5]).dtype
        is accelgrad.rand(2).dtype
        is nn.Linear(2, 2).weight.dtype
        is accelgrad.bfloat16
    )
    assert repr(accelgrad.ones(1)) == "tensor([1.])" and (accelgrad.arange(3) / 2).dtype is accelgrad.bfloat16


@pytest.mark.host
def test_numpy_gets_bfloat16_by_way_of_float32() -> None:
    x = accelgrad.ones(2, dtype=accelgrad.bfloat16)
    with pytest.raises(TypeError, match=r"Got unsupported ScalarType BFloat16.*\.float\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(TypeError, match="Got unsupported ScalarType BFloat16"):
        np.asarray(x)
    assert x.float().numpy().tolist() == [1, 1]
    assert accelgrad.from_numpy(x.array).dtype is accelgrad.tensor(x.array).dtype is accelgrad.bfloat16


@pytest.mark.host
def test_copies_pickles_and_files_keep_bfloat16(tmp_path: Any) -> None:
    x = accelgrad.tensor([[1.5, -0.25], [3.0, 1e38]], dtype=accelgrad.bfloat16)
    content = {"x": x, "again": [x, np.ones(2)], "array": x.array, "kind": accelgrad.bfloat16}
    accelgrad.save(content, tmp_path / "file.npz")
    accelgrad.save({"x": x, "y": accelgrad.ones(2)}, tmp_path / "file.safetensors")
    read = accelgrad.load(tmp_path / "file.npz")
    assert (
        read["kind"] is accelgrad.bfloat16
        and read["again"][0] is read["x"]
        and read["array"].dtype == x.array.dtype
    )
    flat_file = accelgrad.load(tmp_path / "file.safetensors")
    assert flat_file["y"].dtype is accelgrad.float32
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), read["x"], flat_file["x"]):
        assert other.dtype is accelgrad.bfloat16 and other.equal(x)


def test_pytorch_reads_and_writes_the_same_files(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    x = accelgrad.tensor([1.5, -0.25], dtype=accelgrad.bfloat16)
    accelgrad.save({"x": x}, tmp_path / "file.safetensors")
    theirs = safetensors.load_file(tmp_path / "file.safetensors")["x"]
    assert theirs.dtype == torch.bfloat16 and theirs.tolist() == x.tolist()
    torch.save({"x": theirs.reshape(2, 1).T}, tmp_path / "file.pt")
    back = accelgrad.load(tmp_path / "file.pt")["x"]
    assert back.dtype is accelgrad.bfloat16 and back.tolist() == [x.tolist()]


@pytest.mark.host
def test_dlpack_shares_bfloat16_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = accelgrad.tensor([1.0, 2.0], dtype=accelgrad.bfloat16)
    theirs = torch.from_dlpack(ours)
    theirs[0] = 7
    assert theirs.dtype == torch.bfloat16 and ours.tolist() == [7, 2]
    source = torch.arange(6.0).bfloat16().reshape(2, 3).T
    shared = accelgrad.from_dlpack(source)
    shared[0, 1] = 9
    assert shared.dtype is accelgrad.bfloat16 and shared.tolist() == source.tolist() and source[0, 1] == 9


class Rows(accelgrad.utils.data.Dataset):
    """Six rows of bfloat16."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, place: int) -> Tensor:
        return accelgrad.full((4000,), float(place)).bfloat16()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_brings_batches_of_bfloat16(workers: int) -> None:
    batches = list(accelgrad.utils.data.DataLoader(Rows(), batch_size=4, num_workers=workers))
    assert [tuple(one.shape) for one in batches] == [(4, 4000), (2, 4000)]
    assert {one.dtype for one in batches} == {accelgrad.bfloat16} and batches[1][1, 0].item() == 5


def test_importing_accelgrad_does_not_import_ml_dtypes() -> None:
    code = "import sys, accelgrad; x = accelgrad.ones(2) @ accelgrad.ones(2); accelgrad.bfloat16.is_signed;"
    code += "sys.exit('ml_dtypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_ml_dtypes_the_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['ml_dtypes'] = None; import accelgrad; accelgrad.ones(2).bfloat16()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "bfloat16 needs the package ml_dtypes" in done.stderr
    assert "pip install ml_dtypes" in done.stderr
