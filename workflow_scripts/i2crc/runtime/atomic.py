"""Files that are either whole or absent: atomic writes, JSON, digests of content."""

import functools
import hashlib
import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from i2crc.runtime.errors import InputError, naming

HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
# The temporary files of this machine: `.NAME.HOST-PROCESS.tmp.SUFFIX`.
TEMPORARY = re.compile(rf"\..*\.{HOST}-(\d+)\.tmp(\.[^.]*)?", re.DOTALL)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` if the block ends without an error.

    A storage error (such as a full disk) is raised as an OSError that names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    # The suffix stays last because image and archive writers choose the format by it.
    temporary = path.with_name(f".{path.stem}.{HOST}-{os.getpid()}.tmp{path.suffix}")
    with naming(path, temporary):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@functools.cache  # once per process and folder
def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine left in a folder."""
    with os.scandir(folder) as files:  # there may be a million
        for file in files:
            if found := TEMPORARY.fullmatch(file.name):
                try:
                    os.kill(int(found[1]), 0)  # asks whether the process lives
                except ProcessLookupError:
                    Path(file).unlink(missing_ok=True)
                except PermissionError:
                    pass  # it is another user's


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` by atomic rename."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, keys in the given order, by atomic rename.

    It may hold dataclasses.
    """
    with (
        atomic_path(path) as temporary,
        # A file name that is no UTF-8 becomes an escape of JSON, which is read as the same name.
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        # In pieces, because the text of a million images takes gigabytes.
        json.dump(value, file, indent=1, ensure_ascii=False, default=asdict)
        file.write("\n")


def read_json(path: Path, convert: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Return the content of a JSON file; raise InputError if it is missing or not valid JSON.

    `convert` replaces each object while the file is read, so that many need not be held at once.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # editors add a mark
        return json.loads(text, object_hook=convert)
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; run the stage that makes it again") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); make it readable, then run again"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); delete it and run again") from error


def digest_bytes(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's content; raise OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_value(value: Any) -> str:
    """Return the hexadecimal SHA-256 of a JSON-serialisable value; the order of keys is ignored."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    # JSON and file names may hold lone surrogates, which plain UTF-8 cannot encode.
    return digest_bytes(text.encode(errors="surrogatepass"))


def visible_files(
    folder: str | Path, outside: Iterable[str | Path] = ()
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a folder as os.walk does, in a fixed order, and into linked folders, each once.

    Hidden folders and those `outside` are left out; hidden files are not. A folder that the caller
    takes out of the list of folders is not walked into.
    """
    visited = {os.path.realpath(path) for path in (folder, *outside)}
    for place, folders, files in os.walk(folder, followlinks=True):
        kept = []
        # If a folder is there twice, its own name counts, not that of the link.
        for name in sorted(folders, key=lambda n: (os.path.islink(f"{place}/{n}"), n)):
            real = os.path.realpath(f"{place}/{name}")
            if not name.startswith(".") and real not in visited:
                kept.append(name)
                visited.add(real)  # links may lead in a circle
        folders[:] = kept
        yield place, folders, sorted(files)


def files_digest(path: str | Path, outside: Iterable[str | Path] = ()) -> str:
    """Return a digest of name, size and time of a file, or of the visible files below a folder.

    The content is not read. A missing file counts as such. Folders `outside` are left out.
    """
    digest = hashlib.sha256()

    def add(text: str) -> None:
        digest.update(f"{text}\0".encode(errors="surrogateescape"))

    if not os.path.isdir(path):
        add(_size_and_time(path))
    for place, folders, files in visible_files(path, outside):
        # No time of a folder: it changes with the hidden files in it.
        add("\0".join(["", place.removeprefix(str(path)), *folders]))
        try:
            # There may be a million files: the system finds names in an open folder faster.
            folder = os.open(place, os.O_RDONLY)
        except OSError:
            continue  # it is gone meanwhile
        for name in files:
            if not name.startswith("."):
                add(f"{name}\0{_size_and_time(name, folder)}")
        os.close(folder)
    return digest.hexdigest()


def _size_and_time(path: str | Path, folder: int | None = None) -> str:
    """Return size and time of a file, whose path may be relative to an open folder."""
    try:
        status = os.stat(path, dir_fd=folder)
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
