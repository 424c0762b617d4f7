"""Keep finished outputs: a job that starts again with the same inputs restores them.

Snakemake deletes the outputs of a job before the job starts. Copies of finished outputs are in the
folder `.kept` beside the first output.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from i2crc.artifacts.damage import damaged_files
from i2crc.artifacts.provenance import Origin, provenance_file, write_beside
from i2crc.runtime.atomic import (
    atomic_path,
    digest_file,
    digest_value,
    read_json,
    write_bytes,
    write_json,
)
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log

Content = dict[str, Any] | bytes | None


def make_once(
    origin: Origin,
    outputs: Sequence[Path],
    make: Callable[[], Sequence[Content] | None],
    key: Any = None,
) -> None:
    """Restore `outputs` if the kept ones were made from the same as now, else make and keep them.

    `make` returns the content of each output. A dict is written as JSON, with the provenance under
    "provenance". Bytes are written as they are; None means that `make` has written the file. The
    provenance of these files is written beside them. `key` is a further JSON value that the
    result depends on; the provenance does not show it. Outputs with "problems", or whose listed
    files are damaged, are made again. Raise InputError if an input is missing.
    """
    made_from = digest_value([origin.fingerprint(), key])
    beside = [provenance_file(path) for path in outputs if path.suffix != ".json"]
    files = [*outputs, *beside]
    if restore(made_from, files) and not any(map(damaged_files, outputs)):
        log.info("%s: already made", outputs[0])
        return
    contents = make()
    for path, content in zip(outputs, contents or (), strict=contents is not None):
        if isinstance(content, dict):
            write_json(path, {**content, "provenance": origin.describe(path)})
            continue
        if content is not None:
            write_bytes(path, content)
        write_beside(path, origin.describe(path))
    if not any(isinstance(one, dict) and one.get("problems") for one in contents or ()):
        keep(made_from, files)


def restore(fingerprint: str, outputs: Sequence[Path]) -> bool:
    """Copy the kept outputs to their places; return False if none of this fingerprint are kept.

    A kept copy that is missing or damaged counts as none.
    """
    record, copies = _places(outputs)
    try:
        if read_json(record) != _record(fingerprint, outputs, copies):
            return False
    except (InputError, OSError):
        return False
    for output, copy in zip(outputs, copies, strict=True):
        _copy(copy, output)
    return True


def keep(fingerprint: str, outputs: Sequence[Path]) -> None:
    """Copy finished outputs to where `restore` finds them.

    If that fails (a full disk), warn: the outputs themselves are finished.
    """
    record, copies = _places(outputs)
    try:
        record.unlink(missing_ok=True)  # from here on until the end there is nothing to restore
        for output, copy in zip(outputs, copies, strict=True):
            _copy(output, copy)
        write_json(record, _record(fingerprint, outputs, copies))
    except OSError as error:
        log.warning("%s: not kept for the next start (%s)", outputs[0], error.strerror)


def _places(outputs: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Return where the record and the copies are.

    The copies are numbered, because outputs in several folders may have the same name. No name has
    a suffix, so that nobody who looks for JSON files takes a copy for an artifact.
    """
    folder = outputs[0].parent / ".kept" / outputs[0].name.replace(".", "-")
    return folder / "record", [folder / str(number) for number in range(len(outputs))]


def _record(fingerprint: str, outputs: Sequence[Path], copies: Sequence[Path]) -> dict[str, Any]:
    names = [os.path.relpath(output, outputs[0].parent) for output in outputs]
    files = {name: digest_file(copy) for name, copy in zip(names, copies, strict=True)}
    return {"fingerprint": fingerprint, "files": files}


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
