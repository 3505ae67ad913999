"""HDF5: what its library does to its process happens to no other; nothing outside is read."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mapped import mapping_of

from embedding_collapse.collapse import inspect_table
from embedding_collapse.inspection.tables import find
from embedding_collapse.inspection.weights import hdf5_files, read
from embedding_collapse.parameters import ParameterError

h5py = pytest.importorskip("h5py")
LOOP = """
import runpy, sys
process = runpy.run_path(sys.argv[0].replace("process.py", "real.py"))
process["_go_on"].__globals__["SECONDS"] = 0.2
process["_go_on"]()
while True: pass
"""
TABLE = np.random.default_rng(0).standard_normal((300, 8), np.float32)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import os; os.kill(os.getpid(), 11)", "h5py crashes on it, SIGSEGV"),
        (LOOP, "h5py makes no headway in it"),
        ("import sys; sys.exit('bad heap')", "bad heap"),
        ("raise MemoryError('2 TB')", "MemoryError: 2 TB"),
    ],
)
def test_the_end_of_the_process_is_told(tmp_path, monkeypatch, script, said):
    (tmp_path / "real.py").write_bytes(hdf5_files.PROCESS.read_bytes())
    (tmp_path / "process.py").write_text(script)
    monkeypatch.setattr(hdf5_files, "PROCESS", tmp_path / "process.py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["emb"] = TABLE
    with pytest.raises(ParameterError, match=rf"a.h5 is damaged or cut short \({said}\)"):
        read(tmp_path / "a.h5")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
def test_the_process_takes_no_memory_without_end(tmp_path, monkeypatch):
    text = hdf5_files.PROCESS.read_text(encoding="utf-8")
    greedy = text.replace("    _go_on()\n    with h5py", "    bytearray(64 << 30)\n    with h5py")
    assert greedy != text
    (tmp_path / "process.py").write_text(greedy, encoding="utf-8")
    monkeypatch.setattr(hdf5_files, "PROCESS", tmp_path / "process.py")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ParameterError, match="MemoryError"):
        read(tmp_path / "a.h5")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize(
    "limits",
    [
        "resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))",  # as `ulimit -v` does
        "resource.setrlimit = lambda *_: int('as macOS has it, a ValueError')",
    ],
)
def test_a_system_that_sets_no_such_limit_of_memory_is_not_the_files_fault(
    tmp_path, monkeypatch, limits
):
    text = hdf5_files.PROCESS.read_text(encoding="utf-8")
    (tmp_path / "process.py").write_text(f"import resource\n{limits}\n{text}", encoding="utf-8")
    monkeypatch.setattr(hdf5_files, "PROCESS", tmp_path / "process.py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["emb"] = TABLE
    np.testing.assert_array_equal(read(tmp_path / "a.h5")["emb"], TABLE)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "gzip"}, {"chunks": (7, 3)}, {"dtype": ">f8"}]
)
def test_every_layout_gives_what_was_written_and_stays_on_the_disk(tmp_path, options):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("layer/emb", data=TABLE, **options)
        file.create_dataset("none", data=TABLE[:0], maxshape=(None, 8))
        file["one"], file["text"] = 3, "words"
    tensors = read(tmp_path / "a.h5")
    assert list(tensors) == ["layer/emb", "none", "one"]
    np.testing.assert_array_equal(tensors["layer/emb"], TABLE)
    assert tensors["none"].shape == (0, 8) and tensors["one"] == 3
    assert bool(mapping_of(tensors["layer/emb"])) is (options.get("dtype") is None)


def test_numbers_of_an_unusual_type_are_turned_into_usual_ones(tmp_path):
    """16 bits of a kind that numpy lacks were read as the 32 that h5py turns them into."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(TABLE.shape)
        written = h5py.h5d.create(file.id, b"emb", kind, space)
        written.write(h5py.h5s.ALL, h5py.h5s.ALL, TABLE)
    found = read(tmp_path / "a.h5")["emb"]
    torch.testing.assert_close(found.float(), torch.from_numpy(TABLE), rtol=2**-7, atol=0)


def test_entries_in_other_files_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(300 * 8 * 4))
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        size = (tmp_path / "secret").stat().st_size
        file.create_dataset("emb", (300, 8), "f4", external=[(str(tmp_path / "secret"), 0, size)])
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((300, 8), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "emb", (300, 8))
        file.create_virtual_dataset("emb", layout)
    for name in ("outside.h5", "virtual.h5"):
        with pytest.raises(ParameterError, match="'emb' has its entries in another file"):
            read(tmp_path / name)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["emb"] = h5py.ExternalLink(str(tmp_path / "outside.h5"), "emb")
    assert read(tmp_path / "link.h5") == {}


def test_a_table_that_was_never_written_is_noted_whatever_its_size(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("emb", shape=(10**9, 1000), dtype="f4", chunks=(1000, 1000))
    ((table,), _) = find(read(tmp_path / "a.h5"))
    assert "its entries cannot be read" in inspect_table(table.values, name="emb").note


@pytest.mark.parametrize("packing", [None, "gzip"])
def test_raw_bytes_which_may_be_bfloat16_are_noted(tmp_path, packing):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("emb", data=np.zeros((300, 8), "V2"), compression=packing)
        file["pairs"] = np.zeros(3, [("a", "<f4"), ("b", "<i4")])
    tensors = read(tmp_path / "a.h5")
    assert [*tensors] == ["emb"] and tensors["emb"].is_meta and tensors["emb"].shape == (300, 8)


def test_a_file_of_many_datasets_is_mapped_once(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(300):
            file[f"emb{number}"] = TABLE[:4]
    tensors = read(tmp_path / "a.h5")
    assert len(tensors) == 300
    (mapping,) = {mapping_of(tensor) for tensor in tensors.values()}
    assert mapping


def test_a_disk_without_room_to_unpack_is_told(tmp_path, monkeypatch):
    text = hdf5_files.PROCESS.read_text(encoding="utf-8")
    assert "free = unpacked.tell(), shutil.disk_usage" in text
    process = text.replace("    if size > free", "    free = 1000\n    if size > free")
    (tmp_path / "process.py").write_text(process, encoding="utf-8")
    monkeypatch.setattr(hdf5_files, "PROCESS", tmp_path / "process.py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("emb", data=TABLE, compression="gzip")
    with pytest.raises(
        ParameterError, match=r"no room for .*'emb' takes 9,600 bytes, and 1,000 are"
    ):
        read(tmp_path / "a.h5")


def test_plugins_of_hdf5_are_not_loaded(tmp_path, monkeypatch):
    show = "import os, sys; sys.exit(os.environ['HDF5_PLUGIN_PRELOAD'])"
    (tmp_path / "process.py").write_text(show)
    monkeypatch.setattr(hdf5_files, "PROCESS", tmp_path / "process.py")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ParameterError, match=r"\(::\)"):
        read(Path(tmp_path / "a.h5"))
