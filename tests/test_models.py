"""Our models against numbers computed by the official implementation (see data/README.md)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from embedding_collapse.experiment import Spec
from embedding_collapse.models import MODELS, Recommender, Size, build
from embedding_collapse.models.layers import relu_dropout

REFERENCE = Path(__file__).parent / "data" / "official_models.npz"
HIDDEN, CROSS_LAYERS, SETS, WIDTH = 8, 3, 3, 4


@pytest.fixture(scope="module")
def official() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


class State:
    """The official parameters of one model, by name; sets stacked."""

    def __init__(self, official: dict[str, np.ndarray], entry: str) -> None:
        self.values = official
        self.prefix = f"{entry}/state/"

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.values[self.prefix + name])

    def stacked(self, pattern: str) -> Tensor:
        """Parameter `pattern`, with its `{}` standing for the set: one tensor `[M, ...]`."""
        return torch.stack([self[pattern.format(m)] for m in range(SETS)])

    def projection(self, linear: str, norm: str) -> dict[str, Tensor]:
        """A linear layer and its batch norm; without a `{}` in the names, of one set."""
        get = self.stacked if "{}" in linear else lambda name: self[name].unsqueeze(0)
        return {
            "linear.weight": get(linear + ".weight"),
            "linear.bias": get(linear + ".bias").unsqueeze(-1),
            "norm.weight": get(norm + ".weight").flatten(),
            "norm.bias": get(norm + ".bias").flatten(),
            "norm.running_mean": get(norm + ".running_mean").flatten(),
            "norm.running_var": get(norm + ".running_var").flatten(),
        }


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def converted(official: dict[str, np.ndarray], entry: str) -> dict[str, Tensor]:
    """The official state of an entry, in our names and shapes."""
    state = State(official, entry)
    if entry == "dnn-se":
        return (
            {"table": state["embedding.embedding.weight"].unsqueeze(1)}
            | under("interaction.project", state.projection("mlp.mlp.0", "mlp.mlp.1"))
            | under("head.hidden", state.projection("mlp.mlp.4", "mlp.mlp.5"))
            | {"head.output.weight": state["mlp.mlp.8.weight"],
               "head.output.bias": state["mlp.mlp.8.bias"]}
        )  # fmt: skip
    if entry == "dcnv2-se":
        return (
            {"table": state["embedding.embedding.weight"].unsqueeze(1)}
            | cross_layers(lambda name: state["cn." + name].unsqueeze(0))
            | under("interaction.project", state.projection("mlp.mlp.0", "mlp.mlp.1"))
            | under("head.hidden", state.projection("mlp.mlp.4", "mlp.mlp.5"))
            | {"head.output.weight": state["linear.weight"],
               "head.output.bias": state["linear.bias"]}
        )  # fmt: skip
    head = under("head.hidden", state.projection("mlp.mlp.0", "mlp.mlp.1")) | {
        "head.output.weight": state["mlp.mlp.4.weight"],
        "head.output.bias": state["mlp.mlp.4.bias"],
    }
    if entry == "dnn-me":
        return (
            {"table": state.stacked("embeddings.{}.0.embedding.weight").transpose(0, 1)}
            | under(
                "interaction.project",
                state.projection("embeddings.{}.2.mlp.0", "embeddings.{}.2.mlp.1"),
            )
            | head
        )
    assert entry == "dcnv2-me"
    return (
        {"table": state.stacked("embeddings.{}.embedding.weight").transpose(0, 1)}
        | cross_layers(lambda name: state.stacked("cns.{}.0." + name))
        | under("interaction.project", state.projection("cns.{}.1.mlp.0", "cns.{}.1.mlp.1"))
        | head
    )


def cross_layers(get) -> dict[str, Tensor]:
    layers = range(CROSS_LAYERS)
    return {
        "interaction.weight": torch.stack([get(f"W.{layer}") for layer in layers]),
        "interaction.bias": torch.stack([get(f"b.{layer}") for layer in layers]).unsqueeze(2),
    }


def ours(official: dict[str, np.ndarray], entry: str) -> Recommender:
    model, design = entry.split("-")
    sets, width = (SETS, WIDTH) if design == "me" else (1, WIDTH * SETS)
    cardinalities = official["field_dims"].tolist()
    size = Size(len(cardinalities), sets, width, HIDDEN, dropout=0, cross_layers=CROSS_LAYERS)
    recommender = build(model, cardinalities, size)
    missing, unexpected = recommender.load_state_dict(converted(official, entry), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return recommender


ENTRIES = ["dnn-se", "dnn-me", "dcnv2-se", "dcnv2-me"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_probabilities_equal_the_official_ones(official, entry):
    model = ours(official, entry).eval()
    probability = model(torch.from_numpy(official["x"])).sigmoid()
    np.testing.assert_allclose(
        probability.detach().numpy(), official[f"{entry}/prob_eval"], atol=1e-5
    )


@pytest.mark.parametrize("entry", ENTRIES)
def test_five_training_steps_equal_the_official_ones(official, entry):
    model = ours(official, entry)
    ids, labels = torch.from_numpy(official["x"]), torch.from_numpy(official["y"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
    losses = []
    for _ in range(5):
        loss = F.binary_cross_entropy_with_logits(model(ids), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.testing.assert_allclose(losses, official[f"{entry}/train_bce"], atol=1e-5)
    probability = model.eval()(ids).sigmoid()
    np.testing.assert_allclose(
        probability.detach().numpy(), official[f"{entry}/prob_after5"], atol=1e-5
    )


@pytest.mark.parametrize("model", MODELS)
def test_one_set_of_me_is_se(model):
    """Stacking M equal sets changes nothing: each is the SE model, and their mean is it again."""
    cardinalities, hidden = [3, 7, 11], 8
    single = build(model, cardinalities, Size(3, 1, 4, hidden)).eval()
    stacked = build(model, cardinalities, Size(3, 5, 4, hidden)).eval()
    axes = {"table": 1, "interaction.weight": 1, "interaction.bias": 1}
    state = {
        name: value
        if name.startswith("head") or value.ndim == 0
        else torch.cat([value] * 5, dim=axes.get(name, 0))
        for name, value in single.state_dict().items()
    }
    stacked.load_state_dict(state)
    ids = torch.tensor([[0, 6, 10], [2, 0, 3]])
    torch.testing.assert_close(stacked(ids), single(ids))


@pytest.mark.parametrize("model", MODELS)
def test_batched_sets_equal_a_loop_over_the_sets(model):
    """Outputs, gradients and running statistics: no set reads another's."""
    sets, cardinalities = 4, [3, 7, 11]
    batched = build(model, cardinalities, Size(3, sets, 2, 5, dropout=0)).interaction
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(sets, 16, 3, 2, generator=generator)
    weights = torch.randn(sets, 16, 5, generator=generator)
    before = copy.deepcopy(batched.state_dict())
    (batched(embeddings) * weights).sum().backward()
    after = batched.state_dict()
    for m in range(sets):
        single = build(model, cardinalities, Size(3, 1, 2, 5, dropout=0)).interaction
        single.load_state_dict(of_set(before, m, sets))
        (single(embeddings[m : m + 1]) * weights[m : m + 1]).sum().backward()
        gradients = of_set({n: p.grad for n, p in batched.named_parameters()}, m, sets)
        for name, parameter in single.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(of_set(after, m, sets), dict(single.state_dict()))


