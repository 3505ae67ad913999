"""Which tensors are embedding tables, and how they are cut."""

import pytest
import torch

from embedding_collapse.inspection.tables import by_set, find
from embedding_collapse.monitor import CollapseMonitor
from embedding_collapse.parameters import ParameterError


def names(tensors: dict[str, torch.Tensor], **options: object) -> list[str]:
    return [table.name for table in find(tensors, **options)[0]]


def test_every_tensor_of_two_dimensions_is_measured_or_left_out_with_the_reason():
    tensors = {
        "item": torch.ones(900, 32),
        "fc.weight": torch.ones(10, 20),
        "fc.bias": torch.ones(10),
        "w": torch.ones(9, 9),
        "kernel": torch.ones(3, 3, 4, 4),
    }
    tables, left_out = find(tensors)
    assert [(table.name, table.known_by) for table in tables] == [("item", "name (guess)")]
    assert left_out == [
        ("fc.weight", (10, 20), "a dense layer: its bias is beside it"),
        ("w", (9, 9), "neither name nor shape tells a table"),
    ]
    tables, left_out = find(tensors, include=["w", "fc*"])
    assert [(table.name, table.known_by) for table in tables] == [
        ("fc.weight", "you"),
        ("w", "you"),
    ]
    assert left_out == [("item", (900, 32), "matches none of w, fc*")]
    assert find(tensors, include=["*"], exclude=["i*"])[1] == [("item", (900, 32), "excluded")]


def test_patterns_choose_and_leave_out():
    tensors = {"user.emb": torch.ones(5, 2), "item.emb": torch.ones(5, 2), "mlp": torch.ones(5, 2)}
    assert names(tensors) == ["user.emb", "item.emb"]
    assert names(tensors, exclude=["item*"]) == ["user.emb"]
    assert names(tensors, include=["m*", "item.?mb"]) == ["item.emb", "mlp"]
    with pytest.raises(ParameterError, match=r"nothing here matches x\*; it holds user.emb \[5, 2"):
        find(tensors, include=["x*"])


def test_a_matrix_alone_in_a_file_is_the_table_and_a_vector_is_none():
    assert names({"weights": torch.ones(5, 2)}) == ["weights"]
    with pytest.raises(ParameterError, match="nothing here looks like an embedding table"):
        find({"weights": torch.ones(5)})
    with pytest.raises(ParameterError, match=r"holds fc.weight \[10, 20\] \(a layer, by its name"):
        find({"fc.weight": torch.ones(10, 20)})
    with pytest.raises(ParameterError, match="0 tensors in it"):
        find({})


def test_tables_of_one_column_are_told_and_tied_tables_shown_once():
    tied = torch.ones(2000, 8)
    tables, left_out = find({"embed": tied, "head.embed": tied, "wide.emb.a": torch.ones(9, 1)})
    assert [table.name for table in tables] == ["embed"]
    assert left_out == [
        ("wide.emb.a", (9, 1), "one column has nothing to measure"),
        ("head.embed", (2000, 8), "the same numbers as embed, stored once"),
    ]


def test_sets_are_cut_from_columns_and_known_from_three_dimensions():
    table = torch.arange(24.0).view(4, 6)
    torch.testing.assert_close(by_set(table), table.unsqueeze(0))
    torch.testing.assert_close(by_set(table, 3)[1], table[:, 2:4])
    ours = torch.randn(40, 3, 2)  # [D, M, K]
    torch.testing.assert_close(by_set(ours), ours.transpose(0, 1))
    torch.testing.assert_close(by_set(ours.transpose(0, 1)), ours.transpose(0, 1))
    small = {"stacked.embedding.weight": torch.randn(4, 2, 5)}  # four sets of two rows
    assert find(small)[0][0].values.shape == (4, 2, 5)
    with pytest.raises(ParameterError, match="sets is 4; 6 columns cannot be cut into that many"):
        by_set(table, 4)
    with pytest.raises(ParameterError, match="sets is 2; the table holds 3"):
        by_set(ours, 2)
    with pytest.raises(ParameterError, match="sets is 0"):
        find({"emb": table}, sets=0)


