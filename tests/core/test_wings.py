"""The wings of ``accelgrad/ops``, read off the syntax trees: each uses only what stands before it.

A use is an import, and also a method, a property or an operator of Tensor that an operation hangs there:
``x.sum()`` uses the reductions, ``x @ y`` the products of matrices, ``x[0]`` the indexing.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pathlib
from collections.abc import Iterator

import pytest

import accelgrad
from accelgrad import Tensor

OPS = pathlib.Path(accelgrad.__file__).parent / "ops"
WINGS = ("registry", "creation", "pointwise", "shapes", "reductions", "linalg", "layers", "losses")
"""Each uses only those before it, and itself."""

FILES = sorted(path for wing in WINGS for path in (OPS / wing).glob("*.py"))

MADE_OF_OPERATIONS = "registry/reading.py"
"""The array module over Tensors: its names are data, and every one of them is an operation."""


def name_of(path: pathlib.Path) -> str:
    """The module's name: ``accelgrad.ops.shapes.gather``."""
    parts = path.relative_to(OPS.parent.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def wing_of(module: str) -> str | None:
    """The wing in which a module of ``accelgrad.ops`` lies; None for all others."""
    parts = module.split(".")
    return parts[2] if parts[:2] == ["accelgrad", "ops"] and len(parts) > 2 else None


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """The imported modules of ``accelgrad``, each with its statement; not those for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("accelgrad"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else str(node.module)), node
        elif isinstance(node, ast.Import):
            yield from ((one.name, node) for one in node.names if one.name.startswith("accelgrad"))
        else:
            yield from imported(node)


MODULES = {name_of(path) for path in OPS.rglob("*.py")}
BY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(OPS)))


@BY_FILE
def test_a_wing_imports_only_wings_before_it(path: pathlib.Path) -> None:
    own = WINGS.index(path.parent.name)
    for module, node in imported(tree_of(path)):
        other = wing_of(module)
        if other is not None:
            assert WINGS.index(other) <= own, f"line {node.lineno}: {module} stands behind {path.parent.name}"


@BY_FILE
def test_no_function_imports_our_own_files(path: pathlib.Path) -> None:
    within = [
        f"line {node.lineno}: {module}"
        for function in ast.walk(tree_of(path))
        if isinstance(function, ast.FunctionDef)
        for module, node in imported(function)
    ]
    assert not within


def test_no_circle_of_files() -> None:
    behind = {
        name_of(path): sorted({module for module, _ in imported(tree_of(path)) if wing_of(module)})
        for path in OPS.rglob("*.py")
        if path.name != "__init__.py" or path.parent.name == "registry"
    }
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in done:
            for other in behind.get(module, ()):
                visit(other, (*way, module))
            done.add(module)

    for module in behind:
        visit(module, ())


@BY_FILE
def test_operations_are_called_by_name_not_by_string(path: pathlib.Path) -> None:
    if path.parent.name == "registry":
        return
    by_string = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        if isinstance(node.value, ast.Name) and node.value.id == "OPS"
    ]
    assert not by_string


# --- methods, properties and operators of Tensor


@functools.cache
def home(name: str) -> str | None:
    """The wing that hangs this method, property or operator on Tensor; None where it is the class's own."""
    found = inspect.getattr_static(Tensor, name, None)
    if isinstance(found, property):
        found = found.fget
    while True:
        inner = getattr(found, "__wrapped__", None) or getattr(found, "__wrapped_operation__", None)
        if inner is None:
            break
        found = inner
    if wing_of(getattr(found, "__module__", "") or "") == "registry":  # an operator of a primitive
        behind = inspect.getclosurevars(found).nonlocals
        primitive = behind.get("primitive") or behind["apply"].__self__
        return wing_of(primitive.__module__)
    return wing_of(getattr(found, "__module__", "") or "")


OPERATORS = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv", ast.FloorDiv: "floordiv",
    ast.Mod: "mod", ast.Pow: "pow", ast.MatMult: "matmul", ast.LShift: "lshift", ast.RShift: "rshift",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.USub: "neg", ast.UAdd: "pos",
    ast.Invert: "invert", ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt",
    ast.GtE: "ge",
}  # fmt: skip

