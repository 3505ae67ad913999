"""Whatever happened to a file, its reader reads it or says in one line what is wrong with it."""

import gzip
import io
import json
import pickle
import random
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from embedding_collapse.inspection import report
from embedding_collapse.inspection.page import html
from embedding_collapse.inspection.weights import hdf5_files
from embedding_collapse.lab.data import DataSpec, load
from embedding_collapse.lab.data.columns import Source, accept
from embedding_collapse.lab.data.sources import AVAZU_FIELDS, avazu, criteo, own_table
from embedding_collapse.parameters import ParameterError

pytestmark = pytest.mark.slow

COUNT = 120  # of each kind
FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults"
mutate_bytes = runpy.run_path(str(FAULTS / "mutate.py"))["mutate_bytes"]


def mutations(whole: bytes, count: int = COUNT) -> Iterator[bytes]:
    return (mutate_bytes(whole, np.random.default_rng(seed)) for seed in range(count))


def table() -> pd.DataFrame:
    chance = random.Random(0)
    texts = ["Köln", "a, b", 'say "hi"', "two\nlines", "", "表"]
    return pd.DataFrame(
        {
            "y": [row % 2 for row in range(40)],
            "text": [chance.choice(texts) for _ in range(40)],
            "number": [round(chance.random(), 3) for _ in range(40)],
            "whole": [chance.randrange(9) for _ in range(40)],
        }
    )


def csv(**options: str) -> bytes:
    return table().to_csv(index=False, **options).encode()


def click_log(columns: int, delimiter: str, label: int, header: list[str] | None) -> bytes:
    chance = random.Random(0)
    rows = [] if header is None else [header]
    for row in range(40):
        rows.append([str(chance.randrange(99)) for _ in range(columns)])
        rows[-1][label] = str(row % 2)
    return "".join(delimiter.join(row) + "\n" for row in rows).encode()


def parquet(**options: object) -> bytes:
    file = io.BytesIO()
    table().assign(
        when=pd.Timestamp("2020-01-01"), kind=pd.Categorical(["u", "v"] * 20)
    ).to_parquet(file, row_group_size=15, **options)
    return file.getvalue()


def own(path: str) -> Source:
    return own_table(DataSpec("table", label="y", path=path, content="unread"))


avazu_header = ["id", "click", *AVAZU_FIELDS]
TABLES: dict[str, tuple[bytes, str, Callable]] = {
    "csv": (csv(), ".csv", own),
    "csv, all in quotes": (csv(quoting=1, lineterminator="\r\n"), ".csv", own),
    "tsv": (csv(sep="\t"), ".tsv", own),
    "gz": (gzip.compress(csv(), mtime=0), ".csv.gz", own),
    "criteo": (click_log(40, "\t", 0, None), ".txt", criteo),
    "avazu": (click_log(24, ",", 1, avazu_header), ".csv", avazu),
    "parquet": (parquet(), ".parquet", own),
    "parquet, gzip": (parquet(compression="gzip", data_page_version="2.0"), ".parquet", own),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_mutated_table_is_read_or_refused_in_one_line(tmp_path, kind):
    whole, suffix, source_of = TABLES[kind]
    read, refused = 0, 0
    for number, content in enumerate(mutations(whole)):
        path = tmp_path / f"{number}{suffix}"
        path.write_bytes(content)
        try:
            source = source_of(str(path))
            for task in source.table.read(source.wanted, False):
                rows = accept(source, task)
                numbers = np.concatenate([rows.numbers, rows.rejected])
                assert np.array_equal(np.sort(numbers), np.arange(len(numbers)))  # none is lost
                assert set(rows.rejected[:5]) == set(sorted(rows.why)[:5])
            if number % 20 == 0:
                load_it(path, kind, tmp_path / "cache")
            read += 1
        except ParameterError as error:
            assert "\n" not in str(error) and str(path) in str(error)
            refused += 1
    assert refused > 0 and (read > 0 or kind == "gz")  # whose checksum tells


def load_it(path: Path, kind: str, cache: Path) -> None:
    name = kind if kind in ("criteo", "avazu") else "table"
    label = "y" if name == "table" else None
    load(name, path=path, label=label, cache=cache, max_rejected=0.5, progress=False, workers=1)


TENSORS = {
    "user.emb": torch.randn(40, 8, generator=torch.Generator().manual_seed(0)),
    "stacked.emb": torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(1)),
    "int.emb": torch.arange(40).view(10, 4),
}


