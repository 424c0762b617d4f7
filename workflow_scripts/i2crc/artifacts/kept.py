"""Copies of finished outputs, so that a job that starts again in vain computes nothing.

Snakemake deletes the outputs of a job before the job starts. The copies are in the folder `.kept`
beside the first output.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import Origin
from i2crc.runtime.atomic import atomic_path, digest_file, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log


def make_once(origin: Origin, outputs: Sequence[Path], make: Callable[[], None]) -> None:
    """Restore `outputs` if the kept ones have the fingerprint of `origin`, else call `make`.

    `make` writes all of `outputs`. The fingerprint covers code, settings, seed and the content of
    the inputs.
    """
    fingerprint = origin.fingerprint()
    if restore(fingerprint, outputs):
        log.info("%s: already made", outputs[0])
        return
    make()
    keep(fingerprint, outputs)


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
