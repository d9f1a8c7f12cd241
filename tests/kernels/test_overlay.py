"""The overlay: modes, threads, registration, what happens when a kernel cannot be used, and what an import
costs."""

from __future__ import annotations

import doctest
import importlib
import os
import pathlib
import subprocess
import sys
import textwrap
import threading
import types

import numpy as np
import pytest

from accelgrad import kernels
from accelgrad.arrays import backend

ROOT = pathlib.Path(__file__).resolve().parents[2]


def python(code: str, **environment: str) -> str:
    """The last line that a fresh interpreter prints; its failure is this test's."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="kernels mode 'fast' is not known; choose one of auto, numba, off"):
        kernels.use("fast")


def test_use_is_undone_at_the_end_of_its_block():
    before = kernels.mode()
    with kernels.use("numba"), kernels.use("off"):
        assert kernels.mode() == "off"
    assert kernels.mode() == before


def test_use_decorates_a_function():
    @kernels.use("off")
    def inside() -> str:
        return kernels.mode()

    assert inside() == "off"


def test_the_mode_is_read_from_the_environment():
    code = "import accelgrad.kernels as k; print(k.mode())"
    assert python(code, ACCELGRAD_KERNELS="numba") == "numba"
    assert python(code, ACCELGRAD_KERNELS="") == "auto"


def test_each_mode_resolves_the_same_name_differently(took):
    x = np.ones((300, 300), np.float32)
    for mode, expected in (("numba", ["max"]), ("off", []), ("auto", [])):
        took.clear()
        with kernels.use(mode):
            assert backend.CPU.max(x) == 1
        assert took == expected


def test_the_mode_auto_takes_no_kernel_below_the_least_size(took, monkeypatch):
    monkeypatch.setitem(kernels.contents("cpu"), "softmax", ("softmax", 100))
    with kernels.use("auto"):
        backend.CPU.softmax(np.ones((9, 11), np.float32))
        assert took == []
        backend.CPU.softmax(np.ones((10, 10), np.float32))
    assert took == ["softmax"]


def test_a_name_that_nobody_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"neither numpy nor accelgrad\.kernels\.plain has 'soft_max'"):
        _ = backend.CPU.soft_max


def test_a_python_number_goes_to_the_array_module(xp):
    assert xp.sum(3.0) == 3.0
    assert xp.max([1, 2]) == 2


@pytest.mark.parametrize("number", [0, -1, 1.5, "2"])
def test_a_number_of_threads_must_be_positive(number):
    with pytest.raises(ValueError, match="set_num_threads expects a positive integer"):
        kernels.set_num_threads(number)


def test_the_number_of_threads_starts_from_the_environment():
    code = "import accelgrad.kernels as k; print(k.get_num_threads())"
    assert python(code, NUMBA_NUM_THREADS="1") == "1"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(python(code, NUMBA_NUM_THREADS="", OMP_NUM_THREADS="100000")) == cores


def test_a_registration_from_outside_the_package_is_refused():
    def stray(x):
        return x

    stray.__module__ = "kernels.cpu.reduce"
    with pytest.raises(
        ImportError, match=r"import it as accelgrad\.kernels\.cpu\.reduce, or it would register twice"
    ):
        kernels.kernel("sum", "cpu")(stray)


def test_every_file_in_the_table_of_contents_registers_its_names():
    for name, (file, least) in kernels.contents("cpu").items():
        assert kernels.load(name, "cpu"), f"{file} registers no {name}: {kernels.missing}"
        assert least is None or least >= 0
    assert not [key for key in kernels.missing if key[0] == "cpu"]


def test_report_says_what_is_used_and_why():
    with kernels.use("off"):
        assert {what for _, what, _ in kernels.report()} == {"array module"}
    with kernels.use("numba"):
        assert {what for _, what, _ in kernels.report()} == {"numba"}
    with kernels.use("auto"):
        lines = {name: (what, why) for name, what, why in kernels.report()}
    assert lines["max"][0] == "array module" and "faster" in lines["max"][1]
    assert lines["softmax"][0] == "numba" and "1,024 elements" in lines["softmax"][1]


def test_the_import_loads_no_optional_library():
    code = """
        import sys
        import accelgrad
        print([name for name in ("numba", "llvmlite", "cupy", "matplotlib", "torch") if name in sys.modules])
    """
    assert python(code) == "[]"


def test_small_work_imports_no_numba_until_it_has_been_done_often():
    code = """
        import sys
        import numpy as np
        from accelgrad import kernels
        from accelgrad.arrays import backend
        from accelgrad.kernels import updates
        x = np.ones(4, np.float32)
        for _ in range(kernels.PATIENCE):
            backend.CPU.update_all([x], updates.scale, [None], (0.5,))
            backend.CPU.sum(x)
        before = "numba" in sys.modules
        backend.CPU.update_all([x], updates.scale, [None], (0.5,))
        print(before, "numba" in sys.modules)
    """
    assert python(code, ACCELGRAD_KERNELS="auto") == "False True"


def test_without_numba_everything_runs_and_the_reason_is_recorded():
    code = """
        import sys
        sys.modules["numba"] = None  # its import now fails
        import numpy as np
        from accelgrad import kernels
        from accelgrad.arrays import backend
        from accelgrad.kernels import updates
        x = np.ones((40, 50), np.float32)
        assert backend.CPU.sum(x) == 2000
        assert abs(backend.CPU.softmax(x).sum() - 40) < 1e-3
        backend.CPU.update_all([x], updates.sgd, [[x.copy()], None], (1.0, 0, 0, 0, 0))
        assert not x.any()
        print(sorted(kernels.missing), [why for _, _, why in kernels.report()][0])
    """
    line = python(code, ACCELGRAD_KERNELS="numba")
    assert "('cpu', 'reduce')" in line and "('cpu', 'optimizer')" in line
    assert "ModuleNotFoundError: import of numba halted" in line


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME, and /dev/null is no folder")
def test_a_cache_folder_that_cannot_be_written_only_costs_time(variable):
    code = """
        import numpy as np
        from accelgrad import kernels
        from accelgrad.arrays import backend
        from accelgrad.kernels.cpu.compile import cache_folder
        x = np.ones((8, 9), np.float32)
        y = backend.CPU.softmax(x)
        print(kernels.missing, cache_folder(), abs(float(y.sum()) - 8) < 1e-5)
    """
    settings = {"NUMBA_CACHE_DIR": "", variable: "/dev/null/no/folder", "ACCELGRAD_KERNELS": "numba"}
    assert python(code, **settings) == "{} None True"


def test_compiled_kernels_are_kept_in_the_users_numba_cache(tmp_path):
    code = """
        import numpy as np
        from accelgrad.arrays import backend
        from accelgrad.kernels.cpu.softmax import softmax_rows
        backend.CPU.softmax(np.ones((8, 9), np.float32))
        print(sum(softmax_rows.stats.cache_hits.values()), sum(softmax_rows.stats.cache_misses.values()))
    """
    settings = {"NUMBA_CACHE_DIR": str(tmp_path), "ACCELGRAD_KERNELS": "numba"}
    assert python(code, **settings) == "0 1"
    assert python(code, **settings) == "1 0"
    assert list(tmp_path.glob("accelgrad/*/**/*.nbc"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_can_run_kernels_on_two_threads(xp, threads):
    x = np.random.default_rng(0).normal(size=(64, 65)).astype(np.float32)
    wanted = xp.softmax(x)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if np.array_equal(xp.softmax(x), wanted) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_error_in_a_piece_is_raised_after_all_pieces_are_done():
    from accelgrad.kernels.cpu.threads import parallel

    kernels.set_num_threads(2)
    done: list[tuple[int, int]] = []

    def fails_at_the_end(start: int, stop: int) -> None:
        done.append((start, stop))
        if stop == 10:
            raise RuntimeError("the last piece")

    with pytest.raises(RuntimeError, match="the last piece"):
        parallel(fails_at_the_end, 10)
    assert sorted(done) == [(0, 5), (5, 10)]
    parallel(lambda start, stop: done.append((start, stop)), 4)
    assert sorted(done) == [(0, 2), (0, 5), (2, 4), (5, 10)]


def test_pieces_cover_the_range_once():
    from accelgrad.kernels.cpu.threads import parts

    for count in (0, 1, 2, 31, 32, 33, 1025):
        for threads in (1, 2, 3, 8):
            for grain in (1, 16):
                pieces = parts(count, threads, grain)
                assert [i for start, stop in pieces for i in range(start, stop)] == list(range(count))
                assert len(pieces) <= threads


def test_the_pieces_run_at_the_same_time():
    from accelgrad.kernels.cpu.threads import parallel

    names: list[str] = []
    kernels.set_num_threads(3)
    meeting = threading.Barrier(3, timeout=120)  # passes only three threads together

    def piece(start: int, stop: int) -> None:
        meeting.wait()
        names.append(threading.current_thread().name)

    parallel(piece, 3)
    assert sorted(names) == ["MainThread", "accelgrad kernel", "accelgrad kernel"]


def test_nobody_waits_for_a_thread_that_does_not_wake_up(monkeypatch):
    import queue

    from accelgrad.kernels.cpu import threads

    monkeypatch.setattr(threads, "_inbox", [queue.SimpleQueue(), queue.SimpleQueue()])  # which nobody reads
    kernels.set_num_threads(3)
    done: list[int] = []
    threads.parallel(lambda start, stop: done.extend(range(start, stop)), 10)
    assert done == list(range(10))


def test_after_an_error_in_this_thread_no_piece_is_begun():
    import queue

    from accelgrad.kernels.cpu import threads

    done: list[int] = []

    def fails_at_once(start: int, stop: int) -> None:
        done.append(start)
        raise RuntimeError("the first piece")

    inbox: queue.SimpleQueue = queue.SimpleQueue()
    before, threads._inbox[:] = list(threads._inbox), [inbox]
    try:
        kernels.set_num_threads(2)
        with pytest.raises(RuntimeError, match="the first piece"):
            threads.parallel(fails_at_once, 10)
    finally:
        threads._inbox[:] = before
    assert done == [0] and not inbox.get()[1]


def test_arrays_are_read_by_their_identity_as_python_describes_them():
    from accelgrad.kernels.cpu import objects

    for x in (np.zeros((3, 0, 5)), np.zeros(()), np.zeros((4, 6), np.float32)[::2, ::-1].T):
        assert objects.array_address(id(x)) == x.__array_interface__["data"][0]
        assert objects.array_size(id(x)) == x.size
        for i in range(x.ndim):
            assert objects.extent(id(x), i) == x.shape[i]
            assert objects.step(id(x), i) == x.strides[i]
    holder = types.SimpleNamespace(items=[1, 2, 3])
    assert objects.list_length(id(holder.items)) == 3
    assert objects.list_item(id(holder.items), 2) == id(holder.items[2])


@pytest.mark.parametrize("file", sorted({file for file, _ in kernels.contents("cpu").values()} | {"threads"}))
def test_the_examples_in_the_kernel_files_are_right(file):
    # pytest collects doctests by folder, and the folder of the kernels is not where they are imported from.
    module = importlib.import_module(f"accelgrad.kernels.cpu.{file}")
    assert doctest.testmod(module).failed == 0
    assert file != "threads" or doctest.testmod(module).attempted > 0
