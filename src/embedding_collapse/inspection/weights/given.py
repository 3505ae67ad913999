"""The tensors in modules and nested containers, which a caller gives or a file held."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embedding_collapse.collapse import as_tensor
from embedding_collapse.parameters import ParameterError

from ..recognition import Reading
from .mapping import holds_numbers, shape_alone
from .strangers import NAMESPACES, Array, Stranger

LAYERS = "torch.nn.modules."
HOLDERS = (f"{LAYERS}container", f"{LAYERS}module")  # such as ParameterDict: of what they are given
KEPT = Reading(False, "an optimizer keeps it")
MOST_LETTERS = 20_000  # of a name, the last
CONTAINERS = (dict, list, tuple, set, frozenset, *NAMESPACES, Stranger)


class Tensors(dict[str, Tensor]):
    """Tensors by name, and what else is known of them.

    Attributes:
        known: of those whose holder tells it, whether they are tables.
        strangers: classes that nothing here knows, of objects in a pickle; see `strangers`.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(tensors or {})
        self.known: dict[str, Reading] = {}
        self.strangers: list[str] = []


def tensors_in(
    content: Any, what: str, alone: str, strangers: Iterable[type[Stranger]] = ()
) -> Tensors:
    """The tensors in a module or nested containers, by dotted names.

    Args:
        content: such as a state dict, or what a trainer keeps around one.
        what: it is, for messages.
        alone: the name of a tensor without a container.
        strangers: the classes that may stand for others in it.

    Raises:
        ParameterError: a nested tensor.
    """
    tensors = Tensors()
    tensors.strangers = sorted(one.full_name for one in strangers if one.made)
    if isinstance(content, nn.Module):
        tensors.known = known_in(content)
        content = content.state_dict()
    for name, tensor, known in _walk(content, alone, "", set()):
        if tensor.is_nested:
            raise ParameterError(f"{what} holds a nested tensor, {name}, which has no one shape")
        name = free(name, tensors)
        tensors[name] = _readable(tensor)
        if known is not None and (not known.is_table or name.rpartition(".")[2] == "weight"):
            tensors.known[name] = known
    return tensors


def free(name: str, taken: Container[str]) -> str:
    """The name, with a number behind it if it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def known_in(module: nn.Module) -> dict[str, Reading]:
    """What the class of a part says of its parameters: `Embedding` and `EmbeddingBag` have tables,
    and torch's other layers have none; its containers don't tell."""
    known = {}
    for path, part in module.named_modules(remove_duplicate=False):
        is_table = isinstance(part, nn.Embedding | nn.EmbeddingBag)
        if is_table or _of_layers(type(part).__module__):
            reading = Reading(is_table, _said(type(part).__name__, is_table))
            for name, _ in part.named_parameters(recurse=False):
                if name == "weight" or not is_table:
                    known[f"{path}.{name}".removeprefix(".")] = reading
    return known


def _known_of(stranger: Stranger) -> Reading | None:
    """The same of an object that stands for a module; None of what is not known."""
    module, _, name = stranger.full_name.rpartition(".")
    is_table = {"num_embeddings", "embedding_dim"} <= stranger.state.keys()
    layer = _of_layers(module) and "_parameters" in stranger.state
    return Reading(is_table, _said(name, is_table)) if is_table or layer else None


def _of_layers(module: str) -> bool:
    return module.startswith(LAYERS) and module not in HOLDERS


def _said(name: str, is_table: bool) -> str:
    return name if is_table else f"a layer, {name}"


def _walk(
    content: Any, name: str, prefix: str, seen: set[int], known: Reading | None = None
) -> Iterator[tuple[str, Tensor, Reading | None]]:
    """The tensors in nested dictionaries, lists, namespaces and strangers, with dotted names, and
    what is known of them by their holder.

    A container that is met again, perhaps in itself, has had its turn.
    """
    while isinstance(content, Array):
        content = content.content
        if isinstance(content, list) and len(content) == 1:  # as numpy saves what is no array
            content = content[0]
    if isinstance(content, np.ndarray) and holds_numbers(content.dtype):
        try:
            content = as_tensor(name, content)
        except ParameterError:  # numbers that torch lacks, such as 80 bits, or raw bytes
            content = shape_alone(content.shape)
    if isinstance(content, Tensor):
        yield prefix.removesuffix(".") or name, content.detach(), known
    elif isinstance(content, CONTAINERS) and id(content) not in seen:
        seen.add(id(content))
        if isinstance(content, Stranger):
            known = known if known is KEPT else _known_of(content)
            content = content.held()
        elif isinstance(content, NAMESPACES):
            content = vars(content)
        if isinstance(content, dict) and {"state", "param_groups"} <= content.keys():
            known = KEPT
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for place, (key, value) in enumerate(items):
            called = place if isinstance(key, Tensor | Stranger) else key
            under = f"{prefix}{str(called)[:MOST_LETTERS]}."[-MOST_LETTERS:]
            yield from _walk(value, name, under, seen, known)


def _readable(tensor: Tensor) -> Tensor:
    """The tensor, or its shape alone where its entries do not lie in memory one by one."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return shape_alone(tensor.shape)
    expanded = tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    return shape_alone(tensor.shape) if expanded else tensor
