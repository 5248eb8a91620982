"""What a class takes, read from its source: a config is checked before torch is imported."""

from __future__ import annotations

import ast
import operator
from functools import cache, reduce
from pathlib import Path
from typing import Any, Literal

SCALARS = {"int": int, "float": float, "bool": bool, "str": str, "None": type(None)}
SEQUENCES = {"list", "tuple", "Sequence"}


def signature_of(root: Path, target: str) -> dict[str, Any] | None:
    """The constructor's arguments of the class `target` names, without importing it.

    Args:
        root: folder that holds the package's folder.
        target: dotted path, such as `vrp.policy.encoders.LinearEncoder`; re-exports are followed.

    Returns:
        Each argument with its type (int, float, bool, str, None, Literal, list and unions of
        these), or with None where a config cannot give it and the program does. None if the
        sources define no such class.
    """
    module, _, name = target.rpartition(".")
    found = _look_up(root, module, name)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return None
    return _arguments(root, *found)


def exported(root: Path, package: str) -> list[str]:
    """Classes that `package` offers: those in its `__all__`, else its public ones.

    Classes of others, interfaces and records of tensors are left out.
    """
    source = _source(root, package)
    if source is None:
        return []
    listed = _look_up(root, package, "__all__")
    if listed is not None and isinstance(listed[1], ast.List | ast.Tuple):
        names = [item.value for item in listed[1].elts if isinstance(item, ast.Constant)]
    else:
        names = [node.name for node in source[0].body if isinstance(node, ast.ClassDef)]
    return [
        name
        for name in names
        if not name.startswith("_") and _is_working_class(root, package, name)
    ]


def _is_working_class(root: Path, package: str, name: str) -> bool:
    found = _look_up(root, package, name)
    if found is None or not isinstance(found[1], ast.ClassDef):
        return False
    fields = [item for item in found[1].body if isinstance(item, ast.AnnAssign)]
    if any(ast.unparse(field.annotation) == "Tensor" for field in fields):
        return False
    bases = {ast.unparse(base).rpartition(".")[2] for base in found[1].bases}
    return not bases & {"ABC", "Protocol"}


@cache
def _source(root: Path, module: str) -> tuple[ast.Module, str] | None:
    """Syntax tree of a module and the package that its relative imports start from."""
    path = root.joinpath(*module.split("."))
    for file, package in (
        (path / "__init__.py", module),
        (path.parent / f"{path.name}.py", module.rpartition(".")[0]),
    ):
        if file.is_file():
            return ast.parse(file.read_text(encoding="utf-8")), package
    return None


def _look_up(root: Path, module: str, name: str) -> tuple[str, ast.AST] | None:
    """The class or assigned value behind `name` in `module`, and the module that defines it."""
    source = _source(root, module) if module else None
    if source is None:
        return None
    tree, package = source
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return module, node.value
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                    origin = [*parts, node.module] if node.level else [node.module]
                    return _look_up(root, ".".join(filter(None, origin)), alias.name)
    return None


def _arguments(root: Path, module: str, node: ast.ClassDef) -> dict[str, Any]:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            arguments = [*item.args.posonlyargs, *item.args.args, *item.args.kwonlyargs]
            return {a.arg: _kind(root, module, a.annotation) for a in arguments[1:]}
    inherited: dict[str, Any] = {}
    for base in reversed(node.bases):
        found = _look_up(root, module, base.id) if isinstance(base, ast.Name) else None
        if found is not None and isinstance(found[1], ast.ClassDef):
            inherited |= _arguments(root, *found)
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                if "ClassVar" in ast.unparse(item.annotation) or _not_initialised(item.value):
                    continue
                inherited[item.target.id] = _kind(root, module, item.annotation)
    return inherited


def _not_initialised(value: ast.AST | None) -> bool:
    return value is not None and "init=False" in ast.unparse(value)


def _kind(root: Path, module: str, node: ast.AST | None) -> Any:
    """The type an annotation stands for, or None if a config cannot hold such a value."""
    if isinstance(node, ast.Constant):
        if node.value is None:
            return type(None)
        if isinstance(node.value, str):
            return _kind(root, module, ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.Name):
        if node.id in SCALARS:
            return SCALARS[node.id]
        found = _look_up(root, module, node.id)
        return None if found is None else _kind(root, *found)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([_kind(root, module, node.left), _kind(root, module, node.right)])
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value).rpartition(".")[2]
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if outer == "Literal":
            return Literal[tuple(ast.literal_eval(item) for item in inner)]
        kinds = [_kind(root, module, item) for item in inner]
        if outer == "Optional":
            return _union([*kinds, type(None)])
        if outer == "Annotated":
            return kinds[0]
        if outer in SEQUENCES and kinds[0] is not None:
            return list[kinds[0]]
    return None


def _union(kinds: list[Any]) -> Any:
    """Union of the types a config can hold; None alone is no choice."""
    known = [kind for kind in kinds if kind is not None]
    if not known or known == [type(None)]:
        return None
    return reduce(operator.or_, known)
