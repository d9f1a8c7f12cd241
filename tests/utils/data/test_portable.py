"""Workers without fork: plain processes that connect back, and polling by selectors."""

from __future__ import annotations

import socket
import sys
import time

import numpy as np
import pytest

from accelgrad.utils.data import DataLoader, portable
from accelgrad.utils.data.nursery import interpreter_arguments
from accelgrad.utils.data.worker import RUN_CALLED


@pytest.fixture(params=["poll", "selectors"])
def poller(request):
    return portable.make_poller() if request.param == "poll" else portable.Poller()


def test_both_pollers_tell_readable_from_writable(poller):
    one, two = socket.socketpair()
    with one, two:
        poller.register(one.fileno(), portable.READABLE)
        assert poller.poll(0) == []
        two.send(b"x")
        assert poller.poll(1000) == [(one.fileno(), portable.READABLE)]
        poller.register(one.fileno(), portable.READABLE | portable.WRITABLE)
        assert poller.poll(0) == [(one.fileno(), portable.READABLE | portable.WRITABLE)]
        poller.unregister(one.fileno())
        assert poller.poll(0) == []


def test_a_poller_waits_no_longer_than_told(poller):
    one, two = socket.socketpair()
    with one, two:
        poller.register(one, portable.READABLE)
        start = time.monotonic()
        assert poller.poll(30) == []
        assert time.monotonic() - start >= 0.025


def test_an_interpreter_that_ends_instead_of_calling_is_reported():
    with pytest.raises(RuntimeError, match=r"gave no sign of life \(exit code 5\)"):
        portable.call_worker([sys.executable, "-c", "raise SystemExit(5)"], {})


def test_a_caller_without_the_secret_is_sent_away():
    greeting = (
        "import socket, sys; word = sys.stdin.buffer.read(); port = int.from_bytes(word[:2], 'big')\n"
        "bad = socket.create_connection(('127.0.0.1', port)); bad.sendall(b'D' + bytes(32))\n"
        "assert bad.recv(1) == b''\n"
        "ends = [socket.create_connection(('127.0.0.1', port)) for _ in 'DL']\n"
        "ends[0].sendall(b'L' + word[2:]); ends[1].sendall(b'D' + word[2:]); ends[1].sendall(b'!')\n"
        "ends[0].recv(1)"
    )
    duplex, lifeline, process = portable.call_worker([sys.executable, "-c", greeting], {})
    with duplex, lifeline:
        assert duplex.recv(1) == b"!"
    assert process.wait(20) == 0


def test_the_greeting_is_a_program():
    compile(interpreter_arguments(portable.GREETING + RUN_CALLED)[-1], "greeting", "exec")


def test_directly_started_workers_deliver_everything_and_leave_nothing(run):
    run("""
        from accelgrad.utils.data import portable
        portable.DIRECT = True
        def act(index):
            if index == 9:
                os._exit(4)
            if index == 13:
                raise ValueError("bad")
        class Large(Numbers):
            data = np.ones((100, 1000))
            def __getitem__(self, index):
                super().__getitem__(index)
                return np.full(100_000, index, np.float64), self.data[index].sum()
        with R0():
            loader = DataLoader(Large(20, act), batch_size=4, num_workers=2)
            it, seen = iter(loader), []
            while True:
                try:
                    x, y = next(it)
                    assert x.array.shape == (4, 100_000) and (y.array == 1000).all()
                    seen.append(int(x.array[0, -1]))
                except StopIteration:
                    break
                except (RuntimeError, ValueError) as error:
                    seen.append(type(error).__name__)
                    assert "exit code 4" in str(error) or error.args == ("bad",)
            assert seen == [0, 4, "RuntimeError", "ValueError", 16], seen
            with DataLoader(Numbers(8, lambda i: time.sleep(100 * (i > 0))), num_workers=2) as busy:
                next(iter(busy))
            del it, loader, busy, x, y
    """).ok()


def test_directly_started_workers_end_with_a_killed_program(start):
    import os
    import signal

    script = start("""
        from accelgrad.utils.data import portable
        portable.DIRECT = True
        it = iter(DataLoader(Numbers(8, lambda i: time.sleep(1000 * (i > 0))), num_workers=2))
        next(it)
        workers_of(it)
        print("now", flush=True)
        time.sleep(1000)
    """)
    assert script.line() == "now"
    os.kill(script.process.pid, signal.SIGKILL)
    assert script.end().left == []


def test_a_stack_is_not_promised_where_it_cannot_be_had(monkeypatch):
    monkeypatch.setattr(portable, "DIRECT", True)
    data = [np.zeros(1)] * 3
    with DataLoader(data, num_workers=1) as loader:
        iterator = iter(loader)
        assert iterator.pool.stack_of(0) == "(not to be had on this system)"
        assert len(list(iterator)) == 3
