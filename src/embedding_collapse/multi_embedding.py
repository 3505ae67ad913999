"""Multi-embedding around modules of one's own; `lab.models.recommender` is the lab's models' own.

The sets are one module whose parameters and buffers have a leading dimension M, `[M, ...]`, and
`torch.func.vmap` runs the user's code once for all of them. Where it can't (data-dependent control
flow, recurrent layers), a loop over the sets does the same, and says why. Tables that have no
leading dimension (with sparse gradients, in embedding bags, of torchrec) stay in sets of their own.
"""

import copy
import warnings
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.parameter import UninitializedParameter
from torch.utils._pytree import tree_map

from .parameters import ParameterError, check_whole, first_line

# torch 2.6 can't tell; there a compiled model loops as well
exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)

Factory = Callable[[], tuple[nn.Module, nn.Module]]
SLOW = "There is a performance drop"  # how torch warns that it would loop by itself


class MultiEmbedding(nn.Module):
    """M embedding sets, each with its own interaction; the mean of what they put out.

    `h = 1/M sum_m I_m(E_m(inputs))` (Guo et al. 2024, section 5). With one set it is the user's own
    model. Each interaction should end in a non-linearity: the mean of linear maps is a linear map,
    and several sets no more than a large one.

    Args:
        factory: makes an (embedding, interaction) pair of fresh modules. The embedding takes what
            `forward` is given; the interaction takes what the embedding returns, as one argument,
            which may be `(vectors, numbers)`; and returns a tensor or a tuple, list or dictionary
            of tensors.
        sets: M, at least 1.
        head: takes the mean over the sets; None returns that mean.
        seed: set m is drawn under `torch.manual_seed(seed + m)`, and torch's random state is then
            as it was; by default each set takes what torch's generator gives next.

    Attributes:
        sets: the number of sets.
        stacked: the embedding and the interaction with every parameter and buffer `[M, ...]`; its
            `state_dict` is theirs. Move, train, freeze and save it like any module. Missing where
            the sets are separate.
        separate: the sets one by one, each with its `embedding` and `interaction`, where these have
            sparse gradients (`sparse=True`), an `EmbeddingBag`, or torchrec's modules, which may
            be sharded; else None.
        loop_reason: why a loop runs instead of vmap, or None.

    Batch norm and other buffers are kept per set, and dropout draws anew for each. `torch.export`
    sees a loop over the sets, so that the batch may be of any size. Not supported:
    lazy modules before their first batch, hooks on the modules of single sets that are stacked, two
    sets sharing parameters, and plain tensors as attributes that differ between sets (buffers may).
    Initialise in the factory: `apply` sees stacked weights, `[M, out, in]`, whose fans are others.
    While the sets are stacked, up to two more of the largest table are in memory beside the M (on a
    GPU M more, for a moment).

    Raises:
        ParameterError: modules in place of a factory; sets that share weights or start equal, that
            differ in shape, dtype or device, or hold what is not supported.

    Example:
        >>> import torch, embedding_collapse
        >>> def one_set():
        ...     layer = torch.nn.Linear(3 * 8, 16)
        ...     interaction = torch.nn.Sequential(torch.nn.Flatten(), layer, torch.nn.ReLU())
        ...     return torch.nn.Embedding(100, 8), interaction
        >>> model = embedding_collapse.MultiEmbedding(one_set, sets=4, head=torch.nn.Linear(16, 1))
        >>> ids = torch.randint(0, 100, (32, 3))  # three features in each of 32 rows
        >>> model(ids).shape
        torch.Size([32, 1])
        >>> model.stacked.embedding.weight.shape
        torch.Size([4, 100, 8])
    """

    def __init__(
        self, factory: Factory, sets: int, head: nn.Module | None = None, *, seed: int | None = None
    ) -> None:
        super().__init__()
        if isinstance(factory, nn.Module) or not callable(factory):
            raise ParameterError(
                f"factory is {type(factory).__name__}; a function that makes a fresh pair is "
                "needed, such as lambda: (Embedding(), Interaction())"
            )
        check_whole("sets", sets, least=1)
        pairs = [_make(factory, None if seed is None else seed + m) for m in range(sets)]
        self.sets = sets
        self.loop_reason = _reason_to_separate(pairs[0])
        _check(pairs, separate=self.loop_reason is not None)
        self.separate: nn.ModuleList | None = None
        if self.loop_reason is None:
            self.stacked = _stack(pairs)
        else:
            self.separate = nn.ModuleList(pairs)
        self.head = head
        self._tried: set[tuple[bool, bool]] = set()  # modes in which vmap has done it

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The mean over sets of `interaction(embedding(inputs))`, through the head if any."""
        mean = tree_map(lambda h: h.mean(0), self.outputs(*inputs, **named))
        return mean if self.head is None else self.head(mean)

    def outputs(self, *inputs: Any, **named: Any) -> Any:
        """What every set's interaction returns: `[M, ...]`."""
        if self.separate is not None:
            return _side_by_side([one(*inputs, **named) for one in self.separate])
        if self.loop_reason is not None or exporting():  # vmap would fix the batch's size
            return self._looped(inputs, named)
        # code may branch on the mode, so that each has a first call
        mode = self.training, torch.is_grad_enabled()
        if mode in self._tried:
            return self._vectorised(inputs, named)
        outputs = self._first(inputs, named)
        self._tried.add(mode)
        return outputs

    def _state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return dict(self.stacked.named_parameters()), dict(self.stacked.named_buffers())

    def _vectorised(self, inputs: tuple, named: dict) -> Any:
        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Any:
            state = parameters | buffers
            outputs = functional_call(self.stacked, state, inputs, named)
            changed = (k for k in buffers if state[k] is not buffers[k])
            return outputs, {k: state[k] for k in changed if state[k] is not None}

        outputs, assigned = vmap(one, randomness="different")(*self._state())
        self._assign(assigned)
        return outputs

    def _looped(self, inputs: tuple, named: dict) -> Any:
        parameters, buffers = self._state()
        before = [{k: v[m] for k, v in (parameters | buffers).items()} for m in range(self.sets)]
        states = [dict(state) for state in before]
        outputs = [functional_call(self.stacked, state, inputs, named) for state in states]
        sets = range(self.sets)
        changed = [k for k in buffers if any(states[m][k] is not before[m][k] for m in sets)]
        kept = [k for k in changed if all(state[k] is not None for state in states)]
        self._assign({k: torch.stack([state[k] for state in states]) for k in kept})
        return _side_by_side(outputs)

    def _assign(self, buffers: dict[str, Tensor]) -> None:
        """Keep what the sets assigned (`self.mean = ...`): `functional_call` hands it back in the
        state that it was given, and leaves the module as it was."""
        for name, buffer in buffers.items():
            path, _, last = name.rpartition(".")
            setattr(self.stacked.get_submodule(path), last, buffer.contiguous())

    def _first(self, inputs: tuple, named: dict) -> Any:
        """The first call finds out whether vmap can; a mistake of the user's shows in the loop."""
        before = {name: buffer.clone() for name, buffer in self.stacked.named_buffers()}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=SLOW)
                outputs = self._vectorised(inputs, named)
        except Exception as error:
            reason = first_line(error)
        else:
            return outputs
        for name, buffer in self.stacked.named_buffers():
            buffer.data.copy_(before[name])
        outputs = self._looped(inputs, named)
        self.loop_reason = reason
        warnings.warn(
            f"the {self.sets} sets run one after the other, since torch.func.vmap can't: {reason}",
            stacklevel=4,
        )
        return outputs

    def extra_repr(self) -> str:
        return f"sets={self.sets}" + (
            f", in a loop: {self.loop_reason}" if self.loop_reason else ""
        )


