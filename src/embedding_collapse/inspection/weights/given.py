"""Tensors that a caller gives or a file held: of arrays, modules and nested containers."""

import argparse
import contextlib
import types
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embedding_collapse.parameters import ParameterError, short

from .mapping import shape_alone
from .strangers import EMBEDDINGS, Array, Stranger

CONTAINERS = (dict, list, tuple, argparse.Namespace, types.SimpleNamespace, Stranger)


def as_tensor(name: str, array: Any) -> Tensor:
    """A tensor, an array of numbers or an embedding as a tensor without a gradient; a view where
    one can be had.

    Raises:
        ParameterError: anything else, or a sparse tensor.
    """
    kind = type(array).__name__
    if isinstance(array, nn.Embedding | nn.EmbeddingBag):
        array = array.weight
    if isinstance(array, Tensor):
        if array.layout is torch.strided:
            return array.detach()
        layout = str(array.layout).removeprefix("torch.")
        raise ParameterError(f"{name} is a tensor of layout {layout}; dense ones are accepted")
    if isinstance(array, np.ndarray):
        kind = f"an array of {array.dtype}"
        native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        with warnings.catch_warnings(), contextlib.suppress(TypeError):
            warnings.simplefilter("ignore", UserWarning)  # that it may be read-only: it is read
            return torch.from_numpy(native)
    raise ParameterError(f"{name} is {kind}; a torch tensor or a numpy array of numbers is needed")


class Tensors(dict[str, Tensor]):
    """Tensors by name, and what else is known of them.

    Attributes:
        classes: of those that are an embedding's weight, its class.
        strangers: classes that nothing here knows, of objects in a pickle; see `strangers`.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(tensors or {})
        self.classes: dict[str, str] = {}
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
        tensors.classes = classes_in(content)
        content = content.state_dict()
    names: Counter[str] = Counter()
    for name, tensor, holder in _walk(content, alone, "", set()):
        if tensor.is_nested:
            raise ParameterError(f"{what} holds a nested tensor, {name}, which has no one shape")
        names[name] += 1
        if names[name] > 1:
            name = f"{name} ({names[name]})"
        tensors[name] = _readable(tensor)
        if holder and name.rpartition(".")[2] == "weight":
            tensors.classes[name] = holder
    return tensors


def classes_in(module: nn.Module) -> dict[str, str]:
    """The class of every `Embedding` and `EmbeddingBag` of a module, by the name of its weight."""
    return {
        f"{path}.weight".removeprefix("."): type(part).__name__
        for path, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, nn.Embedding | nn.EmbeddingBag)
    }


def _walk(
    content: Any, name: str, prefix: str, seen: set[int], holder: str = ""
) -> Iterator[tuple[str, Tensor, str]]:
    """The tensors in nested dictionaries, lists, namespaces and strangers, with dotted names, and
    the class of the embedding that holds them.

    A container that is met again, perhaps in itself, has had its turn.
    """
    if isinstance(content, Array):
        content = content.content
        if isinstance(content, list) and len(content) == 1:  # as numpy saves what is no array
            content = content[0]
    if isinstance(content, np.ndarray) and content.dtype.kind in "biufc":
        content = as_tensor(short(prefix.removesuffix(".")), content)
    if isinstance(content, Tensor):
        yield prefix.removesuffix(".") or name, content.detach(), holder
    elif isinstance(content, CONTAINERS) and id(content) not in seen:
        seen.add(id(content))
        if isinstance(content, Stranger):
            content, holder = content.held(), EMBEDDINGS.get(content.full_name, "")
        elif isinstance(content, argparse.Namespace | types.SimpleNamespace):
            content = vars(content)
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _walk(value, name, f"{prefix}{key}.", seen, holder)


def _readable(tensor: Tensor) -> Tensor:
    """The tensor, or its shape alone where its entries do not lie in memory one by one."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return shape_alone(tensor.shape)
    expanded = tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    return shape_alone(tensor.shape) if expanded else tensor
