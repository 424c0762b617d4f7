"""Errors of the user's input, and plain words for errors of the machine: disk, memory, workers."""

import errno
import os
import re
import shutil
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Names that a sentence lists.
NAMED = 10
CONTINUES = "Nothing finished is lost: start the same command again and it continues"
# errno -> what is wrong, and the remedy.
STORAGE = {
    errno.ENOSPC: (
        "no space is left",
        "free some, or move the folder to a larger disk and put a link in its place",
    ),
    errno.EDQUOT: ("the disk quota is used up", "free space, or ask for a larger quota"),
    errno.EROFS: (
        "the file system is read-only",
        "mount it writable, or set `results` to a folder that can be written to",
    ),
    errno.EACCES: ("no permission", "change the owner or the mode (chown, chmod)"),
    errno.EPERM: ("no permission", "change the owner or the mode (chown, chmod)"),
    errno.EIO: ("the disk reports an input/output error", "see what `dmesg` says of it"),
}
MEMORY = (
    "Lower runtime.workers for a training, runtime.inference_threads for other stages, or the "
    "number of --cores, or choose a smaller `batch_size` for a training (`accumulate` makes up for "
    f"it). {CONTINUES}"
)
# Libraries written in Rust give the errno only in their message.
OS_ERROR = re.compile(r"\(os error (\d+)\)")
NO_MEMORY = re.compile(r"(can't|cannot) allocate memory|out of memory", re.IGNORECASE)
# How torch says that a data-loading process has no room to hand over a batch.
NO_SHARED_MEMORY = re.compile(r"unable to (allocate|mmap|open|write).*/torch_|signal: Bus error")
SHARED_MEMORY = "/dev/shm"
# Signals of crashes, as torch names those of a data-loading process.
CRASHES = "Segmentation fault|Aborted|Illegal instruction|Floating point exception"
# Torch raises what a data-loading process raised as another error, with the traceback as its text.
IN_LOADER = re.compile(
    r"Caught FileError in DataLoader .*^\S+FileError: (.*)", re.DOTALL | re.MULTILINE
)


class InputError(Exception):
    """The user's input is wrong; the message names the file, the value and the remedy."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file (or with a line of it, `FILE:LINE`), and the remedy."""

    file: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.remedy}"


class FileError(InputError):
    """An InputError with its Problem, so that a stage can record it and look for others."""

    def __init__(self, file: Path | str, problem: str, remedy: str) -> None:
        self.problem = Problem(str(file), problem, remedy)
        super().__init__(str(self.problem))

    def __reduce__(self) -> tuple[type["FileError"], tuple[str, str, str]]:
        """Let a worker process send this error to its parent."""
        return FileError, (self.problem.file, self.problem.problem, self.problem.remedy)


class WorkerCrashError(Exception):
    """A worker process ended by `signal` while one of `images` was made."""

    def __init__(self, signal: str, images: Sequence[str]) -> None:
        self.signal, self.images = signal, images
        super().__init__(f"{signal} at one of {listing(images)}")


