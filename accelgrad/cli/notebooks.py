"""``notebooks``: copy the notebooks of the course into a folder, or open them in Jupyter."""

from __future__ import annotations

import argparse
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import accelgrad

__all__ = ["configure", "find", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``notebooks``."""
    parser.add_argument(
        "--to", default="accelgrad-notebooks", help="the folder to copy them into (accelgrad-notebooks)"
    )
    parser.add_argument("--open", action="store_true", help="start JupyterLab there")
    parser.add_argument("--list", action="store_true", help="only print their titles")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def find() -> list[pathlib.Path]:
    """The notebooks: beside the package in a source folder, or in the installed package's data."""
    package = pathlib.Path(accelgrad.__file__).parent
    for folder in (
        package.parent / "notebooks",
        pathlib.Path(sys.prefix) / "share" / "accelgrad" / "notebooks",
    ):
        found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
        if found:
            return found
    return []


def title(path: pathlib.Path) -> str:
    """The first heading of a notebook."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if line.startswith("# "):
                return line[2:]
    return path.stem


def run(options: argparse.Namespace) -> int:
    """Copy what is not there yet (a changed copy is never overwritten), and open it if asked to."""
    files = find()
    if not files:
        print("the notebooks are not part of this installation; clone the repository to get them")
        return 1
    if options.list or options.json:
        titles = {path.name: title(path) for path in files}
        print(
            json.dumps(titles, indent=2, ensure_ascii=False) if options.json else "\n".join(titles.values())
        )
        return 0
    target = pathlib.Path(options.to)
    target.mkdir(parents=True, exist_ok=True)
    for path in [*files, *files[0].parent.glob("engine.py")]:
        copy = target / path.name
        if copy.exists():
            print(f"{copy} is there already, left as it is")
        else:
            shutil.copyfile(path, copy)
            print(copy)
    if options.open:
        if importlib.util.find_spec("jupyterlab") is None:
            print('JupyterLab is not installed: pip install "accelgrad[notebooks]"')
            return 1
        return subprocess.call([sys.executable, "-m", "jupyterlab", str(target)])
    return 0
