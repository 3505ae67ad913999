"""Work on several cores."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing
from typing import Any, TypeVar, cast

from tqdm.auto import tqdm

T = TypeVar("T")


def available_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def under_bar(
    pool: Executor,
    task: Callable[..., T],
    *arguments: Sequence[Any],
    title: str,
    progress: bool,
) -> list[T]:
    """As `Executor.map`, with a bar where this takes more than a few seconds; an error cancels what
    has not begun."""
    # `map` returns a generator, which the library's annotations do not say
    with closing(cast(Generator[T, None, None], pool.map(task, *arguments))) as done:
        count = len(arguments[0])
        return list(tqdm(done, title, count, disable=not progress, delay=3))


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
