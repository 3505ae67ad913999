"""The cost of a step, counted from shapes, is what the shapes say and what a run takes."""

import pytest
import torch

from embedding_collapse.lab.cost import expected_touched, step_cost, table_traffic
from embedding_collapse.lab.models import MODELS, PAPER, Size, build, fused

CARDINALITIES = [50, 3, 20]
FIELDS, SETS, WIDTH, HIDDEN, BATCH = 3, 2, 5, 7, 16


def cost(name: str = "dcnv2", **changed):
    size = Size(FIELDS, **({"sets": SETS, "width": WIDTH, "hidden": HIDDEN} | changed))
    return step_cost(name, CARDINALITIES, size, BATCH)


def test_the_products_of_dcnv2_are_those_one_counts_by_hand():
    inputs = FIELDS * WIDTH
    one_row = SETS * (4 * inputs**2 + inputs * HIDDEN) + HIDDEN**2 + HIDDEN
    assert cost().flops == 3 * 2 * BATCH * one_row  # forward, and back to inputs and to weights


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_counted_for_every_model(name):
    found = cost(name)
    size = Size(FIELDS, SETS, WIDTH, HIDDEN)
    model = build(name, CARDINALITIES, size)
    assert found.embedding == model.table.numel() == 73 * SETS * model.interaction.columns(size)
    assert found.embedding + found.dense == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PAPER)
def test_activations_are_what_a_real_step_keeps(name, monkeypatch):
    monkeypatch.setattr(fused, "applies", lambda x: False)  # as on a GPU
    size = Size(FIELDS, SETS, WIDTH, HIDDEN, dropout=0.0)  # which on a CPU keeps masks of its own
    model = build(name, CARDINALITIES, size)
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _loss, _ = model.loss(torch.zeros(BATCH, FIELDS, dtype=torch.int32), torch.zeros(BATCH))
    assert cost(name, dropout=0.0).activations == sum(kept.values())


def test_memory_and_traffic_grow_with_the_table_as_adam_says():
    found = cost()
    table = 4 * found.embedding
    dense, blocked = found.memory(), found.memory(block=32)
    assert (
        dense["embedding"] + dense["embedding's gradient"] + dense["embedding's Adam state"]
        == 4 * table
    )
    assert blocked["embedding's gradient"] == 4 * BATCH * FIELDS * SETS * WIDTH
    assert dense["other parameters, gradients, Adam state"] == 16 * found.dense


def test_blocked_adam_moves_less_where_few_rows_are_touched_and_more_where_all_are():
    million = 1_000_000
    dense = table_traffic(million, 10, 20_000, 80_000, None)
    assert table_traffic(million, 10, 20_000, 80_000, 32) < dense / 5
    assert table_traffic(million, 10, million, 80_000, 32) > dense
    assert table_traffic(million, 10, 20_000, 80_000, 1) == pytest.approx(
        6 * 4 * 10 * (million + 40_000) + 3 * 4 * 10 * 80_000 + 4 * (million + 60_000)
    )


def test_the_expected_number_of_touched_rows_is_the_mean_of_draws():
    chances = torch.tensor([0.5, 0.3, 0.1, 0.05, 0.05])
    torch.manual_seed(0)
    draws = [len(torch.multinomial(chances, 6, True).unique()) for _ in range(2000)]
    assert expected_touched([chances], 6) == pytest.approx(sum(draws) / len(draws), rel=0.02)
    assert expected_touched([torch.tensor([1.0])], 6) == 1
