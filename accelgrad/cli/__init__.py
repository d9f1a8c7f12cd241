"""The commands: ``python -m accelgrad demo|doctor|bench|data|notebooks``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

__all__ = ["main"]

COMMANDS = {
    "demo": "train a small CNN on real handwritten digits and show what it learned",
    "doctor": "say what is installed, what is used, and what to do",
    "bench": "time training steps, next to PyTorch where it is installed",
    "data": "fetch, check and describe the data sets",
    "notebooks": "copy the notebooks into a folder, or open them",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a failure, 2 for wrong arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m accelgrad", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name in given[:1]:  # only the command that runs is imported
            importlib.import_module(f"accelgrad.cli.{name}").configure(command)
    options = parser.parse_args(given)
    try:
        return importlib.import_module(f"accelgrad.cli.{options.command}").run(options)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
