"""Errors of the machine in plain words; a bug of ours keeps its traceback."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError, WorkerCrashError, counted, explain, naming


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, ("no space is left", "free some")),
        (errno.EDQUOT, ("quota is used up", "quota")),
        (errno.EROFS, ("read-only", "mount it writable")),
        (errno.EACCES, ("no permission", "chown")),
        (errno.EIO, ("input/output error", "dmesg")),
    ],
)
def test_storage_names_file_cause_file_system_and_remedy(tmp_path, number, words):
    path = tmp_path / "not" / "there" / "file.png"
    message = explain(OSError(number, os.strerror(number), str(path)))
    mount = next(str(p) for p in tmp_path.parents if os.path.ismount(p))
    for word in (*words, str(path), f"file system at {mount}", "MiB free", "it continues"):
        assert word in message


def test_an_error_that_names_no_file_gets_the_name_of_what_is_written(tmp_path):
    target = tmp_path / "weights.safetensors"
    with pytest.raises(OSError, match="No space") as caught, atomic_path(target):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(target)
    with pytest.raises(OSError, match="No space") as caught, atomic_path(target):
        raise ValueError("I/O error: No space left on device (os error 28)")
    assert caught.value.filename == str(target)
    assert not list(tmp_path.iterdir())


def test_what_another_file_caused_is_not_blamed_on_the_one_written(tmp_path):
    cause = OSError(errno.EACCES, "Permission denied", "/photographs/a.jpg")
    with pytest.raises(OSError, match="denied") as caught, naming(tmp_path / "b.png"):
        raise cause
    assert caught.value is cause
    with pytest.raises(InputError, match="correct it"), naming(tmp_path / "b.png"):
        raise InputError("a.jpg: correct it") from cause


class Doomed(Dataset):
    def __init__(self, signal_number: int = signal.SIGKILL) -> None:
        self.signal_number = signal_number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, _: int) -> None:
        os.kill(os.getpid(), self.signal_number)


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_while_it_hands_over_is_named():
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pytest.raises(EOFError) as lost:
        ours.recv()
    assert "a worker process was killed" in explain(lost.value)
    assert explain(EOFError("No data left in file")) is None


def test_killed_workers_are_named_with_what_to_lower():
    with pytest.raises(RuntimeError) as loader:
        list(DataLoader(Doomed(), num_workers=1))
    with pytest.raises(BrokenProcessPool) as pool, ProcessPoolExecutor(1) as executor:
        list(executor.map(die, [1]))
    for error in (loader.value, pool.value):
        message = explain(error)
        for word in ("killed", "memory", "runtime.workers", "inference_threads", "it continues"):
            assert word in message


def test_a_crash_in_compiled_code_is_not_blamed_on_memory():
    with pytest.raises(RuntimeError) as loader:
        list(DataLoader(Doomed(signal.SIGSEGV), num_workers=1))
    for error, name in (
        (loader.value, "Segmentation fault"),
        (WorkerCrashError("SIGABRT", ["a", "b"]), "SIGABRT at one of a, b"),
    ):
        message = explain(error)
        assert f"crashed in compiled code ({name}): look for extreme values in" in message
        assert "memory" not in message


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"unable to {words} </torch_12_34_0>: No space left on device (28)")
        for words in (
            "allocate shared memory(shm) for file",
            "mmap 99 bytes from file",
            "write to file",
        )
    ]
    + [RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible")],
)
def test_a_small_shared_memory_is_named_with_its_remedies(error):
    message = explain(error)
    size = shutil.disk_usage("/dev/shm").total / 2**20
    assert message.startswith(f"/dev/shm: this shared memory ({size:.0f} MiB, ")
    for remedy in ("--shm-size", "--ipc=host", "runtime.workers to 0"):
        assert remedy in message


def test_counts_agree_with_their_nouns():
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert counted(2, "class", "classes") == "2 classes"


def test_no_memory_is_named_with_what_to_lower():
    with pytest.raises(RuntimeError) as cpu:
        torch.empty(2**50)
    for error in (
        *(cpu.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory")),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ):
        message = explain(error)
        assert "memory ran out" in message
        assert "batch_size" in message


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("shapes differ"), OSError("odd")])
def test_a_bug_is_not_explained_away(error):
    assert explain(error) is None


SCRIPT = """
import argparse, sys, time
from i2crc.runtime.parser import make_parser, run
def main(arguments):
    {body}
run(main, make_parser("A stage."))
"""


def stage(body: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body), *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_stage_with_one_line(how):
    process = stage("print('ready', file=sys.stderr); time.sleep(600)")
    while process.stderr.readline() != "ready\n":
        pass
    process.send_signal(how)
    _, said = process.communicate()
    assert process.returncode == 128 + how
    assert said.split(" ", 1)[1] == f"stopped by {how.name}; start again and it continues\n"


def test_errors_end_a_stage_with_one_line_or_their_traceback(tmp_path):
    log = tmp_path / "stage.log"
    explained = stage("raise OSError(28, 'No space left', '/data/a.png')", "--log", str(log))
    _, said = explained.communicate()
    assert explained.returncode == 1
    assert "/data/a.png: no space is left" in said
    assert "Traceback" not in said
    assert "/data/a.png: no space is left" in log.read_text()
    bug = stage("raise KeyError('a')")
    assert "Traceback" in bug.communicate()[1]
    assert bug.returncode == 1


LOADER_FAILS = """
    import gc
    from torch.utils.data import DataLoader
    from i2crc.runtime.errors import FileError
    from i2crc.training.samples import _ignore_termination
    gc.disable()
    class Damaged:
        def __len__(self):
            return 1000
        def __getitem__(self, number):
            raise {error}
    for _ in DataLoader(Damaged(), num_workers=2, worker_init_fn=_ignore_termination):
        pass
"""


@pytest.mark.parametrize(
    ("error", "words", "is_ours"),
    [
        ("FileError('a.jpg', 'cannot be decoded', 'replace it')", "decoded; replace it", True),
        ("RuntimeError('shapes differ')", "shapes differ", False),
    ],
)
def test_an_error_in_a_data_loading_process_ends_the_stage(error, words, is_ours):
    """The workers ignore SIGTERM, so that a training which waited for them would wait for ever."""
    process = stage(LOADER_FAILS.strip().replace("{error}", error))
    _, said = process.communicate(timeout=100)
    assert process.returncode == 1
    assert words in said
    assert ("Traceback" not in said) == is_ours
