"""Checkpoints that no library would write: measured, or refused in the project's own words."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save

from embedding_collapse.inspection.page import html
from embedding_collapse.inspection.report import inspect

from .mutate import chance, mutate_bytes, mutate_json, pick
from .reading import Reader, mutated
from .runs import DATA, Case

CHECKPOINTS = DATA / "checkpoints"
ELSEWHERE = "embedding_elsewhere"  # a table whose numbers lie in a file that it has no business in


def safetensors_files(quick: bool) -> Iterator[Case]:
    return _cases(_safetensors, ".safetensors", quick)


def pt_files(quick: bool) -> Iterator[Case]:
    return _cases(_pt, ".pt", quick)


def npz_files(quick: bool) -> Iterator[Case]:
    return _cases(_npz, ".npz", quick)


def npy_files(quick: bool) -> Iterator[Case]:
    return _cases(_npy, ".npy", quick)


def hdf5_files(quick: bool) -> Iterator[Case]:
    return _cases(_hdf5, ".h5", quick)


def onnx_files(quick: bool) -> Iterator[Case]:
    return _cases(_onnx, ".onnx", quick)


def arrow_files(quick: bool) -> Iterator[Case]:
    return _cases(_arrow, ".exported", quick)


def shard_indices(quick: bool) -> Iterator[Case]:
    reader = Reader(_index, ".index.json", _read_shards)
    return mutated(reader, 6 if quick else 2000)


def distributed_folders(quick: bool) -> Iterator[Case]:
    return mutated(Reader(_metadata, ".metadata", _read_distributed), 6 if quick else 2000)


def _cases(make: Callable, suffix: str, quick: bool) -> Iterator[Case]:
    return mutated(Reader(make, suffix, _read), 6 if quick else 2000)


def _read(path: Path) -> int:
    """All that `inspect` does: measure, print, write the page."""
    found = inspect(path)
    measured = [table.name for table in found.tables if table.spectra is not None]
    assert not any(ELSEWHERE in name for name in measured), "another file was read"
    return len(str(found)) + len(html(found)) + len(json.dumps(found.to_json()))


@lru_cache
def _table(rows: int = 300, width: int = 8) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


# --- safetensors ----------------------------------------------------------------------------------


def _safetensors(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    tensors = {"embedding.weight": _table(), "head.weight": _table(1), "ids": torch.arange(50)}
    content = save(tensors, {"format": "pt"})
    size = len(content)
    if not harm:
        return content, size, ""
    if chance(random, 0.6):
        (length,) = struct.unpack("<Q", content[:8])
        header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
        written = json.dumps(mutate_json(header, random)).encode()
        if chance(random, 0.1):
            written = pick(
                random,
                (
                    b"[" * 100_000,
                    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
                    b"{}",
                    b"[]",
                    b"{\xff}",
                    b"\xef\xbb\xbf{}",
                    b"{" + b'"x":NaN,' * 9 + b'"y":1}',
                    b"{" + b" " * 200_000 + b"}",
                    json.dumps(_overlapping()).encode(),
                ),
            )
        stated = len(written) if chance(random, 0.9) else int(random.integers(2**63))
        content = struct.pack("<Q", stated) + written + rest
    if chance(random, 0.4):
        content = mutate_bytes(content, random)
    return content, size, ""


def _overlapping() -> dict[str, Any]:
    """Thousands of tables in the bytes of one."""
    return {
        f"embedding.{n}": {"dtype": "F32", "shape": [200, 8], "data_offsets": [n, n + 6400]}
        for n in range(3000)
    }


# --- npy and npz ----------------------------------------------------------------------------------


DESCRIPTIONS = [
    "'<f4'",
    "'>f8'",
    "'|O'",
    "'<f2'",
    "'<c16'",
    "'<M8[ns]'",
    "'<U8'",
    "'<U100000000'",
    "'|V0'",
    "'|S0'",
    "'|b1'",
    "'<f16'",
    "'f'",
    "'<f4,<f4'",
    "[('a','<f4')]",
    "'V8'",
    "'O,O'",
    "None",
    "0",
    "[('a','<f4',(9999999,9999999))]",
    "('<f4',(2147483647,))",
    "b'<f4'",
    "'__import__'",
    "'<f0'",
    "{'names':['a'],'formats':['<f4'],'offsets':[99999999]}",
    "__import__('os').mkdir('canary')",
    "'" + "x" * 5000 + "'",
]
SHAPES = [
    "(300, 8)",
    "(-1, 8)",
    "(0, 8)",
    "(4611686018427387904, 8)",
    "(0, 4611686018427387904)",
    "()",
    "(300.0, 8)",
    "(True, 8)",
    "[300, 8]",
    "(2400,)",
    "(8, 300)",
    "None",
    "'x'",
    "(300, 8, 0)",
    "(1,)*100",
    f"({'1,' * 100})",
    "(10**12, 8)",
    f"({'9' * 5000},)",
    "(2**63, 2)",
    "(300,",
    "(2147483648, 1)",
    "(99999999999, 8)",
    "(1099511627776, 8)",
    "(" * 300 + ")" * 300,
    "-" * 9000 + "1",
]


def _npy(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    return _array(random, harm), 300 * 8 * 4, ""


def _array(random: np.random.Generator, harm: bool) -> bytes:
    """An `.npy` file whose header says what it should not."""
    data = _table().numpy().tobytes()
    description, shape, fortran = "'<f4'", "(300, 8)", "False"
    version, form = (1, 0), "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}"
    if harm and chance(random, 0.6):
        description = pick(random, DESCRIPTIONS) if chance(random, 0.5) else description
        shape = pick(random, SHAPES) if chance(random, 0.6) else shape
        fortran = pick(random, ("True", "False", "1", "None", "'x'"))
        version = pick(random, ((1, 0), (2, 0), (3, 0), (9, 9)))
        if chance(random, 0.1):
            form = pick(random, ("{}", "[{}, {}, {}]", "{{'descr': {}}}", "{{**{}}}", "x = {}{}"))
        if chance(random, 0.1):
            data = pickle.dumps([_Canary()] * 3)
    header = form.format(description, fortran, shape).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    size = (
        struct.pack("<H", len(header) % 65536)
        if version == (1, 0)
        else struct.pack("<I", len(header))
    )
    content = b"\x93NUMPY" + bytes(version) + size + header + data
    return mutate_bytes(content, random) if harm and chance(random, 0.5) else content


class _Canary:
    """What a pickle would do if it were run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("__import__('os').mkdir('canary')",)


