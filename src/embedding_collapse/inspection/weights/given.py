"""Tensors that a caller gives or a file held: of arrays, modules and nested containers."""

import argparse
import contextlib
import types
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embedding_collapse.parameters import ParameterError, short

from .mapping import shape_alone


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


def tensors_in(content: Any, what: str, alone: str) -> dict[str, Tensor]:
    """The tensors in a module or nested containers, by dotted names.

    Args:
        content: such as a state dict, or what a trainer keeps around one.
        what: it is, for messages.
        alone: the name of a tensor without a container.

    Raises:
        ParameterError: a nested tensor.
    """
    if isinstance(content, nn.Module):
        content = content.state_dict()
    tensors: dict[str, Tensor] = {}
    names: Counter[str] = Counter()
    for name, tensor in _walk(content, alone, "", set()):
        if tensor.is_nested:
            raise ParameterError(f"{what} holds a nested tensor, {name}, which has no one shape")
        names[name] += 1
        tensors[name if names[name] == 1 else f"{name} ({names[name]})"] = _readable(tensor)
    return tensors


def _walk(content: Any, name: str, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested dictionaries, lists and namespaces, with dotted names.

    A container that is met again, perhaps in itself, has had its turn.
    """
    if isinstance(content, argparse.Namespace | types.SimpleNamespace):
        content = vars(content)
    if isinstance(content, np.ndarray) and content.dtype.kind in "biufc":
        content = as_tensor(short(prefix.removesuffix(".")), content)
    if isinstance(content, Tensor):
        yield prefix.removesuffix(".") or name, content.detach()
    elif isinstance(content, dict | list | tuple) and id(content) not in seen:
        seen.add(id(content))
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from _walk(value, name, f"{prefix}{key}.", seen)


def _readable(tensor: Tensor) -> Tensor:
    """The tensor, or its shape alone where its entries do not lie in memory one by one."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return shape_alone(tensor.shape)
    expanded = tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    return shape_alone(tensor.shape) if expanded else tensor
