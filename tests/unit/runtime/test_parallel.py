"""Items of several threads that are computed together, and what is sent to processes."""

import operator
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from i2crc.runtime.parallel import Together, in_processes

THREADS, MOST = 8, 3


def squares(groups: list[list[int]], items: list[int], broken: int | None = None) -> list[int]:
    """Return the squares of items that were given together, and note the group."""
    groups.append(items)
    if broken in items:
        raise ValueError(f"{broken} cannot be computed")
    return [item * item for item in items]


def call(together: Together, items: range) -> list:
    """Compute items in threads, with their parity as the key; return their results or errors."""

    def work(item: int) -> int | str:
        try:
            return together(item, item % 2)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


@pytest.mark.parametrize("broken", [None, 7])
def test_each_thread_gets_its_own_result_or_error(broken):
    groups: list[list[int]] = []
    is_full = threading.Event()

    def compute(items: list[int]) -> list[int]:
        # The first group waits until all threads have called.
        if not is_full.is_set():
            while len(items) + sum(map(len, together._waiting.values())) < THREADS:
                time.sleep(0.001)
            is_full.set()
        return squares(groups, items, broken)

    together = Together(compute, MOST)
    expected = [item * item if item != broken else "7 cannot be computed" for item in range(100)]
    assert call(together, range(100)) == expected
    assert max(map(len, groups)) == MOST
    assert all(len({item % 2 for item in group}) == 1 for group in groups)
    if broken is None:
        assert sorted(item for group in groups for item in group) == [*range(100)]


def test_threads_that_compute_alone_do_not_wait_for_each_other():
    both = threading.Barrier(THREADS, timeout=10)

    def compute(items: list[int]) -> list[int]:
        both.wait()
        return items

    assert call(Together(compute, 1), range(THREADS)) == [*range(THREADS)]


def test_work_that_holds_much_is_not_sent_with_each_item():
    work = partial(operator.getitem, list(range(10_000, 0, -1)))
    run, pool = in_processes(work, 1)
    with pool:
        assert list(pool.map(run, [0, 9_999])) == [10_000, 1]
    assert len(pickle.dumps(run)) < 1000 < len(pickle.dumps(work))
