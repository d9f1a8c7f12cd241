"""The loader's semantics: arguments, order, epochs, structures, seeds, streams."""

from __future__ import annotations

import dataclasses
import random
from collections import namedtuple

import numpy as np
import pytest

import accelgrad
from accelgrad.core.tensor import Tensor
from accelgrad.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    TensorDataset,
    empty_batch,
    get_worker_info,
    sample_generator,
)

Point = namedtuple("Point", "x y")


@dataclasses.dataclass(frozen=True)
class Record:
    point: Point
    name: str
    size: int = 0


class Squares(Dataset):
    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return np.array([index, index * index], np.float32)


class Counted(IterableDataset):
    """Worker w gives ``shares[w]`` numbers, beginning at 100 w."""

    def __init__(self, *shares):
        self.shares = shares

    def __iter__(self):
        info = get_worker_info()
        worker = 0 if info is None else info.id
        return iter(range(100 * worker, 100 * worker + self.shares[worker]))


def plain(value):
    """Return a batch as Python data with its types, for a comparison of two batches."""
    if isinstance(value, Tensor):
        return ("tensor", value.array.dtype.str, value.array.shape, value.array.tobytes())
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return ("objects", value.tolist())
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        return ("array", value.dtype.str, value.shape, order, value.tobytes())
    if isinstance(value, dict):
        return (type(value).__name__, {key: plain(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return (type(value).__name__, [plain(item) for item in value])
    if dataclasses.is_dataclass(value):
        return (type(value).__name__, [plain(getattr(value, f.name)) for f in dataclasses.fields(value)])
    return (type(value).__name__, value)


def batches(*args, **options):
    with DataLoader(*args, **options) as loader:
        return [plain(batch) for batch in loader]


def numbers(loader):
    return [batch.array.ravel().tolist() for batch in loader]


# --- structures

BIG = np.arange(6000, dtype=np.float64)
STRUCTURES = {
    "dict": {"a": np.zeros(2), "b": 1, "c": 2.5, "d": "s", "e": b"t", "f": True},
    "tuple": (np.ones((2, 3), np.float16), 7),
    "list": [np.zeros(3, np.uint8), [1, 2.0], {"k": (1,)}],
    "namedtuple": Point(np.zeros(2, np.int32), "p"),
    "dataclass": Record(Point(np.zeros(2), 1.5), "n", 3),
    "0-d": np.array(3.5),
    "numpy scalar": np.float32(2),
    "zero-size": np.zeros((0, 4)),
    "Fortran order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "strided": BIG[::7],
    "big-endian": np.arange(4, dtype=">f4"),
    "bool": np.array([True, False]),
    "float16": np.linspace(0, 1, 5, dtype=np.float16),
    "large": BIG,
    "tensor": accelgrad.from_numpy(np.arange(4, dtype=np.int64)),
    "empty string": "",
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_default_batches_from_workers_equal_those_without(name):
    data = [STRUCTURES[name]] * 5
    assert batches(data, batch_size=2) == batches(data, batch_size=2, num_workers=2)


RAW = {
    "Fortran order": np.asfortranarray(np.arange(6000.0).reshape(60, 100)),
    "big-endian": np.arange(4000, dtype=">i4"),
    "strings": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "dates": np.array(["2020-01-01"], "M8[D]"),
    "complex": np.array([1 + 2j]),
    "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "objects": np.array([{"a": 1}, None], dtype=object),
    "matrix of a subclass": np.ma.masked_array([1, 2], [0, 1]).data,
    "None": None,
    "large bytes": b"x" * 300_000,
    "many leaves": {f"k{i}": np.full(i, i) for i in range(40)},
    "zero-size": [np.zeros((0, 3)), np.zeros(0, "U1")],
    "0-d": np.array(2, np.int8),
    "tensor": accelgrad.from_numpy(np.arange(5000)),
    "uint16": np.arange(3, dtype=np.uint16),
    "set": frozenset({1, 2}),
}


def identity(samples):
    return samples


@pytest.mark.parametrize("name", RAW)
def test_whatever_a_collate_fn_returns_arrives_unchanged(name):
    data = [RAW[name]] * 3
    options = {"batch_size": 2, "collate_fn": identity}
    assert batches(data, **options) == batches(data, num_workers=1, **options)


def test_an_array_that_occurs_twice_in_a_batch_is_one_array_afterwards():
    shared = np.arange(5000)
    with DataLoader([0], num_workers=1, collate_fn=lambda samples: [shared, shared]) as loader:
        first, second = next(iter(loader))
    assert first is second


def test_batches_from_workers_are_writable():
    with DataLoader([np.zeros(5000)] * 2, num_workers=1) as loader:
        for batch in loader:
            batch.array[...] = 1
            assert batch.array.sum() == 5000


def test_a_collate_fn_may_fill_an_array_of_empty_batch():
    def collate(samples):
        out = empty_batch((len(samples), 3000), np.float32)
        for row, sample in zip(out, samples, strict=True):
            row[...] = sample
        return out, out[1:]

    with DataLoader(list(range(20)), batch_size=2, num_workers=1, collate_fn=collate) as loader:
        kept = list(loader)
    assert [float(whole[1, -1]) for whole, _ in kept] == list(range(1, 20, 2))
    assert [float(part[0, 0]) for _, part in kept] == list(range(1, 20, 2))


def test_an_array_that_the_dataset_keeps_is_not_overwritten():
    class Keeps(Dataset):
        def __init__(self):
            self.kept = []

        def __len__(self):
            return 20

        def __getitem__(self, index):
            return index

    data = Keeps()

    def collate(samples):
        out = empty_batch((4000,), np.int64)
        out[:] = samples[0]
        data.kept.append(out)
        return [np.array([kept[0] for kept in data.kept]), out]

    with DataLoader(data, num_workers=1, collate_fn=collate) as loader:
        for index, (history, _) in enumerate(loader):
            assert history.tolist() == list(range(index + 1))


# --- order


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_repeat_and_len_counts_batches(workers):
    with DataLoader(Squares(), batch_size=3, num_workers=workers) as loader:
        assert len(loader) == 4
        first = numbers(loader)
        assert first == numbers(loader)
        assert [batch[0] for batch in first] == [0, 3, 6, 9]


@pytest.mark.parametrize("workers", [0, 2])
def test_drop_last_and_batch_size_none_and_batch_sampler(workers):
    common = {"num_workers": workers}
    with DataLoader(Squares(), batch_size=4, drop_last=True, **common) as loader:
        assert len(numbers(loader)) == len(loader) == 2
    with DataLoader(Squares(3), batch_size=None, **common) as loader:
        assert numbers(loader) == [[0, 0], [1, 1], [2, 4]]
    with DataLoader(Squares(), batch_sampler=[[3, 1], [2]], **common) as loader:
        assert numbers(loader) == [[3, 9, 1, 1], [2, 4]]
    with DataLoader({"a": 1, "b": 2}, sampler=["b", "a"], **common) as loader:
        assert numbers(loader) == [[2], [1]]


def test_the_same_generator_seed_gives_the_same_order_with_any_number_of_workers():
    orders = []
    for workers in (0, 1, 3):
        generator = accelgrad.Generator().manual_seed(5)
        with DataLoader(Squares(20), shuffle=True, num_workers=workers, generator=generator) as loader:
            orders.append((numbers(loader), numbers(loader)))
    assert orders[0] == orders[1] == orders[2]
    assert orders[0][0] != orders[0][1]


def test_out_of_order_gives_every_batch_once():
    with DataLoader(Squares(40), num_workers=3, in_order=False) as loader:
        for _ in range(2):
            assert sorted(batch[0] for batch in numbers(loader)) == list(range(40))


def test_breaking_off_leaves_no_stale_batch_with_persistent_workers():
    with DataLoader(Squares(40), batch_size=2, num_workers=2, persistent_workers=True) as loader:
        for stop in (1, 3, 7, 20):
            seen = []
            for batch in loader:
                seen.append(batch.array[0, 0])
                if len(seen) == stop:
                    break
            assert seen == list(range(0, 2 * stop, 2))


def test_persistent_workers_are_the_same_processes_in_every_epoch():
    class Pids(Squares):
        def __getitem__(self, index):
            return get_worker_info().pid

    with DataLoader(Pids(8), num_workers=2, persistent_workers=True) as loader:
        assert numbers(loader) == numbers(loader)
    with DataLoader(Pids(8), num_workers=2) as loader:
        assert not {p for (p,) in numbers(loader)} & {p for (p,) in numbers(loader)}


def test_a_list_of_tensors_longer_than_the_socket_buffer_is_a_task_like_any_other():
    indices = [[0, 1] * 200_000, [2, 3]]
    with DataLoader(Squares(4), batch_sampler=indices, num_workers=1) as loader:
        first, second = loader
    assert first.array.shape == (400_000, 2) and second.array[:, 0].tolist() == [2, 3]


# --- streams


def test_streams_with_uneven_shares_come_in_turn_until_all_have_ended():
    with DataLoader(Counted(5, 1, 3), batch_size=2, num_workers=3) as loader:
        assert numbers(loader) == [[0, 1], [100], [200, 201], [2, 3], [202], [4]]
        assert len(numbers(loader)) == 6
    with DataLoader(Counted(5, 1, 3), batch_size=2, num_workers=3, drop_last=True) as loader:
        assert numbers(loader) == [[0, 1], [200, 201], [2, 3]]
    with DataLoader(Counted(0, 0), batch_size=2, num_workers=2) as loader:
        assert numbers(loader) == []
    with DataLoader(Counted(3, 2), batch_size=None, num_workers=2, in_order=False) as loader:
        assert sorted(loader) == [0, 1, 2, 100, 101]  # single samples: numbers stay numbers


def test_a_stream_longer_than_its_length_is_warned_of():
    class Twice(Counted):
        def __len__(self):
            return 2

    loader = DataLoader(Twice(3, 3), num_workers=2)
    assert len(loader) == 2
    with loader, pytest.warns(UserWarning, match=r"reported to be 2 .* get_worker_info"):
        numbers(loader)


# --- seeds


class Draws(Dataset):
    """Samples that are numbers drawn from every generator that a dataset may use."""

    def __init__(self):
        self.own = np.random.default_rng(7)
        self.python = random.Random(7)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return np.array(
            [
                random.random(),
                np.random.rand(),  # noqa: NPY002
                float(accelgrad.default_generator.numpy.random()),
                self.own.random(),
                self.python.random(),
            ]
        )


def drawn(method="forkserver", seed=3, **options):
    accelgrad.manual_seed(seed)
    with DataLoader(Draws(), num_workers=2, multiprocessing_context=method, **options) as loader:
        epochs = [[batch.array[0] for batch in loader] for _ in range(2)]
        return np.array(epochs)  # (epoch, sample, generator)


def test_all_generators_differ_by_worker_and_epoch_and_repeat_from_run_to_run():
    first = drawn()
    for column in range(5):
        assert len(np.unique(first[..., column])) == 16
    assert (first == drawn()).all()
    other = drawn(seed=4)
    assert not (first[..., :3] == other[..., :3]).any()
    assert (first[..., 3:] == other[..., 3:]).all()  # the dataset's own generators were seeded by the user


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_seeds_are_the_same_across_start_methods(method, device):
    if method == "fork" and device != "cpu":
        pytest.skip("CuPy has run in this process: fork is warned against there, rightly")
    assert (drawn() == drawn(method)).all()


def test_persistent_workers_draw_the_same_numbers_as_new_ones():
    assert (drawn() == drawn(persistent_workers=True)).all()


class Augmented(Squares):
    def __getitem__(self, index):
        generator = sample_generator() if get_worker_info() is None else get_worker_info().generator
        return generator.numpy.random(2)


def test_the_per_sample_generator_gives_the_same_for_any_number_of_workers():
    found = []
    for workers in (0, 1, 3):
        accelgrad.manual_seed(1)
        with DataLoader(Augmented(12), batch_size=4, num_workers=workers) as loader:
            found.append((numbers(loader), numbers(loader)))
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1]
    assert len(set(np.ravel(found[0]))) == 48


def test_sample_generator_outside_of_a_loader_explains_itself():
    with pytest.raises(RuntimeError, match=r"only while a DataLoader fetches"):
        sample_generator()
    assert sample_generator(3).numpy.random() == sample_generator(3).numpy.random()
    assert sample_generator("a").numpy.random() != sample_generator(3).numpy.random()


def test_get_worker_info_describes_the_worker():
    class Info(Squares):
        def __getitem__(self, index):
            info = get_worker_info()
            assert info.dataset is self and "WorkerInfo(id=" in repr(info)
            return [info.id, info.num_workers, info.seed]

    accelgrad.manual_seed(0)
    with DataLoader(Info(4), num_workers=2) as loader:
        rows = np.array([[part.item() for part in batch] for batch in loader])
    assert rows[:, 0].tolist() == [0, 1, 0, 1] and set(rows[:, 1]) == {2}
    assert rows[1, 2] - rows[0, 2] == 1
    assert get_worker_info() is None


# --- arguments


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"num_workers": -1}, ValueError, "num_workers option should be a non-negative integer"),
        ({"num_workers": 1.5}, ValueError, "num_workers option should be a non-negative integer"),
        ({"timeout": -1}, ValueError, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, ValueError, "could only be specified in multiprocessing"),
        (
            {"prefetch_factor": 0, "num_workers": 1},
            ValueError,
            "prefetch_factor option should be a positive integer",
        ),
        ({"persistent_workers": True}, ValueError, "persistent_workers option needs num_workers > 0"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, ValueError, "mutually exclusive with batch_size"),
        ({"batch_size": None, "drop_last": True}, ValueError, "mutually exclusive with drop_last"),
        ({"batch_size": 0}, ValueError, "batch_size should be a positive integer"),
        ({"multiprocessing_context": "thread", "num_workers": 1}, ValueError, "valid start method"),
        ({"multiprocessing_context": "spawn"}, ValueError, "only be used with multi-process loading"),
        ({"multiprocessing_context": 3, "num_workers": 1}, TypeError, "valid context object"),
    ],
)
def test_wrong_arguments_are_refused_as_pytorch_refuses_them(options, error, message):
    with pytest.raises(error, match=message):
        DataLoader([1, 2], **options)


