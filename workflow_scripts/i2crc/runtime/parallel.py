"""Pools of threads and processes that end with the process that started them."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

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


class Together(Generic[Item]):
    """Compute items of several threads at once: a GPU computes some photographs in little time.

    A thread that calls with an item waits for its result. Meanwhile a single thread computes: an
    item and at most `most` - 1 others that wait and have the same key. If a group of several fails,
    each is computed alone, so that only those fail that cannot be computed. With `most` 1, the
    threads that call compute themselves.
    """

    def __init__(self, compute: Callable[[Sequence[Item]], Any], most: int) -> None:
        self._compute, self._most = compute, most
        self._pool = ThreadPoolExecutor(1)
        self._waiting: dict[Hashable, deque[tuple[Item, Future]]] = {}

    def __call__(self, item: Item, key: Hashable = None) -> Any:
        """Return the result of an item, one of those that `compute` returns for some items."""
        if self._most == 1:
            return self._compute([item])[0]
        future: Future = Future()
        waiting = self._waiting.setdefault(key, deque())
        waiting.append((item, future))
        self._pool.submit(self._take, waiting)
        return future.result()

    def _take(self, waiting: deque[tuple[Item, Future]]) -> None:
        group = [waiting.popleft() for _ in range(min(len(waiting), self._most))]
        if group:  # else an earlier group had the item
            self._compute_group(group)

    def _compute_group(self, group: list[tuple[Item, Future]]) -> None:
        try:
            results = self._compute([item for item, _ in group])
        except Exception as error:
            if len(group) == 1:
                group[0][1].set_exception(error)
                return
        else:
            for (_, future), result in zip(group, results, strict=True):
                future.set_result(result)
            return
        for one in group:  # now that the memory of the failed computation is free
            self._compute_group([one])


def processes(count: int) -> ProcessPoolExecutor:
    """Return a pool of new processes, for work that holds the interpreter's lock."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=spawn, initializer=_end_with_parent)


def in_processes(
    work: Callable[[Item], Result], count: int
) -> tuple[Callable[[Item], Result], ProcessPoolExecutor]:
    """Return a function that calls `work` in a worker process, and the pool of workers.

    Each process gets `work` once: it may hold a million entries, too many to send with each item.
    """
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=spawn, initializer=_begin, initargs=(work,))
    return _do, pool


_work: Callable[[Any], Any]  # of a process of `in_processes`


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    _end_with_parent()


def _do(item: Any) -> Any:
    return _work(item)


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