NAMES = [
    "a.npy",
    "../../canary.npy",
    "/tmp/canary.npy",
    "embedding.npy",
    "x" * 9000 + ".npy",
    ".npy",
    "a/b.npy",
]


def _npz(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    members = {"embedding.npy": _array(random, False), "counts.npy": _array(random, False)}
    size = sum(map(len, members.values()))
    if harm and chance(random, 0.7):
        members[pick(random, NAMES)] = _array(random, True)
    content = _zip(members, random, harm)
    return mutate_bytes(content, random) if harm and chance(random, 0.6) else content, size, ""


def _zip(members: dict[str, bytes], random: np.random.Generator, harm: bool) -> bytes:
    """An archive, its checksums right, whose directory may state sizes that are not so."""
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            kind = pick(random, kinds) if harm and chance(random, 0.3) else zipfile.ZIP_STORED
            archive.writestr(name, content, kind)
        if harm and chance(random, 0.2):
            member, fact = (
                pick(random, archive.filelist),
                pick(
                    random,
                    (
                        "file_size",
                        "CRC",
                        "compress_size",
                        "header_offset",
                        "flag_bits",
                        "compress_type",
                    ),
                ),
            )
            setattr(member, fact, pick(random, (0, 1, 8, 99, 2**16 - 1)))
            if fact in ("file_size", "compress_size", "header_offset", "CRC"):
                setattr(member, fact, pick(random, (0, 1, 2**31, 2**32 - 2)))
    return file.getvalue()


# --- torch ----------------------------------------------------------------------------------------


@lru_cache
def _saved() -> list[bytes]:
    """Files of torch: two of libraries, a state, one as torch wrote before 1.6, one of lists that
    hold one another 2^30 times, whole models, harmful pickles."""
    state = {"embedding.weight": _table(), "bias": torch.zeros(8), "more": [{"x": _table(50)}]}
    model = torch.nn.Sequential(torch.nn.Embedding(300, 8), torch.nn.Linear(8, 2))
    doubled: list[Any] = [_table()]
    for _ in range(30):
        doubled = [doubled, doubled]
    found = [(CHECKPOINTS / name).read_bytes() for name in ("embedding_bag.pt", "fuxictr.model")]
    for content, archive in (
        (state, True),
        (state, False),
        (doubled, True),
        ({"net": model, "of": np.ones((9, 2))}, True),
        ([_Canary()], True),
        ([_Canary()], False),
    ):
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=archive)
        found.append(file.getvalue())
    arrays = {"net": model, "embedding": _table().numpy(), "of": np.array([{"x": 1}])}
    plain = [pickle.dumps(arrays, protocol) for protocol in (2, 4, 5)]
    return [*found, *plain, pickle.dumps(_Canary()), pickle.dumps({"embedding": [1, 2]})]


