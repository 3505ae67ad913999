"""Checkpoints of other people: what is read, what is refused, and that nothing in them is run."""

import json
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mapped import mapping_of
from safetensors.torch import save_file
from torch import Tensor, nn

from embedding_collapse.inspection.tables import find
from embedding_collapse.inspection.weights import read
from embedding_collapse.parameters import ParameterError

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"
TABLE = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


def saved(folder: Path, kind: str, tensors: dict[str, Tensor]) -> Path:
    path = folder / f"table.{kind}"
    arrays = {name: value.numpy() for name, value in tensors.items()}
    match kind:
        case "safetensors":
            save_file(tensors, path)
        case "npz":
            np.savez(path, **arrays)
        case "compressed":
            with path.open("wb") as file:
                np.savez_compressed(file, **arrays)
        case "pt":
            torch.save(tensors, path)
        case "legacy":
            torch.save(tensors, path, _use_new_zipfile_serialization=False)
        case "h5":
            import h5py

            with h5py.File(path, "w") as file:
                for name, value in arrays.items():
                    file[name] = value
    return path


KINDS = ["safetensors", "npz", "compressed", "pt", "legacy", "h5"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_what_was_saved_by_name(tmp_path, kind):
    tensors = {"emb": TABLE, "double": TABLE.double(), "half": TABLE.half(), "ids": torch.arange(5)}
    found = read(saved(tmp_path, kind, tensors))
    assert set(found) == set(tensors)
    for name, value in tensors.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_torchs_default_device_changes_nothing(tmp_path, kind):
    path = saved(tmp_path, kind, {"emb": TABLE, "none": TABLE[:0]})
    with torch.device("meta"):
        found = read(path)
    assert torch.equal(found["emb"], TABLE) and found["none"].device.type == "cpu"


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_npy_files_of_every_order(tmp_path, order, dtype):
    np.save(tmp_path / "table.npy", np.asarray(TABLE.numpy(), dtype=dtype, order=order))
    found = read(tmp_path / "table.npy")["table"]
    torch.testing.assert_close(found.double(), TABLE.to(found.dtype).double())


def test_bfloat16_and_float8_are_read(tmp_path):
    tensors = {"brain": TABLE.bfloat16(), "eight": TABLE.to(torch.float8_e4m3fn)}
    save_file(tensors, tmp_path / "table.safetensors")
    found = read(tmp_path / "table.safetensors")
    assert {name: value.dtype for name, value in found.items()} == {
        "brain": torch.bfloat16,
        "eight": torch.float8_e4m3fn,
    }
    torch.testing.assert_close(found["eight"].float(), tensors["eight"].float())


def test_nested_containers_have_dotted_names(tmp_path):
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 2)})
    content = {"epoch": 3, "state_dict": model.state_dict(), "moments": [TABLE, (TABLE,)]}
    torch.save(content, tmp_path / "last.ckpt")
    assert list(read(tmp_path / "last.ckpt")) == [
        "state_dict.embedding.weight",
        "moments.0",
        "moments.1.0",
    ]


def test_the_name_of_a_file_does_not_matter(tmp_path):
    save_file({"emb": TABLE}, tmp_path / "model.bin")
    assert list(read(tmp_path / "model.bin")) == ["emb"]


@pytest.mark.parametrize("kind", ["safetensors", "npz", "compressed", "pt", "h5"])
def test_tables_are_mapped(tmp_path, kind):
    assert mapping_of(read(saved(tmp_path, kind, {"emb": TABLE}))["emb"])


# --- real ones --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("fuxictr.model", "embedding_layer.embedding_layer.embedding_layers.user.weight"),
        ("deepctr_torch.h5", "embedding_dict.user.weight"),
        ("embedding_bag.pt", "model.0.weight"),
        ("keras.npz", "embedding/embeddings"),
        ("keras.keras", "layers/embedding/vars/0"),
        ("keras.weights.h5", "layers/embedding/vars/0"),
    ],
)
def test_checkpoints_of_other_libraries_are_read(name, table):
    assert read(CHECKPOINTS / name)[table].shape == (300, 8)


