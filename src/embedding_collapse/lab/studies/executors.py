"""Where runs take place: in this process, in processes of their own, or on Ray."""

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import partial
from typing import Any

import torch

from embedding_collapse.parameters import ParameterError, check_installed

STARTS = 5  # tries, as Ray's own patience of half a minute is no option


class InThisProcess(Executor):
    """One call after another, each done once it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it at once."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def processes(workers: int) -> ProcessPoolExecutor:
    """So many processes of one thread each."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_worker)


def _begin_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_the_driver, daemon=True).start()


def _end_with_the_driver() -> None:
    """A worker whose driver was killed would train on, unseen, beside those of the next call."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)


class OnRay(Executor):
    """The machines of a Ray cluster, a core for each call. A lost one is started again.

    Args:
        address: of the cluster, or "local" for one on this machine.
        workers: calls at a time on this machine; one per core by default.
        gpu_share: of a GPU that each call asks for where there are any.

    Raises:
        ParameterError: Ray is not installed, or does not take the address.
        TimeoutError: Ray did not start, see `STARTS`.
    """

    def __init__(self, address: str, workers: int | None = None, gpu_share: float = 1) -> None:
        check_installed("running on Ray", "ray", "ray")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        import ray

        here = address == "local"
        begin = partial(
            ray.init,
            address=address,
            num_cpus=workers if here else None,
            include_dashboard=False if here else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            _with_patience(begin, ray.shutdown)
        except ValueError as error:
            raise ParameterError(f"ray_address is {address!r}; Ray says: {error}") from None
        share = gpu_share if ray.cluster_resources().get("GPU") else 0
        self._call = ray.remote(num_cpus=1, num_gpus=share, max_retries=3)(_call)

    @property
    def places(self) -> int:
        """How many calls the cluster's cores hold at a time."""
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a worker call it."""
        return self._call.remote(fn, *args, **kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End Ray, if it was begun here."""
        import ray

        ray.shutdown()


def _with_patience(begin: Callable[[], object], undo: Callable[[], None]) -> None:
    """Start Ray, again where a busy machine took longer than it waits for itself."""
    for _ in range(STARTS):
        try:
            begin()
            return
        except Exception as error:
            if "timed out during startup" not in str(error):  # it is of no type of its own
                raise
            undo()
    raise TimeoutError(
        f"Ray did not start, in {STARTS} tries of half a minute each; --workers N does without it"
    )


def _call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return fn(*args, **kwargs)
