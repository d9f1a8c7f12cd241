"""Who may import whom: the layers of ARCHITECTURE.md, read off the syntax trees."""

from __future__ import annotations

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "accelgrad"

LAYERS = {
    "accelgrad.kernels": 0,
    "accelgrad.arrays.dtypes": 0,
    "accelgrad.arrays.backend": 1,
    "accelgrad.random": 1,
    "accelgrad.arrays.gpu": 1,
    "accelgrad.arrays.precision": 1,
    "accelgrad.core.graph": 1,
    "accelgrad.core.conversions": 2,
    "accelgrad.arrays.dlpack": 2,
    "accelgrad.core.printing": 2,
    "accelgrad.core.size": 2,
    "accelgrad.core.tensor": 2,
    "accelgrad.core.promotion": 3,
    "accelgrad.core.reduced": 3,
    "accelgrad.core.primitive": 3,
    "accelgrad.core.inplace": 3,
    "accelgrad.core.foreach": 3,
    "accelgrad.ops": 4,
    "accelgrad.linalg": 5,
    "accelgrad.special": 5,
    "accelgrad.autograd": 5,
    "accelgrad.cuda": 5,
    "accelgrad.accelerator": 5,
    "accelgrad.backends": 5,
    "accelgrad.version": 5,
    "accelgrad.amp": 5,
    "accelgrad.cpu": 5,
    "accelgrad.serialization": 5,
    "accelgrad.nn": 6,
    "accelgrad.optim": 6,
    "accelgrad.optim.swa_utils": 7,
    "accelgrad.utils": 6,
    "accelgrad.datasets": 6,
    "accelgrad.transforms": 6,
    "accelgrad.viz": 7,
    "accelgrad.mentor.explanation": 7,
    "accelgrad.mentor.hazards": 7,
    "accelgrad.mentor.coaching": 7,
    "accelgrad.mentor.checks": 7,
    "accelgrad.cli": 8,
    "accelgrad.__main__": 9,
    "accelgrad": 9,
}
SIBLINGS = {
    "accelgrad.nn",
    "accelgrad.optim",
    "accelgrad.utils",
    "accelgrad.datasets",
    "accelgrad.transforms",
}
FILES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "kernels").rglob("*.py"))


def layer_name(module: str) -> str:
    """The entry of LAYERS that a module belongs to."""
    parts = module.split(".")
    for size in range(len(parts), 0, -1):
        if ".".join(parts[:size]) in LAYERS:
            return ".".join(parts[:size])
    return parts[0]


def module_of(path: pathlib.Path) -> str:
    base = ROOT if PACKAGE in path.parents else ROOT / "accelgrad-kernels"
    if base == ROOT:
        parts = path.relative_to(ROOT).with_suffix("").parts
    else:
        parts = ("accelgrad", "kernels", *path.relative_to(ROOT / "kernels").with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def imports(path: pathlib.Path) -> list[tuple[str, int, bool]]:
    """(module, line, inside a function) of every import of accelgrad, but for those for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []

    def visit(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "accelgrad":
                names = [f"{child.module}.{alias.name}" for alias in child.names]
                found.extend((name, child.lineno, inside) for name in names)
            elif isinstance(child, ast.Import):
                found.extend(
                    (a.name, child.lineno, inside) for a in child.names if a.name.split(".")[0] == "accelgrad"
                )
            visit(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(tree, False)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path: pathlib.Path) -> None:
    own = layer_name(module_of(path))
    for name, line, inside in imports(path):
        other = layer_name(name)
        if other == own or other == "accelgrad":
            continue
        if inside and LAYERS[own] < LAYERS[other]:
            continue  # a name looked up when it is used: the cut of the cycle Tensor <-> operations
        assert LAYERS[other] <= LAYERS[own], f"{path.name}:{line} imports {name}, which lies above {own}"
        both = {own, other} <= SIBLINGS
        assert not both, f"{path.name}:{line}: {own} and {other} must not import each other"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_holds_and_stays_readable(path: pathlib.Path) -> None:
    text = path.read_text(encoding="utf-8")
    if not text.strip():
        pytest.fail(f"{path} is empty; say in one sentence what it holds")
    assert ast.get_docstring(ast.parse(text)), f"{path} opens with no sentence that says what it holds"
    assert text.count("\n") <= 620, f"{path} has {text.count(chr(10))} lines: redraw it"


def test_no_file_refers_to_a_folder_of_one_machine() -> None:
    for path in [*FILES, *ROOT.glob("*.md"), *ROOT.glob("*.cfg"), *ROOT.glob("*.toml")]:
        text = path.read_text(encoding="utf-8")
        for word in ("/work/", "/root/", "../shared"):
            assert word not in text, f"{path} names {word}"


def test_formulas_name_no_array_module() -> None:
    """No ``np.<function>`` in forward or backward: they speak to ctx.xp.  Types and constants are allowed."""
    allowed = {
        "np.bool", "np.dtype", "np.float16", "np.float32", "np.float64", "np.int64", "np.int32", "np.uint8",
        "np.inf", "np.nan", "np.ndarray", "np.pi", "np.newaxis", "np.integer", "np.e",
    }  # fmt: skip
    wrong = []
    for path in sorted((PACKAGE / "ops").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name in ("forward", "backward"):
                for part in ast.walk(node):
                    if (
                        isinstance(part, ast.Attribute)
                        and isinstance(part.value, ast.Name)
                        and part.value.id == "np"
                    ):
                        name = f"np.{part.attr}"
                        if name not in allowed:
                            wrong.append(f"{path.name}:{part.lineno} {name}")
    assert not wrong
