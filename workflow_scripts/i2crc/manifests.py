"""Manifests: what a stage (or one shard of it) has made, with the SHA-256 of every file.

A manifest is a JSON file ``{"stage", "folder", "count", "files": {name: sha256}, "provenance"}``;
`folder` is relative to the manifest. It is written when all of its files are there. Where it has
``"temporary": true``, the folder is removed as soon as no stage needs it any more.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2crc.artifacts import Manifest, read_checked
from i2crc.console import log
from i2crc.faults import naming
from i2crc.files import digest_file, digest_value, write_json
from i2crc.job_log import ALREADY, Pace
from i2crc.parallel import no_interrupts
from i2crc.provenance import Origin

LOG_SECONDS = 10.0


def write_manifest(
    path: Path, origin: Origin, folder: Path, files: dict[str, str], **facts: Any
) -> None:
    """Write the manifest of `files` (name below `folder` -> SHA-256) with further `facts`."""
    content = {
        "stage": origin.stage,
        "folder": str(folder.relative_to(path.parent)),
        "count": len(files),
        **facts,
        "files": dict(sorted(files.items())),
        "provenance": origin.describe(path),
    }
    write_json(path, content)


def read_manifests(paths: Iterable[Path]) -> dict[str, tuple[Path, str]]:
    """All files of some manifests: name -> (path, SHA-256)."""
    found = {}
    for path in paths:
        manifest = read_checked(path, Manifest)
        folder = path.parent / manifest["folder"]
        found.update((name, (folder / name, sha)) for name, sha in manifest["files"].items())
    return found


def is_removed(manifest: Path, content: dict[str, Any]) -> bool:
    """Whether the files of a manifest were temporary and have been removed since."""
    return content.get("temporary", False) and not (manifest.parent / content["folder"]).is_dir()


def manifests_digest(paths: Iterable[Path]) -> str:
    """A digest of the content behind manifests, the same for any number of shards."""
    return digest_value({name: sha for name, (_, sha) in read_manifests(paths).items()})


class Journal:
    """What an unfinished shard has made so far: one JSON line per image, beside its files.

    It survives a kill, so that the next run makes only what is missing or out of date.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.done: dict[str, dict[str, Any]] = {}
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            with suppress(ValueError, LookupError, TypeError, RecursionError):
                # A line that a kill cut short, or of something else, is as good as none.
                entry = json.loads(line)
                self.done[entry["id"]] = {"key": entry["key"], "files": dict(entry["files"])}
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            # Its first block, before images can fill the disk and none of them could be noted.
            with naming(path):
                path.write_bytes(b"\n")

    def files(self, image_id: str, key: str) -> dict[str, str] | None:
        """The files made of an image under `key`, if all are there unchanged."""
        entry = self.done.get(image_id)
        if entry is None or entry["key"] != key:
            return None
        for name, sha in entry["files"].items():
            path = self.folder / name
            if not path.is_file() or digest_file(path) != sha:
                return None
        return entry["files"]

    def add(self, image_id: str, key: str, names: Sequence[str]) -> dict[str, str]:
        """Record that `names` were made of an image; returns them with their digests."""
        files = {name: digest_file(self.folder / name) for name in names}
        line = json.dumps({"id": image_id, "key": key, "files": files})
        with naming(self.path), open(self.path, "ab+") as file:
            # A kill may have cut the last line short; keep this one apart from it.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())
        return files


def make_shard(
    manifest: Path,
    origin: Origin,
    folder: Path,
    keys: dict[str, list[Any]],
    work: Callable[[str], list[str]],
    pool: Executor,
) -> None:
    """Make the files of every image of a shard (see `make_files`), then write its manifest."""
    files = make_files(manifest.with_suffix(".journal"), origin, folder, keys, work, pool)
    write_manifest(manifest, origin, folder, files)


def make_files(
    journal_file: Path,
    origin: Origin,
    folder: Path,
    keys: dict[str, list[Any]],
    work: Callable[[str], list[str]],
    pool: Executor,
) -> dict[str, str]:
    """Make the files of every image of a shard but those already made; their SHA-256 by name.

    keys: image id -> what its files are made of, beside the code and the settings. `work(id)`
    writes an image's files into `folder` by atomic rename and returns their names; it runs in
    `pool`. When an image fails, or a signal ends the process, what is under way is finished and
    kept, the rest cancelled, and the first error raised.
    """
    journal = Journal(journal_file, folder)
    common = origin.key()
    digests = {image_id: digest_value([*common, *key]) for image_id, key in keys.items()}
    files: dict[str, str] = {}
    pending = []
    for image_id, key in digests.items():
        made = journal.files(image_id, key)
        if made is None:
            pending.append(image_id)
        else:
            files.update(made)
    begin = logged = time.monotonic()
    made = len(keys) - len(pending)
    log.info(ALREADY.format(made, len(keys)))
    folder.mkdir(parents=True, exist_ok=True)
    with no_interrupts():
        futures = {pool.submit(work, image_id): image_id for image_id in pending}
    try:
        for count, future in enumerate(as_completed(futures), 1):
            files.update(journal.add(futures[future], digests[futures[future]], future.result()))
            now = time.monotonic()
            if now - logged >= LOG_SECONDS:
                logged, rate = now, count / (now - begin)
                left = int((len(pending) - count) / rate)
                log.info(Pace("image", made + count, len(keys), rate, left).line())
    except BaseException:
        # Not waited for by as_completed, which never yields what is cancelled here.
        pool.shutdown(cancel_futures=True)
        for future, image_id in futures.items():
            if not future.cancelled() and not future.exception() and image_id not in files:
                journal.add(image_id, digests[image_id], future.result())
        raise
    log.info("%s: %d images, %d files", origin.stage, len(keys), len(files))
    return files


def threads(count: int) -> ThreadPoolExecutor:
    """A pool for work that leaves the interpreter (decoding, numpy)."""
    return ThreadPoolExecutor(count)
