"""Write the tables of docs/CONFIG.md and the schema config/schema.json from the settings' types.

The introduction of docs/CONFIG.md, all that is above the first table, is kept.
"""

import argparse
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from i2crc.config.load import load_config
from i2crc.config.schema import Config, Section
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import InputError
from i2crc.runtime.parser import make_parser, run

REFERENCE = Path(__file__).parents[1] / "docs/CONFIG.md"
SCHEMA = Path(__file__).parents[1] / "config/schema.json"
FIRST_TABLE = "## General\n"
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "minItems": "length at least {}",
    "maxItems": "length at most {}",
    "pattern": "matching `{}`",
}


def chapters(section: Section, paper: Section, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of the chapter of `section`, then of those within it.

    `paper` is the same section with the preset `paper`.
    """
    yield f"{'#' * max(2, len(path) + 1)} `{'.'.join(path)}`" if path else FIRST_TABLE.strip()
    yield f"\n{inspect.getdoc(type(section))}\n"
    yield "| Key | Values | Default | Description |"
    yield "|---|---|---|---|"
    described = type(section).model_json_schema()["properties"]
    for key, default in section:
        if isinstance(default, Section):
            continue
        published = getattr(paper, key)
        defaults = literal(default)
        if published != default:
            defaults += f"; paper: {literal(published)}"
        name, about = ".".join([*path, key]), described[key]
        cells = [f"`{name}`", values(about), defaults, about.get("description", "")]
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
    yield ""
    for key, value in section:
        if isinstance(value, Section):
            yield from chapters(value, getattr(paper, key), (*path, key))


def values(schema: dict[str, Any]) -> str:
    """Return the values that a setting may have, in words."""
    if "anyOf" in schema:
        return ", or ".join(map(values, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(literal, schema["enum"]))
    items = schema.get("items")
    kind = f"list ({values(items)})" if items else schema["type"]
    limits = [text.format(schema[key]) for key, text in LIMITS.items() if key in schema]
    return ", ".join([kind, *limits])


def literal(value: Any) -> str:
    """Return a value as it is written in YAML, in Markdown."""
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`"


def main(arguments: argparse.Namespace) -> None:
    introduction = REFERENCE.read_text().partition(FIRST_TABLE)[0]
    paper = load_config({"preset": "paper"}, "preset paper")
    schema = json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False)
    for path, text in (
        (REFERENCE, introduction + "\n".join(chapters(Config(), paper))),
        (SCHEMA, schema + "\n"),
    ):
        if not arguments.check:
            write_bytes(path, text.encode())
        elif path.read_text() != text:
            raise InputError(f"{path}: out of date; run: python {__file__}")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    run(main, parser)
