"""What `test_blocked_adam_kernels` runs: on a GPU, or on a CPU under TRITON_INTERPRET=1."""

import os

import pytest
import torch
from rounding import assert_rounding_alone
from test_blocked_adam import (
    DECAY,
    assert_close,
    assert_same_bits,
    blocked,
    check_a_row_beyond_2_to_the_31,
    dense,
    zipf_batches,
)

from blocked_adam import group_look_ups, kernels, reference

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") else "cuda"
torch.set_default_device(DEVICE)


def random_table(rows: int, width: int, steps: int) -> reference.Table:
    """A table some of whose rows have had some of the window's steps."""
    torch.manual_seed(0)
    coefficients = torch.rand(steps, 2) * torch.tensor([-0.01, 0.5]) + torch.tensor([0.0, 0.1])
    last = torch.randint(0, steps + 1, (rows + 1,), dtype=torch.int32)
    w, m = torch.randn(2, rows, width)
    return reference.Table(w, m, torch.rand(rows, width), last, coefficients)


def copied(table: reference.Table) -> reference.Table:
    return reference.Table(*(part.clone() for part in table))


@pytest.mark.parametrize("width", [6, 16, 150])
def test_the_kernels_replay_gives_the_references_bits(width):
    ours = random_table(70, width, 4)
    theirs = copied(ours)
    look_ups = group_look_ups(torch.tensor([3, 50, 3, 69, 0, 12]), 70)
    for number, passes in enumerate((kernels, reference)):
        one = (ours, theirs)[number]
        passes.catch_up(one, look_ups, 4, DECAY)
        passes.flush(one, 4, DECAY)
    assert all(torch.equal(*pair) for pair in zip(ours[:3], theirs[:3], strict=True))
    assert ours.last.abs().sum() == 0


def test_the_kernels_step_is_the_references_for_hot_and_cold_rows():
    ours = random_table(70, 6, 4)
    ours.last.fill_(2)
    theirs = copied(ours)
    exact = reference.Table(
        *(part.double() for part in ours[:3]), ours.last.clone(), ours.coefficients
    )
    ids = torch.cat([torch.zeros(150, dtype=torch.long), torch.tensor([5, 69, 5, 33])])
    look_ups, gradients = group_look_ups(ids, 70), torch.randn(len(ids), 6)
    kernels.apply(ours, look_ups, gradients, 2, DECAY)
    reference.apply(theirs, look_ups, gradients, 2, DECAY)
    reference.apply(exact, look_ups, gradients.double(), 2, DECAY)
    for parts in zip(ours[:3], theirs[:3], exact[:3], strict=True):
        assert_rounding_alone(*parts)
    assert torch.equal(ours.last[:70], theirs.last[:70])
    cold = torch.tensor([33, 69, 40])  # a sum of one number, and of none, has one order alone
    assert torch.equal(ours.w[cold], theirs.w[cold])


def test_with_the_kernels_the_optimizer_is_dense_adam():
    batches = [ids[:8] for ids in zipf_batches(9)]
    assert_close(
        blocked(batches, 4, passes="kernels"), dense(batches), dense(batches, torch.float64)
    )
    assert_same_bits(blocked(batches, 1, passes="kernels"), blocked(batches, 4, passes="kernels"))


def test_an_empty_batch_starts_no_kernel():
    batches = [torch.tensor([1]), torch.empty(0, dtype=torch.long), torch.tensor([2])]
    assert_close(
        blocked(batches, 2, passes="kernels"), dense(batches), dense(batches, torch.float64)
    )


@pytest.mark.skipif(
    DEVICE == "cuda" and torch.cuda.mem_get_info()[0] < 30e9, reason="it takes 26 GB of the GPU"
)
def test_a_row_beyond_2_to_the_31_numbers_is_reached_by_the_kernels():
    check_a_row_beyond_2_to_the_31(kernels)
