"""An interrupt at every single point of the loader's own code where Python can deliver one.

A signal handler runs at the entry of a Python function and after a call into C has returned.  These are the
moments that ``sys.setprofile`` reports, so a profile function that raises at the n-th of them does what a
Ctrl-C at that moment does, only that n can be chosen.
"""

from __future__ import annotations

import pytest

BODY = """
    class Interrupt(BaseException):
        pass

    HERE = os.sep + os.path.join("utils", "data") + os.sep
    FILES = tuple(HERE + name for name in ("pool.py", "iterator.py", "transport.py", "order.py", "memory.py"))

    class At:
        # Raises once, at the n-th point after the first batch.
        def __init__(self, n):
            self.left = n
            self.where = None
        def __call__(self, frame, event, argument):
            if event in ("call", "c_return") and frame.f_code.co_filename.endswith(FILES):
                self.left -= 1
                if self.left == 0:
                    self.where = f"{{frame.f_code.co_qualname}}:{{frame.f_lineno}} {{event}}"
                    sys.setprofile(None)
                    raise Interrupt

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

    with R0():
        user = shared_nursery()  # kept for all passes: starting one takes longer than a pass
        user.get()
        chance, n, passes = random.Random({seed}), 1, 0
        while one_pass(n):
            n += chance.randint(1, 2 * {stride})
            passes += 1
        user.release()
        gc.collect()
    print(n, passes)
    assert passes >= {least}, passes
"""


def body(dies: bool, in_order: bool, stride: int, least: int, seed: int = 0) -> str:
    """The script: a pass for about every ``stride``-th point, until the pass has no more of them."""
    return BODY.format(dies=dies, in_order=in_order, stride=stride, least=least, seed=seed)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("dies", [True, False])
def test_an_interrupt_anywhere_costs_no_batch_and_doubles_none(run, dies, in_order):
    run(body(dies, in_order, stride=8, least=40), limit=120).ok()


@pytest.mark.soak
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("dies", [True, False])
def test_an_interrupt_at_every_point_costs_no_batch_and_doubles_none(run, dies, in_order):
    run(body(dies, in_order, stride=1, least=400), limit=900).ok()
