"""Checkpoints of several files: what belongs together is read, nothing outside the folder is."""

import json
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from mapped import mapping_of
from safetensors.torch import save_file
from torch.distributed.checkpoint.metadata import MetadataIndex

from embedding_collapse.inspection.report import inspect
from embedding_collapse.inspection.weights import read
from embedding_collapse.parameters import ParameterError

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
TABLE = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


def sharded(folder: Path, places: dict[str, str]) -> Path:
    """A folder as Hugging Face's libraries save one, with an index."""
    for file in set(places.values()):
        tensors = {name: TABLE * (1 + n) for n, name in enumerate(places) if places[name] == file}
        if Path(file).suffix == ".bin":
            torch.save(tensors, folder / file)
        else:
            save_file(tensors, folder / file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards_are_read_in_the_order_of_their_index(tmp_path, kind):
    places = {"b.emb": f"2.{kind}", "a.emb": f"1.{kind}", "c.emb": f"2.{kind}"}
    folder = sharded(tmp_path, places)
    for path in (folder, folder / "model.safetensors.index.json"):
        tensors = read(path)
        assert list(tensors) == list(places)
        for n, tensor in enumerate(tensors.values()):
            torch.testing.assert_close(tensor, TABLE * (1 + n))
    assert [one.name for one in inspect(folder).tables] == list(places)


def test_the_one_file_of_a_small_models_folder_is_read(tmp_path):
    save_file({"emb": TABLE}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert list(read(tmp_path)) == ["emb"]
    torch.save({"same": TABLE}, tmp_path / "pytorch_model.bin")  # the model once more, as pickles
    assert list(read(tmp_path)) == ["emb"]


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"a": "../1.safetensors"}, "names '../1.safetensors' as a file of this folder"),
        ({"a": "/etc/passwd"}, "names '/etc/passwd' as a file of this folder"),
        ({"a": ".."}, "names '..' as a file"),
        ({"a": 3}, "names '3' as a file"),
        ({"a": "gone.safetensors"}, "there is no file .*gone.safetensors"),
        ({"other": "1.safetensors"}, "1.safetensors lacks other, which the index has in it"),
        ([], "damaged"),
    ],
)
def test_an_index_that_cannot_be_followed_is_told(tmp_path, places, said):
    folder = sharded(tmp_path, {"a": "1.safetensors"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ParameterError, match=said):
        read(folder)


@pytest.mark.parametrize("name", [".", ""])
def test_the_folder_one_is_in_has_no_name_and_is_read(tmp_path, monkeypatch, name):
    folder = sharded(tmp_path, {"emb": "1.safetensors"})
    monkeypatch.chdir(folder)
    assert read(name).keys() == {"emb"}
    assert inspect(name).name == folder.name


def test_a_folder_of_nothing_is_told(tmp_path):
    with pytest.raises(ParameterError, match=r"is a folder without an index of shards"):
        read(tmp_path)


# --- torch.distributed.checkpoint -----------------------------------------------------------------


@pytest.fixture
def distributed(tmp_path) -> Path:
    """What torch saves in one process; a state as a trainer has it."""
    state = {
        "model": {"emb.weight": TABLE, "half": TABLE.bfloat16(), "bias": torch.ones(6)},
        "step": 3,
    }
    dcp.save(state, checkpoint_id=tmp_path / "dcp", no_dist=True)
    return tmp_path / "dcp"


def test_a_distributed_checkpoint_is_read_without_a_process_group(distributed):
    tensors = read(distributed)
    torch.testing.assert_close(tensors["model.emb.weight"], TABLE)
    torch.testing.assert_close(tensors["model.half"], TABLE.bfloat16())
    assert tensors["model.bias"].is_meta and tensors["model.bias"].shape == (6,)
    assert [one.name for one in inspect(distributed).tables] == ["model.emb.weight"]
    assert mapping_of(tensors["model.emb.weight"])


def test_chunks_of_several_processes_are_put_together(distributed):
    """The chunks that a second process would have saved, written by hand beside the first's."""
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex

    metadata = pickle.loads((distributed / ".metadata").read_bytes())
    name = "model.emb.weight"
    facts = metadata.state_dict_metadata[name]
    facts.chunks = [
        ChunkStorageMetadata(torch.Size([n, 0]), torch.Size([m, 6])) for n, m in ((0, 20), (20, 30))
    ]
    (info,) = (v for k, v in metadata.storage_data.items() if k.fqn == name)
    metadata.storage_data = {k: v for k, v in metadata.storage_data.items() if k.fqn != name}
    for number, (start, size) in enumerate(((0, 20), (20, 30))):
        file = f"__{number}_9.distcp"
        torch.save(TABLE[start : start + size].clone(), distributed / file)
        length = (distributed / file).stat().st_size
        place = type(info)(relative_path=file, offset=0, length=length)
        metadata.storage_data[MetadataIndex(name, torch.Size([start, 0]), number)] = place
    (distributed / ".metadata").write_bytes(pickle.dumps(metadata))
    torch.testing.assert_close(read(distributed)[name], TABLE)
    (distributed / "__1_9.distcp").unlink()
    with pytest.raises(ParameterError, match=r"there is no file '__1_9.distcp' beside it"):
        read(distributed)


@pytest.mark.parametrize("path", ["pathlib._local\nPosixPath", "pathlib\nWindowsPath"])
def test_metadata_of_another_python_or_system_is_read(distributed, path):
    metadata = pickle.loads((distributed / ".metadata").read_bytes())
    metadata.storage_meta.checkpoint_id = Path("checkpoint")
    content = pickle.dumps(metadata, 2)
    own = f"c{type(Path()).__module__}\n{type(Path()).__name__}\n".encode()
    assert content.count(own) == 1
    (distributed / ".metadata").write_bytes(content.replace(own, f"c{path}\n".encode()))
    assert "model.emb.weight" in read(distributed)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_nothing_in_the_metadata_is_run(distributed, tmp_path):
    (distributed / ".metadata").write_bytes(pickle.dumps([Bomb(tmp_path / "it ran")]))
    with pytest.raises(ParameterError, match="holds more than tensors"):
        read(distributed)
    assert not (tmp_path / "it ran").exists()


def test_the_metadata_sets_nothing_on_the_classes_that_it_names(distributed):
    place = b"ctorch.distributed.checkpoint.metadata\nMetadataIndex\n"
    state = b"N}X\x08\x00\x00\x00__hash__Ns\x86b."
    (distributed / ".metadata").write_bytes(b"\x80\x02" + place + state)
    with pytest.raises(ParameterError):
        read(distributed)
    assert MetadataIndex.__hash__ is not None


def test_a_chunk_that_is_missing_is_told(distributed):
    metadata = pickle.loads((distributed / ".metadata").read_bytes())
    name = "model.emb.weight"
    metadata.storage_data = {k: v for k, v in metadata.storage_data.items() if k.fqn != name}
    (distributed / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ParameterError, match=r"model.emb.weight has 0 of its 300"):
        read(distributed)


@pytest.mark.parametrize(
    "asked", ["model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "saved"]
)
def test_of_tensorflows_own_format_it_is_said_how_to_convert_it(tmp_path, asked):
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    for start in ("model.ckpt", "saved/variables/variables"):
        for end in ("index", "data-00000-of-00001"):
            (tmp_path / f"{start}.{end}").write_bytes(b"\x00" * 50)
    with pytest.raises(ParameterError, match=r"TensorFlow's own .* numpy\.savez\('"):
        read(tmp_path / asked)


@pytest.mark.parametrize("kind", ["npz", "distributed"])
def test_more_tables_than_a_process_may_hold_files_open_are_read(tmp_path, kind):
    """What is unpacked goes to the disk, and a file that is mapped stays open."""
    few = len(list(Path("/proc/self/fd").iterdir())) + 40
    state = {f"emb_{number}.weight": torch.full((40, 4), number) for number in range(100)}
    path = tmp_path / "a.npz" if kind == "npz" else tmp_path / "dcp"
    if kind == "npz":
        np.savez_compressed(path, **{name: table.numpy() for name, table in state.items()})
    else:
        dcp.save(state, checkpoint_id=path, no_dist=True)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        tables = read(path)
        assert {name: int(table[39, 3]) for name, table in tables.items()} == {
            f"emb_{number}.weight": number for number in range(100)
        }
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
