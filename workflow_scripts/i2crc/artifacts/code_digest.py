"""The digest of the code that a script runs: its own, and the modules of i2crc that it imports."""

import ast
from functools import cache
from pathlib import Path

from i2crc.runtime.atomic import digest_value

LIBRARY = Path(__file__).parents[1]
# These packages write logs and pages for people; no result depends on them.
EXEMPT = ("runtime", "cli")


def code_digest(script: Path) -> str:
    """Return the SHA-256 over a script and all modules of i2crc that it imports, also indirectly.

    The syntax trees without docstrings are digested: comments, formatting and time stamps change
    nothing.
    """
    digests = {}
    pending = [Path(script)]
    while pending:
        file = pending.pop()
        name = str(file.relative_to(LIBRARY)) if file.is_relative_to(LIBRARY) else "script"
        if name not in digests:
            digests[name], imported = _module(file.read_text())
            pending += [found for module in imported for found in _files(module)]
    return digest_value(digests)


@cache
def _module(text: str) -> tuple[str, frozenset[str]]:
    """Return the digest of a module and the dotted names that it may import from i2crc."""
    tree = ast.parse(text)
    imported = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = body[1:]  # type: ignore[attr-defined]
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return digest_value(ast.dump(tree)), frozenset(imported)


def _files(module: str) -> list[Path]:
    """Return the files that importing a dotted name of i2crc runs; none for other packages."""
    root, *parts = module.split(".")
    if root != "i2crc" or parts[:1] and parts[0] in EXEMPT:
        return []
    folders = [LIBRARY.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    files = [*(folder / "__init__.py" for folder in folders), folders[-1].with_suffix(".py")]
    return [file for file in files if file.is_file()]
