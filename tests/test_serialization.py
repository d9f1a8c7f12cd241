"""Checkpoints: what goes in comes out, nothing is executed, nothing is destroyed."""

from __future__ import annotations

import enum
import io
import json
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import accelgrad
from accelgrad import nn, optim, serialization
from accelgrad.serialization import load, save


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, accelgrad.Tensor):
        assert one.dtype is other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other or one != one


CONTENTS = [
    {"weight": accelgrad.tensor([[1.5, 2.0]]), "epoch": 3, "name": "a", "none": None, "flag": True},
    [accelgrad.tensor(3), accelgrad.tensor([], dtype=accelgrad.float64), (1, 2.5, "x")],
    OrderedDict([("b", 1), ("a", 2)]),
    {1: accelgrad.tensor([True, False]), ("tuple", 2): {"deep": [{"er": accelgrad.zeros(2, 0, 3)}]}},
    float("inf"),
    {"inf": float("-inf"), "array": np.arange(6, dtype=np.int16).reshape(2, 3).T, "scalar": np.float32(2.5)},
    accelgrad.tensor([1.0, 2.0], dtype=accelgrad.float16),
    accelgrad.float64,
    accelgrad.Size((2, 3)),
    b"bytes",
    {3, 4},
    10**30,
]


@pytest.mark.parametrize("content", CONTENTS, ids=range(len(CONTENTS)))
def test_what_is_saved_is_loaded(content, tmp_path: Path):
    save(content, tmp_path / "file.ag")
    same(load(tmp_path / "file.ag"), content)


def test_an_open_file_is_written_and_read():
    file = io.BytesIO()
    save({"x": accelgrad.tensor([1.0])}, file)
    file.seek(0)
    same(load(file, weights_only=True), {"x": accelgrad.tensor([1.0])})


def test_a_tensor_that_needs_a_gradient_still_does_after_loading(tmp_path: Path):
    save(nn.Parameter(accelgrad.tensor([1.0])), tmp_path / "file")
    assert load(tmp_path / "file").requires_grad


def test_a_tensor_that_occurs_twice_is_stored_once_and_shared_again(tmp_path: Path):
    x = accelgrad.zeros(1000)
    save([x, x], tmp_path / "file")
    first, second = load(tmp_path / "file")
    assert first is second
    assert (tmp_path / "file").stat().st_size < 2 * 4000


def test_a_view_that_is_not_contiguous_keeps_its_values(tmp_path: Path):
    x = accelgrad.arange(6).reshape(2, 3).T
    for ending in (".ag", ".safetensors"):
        save({"x": x}, tmp_path / f"file{ending}")
        same(load(tmp_path / f"file{ending}")["x"], x)


