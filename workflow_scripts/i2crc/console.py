"""What every command line shares: the parser's common options, the log, how errors and signals
end a run, and that no two processes do the same work or use the same GPU.
"""

import argparse
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from i2crc.addresses import hide
from i2crc.faults import explain
from i2crc.files import InputError
from i2crc.gpus import lease
from i2crc.job_log import COMMAND, DONE, FAILED, STOPPED_BY, UNEXPECTED
from i2crc.locks import Lock

log = logging.getLogger("i2crc")
STARTED = time.time()
STOPPING = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """A signal asked this process to end; its status is 128 + the signal, as a shell's is."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every stage has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--log", type=Path, help="also write the log to this file")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
    return parser


def add_downloads(parser: argparse.ArgumentParser) -> None:
    """Add the option of a stage that fetches files."""
    parser.add_argument(
        "--downloads", type=Path, help="folder of files with a known SHA-256, shared with others"
    )


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, set up the log, lease the GPUs of `--gpus` and call `main`.

    SIGTERM and SIGINT raise Stopped. An InputError, or what `faults` can explain, ends the process
    with status 1 and one message; any other exception keeps its traceback. All reach the log file.
    """
    arguments = parser.parse_args()
    try:
        stop_on_signals()
        start_log(arguments.log)
        log.info("%s%s", COMMAND, shlex.join(map(hide, sys.argv)))
        if "gpus" in arguments:
            lease(arguments.gpus)
        main(arguments)
        end_log(DONE)
    except Stopped as stop:
        log.info(STOPPED_BY.format(stop.name))
        raise
    except InputError as error:
        _fail(str(error))
    except Exception as error:
        # Torch's handler would raise the loss of a worker once more, in the midst of what follows.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message = explain(error)
        if message is not None:
            _fail(message)
        log.exception(UNEXPECTED)
        end_log(FAILED)
        sys.exit(1)


def _fail(message: str) -> NoReturn:
    log.error("%s", message)
    end_log(FAILED)
    stop_torchrun()
    sys.exit(1)


def stop_torchrun() -> None:
    """Let torchrun, where it has started this process, end instead of starting it again.

    For an error that would only come again. It ends the other processes of this machine; srun,
    those of other nodes.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        os.kill(os.getppid(), signal.SIGTERM)


def stop_on_signals() -> None:
    """Let SIGTERM and SIGINT raise Stopped, unless this process was started to ignore them."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: Any) -> NoReturn:
    for each in STOPPING:
        signal.signal(each, signal.SIG_DFL)  # a second one ends the process at once
    raise Stopped(number)


def start_log(file: Path | None) -> None:
    """Send the log to stderr and, where given, to `file` (started anew).

    `file` stands for the work that it is the log of: where another process does that work already
    (a killed run may have left it), this one waits for its end.
    """
    log.setLevel(logging.INFO)
    log.handlers.clear()
    log_to(logging.StreamHandler())
    # Of a training on several processes, the first one alone writes the file.
    if file is None or os.environ.get("RANK", "0") != "0":
        return
    lock = Lock(lock_of(file))
    if not lock.take():
        log.info("waiting for %s, which already does this; then it continues", lock.holder())
        lock.wait()
    log_to(LogFile(file, mode="w"))


def lock_of(log_file: Path) -> Path:
    """The lock of a log file: not the file itself, which Snakemake deletes before a job starts."""
    return log_file.with_name(f".{log_file.name}.lock")


def end_log(word: str) -> None:
    """Let the log file, where there is one, end with a word that programs understand."""
    if any(isinstance(handler, LogFile) for handler in log.handlers):
        log.info(word)


class LogFile(logging.FileHandler):
    """A log file that is given up, with one line on stderr, when it cannot be written."""

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        log.removeHandler(self)
        error = sys.exc_info()[1]
        log.warning("%s: cannot be written (%s); the log goes on here", self.baseFilename, error)


def log_to(handler: logging.Handler) -> None:
    """Send the log to one more place."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
