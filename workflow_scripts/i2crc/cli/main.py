"""The command `i2crc`: each sub-command is a module of this package, imported only when it runs."""

import argparse
import signal
import sys
from importlib import import_module

from i2crc.runtime.errors import CONTINUES, InputError, explain

# Sub-command, which is the name of its module -> what it does.
COMMANDS = {
    "new": "look at photographs, write a configuration for them, and say how long a run takes",
    "explain": "explain how a file was made, from its photograph on, and what changed since",
    "segment": "segment photographs with the model file that a run made",
    "export": "write the network or the labels of a run in formats of other programs",
    "progress": "show how far a run is, while it runs or after it ended",
    "verify": "hash the files of an experiment and name those that are missing or changed",
}


def main() -> None:
    """Run the sub-command of the command line and exit with its status.

    An InputError, or an error that `errors.explain` knows, gives one line on stderr and status 1.
    Ctrl-C and a closed pipe end the command quietly.
    """
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    sys.exit(run(sys.argv[1:]))


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
    message = message.removesuffix(f" {CONTINUES}")  # which a stage does
    print(f"i2crc {arguments.command}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
