"""The command `i2crc`: each sub-command is a module of this package, imported only when it runs."""

import argparse
import os
import signal
import sys
from importlib import import_module

from i2crc.runtime.errors import InputError, explain
from i2crc.runtime.signals import stop_on_signals

# Sub-command, which is the name of its module -> what it does.
COMMANDS = {
    "explain": "explain how a file was made, from its photograph on, and what changed since",
    "progress": "show how far a run is, while it runs or after it ended",
    "verify": "hash the files of an experiment and name those that are missing or changed",
}


def main() -> None:
    """Run the sub-command of the command line and exit with its status.

    An InputError, or an error that `errors.explain` knows, gives one line on stderr and status 1.
    SIGINT, SIGTERM and a closed pipe end the command quietly with 128 + the signal.
    """
    stop_on_signals()
    try:
        try:
            status = run(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader (such as `head`) has ended; the flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)


def run(words: list[str]) -> int | None:
    """Run the sub-command that `words` name; return its exit status, None for 0."""
    parser = argparse.ArgumentParser(
        prog="i2crc",
        description="Look at the results of I2CRC. The workflow itself is started by `snakemake`.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in words[:1]:
            module = import_module(f"i2crc.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(main=module.main)
    arguments = parser.parse_args(words)
    try:
        return arguments.main(arguments)
    except Exception as error:
        message = str(error) if isinstance(error, InputError) else explain(error)
        if message is None:
            raise
    print(f"i2crc {arguments.command}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
