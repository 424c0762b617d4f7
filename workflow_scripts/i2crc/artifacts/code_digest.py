"""The digest of the code that a script runs: its own and that of the i2crc modules it imports."""

import ast
from functools import cache
from pathlib import Path

from i2crc.runtime.atomic import digest_file, digest_value

# No result depends on these packages: they write logs, and pages for people.
EXEMPT = ("runtime", "cli")


def code_digest(script: Path) -> str:
    """Return the SHA-256 over a script and all modules of i2crc that it imports, also indirectly.

    The library is that beside the script's folder, which the script runs with. Of Python, the
    syntax trees without docstrings are digested: comments, formatting and time stamps change
    nothing. A package that is imported counts with its `templates`. Relative imports are not
    followed.
    """
    digests: dict[str, str] = {}
    library = script.parents[1] / "i2crc"
    pending = [script]
    while pending:
        file = pending.pop()
        name = str(file.relative_to(library)) if file.is_relative_to(library) else "script"
        if name not in digests:
            if file.suffix == ".py":
                digests[name], imported = _module(file.read_bytes())
                pending += [found for module in imported for found in _files(module, library)]
            else:
                digests[name] = digest_file(file)
    return digest_value(digests)


@cache
def _module(source: bytes) -> tuple[str, frozenset[str]]:
    """Return the digest of a module and the dotted names that it may import."""
    tree = ast.parse(source)
    imported = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                imported |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str() as module):
                imported |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                if ast.get_docstring(node, clean=False) is not None:
                    del node.body[0]
    return digest_value(ast.dump(tree)), frozenset(imported)


@cache
def _files(module: str, library: Path) -> list[Path]:
    """Return the files of i2crc that importing a dotted name runs, and its packages' templates."""
    root, *parts = module.split(".")
    if root != "i2crc" or (parts and parts[0] in EXEMPT):
        return []
    folders = [library.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    files = [*(folder / "__init__.py" for folder in folders), folders[-1].with_suffix(".py")]
    files += [file for folder in folders for file in folder.glob("templates/*")]
    return [file for file in files if file.is_file()]