class _Pair(nn.Module):
    """An embedding and the interaction of what it looks up."""

    def __init__(self, embedding: nn.Module, interaction: nn.Module) -> None:
        super().__init__()
        self.embedding, self.interaction = embedding, interaction

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.interaction(self.embedding(*inputs, **named))


def _make(factory: Factory, seed: int | None) -> _Pair:
    """One set, drawn under its own seed if there is one."""
    if seed is None:
        pair = factory()
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            pair = factory()
    whole = isinstance(pair, tuple | list) and len(pair) == 2
    if not whole or not all(isinstance(part, nn.Module) for part in pair):
        raise ParameterError(
            f"factory returned {type(pair).__name__}; an (embedding, interaction) pair of "
            "torch modules is needed"
        )
    return _Pair(*pair)


def _side_by_side(outputs: list[Any]) -> Any:
    """What the sets return as `[M, ...]`."""
    return tree_map(lambda *by_set: torch.stack(by_set), *outputs)


def _reason_to_separate(pair: _Pair) -> str | None:
    """What in a set cannot be part of a stack, or None."""
    for module in pair.modules():
        kind = type(module)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            return f"{kind.__name__} has sparse=True"
        if isinstance(module, nn.EmbeddingBag) or kind.__module__.startswith("torchrec."):
            return f"torch.func.vmap has no {kind.__name__}"
    return None


