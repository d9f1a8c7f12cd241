"""What a user without a working card hears: each cause has its message and its install line.

A small driver library built here, and a small module in CuPy's place that asks it, play every case in a
subprocess.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap

import pytest

import accelgrad
from accelgrad.arrays import gpu

SOURCE = pathlib.Path(gpu.__file__)
HERE = pathlib.Path(__file__).parent

# What CuPy's runtime does with the driver library, in short.
RUNTIME = """
import ctypes, sys, types
__version__ = "14.2.0"
try:
    driver = ctypes.CDLL("libcuda.so.1")
except OSError:
    driver = None
class CUDARuntimeError(RuntimeError): pass
def driverGetVersion():
    version = ctypes.c_int(0)
    if driver is not None:
        driver.cuDriverGetVersion(ctypes.byref(version))
    return version.value
def getDeviceCount():
    count = ctypes.c_int(0)
    if driver.cuDeviceGetCount(ctypes.byref(count)):
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
    return count.value
runtime = types.SimpleNamespace(runtimeGetVersion=lambda: 13020, driverGetVersion=driverGetVersion,
    getDeviceCount=getDeviceCount)
class Cuda(types.ModuleType):
    def __getattr__(self, name):
        raise ImportError('Failure finding "libcublasLt.so.13"')
cuda = Cuda("cupy.cuda"); cuda.runtime = runtime; cuda.__path__ = []
cuda.Device = lambda *a: types.SimpleNamespace(id=0)
sys.modules["cupy.cuda"] = cuda
"""
CUBLAS = "cuda.cublas = 'found'\n"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("driver")
    target = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", target, HERE / "fake_driver.c"], check=True)
    return folder


def ask(
    folder: pathlib.Path,
    libraries: pathlib.Path | None,
    cupy: str | None = RUNTIME + CUBLAS,
    wheels: tuple[str, ...] = ("cupy-cuda13x",),
    code: str = "print(json.dumps(list(gpu.status())))",
    **environment: str,
) -> list[object]:
    """``gpu.status()`` of a process with this driver, this CuPy and these distributions."""
    if cupy is not None:
        (folder / "cupy").mkdir()
        (folder / "cupy" / "__init__.py").write_text(cupy)
        for wheel in wheels:
            info = folder / f"{wheel.replace('-', '_')}-14.2.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {wheel}\nVersion: 14.2.0\n")
    program = f"""
        import importlib.util, json
        spec = importlib.util.spec_from_file_location("gpu", {str(SOURCE)!r})
        gpu = importlib.util.module_from_spec(spec); spec.loader.exec_module(gpu)
        {code}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={
            **{key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"},
            "PYTHONPATH": str(folder),
            "LD_LIBRARY_PATH": str(libraries or folder / "none"),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_cupy_and_a_driver_names_the_wheel_for_that_driver(
    tmp_path: pathlib.Path, driver: pathlib.Path
) -> None:
    if gpu.cupy_wheels():
        pytest.skip("CuPy is installed here")
    ok, code, message = ask(tmp_path, driver, cupy=None)
    assert (ok, code) == (False, "no-cupy")
    assert gpu.install_line(13) in str(message) and gpu.install_line(12) not in str(message)


def test_no_cupy_and_a_driver_for_cuda_12_names_that_wheel(
    tmp_path: pathlib.Path, driver: pathlib.Path
) -> None:
    if gpu.cupy_wheels():
        pytest.skip("CuPy is installed here")
    _, code, message = ask(tmp_path, driver, cupy=None, FAKE_VERSION="12060")
    assert code == "no-cupy" and str(message).endswith(gpu.install_line(12))


def test_no_driver(tmp_path: pathlib.Path) -> None:
    if gpu.driver_version():
        pytest.skip("there is a driver here")
    _, code, message = ask(tmp_path, None)
    assert code == "no-driver"
    assert "no NVIDIA driver (libcuda) was found. Install a driver, version 580 or newer" in str(message)


def test_a_driver_too_old_for_this_cupy(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    _, code, message = ask(tmp_path, driver, FAKE_VERSION="12040")
    assert code == "old-driver"
    assert "runs CUDA up to 12.4, but CuPy 14.2.0 was built for CUDA 13" in str(message)
    assert f"pip uninstall -y cupy-cuda13x && {gpu.install_line(12)}" in str(message)


def test_a_driver_older_than_every_wheel(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    _, code, message = ask(tmp_path, driver, FAKE_VERSION="11040")
    assert code == "old-driver" and "Update the driver to 580 or newer." in str(message)


@pytest.mark.parametrize("environment", [{"FAKE_DEVICES": "0"}, {"FAKE_INIT": "100"}])
def test_no_device(tmp_path: pathlib.Path, driver: pathlib.Path, environment: dict[str, str]) -> None:
    _, code, message = ask(tmp_path, driver, CUDA_VISIBLE_DEVICES="", **environment)
    assert code == "no-device"
    assert "CUDA_VISIBLE_DEVICES is '': unset it" in str(message)


def test_no_cublas(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    _, code, message = ask(tmp_path, driver, cupy=RUNTIME)
    assert code == "no-cublas" and str(message).endswith(gpu.install_line(13))


def test_both_wheels_at_once(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    _, code, message = ask(tmp_path, driver, wheels=("cupy-cuda12x", "cupy-cuda13x"))
    assert code == "two-cupys"
    assert f"pip uninstall -y cupy-cuda12x cupy-cuda13x && {gpu.install_line(13)}" in str(message)


def test_a_cupy_that_cannot_be_imported(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    _, code, message = ask(tmp_path, driver, cupy="raise ImportError('libnvrtc.so.13 is missing')")
    assert code == "broken-cupy"
    assert "ImportError: libnvrtc.so.13 is missing" in str(message) and "--force-reinstall" in str(message)


def test_everything_is_there(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    ok, code, message = ask(tmp_path, driver)
    assert (ok, code) == (True, "ok") and message == "1 CUDA device(s), driver CUDA 13.0, CuPy 14.2.0"


def test_a_device_number_out_of_range(tmp_path: pathlib.Path, driver: pathlib.Path) -> None:
    code = """
        try:
            gpu.require(3)
        except RuntimeError as error:
            print(json.dumps([str(error)]))
    """
    (message,) = ask(tmp_path, driver, code=code.strip())
    assert "invalid device ordinal: 'gpu:3' was asked for, but there are 1 device(s)" in str(message)


def test_asking_for_the_card_raises_the_one_clear_error(device: str) -> None:
    if gpu.status().ok:
        pytest.skip("there is a card here")
    with pytest.raises(RuntimeError, match=rf"device 'gpu' cannot be used \({gpu.status().code}\)"):
        accelgrad.zeros(2, device="gpu")
    assert accelgrad.cuda.is_available() is False and accelgrad.cuda.device_count() == 0
    assert accelgrad.device("auto") == accelgrad.device("cpu")
    with pytest.raises(RuntimeError, match="cannot be used"):
        accelgrad.cuda.synchronize()


def test_looking_for_the_largest_tensors_runs_no_code_of_other_objects() -> None:
    class Touchy:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"somebody asked for {name}")

    alive = Touchy()
    found = gpu.largest_tensors(0)
    del alive
    assert isinstance(found, list)
