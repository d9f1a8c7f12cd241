"""Write down which names and keywords CuPy has, for the stand-in: run it with CuPy installed, no card needed.

python tests/standin/snapshot.py
"""

from __future__ import annotations

import inspect
import json
import pathlib
import warnings
from typing import Any

warnings.simplefilter("ignore")

TARGET = pathlib.Path(__file__).parent / "module" / "cupy" / "api.json"


def describe(function: Any) -> Any:
    """A function's keywords ("**" stands for any), "ufunc", or "attr" for what is not a function."""
    if type(function).__name__ == "ufunc":
        return "ufunc"
    if isinstance(function, type) or not callable(function):
        return "attr"
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ["**"]
    return [one.name for one in parameters] + ["**"] * any(one.kind is one.VAR_KEYWORD for one in parameters)


def public(module: Any) -> dict[str, Any]:
    return {name: describe(getattr(module, name)) for name in dir(module) if not name.startswith("_")}


def main() -> None:
    import cupy

    content = {
        "version": cupy.__version__,
        "functions": public(cupy),
        "linalg": public(cupy.linalg),
        "ndarray": [name for name in dir(cupy.ndarray) if not name.startswith("_")],
    }
    lines = [
        f" {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in content.items()
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{TARGET}: CuPy {cupy.__version__}, {len(content['functions'])} names")


if __name__ == "__main__":
    main()