def test_a_keras_model_is_the_same_in_its_three_files():
    npz = read(CHECKPOINTS / "keras.npz")["embedding/embeddings"]
    for name in ("keras.keras", "keras.weights.h5"):
        torch.testing.assert_close(read(CHECKPOINTS / name)["layers/embedding/vars/0"], npz)


def test_an_embedding_of_keras_is_named_after_its_layer(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        called = {"embedding": "users", "embedding_1": "embedding", "embedding_2": "users"}
        for number, (place, name) in enumerate(called.items()):
            variables = file.create_group(f"layers/{place}/vars")
            variables.attrs["name"] = name
            variables.create_dataset("0", data=(number + TABLE).numpy())
    tensors = read(tmp_path / "a.h5")
    assert [(name, round((value - TABLE).mean().item())) for name, value in tensors.items()] == [
        ("layers/users/vars/0", 0),
        ("layers/embedding/vars/0", 1),
        ("layers/users/vars/0 (layers/embedding_2/vars/0)", 2),
    ]
    assert [table.known_by for table in find(tensors, known=tensors.known)[0]] == ["keras"] * 3


def test_hdf5_without_h5py_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ParameterError, match=r"is HDF5, needs h5py, not .*pip install .*\[hdf5\]"):
        read(CHECKPOINTS / "keras.weights.h5")


# --- what is refused ------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain", "npy", "npz"])
def test_a_pickle_that_tries_to_run_code_is_refused(tmp_path, kind):
    path, trace = tmp_path / "model.pt", tmp_path / "it ran"
    content = {"emb": TABLE, "extra": Bomb(trace)}
    with path.open("wb") as file:
        if kind == "plain":
            pickle.dump(content, file)
        elif kind == "npy":
            np.save(file, np.array([Bomb(trace)], dtype=object), allow_pickle=True)
        elif kind == "npz":
            np.savez(file, emb=np.array([Bomb(trace)], dtype=object))
        else:
            torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ParameterError) as caught:
        read(path)
    said = str(caught.value)
    assert "holds more than tensors" in said and "loading it could run any code" in said
    assert "\n" not in said
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt", "legacy", "h5"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_file_is_told(tmp_path, kind, share):
    path = saved(tmp_path, kind, {"emb": torch.randn(200, 64)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ParameterError, match="is damaged or cut short") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_npy_is_told(tmp_path):
    np.save(tmp_path / "a.npy", TABLE.numpy())
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (len(whole) - 1, 200, 50, 8):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        with pytest.raises(ParameterError, match="is damaged or cut short"):
            read(tmp_path / "a.npy")


def test_an_npy_header_nested_too_deeply_is_told(tmp_path):
    """Of which Python's parser says that the memory does not suffice."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + b"-" * 9000 + b"1}"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (tmp_path / "a.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ParameterError, match=f"{name} is damaged .*nested too deeply"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"emb": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 8]}}, "8 bytes, its shape"),
        ({"emb": {"dtype": "F32", "shape": [-1, 2], "data_offsets": [0, 8]}}, "its shape is"),
        (
            {"emb": {"dtype": "F32", "shape": [10**12, "ab"], "data_offsets": [0, 8]}},
            "its shape is",
        ),
        ({"emb": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, "lies outside"),
        ({"emb": {"shape": [2]}}, "damaged"),
    ],
)
def test_a_safetensors_header_that_lies_is_told(tmp_path, header, said):
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(ParameterError, match=said):
        read(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"user,item,label\n1,2,0\n", "is no checkpoint that can be read; safetensors, .npy"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is no checkpoint that can be read"),
        (b"GGUF" + bytes(50), "is no checkpoint that can be read"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "is a pointer of Git LFS; git lfs pull",
        ),
        (b"PK\x03\x04" + bytes(50), "is damaged or cut short"),
        (b"\x80\x02garbage", "damaged or cut short|holds more than tensors"),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path, content, said):
    (tmp_path / "file.pt").write_bytes(content)
    with pytest.raises(ParameterError, match=said):
        read(tmp_path / "file.pt")


def test_no_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(ParameterError, match=r"there is no file .*nowhere.pt"):
        read(tmp_path / "nowhere.pt")
    with pytest.raises(ParameterError, match="is a folder without an index"):
        read(tmp_path)
