"""The outputs of a script of the report: made once, each with its provenance.

Nothing heavy (matplotlib, numpy, PIL, jinja2) is imported here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin, provenance_file, write_beside
from i2crc.runtime.atomic import write_bytes, write_json
from i2crc.runtime.errors import InputError


def make_outputs(
    origin: Origin, outputs: Sequence[Path], draw: Callable[[], Sequence[bytes | dict[str, Any]]]
) -> None:
    """Write what `draw` returns to `outputs`, unless they were already made from the same.

    A dict is the content of a JSON output, which also holds its provenance. The provenance of
    bytes is written beside their file. Raise InputError if an input is missing.
    """
    for path in origin.inputs:
        if not path.is_file():
            raise InputError(f"{path}: missing; run the stage that makes it again")

    def make() -> None:
        for path, content in zip(outputs, draw(), strict=True):
            if isinstance(content, dict):
                write_json(path, {**content, "provenance": origin.describe(path)})
            else:
                write_bytes(path, content)
                write_beside(path, origin.describe(path))

    beside = [provenance_file(path) for path in outputs if path.suffix != ".json"]
    make_once(origin, [*outputs, *beside], make)
