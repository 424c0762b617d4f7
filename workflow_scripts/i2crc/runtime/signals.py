"""SIGTERM and SIGINT raise an exception, so that a process can save its work before it ends."""

import signal
from typing import Any, NoReturn

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """A signal asked this process to end; the exit status is 128 + the signal, as in a shell."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def stop_on_signals() -> None:
    """Let SIGTERM and SIGINT raise Stopped, unless this process was started to ignore them."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: Any) -> NoReturn:
    for each in STOPPING:
        signal.signal(each, signal.SIG_DFL)  # a second signal ends the process at once
    raise Stopped(number)
