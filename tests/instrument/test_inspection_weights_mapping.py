"""Files of tables one after the other: what they say of themselves is held against their bytes."""

import io
import json
import re
import shutil
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mapped import mapping_of
from safetensors.torch import save_file

from embedding_collapse.inspection.report import inspect
from embedding_collapse.inspection.weights import read
from embedding_collapse.parameters import ParameterError

TABLE = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


def refusal(path: Path) -> str:
    with pytest.raises(ParameterError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


# --- numpy ----------------------------------------------------------------------------------------


def npy(shape: str, size: int, descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(size)


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        ("(-1, 4)", 64, r"no array has the shape \(-1, 4\)"),
        ("(-2, -2)", 16, r"no array has the shape \(-2, -2\)"),
        ("(4, 4)", 80, r"an array of shape \(4, 4\) takes 64 bytes, and 80 follow"),
        ("(4611686018427387904, 4)", 0, "takes 73,786,976,294,838,206,464 bytes, and 0 follow"),
        ("4", 16, "shape is not valid"),
    ],
)
@pytest.mark.parametrize("archive", [None, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_of_another_size_than_its_shape_is_told(tmp_path, shape, size, said, archive):
    path, content = tmp_path / "emb", npy(shape, size)
    if archive is None:
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", archive) as file:
            file.writestr("emb.npy", content)
    assert re.search(said, refusal(path))


def test_what_is_no_number_is_no_tensor_and_numbers_that_torch_lacks_have_their_shape(tmp_path):
    arrays = {
        "text": np.array(["a", "bc"]),
        "dates": np.array(["2020"], "M8[D]"),
        "emb": TABLE.numpy(),
        "pairs": np.zeros(3, [("a", "<f4"), ("b", "<i4")]),
        "long": np.zeros((5, 2), np.longdouble),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    tensors = read(tmp_path / "a.npz")
    assert list(tensors) == ["emb", "long"]
    assert tensors["long"].is_meta and tensors["long"].shape == (5, 2)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["V1", "V2"])
def test_numbers_that_numpy_writes_as_raw_bytes_are_named_with_the_reason(tmp_path, save, kind):
    """As it does those of JAX: bfloat16 and floats of 8 bits."""
    raw, table = np.zeros((300, 8), kind), TABLE.numpy()
    save(tmp_path / "a.npz", emb=raw, other_emb=table)
    np.save(tmp_path / "emb.npy", raw)
    for given in (tmp_path / "a.npz", {"emb": raw, "other_emb": table}, tmp_path / "emb.npy"):
        found = inspect(given)
        assert found.tables[0].name == "emb" and found.tables[0].verdict == "not measured"
        assert "that the file does not name, as numpy's don't bfloat16" in found.tables[0].note


def test_packed_arrays_are_unpacked_to_the_disk(tmp_path):
    """In memory a file of 1 MB could take 1 GB and more."""
    table = np.zeros((100_000, 8), np.float32)
    table[70_000] = 1
    with (tmp_path / "a").open("wb") as file:
        np.savez_compressed(file, emb=table, other=table[:3], none=table[:0])
    assert (tmp_path / "a").stat().st_size < table.nbytes / 100
    tensors = read(tmp_path / "a")
    assert torch.equal(tensors["emb"], torch.from_numpy(table))
    assert tensors["none"].shape == (0, 8)
    assert mapping_of(tensors["emb"]) and mapping_of(tensors["other"])


class Usage(NamedTuple):
    free: int


def test_a_disk_without_room_to_unpack_is_told(tmp_path, monkeypatch):
    with (tmp_path / "a").open("wb") as file:
        np.savez_compressed(file, emb=np.zeros((1000, 8), np.float32))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1000))
    with pytest.raises(ParameterError, match=r"unpacked it takes 32,128 bytes, and .* has 1,000; "):
        read(tmp_path / "a")


def test_a_flipped_bit_is_told_by_an_archives_checksum(tmp_path):
    np.savez(tmp_path / "a.npz", emb=TABLE.numpy())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(TABLE.numpy().tobytes()) + 100] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "Bad CRC-32 for file 'emb.npy'" in refusal(tmp_path / "a.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_arrays_of_one_name_are_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for value in (1, 2):
            file = io.BytesIO()
            np.save(file, np.full((9, 2), value))
            archive.writestr("emb.npy", file.getvalue())
    assert "two of its members are named 'emb.npy'" in refusal(tmp_path / "a.npz")


# --- safetensors ----------------------------------------------------------------------------------


def tensor(begin: int, end: int, shape: list | None = None, dtype: str = "F32") -> dict:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "size", "said"),
    [
        ({"a": tensor(0, 16), "b": tensor(8, 24)}, 24, "b lies .* not behind the tensor before it"),
        ({"a": tensor(0, 8), "b": tensor(16, 24)}, 24, "b lies .* not behind the tensor before it"),
        ({"a": tensor(0, 16)}, 24, "8 bytes follow its last tensor"),
        ({"a": tensor(0, 16)}, 8, "a lies outside the file"),
        ({"a": tensor(0, 16, [2.0, 2])}, 16, "its shape is"),
        ({"a": tensor(0, 16, [True, 4])}, 16, "its shape is"),
        ({"a": tensor(0, 16, [-2, -2])}, 16, "its shape is"),
        ({"a": tensor(0, 16, [2**62, 4])}, 16, "its shape is"),
        ('{"a": {}, "a": {}}', 0, "its header names a tensor twice"),
        ('{"a":' + "[" * 100_000, 0, "is damaged"),
        ('{"a": "\xff"}', 0, "is damaged"),
        ("{", 0, "is damaged"),
    ],
)
def test_a_header_of_tensors_that_cannot_lie_so_is_told(tmp_path, header, size, said):
    text = header if isinstance(header, str) else json.dumps(header)
    content = text.encode("latin-1")
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(content)) + content + bytes(size))
    assert re.search(said, refusal(path))


def test_a_header_longer_than_the_format_allows_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2 * 10**8) + b"{")
        file.truncate(3 * 10**8)
    assert "its header should take 200,000,000 bytes of 300,000,000" in refusal(path)


def test_every_type_is_read_and_one_that_torch_lacks_has_its_shape(tmp_path):
    kinds = [torch.uint16, torch.uint32, torch.uint64, torch.complex64, torch.bool]
    tensors = {str(kind): torch.ones(3, 2, dtype=kind) for kind in kinds}
    save_file(tensors, tmp_path / "a.safetensors")
    found = read(tmp_path / "a.safetensors")
    assert {name: value.dtype for name, value in found.items()} == dict(
        zip(map(str, kinds), kinds, strict=True)
    )
    header = json.dumps({"a": tensor(0, 8, [4, 4], "F4")}).encode()
    path = tmp_path / "b.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    assert read(path)["a"].is_meta and read(path)["a"].shape == (4, 4)
