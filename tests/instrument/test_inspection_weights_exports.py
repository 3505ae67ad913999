"""Embeddings as others export them: ONNX, Parquet, Arrow."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from mapped import mapping_of

from embedding_collapse.inspection.report import inspect
from embedding_collapse.inspection.weights import read
from embedding_collapse.parameters import ParameterError

TABLE = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


def varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def initializer(name: str, shape: tuple[int, ...], kind: int, **data: bytes) -> bytes:
    dims = b"".join(field(1, extent) for extent in shape)
    numbers = {"floats": 4, "raw": 9, "external": 13}
    content = b"".join(field(numbers[key], value) for key, value in data.items())
    return field(5, dims + field(2, kind) + content + field(8, name.encode()))


def model(*initializers: bytes) -> bytes:
    """An ONNX model as exporters write one, of these initialisers alone."""
    node = field(1, field(4, b"Gather"))
    graph = node + b"".join(initializers) + field(2, b"graph")
    return field(1, 8) + field(2, b"pytorch") + field(7, graph)


def test_initialisers_of_every_kind_are_read_from_the_file(tmp_path):
    raw, brain = TABLE.numpy().tobytes(), TABLE.bfloat16().view(torch.int16).numpy().tobytes()
    entries = b"".join(field(n, text) for n, text in ((1, b"location"), (2, b"weights.bin")))
    (tmp_path / "weights.bin").write_bytes(bytes(64) + raw)
    offset = field(13, field(1, b"offset") + field(2, b"64"))
    external = initializer("external.emb", (50, 6), 1, external=entries)
    body = external[2 + (external[1] > 127) :] + offset
    content = model(
        initializer("raw.emb", (50, 6), 1, raw=raw),
        initializer("float.emb", (50, 6), 1, floats=raw),
        initializer("half.emb", (50, 6), 10, raw=TABLE.half().numpy().tobytes()),
        initializer("brain.emb", (50, 6), 16, raw=brain),
        initializer("elsewhere.emb", (50, 6), 16),  # such as its numbers in fields of 32 bits
        initializer("eight.emb", (50, 6), 3, raw=bytes(300)),
        initializer("bias", (6,), 1, raw=bytes(24)),
        field(5, body),
    )
    (tmp_path / "model.onnx").write_bytes(content)
    tensors = read(tmp_path / "model.onnx")
    assert tensors["elsewhere.emb"].is_meta
    for name, expected in (
        ("raw", TABLE),
        ("float", TABLE),
        ("half", TABLE.half()),
        ("brain", TABLE.bfloat16()),
        ("external", TABLE),
    ):
        assert torch.equal(tensors[f"{name}.emb"], expected), name
    assert tensors["eight.emb"].dtype is torch.int8 and tensors["bias"].shape == (6,)
    verdicts = {one.name: one.verdict for one in inspect(tmp_path / "model.onnx").tables}
    assert verdicts["raw.emb"] == "not collapsed" and verdicts["eight.emb"] == "not measured"
    assert mapping_of(tensors["raw.emb"]) and mapping_of(tensors["brain.emb"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (model(initializer("emb", (50, 5), 1, raw=bytes(1200))), r"emb of \[50, 5\] has 1,200 by"),
        (model(initializer("emb", (2**40, 7), 1, raw=bytes(1200))), "should follow byte"),
        (model(*2 * [initializer("emb", (5, 6), 1, raw=bytes(120))]), "two of its initialisers"),
        (model(initializer("emb", (5, 6), 1, raw=bytes(120)))[:-60], "reaches beyond its message"),
        (
            model(
                initializer("emb", (5, 6), 1, external=field(1, b"location") + field(2, b"../x"))
            ),
            "names '../x' as a file of this folder",
        ),
        (field(1, 8) + field(2, b"x") + b"\x3b", "a field of kind 3"),
        (field(1, 8) + field(2, b"x") + b"\xff" * 20, "a number without end"),
    ],
)
def test_a_model_that_lies_is_told(tmp_path, content, said):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ParameterError, match=said):
        read(tmp_path / "model.onnx")


# --- Parquet and Arrow ----------------------------------------------------------------------------


def columns(kind: str) -> dict:
    pa = pytest.importorskip("pyarrow")
    flat = pa.array(TABLE.flatten().numpy())
    vectors = {
        "fixed": lambda: pa.FixedSizeListArray.from_arrays(flat, 6),
        "lists": lambda: pa.ListArray.from_arrays(np.arange(0, 301, 6, dtype=np.int32), flat),
    }
    if kind == "wide":
        return {"id": np.arange(50)} | {f"d{n}": TABLE[:, n].numpy() for n in range(6)}
    return {"id": np.arange(50), "vector": vectors[kind]()}


@pytest.mark.parametrize("form", ["parquet", "arrow"])
@pytest.mark.parametrize("kind", ["fixed", "lists", "wide"])
def test_vectors_of_a_database_are_one_table(tmp_path, form, kind):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path, table = tmp_path / f"items.{form}", pa.table(columns(kind))
    if form == "parquet":
        pq.write_table(table, path, row_group_size=20)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=20)
    ((name, found),) = read(path).items()
    assert name == ("items" if kind == "wide" else "vector")
    assert torch.equal(found, TABLE)
    assert [(one.rows, one.width) for one in inspect(path).tables] == [(50, 6)]
    assert mapping_of(found)


def test_vectors_that_are_named_like_their_file_are_read_beside_its_numbers(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    numbers = {"lat": TABLE[:, 0].numpy(), "lon": TABLE[:, 1].numpy()}
    pq.write_table(pa.table(columns("lists") | numbers), tmp_path / "vector.parquet")
    tensors = read(tmp_path / "vector.parquet")
    assert {name: one.shape for name, one in tensors.items()} == {
        "vector": (50, 6),
        "vector (2)": (50, 2),
    }


@pytest.mark.parametrize("kind", ["fixed", "lists"])
def test_arrow_files_may_have_empty_batches(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    path, table = tmp_path / "items.arrow", pa.table(columns(kind))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        (batch,) = table.to_batches()
        for begin, length in ((0, 0), (0, 20), (20, 0), (20, 30)):
            writer.write_batch(batch.slice(begin, length))
    ((_, found),) = read(path).items()
    assert torch.equal(found, TABLE)


def test_vectors_that_make_no_table_are_told(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for column, said in (
        (pa.array([[1.0, 2.0], [1.0]]), "the vectors of v differ in length"),
        (pa.array([[1.0, 2.0], None]), "v has rows without a value"),
        (pa.array(["a", "b"]), "it has no rows of vectors"),
    ):
        pq.write_table(pa.table({"v": column}), tmp_path / "v.parquet")
        with pytest.raises(ParameterError, match=said):
            read(tmp_path / "v.parquet")


def test_arrow_offsets_that_lie_are_told_and_not_followed(tmp_path):
    pa = pytest.importorskip("pyarrow")
    offsets = pa.array(range(0, 801, 8), pa.int32())
    lists = pa.ListArray.from_arrays(offsets, pa.array(np.zeros(800, "f4")))
    table = pa.table({"embedding": lists})
    path = tmp_path / "vectors.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    content = path.read_bytes()
    lie = np.array([792, 2**30], "<i4").tobytes()  # where the last list should end
    path.write_bytes(content.replace(np.array([792, 800], "<i4").tobytes(), lie, 1))
    with pytest.raises(ParameterError, match="damaged or cut short"):
        read(path)


def test_without_pyarrow_it_is_said_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    Path(tmp_path / "v.parquet").write_bytes(b"PAR1" + struct.pack("<I", 0))
    with pytest.raises(ParameterError, match=r"needs pyarrow, not .*pip install .*\[parquet\]"):
        read(tmp_path / "v.parquet")
