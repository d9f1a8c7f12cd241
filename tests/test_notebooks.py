"""Every notebook runs from top to bottom: no network, no warning, figures drawn, exercises checked, and a
coach at every cell who names the mistakes that are planted there (tags ``coach:...``) and no others."""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
SECONDS = 300  # a hard limit against hanging; the aim is 60 s on two quiet cores
PATIENCE = {"cupy-on-host": 4}  # its products are plain loops
FIGURES = {
    "00": 3,
    "01": 3,
    "02": 2,
    "03": 2,
    "04": 2,
    "05": 2,
    "06": 1,
    "07": 2,
    "08": 2,
    "09": 1,
    "10": 3,
    "11": 2,
}

GUARD = """
import socket as _socket, warnings as _warnings
def _blocked(self, address, *rest):
    if self.family in (_socket.AF_INET, _socket.AF_INET6):
        raise OSError(f"a notebook must not use the network, but connects to {address}")
    return _connect(self, address, *rest)
_connect = _socket.socket.connect
_socket.socket.connect = _blocked
_warnings.simplefilter("error")
_tools = "(IPython|ipykernel|jupyter|zmq|traitlets|matplotlib_inline|debugpy).*"
_warnings.filterwarnings("ignore", module=_tools)
get_ipython().run_line_magic("matplotlib", "inline")

import accelgrad as _accelgrad
_advice = {}
def _watch(info):
    global _coach
    _coach = _accelgrad.coach(quiet=True)
    _coach.__enter__()
def _conclude(result):
    _coach.__exit__(None, None, None)
    _advice[result.execution_count] = _coach.codes
_watch(None)
get_ipython().events.register("pre_run_cell", _watch)
get_ipython().events.register("post_run_cell", _conclude)
"""
REPORT = "import json as _json; print(_json.dumps(_advice))"


# Runs before everything else in the notebook: what answers to ACCELGRAD_DEVICE=gpu where there is no card.
STANDS_IN = {
    "standin": "import sys as _sys; _sys.path.insert(0, {tests!r} + '/standin/module')",
    "cupy-on-host": "import sys as _sys; _sys.path.insert(0, {tests!r} + '/gpu/cupy_on_host')\n"
    "import host_cuda as _host_cuda; _host_cuda.install()",
}


def read(path: pathlib.Path):
    return nbformat.read(path, as_version=4)


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def text_of(cell) -> str:
    """All text that a code cell printed or showed."""
    parts = []
    for output in cell.get("outputs", []):
        parts.append(output.get("text", ""))
        parts.append(output.get("data", {}).get("text/plain", ""))
    return "\n".join(part if isinstance(part, str) else "".join(part) for part in parts)


def test_all_twelve_are_there():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(12)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_clean_and_teaches(path):
    notebook = read(path)
    nbformat.validate(notebook)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, "stored without outputs"
    headings = re.findall(r"^##? .*", prose, re.M)
    assert headings and all(re.search("[가-힣]", heading) for heading in headings), (
        "a Korean term beside each heading"
    )
    assert "redict" in prose, "something to predict before running"
    assert prose.count("<details>") >= 5, "five questions with folded answers"
    assert any("exercise" in tags(cell) for cell in notebook.cells), "an exercise"
    assert any("solution" in tags(cell) for cell in notebook.cells), "a solution"


@pytest.mark.slow
@pytest.mark.timeout(4 * SECONDS + 60)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_offline_draws_and_trains_as_the_coach_would(path, tmp_path, device, request):
    notebook = read(path)
    where = request.config.getoption("--device")
    stands_in, seconds = STANDS_IN.get(where, ""), SECONDS * PATIENCE.get(where, 1)
    guard = stands_in.format(tests=str(pathlib.Path(__file__).parent)) + GUARD
    notebook.cells.insert(0, nbformat.v4.new_code_cell(guard))
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    client = nbclient.NotebookClient(
        notebook, timeout=seconds, resources={"metadata": {"path": str(tmp_path)}}, allow_errors=False
    )
    client.create_kernel_manager()
    # the environment of the test, whatever kernels the machine has registered
    client.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    if device != "cpu":
        environment["ACCELGRAD_DEVICE"] = device
    client.execute(env=environment)
    advice = json.loads(text_of(notebook.cells.pop()))
    figures = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert "Warning:" not in (output.get("text", "") if output.get("name") == "stderr" else "")
            data = output.get("data", {})
            shown = "image/png" in data or "image/svg+xml" in data or "<svg" in data.get("text/html", "")
            figures += bool(shown)
        if "solution" in tags(cell):
            assert "✓" in text_of(cell), f"the solution is not accepted:\n{cell.source}\n{text_of(cell)}"
        if "exercise" in tags(cell):
            assert "✓" not in text_of(cell), f"the empty exercise is accepted:\n{cell.source}"
        planted = [tag.removeprefix("coach:") for tag in tags(cell) if tag.startswith("coach:")]
        found = advice.get(str(cell.get("execution_count")), [])
        assert sorted(found) == sorted(planted), f"what the coach says to this cell:\n{cell.source}"
    assert figures >= FIGURES[path.name[:2]], f"{figures} figures"
