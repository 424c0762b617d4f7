"""Copies of finished outputs, so that a job that starts again in vain computes nothing.

Snakemake deletes the outputs of a job before the job starts. The copies are in the folder `.kept`
beside the first output.
"""

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
        if read_json(record) != _record(fingerprint, copies):
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
        write_json(record, _record(fingerprint, copies))
    except OSError as error:
        log.warning("%s: not kept for the next start (%s)", outputs[0], error.strerror)


def _places(outputs: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Return where the record and the copies are. Outputs of one name may be in several folders."""
    folder = outputs[0].parent / ".kept" / outputs[0].name
    copies = [folder / f"{number}-{output.name}" for number, output in enumerate(outputs)]
    return folder / "kept.json", copies


def _record(fingerprint: str, copies: Sequence[Path]) -> dict[str, Any]:
    files = {copy.name: digest_file(copy) for copy in copies}
    return {"fingerprint": fingerprint, "files": files}


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
