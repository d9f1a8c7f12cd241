"""Who may import whom: the layers of ARCHITECTURE.md, read off the syntax trees."""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "accelgrad"

LAYERS = [
    ["kernels"],
    ["arrays"],
    ["random"],
    ["core"],
    ["ops"],
    ["autograd", "amp", "linalg", "special", "serialization"],
    ["cuda", "cpu", "accelerator", "backends", "version"],
    ["nn", "optim", "utils", "datasets", "transforms"],
    ["viz", "optim.swa_utils"],
    ["mentor"],
    ["cli", "mentor.checks"],
    ["__main__", ""],
]  # fmt: skip
"""From the bottom to the top of the house: a room uses what stands on its line or before it.

The programs (the command line, the checks of exercises) are written as users write: they import accelgrad.
"""

LEVEL = {f"accelgrad.{room}".rstrip("."): level for level, rooms in enumerate(LAYERS) for room in rooms}
SIBLINGS = {f"accelgrad.{room}" for room in ("nn", "optim", "utils", "datasets", "transforms")}
"""None of these imports another."""

AT_THE_ROOT = {
    "__init__.py", "__init__.pyi", "__main__.py", "py.typed", "accelerator.py", "linalg.py", "random.py",
    "serialization.py", "special.py", "version.py",
}  # fmt: skip
"""What lies beside the rooms: the package's own face, and PyTorch's names."""

FILES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "kernels").rglob("*.py"))


def module_of(path: pathlib.Path) -> str:
    """The name under which a file is imported."""
    if PACKAGE in path.parents:
        parts = path.relative_to(ROOT).with_suffix("").parts
    else:
        parts = ("accelgrad", "kernels", *path.relative_to(ROOT / "kernels").with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in FILES}


def room_of(name: str) -> str:
    """The entry of LEVEL that a module, or a name in it, belongs to."""
    parts = name.split(".")
    return next(room for size in range(len(parts), 0, -1) if (room := ".".join(parts[:size])) in LEVEL)


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those for type checkers."""
    for child in ast.iter_child_nodes(tree):
        if not is_for_type_checkers(child):
            yield child
            yield from nodes(child)


def imports(path: pathlib.Path) -> Iterator[tuple[str, int]]:
    """Every import of accelgrad in a file, at the top or within a function: the name and the line."""
    for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "accelgrad":
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names if alias.name.split(".")[0] == "accelgrad"]
            yield from ((name, node.lineno) for name in found)


def names_in_strings(path: pathlib.Path) -> Iterator[tuple[str, int]]:
    """Every string that is the name of a module, or of something in it, as imports by name have it."""
    for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.fullmatch(r"(accelgrad(\.\w+)+)(:[\w.]+)?", node.value)
            if found and any(
                f"{found[1]}.".startswith(f"{name}.") for name in MODULES if name != "accelgrad"
            ):
                yield found[1], node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path: pathlib.Path) -> None:
    own = room_of(module_of(path))
    strings = [found for found in names_in_strings(path) if not found[0].startswith(f"{own}.")]
    for name, line in [*imports(path), *strings]:
        other = room_of(name)
        if other == "accelgrad" and own != "accelgrad":
            # `from accelgrad import nn` names a room, `import accelgrad` all of them.
            assert LEVEL[own] >= LEVEL["accelgrad.cli"], f"{path.name}:{line} imports {name}, the whole house"
            continue
        assert LEVEL[other] <= LEVEL[own], f"{path.name}:{line} names {name}, which lies above {own}"
        both = own != other and {own, other} <= SIBLINGS
        assert not both, f"{path.name}:{line}: {own} and {other} must not import each other"


def test_no_files_import_each_other_in_a_circle() -> None:
    edges: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for name, _ in imports(path):
            target = name if name in MODULES else name.rpartition(".")[0]
            if target in MODULES and target != module:
                edges.setdefault(module, set()).add(target)
    assert circles(edges) == []


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """The sets of modules each of which leads to every other; Tarjan 1972."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(one: str) -> None:
        number[one] = lowest[one] = len(number)
        stack.append(one)
        for other in edges.get(one, ()):
            if other not in number:
                visit(other)
                lowest[one] = min(lowest[one], lowest[other])
            elif other in stack:
                lowest[one] = min(lowest[one], number[other])
        if lowest[one] == number[one]:
            place = stack.index(one)
            if len(stack) - place > 1:
                found.append(set(stack[place:]))
            del stack[place:]

    for one in list(edges):
        if one not in number:
            visit(one)
    return found


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [{"a", "b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_root_holds_the_rooms_and_pytorchs_names() -> None:
    files = {file.name for file in PACKAGE.iterdir() if file.is_file()}
    assert files == AT_THE_ROOT


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
    for path in sorted((PACKAGE / "ops").rglob("*.py")):
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
