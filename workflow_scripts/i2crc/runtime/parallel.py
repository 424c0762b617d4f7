"""Work on many images by threads or processes, which end with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Yield `work(item)` of every item in turn; at most two items a thread are under way.

    The first error is raised at its item's turn, and nothing further is begun.
    """
    with ThreadPoolExecutor(threads) as pool:
        window = deque()
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) == 2 * threads:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()


def processes(count: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, for work that holds the interpreter."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=spawn, initializer=_end_with_parent)


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Processes started in this block never get SIGINT.

    Ctrl-C goes to every process in the terminal; the one that started the others ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process when its parent is killed, which would leave it waiting for ever."""

    def watch() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
