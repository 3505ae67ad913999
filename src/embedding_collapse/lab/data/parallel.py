"""Work on several cores."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from typing import Any, TypeVar, cast

T = TypeVar("T")


def available_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def results(
    pool: Executor, task: Callable[..., T], *arguments: Iterable[Any]
) -> "closing[Generator[T, None, None]]":
    """As `Executor.map`, for a `with`, whose end cancels what has not begun."""
    # `map` returns a generator, which the library's annotations do not say
    return closing(cast(Generator[T, None, None], pool.map(task, *arguments)))


def in_order(pool: Executor, tasks: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """Results of the tasks in their order, with at most `ahead` tasks under way or waiting.

    Unlike `Executor.map`, it draws a task only when there is room for it, so tasks may hold data.
    """
    waiting: deque[Future[T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
