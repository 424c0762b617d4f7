"""Read a configuration from YAML, apply its preset, validate it, and explain errors."""

import difflib
import reprlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from i2crc.config.schema import FORMATS, PASSWORD, PATTERNS, QUOTES, Config
from i2crc.runtime.errors import InputError

# Preset -> the settings that differ from the defaults. The comments are numbers of METHOD.md.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "dataset": {"max_side": 0},
        "classifier": {"precision": "fp32"},
        "segmentation": {
            "precision": "fp32",
            "preprocessing": "caffe_bgr",  # 19
            "validations": 0,
        },
        "crf": {"engine": "pydensecrf", "image": "legacy", "labels": "all"},  # 24-26
    },
}


def load_config(values: dict[str, Any], source: str) -> Config:
    """Return the configuration of `values`, which override those of their preset.

    `source` is the name of the file, for messages. Raise InputError with one line per problem: the
    key, what is wrong, and for an unknown key the nearest valid one.
    """
    preset = PRESETS.get(str(values.get("preset")), {})
    dataset = values.get("dataset")
    kind = str(dataset.get("format")) if isinstance(dataset, dict) else ""
    defaults = merge(Config().model_dump(), {"dataset": FORMATS.get(kind, {})})
    # Start from the defaults, so that a section that sets one key keeps the others.
    complete = merge(merge(defaults, preset), values)
    try:
        return Config.model_validate(complete)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise InputError(f"{source}: " + f"\n{source}: ".join(lines)) from None


def load_run_config(
    values: dict[str, Any], files: Sequence[str | Path], options: Mapping[str, Any]
) -> Config:
    """Return the configuration that Snakemake merged from `files` and the `options` of --config.

    Raise InputError as `load_config` does, and for a file with a key that is given twice.
    """
    for file in files:
        read_yaml(Path(file))  # Snakemake would silently use the last of two equal keys
    return load_config(values, name_sources(files, options))


def name_sources(files: Sequence[str | Path], options: Mapping[str, Any]) -> str:
    """Return what Snakemake merged a configuration from, for messages."""
    return " + ".join([*map(str, files), *(["--config"] if options else [])])


def dump_config(config: Config) -> str:
    """Return a configuration as YAML with every setting; `load_config` makes the same of it."""
    about = "# The settings of the last run of this experiment; give them with --configfile.\n"
    return about + yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML or JSON file, without running code of tags in it.

    Raise InputError if it cannot be read or a key is given twice.
    """
    try:
        with open(path, "rb") as file:
            return yaml.load(file, _Loader)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); correct the path or its permissions"
        ) from error
    except Exception as error:  # PyYAML raises any kind for a tag that does not fit its value
        raise InputError(f"{path}: not readable as YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """A loader that refuses a key given twice; YAML would silently use the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [(key.tag, key.value) for key, _ in node.value]
        for key, _ in reversed(node.value):
            if keys.count((key.tag, key.value)) > 1:
                problem = f"`{key.value}` is given twice; delete one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings with those of `above` in place of those of `below`."""
    merged = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            # Snakemake passes a `null` of --config as text.
            merged[key] = None if value == "null" else value
    return merged


def _explain(problem: Any) -> str:
    """Return one of pydantic's errors as a line for the user."""
    *parents, key = problem["loc"] or [""]
    path = _short(".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        model: Any = Config
        for parent in parents:
            model = model.model_fields[parent].annotation
        near = difflib.get_close_matches(str(key)[:100], model.model_fields, n=1, cutoff=0)
        return f"unknown key `{path}`; the nearest valid key is `{'.'.join([*parents, *near])}`"
    message = PATTERNS.get(problem.get("ctx", {}).get("pattern"), problem["msg"])
    message = message.removeprefix("Value error, ")
    if problem["type"] == "finite_number":
        message = "expected a finite number"
    if problem["type"] == "string_type":
        # Snakemake takes quoted digits of --config for a number, too.
        letter = "; after --config, begin it with a letter, as in run2"
        message += f" ({QUOTES}{letter * (path == 'experiment')})"
    if not path:
        return message
    value = problem["input"]
    if isinstance(value, str) and "://" in value:
        value = PASSWORD.sub("...@", value).partition("?")[0]  # both may be secrets
    return f"`{path}` is {_short(reprlib.repr(value))}: {_short(message, 400)}"


def _short(text: str, length: int = 200) -> str:
    """Return the start of a text on one line, `?` in place of what cannot be printed."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:length])
    return shown if len(text) <= length else f"{shown}..."
