"""Write the reference of all settings, docs/CONFIG.md, and their schema, config/schema.json."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from i2crc.config.load import load_config
from i2crc.config.schema import Config, Section
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import InputError
from i2crc.runtime.parser import make_parser, run

ROOT = Path(__file__).parents[1]
COMMAND = "python workflow_scripts/config_reference.py"

INTRODUCTION = f"""# Settings

Written by `{COMMAND}`; do not edit it. The settings are
described in `workflow_scripts/i2crc/config/schema.py`.

Without options, the demo runs with the settings in `config/config.yaml`. To use your own:

- `--configfile FILE` **replaces** the settings of the demo. A setting that FILE leaves out has the
  default below, not the value of the demo. Of several files, later ones override earlier ones.
- `--config KEY=VALUE ...` overrides single settings of the file (or the demo). A setting within a
  section needs braces, quotes around the whole, and a space after each colon. Other settings of
  the section stay.

```sh
snakemake --cores all scores --configfile mine.yaml --config seed=1 \\
  'classifier={{epochs: 2, optimizer: {{learning_rate: 0.001}}}}'
```

A `preset` changes defaults; your own settings override it. `default` is what we recommend, `paper`
is exactly the published computation. The column *Paper* of a table shows the values that `paper`
changes.

An unknown key or a wrong value is an error before anything runs. The message names the key and, if
it is unknown, the nearest valid one. `config/schema.json` describes the same settings for editors.
*METHOD 8* means point 8 of [METHOD.md](METHOD.md), the published method.
"""

TYPES = {
    "boolean": "`true`, `false`",
    "integer": "integer",
    "number": "number",
    "string": "text",
    "null": "`null`",
}
LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "minItems": "length at least {}",
    "maxItems": "length at most {}",
    "pattern": "matching `{}`",
}


def reference() -> str:
    """Return the content of docs/CONFIG.md."""
    paper = load_config({"preset": "paper"}, "preset paper")
    return "\n".join([INTRODUCTION, *chapters(Config(), paper)])


def chapters(section: Section, paper: Section, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the chapter of `section`, then those of the sections within it."""
    title = f"`{'.'.join(path)}`" if path else "General"
    heading = "#" * max(2, len(path) + 1)
    yield f"{heading} {title}\n\n{type(section).__doc__}\n\n{table(rows(section, paper, path))}"
    for key, value in section:
        if isinstance(value, Section):
            yield from chapters(value, getattr(paper, key), (*path, key))


def rows(section: Section, paper: Section, path: tuple[str, ...]) -> list[list[str]]:
    """Return a header and one row for each setting of `section` itself."""
    lines = [["Key", "Values", "Default", "Paper", "Description"]]
    described = type(section).model_json_schema()["properties"]
    for key, default in section:
        if isinstance(default, Section):
            continue
        name = ".".join([*path, key])
        published = getattr(paper, key)
        change = literal(published) if published != default else ""
        about = described[key]
        text = about["description"].replace("*", r"\*")
        lines.append([f"`{name}`", values(about), literal(default), change, text])
    return lines


def values(schema: dict[str, Any]) -> str:
    """Return the values that a setting may have, in words."""
    if "anyOf" in schema:
        return ", or ".join(map(values, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(literal, schema["enum"]))
    items = schema.get("items")
    kind = f"list ({values(items)})" if items else TYPES[schema["type"]]
    limits = [text.format(schema[key]) for key, text in LIMITS.items() if key in schema]
    return ", ".join([kind, *limits])


def literal(value: Any) -> str:
    """Return a value as it is written in YAML, in Markdown."""
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`"


def table(rows: list[list[str]]) -> str:
    """Return a Markdown table without the columns that are empty below their header."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    header, *lines = (
        "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
        for row in zip(*columns, strict=True)
    )
    return "\n".join([header, "|---" * len(columns) + "|", *lines]) + "\n"


def contents() -> dict[str, str]:
    """Return the generated files: name -> content."""
    schema = json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {"docs/CONFIG.md": reference(), "config/schema.json": schema}


def main(arguments: argparse.Namespace) -> None:
    for name, text in contents().items():
        path = ROOT / name
        if not arguments.check:
            write_bytes(path, text.encode())
        elif not path.is_file() or path.read_text() != text:
            raise InputError(f"{name}: out of date; run: {COMMAND}")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    run(main, parser)
