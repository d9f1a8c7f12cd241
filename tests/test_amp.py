"""Mixed precision: which operation runs in which type, gradients in float32, and the scaled loss."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import accelgrad
from accelgrad import amp, nn
from accelgrad.amp import GradScaler, autocast

KIND = {"cpu": "cpu", "gpu": "cuda"}
LOW = pytest.mark.parametrize("low", [accelgrad.float16, accelgrad.bfloat16], ids=["float16", "bfloat16"])


@LOW
def test_products_run_in_the_lower_type_and_sums_in_float32_on_a_card(device: str, low: Any) -> None:
    x, w = accelgrad.rand(3, 4, device=device), accelgrad.rand(4, 5, device=device)
    sums = accelgrad.float32 if device == "gpu" else low
    with autocast(KIND[device], dtype=low):
        y = x @ w
        assert y.dtype is low and (2.0 * y + 1).dtype is low and (x.T @ y).dtype is low
        assert y.sum().dtype is y.exp().dtype is y.softmax(1).dtype is (y**2).dtype is sums
        assert nn.functional.linear(x, w.T).dtype is low
        assert nn.functional.layer_norm(y, (5,)).dtype is sums
        assert nn.functional.mse_loss(y, y).dtype is y.prod().dtype is accelgrad.float32
        assert accelgrad.addmm(x @ w, x, w).dtype is accelgrad.einsum("ij,jk->ki", x, w).dtype is low
        assert (x.double() @ w.double()).dtype is accelgrad.float64
    assert (x @ w).dtype is accelgrad.float32


def test_a_card_refuses_what_is_unsafe_and_takes_the_widest_type(device: str) -> None:
    x = accelgrad.rand(4, device=device)
    with autocast(KIND[device]):
        if device == "gpu":
            with pytest.raises(RuntimeError, match="binary_cross_entropy is unsafe to autocast"):
                nn.functional.binary_cross_entropy(x, x)
            assert accelgrad.dot(x, x.half()).dtype is accelgrad.float32
        else:
            assert nn.functional.binary_cross_entropy(x.bfloat16(), x).dtype is accelgrad.float32


@pytest.mark.host
def test_the_lower_types_are_bfloat16_on_the_cpu_and_float16_on_a_card() -> None:
    assert amp.get_autocast_dtype("cpu") is accelgrad.bfloat16
    assert amp.get_autocast_dtype("cuda") is accelgrad.float16
    x = accelgrad.ones(2, 2)
    accelgrad.set_autocast_dtype("cpu", accelgrad.float16)
    try:
        with autocast("cpu"):
            assert (x @ x).dtype is accelgrad.float16
            with autocast("cpu", dtype=accelgrad.bfloat16):
                assert amp.get_autocast_dtype("cpu") is accelgrad.bfloat16
                assert (x @ x).dtype is accelgrad.bfloat16
            accelgrad.set_autocast_dtype("cpu", accelgrad.bfloat16)
            assert (x @ x).dtype is accelgrad.bfloat16
    finally:
        accelgrad.set_autocast_dtype("cpu", accelgrad.bfloat16)


@pytest.mark.host
def test_autocast_is_switched_without_a_block() -> None:
    x = accelgrad.ones(2, 2)
    accelgrad.set_autocast_enabled("cpu", True)
    try:
        assert amp.is_autocast_enabled("cpu") and (x @ x).dtype is accelgrad.bfloat16
        with autocast("cpu", enabled=False):
            assert (x @ x).dtype is accelgrad.float32
        assert (x @ x).dtype is accelgrad.bfloat16
    finally:
        accelgrad.set_autocast_enabled("cpu", False)
    assert (x @ x).dtype is accelgrad.float32 and accelgrad.core.modes.state.casting is None


@LOW
@pytest.mark.host
def test_one_parameter_in_two_lower_types_is_cast_twice(low: Any) -> None:
    w = accelgrad.rand(4, 4, requires_grad=True)
    with autocast("cpu", dtype=low):
        first = w @ w
        other = accelgrad.float16 if low is accelgrad.bfloat16 else accelgrad.bfloat16
        with autocast("cpu", dtype=other):
            assert (w @ w).dtype is other
        (w @ w + first).sum().backward()
    assert w.grad.dtype is accelgrad.float32


def test_batch_norm_leaves_an_image_in_its_type_and_its_statistics_in_float32(device: str) -> None:
    norm = nn.BatchNorm2d(3).to(device)
    x = accelgrad.rand(2, 3, 4, 4, device=device)
    weight = accelgrad.rand(3, 3, 1, 1, device=device)
    for training in (True, False):
        with autocast(KIND[device]):
            y = norm.train(training)(nn.functional.conv2d(x, weight))
        assert y.dtype is amp.get_autocast_dtype(KIND[device])
    y.float().sum().backward()
    assert norm.running_var.dtype is norm.weight.grad.dtype is accelgrad.float32


def test_gradients_arrive_in_the_type_of_the_parameters(device: str) -> None:
    x, w = accelgrad.rand(3, 4, device=device), accelgrad.rand(5, 4, device=device, requires_grad=True)
    with autocast(KIND[device]):
        loss = nn.functional.linear(x, w).square().mean()
    loss.backward()
    assert w.grad.dtype is accelgrad.float32
    expected = 2 / 15 * (x.cpu().numpy() @ w.detach().cpu().numpy().T).T @ x.cpu().numpy()
    np.testing.assert_allclose(w.grad.cpu().numpy(), expected, rtol=5e-3 if device == "gpu" else 2e-2)


@pytest.mark.host
def test_a_parameter_is_cast_once_in_a_block() -> None:
    w = accelgrad.rand(4, 4, requires_grad=True)
    with autocast("cpu"):
        first, second = w @ w, w @ w
        casting = accelgrad.core.modes.state.casting
        assert len(casting.casts) == 1
        with accelgrad.no_grad():
            w.add_(1.0)
        third = w @ w
    assert first.dtype is accelgrad.bfloat16
    np.testing.assert_array_equal(first.detach().float().numpy(), second.detach().float().numpy())
    assert float(third.sum()) > float(first.sum())
    assert accelgrad.core.modes.state.casting is None


@pytest.mark.host
def test_a_block_belongs_to_the_thread_that_opened_it() -> None:
    x, seen = accelgrad.ones(2, 2), []

    def work() -> None:
        seen.append((x @ x).dtype)
        with autocast("cpu", dtype=accelgrad.float16):
            seen.append((x @ x).dtype)

    with autocast("cpu"):
        other = threading.Thread(target=work)
        other.start()
        other.join()
        seen.append((x @ x).dtype)
    assert seen == [accelgrad.float32, accelgrad.float16, accelgrad.bfloat16]


@pytest.mark.host
def test_only_the_named_kind_of_device_is_affected() -> None:
    x = accelgrad.ones(2, 2)
    with autocast("cuda"):
        assert (x @ x).dtype is accelgrad.float32
        assert amp.is_autocast_enabled("cuda") and not amp.is_autocast_enabled("cpu")


@pytest.mark.host
def test_blocks_nest_and_switch_off() -> None:
    x = accelgrad.ones(2, 2)
    with autocast("cpu"):
        with autocast("cpu", enabled=False):
            assert (x @ x).dtype is accelgrad.float32
        assert (x @ x).dtype is accelgrad.bfloat16


@pytest.mark.host
def test_a_function_can_be_decorated() -> None:
    @autocast("cpu")
    def product(x: accelgrad.Tensor) -> accelgrad.Tensor:
        return x @ x

    assert product(accelgrad.ones(2, 2)).dtype is accelgrad.bfloat16
    assert amp.is_autocast_available("cpu")


def test_an_error_inside_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError), autocast("cpu"):
        raise ZeroDivisionError
    assert not amp.is_autocast_enabled("cpu")


def test_a_type_of_more_bits_is_refused() -> None:
    with pytest.raises(RuntimeError, match="float32 is not supported as the lower type"):
        autocast("cpu", dtype=accelgrad.float32)
    with pytest.raises(RuntimeError, match="float64 is not supported as the lower type"):
        accelgrad.set_autocast_dtype("cpu", accelgrad.float64)
    with pytest.raises(ValueError, match="Expected `device_type` of type `str`"):
        autocast(1)  # type: ignore[arg-type]


def test_bfloat16_needs_no_scaled_loss() -> None:
    w = accelgrad.full((1, 1), 1.0, requires_grad=True)
    with autocast("cpu"):
        loss = (nn.functional.linear(accelgrad.full((1, 1), 2.0**-40), w) * 2.0**-40).sum()
    loss.backward()
    assert w.grad.item() == 2.0**-80


def test_bfloat16_gradients_are_unscaled() -> None:
    w = accelgrad.ones(2, dtype=accelgrad.bfloat16, requires_grad=True)
    optimizer, scaler = accelgrad.optim.SGD([w], lr=0.5), GradScaler("cpu", init_scale=4.0)
    scaler.scale((w * 3).sum()).backward()
    scaler.unscale_(optimizer)
    assert w.grad.dtype is accelgrad.bfloat16 and w.grad.tolist() == [3.0, 3.0]
    scaler.step(optimizer)
    scaler.update()
    assert w.dtype is accelgrad.bfloat16 and w.tolist() == [-0.5, -0.5]


def test_small_gradients_survive_through_the_scaled_loss(device: str) -> None:
    x = accelgrad.full((1, 1), 2.0**-13, device=device)

    def gradient(scaler: GradScaler) -> float:
        w = accelgrad.full((1, 1), 1.0, device=device, requires_grad=True)
        optimizer = accelgrad.optim.SGD([w], lr=1.0)
        with autocast(KIND[device], dtype=accelgrad.float16):
            loss = (nn.functional.linear(x, w) * 2.0**-13).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        return w.grad.item()

    assert gradient(GradScaler(enabled=False)) == 0.0
    assert gradient(GradScaler(init_scale=2.0**10)) == 2.0**-26


def make(scale: float = 4.0, **options: float) -> tuple[accelgrad.Tensor, accelgrad.optim.SGD, GradScaler]:
    w = accelgrad.tensor([1.0, 2.0], requires_grad=True)
    return w, accelgrad.optim.SGD([w], lr=0.5), GradScaler("cpu", init_scale=scale, **options)


def test_infinite_gradients_skip_the_step_and_lower_the_scale() -> None:
    w, optimizer, scaler = make()
    scaler.scale((w * accelgrad.tensor([1.0, float("inf")])).sum()).backward()
    assert scaler.step(optimizer) is None
    scaler.update()
    assert w.tolist() == [1.0, 2.0] and scaler.get_scale() == 2.0


def test_good_steps_in_a_row_raise_the_scale() -> None:
    w, optimizer, scaler = make(growth_interval=2)
    for step in range(3):
        optimizer.zero_grad()
        scaler.scale(w.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert w.tolist() == [1.0 - 0.5 * (step + 1), 2.0 - 0.5 * (step + 1)]
    assert scaler.get_scale() == 8.0


def test_gradients_can_be_clipped_between_unscale_and_step() -> None:
    w, optimizer, scaler = make()
    scaler.scale((w * 10).sum()).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_([w], 1.0)
    scaler.step(optimizer)
    scaler.update()
    np.testing.assert_allclose(w.tolist(), [1 - 0.5 / 2**0.5, 2 - 0.5 / 2**0.5], rtol=1e-5)


def test_calls_out_of_order_are_refused() -> None:
    w, optimizer, scaler = make()
    with pytest.raises(RuntimeError, match="No inf checks were recorded prior to update"):
        scaler.update()
    with pytest.raises(RuntimeError, match="No inf checks were recorded for this optimizer"):
        scaler.step(optimizer)
    scaler = GradScaler("cpu")
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) has already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) is being called after step"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)


def test_float16_parameters_are_refused_by_unscale() -> None:
    w = accelgrad.ones(2, dtype=accelgrad.float16, requires_grad=True)
    scaler = GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(accelgrad.optim.SGD([w], lr=0.1))


def test_the_state_survives_a_checkpoint() -> None:
    w, optimizer, scaler = make(scale=32.0, growth_interval=7)
    scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    other = GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict() and other.get_growth_interval() == 7
    with pytest.raises(RuntimeError, match="The source state dict is empty"):
        other.load_state_dict({})


def test_a_disabled_scaler_changes_nothing() -> None:
    w, optimizer, _ = make()
    scaler = GradScaler("cpu", enabled=False)
    loss = w.sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    loss.backward()
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == [0.5, 1.5]


def test_a_network_trains_in_mixed_precision(device: str) -> None:
    accelgrad.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3)).to(device)
    optimizer, scaler = accelgrad.optim.Adam(model.parameters(), lr=0.02), GradScaler(KIND[device])
    x = accelgrad.randn(60, 8, device=device)
    target = x[:, :3].argmax(1)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with autocast(KIND[device]):
            loss = nn.functional.cross_entropy(model(x), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert all(param.dtype is accelgrad.float32 for param in model.parameters())


def test_the_names_at_the_top_are_those_of_amp_and_gpu() -> None:
    assert accelgrad.autocast is autocast and accelgrad.is_autocast_enabled("cpu") is False
    assert accelgrad.get_autocast_dtype("cpu") is accelgrad.bfloat16
    assert accelgrad.set_autocast_dtype is amp.set_autocast_dtype
    assert accelgrad.OutOfMemoryError is accelgrad.cuda.OutOfMemoryError


@pytest.mark.host
def test_the_older_names_for_one_kind_of_device() -> None:
    x = accelgrad.ones(2, 2)
    with accelgrad.cpu.amp.autocast():
        assert (x @ x).dtype is accelgrad.bfloat16
    with accelgrad.cpu.amp.autocast(dtype=accelgrad.float16):
        assert (x @ x).dtype is accelgrad.float16
    with accelgrad.cpu.amp.autocast(False), accelgrad.cuda.amp.autocast():
        assert (x @ x).dtype is accelgrad.float32 and amp.get_autocast_dtype("cuda") is accelgrad.float16
    assert accelgrad.cuda.amp.custom_fwd is amp.custom_fwd
    assert (
        accelgrad.cuda.amp.GradScaler(8.0).get_scale() == accelgrad.cpu.amp.GradScaler(8.0).get_scale() == 8.0
    )


def product(cast_inputs: Any = None) -> Any:
    """A Function for x @ w that notes the types it meets on the way forward and back."""
    seen: list[Any] = []

    class Product(accelgrad.autograd.Function):
        @staticmethod
        @amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
        def forward(ctx: Any, x: Any, w: Any) -> Any:
            ctx.save_for_backward(x, w)
            seen.append((x.dtype, amp.is_autocast_enabled("cpu")))
            return x @ w

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, grad: Any) -> Any:
            x, w = ctx.saved_tensors
            result = grad @ w.T, x.T @ grad
            seen.append((result[0].dtype, amp.is_autocast_enabled("cpu")))
            return result

    return Product, seen


@pytest.mark.host
def test_a_function_goes_back_in_the_mode_of_its_way_forward() -> None:
    Product, seen = product()
    x = accelgrad.ones(2, 3, requires_grad=True)
    with autocast("cpu"):
        y = Product.apply(x, accelgrad.ones(3, 2))
    assert not amp.is_autocast_enabled("cpu")
    y.float().sum().backward()
    assert seen == [(accelgrad.float32, True), (accelgrad.bfloat16, True)]
    assert x.grad.dtype is accelgrad.float32 and x.grad.tolist() == [[2.0] * 3] * 2
    seen.clear()
    Product.apply(x, accelgrad.ones(3, 2)).sum().backward()
    assert seen == [(accelgrad.float32, False)] * 2


def test_a_function_can_ask_for_its_types() -> None:
    Product, seen = product(accelgrad.float32)
    x = accelgrad.ones(2, 3, dtype=accelgrad.float16, requires_grad=True)
    with autocast("cpu"):
        y = Product.apply(x, accelgrad.ones(3, 2))
    y.sum().backward()
    assert seen == [(accelgrad.float32, False)] * 2
    assert y.dtype is accelgrad.float32 and x.grad.dtype is accelgrad.float16


def test_a_backward_without_its_forward_is_refused() -> None:
    class Lonely(accelgrad.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        @amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2

    with pytest.raises(RuntimeError, match="custom_bwd needs custom_fwd on the forward"):
        Lonely.apply(accelgrad.ones(2, requires_grad=True)).sum().backward()


def digits(model: Any, low: Any, steps: int = 110) -> tuple[list[float], float]:
    """Losses of a short training on the digits, and the share of the test images that is recognised."""
    train, test = accelgrad.datasets.Digits(), accelgrad.datasets.Digits(train=False)
    x, y = (
        accelgrad.stack([accelgrad.tensor(np.asarray(one[0], np.float32)) for one in part]) / 16
        for part in (train, test)
    )
    labels, truth = (accelgrad.tensor([one[1] for one in part]) for part in (train, test))
    x, y = x.reshape(len(train), 1, 8, 8), y.reshape(len(test), 1, 8, 8)
    optimizer = accelgrad.optim.Adam(model.parameters(), lr=0.01)
    chosen = {"dtype": low or accelgrad.bfloat16, "enabled": low is not None}
    losses = []
    for step in range(steps):
        part = slice(step * 64 % 1280, step * 64 % 1280 + 64)
        optimizer.zero_grad()
        with autocast(x.device.type, **chosen):
            loss = nn.functional.cross_entropy(model(x[part]), labels[part])
        loss.backward()
        assert all(one.grad.dtype is accelgrad.float32 for one in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    with (
        accelgrad.no_grad(),
        autocast(x.device.type, **chosen),
    ):
        scores = model(y)
    return losses, float((scores.argmax(1) == truth).float().mean())


def small_mlp() -> Any:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def small_cnn() -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3),
        nn.ReLU(), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


@pytest.mark.parametrize("build", [small_mlp, small_cnn])
def test_digits_are_learned_under_bfloat16_as_in_float32(build: Any) -> None:
    results = []
    for low in (None, accelgrad.bfloat16):
        accelgrad.manual_seed(1)
        results.append(digits(build(), low))
    (wide, share), (low_losses, low_share) = results
    assert np.mean(wide[-10:]) < 0.25 * wide[0] and share > 0.9
    assert low_losses != wide  # it is another computation
    np.testing.assert_allclose(low_losses[:5], wide[:5], rtol=2e-2)
    assert np.mean(low_losses[-10:]) == pytest.approx(np.mean(wide[-10:]), abs=0.05)
    assert low_share > share - 0.02