MODEL = torch.nn.Sequential(torch.nn.Embedding(40, 8), torch.nn.Linear(8, 2))


def arrays() -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in TENSORS.items()}


def packed(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def safetensors(folder: Path) -> bytes:
    save_file(TENSORS, folder / "whole.safetensors")
    return (folder / "whole.safetensors").read_bytes()


CHECKPOINTS: dict[str, Callable[[Path], bytes]] = {
    "safetensors": safetensors,
    "npy": lambda _: packed(lambda file: np.save(file, TENSORS["stacked.emb"].numpy())),
    "npz": lambda _: packed(lambda file: np.savez(file, **arrays())),
    "npz, compressed": lambda _: packed(lambda file: np.savez_compressed(file, **arrays())),
    "pt": lambda _: packed(lambda file: torch.save({"model": TENSORS, "epoch": 3}, file)),
    "pt before 1.6": lambda _: packed(
        lambda file: torch.save(TENSORS, file, _use_new_zipfile_serialization=False)
    ),
    "whole model": lambda _: packed(lambda file: torch.save(MODEL, file)),
    "pickle, protocol 2": lambda _: pickle.dumps({"net": MODEL, **arrays()}, 2),
    "pickle, protocol 5": lambda _: pickle.dumps({"net": MODEL, **arrays()}, 5),
    "npy of objects": lambda _: packed(lambda file: np.save(file, arrays(), allow_pickle=True)),
}


def inspected(path: Path) -> bool:
    """Whether a checkpoint is read; else it must be refused in one line that names it."""
    try:
        found = report.inspect(path)
    except ParameterError as error:
        text = str(error)
        assert "\n" not in text and (str(path) in text or "nothing here looks" in text)
        return False
    html(found)
    json.dumps(found.to_json(), allow_nan=False)
    return True


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_mutated_checkpoint_is_read_or_refused_in_one_line(tmp_path, kind):
    path, read = tmp_path / "mutated", 0
    for content in mutations(CHECKPOINTS[kind](tmp_path)):
        path.write_bytes(content)
        read += inspected(path)
    assert read < COUNT


@pytest.mark.parametrize("kind", ["npy", "pickle"])
def test_what_an_archive_holds_is_mutated_too_behind_right_checksums(tmp_path, kind):
    name = "npz, compressed" if kind == "npy" else "pt"
    with zipfile.ZipFile(io.BytesIO(CHECKPOINTS[name](tmp_path))) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    for member, whole in members.items():
        if not member.endswith((".npy", "data.pkl")):
            continue
        for content in mutations(whole[:128] if kind == "npy" else whole, COUNT // 2):
            with zipfile.ZipFile(tmp_path / "mutated", "w", zipfile.ZIP_STORED) as archive:
                for one, honest in members.items():
                    changed = content + whole[128:] if kind == "npy" else content
                    archive.writestr(one, changed if one == member else honest)
            inspected(tmp_path / "mutated")


READ_MANY = """
import contextlib, io, runpy, sys
from pathlib import Path
main = runpy.run_path(sys.argv[1])["main"]
for path in sorted(Path(sys.argv[2]).glob("*.h5")):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        main(path, Path(sys.argv[2], "room"))
    print(path.name, flush=True)
"""


def test_mutated_hdf5_neither_crashes_nor_stops_the_process_that_reads_it(tmp_path):
    """All in one process, for starting one for each takes long; some as they are read."""
    h5py = pytest.importorskip("h5py")
    for name, options in {
        "plain": {},
        "packed": {"compression": "gzip", "fletcher32": True},
    }.items():
        with h5py.File(tmp_path / "whole", "w") as file:
            for tensor, value in arrays().items():
                file.create_dataset(f"layers/{tensor}", data=value, **options)
        for number, content in enumerate(mutations((tmp_path / "whole").read_bytes(), COUNT // 2)):
            path = tmp_path / f"{name}{number:03d}.h5"
            path.write_bytes(content)
            if number % 40 == 0:
                inspected(path)
    done = subprocess.run(
        [sys.executable, "-c", READ_MANY, hdf5_files.PROCESS, tmp_path],
        capture_output=True,
        text=True,
    )
    assert len(done.stdout.splitlines()) == 2 * (COUNT // 2), done.stdout[-20:] + done.stderr[-500:]
