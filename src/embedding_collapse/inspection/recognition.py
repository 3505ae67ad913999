"""What says that a tensor of a checkpoint is an embedding table: its name, or its shape."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

# How libraries name the weights of their embedding tables in what they save.
CONVENTIONS = {
    "this library": re.compile(r"table"),
    "transformers": re.compile(
        r"(.*\.)?(word_embeddings|token_type_embeddings|position_embeddings|embed_tokens"
        r"|embed_positions|embed_in|tok_embeddings|wte|wpe|shared)\.weight"
    ),
    "fuxictr": re.compile(r"(.*\.)?embedding_layers\.[^.]+\.weight"),
    "recbole": re.compile(
        r"(.*\.)?(token|float|(token|float)_seq)_embedding_table(\.\d+|\.embedding)*\.weight"
        r"|(.*\.)?(user|item|entity|relation|position)_embeddings?\.weight"
    ),
    "deepctr": re.compile(r"(.*\.)?embedding_dict\.[^.]+\.weight"),
    "gensim": re.compile(r"((.*\.)?(wv|dv)\.)?vectors(_vocab|_ngrams)?"),
    "surprise": re.compile(r"(.*\.)?(pu|qi)"),
    "cornac": re.compile(r"(.*\.)?[ui]_factors"),
    "dlrm": re.compile(r"(.*\.)?emb_l\.\d+\.weight"),
    "torchrec": re.compile(
        # not of numbers alone, as any list called `embeddings` has them
        r"(.*\.)?(embedding_bags|embeddings\.(?!proj|linear|norm|dense|\d+\.))(\.?[^.]+)\.weight"
    ),
    "keras": re.compile(r"(.*/)?embedding(_\d+)?/(embeddings|vars/0|0)(:0)?"),
    "tensorflow": re.compile(
        r"(.*/)?(embeddings|embedding_weights)(/part_\d+)?(:0|/\.ATTRIBUTES/VARIABLE_VALUE)?"
    ),
}
STACKED = re.compile(r"(.*\.)?stacked\..*embedding")  # a MultiEmbedding's, sets first
NAMED = re.compile(r"emb|table|lookup", re.IGNORECASE)
ENTITY = re.compile(
    r"(^|[./_])(users?|items?|products?|movies?|tokens?|words?|vocab(ulary)?|entit(y|ies)|nodes?"
    r"|ids?|categor(y|ies))([./_]|$)",
    re.IGNORECASE,
)
# of a layer; one behind a table is named after both ("embedding.proj.weight"); conversions,
# headlines, gateways and projects are fields of advertising
FIELDS_TOO = r"norm|conv(?!ersion)|interaction|gate(?!way)|head(?!line)|classifi"  # "conv_type"
LAYERS_ALONE = (
    r"linear|proj(?!ect_?id)|mlp|attn|attention|dense|bias|kernel"
    r"|weight_[ih]h|(^|[./_])(fc|dnn|ffn)\d*([./_]|$)"
)
LAYER = re.compile(f"{FIELDS_TOO}|{LAYERS_ALONE}", re.IGNORECASE)
OPTIMIZER = re.compile(
    r"optimi[sz]er|exp_avg|momentum|max_exp|square_avg|OPTIMIZER_SLOT|/(Adam|Adagrad|Ftrl)"
    r"|gradients?$",
    re.IGNORECASE,
)
BIAS = {"weight": "bias", "kernel": "bias", "kernel:0": "bias:0", "vars/0": "vars/1"}
MANY_ROWS, TALL = 100, 16  # a tensor whose name doesn't tell is a table from here up
GUESS = " (guess)"


class Reading(NamedTuple):
    """Whether a tensor is taken for a table, and what says so, or why not."""

    is_table: bool
    why: str


def recognise(name: str, tensors: Mapping[str, Tensor]) -> Reading:
    """Whether one of a checkpoint's tensors, of two or three dimensions, is an embedding table.

    What an optimizer keeps is none, nor is a dense layer, which has a bias beside it. Then speaks
    the convention of a library; a name that says embedding, table or lookup; and, of two
    dimensions, tables of its width beside it, a name such as `user`, or many rows: `MANY_ROWS`,
    and `TALL` times as many as columns. The latter four are guesses.
    """
    tensor = tensors[name]
    rows, width = tensor.shape[0], tensor.shape[-1]
    if width < 2:
        return Reading(False, "one column has nothing to measure")
    if OPTIMIZER.search(name):
        return Reading(False, "an optimizer keeps it")
    if "lora_" in name:
        return Reading(False, "a low-rank adapter")
    if _has_bias(name, tensors):
        return Reading(False, "a dense layer: its bias is beside it")
    stacked = STACKED.match(name)
    if stacked and tensor.ndim == 3 and not LAYER.search(name, stacked.end()):
        return Reading(True, "this library")
    for library, convention in CONVENTIONS.items():
        if convention.fullmatch(name):
            return Reading(True, library)
    ends = [match.end() for match in NAMED.finditer(name)]
    if ends and not LAYER.search(name, ends[-1]):
        return Reading(True, "name" + GUESS)
    if tensor.ndim == 2 and _is_field_beside_others(name, tensors):
        return Reading(True, "tables beside it" + GUESS)
    if LAYER.search(name):
        return Reading(False, "a layer, by its name")
    if tensor.ndim == 2 and rows > width and ENTITY.search(name):
        return Reading(True, "name" + GUESS)
    if tensor.ndim == 2 and rows >= MANY_ROWS and rows >= TALL * width:
        return Reading(True, "shape" + GUESS)
    return Reading(False, "neither name nor shape tells a table")


def _has_bias(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a bias lies beside it: of as many numbers as outputs, rows in torch, else columns;
    for each set where these are stacked."""
    for kind, bias in BIAS.items():
        beside = tensors.get(name.removesuffix(kind) + bias) if name.endswith(kind) else None
        outputs = tensors[name].shape[0 if kind == "weight" else -1]
        if beside is None:
            continue
        by_set = STACKED.match(name) and beside.shape == tensors[name].shape[:2]
        if by_set or beside.shape == (outputs,):
            return True
    return False


def _is_field_beside_others(name: str, tensors: Mapping[str, Tensor]) -> bool:
    """Whether it has a name that a layer or a field may have, such as `emb.conv_type.weight`, and
    tables of its width lie beside it in what is named after tables."""
    holder, key = _holder_and_key(name)
    if not NAMED.search(holder) or not LAYER.search(key):
        return False
    if re.search(LAYERS_ALONE, key, re.IGNORECASE):
        return False
    return any(
        tensor.ndim == 2
        and tensor.shape[-1] == tensors[name].shape[-1]
        and _holder_and_key(other)[0] == holder
        and not LAYER.search(_holder_and_key(other)[1])
        and recognise(other, tensors).is_table
        for other, tensor in tensors.items()
    )


def _holder_and_key(name: str) -> tuple[str, str]:
    """Of `module.emb.user.weight`, "module.emb" and "user"."""
    holder, _, key = name.removesuffix(".weight").rpartition(".")
    return holder, key