@pytest.mark.parametrize("option", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_a_stream_takes_no_order(option):
    with pytest.raises(ValueError, match=r"IterableDataset: expected unspecified"):
        DataLoader(Counted(3), **option)


def test_a_multiprocessing_context_is_taken_by_its_start_method():
    import multiprocessing

    loader = DataLoader([1], num_workers=1, multiprocessing_context=multiprocessing.get_context("spawn"))
    assert loader.start_method == "spawn"


def test_settings_that_shape_the_order_cannot_change_afterwards():
    loader = DataLoader([1])
    with pytest.raises(ValueError, match="batch_size attribute should not be set"):
        loader.batch_size = 3
    loader.timeout = 2


def test_a_loader_is_not_pickled():
    import pickle

    with pytest.raises(TypeError, match="cannot pickle 'DataLoader'"):
        pickle.dumps(DataLoader([1]))


def test_the_repr_of_an_iterator_says_what_is_in_flight():
    with DataLoader(Squares(), num_workers=2) as loader:
        iterator = iter(loader)
        assert repr(iterator).startswith("<DataLoader iterator: 0 of 10 batches delivered")
        assert "worker 0:" in repr(iterator)
        list(iterator)
        assert repr(iterator) == "<DataLoader iterator: 10 of 10 batches delivered, finished>"
    assert repr(iter(DataLoader([1, 2]))) == "<DataLoader iterator: 0 of 2 batches delivered, no workers>"


def test_a_closed_iterator_says_so_and_a_finished_one_stays_finished():
    loader = DataLoader(Squares(), num_workers=1)
    iterator = iter(loader)
    loader.close()
    with pytest.raises(RuntimeError, match="was closed; make a new one"):
        next(iterator)
    assert len(numbers(loader)) == 10  # and a new pass starts new workers
    loader.close()
    iterator = iter(DataLoader([1]))
    assert len(list(iterator)) == 1 and list(iterator) == []


# --- whole batches, timeline


class Whole(Squares):
    def __getitems__(self, indices):
        return [self[index] for index in indices]

    def __getitem__(self, index):
        return np.array([index, 5])


def test_getitems_is_asked_for_the_whole_batch():
    class Asked(Squares):
        def __getitems__(self, indices):
            return [np.array([len(indices)])] * len(indices)

    for workers in (0, 1):
        with DataLoader(Asked(7), batch_size=4, num_workers=workers) as loader:
            assert numbers(loader) == [[4] * 4, [3] * 3]

    class Short(Squares):
        def __getitems__(self, indices):
            return [1]

    with pytest.raises(RuntimeError, match="returned 1 samples for 4 indices"):
        next(iter(DataLoader(Short(), batch_size=4)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_tensor_dataset_gives_the_batches_of_its_samples(workers, shuffle):
    x, y = np.random.default_rng(0).random((50, 30)), np.arange(50)
    accelgrad.manual_seed(0)
    with DataLoader(TensorDataset(x, y), batch_size=8, shuffle=shuffle, num_workers=workers) as loader:
        found = [(a.array.copy(), b.array.copy()) for a, b in loader]
    order = np.concatenate([b for _, b in found])
    assert sorted(order) == list(range(50)) and (order == np.arange(50)).all() != shuffle
    assert (np.concatenate([a for a, _ in found]) == x[order]).all()


def test_a_batch_of_a_tensor_dataset_does_not_share_its_memory():
    x = np.zeros((4, 2))
    for batch in DataLoader(TensorDataset(x), batch_size=2):
        batch[0].array[...] = 1
    assert not x.any()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_timeline_records_every_batch_in_the_order_of_events(workers):
    with DataLoader(Squares(12), batch_size=2, num_workers=workers) as loader:
        assert loader.timeline() == []
        loader.record_timeline()
        list(loader)
        records = loader.timeline()
    assert [record.batch for record in records] == list(range(6))
    for record in records:
        assert record.started <= record.fetched <= record.collated <= record.sent <= record.received
        assert record.asked <= record.delivered and record.received <= record.delivered
        assert record.worker == (None if workers == 0 else record.batch % 2)
        assert min(record.fetch, record.collate, record.transfer, record.wait) >= 0
        assert record.as_dict()["batch"] == record.batch


def test_pin_memory_without_a_card_changes_nothing():
    from accelgrad.utils.data import pin

    if pin._can_pin():
        pytest.skip("there is a card")
    for workers in (0, 1):
        assert batches(Squares(), pin_memory=True, num_workers=workers) == batches(Squares())


@pytest.mark.parametrize("collate_fn", [None, identity])
def test_a_steady_pass_uses_the_same_few_slots_again_and_again(collate_fn):
    with DataLoader([np.zeros(5000)] * 300, num_workers=1, collate_fn=collate_fn) as loader:
        iterator = iter(loader)
        for _ in iterator:
            if iterator.delivered == 299:
                (arena,) = iterator.pool.handles[0].arenas.values()
    assert arena.number == 0 and len(arena.leases) <= loader.deepest + 2


def test_the_samplers_of_a_loader_are_where_pytorch_has_them():
    loader = DataLoader(Squares(), batch_size=4)
    assert type(loader.sampler) is SequentialSampler and type(loader.batch_sampler) is BatchSampler
    assert loader.batch_sampler.batch_size == loader.batch_size == 4


@pytest.mark.parametrize(
    ("asked", "quick", "light", "in_hand"),
    [(None, 100.0, 1 << 20, 8), (2, 100.0, 1 << 20, 2), (None, 0.0, 1 << 20, 2), (None, 100.0, 100, 2)],
)
def test_small_and_quick_batches_are_fetched_further_ahead_unless_somebody_said_how_far(
    monkeypatch, asked, quick, light, in_hand
):
    from accelgrad.utils.data import iterator

    monkeypatch.setattr(iterator, "QUICK", quick)
    monkeypatch.setattr(iterator, "LIGHT", light)
    with DataLoader([np.zeros(5000)] * 60, num_workers=2, prefetch_factor=asked) as loader:
        assert loader.prefetch_factor == 2
        it = iter(loader)
        next(it)
        assert it.sent - it.delivered == 2 * in_hand
        assert len(list(it)) == 59


def test_a_pool_that_got_no_descriptor_leaves_nothing_to_be_closed(monkeypatch):
    from accelgrad.utils.data import pool

    def none_left(size):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pool, "anonymous_file", none_left)
    before = set(pool._live)
    with pytest.raises(OSError, match="Too many open files"):
        iter(DataLoader(Squares(), num_workers=1))
    assert pool._live == before