def test_a_joint_table_is_cut_into_its_fields():
    joint, other = torch.randn(10, 4), torch.randn(8, 4)
    tables, _ = find({"emb": joint}, field_dims={"user": 7, "item": 3})
    assert [(t.name, t.start, t.source_rows) for t in tables] == [("user", 0, 10), ("item", 7, 10)]
    torch.testing.assert_close(tables[1].values, joint[None, 7:])
    several = {"emb": joint, "other.emb": other}
    assert names(several, field_dims={"user": 7, "item": 3}) == [
        "emb: user",
        "emb: item",
        "other.emb",
    ]
    with pytest.raises(ParameterError, match=r"add up to 11 rows; emb has 10, other.emb has 8"):
        find(several, field_dims={"user": 11})


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_what_torch_quantised_is_dequantised_and_said_so():
    table = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    quantised = torch.quantize_per_tensor(table, 0.05, 0, torch.qint8)
    (found,), _ = find({"emb": quantised})
    assert "measured after de-quantisation" in found.note
    assert (found.values[0] - table).abs().max() < 0.03


@pytest.mark.parametrize("end", ["_scale", ".scales", ".SCB"])
@pytest.mark.parametrize("rows", [1, 20])
def test_whole_numbers_are_measured_with_the_scales_beside_them(end, rows):
    table = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    scale = (table.abs().amax(1) if rows == 20 else table.abs().max().expand(1)) / 127
    whole = (table / scale[:, None]).round().to(torch.int8)
    (found,), _ = find({"emb": whole, f"emb{end}": scale})
    assert found.note == "int8; measured with its scales"
    torch.testing.assert_close(found.values[0], table, rtol=0, atol=scale.max().item() / 2 * 1.01)
    moved = (whole.short() + 128).to(torch.uint8)
    (found,), _ = find({"emb": moved, f"emb{end}": scale, "emb_zero_point": torch.tensor(128)})
    torch.testing.assert_close(found.values[0], whole * scale[:, None])
    assert find({"emb": whole})[0][0].values.dtype is torch.int8  # which collapse refuses


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("name", ["emb", "emb.weight"])
def test_floats_of_8_bits_are_measured_with_the_scales_of_their_rows(kind, name):
    table = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    table *= torch.logspace(-3, 3, 20)[:, None]
    scale = table.abs().amax(1, keepdim=True) / 100
    small = (table / scale).to(kind)
    (found,), _ = find({name: small, f"{name}_scale": scale, "fc.weight": table}, exclude="fc*")
    assert found.note == f"{str(kind)[6:]}; measured with its scales"
    torch.testing.assert_close(found.values[0], small.float() * scale)
    torch.testing.assert_close(found.values[0], table, rtol=0.2, atol=scale.max().item())


def test_the_scales_of_a_block_as_large_as_a_table_are_its_own():
    small = torch.randn(100, 64).to(torch.float8_e4m3fn)
    (found,), _ = find({"emb.weight": small, "emb.weight_scale_inv": torch.full((1, 1), 3.0)})
    assert found.note == "float8_e4m3fn; measured with its scales"
    torch.testing.assert_close(found.values[0], 3 * small.float())


@pytest.mark.parametrize("end", ["_scale", "_scale_inv"])
def test_scales_that_are_not_one_for_each_row_are_told(end):
    """DeepSeek's are of blocks of 128 x 128."""
    small = torch.randn(256, 128).to(torch.float8_e4m3fn)
    (found,), _ = find({"emb.weight": small, f"emb.weight{end}": torch.ones(2, 1)})
    told = "float8_e4m3fn; measured without its scales: "
    assert found.note == f"{told}emb.weight{end} [2, 1]"
    assert found.values.dtype is torch.float8_e4m3fn
    (found,), _ = find({"emb.weight": small})
    assert found.note == "float8_e4m3fn"


def test_a_table_that_is_spread_over_processes_is_refused(tmp_path):
    """One process stands for all: what several would do is to wait for each other."""
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        model = torch.nn.ModuleDict({"e": torch.nn.Embedding(30, 4), "f": torch.nn.Linear(4, 4)})
        for part in model.values():
            sharded = distribute_tensor(part.weight.detach(), mesh, [Shard(0)])
            part.weight = torch.nn.Parameter(sharded)
        with pytest.raises(ParameterError, match=r"e\.weight is spread over processes .* inspect"):
            CollapseMonitor(model)
        model["e"] = torch.nn.Embedding(30, 4)  # a layer that is spread is no matter
        assert len(CollapseMonitor(model).history) == 1
    finally:
        torch.distributed.destroy_process_group()


def test_tensors_that_have_their_shape_alone_are_not_taken_for_one():
    alone = {f"{name}.emb": torch.empty(5, 2, device="meta") for name in "ab"}
    assert names(alone) == ["a.emb", "b.emb"]


def test_names_of_any_length_make_messages_that_can_be_read():
    tensors = {"n" * 10_000: torch.ones(5, 2), "\x1b[31m": torch.ones(5, 2)}
    with pytest.raises(ParameterError) as caught:
        find(tensors)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
