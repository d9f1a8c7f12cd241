"""Kinds of programs: no main guard, -c, stdin, threads, forks, and after Numba and BLAS have run."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "by, method",
    [
        ("file", "forkserver"),
        ("-c", "forkserver"),
        ("stdin", "forkserver"),
        ("stdin", "spawn"),
        ("-c", "fork"),
    ],
)
def test_lambdas_and_main_classes_work_without_a_main_guard(run, by, method):
    output = run(
        f"""
        from collections import namedtuple
        from dataclasses import dataclass
        Pair = namedtuple("Pair", "x y")
        @dataclass
        class Item:
            pair: Pair
            name: str
        scale = 3
        class Here(Dataset):
            transform = staticmethod(lambda x: x * scale)
            def __len__(self):
                return 4
            def __getitem__(self, index):
                return Item(Pair(np.full(2, self.transform(index)), index), "n")
        with R0():
            loader = DataLoader(Here(), batch_size=2, num_workers=2, multiprocessing_context={method!r},
                                worker_init_fn=lambda worker: None)
            batches = list(loader)
            assert [type(b) for b in batches] == [Item, Item] and type(batches[0].pair) is Pair
            assert batches[1].pair.x.array.tolist() == [[6, 6], [9, 9]] and batches[1].name == ["n", "n"]
            del loader, batches
        print("once")
        """,
        by=by,
    ).ok()
    assert output.split() == ["once"]


def test_a_dataset_that_cannot_be_pickled_is_one_error_with_the_attribute_and_the_cure(run):
    run("""
        class Inner:
            def __init__(self):
                self.lock = threading.Lock()
        class Locked(Numbers):
            def __init__(self):
                super().__init__()
                self.parts = {"inner": [Inner()]}
        with R0():
            for method in ("forkserver", "spawn"):
                try:
                    iter(DataLoader(Locked(), num_workers=2, multiprocessing_context=method))
                except TypeError as error:
                    path = "dataset.parts['inner'][0].lock (a _thread.lock)"
                    assert f"{path} cannot be pickled" in str(error), error
                    assert "worker_init_fn" in str(error)
                else:
                    raise SystemExit("no error")
            assert firsts(DataLoader(Locked(), num_workers=1, multiprocessing_context="fork"))[:2] == [0, 1]
    """).ok()


def test_loaders_in_several_threads_and_several_iterators_at_once(run):
    run("""
        results = {}
        def use(name):
            loader = DataLoader(Numbers(24), batch_size=4, num_workers=1)
            results[name] = [firsts(loader) for _ in range(2)]
        with R0():
            threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            assert all(results[i] == [list(range(0, 24, 4))] * 2 for i in range(4)), results
            loader = DataLoader(Numbers(24), batch_size=4, num_workers=2, persistent_workers=True)
            pairs = [(int(a.array[0, 0]), int(b.array[0, 0])) for a, b in zip(loader, loader)]
            assert pairs == [(i, i) for i in range(0, 24, 4)], pairs
            del loader, threads
    """).ok()


def test_a_fork_of_the_program_harms_neither_iterator_nor_batches(run):
    run("""
        data = [np.full(5000, i, np.float64) for i in range(60)]
        with R0():
            loader = DataLoader(data, batch_size=2, num_workers=2)
            it = iter(loader)
            batch = next(it)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    try:
                        next(it)
                    except RuntimeError as error:
                        code = 0 if "belongs to process" in str(error) else 2
                    del it, loader
                    gc.collect()
                    time.sleep(0.5)              # meanwhile the parent goes through all batches
                    code = code or (0 if batch.array.max() == 1 and batch.array.min() == 0 else 3)
                finally:
                    os._exit(code)
            del batch
            rest = [float(b.array[0, 0]) for b in it]
            assert rest == [float(i) for i in range(2, 60, 2)], rest
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            del it, loader
    """).ok()


def test_fork_after_numba_threads_have_run_is_warned_of_and_forkserver_works(run):
    run("""
        import numba
        @numba.njit(parallel=True)
        def double(x):
            y = np.empty_like(x)
            for i in numba.prange(len(x)):
                y[i] = 2 * x[i]
            return y
        double(np.ones(10))
        np.ones((300, 300)) @ np.ones((300, 300))     # BLAS threads, too
        class Parallel(Numbers):
            def __getitem__(self, index):
                product = np.ones((64, 64)) @ np.ones((64, 64))
                return double(np.full(4, index, np.float32)) + product[0, 0] - 64
        with R0():
            assert firsts(DataLoader(Parallel(4), num_workers=2)) == [0, 2, 4, 6]
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                loader = DataLoader(Numbers(4), num_workers=1, multiprocessing_context="fork")
                assert firsts(loader) == [0, 1, 2, 3]
            del loader
            assert any("after numba has run" in str(w.message) for w in caught), caught
    """).ok()


def test_workers_have_one_thread_and_no_numba(run):
    run("""
        class Look(Numbers):
            def __getitem__(self, index):
                np.ones((400, 400)) @ np.ones((400, 400))
                threads = len(os.listdir("/proc/self/task"))
                return np.array([threads, "numba" in sys.modules, accelgrad.kernels.get_num_threads()])
        with R0():
            for method in ("forkserver", "spawn"):
                for batch in DataLoader(Look(2), num_workers=1, multiprocessing_context=method):
                    assert batch.array.tolist() == [[1, 0, 1]], (method, batch.array)
            del batch
    """).ok()
