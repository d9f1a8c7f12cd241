"""What lectures ask of torch.cuda, torch.backends, torch.accelerator and torch.version is there."""

from __future__ import annotations

import importlib
import inspect

import pytest

import accelgrad
from accelgrad import cuda

pytestmark = pytest.mark.host
OF_CUDA = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "can_device_access_peer",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "device_of",
    "empty_cache",
    "get_arch_list",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "get_rng_state_all",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_per_process_memory_fraction",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "stream",
    "synchronize",
]
WITHOUT = {"device_count": 0, "is_available": False, "get_arch_list": []}


@pytest.mark.parametrize("name", OF_CUDA)
def test_a_name_of_torch_cuda_takes_its_arguments(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(cuda, name), getattr(torch.cuda, name)
    assert name in cuda.__all__ and ours.__doc__
    if not inspect.isfunction(theirs):
        return
    known = inspect.signature(ours).parameters
    required = [
        one.name
        for one in inspect.signature(theirs).parameters.values()
        if one.name not in ("abbreviated",) and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    assert len(known) >= len(required), f"{name}{inspect.signature(theirs)}"


@pytest.mark.parametrize("name", WITHOUT)
def test_questions_are_answered_without_a_card(name: str) -> None:
    if cuda.is_available():
        pytest.skip("there is a card")
    assert getattr(cuda, name)() == WITHOUT[name]
    assert accelgrad.version.cuda is None and not accelgrad.accelerator.is_available()
    assert accelgrad.accelerator.current_accelerator(check_available=True) is None
    cuda.manual_seed(0), cuda.manual_seed_all(0), cuda.empty_cache(), cuda.ipc_collect()
    assert cuda.initial_seed() == 0


@pytest.mark.parametrize(
    "ask",
    [
        cuda.current_device, cuda.get_device_name, cuda.synchronize, cuda.memory_allocated, cuda.Stream,
        cuda.Event, cuda.mem_get_info, cuda.current_stream, cuda.init, cuda.memory_stats,
        accelgrad.accelerator.synchronize, lambda: cuda.set_device(0),
    ],
)  # fmt: skip
def test_what_needs_a_card_says_why_there_is_none(ask) -> None:
    if cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(RuntimeError, match=r"device 'gpu' cannot be used \([a-z0-9-]+\): .*(install|driver)"):
        ask()


def test_the_usual_choice_of_a_device() -> None:
    backends = accelgrad.backends
    chosen = "cuda" if cuda.is_available() else "mps" if backends.mps.is_available() else "cpu"
    assert chosen == ("cuda" if cuda.is_available() else "cpu") and not backends.mps.is_built()
    assert backends.cuda.is_built() == (importlib.util.find_spec("cupy") is not None)
    assert str(accelgrad.device("cuda", 0)) == "cuda:0" == str(accelgrad.device("cuda:0"))
    assert accelgrad.Generator(device="cuda").manual_seed(1).initial_seed() == 1
    assert accelgrad.ones(1).get_device() == -1 and not accelgrad.ones(1).is_cuda
    assert accelgrad.version.hip is None
    with pytest.raises(AttributeError, match=r"module 'accelgrad.version' has no attribute 'rocm'"):
        _ = accelgrad.version.rocm


def test_the_older_place_of_mixed_precision() -> None:
    older = importlib.import_module("accelgrad.cuda.amp")
    with older.autocast(enabled=False, dtype=accelgrad.float16):
        assert not accelgrad.is_autocast_enabled("cuda")
    with older.autocast():
        assert accelgrad.is_autocast_enabled("cuda") and not accelgrad.is_autocast_enabled("cpu")
    assert issubclass(older.GradScaler, accelgrad.amp.GradScaler) and cuda.amp is older
    assert older.GradScaler(1024.0, enabled=False).get_scale() == 1.0


def test_the_fraction_of_a_cards_memory_is_checked() -> None:
    with pytest.raises(ValueError, match=r"Invalid fraction value: 2\. Allowed range: 0~1"):
        cuda.set_per_process_memory_fraction(2)
