"""What is said of a pickle that is not read."""

import itertools
import pathlib
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributed.checkpoint import FileSystemWriter, format_utils, save

from embedding_collapse.inspection.weights import read
from embedding_collapse.parameters import ParameterError

TABLE = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
NAMES = itertools.count()  # a pickle has Python make it anew


class Whole(torch.nn.Embedding):
    def __init__(self) -> None:
        super().__init__(50, 6, _weight=TABLE)
        self.names = NAMES


SAVED: dict[str, Callable[[Path], None]] = {
    "whole.pt": lambda path: torch.save(Whole(), path),
    "dict.pt": lambda path: torch.save({"state_dict": {"e": TABLE}, "x": NAMES}, path),
    "old.pt": lambda path: torch.save(
        {"state_dict": {"e": TABLE}, "x": NAMES}, path, _use_new_zipfile_serialization=False
    ),
    "object.npy": lambda path: np.save(path, {"e": TABLE.numpy(), "x": NAMES}, allow_pickle=True),
    "some.npz": lambda path: np.savez(path, e=TABLE.numpy(), x=np.array(NAMES, dtype=object)),
    "plain.pkl": lambda path: path.write_bytes(pickle.dumps({"e": TABLE.numpy(), "x": NAMES})),
    "two.pkl": lambda path: path.write_bytes(pickle.dumps({"e": TABLE.numpy(), "x": NAMES}, 2)),
}


@pytest.mark.parametrize("name", SAVED)
def test_the_lines_that_a_refusal_suggests_save_what_is_then_read(tmp_path, name):
    SAVED[name](tmp_path / name)
    with pytest.raises(ParameterError) as caught:
        read(tmp_path / name)
    lines = str(caught.value).partition("two lines save what is needed: ")[2]
    load, store = lines.split(" and ", 1)
    names = {"numpy": np, "torch": torch, "pickle": pickle, "pathlib": pathlib}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # numpy leaves an .npz open
        exec(load, names)
        exec(store[: store.rindex(")") + 1], names)
        del names["saved"]
    (state,) = tmp_path.glob("*-state.*")
    (table,) = read(state).values()
    assert torch.equal(table, TABLE)


def test_the_line_that_is_suggested_for_a_folder_of_shards_makes_one_file(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save({"e": TABLE}, storage_writer=FileSystemWriter(tmp_path / "sharded"), no_dist=True)
    metadata = tmp_path / "sharded" / ".metadata"
    whole = metadata.read_bytes()
    metadata.write_bytes(b"cos\nsystem\n.")
    with pytest.raises(
        ParameterError, match=r"sharded has metadata that holds more than"
    ) as caught:
        read(tmp_path / "sharded")
    metadata.write_bytes(whole)
    line = str(caught.value).partition("makes one file of it: ")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(line, {"dcp_to_torch_save": format_utils.dcp_to_torch_save})
    assert torch.equal(read(tmp_path / "sharded-state.pt")["e"], TABLE)
