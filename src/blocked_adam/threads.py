"""Work for compiled code on as many threads as torch takes.

Numba's own threads are left alone: they must not be asked for work from two threads at once, nor
after a fork. Threads of Python's may, and compiled code lets go of the interpreter.
"""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache

import torch


def on_all_threads(work: Callable[[int, int], None]) -> None:
    """Do `work(part, threads)` for all parts at once, on as many threads as torch takes; none is at
    work any more when this ends, also where it ends by an error or is interrupted."""
    threads = torch.get_num_threads()
    jobs: list[Future] = []
    try:
        for part in range(1, threads):
            jobs.append(_pool(os.getpid(), threads).submit(work, part, threads))
        work(0, threads)
        for job in jobs:
            job.result()
    except BaseException:
        _wait_for(jobs)
        raise


def _wait_for(jobs: list[Future]) -> None:
    try:
        wait(jobs)
    except KeyboardInterrupt:  # later: they write to memory that the caller may free
        _wait_for(jobs)
        raise


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """A process's own, since threads are not there after a fork."""
    return ThreadPoolExecutor(threads - 1, f"compiled-{process}")
