"""What every command line shares: the parser's common options, the log, how errors end a run."""

import argparse
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from i2crc.files import InputError

log = logging.getLogger("i2crc")
STARTED = time.time()


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every stage has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--log", type=Path, help="also write the log to this file")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
    return parser


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, set up the log and call `main`.

    An InputError ends the process with status 1 and its message alone; any other exception keeps
    its traceback. Both reach the log file.
    """
    arguments = parser.parse_args()
    start_log(arguments.log)
    log.info("python %s", shlex.join(sys.argv))
    try:
        main(arguments)
    except InputError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("stopped by an unexpected error")
        sys.exit(1)


def start_log(file: Path | None) -> None:
    """Send the log to stderr and, where given, to `file` (started anew)."""
    log.setLevel(logging.INFO)
    log.handlers.clear()
    log_to(logging.StreamHandler())
    # Of a training on several processes, the first one alone writes the file.
    if file is not None and os.environ.get("RANK", "0") == "0":
        file.parent.mkdir(parents=True, exist_ok=True)
        log_to(logging.FileHandler(file, mode="w"))


def log_to(handler: logging.Handler) -> None:
    """Send the log to one more place."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
