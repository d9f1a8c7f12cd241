"""A Jupyter kernel: classes and lambdas of cells reach the workers, an interrupted cell harms nothing."""

from __future__ import annotations

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = '''
import asyncio, sys
import nbclient, nbformat
from nbformat.v4 import new_code_cell, new_notebook

cells = [
    """
import time
import numpy as np
from collections import namedtuple
from utils.data.scenario import R0
from accelgrad.utils.data import DataLoader, Dataset, get_worker_info
scale = 10
Pair = namedtuple("Pair", "x worker")
class Cell(Dataset):
    def __init__(self, transform, pause=0):
        self.transform, self.pause = transform, pause
    def __len__(self):
        return 6
    def __getitem__(self, index):
        time.sleep(self.pause)
        return Pair(self.transform(np.full(3, index)), get_worker_info().id)
condition = R0()
condition.__enter__()
""",
    """
found = []
for method in ("forkserver", "spawn", "fork"):
    data = Cell(lambda x: x * scale)
    loader = DataLoader(data, batch_size=3, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert all(type(batch) is Pair for batch in batches)
    found.append([batch.x.array[:, 0].tolist() for batch in batches])
    loader.close()
assert found == [[[0, 10, 20], [30, 40, 50]]] * 3, found
""",
    """
scale = 7          # a changed cell: new workers see it
assert next(iter(DataLoader(Cell(lambda x: x * scale), sampler=[2], num_workers=1))).x.array[0, 0] == 14
""",
    """
import os, signal, threading
loader = DataLoader(Cell(lambda x: x, 0.05), num_workers=2)
it, got, batch = iter(loader), [], None
threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT)).start()      # the stop button
try:
    while True:
        for batch in it:
            got.append(int(batch.x.array[0, 0]))
        time.sleep(0.02)
except KeyboardInterrupt:
    pass
got += [int(batch.x.array[0, 0]) for batch in it]
assert got == sorted(set(got)) and len(got) >= 5, got
""",
    """
del loader, it, batch, batches
condition.check()
print("all well")
""",
]
notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
nbclient.NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
print(notebook.cells[-1].outputs[0].text)
'''


def test_classes_and_lambdas_of_cells_work_with_every_start_method(start, tmp_path):
    script = start(NOTEBOOK, prelude="", PYTHONWARNINGS="default", IPYTHONDIR=str(tmp_path / "ipython"))
    outcome = script.end(limit=150)
    assert "all well" in outcome.output, outcome.errors
    assert outcome.left == []
