"""Pools of threads and processes that end with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield `work(item)` for every item, in the order of the items.

    At most two items per thread are in progress or waiting to be yielded. An error is raised at
    its item's turn; no further item is started then.
    """
    with ThreadPoolExecutor(threads) as pool:
        window: deque[Future[Result]] = deque()
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) == 2 * threads:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()


def processes(count: int) -> ProcessPoolExecutor:
    """Return a pool of new processes, for work that holds the interpreter's lock."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=spawn, initializer=_end_with_parent)


def crash_of(workers: Iterable[BaseProcess]) -> str | None:
    """Return the name of the signal that ended a worker of a broken pool.

    None if nothing crashed: the kernel or a person ends a process by SIGKILL or SIGTERM, and the
    pool ends the remaining workers by SIGTERM.
    """
    numbers = {-(worker.exitcode or 0) for worker in workers} - {signal.SIGKILL, signal.SIGTERM}
    return next((signal.Signals(number).name for number in numbers if number > 0), None)


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Let processes that start in this block ignore SIGINT.

    Ctrl-C reaches every process of the terminal, but the parent ends its workers itself.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this worker when its parent is killed; it would wait for work forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
