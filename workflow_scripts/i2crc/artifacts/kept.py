"""Outputs that are kept: a job that starts again and finds its fingerprint unchanged makes nothing.

Snakemake deletes the outputs of a job before the job starts, so a copy of them stands in `.kept`
beside the first output.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from i2crc.artifacts.provenance import Origin
from i2crc.runtime.atomic import atomic_path, digest_file, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log


def make_once(origin: Origin, outputs: Sequence[Path], make: Callable[[], None]) -> None:
    """Call `make`, which writes `outputs`, unless they were already made from the same.

    The same means: code, settings and the content of all inputs.
    """
    fingerprint = origin.fingerprint()
    if restore(fingerprint, outputs):
        log.info("%s: already made", outputs[0])
        return
    make()
    keep(fingerprint, outputs)


def restore(fingerprint: str, outputs: Sequence[Path]) -> bool:
    """Put the kept outputs in their places; return whether there are any of this fingerprint."""
    folder = _folder(outputs)
    with suppress(InputError, LookupError, TypeError, OSError):
        kept = read_json(folder / "kept.json")
        if kept["fingerprint"] != fingerprint:
            return False
        copies = {output: folder / output.name for output in outputs}
        if any(digest_file(copy) != kept["files"][copy.name] for copy in copies.values()):
            return False
        for output, copy in copies.items():
            with atomic_path(output) as temporary:
                shutil.copyfile(copy, temporary)
        return True
    return False


def keep(fingerprint: str, outputs: Sequence[Path]) -> None:
    """Copy finished outputs to where `restore` finds them."""
    folder = _folder(outputs)
    (folder / "kept.json").unlink(missing_ok=True)
    for output in outputs:
        with atomic_path(folder / output.name) as temporary:
            shutil.copyfile(output, temporary)
    files = {output.name: digest_file(folder / output.name) for output in outputs}
    write_json(folder / "kept.json", {"fingerprint": fingerprint, "files": files})


def _folder(outputs: Sequence[Path]) -> Path:
    return outputs[0].parent / ".kept" / outputs[0].name