def listing(names: Sequence[str], named: int = NAMED) -> str:
    """Return names as text, the first `named` of them if they are more."""
    more = len(names) - named
    return ", ".join(names[:named]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: 1 image, 2 images."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or noun + 's'}"


def no_such(kind: str, path: Path | str) -> str:
    """Return what is wrong with a path that is not there; if it is relative, name its folder."""
    return f"no such {kind}" + ("" if Path(path).is_absolute() else f" below {Path.cwd()}")


def problem_of(error: InputError, file: Path | str, remedy: str) -> Problem:
    """Return the Problem of an error; `file` and `remedy` stand in if it is no FileError."""
    if isinstance(error, FileError):
        return error.problem
    return Problem(str(file), str(error).removeprefix(f"{file}: "), remedy)


def explain(error: BaseException) -> str | None:
    """Return what happened and the remedy in plain words; None if the error is a bug of ours.

    The errors that `error` was raised from are looked at, too.
    """
    chain = _chain(error)
    if found := IN_LOADER.match(str(error)):
        return found[1].strip()
    for cause in chain:
        if _is_shared_memory_full(cause):
            return _shared_memory_message()
        if storage_number(cause):
            return _storage_message(cause)
        if crash := _crash(cause):
            return crash
        has_words = isinstance(cause, OSError | RuntimeError) and NO_MEMORY.search(str(cause))
        if has_words or isinstance(cause, MemoryError):
            first_line = str(cause).partition("\n")[0]
            return f"memory ran out ({first_line or type(cause).__name__}). {MEMORY}"
    # Last, because torch says it beside the signal that ended the worker.
    if any(map(_is_lost_worker, chain)):
        return (
            "a worker process was killed, most likely by the kernel because memory ran out "
            f"(`dmesg` would say so). {MEMORY}"
        )
    return None


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Raise storage errors of the block as an OSError that names `path`.

    Only errors that name no file, or name `temporary`, are changed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # Torch hides the cause behind a RuntimeError of its own.
        for cause in _chain(error):
            number = storage_number(cause)
            if number and getattr(cause, "filename", None) in (None, str(temporary)):
                raise OSError(number, os.strerror(number), str(path)) from error
        raise


def storage_number(error: BaseException) -> int | None:
    """Return the errno of an error of STORAGE; None for other errors."""
    number = error.errno if isinstance(error, OSError) else None
    if found := OS_ERROR.search(str(error)):
        number = int(found[1])
    return number if number in STORAGE else None


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error, the error that it was raised from, and so on."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _storage_message(error: BaseException) -> str:
    """Return a message with the file, what is wrong with its file system, and the remedy."""
    what, remedy = STORAGE[storage_number(error) or 0]
    path = getattr(error, "filename", None)
    place = Path(str(path or ".")).absolute()
    folders = [folder for folder in (place, *place.parents) if folder.exists()]
    mount = next(filter(os.path.ismount, folders))
    free = shutil.disk_usage(folders[0]).free / 2**20
    return (
        f"{path or 'a file'}: {what} (file system at {mount}, {free:.1f} MiB free). The remedy: "
        f"{remedy}. {CONTINUES}"
    )


def _is_shared_memory_full(error: BaseException) -> bool:
    if NO_SHARED_MEMORY.search(str(error)):
        return True
    # A lock of multiprocessing lies there, too; its error names no file.
    is_full = isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename
    return is_full and _in_multiprocessing(error)


def _shared_memory_message() -> str:
    size, _, free = shutil.disk_usage(SHARED_MEMORY)
    return (
        f"{SHARED_MEMORY}: this shared memory ({size / 2**20:.0f} MiB, {free / 2**20:.0f} MiB free)"
        " is too small for the batches of the data-loading processes; start the container with "
        "--shm-size=8g or --ipc=host, or set runtime.workers to 0 (slower). " + CONTINUES
    )


def _crash(error: BaseException) -> str | None:
    """Return what to do about a worker that crashed in native code; None for other errors."""
    loader = re.search(rf"DataLoader worker .* signal: ({CRASHES})", str(error))
    if loader:
        what = loader[1]
    elif isinstance(error, WorkerCrashError):
        what = str(error)
    else:
        return None
    return (
        f"a worker process crashed in compiled code ({what}): look for extreme values in the "
        f"settings of this stage and at these images, or report it as a bug. {CONTINUES}"
    )


def _is_lost_worker(error: BaseException) -> bool:
    if isinstance(error, BrokenProcessPool) or "DataLoader worker (pid" in str(error):
        return True
    # A worker that is killed while it sends a result breaks its pipe.
    is_broken = isinstance(error, ConnectionError | EOFError | FileNotFoundError)
    return is_broken and _in_multiprocessing(error)


def _in_multiprocessing(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any("multiprocessing" in Path(frame.filename).parts for frame in frames)
