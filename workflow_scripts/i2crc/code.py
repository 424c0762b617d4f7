"""The digest of the code that a script runs: its own, and what it reaches of the library."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from i2crc.files import digest_value

LIBRARY = Path(__file__).parent
# They write logs, and facts about results; what is in a result does not depend on them.
NEUTRAL = {"console", "provenance", "code", "locks", "faults", "job_log", "gpus", "torchrun"}
# What these decorate is reached by its name alone; any other decorator may register it somewhere.
PLAIN_DECORATORS = {
    "dataclass",
    "cache",
    "functools.lru_cache",
    "contextmanager",
    "contextlib.contextmanager",
    "torch.inference_mode",
}
# Through these, code reaches names of its module that it does not spell out.
ANY_NAME = ("globals", "eval", "exec")
# What names stand for: "np" for "numpy", "read_gray" for "i2crc.images.read_gray".
Meanings = dict[str, set[str]]


@dataclass(frozen=True)
class _Part:
    """A piece of code: its digest (empty where there is none), and what it needs of the library.

    Of the dotted names in `needs`, `i2crc.images.read_gray` is a definition, `i2crc.images` the
    whole module, and `i2crc.images.` what runs when the module is imported.
    """

    digest: str
    needs: frozenset[str]


@dataclass(frozen=True)
class _Module:
    """A module in pieces: what defines each name, and what runs when it is imported."""

    definitions: dict[str, list[_Part]]
    on_import: _Part


def code_digest(script: Path) -> str:
    """SHA-256 over `script` and all that it reaches of `i2crc`, directly or not.

    Functions, classes, assignments and imports at the top of a module count where they are used,
    its other statements as soon as it is imported. What is digested is the syntax tree without
    docstrings, so comments, formatting and touched files change nothing.
    """
    whole = _script(script.read_text())
    digests: dict[str, list[str]] = {}
    pending = ["i2crc.__init__.", *whole.needs]
    while pending:
        name = pending.pop()
        if name not in digests:
            parts = _find(name)
            digests[name] = [part.digest for part in parts if part.digest]
            pending += [need for part in parts for need in part.needs]
    return digest_value([whole.digest, {name: found for name, found in digests.items() if found}])


def _find(name: str) -> list[_Part]:
    """The pieces of code that a dotted name of the library stands for."""
    _, *names = name.split(".")
    if not names:
        modules = sorted(file.stem for file in LIBRARY.glob("*.py"))
        return [part for module in modules for part in _find(f"i2crc.{module}")]
    if not (LIBRARY / f"{names[0]}.py").is_file():
        names = ["__init__", *names]
    file = LIBRARY / f"{names[0]}.py"
    if names[0] in NEUTRAL or not file.is_file():
        return []
    module = _module(names[0], file.read_text())
    wanted = names[1:2] or module.definitions
    return [module.on_import, *(p for n in wanted for p in module.definitions.get(n, []))]


@cache
def _script(text: str) -> _Part:
    return _part([_outline(text)], {})


@cache
def _module(name: str, text: str) -> _Module:
    statements = defaultdict(list)
    imports, others = [], []
    for node in _outline(text).body:
        defined = _defined(node)
        for bound in defined:
            statements[bound].append(node)
        if not defined:
            (imports if _imports(node) else others).append(node)
    meanings: Meanings = {bound: {f"i2crc.{name}.{bound}"} for bound in statements}
    for bound in ANY_NAME:
        meanings.setdefault(bound, set()).add(f"i2crc.{name}")
    _add_imports(meanings, imports)
    definitions = {
        bound: [_part([node], meanings) for node in nodes] for bound, nodes in statements.items()
    }
    for _, bound, meaning in (found for node in imports for found in _imports(node)):
        definitions.setdefault(bound, []).append(_Part(meaning, _of_library([meaning])))
    rest = _part(others, meanings)
    return _Module(definitions, _Part(rest.digest, rest.needs | _imported_modules(imports)))


def _part(nodes: list[ast.AST], outside: Meanings) -> _Part:
    """The piece of code that syntax trees are, within a module whose names have these meanings."""
    inner = [node for tree in nodes for node in ast.walk(tree)]
    meanings = {name: set(found) for name, found in outside.items()}
    _add_imports(meanings, inner)
    used = set()
    for name in {name for tree in nodes for name in _names(tree)}:
        root, *attributes = name.split(".")
        used |= {(name, ".".join([m, *attributes])) for m in meanings.get(root, ())}
    # An import elsewhere decides what a name means here, so the meanings are part of the code.
    digest = digest_value([*map(ast.dump, nodes), sorted(used)]) if nodes else ""
    return _Part(digest, _of_library(meaning for _, meaning in used) | _imported_modules(inner))


def _of_library(names: Iterable[str]) -> frozenset[str]:
    """Those names that are the library's, as far as `_find` tells them apart."""
    split = (name.split(".") for name in names)
    return frozenset(".".join(parts[:3]) for parts in split if parts[0] == "i2crc")


def _imports(node: ast.AST) -> list[tuple[str, str, str]]:
    """What a node imports: each time the dotted name, the name bound to it, and what that means."""
    if isinstance(node, ast.Import):
        roots = [alias.name.split(".")[0] for alias in node.names]
        return [
            (alias.name, alias.asname or root, alias.name if alias.asname else root)
            for alias, root in zip(node.names, roots, strict=True)
        ]
    if isinstance(node, ast.ImportFrom):
        # A relative import is one from the library, which has no folders in it.
        source = ".".join(["i2crc"] * bool(node.level) + [node.module] * bool(node.module))
        names = [(f"{source}.{alias.name}", alias) for alias in node.names]
        return [(name, alias.asname or alias.name, name) for name, alias in names]
    return []


def _add_imports(meanings: Meanings, nodes: Iterable[ast.AST]) -> None:
    for _, bound, meaning in (found for node in nodes for found in _imports(node)):
        meanings.setdefault(bound, set()).add(meaning)


def _imported_modules(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """The library's modules that nodes import, as names for `_find`: all of one with a star."""
    names = (imported.split(".") for node in nodes for imported, _, _ in _imports(node))
    return frozenset(
        ".".join(parts[:2]) + ("" if parts[-1] == "*" else ".")
        for parts in names
        if parts[0] == "i2crc"
    )


def _defined(node: ast.stmt) -> set[str]:
    """The names that a statement defines; none where it may do more than that."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        decorators = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
        return {node.name} if {*map(ast.unparse, decorators)} <= PLAIN_DECORATORS else set()
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        stored = [n for n in ast.walk(node) if isinstance(getattr(n, "ctx", None), ast.Store)]
        # An item or an attribute of something is no name of this module.
        if not any(isinstance(n, ast.Attribute | ast.Subscript) for n in stored):
            return {n.id for n in stored if isinstance(n, ast.Name)}
    return set()


def _names(node: ast.AST) -> Iterator[str]:
    """The dotted names in a syntax tree, those in annotations that are text too."""
    if dotted := _dotted(node):
        yield dotted
        return
    for child in ast.iter_child_nodes(node):
        yield from _names(child)
    for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
        for part in ast.walk(annotation) if annotation else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield from re.findall(r"[^\W\d][\w.]*", part.value)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (root := _dotted(node.value)):
        return f"{root}.{node.attr}"
    return None


def _outline(text: str) -> ast.Module:
    """The syntax tree without docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]
    return tree


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
