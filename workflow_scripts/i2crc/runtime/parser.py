"""The command line of a stage: its common options, its log, and how errors and signals end it."""

import argparse
import gc
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from i2crc.runtime.addresses import hide
from i2crc.runtime.errors import InputError, explain
from i2crc.runtime.gpus import lease
from i2crc.runtime.log import log, start_log
from i2crc.runtime.progress import status
from i2crc.runtime.signals import Stopped, stop_on_signals


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every stage has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--log", type=Path, help="also write the log to this file")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of this process")
    return parser


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, start the log, lease the GPUs of `--gpus` and call `main`.

    SIGTERM and SIGINT raise Stopped in `main`. An InputError, or an error that `errors.explain`
    knows, ends the process with status 1 and one message. Any other exception ends it with status
    1 and its traceback. All of them are written to the log file and the status file, too.
    """
    arguments = parser.parse_args()
    # Without this, a sixth of the time to import torch goes into the search for garbage.
    gc.set_threshold(50_000)
    try:
        stop_on_signals()
        start_log(arguments.log)
        log.info("python %s", shlex.join(map(hide, sys.argv)))
        status.start(arguments.log)
        if "gpus" in arguments:
            lease(arguments.gpus)
        main(arguments)
        status.end("done")
    except Stopped as stop:
        log.info("stopped by %s; start again and it continues", stop.name)
        status.end("stopped")
        raise
    except Exception as error:
        # Torch's handler would raise the loss of a worker again while the message is written.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message = str(error) if isinstance(error, InputError) else explain(error)
        if message is None:
            log.exception("stopped by an unexpected error")
        else:
            log.error("%s", message)
        status.end("failed")
        # The frames hold the data loader, whose workers else make this process wait for ever.
        traceback.clear_frames(error.__traceback__)
        # torchrun would start the process again, although the error would come again. It ends the
        # others of this machine when it is stopped; srun ends those of other nodes.
        if message is not None and "TORCHELASTIC_RUN_ID" in os.environ:
            os.kill(os.getppid(), signal.SIGTERM)
        sys.exit(1)