def test_training_continues_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path):
    def steps(model, optimizer, schedule, count):
        for _ in range(count):
            optimizer.zero_grad()
            (model(accelgrad.ones(2, 3)) ** 2).sum().backward()
            optimizer.step()
            schedule.step()

    def fresh():
        model = nn.Linear(3, 2)
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        return model, optimizer, optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    one = fresh()
    steps(*one, 3)
    save(
        dict(zip(("model", "optimizer", "schedule"), (part.state_dict() for part in one), strict=True)),
        tmp_path / "c",
    )
    steps(*one, 3)
    other = fresh()
    for part, state in zip(other, load(tmp_path / "c").values(), strict=True):
        part.load_state_dict(state)
    steps(*other, 3)
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_safetensors_holds_a_flat_dict_of_tensors(tmp_path: Path):
    pytest.importorskip("safetensors")
    state = nn.Linear(3, 2).state_dict()
    save(state, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    same({key: loaded[key] for key in state}, dict(state))
    with pytest.raises(TypeError, match="'epoch' is a int"):
        save({"epoch": 3}, tmp_path / "model.safetensors")
    with pytest.raises(TypeError, match="flat dict"):
        save([1], tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    same({key: loaded[key] for key in state}, dict(state))


def test_what_would_need_code_is_refused_with_its_place(tmp_path: Path):
    with pytest.raises(TypeError, match=r"nn.*Linear at \['model'\].*save its state_dict\(\)"):
        save({"model": nn.Linear(2, 2)}, tmp_path / "file")
    with pytest.raises(TypeError, match=r"function at \[1\]"):
        save([1, lambda: 0], tmp_path / "file")
    with pytest.raises(TypeError, match="Python objects"):
        save(np.array([object()]), tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch):
    save({"epoch": 1}, tmp_path / "file")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OSError, match="disk full"):
        save({"epoch": 2, "x": accelgrad.ones(2)}, tmp_path / "file")
    assert load(tmp_path / "file") == {"epoch": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of another kind")
def test_a_saved_file_has_the_usual_permissions(tmp_path: Path):
    save(1, tmp_path / "file")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_damaged_file_is_named(tmp_path: Path):
    path = tmp_path / "broken.ag"
    save({"x": accelgrad.arange(1000)}, path)
    content = path.read_bytes()
    for damaged in (
        content[: len(content) // 2],
        content.replace(b"\x05\x00\x00\x00", b"\x06\x00\x00\x00"),
        b"",
        b"text",
    ):
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match=r"broken\.ag"):
            load(path)


def archive_of(structure, **entries):
    """The bytes of a zip file with a structure.json, if any, and other entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if structure is not None:
            archive.writestr(serialization.STRUCTURE, json.dumps(structure))
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def pickle_of(*opcodes):
    return b"\x80\x02" + b"".join(opcodes) + b"."


OURS = {"format": serialization.FORMAT, "version": serialization.VERSION}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "odd is empty"),
        (b"plain text, long enough", "is damaged or not a checkpoint: it begins with b'plain te'"),
        (archive_of(None, readme="text"), "odd is a zip file, but not a checkpoint"),
        (archive_of({"format": "another"}), "odd is not an accelgrad checkpoint"),
        (archive_of({**OURS, "content": {"kind": "quaternion"}}), "holds a 'quaternion', which this version"),
        (archive_of({**OURS, "content": {"kind": "tensor", "array": 0}}), "is damaged or not a checkpoint"),
        (archive_of(None, **{"data.pkl": pickle_of(b"K\x01Q")}), "odd: unknown reference 1"),
        (
            archive_of(None, **{"data.pkl": pickle.dumps(b"\x80", protocol=2).replace(b"latin1", b"cp1252")}),
            "unexpected encoding 'cp1252'",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused_with_the_reason(content, message, tmp_path: Path):
    (tmp_path / "odd").write_bytes(content)
    with pytest.raises(RuntimeError, match=message):
        load(tmp_path / "odd")


def test_a_wrong_checksum_names_the_entry(tmp_path: Path):
    path = tmp_path / "file"
    save({"x": accelgrad.arange(1000)}, path)
    content = path.read_bytes()
    number = np.int64(777).tobytes()
    assert content.count(number) == 1
    path.write_bytes(content.replace(number, np.int64(778).tobytes()))
    with pytest.raises(RuntimeError, match=r"file is damaged: the checksum of 0\.npy is wrong"):
        load(path)


def test_a_safetensors_file_of_a_type_without_counterpart_is_refused(tmp_path: Path):
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "file.safetensors"
    safetensors.save_file({"x": np.ones(2, dtype=np.uint32)}, path)
    with pytest.raises(RuntimeError, match=r"'x' in .* has the type U32, which tensors do not have"):
        load(path)


def test_without_the_package_the_safetensors_format_says_how_to_get_it(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(RuntimeError, match=r"needs the package safetensors: pip install 'accelgrad\[io\]'"):
        save({"x": accelgrad.ones(2)}, tmp_path / "file.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_other_values_keep_their_kind_or_become_plain(tmp_path: Path):
    class Level(enum.IntEnum):
        HIGH = 3

    content = [Level.HIGH, 1 + 2j, accelgrad.device("cpu"), frozenset({1}), float("nan")]
    save(content, tmp_path / "file")
    level, number, device, members, nan = load(tmp_path / "file")
    assert type(level) is int and level == 3 and number == 1 + 2j and device == accelgrad.device("cpu")
    assert members == frozenset({1}) and nan != nan


def test_a_damaged_safetensors_file_is_named(tmp_path: Path):
    pytest.importorskip("safetensors")
    path = tmp_path / "broken.safetensors"
    save({"x": accelgrad.arange(1000)}, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RuntimeError, match=r"broken\.safetensors is damaged"):
        load(path)


def test_a_missing_file_is_the_usual_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")


class Evil:
    def __reduce__(self):
        return os.system, ("echo executed > /dev/null",)


def test_a_pickle_is_refused(tmp_path: Path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RuntimeError, match="could run code"):
        load(path)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pytorch_file_that_asks_for_code_is_refused_before_it_runs(
    tmp_path: Path, protocol: int, monkeypatch
):
    ran = []
    path = tmp_path / "evil.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Evil(), protocol=protocol))
    monkeypatch.setattr(os, "system", lambda command: ran.append(command))
    with pytest.raises(RuntimeError, match=r"evil\.pt: the file asks for .*\.system, which is code"):
        load(path)
    assert ran == []


def test_a_pytorch_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "file.pt"
    torch.save(torch.arange(3.0), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if name.endswith("data.pkl"):
                assert content.count(b"K\x03\x85") == 1  # the shape (3,)
                content = content.replace(b"K\x03\x85", b"K\x7f\x85")
            archive.writestr(name, content)
    with pytest.raises(RuntimeError, match="beyond its storage"):
        load(path)


def test_pytorchs_files_are_read_without_pytorch(tmp_path: Path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    kinds = {
        str(kind): torch.arange(4).to(kind)
        for kind in (
            torch.float64,
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
            torch.bool,
        )
    }
    base = torch.arange(12.0)
    content = {
        "model": model.state_dict(),
        "kinds": kinds,
        "view": base.view(3, 4).T[1:],
        "epoch": 7,
        "lr": 0.5,
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "list": [1, (2.5, None), "text"],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.0),
        "size": torch.Size([2, 3]),
    }
    torch.save(content, tmp_path / "file.pt")
    got = load(tmp_path / "file.pt")
    assert type(got["model"]) is OrderedDict and list(got["model"]) == list(content["model"])
    for name, expected in content["model"].items():
        np.testing.assert_array_equal(got["model"][name].numpy(), expected.numpy())
    for name, expected in kinds.items():
        assert got["kinds"][name].dtype.name == name.removeprefix("torch.")
        np.testing.assert_array_equal(got["kinds"][name].double().numpy(), expected.to(torch.float64).numpy())
    np.testing.assert_array_equal(got["view"].numpy(), content["view"].numpy())
    assert (got["epoch"], got["lr"], got["list"]) == (7, 0.5, [1, (2.5, None), "text"])
    assert got["parameter"].requires_grad
    assert got["empty"].shape == (0, 3) and got["scalar"].item() == 2.0 and got["size"] == (2, 3)
    ours = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    ours.load_state_dict(got["model"])


def test_pytorchs_optimizer_state_continues_here(tmp_path: Path):
    torch = pytest.importorskip("torch")
    start = np.array([1.0, -2.0, 3.0])
    theirs, ours = torch.nn.Parameter(torch.tensor(start)), nn.Parameter(accelgrad.tensor(start))
    their_optimizer = torch.optim.Adam([theirs], lr=0.1)
    for _ in range(3):
        theirs.grad = torch.cos(theirs.detach())
        their_optimizer.step()
    torch.save({"x": theirs.detach(), "optimizer": their_optimizer.state_dict()}, tmp_path / "c.pt")
    checkpoint = load(tmp_path / "c.pt")
    optimizer = optim.Adam([ours], lr=0.9)
    optimizer.load_state_dict(checkpoint["optimizer"])
    ours.data = checkpoint["x"].to(ours.device)
    for _ in range(3):
        theirs.grad = torch.cos(theirs.detach())
        their_optimizer.step()
        ours.grad = accelgrad.cos(ours.detach())
        optimizer.step()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)


def test_map_location_moves_or_decides(tmp_path: Path):
    save({"x": accelgrad.tensor([1.0])}, tmp_path / "file")
    assert load(tmp_path / "file", map_location="cpu")["x"].device.type == "cpu"
    seen = []

    def decide(tensor, location):
        seen.append(location)
        return tensor * 2

    assert load(tmp_path / "file", map_location=decide)["x"].item() == 2.0
    assert seen == [str(accelgrad.ones(1).device)]
    assert load(tmp_path / "file", map_location={"cuda:0": "cpu"})["x"].item() == 1.0


def test_a_newer_format_says_so(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(serialization, "VERSION", 99)
    save(1, tmp_path / "file")
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="newer accelgrad"):
        load(tmp_path / "file")


def test_a_plain_npz_file_is_left_to_numpy(tmp_path: Path):
    np.savez(tmp_path / "file.npz", a=np.arange(3))
    with pytest.raises(RuntimeError, match=r"numpy\.load reads it"):
        load(tmp_path / "file.npz")


def test_tensors_that_a_mapping_makes_on_demand_are_all_stored():
    from collections.abc import Mapping

    class Lazy(Mapping):
        def __getitem__(self, key):
            return accelgrad.full((2,), float(key))

        def __iter__(self):
            return iter("01234")

        def __len__(self):
            return 5

    file = io.BytesIO()
    accelgrad.save(Lazy(), file)
    file.seek(0)
    assert [one.tolist()[0] for one in accelgrad.load(file).values()] == [0.0, 1.0, 2.0, 3.0, 4.0]
