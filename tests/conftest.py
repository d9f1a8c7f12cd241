"""What every test gets: a device, a seed, and sealed global state."""

from __future__ import annotations

import functools
import importlib
import os
import pathlib
import sys

import numpy as np
import pytest

import accelgrad
from accelgrad import kernels
from accelgrad.arrays import backend, dtypes, precision
from accelgrad.core import modes
from accelgrad.core.tensor import Tensor

HERE = pathlib.Path(__file__).parent
NUMPY = str(pathlib.Path(np.__file__).parent)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        choices=("cpu", "gpu", "standin", "cupy-on-host"),
        help="where the tests' tensors live: cpu, gpu (a real card), standin (NumPy under CuPy's rules), or"
        " cupy-on-host (the real CuPy on host memory, tests/gpu/run_on_host_cupy.sh)",
    )
    parser.addoption(
        "--detect-races",
        action="store_true",
        help="with --device cupy-on-host: watch what our CUDA kernels do to memory (tests/gpu/README.md)",
    )


def pytest_configure(config: pytest.Config) -> None:
    chosen = config.getoption("--device")
    if chosen != "cpu":  # what is compared with the CPU, or with float64, must not be rounded to TF32
        precision.settings.convolutions = False
    if chosen == "standin":  # from here on `import cupy` finds the stand-in
        sys.path.insert(0, str(HERE / "standin" / "module"))
    elif chosen == "cupy-on-host":
        sys.path.insert(0, str(HERE / "gpu" / "cupy_on_host"))
        importlib.import_module("host_cuda").install()
        if config.getoption("--detect-races"):
            context = importlib.import_module("kernels_on_host").watched()
            context.__enter__()
            config.add_cleanup(lambda: context.__exit__(None, None, None))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") != "gpu":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a real card: pytest --device gpu"))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device under test; whatever stands in for a card answers to "gpu"."""
    return "cpu" if request.config.getoption("--device") == "cpu" else "gpu"


@pytest.fixture(autouse=True)
def on_the_device(
    request: pytest.FixtureRequest, device: str, monkeypatch: pytest.MonkeyPatch, sealed_state: None
):
    """New tensors lie on the device under test, except in tests that are marked as being about the host.

    Tests compare with NumPy: so what *they* give to ``from_numpy`` is moved to the device, and what *they*
    read by ``numpy()`` is copied from it. The library's own code gets neither.
    """
    if device == "cpu" or request.node.get_closest_marker("host"):
        return
    backend.set_default_device(device)
    read, make = Tensor.numpy, accelgrad.from_numpy

    @functools.wraps(read)
    def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
        if called_by_a_test() and self.is_cuda and not force:
            return read(self.cpu())
        return read(self, force=force)

    @functools.wraps(make)
    def from_numpy(ndarray: np.ndarray) -> Tensor:
        made = make(ndarray)
        return made.to(device) if called_by_a_test() else made

    monkeypatch.setattr(Tensor, "numpy", numpy)
    monkeypatch.setattr(accelgrad, "from_numpy", from_numpy)


@pytest.fixture
def looking(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Formulas look at values to check them, as on a card with CUDA_LAUNCH_BLOCKING=1."""
    monkeypatch.setattr(backend.namespace(device), "looks", True)


def called_by_a_test() -> bool:
    """Whether the caller of the function that asks is the code of a test; NumPy's comparisons, and the
    Tensor's ``__array__`` that they call, are passed over.
    """
    frame = sys._getframe(2)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(NUMPY) or frame.f_code.co_name == "__array__"
    ):
        frame = frame.f_back
    return frame.f_code.co_filename.startswith(str(HERE))


@pytest.fixture(autouse=True)
def sealed_state():
    """Every test starts from the same seed and modes, and leaves them as they were."""
    random_state = accelgrad.default_generator.get_state()
    before = (kernels.mode(), kernels.get_num_threads(), dtypes.get_default_dtype(), backend._default)
    environment = dict(os.environ)
    exactness = (precision.settings.level, precision.settings.convolutions)
    accelgrad.manual_seed(0)
    numpy_state = np.random.get_state()  # noqa: NPY002
    yield
    accelgrad.default_generator.set_state(random_state)
    np.random.set_state(numpy_state)  # noqa: NPY002
    assert modes.state.grad and not modes.state.inference, "the test left a grad mode behind"
    assert not modes.state.anomaly, "the test left anomaly mode on"
    if kernels.mode() != before[0]:
        kernels.use(before[0])
    kernels.set_num_threads(before[1])
    dtypes.set_default_dtype(before[2])
    backend._default = before[3]
    precision.settings.level, precision.settings.convolutions = exactness
    if precision.settings.deterministic:
        precision.use_deterministic_algorithms(False)
    os.environ.clear()
    os.environ.update(environment)
