"""Frames that arrive in pieces, batches packed and unpacked."""

from __future__ import annotations

import os
import pickle
import socket

import numpy as np
import pytest

import accelgrad
from accelgrad.utils.data import transport
from accelgrad.utils.data.memory import SlotWriter
from accelgrad.utils.data.transport import Channel, Decoder, Encoder


@pytest.fixture
def ends():
    one, two = socket.socketpair()
    channel = Channel(one)
    yield channel, two
    channel.close()
    two.close()


@pytest.mark.parametrize("descriptors", [True, False])
@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_frames_arrive_whole_however_they_are_cut(ends, piece, descriptors):
    channel, far = ends
    channel._passes_descriptors = descriptors
    bodies = [b"", b"a", b"bc" * 20, bytes(range(50))]
    data = b"".join(transport.frame(body) for body in bodies)
    found = []
    for start in range(0, len(data), piece):
        far.send(data[start : start + piece])
        channel.receive()
        while channel.frames:
            found.append(bytes(channel.frames.popleft()))
    assert found == bodies


def test_a_frame_larger_than_the_socket_travels_both_ways(ends):
    channel, far = ends
    large = bytes(3_000_000)
    channel.post(transport.frame(large))
    assert channel.outbox and not channel.flush()
    got = 0
    while got < len(large) + 8:
        got += len(far.recv(1 << 16))
        channel.flush()
    assert not channel.outbox
    far.setblocking(False)
    rest = memoryview(transport.frame(large))
    while not channel.frames:
        if len(rest):
            rest = rest[far.send(rest[: 1 << 16]) :]
        channel.receive()
    assert channel.frames[0] == large


def test_descriptors_are_kept_in_the_order_of_their_frames(ends):
    channel, far = ends
    files = [os.memfd_create(name) for name in ("one", "two")]
    for number, file in enumerate(files):
        transport.send_frame(far, bytes((transport.ARENA, number)), descriptors=[file])
        transport.send_frame(far, b"between")
    channel.receive(drain=True)
    assert len(channel.frames) == 4
    for got, file in zip(channel.descriptors, files, strict=True):
        assert os.path.sameopenfile(got, file)
        os.close(file)


def test_the_end_of_the_other_side_is_noticed_after_its_last_frame(ends):
    channel, far = ends
    far.send(transport.frame(b"last"))
    far.close()
    channel.receive(drain=True)
    assert channel.ended and channel.frames[0] == b"last"
    channel.post(transport.frame(b"into the void"))  # no SIGPIPE, no exception
    assert not channel.outbox


def roundtrip(batch, slots=2):
    announced = []
    writer = SlotWriter(slots, None, 0.5, announced.append, None)
    arena, _, specification, structure, parts = Encoder(writer).encode(batch)
    memory = writer.memory if arena >= 0 else np.frombuffer(b"".join(map(bytes, parts)), np.uint8).copy()
    return arena, Decoder().decode(memory if len(memory) else None, specification, structure)


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.host
def test_every_kind_of_array_comes_back_as_it_was(size):
    batch = [
        np.arange(size),
        accelgrad.from_numpy(np.arange(size, dtype=np.float32)),
        np.asfortranarray(np.arange(2.0 * size).reshape(2, size)),
        np.arange(3 * size)[::3],
        np.arange(size, dtype=">i2"),
        np.array(3.5),
        np.zeros((0, size)),
        np.array(["x", "yz"]),
        {"k": (b"bytes", "text", None, 1.5)},
    ]
    arena, found = roundtrip(batch)
    assert (arena >= 0) == (size > 1)
    for one, two in zip(batch[:-1], found[:-1], strict=True):
        assert type(one) is type(two)
        a, b = getattr(one, "array", one), getattr(two, "array", two)
        assert a.dtype == b.dtype and a.shape == b.shape and (a == b).all()
        assert b.flags.aligned
    assert found[2].flags.f_contiguous and found[-1] == batch[-1]


class Blob:
    """A type that pickles its memory by protocol 5."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Blob, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize("content", [bytearray(b"ab" * 5000), b"cd" * 5000, bytearray()])
def test_buffers_of_other_types_travel_out_of_band(content):
    arena, (blob, array) = roundtrip([Blob(content), np.arange(2000)])
    assert arena >= 0 and bytes(blob.data) == bytes(content) and (array == np.arange(2000)).all()
    assert memoryview(blob.data).readonly == isinstance(content, bytes)


def test_subclasses_of_arrays_keep_their_type():
    masked = np.ma.masked_array(np.arange(5000), np.arange(5000) % 2 == 0)
    _, (one, two) = roundtrip([masked, np.arange(4000).view(np.recarray)])
    assert (
        type(one) is np.ma.MaskedArray and (one == masked).all() and one.mask[0] and type(two) is np.recarray
    )


@pytest.mark.host
def test_a_tensor_with_a_graph_is_refused():
    x = accelgrad.from_numpy(np.ones(3)).requires_grad_() * 2
    with pytest.raises(RuntimeError, match="non-leaf tensor which requires_grad"):
        roundtrip([x])


def test_equal_batches_share_one_plan():
    decoder = Decoder()
    writer = SlotWriter(2, None, 0.5, lambda arena: None, None)
    encoder = Encoder(writer)
    for value in range(3):
        writer.begin()
        _, _, specification, structure, parts = encoder.encode([np.full(10, value)])
        memory = np.frombuffer(b"".join(map(bytes, parts)), np.uint8).copy()
        assert decoder.decode(memory, specification, structure)[0].tolist() == [value] * 10
    assert len(decoder.plans) == 1