def _pt(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    if not harm:
        return _saved()[2], len(_saved()[2]), ""
    content = pick(random, _saved())
    size = len(content)
    if content.startswith(b"PK") and chance(random, 0.7):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in members if name.endswith("data.pkl"))
        for _ in range(int(random.integers(1, 4))):
            members[name] = mutate_bytes(members[name], random)
        if chance(random, 0.2):
            other = pick(random, list(members))
            members[other] = mutate_bytes(members[other], random)
        if chance(random, 0.1):
            members[name.replace("data.pkl", pick(random, ("constants.pkl", "code/x.py")))] = b"x"
        content = _zip(members, random, chance(random, 0.2))
    if chance(random, 0.4):
        content = mutate_bytes(content, random)
    return content, size, ""


# --- HDF5 -----------------------------------------------------------------------------------------


def _write_hdf5(fill: Callable[[h5py.File], Any]) -> bytes:
    path = Path(mkdtemp()) / "made.h5"
    with h5py.File(path, "w") as file:
        file["embedding"] = _table().numpy()
        fill(file)
    return path.read_bytes()


def _strange() -> Iterator[Callable[[h5py.File], Any]]:
    """What HDF5 allows: links, data elsewhere, sizes that take no room, filters, types."""
    yield lambda f: f.create_dataset(
        "embedding2", data=_table(), chunks=(50, 8), compression="gzip"
    )
    yield lambda f: f.create_dataset("huge", (10**9, 10**3), "f4", chunks=(1000, 1000))
    yield lambda f: f.create_dataset("large_embedding", (10**8, 8), "f4", chunks=(10**4, 8))
    yield lambda f: f.create_dataset(ELSEWHERE, (10, 8), "f4", external=[("/etc/passwd", 0, 320)])
    yield lambda f: f.__setitem__("loop", h5py.SoftLink("/loop"))
    yield lambda f: f.__setitem__("out", h5py.ExternalLink("/etc/passwd", "/"))
    yield lambda f: f.create_group("g").__setitem__("up", f["/"])
    yield lambda f: f.create_dataset("text", data=["a", "b"], dtype=h5py.string_dtype())
    yield lambda f: f.create_dataset("none", data=h5py.Empty("f4"))
    yield lambda f: f.create_dataset("odd", data=np.zeros(5, [("a", "f4"), ("b", "i2")]))
    yield lambda f: f.create_dataset("scalar", data=1.0)
    yield lambda f: f.create_dataset("x" * 10_000, data=np.zeros((20, 4), ">f8"))
    yield lambda f: f.create_virtual_dataset("virtual", _virtual(), fillvalue=0)


def _virtual() -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((10**8, 8), "f4")
    layout[:300] = h5py.VirtualSource(".", "embedding", (300, 8))
    return layout


@lru_cache
def _hdf5_files() -> list[tuple[bytes, int]]:
    """HDF5 files, and how large they are where nothing is compressed."""
    files = [(CHECKPOINTS / name).read_bytes() for name in ("keras.weights.h5", "keras.keras")]
    zeros = _write_hdf5(
        lambda f: f.create_dataset("zeros", data=np.zeros((10**6, 8)), compression="gzip")
    )
    files += map(_write_hdf5, _strange())
    return [*((content, len(content)) for content in files), (zeros, 8 * 8 * 10**6)]


