"""Top-level statements of our modules, as a fingerprint sees them: without names that may change.

A definition reads alike wherever it stands and whatever it, what it calls, and its local variables
are called. What matters is kept: values, operators, attributes, parameters, libraries' names, and
which other definition stands in each place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Imported:
    """What an imported name stands for."""

    module: str
    name: str | None
    """None if it is the module itself."""


@dataclass(frozen=True)
class Statement:
    """One statement at the top level of a module."""

    module: str
    text: str
    """Its syntax tree, `§0`, `§1`, … where it names what a module of ours defines."""
    refers_to: tuple[Imported, ...]
    """What those stand for, in that order."""
    defines: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """What a module defines, imports and does."""

    statements: tuple[Statement, ...]
    does: tuple[Statement, ...]
    """Statements that define nothing, which importing the module executes."""
    imports: Mapping[str, Imported]
    """Names at its top level that come from modules of ours."""
    loads: tuple[str, ...]
    """Modules of ours that importing it imports."""


IsOurs = Callable[[str], bool]
"""Whether a dotted name is that of a module whose definitions count."""


def read_module(name: str, text: str, is_ours: IsOurs) -> Module:
    """Take a module apart.

    Args:
        name: its dotted name.
        text: its source.
        is_ours: which modules count.
    """
    names = _Names(name, is_ours)
    nodes = tuple(_without_imports(ast.parse(text).body, names))
    own = {defined for node in nodes for defined in _defined(node)}
    statements, does = [], []
    loads = names.loads
    for node in nodes:
        reader = _Reader(name, own, names.copy())
        statement = reader.read(node)
        loads = loads | reader.loads
        if statement.defines:
            statements.append(statement)
        elif not _only_when_started(node):
            does.append(statement)
    return Module(tuple(statements), tuple(does), names.ours, tuple(sorted(loads)))


class _Names:
    """What imported names stand for."""

    def __init__(self, module: str, is_ours: IsOurs):
        self._module = module
        self.is_ours = is_ours
        self.ours: dict[str, Imported] = {}
        self.libraries: dict[str, str] = {}
        """Of libraries, dotted."""
        self.loads: set[str] = set()
        """Modules of ours that are imported when the program runs."""

    def copy(self) -> _Names:
        copied = _Names(self._module, self.is_ours)
        copied.ours |= self.ours
        copied.libraries |= self.libraries
        return copied

    def note(self, node: ast.Import | ast.ImportFrom, is_hint: bool = False) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                bound, what = (alias.asname, alias.name) if alias.asname else (first, first)
                if self.is_ours(alias.name):
                    self._bind(bound, Imported(what, None), alias.name, is_hint)
                else:
                    self.libraries[bound] = what
            return
        origin = node.module or ""
        if node.level:
            origin = ".".join(filter(None, (self._module.rsplit(".", node.level)[0], origin)))
        for alias in node.names:
            bound, below = alias.asname or alias.name, f"{origin}.{alias.name}"
            if self.is_ours(below):
                self._bind(bound, Imported(below, None), below, is_hint)
            elif self.is_ours(origin):
                self._bind(bound, Imported(origin, alias.name), origin, is_hint)
            else:
                self.libraries[bound] = below

    def _bind(self, name: str, what: Imported, module: str, is_hint: bool) -> None:
        self.ours[name] = what
        if not is_hint:
            self.loads.add(module)


def _without_imports(
    body: list[ast.stmt], names: _Names, is_hint: bool = False
) -> Iterator[ast.stmt]:
    """The statements that are no imports, documentation or hints; what is imported is noted."""
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.note(node, is_hint)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _without_imports(node.body, names, is_hint=True)
        elif not _is_text(node):
            if not _defined(node):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Import | ast.ImportFrom):
                        names.note(inner)
            yield node


def _is_text(node: ast.AST) -> bool:
    """Documentation: of a module, a class, a function, or of what stands before it."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _only_when_started(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def _defined(node: ast.stmt) -> tuple[str, ...]:
    """The names that a statement at the top level defines."""
    if isinstance(node, _Function | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    else:
        return ()
    names: list[str] = []
    while targets:
        target, *targets = targets
        if isinstance(target, ast.Tuple | ast.List):
            targets = [*target.elts, *targets]
        elif isinstance(target, ast.Name):
            names.append(target.id)
        else:
            return ()  # an item or an attribute of something: it does, and defines nothing
    return tuple(names)


class _Reader(ast.NodeTransformer):
    """Reads one statement; changes its tree."""

    def __init__(self, module: str, own: set[str], names: _Names):
        self._module = module
        self._own = own
        self._names = names
        self._places: dict[Imported, int] = {}
        self._locals: dict[str, str] = {}
        self.loads: set[str] = set()

    def read(self, node: ast.stmt) -> Statement:
        defines = _defined(node)
        inside = _Names(self._module, self._names.is_ours)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                inside.note(inner)
        self.loads = inside.loads
        self._names.ours |= inside.ours
        self._names.libraries |= inside.libraries
        known = self._own | self._names.ours.keys() | self._names.libraries.keys()
        self._locals = dict.fromkeys(_local_names(node) - known, "")
        if isinstance(node, _Function | ast.ClassDef):
            node.name = ""
        changed = self.visit(node)
        return Statement(self._module, ast.dump(changed), tuple(self._places), defines)

    def visit_Import(self, node: ast.Import) -> ast.AST | None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_text(node) else self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self._locals:
            node.id = self._local(node.id)
        elif node.id in self._names.ours:
            node.id = self._place(self._names.ours[node.id])
        elif node.id in self._names.libraries:
            node.id = self._names.libraries[node.id]
        elif node.id in self._own:
            node.id = self._place(Imported(self._module, node.id))
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name in self._locals:
            node.name = self._local(node.name)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        what = self._of_module(node)
        return ast.Name(self._place(what), node.ctx) if what else self.generic_visit(node)

    def _of_module(self, node: ast.AST) -> Imported | None:
        """What `module.name` stands for, where the module is one of ours."""
        if isinstance(node, ast.Name):
            return self._names.ours.get(node.id) if node.id not in self._locals else None
        module = self._of_module(node.value) if isinstance(node, ast.Attribute) else None
        if module is None or module.name is not None or not isinstance(node, ast.Attribute):
            return None
        below = f"{module.module}.{node.attr}"
        if self._names.is_ours(below):
            return Imported(below, None)
        return Imported(module.module, node.attr)

    def _local(self, name: str) -> str:
        if not self._locals[name]:
            self._locals[name] = f"local {sum(map(bool, self._locals.values()))}"
        return self._locals[name]

    def _place(self, what: Imported) -> str:
        return f"§{self._places.setdefault(what, len(self._places))}"


def _local_names(node: ast.AST) -> set[str]:
    """Local variables of a statement's functions and comprehensions; no parameters, no attributes
    of classes, and nothing that is one of those anywhere in it."""
    local: set[str] = set()
    others: set[str] = set()

    def look(node: ast.AST, bound: set[str]) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            bound.add(node.id)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            others.add(node.arg)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            others.update(node.names)
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            others.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            others.add(node.rest)
        if isinstance(node, ast.ClassDef):
            others.add(node.name)
            bound = others
        elif isinstance(node, _Function):
            others.add(node.name)
            bound = local
        elif isinstance(
            node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        ):
            bound = local
        for inner in ast.iter_child_nodes(node):
            look(inner, bound)

    look(node, others)
    return local - others