def _check(pairs: list[_Pair], separate: bool) -> None:
    """Refuse sets that differ in shape, or that would stay the same for ever."""
    states = [  # not their state_dict, which may hold anything (get_extra_state)
        dict(pair.named_parameters(remove_duplicate=False))
        | dict(pair.named_buffers(remove_duplicate=False))
        for pair in pairs
    ]
    first = states[0]
    if any(isinstance(value, UninitializedParameter) for value in first.values()):
        raise ParameterError(
            "a lazy module has no weights yet; give it its sizes, or run one batch through it"
        )
    shapes = {name: value.shape for name, value in first.items()}
    for m, state in enumerate(states):
        if {name: value.shape for name, value in state.items()} != shapes:
            raise ParameterError(f"set {m} has other parameters or shapes than set 0")
        for name, value in state.items():
            needed = first[name].dtype, first[name].device
            if (value.dtype, value.device) != needed and not separate:  # a stack is one tensor
                raise ParameterError(
                    f"set {m} has {name} as {value.dtype} on {value.device}; {needed[0]} on "
                    f"{needed[1]}, as in set 0, is needed"
                )
    learned = [name for name, value in first.items() if isinstance(value, nn.Parameter)]
    for (n, one), (m, other) in combinations(enumerate(states), 2):
        if any(_shared(one[name], other[name], separate) for name in learned):
            raise ParameterError(
                f"set {m} shares weights with set {n}; make new modules in factory"
            )
        if learned and all(torch.equal(one[name], other[name]) for name in learned):
            raise ParameterError(
                f"sets {n} and {m} start equal, and would stay so; factory must not seed or copy"
            )


def _shared(one: Tensor, other: Tensor, separate: bool) -> bool:
    """Whether what one set learns would be the other's; those that are stacked are copied."""
    if one is other:
        return True
    return separate and one.requires_grad and one.data_ptr() == other.data_ptr() != 0


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same, NaN in the same places included."""
    if one.shape != other.shape:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _stack(pairs: list[_Pair]) -> _Pair:
    """One module whose parameters and buffers are those of all sets, `[M, ...]`.

    The list of pairs is emptied, so that their tensors go as they are stacked, unless somebody else
    holds them: at most two of a kind are there beside the stack, and not all M.
    """
    own = [*pairs[0].parameters(), *pairs[0].buffers()]
    stacked = copy.deepcopy(pairs[0], {id(tensor): tensor for tensor in own})  # but for these
    sets = [_tensors(pair) for pair in pairs]
    pairs.clear()
    own.clear()
    done: dict[int, Any] = {}  # weights and buffers that are tied in a set stay tied
    for path, module in stacked.named_modules():
        for name, value in vars(module).items():
            if not isinstance(value, Tensor):
                continue
            others = [one.get((path, name)) for one in sets[1:]]
            if not all(isinstance(other, Tensor) and _alike(value, other) for other in others):
                raise ParameterError(
                    f"{path}.{name} is a plain tensor, and not the same in all sets; "
                    f"register_buffer({name!r}, ...) keeps each set's own"
                )
        for held in (module._parameters, module._buffers):
            for name, value in list(held.items()):
                if value is None:
                    continue
                if id(value) not in done:
                    whole = _stacked(sets, (path, name))
                    learned = isinstance(value, nn.Parameter)
                    done[id(value)] = nn.Parameter(whole, value.requires_grad) if learned else whole
                held[name] = done[id(value)]
    return stacked


def _tensors(pair: _Pair) -> dict[tuple[str, str], Tensor]:
    """A set's parameters, buffers and plain tensors, by path and name."""
    return {
        (path, name): value
        for path, module in pair.named_modules(remove_duplicate=False)
        for name, value in (vars(module) | module._parameters | module._buffers).items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def _stacked(sets: list[dict[tuple[str, str], Tensor]], key: tuple[str, str]) -> Tensor:
    """That tensor of each set as `[M, ...]`; taken out of the sets."""
    whole = sets[0][key].new_empty(len(sets), *sets[0][key].shape)
    for part, one in zip(whole, sets, strict=True):
        part.copy_(one.pop(key))
    return whole
