"""An interrupt at every single point of the loader's own code where Python can deliver one.

A signal handler runs at the entry of a Python function, and after a call into C has returned.  These are the
moments that ``sys.setprofile`` reports.  So a profile function that raises a signal at the n-th of them does
the same as a Ctrl-C at that moment, but n can be chosen.
"""

from __future__ import annotations

import signal
import threading

import pytest

from accelgrad.utils.data.interrupts import interrupts_held

TOOLS = """
    class Interrupt(BaseException):
        pass

    def interrupt(number, frame):
        raise Interrupt

    signal.signal(signal.SIGUSR1, interrupt)
    NAMES = "dataloader handle interrupts iterator memory nursery order payload pool staff transport".split()
    HERE = os.path.dirname(accelgrad.utils.data.__file__)
    FILES = tuple(os.path.join(HERE, name + ".py") for name in NAMES)
    assert all(map(os.path.exists, FILES)), FILES

    class At:
        # Raises the signal once, at the n-th point.
        def __init__(self, n):
            self.left = n
            self.where = None
        def __call__(self, frame, event, argument):
            if event in ("call", "c_return") and frame.f_code.co_filename.endswith(FILES):
                self.left -= 1
                if self.left == 0:
                    self.where = f"{{frame.f_code.co_qualname}}:{{frame.f_lineno}} {{event}}"
                    sys.setprofile(None)
                    signal.raise_signal(signal.SIGUSR1)

    def every(one_pass, stride, seed):
        # The passes that were interrupted, until one has fewer points than asked for.
        from accelgrad.utils.data.nursery import shared_nursery

        with R0():
            user = shared_nursery()  # kept for all passes: starting one takes longer than a pass
            user.get()
            chance, n, passes = random.Random(seed), 1, 0
            while one_pass(n):
                n += chance.randint(1, 2 * stride)
                passes += 1
            user.release()
            gc.collect()
        return passes
"""

AT_WORK = """
    def act(index):
        if index == 13 and {dies}:
            os._exit(3)
        if index == 21:
            raise ValueError("bad")

    def one_pass(n):
        loader = DataLoader(Numbers(40, act), batch_size=2, num_workers=2, prefetch_factor=3, timeout=15,
                            in_order={in_order})
        it, seen, at = iter(loader), [], At(n)
        seen.append(int(next(it).array[0, 0]))
        sys.setprofile(at)
        while True:
            try:
                batch = next(it)
            except Interrupt:
                continue
            except StopIteration:
                break
            except (RuntimeError, ValueError) as error:
                seen.append(type(error).__name__ if "timed out" not in str(error) else str(error))
                continue
            assert (batch.array == batch.array[0, 0] + np.array([[0], [1]])).all(), (n, at.where, batch)
            seen.append(int(batch.array[0, 0]))
        sys.setprofile(None)
        left = dict(it.pool.done)
        it.close()
        lost = {{12: "RuntimeError", 20: "ValueError"}} if {dies} else {{20: "ValueError"}}
        expected = [lost.get(first, first) for first in range(0, 40, 2)]
        if not {in_order}:
            seen, expected = sorted(seen, key=str), sorted(expected, key=str)
        assert seen == expected, (n, at.where, seen)
        assert not left, (n, at.where, left)
        return at.where is not None

    from accelgrad.utils.data.nursery import shared_nursery

    passes = every(one_pass, {stride}, {seed})
    print(passes)
    assert passes >= {least}, passes
"""

AT_THE_ENDS = """
    def one_pass(n):
        at = At(n)
        sys.setprofile(at)
        loader = None
        while loader is None:
            try:
                loader = DataLoader(
                    Numbers(40), batch_size=2, num_workers=2, multiprocessing_context={method!r})
            except Interrupt:
                pass
        it = None
        while it is None:
            try:
                it = iter(loader)
            except Interrupt:
                pass
        while True:
            try:
                it.close()
                loader.close()
                break
            except Interrupt:
                pass
        sys.setprofile(None)
        return at.where is not None

    warnings.simplefilter("ignore", ResourceWarning)  # of sockets that the interpreter closes for us
    passes = every(one_pass, {stride}, {seed})
    print(passes)
    assert passes >= {least}, passes
"""


def at_work(dies: bool, in_order: bool, stride: int, least: int, seed: int = 0) -> str:
    """Return the script of a pass for about every ``stride``-th point, up to the last point of a pass."""
    return (TOOLS + AT_WORK).format(dies=dies, in_order=in_order, stride=stride, least=least, seed=seed)


def at_the_ends(method: str, stride: int, least: int, seed: int = 0) -> str:
    """Return the script of a start and an end of a pass for about every ``stride``-th point of these."""
    return (TOOLS + AT_THE_ENDS).format(method=method, stride=stride, least=least, seed=seed)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("dies", [True, False])
def test_an_interrupt_anywhere_costs_no_batch_and_doubles_none(run, dies, in_order):
    run(at_work(dies, in_order, stride=10, least=40), limit=200).ok()


@pytest.mark.parametrize("method, stride", [("forkserver", 20), ("fork", 20), ("spawn", 100)])
def test_an_interrupt_while_a_pass_starts_or_ends_leaves_nothing_behind(run, method, stride):
    run(at_the_ends(method, stride, least=3), limit=200).ok()


@pytest.mark.soak
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("dies", [True, False])
def test_an_interrupt_at_every_point_costs_no_batch_and_doubles_none(run, dies, in_order):
    run(at_work(dies, in_order, stride=1, least=400), limit=900).ok()


@pytest.mark.soak
@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_an_interrupt_at_every_point_of_start_and_end_leaves_nothing_behind(run, method):
    run(at_the_ends(method, stride=1, least=200), limit=900).ok()


def test_held_interrupts_run_their_handlers_once_the_block_has_ended():
    came = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    try:
        with interrupts_held(), interrupts_held():
            signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGUSR1)
            assert came == []
        assert came == [signal.SIGUSR1, signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, as in a program in the foreground; a shell's job in the background
    ignores it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_held_interrupts_leave_every_handler_as_it_was(interruptible):
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interrupts_held():
        raise ZeroDivisionError
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


def test_in_another_thread_there_is_nothing_to_hold():
    seen = []

    def hold():
        with interrupts_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
