"""Manifests: the files that a stage, or one shard of it, has made.

A manifest is a JSON file ``{"stage", "folder", "count", "files": {name: sha256}, "sizes": {name:
bytes}, "provenance"}``; `folder` is relative to the manifest. It is written after all of its files.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from i2crc.artifacts.journal import FileRecord, Journal
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Manifest, read_checked
from i2crc.runtime.atomic import digest_value, write_json
from i2crc.runtime.errors import WorkerCrashError
from i2crc.runtime.log import log
from i2crc.runtime.parallel import crash_of, no_interrupts
from i2crc.runtime.parser import make_parser
from i2crc.runtime.progress import clock, status

LOG_SECONDS = 10.0
# Writes the files of one image by atomic rename and returns their names below the folder.
Work = Callable[[str], Sequence[str]]
# Loads what the work needs (a network) and returns the work and the pool that it runs in.
Prepare = Callable[[], tuple[Work, Executor]]


def write_manifest(
    path: Path,
    origin: Origin,
    folder: Path,
    files: Mapping[str, FileRecord],
    provenance: dict[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Write the manifest of `files` (name below `folder` -> record) with further `facts`.

    `folder` is below the folder of the manifest. Without `provenance`, `origin` is described now.
    """
    names = sorted(files)
    content = {
        "stage": origin.stage,
        "folder": str(folder.relative_to(path.parent)),
        "count": len(files),
        **facts,
        "files": {name: files[name].sha256 for name in names},
        "sizes": {name: files[name].bytes for name in names},
        "provenance": provenance or origin.describe(path),
    }
    write_json(path, content)


def read_manifests(paths: Iterable[Path]) -> dict[str, tuple[Path, str]]:
    """Return all files of some manifests: name -> (path, SHA-256).

    Raise InputError for a manifest that is missing or damaged.
    """
    found: dict[str, tuple[Path, str]] = {}
    for path in paths:
        manifest = read_checked(path, Manifest)
        folder = path.parent / manifest["folder"]
        found.update((name, (folder / name, sha)) for name, sha in manifest["files"].items())
    return found


def manifests_digest(paths: Iterable[Path]) -> str:
    """Return a digest of the content behind manifests, the same for any number of shards."""
    return digest_value({name: sha for name, (_, sha) in read_manifests(paths).items()})


def shard_parser(description: str | None, section: str = "") -> argparse.ArgumentParser:
    """Return a parser with the options that every stage has that runs in shards.

    `section` names the section of the configuration that the stage takes; "" for none.
    """
    parser = make_parser(description)
    if section:
        parser.add_argument("--settings", default="{}", help=f"JSON: the section `{section}`")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--folder", type=Path, required=True, help="output: folder of the images")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest of these")
    return parser


def make_shard(
    manifests: Mapping[Path, Path],
    origin: Origin,
    folder: Path,
    keys: Mapping[str, list[Any]],
    prepare: Prepare,
) -> None:
    """Make the files of every image of a shard that are not made yet, then write the manifests.

    `manifests` maps each manifest to the folder of its files, which is `folder` or one below it.
    The journal is beside the first manifest. `keys` maps image ids to what their files are made
    from, beside the code and the settings. `prepare` is called only if an image has to be made. If
    an image fails, or a signal ends the process, the images that are being made are finished and
    noted, the rest is cancelled, and the first error is raised.
    """
    first = next(iter(manifests))
    journal = Journal(first.with_suffix(".journal"), folder)
    common = origin.key()
    digests = {image_id: digest_value([*common, *key]) for image_id, key in keys.items()}
    made = journal.finished(digests)
    pending = [image_id for image_id in keys if image_id not in made]
    status.report("image", len(made), len(keys))
    log.info("%d of %d images were already made", len(made), len(keys))
    if pending:
        made |= _make(journal, digests, pending, prepare)
    files = {name: record for records in made.values() for name, record in records.items()}
    # If nothing has changed, the provenance stays as well, so that the manifests are byte for byte
    # what they were and Snakemake has no reason to start the stages after this one.
    made_of = digest_value([common, digests, {n: record.sha256 for n, record in files.items()}])
    provenance = journal.provenance(made_of)
    if provenance is None:
        provenance = origin.describe(first)
        journal.finish(made_of, provenance)
    for manifest, own_folder in manifests.items():
        prefix = "" if own_folder == folder else f"{own_folder.relative_to(folder)}/"
        own = {n.removeprefix(prefix): one for n, one in files.items() if n.startswith(prefix)}
        # Relative to this manifest, and of today's inputs.
        facts = {**provenance, "inputs": origin.recorded_inputs(manifest)}
        write_manifest(manifest, origin, own_folder, own, facts)
    log.info("%s: images: %d, files: %d", origin.stage, len(keys), len(files))


def _make(
    journal: Journal, digests: Mapping[str, str], pending: Sequence[str], prepare: Prepare
) -> dict[str, dict[str, FileRecord]]:
    """Make the files of the pending images in a pool, and note each image in the journal."""
    work, pool = prepare()
    made: dict[str, dict[str, FileRecord]] = {}
    futures: dict[Future, str] = {}
    workers: set[BaseProcess] = set()
    with pool:
        try:
            with no_interrupts():
                for image_id in pending:
                    futures[pool.submit(work, image_id)] = image_id
                    # One that crashes is no longer listed afterwards.
                    workers.update(multiprocessing.active_children())
            begin = logged = time.monotonic()
            before = len(digests) - len(pending)
            for count, future in enumerate(as_completed(futures), 1):
                image_id = futures[future]
                made[image_id] = journal.add(image_id, digests[image_id], future.result())
                now, done, total = time.monotonic(), before + count, len(digests)
                rate = count / max(now - begin, 1e-9)
                left = (total - done) / rate
                status.report("image", done, total, rate, left)
                if now - logged >= LOG_SECONDS:
                    logged = now
                    log.info("image %d/%d %.4g images/s ETA %s", done, total, rate, clock(left))
        except BaseException as error:
            # as_completed does not wait for cancelled futures, so finish the running ones here.
            pool.shutdown(cancel_futures=True)
            for future, image_id in futures.items():
                if image_id not in made and not future.cancelled() and not future.exception():
                    made[image_id] = journal.add(image_id, digests[image_id], future.result())
            if isinstance(error, BrokenProcessPool) and (crash := crash_of(workers)):
                # The workers take the images in order.
                undone = [image_id for image_id in pending if image_id not in made]
                raise WorkerCrashError(crash, undone[: len(workers)]) from error
            raise
    return made


def threads(count: int) -> ThreadPoolExecutor:
    """Return a pool for work that releases the interpreter's lock (decoding, numpy, torch)."""
    return ThreadPoolExecutor(count)