def of_set(state: dict[str, Tensor], m: int, sets: int) -> dict[str, Tensor]:
    """One set's part of an interaction's tensors; cross layers come before sets."""
    parts = {}
    for name, value in state.items():
        axis = 1 if name in ("weight", "bias") else 0
        parts[name] = value.chunk(sets, axis)[m] if value.ndim else value
    return parts


@pytest.mark.parametrize("model", MODELS)
def test_me_at_scale_one_is_se(model):
    """The same weights, outputs and training steps, from the two specs."""
    se, me = (Spec(model=model, design=d, embedding_size=4, hidden=8) for d in ("se", "me"))
    assert (se.sets, se.width, se.label) == (me.sets, me.width, me.label)
    size = Size(3, me.sets, me.width, me.hidden)
    single, stacked = (build(model, [3, 7, 11], size, seed=1) for _ in range(2))
    ids = torch.tensor([[0, 6, 10], [2, 0, 3], [1, 1, 1]])
    for recommender in (single, stacked):
        torch.manual_seed(0)
        recommender(ids).sum().backward()
    assert torch.equal(single.table.grad, stacked.table.grad)


def test_a_seed_determines_the_weights_and_leaves_the_global_state_alone():
    size = Size(2, 2, 3, hidden=4)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, again, other = (build("dcnv2", [3, 4], size, seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected
    assert torch.equal(first.table, again.table)
    assert not torch.equal(first.table, other.table)


def test_tables_start_xavier_uniform_over_the_joint_table():
    table = build("dnn", [300, 690], Size(2, 3, 10, hidden=4)).table
    bound = (6 / (990 + 10)) ** 0.5
    assert table.shape == (990, 3, 10)
    assert 0.99 * bound < table.abs().max() <= bound


def test_parameter_counts_add_up():
    model = build("dcnv2", [5, 6], Size(2, 3, 4, hidden=7))
    counts = model.parameter_counts()
    assert counts["embedding"] == 11 * 3 * 4
    assert counts["interaction"] == 3 * (4 * (8 * 8 + 8) + 8 * 7 + 7 + 2 * 7)
    assert counts["head"] == 7 * 7 + 7 + 2 * 7 + 7 + 1
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters())


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"model 'foo' is unknown; known: dnn, dcnv2"):
        build("foo", [3], Size(1, 1, 2))


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_dropout_drops_the_rate_and_keeps_the_mean(rate):
    x = torch.ones(1000, 1001, requires_grad=True)
    torch.manual_seed(0)
    dropped = relu_dropout(x, rate)
    dropped.sum().backward()
    assert abs((dropped == 0).float().mean() - rate) < 0.002
    assert abs(dropped.mean() - 1) < 0.003
    assert torch.equal(x.grad, dropped)  # the same entries, scaled by the same factor
    assert not torch.equal(relu_dropout(x, 0.5), relu_dropout(x, 0.5))
    assert not relu_dropout(-x, rate).any()


def test_dropout_at_a_rate_close_to_one_still_drops():
    assert (relu_dropout(torch.ones(100_000), 0.999995) == 0).float().mean() > 0.999