def _hdf5(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    content, size = _hdf5_files()[0]
    if not harm:
        return content, size, ""
    if chance(random, 0.5):
        content, size = pick(random, _hdf5_files())
    return mutate_bytes(content, random) if chance(random, 0.9) else content, size, ""


# --- ONNX -----------------------------------------------------------------------------------------


def _onnx(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    """Initialisers, their entries in the file or, if that is asked for, in another."""
    data = _table().numpy().tobytes()
    place = b"" if not harm else pick(random, (b"", b"", b"/etc/passwd", b"../x", b"mutated.onnx"))
    where = _field(13, _field(1, b"location") + _field(2, place)) if place else _field(9, data)
    kind = int(random.integers(30)) if harm and chance(random, 0.3) else 1
    rows = pick(random, (0, 2**31, 2**63, 2**64 - 1, 299)) if harm and chance(random, 0.3) else 300
    name = _field(8, ELSEWHERE.encode() if place else b"embedding")
    tensor = _field(1, rows) + _field(1, 8) + _field(2, kind) + where + name
    graph = _field(1, _field(4, b"Gather")) + _field(5, tensor) * (1 + int(harm and place == b""))
    content = _field(1, 8) + _field(2, b"pytorch") + _field(7, graph)
    if harm and chance(random, 0.8):
        content = mutate_bytes(content, random)
    return content, 2 * len(data), ""


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


# --- Parquet and Arrow ----------------------------------------------------------------------------


@lru_cache
def _exported() -> list[bytes]:
    """Vectors as databases export them: of fixed length and as lists, in both formats."""
    flat = pa.array(_table().flatten().numpy())
    lists = pa.ListArray.from_arrays(pa.array(range(0, 2401, 8), pa.int32()), flat)
    found = []
    for vectors in (pa.FixedSizeListArray.from_arrays(flat, 8), lists):
        table, written = pa.table({"id": range(300), "embedding": vectors}), io.BytesIO()
        pq.write_table(table, written, row_group_size=100)
        found.append(written.getvalue())
        written = io.BytesIO()
        with pa.ipc.new_file(written, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
        found.append(written.getvalue())
    return found


def _arrow(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    content = pick(random, _exported()) if harm else _exported()[0]
    size = len(content)
    return mutate_bytes(content, random) if harm else content, size, ""


# --- folders --------------------------------------------------------------------------------------


def _index(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    places = {"embedding.weight": "one.safetensors", "head.weight": "one.safetensors"}
    content = {"metadata": {"total_size": 1}, "weight_map": places}
    if harm and chance(random, 0.3):
        places[ELSEWHERE] = pick(random, ("../x", "/etc/passwd", "mutated.index.json", "", "."))
    if harm:
        content = mutate_json(content, random)
    written = json.dumps(content).encode()
    if harm and chance(random, 0.3):
        written = mutate_bytes(written, random)
    return written, 300 * 8 * 4, ""


def _read_shards(path: Path) -> int:
    tensors = {"embedding.weight": _table(), "head.weight": _table(1)}
    (path.parent / "one.safetensors").write_bytes(save(tensors))
    return _read(path)


@lru_cache
def _distributed() -> dict[str, bytes]:
    """The files of a distributed checkpoint, by their names."""
    folder = Path(mkdtemp())
    dcp.save({"embedding.weight": _table()}, checkpoint_id=folder, no_dist=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _metadata(random: np.random.Generator, harm: bool) -> tuple[bytes, int, str]:
    content = _distributed()[".metadata"]
    if harm:
        content = pick(random, (content, content, content, pickle.dumps(_Canary())))
        content = mutate_bytes(content, random)
    return content, 300 * 8 * 4, ""


def _read_distributed(path: Path) -> int:
    folder = path.parent / "checkpoint"
    folder.mkdir(exist_ok=True)
    for name, content in _distributed().items():
        (folder / name).write_bytes(path.read_bytes() if name == ".metadata" else content)
    return _read(folder)
