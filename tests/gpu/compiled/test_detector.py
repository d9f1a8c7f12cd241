"""The detector reports each fault that is planted here, and not the kernel beside it that is right."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

FULL = 0xFFFFFFFF
Run = Callable[..., list[np.ndarray]]


def floats(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype="float32").reshape(shape)


# --- shared memory


def reversing(with_barrier: bool, turns: int = 1, barrier_after: bool = True) -> Any:
    """``y[turn, i] = x[turn, last - i]`` by way of shared memory."""

    def make(cuda: Any, T: Any) -> Any:
        def kernel(x, y, n):
            buffer = cuda.shared.array(64, T)
            t = cuda.threadIdx.x
            for turn in range(turns):
                buffer[t] = x[turn * n + t]
                if with_barrier:
                    cuda.syncthreads()
                y[turn * n + t] = buffer[n - 1 - t]
                if barrier_after:
                    cuda.syncthreads()

        return kernel

    return make


def test_a_right_kernel_with_shared_memory_is_not_reported(run: Run) -> None:
    x, y = run(reversing(True, 3), "PPi", 1, 64, floats(3, 64), np.zeros((3, 64), "float32"), 64)
    np.testing.assert_array_equal(y, x[:, ::-1])


def test_a_missing_barrier_is_a_race(run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"planted_0-f, block \(0, 0, 0\).*test_detector\.py:\d+"):
        run(reversing(False), "PPi", 1, 64, floats(64), floats(64), 64)


def test_shared_memory_that_is_written_again_too_early_is_a_race(run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"a race: thread number \d+ of its block (read|wrote) it"):
        run(reversing(True, 2, barrier_after=False), "PPi", 1, 64, floats(2, 64), floats(2, 64), 64)


def warp_only(synchronised: bool, width: int) -> Any:
    """Neighbours in a group of ``width`` change places; only the warps meet."""

    def make(cuda: Any, T: Any) -> Any:
        def kernel(x, y):
            buffer = cuda.shared.array(64, T)
            t = cuda.threadIdx.x
            buffer[t] = x[t]
            if synchronised:
                cuda.syncwarp()
            else:  # a shuffle brings the threads together but orders no memory
                cuda.shfl_sync(FULL, t, 0)
            y[t] = buffer[t ^ (width - 1)]

        return kernel

    return make


def test_a_warp_that_has_met_may_read_what_it_wrote(run: Run) -> None:
    x, y = run(warp_only(True, 32), "PP", 1, 64, floats(64), floats(64))
    np.testing.assert_array_equal(y, x[np.arange(64) ^ 31])


def test_another_warp_may_not(run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"reads 4 bytes.*that no thread of the block has written"):
        run(warp_only(True, 64), "PP", 1, 64, floats(64), floats(64))


def test_a_shuffle_orders_no_memory(run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"reads 4 bytes.*a race: thread number \d+ of its block wrote it"):
        run(warp_only(False, 32), "PP", 1, 64, floats(64), floats(64))


def test_shared_memory_that_nobody_has_written(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            buffer = cuda.shared.array(32, T)
            if cuda.threadIdx.x > 0:
                buffer[cuda.threadIdx.x] = T(1)
            cuda.syncthreads()
            y[cuda.threadIdx.x] = buffer[cuda.threadIdx.x]

        return kernel

    with pytest.raises(RuntimeError, match=r"thread \(0, 0, 0\) reads 4 bytes at byte 0 of shared"):
        run(make, "P", 1, 32, floats(32))


def test_a_step_over_the_end_of_a_shared_array(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            first = cuda.shared.array(32, T)
            second = cuda.shared.array(32, T)
            first[cuda.threadIdx.x + 1] = T(1)
            second[cuda.threadIdx.x] = T(1)
            cuda.syncthreads()
            y[cuda.threadIdx.x] = first[cuda.threadIdx.x + 1] + second[cuda.threadIdx.x]

        return kernel

    with pytest.raises(RuntimeError, match=r"thread \(31, 0, 0\) writes.*outside of the shared arrays"):
        run(make, "P", 1, 32, floats(32))


# --- device memory


def doubled(extra: int) -> Any:
    """``y[i] = 2 x[i]`` for the ``i`` below ``n + extra``."""

    def make(cuda: Any, T: Any) -> Any:
        def kernel(x, y, n):
            i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
            if i < n + extra:
                y[i] = x[i] * T(2)

        return kernel

    return make


def test_a_right_kernel_over_a_grid_is_not_reported(run: Run) -> None:
    x, y = run(doubled(0), "PPi", 4, 32, floats(101), np.zeros(101, "float32"), 101)
    np.testing.assert_array_equal(y, x * 2)


def test_one_element_too_many_is_out_of_bounds(run: Run) -> None:
    wanted = (
        r"block \(3, 0, 0\): thread \(5, 0, 0\) reads 4 bytes.*: 404 bytes after the start of a piece of 404"
    )
    with pytest.raises(RuntimeError, match=wanted):
        run(doubled(1), "PPi", 4, 32, floats(101), np.zeros(101, "float32"), 101)


def test_a_null_pointer_is_out_of_bounds(run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"reads 4 bytes.*out of bounds"):
        run(doubled(0), "PPi", 1, 32, None, np.zeros(32, "float32"), 32)


def test_memory_that_nobody_has_written(run: Run) -> None:
    cupy: Any = importlib.import_module("cupy")
    with pytest.raises(RuntimeError, match="device memory that nobody has written"):
        run(doubled(0), "PPi", 1, 32, cupy.empty(32, "float32"), np.zeros(32, "float32"), 32)


def test_a_wide_load_between_the_places_for_it(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        load4 = importlib.import_module("accelgrad.kernels.cuda.warp").load4

        def kernel(x, y, offset):
            v = load4(x, offset + cuda.threadIdx.x * 4)
            y[cuda.threadIdx.x] = v[0] + v[3]

        return kernel

    x, y = run(make, "PPi", 1, 32, floats(132), np.zeros(32, "float32"), 4)
    np.testing.assert_array_equal(y, x[4::4] + x[7::4])
    with pytest.raises(RuntimeError, match=r"reads 16 bytes.*no multiple of 16"):
        run(make, "PPi", 1, 32, floats(132), np.zeros(32, "float32"), 2)


def test_a_block_that_writes_its_neighbours_result(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            i = cuda.blockIdx.x * 31 + cuda.threadIdx.x  # blocks lie 31 apart and have 32 threads
            y[i] = T(cuda.blockIdx.x)

        return kernel

    with pytest.raises(RuntimeError, match=r"writes 4 bytes.*a race: a thread of another block wrote it"):
        run(make, "P", 3, 32, floats(100))


def test_a_block_that_reads_what_another_has_written(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            i = cuda.blockIdx.x * 32 + cuda.threadIdx.x
            y[i] = y[(i + 32) % 96]

        return kernel

    with pytest.raises(RuntimeError, match=r"a race: a thread of another block (read|wrote) it"):
        run(make, "P", 3, 32, floats(96))


def test_a_barrier_orders_device_memory_within_a_block(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(x, y):
            y[cuda.threadIdx.x] = x[cuda.threadIdx.x]
            cuda.syncthreads()
            x[cuda.threadIdx.x] = y[63 - cuda.threadIdx.x]

        return kernel

    x, _ = run(make, "PP", 1, 64, floats(64), floats(64))
    np.testing.assert_array_equal(x, floats(64)[::-1])


def test_bytes_of_one_word_by_different_threads_are_no_race(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(mask):
            mask[cuda.threadIdx.x + 3] = 1

        return kernel

    (mask,) = run(make, "B", 1, 32, np.zeros(40, "uint8"))
    assert mask.sum() == 32


def adding(atomic: bool) -> Any:
    """Every thread of the block adds one to the same shared number."""

    def make(cuda: Any, T: Any) -> Any:
        def kernel(total):
            count = cuda.shared.array(1, np.int64)
            if cuda.threadIdx.x == 0:
                count[0] = 0
            cuda.syncthreads()
            if atomic:
                cuda.atomic.add(count, 0, 1)
            else:
                count[0] += 1
            cuda.syncthreads()
            if cuda.threadIdx.x == 0:
                total[0] = count[0]

        return kernel

    return make


def test_adding_to_one_place_is_a_race(run: Run) -> None:
    with pytest.raises(RuntimeError, match=r"a race: thread number 0 of its block wrote it"):
        run(adding(False), "L", 1, 64, np.zeros(1, "int64"))


def test_adding_atomically_is_not(run: Run) -> None:
    (total,) = run(adding(True), "L", 1, 64, np.zeros(1, "int64"))
    assert total[0] == 64


# --- threads that do not meet


def test_a_barrier_that_some_threads_miss(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            if cuda.threadIdx.x < 40:
                cuda.syncthreads()
            y[cuda.threadIdx.x] = T(1)

        return kernel

    with pytest.raises(RuntimeError, match=r"thread \(40, 0, 0\) has ended without reaching the barrier"):
        run(make, "P", 1, 64, floats(64))


def test_two_barriers_are_not_one(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            if cuda.threadIdx.x < 32:
                y[cuda.threadIdx.x] = T(1)
                cuda.syncthreads()
            else:
                y[cuda.threadIdx.x] = T(2)
                cuda.syncthreads()

        return kernel

    with pytest.raises(RuntimeError, match=r"at different barriers: thread \(0, 0, 0\) at .*:\d+, thread"):
        run(make, "P", 1, 64, floats(64))


@pytest.mark.parametrize(("threads", "limit"), [(32, 20), (48, 48)])
def test_a_shuffle_that_not_all_lanes_reach(threads: int, limit: int, run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y, limit):
            if cuda.threadIdx.x < limit:
                y[cuda.threadIdx.x] = cuda.shfl_down_sync(FULL, y[cuda.threadIdx.x], 1)

        return kernel

    with pytest.raises(RuntimeError, match=r"the mask of a shuffle at .* names lane \d+, which"):
        run(make, "Pi", 1, threads, floats(64), limit)


def test_after_an_error_the_next_launch_begins_anew(run: Run) -> None:
    with pytest.raises(RuntimeError, match="a race"):
        run(reversing(True, 2, barrier_after=False), "PPi", 1, 64, floats(2, 64), floats(2, 64), 64)
    x, y = run(reversing(True), "PPi", 1, 64, floats(64), np.zeros(64, "float32"), 64)
    np.testing.assert_array_equal(y, x[::-1])


# --- what CUDA would refuse


@pytest.mark.parametrize(
    ("grid", "threads", "words"),
    [
        (1, 1056, "the block's size"),
        (1, (1, 2, 65), "the block's size"),
        ((1, 70000), 32, "the grid's size"),
        (1, 128, "launch bounds"),
    ],
)
def test_a_launch_that_cuda_would_refuse(grid: Any, threads: int, words: str, run: Run) -> None:
    with pytest.raises(Exception, match=f"CUDA_ERROR_INVALID_VALUE: .*{words}"):
        run(doubled(0), "PPi", grid, threads, floats(8), floats(8), 0, launch_bounds=64)


def test_too_much_shared_memory_is_refused(run: Run) -> None:
    def make(cuda: Any, T: Any) -> Any:
        def kernel(y):
            buffer = cuda.shared.array(13000, T)
            buffer[cuda.threadIdx.x] = T(1)
            y[cuda.threadIdx.x] = buffer[cuda.threadIdx.x]

        return kernel

    with pytest.raises(RuntimeError, match="the shared memory"):
        run(make, "P", 1, 32, floats(32))


def test_an_argument_of_another_size_than_the_kernel_takes_is_noticed(
    host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    softmax: Any = importlib.import_module("accelgrad.kernels.cuda.softmax")
    with pytest.raises(TypeError, match="takes parameters of"):
        host.check_parameters(softmax.ROWS, "f", ["ptr", "ptr", "i64", "i32"])
