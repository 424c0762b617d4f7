"""Manifests: the files that a stage, or one shard of it, has made.

A manifest is a JSON file ``{"stage", "folder", "count", "files": {name: sha256}, "sizes": {name:
bytes}, "provenance"}``; `folder` is relative to the manifest. It is written when all of its files
are there.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from i2crc.artifacts.journal import FileRecord, Journal
from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.artifacts.schemas import FileList, Manifest, read_checked
from i2crc.runtime.atomic import digest_value, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parallel import no_interrupts
from i2crc.runtime.progress import ALREADY, Pace

LOG_SECONDS = 10.0
# Where manifests are, below the results of an experiment.
MANIFESTS = (
    "dataset/manifest.json", "saliency/manifest.json", "data/*.json", "cams/*.json",
    "labels/*/*.json", "predictions/*/*/*.json", "predictions/*/*/logits/*.json", "crf/*/*/*.json",
)  # fmt: skip
# Writes the files of one image by atomic rename and returns their names below the folder.
Work = Callable[[str], Sequence[str]]
# Loads what the work needs (a network, a pool); called only if there is work.
Prepare = Callable[[], tuple[Work, Executor]]


def write_manifest(
    path: Path,
    origin: Origin,
    folder: Path,
    files: Mapping[str, FileRecord],
    provenance: dict[str, Any] | None = None,
    **facts: Any,
) -> None:
    """Write the manifest of `files` (name below `folder` -> record) with further `facts`."""
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
    """Return all files of some manifests: name -> (path, SHA-256)."""
    found = {}
    for path in paths:
        manifest = read_checked(path, Manifest)
        folder = path.parent / manifest["folder"]
        found.update((name, (folder / name, sha)) for name, sha in manifest["files"].items())
    return found


def damaged_files(manifest: Path) -> list[str]:
    """Return the names of listed files that are missing or have another size than recorded."""
    content = read_checked(manifest, FileList)
    folder = manifest.parent / content.get("folder", ".")

    def size(name: str) -> int | None:
        try:
            return os.stat(folder / name).st_size
        except OSError:
            return None

    return [name for name, recorded in content.get("sizes", {}).items() if size(name) != recorded]


def forget_damaged(results: Path) -> list[str]:
    """Remove each manifest that lists damaged files, and each weight file of another size.

    Snakemake then starts their stages, which make the damaged files alone. A manifest that records
    problems is removed, too: they may have been corrected where Snakemake cannot see it. Return a
    sentence for each.
    """
    told = []
    for path in sorted(file for pattern in MANIFESTS for file in results.glob(pattern)):
        try:
            names = damaged_files(path)
            first = (
                f"{len(names)} of its files are missing or changed (first: {names[0]})"
                if names
                else ""
            )
            problem = first or ("it records problems" if read_json(path).get("problems") else "")
        except InputError as error:
            problem = str(error)
        if problem:
            path.unlink()
            told.append(f"{path}: {problem}; its stage runs again")
    for beside in sorted(results.glob("**/weights.safetensors.provenance")):
        weights, facts = beside.with_suffix(""), read_provenance(beside.with_suffix("")) or {}
        if (
            weights.is_file()
            and facts.get("bytes", weights.stat().st_size) != weights.stat().st_size
        ):
            weights.unlink()
            told.append(f"{weights}: changed; it is copied or trained again")
    return told


def manifests_digest(paths: Iterable[Path]) -> str:
    """Return a digest of the content behind manifests, the same for any number of shards."""
    return digest_value({name: sha for name, (_, sha) in read_manifests(paths).items()})


def make_shard(
    manifests: Mapping[Path, Path],
    origin: Origin,
    folder: Path,
    keys: Mapping[str, list[Any]],
    prepare: Prepare,
) -> None:
    """Make the files of every image of a shard that are not made yet, then write the manifests.

    manifests: manifest -> the folder of its files, which is `folder` or one below it. The journal
    stands beside the first manifest. keys: image id -> what its files are made of, beside the code
    and the settings. If an image fails, or a signal ends the process, the images that are being
    made are finished and noted, the rest is cancelled, and the first error is raised.
    """
    first = next(iter(manifests))
    journal = Journal(first.with_suffix(".journal"), folder, keys)
    common = origin.key()
    digests = {image_id: digest_value([*common, *key]) for image_id, key in keys.items()}
    known = {image_id: journal.files(image_id, key) for image_id, key in digests.items()}
    files = {name: one for made in known.values() if made for name, one in made.items()}
    pending = [image_id for image_id, made in known.items() if made is None]
    log.info(ALREADY.format(len(keys) - len(pending), len(keys)))
    provenance = journal.provenance
    if pending or provenance is None or provenance.get("made_of") != digest_value(digests):
        files |= _make(journal, digests, pending, prepare)
        provenance = {**origin.describe(first), "made_of": digest_value(digests)}
        journal.finish(provenance)
    for manifest, own_folder in manifests.items():
        prefix = "" if own_folder == folder else f"{own_folder.relative_to(folder)}/"
        own = {n.removeprefix(prefix): one for n, one in files.items() if n.startswith(prefix)}
        write_manifest(manifest, origin, own_folder, own, provenance)
    log.info("%s: %d images, %d files", origin.stage, len(keys), len(files))


def _make(
    journal: Journal, digests: dict[str, str], pending: list[str], prepare: Prepare
) -> dict[str, FileRecord]:
    """Make the files of the pending images in a pool, and note each image in the journal."""
    if not pending:
        return {}
    work, pool = prepare()
    files: dict[str, FileRecord] = {}
    futures: dict[Future, str] = {}
    with pool:
        with no_interrupts():
            futures = {pool.submit(work, image_id): image_id for image_id in pending}
        try:
            begin = logged = time.monotonic()
            done = len(digests) - len(pending)
            for count, future in enumerate(as_completed(futures), 1):
                image_id = futures[future]
                files.update(journal.add(image_id, digests[image_id], future.result()))
                now = time.monotonic()
                if now - logged >= LOG_SECONDS:
                    logged, rate = now, count / (now - begin)
                    left = int((len(pending) - count) / rate)
                    log.info(Pace("image", done + count, len(digests), rate, left).line())
        except BaseException:
            # as_completed does not wait for cancelled futures, so finish the running ones here.
            pool.shutdown(cancel_futures=True)
            noted = set(files)
            for future, image_id in futures.items():
                if not future.cancelled() and not future.exception():
                    names = future.result()
                    if not noted.issuperset(names):
                        journal.add(image_id, digests[image_id], names)
            raise
    return files


def threads(count: int) -> ThreadPoolExecutor:
    """Return a pool for work that releases the interpreter's lock (decoding, numpy, torch)."""
    return ThreadPoolExecutor(count)
