"""One run on several processes, as `torchrun` starts them: which is which, and what they share.

By themselves they are one: without `torch.distributed`, or before it is initialised.
"""

import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from embedding_collapse.errors import DivergedError
from embedding_collapse.parameters import ParameterError

T = TypeVar("T")
PATIENCE = 20  # seconds


def count() -> int:
    """How many processes train together."""
    alone = not torch.distributed.is_available() or not torch.distributed.is_initialized()
    return 1 if alone else torch.distributed.get_world_size()


def rank() -> int:
    """The number of this one among them; the first, 0, alone writes and speaks."""
    return torch.distributed.get_rank() if count() > 1 else 0


def from_first(value: T) -> T:
    """The value that the first process calls this with, in all of them."""
    if count() == 1:
        return value
    held = [value]
    torch.distributed.broadcast_object_list(held)
    return held[0]


def add_up(tensor: Tensor) -> Tensor:
    """The sum of the processes' tensors, in all of them.

    Its gradient is the sum of theirs: where each has its own term of a loss, this is the gradient
    of all terms.
    """
    return tensor if count() == 1 else _Sum.apply(tensor)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0])


@contextmanager
def without_notes() -> Iterator[None]:
    """The library logs errors alone."""
    log = logging.getLogger("embedding_collapse")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def joined(device: str) -> Iterator[None]:
    """Within, the processes that `torchrun` started are one run's; without it nothing happens.

    All but the first keep silent, of an error too that the first has as well.

    Args:
        device: what a user asked for, see `device.choose_device`; of several GPUs each process of
            a machine takes its own.

    Raises:
        ParameterError: more processes than GPUs.
    """
    started = torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()
    if not started or os.environ["WORLD_SIZE"] == "1":
        yield
        return
    first, gpus = os.environ["RANK"] == "0", torch.cuda.device_count()
    try:
        if device != "cpu" and gpus:
            if (here := int(os.environ["LOCAL_WORLD_SIZE"])) > gpus:
                raise ParameterError(
                    f"{here} processes on a machine of {gpus} GPU{'s'[: gpus != 1]}; as many are "
                    "accepted at most, or --device cpu"
                )
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.distributed.init_process_group()
        with warnings.catch_warnings(), nullcontext() if first else without_notes():
            if not first:
                warnings.simplefilter("ignore")
            yield
    except (ParameterError, DivergedError):
        if not first:
            time.sleep(PATIENCE)  # where the first fails too, it tells, and torchrun ends the rest
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
