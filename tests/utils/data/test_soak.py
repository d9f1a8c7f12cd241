"""Random faults, seeded, against all promises at once: kills, stops, interrupts, exceptions, collections."""

from __future__ import annotations

import ast
import textwrap

import pytest

BODY = """
    seconds, seed = {seconds}, {seed}
    chance = random.Random(seed)
    end = time.monotonic() + seconds

    def list_of_tensors(samples):
        return [accelgrad.from_numpy(sample) for sample in samples]

    class Interrupt(BaseException):  # as KeyboardInterrupt is
        pass

    def interrupt(number, frame):
        raise Interrupt

    signal.signal(signal.SIGALRM, interrupt)

    class Trouble(Dataset):
        def __len__(self):
            return 60
        def __getitem__(self, index):
            what = random.random()
            if what < 0.002:
                os.kill(os.getpid(), signal.SIGKILL)
            elif what < 0.004:
                sys.exit(5)
            elif what < 0.010:
                raise ValueError("trouble", index)
            elif what < 0.02:
                time.sleep(0.01)
            return np.full(random.choice([3, 3000]), index, np.int64)

    events = dict.fromkeys(["interrupt", "kill", "stop", "error", "lost", "break", "collect", "batch"], 0)

    def check(batch, expected):
        rows = [row.array for row in batch]
        assert [int(row[0]) for row in rows] == expected, (rows, expected)
        assert all((row == row[0]).all() for row in rows), (rows, expected)

    def one_pass(loader):
        kept, it, position = [], None, 0
        while it is None:
            try:
                if chance.random() < 0.2:
                    signal.setitimer(signal.ITIMER_REAL, chance.random() * 0.05)
                it = iter(loader)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                events["interrupt"] += 1
        slack = 0               # batches that an interrupt may have taken between next() and us
        while True:
            batch = None
            try:
                if chance.random() < 0.15:
                    signal.setitimer(signal.ITIMER_REAL, chance.random() * 0.004)
                batch = next(it)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except StopIteration:
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert position + slack >= 15, (position, slack)    # never a short epoch
                break
            except Interrupt:
                events["interrupt"] += 1
                if batch is None:
                    slack += 1
            except ValueError as error:
                events["error"] += 1
                position = max(position, int(error.args[1]) // 4 + 1)
            except RuntimeError as error:
                assert "DataLoader worker" in str(error), error
                events["lost"] += 1
                slack += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            if batch is not None:
                events["batch"] += 1
                first = int(batch[0].array[0])
                assert first % 4 == 0 and position <= first // 4 <= position + slack, (first, position, slack)
                slack -= first // 4 - position
                position = first // 4 + 1
                check(batch, [first + i for i in range(4)])
                kept.append((first, batch))
                if chance.random() < 0.5:
                    kept.pop(chance.randrange(len(kept)))
            what = chance.random()
            pids = [h.pid for h in it.pool.handles if h is not None and h.pid]
            if what < 0.02 and pids:
                events["kill"] += 1
                try:
                    os.kill(chance.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            elif what < 0.04 and pids:
                events["stop"] += 1
                pid = chance.choice(pids)
                try:
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(0.01)
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:          # it was on its way out
                    pass
            elif what < 0.05:
                events["collect"] += 1
                gc.collect()
            elif what < 0.06:
                events["break"] += 1
                break
        for first, batch in kept:                   # nothing that we held was overwritten
            check(batch, [first + i for i in range(4)])

    passes = 0
    with R0():
        while time.monotonic() < end or sum(events.values()) - events['batch'] < {least}:
            loader = DataLoader(
                Trouble(), batch_size=4, num_workers=chance.choice([1, 2, 3]), collate_fn=list_of_tensors,
                persistent_workers=chance.random() < 0.5, prefetch_factor=chance.choice([1, 2, 4]),
            )
            for _ in range(chance.choice([1, 3])):
                one_pass(loader)
                passes += 1
            loader.close()
        del loader
        gc.collect()
    print(passes, events)
"""


def body(seconds: int, seed: int, least: int = 0) -> str:
    """Return the script, which runs at least so many seconds and meets at least so many faults."""
    return textwrap.dedent(BODY).format(seconds=seconds, seed=seed, least=least)


def test_a_few_seconds_of_random_trouble(run):
    output = run(body(4, 1), limit=90).ok()
    assert "'batch'" in output


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3])
def test_a_minute_of_random_trouble(run, seed):
    output = run(body(60, seed, 200), limit=280).ok()
    events = ast.literal_eval(output.partition(" ")[2])
    trouble = sum(count for name, count in events.items() if name != "batch")
    assert trouble >= 200, events
