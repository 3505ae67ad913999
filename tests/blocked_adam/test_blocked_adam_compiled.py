"""The passes that Numba compiles give the reference's bits, on any number of threads."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_blocked_adam import DECAY, blocked, check_a_row_beyond_2_to_the_31, zipf_batches
from torch import Tensor

from blocked_adam import choice, compiled, group_look_ups, on_all_threads, reference

LENGTH, STEPS = 700, 9


@pytest.fixture(params=[1, 2, 5])
def threads(request) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def random_table(width: int, dtype: torch.dtype = torch.float32) -> reference.Table:
    """A table whose rows have had different numbers of the window's steps, and some all."""
    generator = torch.Generator().manual_seed(width)
    w, m = torch.randn(2, LENGTH, width, generator=generator, dtype=dtype)
    v = torch.rand(LENGTH, width, generator=generator, dtype=dtype)
    coefficients = torch.rand(STEPS, 2, generator=generator, dtype=dtype) + 0.1
    coefficients[:, 0] *= -0.01
    last = torch.randint(0, STEPS + 1, (LENGTH + 1,), generator=generator, dtype=torch.int32)
    return reference.Table(w, m, v, last, coefficients)


def after(work, table: reference.Table) -> list[Tensor]:
    """A copy of the table's parts after the work."""
    copied = reference.Table(*(part.clone() for part in table))
    work(copied)
    return [*copied[:3], copied.last[:LENGTH]]


def assert_equal(ones: list[Tensor], others: list[Tensor]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 6, 10, 150, 3000])
def test_a_replay_gives_the_references_bits(width, dtype, threads):
    table = random_table(width, dtype)
    look_ups = group_look_ups(torch.arange(0, LENGTH, 3).repeat(2), LENGTH)
    for passes in (compiled, reference):
        caught_up, flushed = (
            after(work, table)
            for work in (
                lambda one, passes=passes: passes.catch_up(one, look_ups, STEPS, DECAY),
                lambda one, passes=passes: passes.flush(one, STEPS, DECAY),
            )
        )
        if passes is compiled:
            ours = caught_up, flushed
    assert_equal(ours[0], caught_up)
    assert_equal(ours[1], flushed)
    assert not torch.equal(caught_up[0], table.w) and not torch.equal(flushed[0], caught_up[0])


def test_torchs_default_device_changes_nothing():
    table = random_table(4)
    expected = after(lambda one: compiled.flush(one, STEPS, DECAY), table)
    with torch.device("meta"):
        assert_equal(after(lambda one: compiled.flush(one, STEPS, DECAY), table), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 10, 150])
def test_a_step_gives_the_references_bits_for_hot_and_cold_rows(width, dtype, threads):
    table = random_table(width, dtype)
    table.last.fill_(3)
    ids = torch.cat([torch.zeros(2000, dtype=torch.long), torch.arange(5, LENGTH, 2)])
    look_ups = group_look_ups(ids[torch.randperm(len(ids))], LENGTH)
    gradients = torch.randn(len(ids), width, dtype=dtype)
    ours, theirs = (
        after(lambda one, p=passes: p.apply(one, look_ups, gradients, 3, DECAY), table)
        for passes in (compiled, reference)
    )
    assert_equal(ours, theirs)


@pytest.mark.parametrize("length", [7, 2**11, 2**20, 2**31, 2**45])
@pytest.mark.parametrize("shape", [(1,), (64,), (3, 500), (2, 2, 65)])
def test_look_ups_are_grouped_as_torch_sorts_them(shape, length, monkeypatch):
    ids = torch.randint(0, length, shape)
    ids[..., -1] = length - 1
    ours = compiled.group(ids, length)
    monkeypatch.setattr("blocked_adam.look_ups.numba_runs", lambda: False)
    for name, one, other in zip(ours._fields, ours, group_look_ups(ids, length), strict=True):
        assert torch.equal(one, other), name
        assert one.dtype == other.dtype, name


def test_two_trainings_at_once_get_their_own_bits():
    batches = zipf_batches(20)
    alone = blocked(batches, 8)[0]
    with ThreadPoolExecutor(4) as pool:
        for found, _ in pool.map(lambda _: blocked(batches, 8), range(8)):
            assert torch.equal(found, alone)


@pytest.mark.parametrize("threads", [3], indirect=True)
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_an_error_or_an_interrupt_comes_once_no_thread_is_at_work(error, threads):
    """Of the caller's own part, or from a Ctrl-C while it waits."""
    done, all_begun = [], threading.Event()

    def work(part: int, threads: int) -> None:
        if part == 0:
            all_begun.set()
            if error is MemoryError:
                raise error
            return
        all_begun.wait()
        if part == 1 and error is KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        done.append(part)

    # a job in the background of a shell inherits that Ctrl-C is ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(error):
            on_all_threads(work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(done) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # there are threads beside it
def test_in_a_fork_of_a_process_that_has_used_its_threads_there_are_new_ones(threads):
    table = random_table(4)
    expected = after(lambda one: compiled.flush(one, STEPS, DECAY), table)[0]
    child = os.fork()
    if child == 0:  # numpy compares: what torch is used for here must not need its threads
        compiled.flush(table, STEPS, DECAY)
        os._exit(0 if (table.w.numpy() == expected.numpy()).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_row_beyond_2_to_the_31_numbers_is_reached():
    check_a_row_beyond_2_to_the_31(compiled)


def test_without_numba_plain_pytorch_takes_over_and_says_so(monkeypatch):
    def refuse(name: str):
        raise ImportError("Numba needs NumPy 2.0 or less. Got NumPy 9.9.")

    choice.numba_runs.cache_clear()
    monkeypatch.setattr(choice, "import_module", refuse)
    cpu = torch.device("cpu")
    with pytest.warns(UserWarning, match="Numba cannot be used .Numba needs NumPy 2.0 or less"):
        assert choice.fastest(cpu, torch.float32) == "reference"
    assert choice.fastest(cpu, torch.float32) == "reference"  # once is enough
    choice.numba_runs.cache_clear()
    monkeypatch.undo()
    assert choice.fastest(cpu, torch.float32) == "compiled"
    assert choice.fastest(cpu, torch.bfloat16) == "reference"


def test_where_no_folder_may_be_written_code_is_compiled_and_not_kept(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    with pytest.raises(RuntimeError, match="cannot cache"):
        compiled.njit(cache=True)(lambda number: number + 1)
    assert compiled.compiled(lambda number: number + 1)(1) == 2


def test_numba_that_may_not_compile_is_left_alone(monkeypatch):
    """Python's own passes would take minutes, and those for bf16 fail."""
    import numba

    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    choice.numba_runs.cache_clear()
    try:
        with pytest.warns(UserWarning, match="NUMBA_DISABLE_JIT is set"):
            assert not choice.numba_runs()
    finally:
        choice.numba_runs.cache_clear()
