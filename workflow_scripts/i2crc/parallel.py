"""Work on many images by threads, with memory that does not grow with their number."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
