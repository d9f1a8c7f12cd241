"""The dataset on its way to the workers, and exceptions on their way back."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest

from accelgrad.utils.data import DataLoader
from accelgrad.utils.data.faults import exit_reason, find_unpicklable, pack_exception, unpack_exception
from accelgrad.utils.data.payload import Payload, by_value, load_inline, load_payload

Pair = namedtuple("Pair", "left right")


def through_file(value):
    payload = Payload({"plain": 1}, {"value": value})
    seen = []
    descriptor = payload.to_file().descriptor
    first, load = load_payload(descriptor, payload.size, len(payload.meta), seen.append)
    payload.close()
    assert first == {"plain": 1} and seen == [first]
    return load()["value"]


def through_bytes(value):
    _, load = load_inline(Payload({}, {"value": value}).to_bytes(), lambda first: None)
    return load()["value"]


@pytest.mark.parametrize("way", [through_file, through_bytes])
def test_arrays_arrive_equal_and_writable_if_they_were(way):
    fixed = np.arange(1000)
    fixed.flags.writeable = False
    given = [
        np.arange(3000.0),
        np.arange(6000.0)[::2],
        np.asfortranarray(np.ones((30, 40))),
        fixed,
        np.zeros(0),
    ]
    found = way(given)
    for one, two in zip(given, found, strict=True):
        assert (one == two).all() and one.shape == two.shape and one.flags.writeable == two.flags.writeable
    found[0][:] = 5
    assert given[0][1] == 1


def test_workers_share_the_pages_and_write_to_copies():
    payload = Payload({}, {"x": np.arange(10_000)})
    descriptor = payload.to_file().descriptor
    one, two = (
        load_payload(descriptor, payload.size, len(payload.meta), lambda first: None)[1]()["x"]
        for _ in range(2)
    )
    payload.close()
    one[0] = 99
    assert two[0] == 0 and (one[1:] == two[1:]).all()


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_memory_map_is_opened_again_and_not_copied(tmp_path, mode):
    np.arange(100_000, dtype=np.int32).tofile(tmp_path / "data.bin")
    whole = np.memmap(tmp_path / "data.bin", np.int32, mode, offset=400, shape=(99_900,))
    given = [whole, whole[10:30:2], whole[90_000:]]
    payload = Payload({}, {"value": given})
    assert payload.size < 100_000
    for one, two in zip(given, through_file(given), strict=True):
        assert (one == two).all()


def test_modules_that_a_worker_cannot_import_go_by_value(tmp_path):
    (tmp_path / "by_hand.py").write_text(
        "K = 3\nclass Data(list):\n    def __getitem__(self, i):\n        return K * i\n"
    )
    spec = importlib.util.spec_from_file_location("accelgrad_test_by_hand", tmp_path / "by_hand.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
        with DataLoader(module.Data([0, 0, 0]), num_workers=1) as loader:
            assert [batch.array.item() for batch in loader] == [0, 3, 6]
        import cloudpickle

        assert not cloudpickle.list_registry_pickle_by_value()
    finally:
        del sys.modules[spec.name]


def test_an_open_file_is_an_error_and_not_a_copy_of_its_content(tmp_path):
    class WithFile:
        def __init__(self, file):
            self.file = file

    path = tmp_path / "text"
    path.write_text("content")
    with path.open() as file, pytest.raises(TypeError, match=r"dataset\.file \(a _io\.TextIOWrapper\)"):
        Payload({}, {"dataset": WithFile(file)})


LOCK = threading.Lock()


@pytest.mark.parametrize(
    "value, path",
    [
        ({"f": [LOCK, 1]}, "batch['f'][0]"),
        (Pair(1, (2, LOCK)), "batch.right[1]"),
        ([1, {"a": {"b": LOCK}}], "batch[1]['a']['b']"),
        (LOCK, "batch"),
        (lambda: LOCK, "batch<global LOCK>"),
    ],
)
def test_what_cannot_be_pickled_is_found(value, path):
    assert find_unpicklable(value, "batch", by_value) == f"{path} (a _thread.lock)"


def test_what_can_be_pickled_is_not_found():
    assert find_unpicklable({"a": [1, "b"]}, "batch") is None


class NeedsMore(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


class Recipe(Exception):
    def __init__(self, a, b):
        super().__init__("text")
        self.a, self.b = a, b

    def __reduce__(self):
        return Recipe, (self.a, self.b)


def travelled(error):
    try:
        raise error
    except BaseException as caught:
        return unpack_exception(pack_exception(caught, "raised here", by_value))


@pytest.mark.parametrize(
    "error",
    [
        ValueError(1, "two"),
        KeyError("k"),
        NeedsMore(3, "why"),
        Recipe(1, 2),
        OSError(2, "no", "f"),
        StopIteration(4),
    ],
)
def test_exceptions_keep_type_arguments_and_attributes(error):
    error.extra = [1]
    error.add_note("a note of its own")
    found = travelled(error)
    assert type(found).__name__ == type(error).__name__ and found.args == error.args
    assert {**vars(found), "__notes__": 0} == {**vars(error), "__notes__": 0}
    assert found.__notes__[:2] == ["a note of its own", "raised here"] and "traceback" in found.__notes__[2]


def test_an_exception_that_cannot_be_read_again_is_quoted():
    class Breaks(Exception):
        def __reduce__(self):
            return int, ("not a number",)

    found = travelled(Breaks("original words"))
    assert type(found) is RuntimeError and "Breaks: original words" in str(found)


def test_exit_reasons_are_words():
    assert exit_reason(-9).startswith("is killed by signal: Killed (SIGKILL, 9)")
    assert exit_reason(3) == "exited unexpectedly with exit code 3"
    assert "could not be learnt" in exit_reason(None)
    assert "44" in exit_reason(-44)


def test_the_payload_of_a_loader_error_names_the_argument():
    with pytest.raises(
        TypeError, match=r"collate_fn<lock> \(a _thread\.lock\) cannot be pickled.*worker_init_fn"
    ):
        lock = threading.Lock()
        iter(DataLoader([1], num_workers=1, collate_fn=lambda samples: lock))


def test_pickles_of_batches_use_protocol_5():
    assert by_value([1])[:2] == pickle.dumps(1, 5)[:2]
