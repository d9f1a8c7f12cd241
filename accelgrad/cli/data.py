"""``data``: fetch, check and describe the data sets."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["configure", "run"]

SETS = {
    "digits": "1,797 handwritten digits, 8 x 8, in the package",
    "glyphs": "letters A to J drawn from matplotlib's fonts, 28 x 28, made on this machine",
    "text": "English prose of Python's manual, from the standard library",
    "notmnist": "18,724 letters A to J in many fonts, 28 x 28, downloaded (8.5 MB)",
    "notmnist-large": "529,114 letters A to J, downloaded (247 MB)",
    "mnist": "70,000 handwritten digits, 28 x 28, downloaded (11 MB)",
    "fashion-mnist": "70,000 pictures of clothes, 28 x 28, downloaded (30 MB)",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``data``."""
    parser.add_argument(
        "name", nargs="?", choices=SETS, help="the data set to fetch; without it, a list of them"
    )
    parser.add_argument(
        "--root", help="the folder to keep it in (ACCELGRAD_HOME, or the user's cache folder)"
    )
    parser.add_argument("--json", action="store_true", help="print the description as JSON")


def run(options: argparse.Namespace) -> int:
    """Fetch the set if it is not there, and print what it holds."""
    if options.name is None:
        if options.json:
            print(json.dumps(SETS, indent=2))
        else:
            for name, what in SETS.items():
                print(f"{name:15} {what}")
        return 0
    try:
        dataset = _open(options.name, options.root)
    except (OSError, RuntimeError) as error:
        print(f"{options.name}: {error}")
        return 1
    facts: dict[str, Any] = {"name": options.name, "what": SETS[options.name], "samples": len(dataset)}
    sample = dataset[0]
    first = sample[0] if isinstance(sample, tuple) else sample
    facts["first sample"] = (
        f"{type(first).__name__} {list(first.shape)}" if hasattr(first, "shape") else repr(first)[:70]
    )
    classes = getattr(dataset, "classes", None)
    if classes:
        facts["classes"] = list(classes)
    print(
        json.dumps(facts, indent=2)
        if options.json
        else "\n".join(f"{key}: {value}" for key, value in facts.items())
    )
    return 0


def _open(name: str, root: str | None) -> Any:
    from accelgrad import datasets

    folder: dict[str, Any] = {} if root is None else {"root": root}
    if name == "digits":
        return datasets.Digits()
    if name == "glyphs":
        return datasets.Glyphs(**folder)
    if name == "text":
        return datasets.PythonManual()
    if name.startswith("notmnist"):
        return datasets.NotMNIST(size="large" if name.endswith("large") else "small", download=True, **folder)
    return {"mnist": datasets.MNIST, "fashion-mnist": datasets.FashionMNIST}[name](download=True, **folder)