MODULE_NAMES = ("xp", "raw", "np", "math", "backend", "dtypes", "random")
PLAIN = {"len", "int", "float", "bool", "str", "tuple", "list", "range", "type"}
SEQUENCES = {"zip", "reversed", "enumerate", "tuple", "list", "sorted"}
Kinds = dict[str, str | None]


def kind_said(annotation: ast.expr | None) -> str | None:
    """What an annotation says: "tensor", "either" a tensor or a number, "tensors" for a sequence of them,
    "array", "plain", or None for Any."""
    text = ast.unparse(annotation) if annotation else "Any"
    if "Tensor" in text and not text.startswith(("Callable", "dict", "type")):
        if text.startswith(("Sequence", "list", "tuple", "Iterable", "Iterator")):
            return "tensors"
        return "either" if any(one in text for one in ("Number", "int", "float", "Any")) else "tensor"
    return "array" if "ndarray" in text else None if "Any" in text else "plain"


class Uses(ast.NodeVisitor):
    """The uses that one function makes of Tensor.

    It follows the statements and keeps in ``kinds`` what each name holds, as far as can be told: a "tensor",
    "either" a tensor or a number, an "array", a "module", or something "plain" (numbers, tuples, texts).
    A method counts unless it is known to be of no Tensor; an operator counts where one operand is known to be
    a Tensor.
    """

    def __init__(self, function: ast.FunctionDef, globals: Kinds) -> None:
        self.found: list[tuple[int, str, str]] = []
        self.kinds: Kinds = {**globals, **dict.fromkeys(MODULE_NAMES, "module")}
        self.visit_FunctionDef(function)

    def use(self, node: ast.expr | ast.stmt, name: str) -> None:
        wing = home(name)
        if wing is not None:
            self.found.append((node.lineno, name, wing))

    # --- statements

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = dict(self.kinds)
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        formula = any(one.arg in ("ctx", "xp", "raw") for one in parameters)
        for one in parameters:
            said = kind_said(one.annotation)
            if one.arg not in MODULE_NAMES:
                self.kinds[one.arg] = "array" if said is None and formula else said
        for special in (node.args.vararg, node.args.kwarg):
            if special:
                said = kind_said(special.annotation)
                self.kinds[special.arg] = "tensors" if said in ("tensor", "either") else said
        self.follow(node.body)
        self.kinds = {**outer, node.name: kind_said(node.returns)}

    def follow(self, statements: list[ast.stmt]) -> bool:
        """Visit statements in order; whether they leave the block (return, raise, continue, break)."""
        for statement in statements:
            self.visit(statement)
        return bool(statements) and isinstance(
            statements[-1], ast.Return | ast.Raise | ast.Continue | ast.Break
        )

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        before = dict(self.kinds)
        self.narrow(node.test, True)
        left = self.follow(node.body)
        first, self.kinds = self.kinds, before
        self.narrow(node.test, False)
        if self.follow(node.orelse):
            self.kinds = first
        elif not left:
            self.merge(first)

    def merge(self, other: Kinds) -> None:
        for name in {*other, *self.kinds}:
            both = {other.get(name), self.kinds.get(name)}
            if both == {"tensor", "plain"}:
                self.kinds[name] = "either"
            elif len(both) > 1:
                order = ("tensor", "either", None)
                self.kinds[name] = next((kind for kind in order if kind in both), "array")

    def narrow(self, test: ast.expr, holds: bool) -> None:
        """Use what ``isinstance(x, Tensor)`` tells."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.narrow(test.operand, not holds)
        elif isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) == holds:
            for one in test.values:
                self.narrow(one, holds)
        elif isinstance(test, ast.Call) and ast.unparse(test.func) == "isinstance":
            name, types = ast.unparse(test.args[0]), ast.unparse(test.args[1])
            if "Tensor" in types:
                self.kinds[name] = "tensor" if holds else self.kinds.get(name) and "plain"
            elif holds and self.kinds.get(name) != "tensor":
                self.kinds[name] = "plain"

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        before = dict(self.kinds)
        for _ in range(2):  # what the first round leaves is what the second finds
            self.bind_parts(node.target, node.iter)
            self.follow(node.body)
        self.merge(before)
        self.follow(node.orelse)

    def visit_While(self, node: ast.While) -> None:
        before = dict(self.kinds)
        for _ in range(2):
            self.visit(node.test)
            self.follow(node.body)
        self.merge(before)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            self.bind(target, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.kinds[node.target.id] = kind_said(node.annotation)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if self.kind(node.target) == "tensor":
            self.use(node, f"__i{OPERATORS[type(node.op)]}__")

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.kinds[target.id] = self.kind(value)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, value)
        elif isinstance(target, ast.Tuple):
            same = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            parts = value.elts if isinstance(value, ast.Tuple) and same else [value] * len(target.elts)
            kinds = [self.kind(part) if same else self.part(value) for part in parts]
            for one, kind in zip(target.elts, kinds, strict=True):
                if isinstance(one, ast.Name):
                    self.kinds[one.id] = kind

    def bind_parts(self, target: ast.expr, values: ast.expr) -> None:
        """Bind the target of a loop over ``values``."""
        pairs = isinstance(target, ast.Tuple) and isinstance(values, ast.Call)
        several: list[ast.expr] = [values]
        if isinstance(values, ast.Call) and pairs and ast.unparse(values.func) in ("zip", "enumerate"):
            several = values.args if ast.unparse(values.func) == "zip" else [ast.Constant(0), *values.args]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        if len(several) != len(targets):
            several = [values] * len(targets)
        for one, value in zip(targets, several, strict=True):
            for name in ast.walk(one):
                if isinstance(name, ast.Name):
                    self.kinds[name.id] = self.part(value)

    # --- expressions

    def part(self, node: ast.expr) -> str | None:
        """What an element of a sequence is."""
        kind = self.kind(node)
        return "tensor" if kind == "tensors" else kind

    def kind(self, node: ast.expr) -> str | None:
        """What an expression is, as far as can be told."""
        match node:
            case ast.Constant() | ast.JoinedStr() | ast.Dict():
                return "plain"
            case ast.Name(id="array") | ast.Attribute(attr="array"):
                return "array"
            case ast.Name():
                return self.kinds.get(node.id)
            case ast.Attribute(attr="xp"):
                return "module"
            case ast.Attribute(attr="dtype" | "shape" | "ndim" | "size" | "device" | "_version" | "_view"):
                return "plain"
            case ast.Attribute():
                inner = self.kind(node.value)
                return None if inner in ("module", "either") else inner
            case ast.Call(func=ast.Attribute(attr="apply")):
                return "tensor"
            case ast.Call(func=ast.Attribute(attr="item" | "tolist" | "size" | "numel" | "dim")):
                return "plain"
            case ast.Call(func=ast.Attribute(value=inner)):
                return "array" if self.kind(inner) == "module" else self.kind(inner)
            case ast.Call(func=ast.Name(id=name), args=[given, *_]) if name in SEQUENCES:
                return self.kind(given)
            case ast.Call(func=ast.Name(id=name)):
                return "plain" if name in PLAIN else self.kinds.get(name)
            case ast.IfExp():
                before = dict(self.kinds)
                self.narrow(node.test, True)
                first = self.kind(node.body)
                self.kinds = dict(before)
                self.narrow(node.test, False)
                kinds = {first, self.kind(node.orelse)}
                self.kinds = before
            case ast.Compare(ops=[ast.Is() | ast.IsNot() | ast.In() | ast.NotIn(), *_]):
                return "plain"
            case ast.BinOp():
                kinds = {self.kind(node.left), self.kind(node.right)}
            case ast.Compare():
                kinds = {self.kind(one) for one in (node.left, *node.comparators)}
            case ast.BoolOp():
                kinds = {self.kind(one) for one in node.values}
            case ast.Tuple() | ast.List():
                kinds = {self.part(one) for one in node.elts} or {"plain"}
                return "tensors" if kinds & {"tensor", "either"} else "array" if "array" in kinds else "plain"
            case ast.UnaryOp():
                kinds = {self.kind(node.operand)}
            case ast.Subscript(slice=ast.Slice()) | ast.Starred():
                return self.kind(node.value)
            case ast.Subscript():
                return self.part(node.value)
            case ast.ListComp() | ast.GeneratorExp():
                before = dict(self.kinds)
                for one in node.generators:
                    self.bind_parts(one.target, one.iter)
                    for test in one.ifs:
                        self.narrow(test, True)
                part = self.kind(node.elt)
                self.kinds = before
                return "tensors" if part in ("tensor", "either") else part
            case _:
                return None
        return next((one for one in ("tensor", "array", "either", "tensors", None) if one in kinds), "plain")

    def visit_comprehension_of(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> None:
        before = dict(self.kinds)
        for one in node.generators:
            self.visit(one.iter)
            self.bind_parts(one.target, one.iter)
            for test in one.ifs:
                self.visit(test)
                self.narrow(test, True)
        self.visit(node.elt)
        self.kinds = before

    visit_ListComp = visit_GeneratorExp = visit_SetComp = visit_comprehension_of

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        for branch, holds in ((node.body, True), (node.orelse, False)):
            before = dict(self.kinds)
            self.narrow(node.test, holds)
            self.visit(branch)
            self.kinds = before

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self.kind(node.value) in ("tensor", "either", None):
            self.use(node, node.attr)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if self.kind(node.left) == "tensor":
            self.use(node, f"__{OPERATORS[type(node.op)]}__")
        elif self.kind(node.right) == "tensor" and self.kind(node.left) != "array":
            self.use(node, f"__r{OPERATORS[type(node.op)]}__")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if self.kind(node.operand) == "tensor" and type(node.op) in OPERATORS:
            self.use(node, f"__{OPERATORS[type(node.op)]}__")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if self.kind(node) == "tensor" and type(node.ops[0]) in OPERATORS:
            self.use(node, f"__{OPERATORS[type(node.ops[0])]}__")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if self.kind(node.value) == "tensor":
            self.use(node, "__getitem__")
        self.generic_visit(node)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """The functions of a file that work on Tensors: no formulas, and no references of the tests."""
    references = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "reference" and isinstance(node.value, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in references:
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (
                one
                for one in node.body
                if isinstance(one, ast.FunctionDef) and one.name not in ("forward", "backward")
            )


def uses(path: pathlib.Path) -> Iterator[tuple[int, str, str]]:
    """Every use that the functions of a file make of Tensor: line, method, wing."""
    tree = tree_of(path)
    globals: Kinds = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            globals.setdefault(node.name, kind_said(node.returns))
        elif isinstance(node, ast.ClassDef):
            globals[node.name] = "plain"
        elif isinstance(node, ast.ImportFrom):
            globals.update((one.asname or one.name, returned(node.module, one.name)) for one in node.names)
        elif isinstance(node, ast.Import):
            globals.update((one.asname or one.name, "module") for one in node.names)
    for function in functions(tree):
        yield from Uses(function, globals).found


@functools.cache
def returned(module: str | None, name: str) -> str | None:
    """What an imported function returns."""
    found = getattr(importlib.import_module(str(module)), name, None)
    if inspect.ismodule(found):
        return "module"
    if not inspect.isfunction(found):
        return "plain"
    said = inspect.unwrap(found).__annotations__.get("return", "Any")
    return kind_said(ast.parse(str(said), mode="eval").body) if isinstance(said, str) else None


@BY_FILE
def test_a_wing_uses_only_methods_of_wings_before_it(path: pathlib.Path) -> None:
    own = WINGS.index(path.parent.name)
    behind = [
        f"line {line}: {name} is of {wing}" for line, name, wing in uses(path) if WINGS.index(wing) > own
    ]
    assert not behind or path == OPS / MADE_OF_OPERATIONS


def test_the_uses_of_a_function_are_found() -> None:
    text = """
def f(x: Tensor, y: Tensor | float, z, several: Sequence[Tensor], array) -> Tensor:
    if isinstance(y, Tensor):
        y = y.mean()
    y.sum()
    z.max()
    first = several[0] @ x
    numbers = x.array.sum() + array.prod() + x.xp.exp(array).std()
    return -first[0], [one.mT for one in several], y * 2
"""
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    assert [(name, wing) for _, name, wing in Uses(function, {}).found] == [
        ("mean", "reductions"), ("sum", "reductions"), ("max", "reductions"), ("__matmul__", "linalg"),
        ("__neg__", "pointwise"), ("__getitem__", "shapes"), ("mT", "shapes"),
    ]  # fmt: skip
