"""Read and validate a configuration: YAML, presets, messages that name the key and the remedy."""

import difflib
import reprlib
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    ValidationError,
)

from i2crc.config.schema import PATTERNS, QUOTES, Config
from i2crc.runtime.errors import InputError

# What `paper` sets differently from the defaults above; METHOD.md's numbers in comments.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {
        "classifier": {"precision": "fp32"},
        "segmentation": {"precision": "fp32", "preprocessing": "caffe_bgr"},  # 19
        "crf": {"image": "legacy"},  # 25
    },
}


def load_config(values: dict[str, Any], source: str) -> Config:
    """Validate `values` on top of their preset.

    `source` names the file for the messages. Raises InputError with one line per problem: the key,
    what is wrong, and for an unknown key the nearest one that exists.
    """
    preset = PRESETS.get(str(values.get("preset")), {})
    # Onto the complete defaults, so that naming one key of a section keeps the section's others.
    complete = _merge(_merge(Config().model_dump(), preset), values)
    try:
        return Config.model_validate(complete)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise InputError(f"{source}: " + f"\n{source}: ".join(lines)) from None


def load_run_config(
    values: dict[str, Any], files: Sequence[str | Path], options: Mapping[str, Any]
) -> Config:
    """Return the configuration that Snakemake merged from `files` and the `options` of --config."""
    for file in files:
        read_yaml(Path(file))  # Snakemake itself lets the last of two equal keys win
    sources = [*map(str, files), *(["--config"] if options else [])]
    return load_config(values, " + ".join(sources))


def read_config(path: Path) -> Config:
    """Read and validate one YAML file."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected `key: value` lines, found {type(values).__name__}")
    return load_config(values, str(path))


def read_yaml(path: Path) -> Any:
    """The content of a YAML (or JSON) file; no tag runs code, and a key given twice is refused."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); mend that first") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"{path}: {line}not readable as YAML: {error.problem}") from error
    # The others are what yaml's own constructors raise on tags that lie, such as `!!int x`.
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
        AttributeError,
        LookupError,
        TypeError,
    ) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """A loader that refuses a mapping in which YAML would let the last of two values win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        known = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in known:
                problem = f"`{key.value}` is given twice; delete one of them"
                raise yaml.constructor.ConstructorError(
                    problem=problem, problem_mark=key.start_mark
                )
            known.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        # Snakemake hands a `null` of --config over as text.
        merged[key] = _merge(merged[key], value) if both else None if value == "null" else value
    return merged


def _explain(problem: Any) -> str:
    path = _short(".".join(str(part) for part in problem["loc"]))
    if problem["type"] == "extra_forbidden":
        *parents, key = problem["loc"]
        near = difflib.get_close_matches(str(key)[:100], _keys_at(parents), n=1, cutoff=0)
        nearest = ".".join([*map(str, parents), near[0]])
        return f"unknown key `{path}`; the nearest valid key is `{nearest}`"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "secret":
        return f"`{path}`: {problem['msg']}"
    message = problem["msg"]
    if problem["type"] == "string_pattern_mismatch":
        message = PATTERNS[problem["ctx"]["pattern"]]
    if problem["type"] == "string_type":
        message += f" ({QUOTES})"
    return f"`{path}` is {_short(reprlib.repr(problem['input']))}: {_short(message, 400)}"


def _short(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def _keys_at(parents: list[Any]) -> list[str]:
    model: Any = Config
    for part in parents:
        model = model.model_fields[part].annotation
    return list(model.model_fields)
