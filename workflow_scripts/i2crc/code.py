"""The digest of the code that a script runs: its own and that of the project modules it imports."""

import ast
from pathlib import Path

from i2crc.files import digest_value

LIBRARY = Path(__file__).parent


def code_digest(script: Path) -> str:
    """SHA-256 over `script` and every `i2crc` module that it imports, directly or not.

    What is digested is the syntax tree without docstrings, so comments, formatting and touched
    files change nothing.
    """
    trees = {path.name: _outline(path) for path in sorted(modules_of(script))}
    return digest_value(trees)


def modules_of(script: Path) -> set[Path]:
    """`script` and the files of the project modules it imports, directly or not."""
    found: set[Path] = set()
    pending = [script]
    while pending:
        path = pending.pop()
        if path in found:
            continue
        found.add(path)
        pending += [LIBRARY / f"{name}.py" for name in _imports(path)]
    return found


def _imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "i2crc":
                names += [alias.name for alias in node.names]
            elif node.module.startswith("i2crc."):
                names.append(node.module.removeprefix("i2crc."))
        elif isinstance(node, ast.Import):
            names += [a.name.removeprefix("i2crc.") for a in node.names if "i2crc." in a.name]
    return names


def _outline(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            node.body = body[1:]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
