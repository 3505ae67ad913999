"""Our models against numbers computed by the official implementation (see data/README.md)."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from rounding import assert_same_sums
from torch import Tensor

from embedding_collapse.lab.models import MODELS, PAPER, Recommender, Size, build
from embedding_collapse.lab.models.layers import Projection, SetLinear, dropout
from embedding_collapse.lab.spec import Spec, build_model
from embedding_collapse.parameters import ParameterError

REFERENCE = Path(__file__).parents[1] / "data" / "official_models.npz"
HIDDEN, CROSS_LAYERS, SETS, WIDTH, MAPS = 8, 3, 3, 4, 6
# From embeddings to outputs and back, in all models here: at most 8 layers are sums over at most 64
# inputs, and at most two take a mean and a variance over 16 rows.
TERMS = 2 * (8 * 64 + 4 * 16)


@pytest.fixture(scope="module")
def official() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as file:
        return {name: file[name] for name in file.files}


# Official entry -> our model; entries named for a variant run under that variant's name.
ENTRIES = {f"{model}-{design}": model for model in PAPER for design in ("se", "me")} | {
    "dcnv2-me-shared-interaction": "dcnv2-shared",
    "dcnv2-se-regularized": "dcnv2-regularized",
    "dcnv2-me-norm-aligned": "dcnv2-aligned",
}
# Where the official code keeps the projection of a set; "{}" stands for the set.
PROJECTIONS = {
    "dnn-me": "embeddings.{}.2.mlp",
    "ipnn-me": "pns.{}.1.mlp",
    "nfwfm-me": "fwfms.{}.3.mlp",
    "xdeepfm-me": "mlps.{}.mlp",
    "dcnv2-me": "cns.{}.1.mlp",
    "dcnv2-me-norm-aligned": "cns.{}.1.mlp",
    "dcnv2-me-shared-interaction": "cn.1.mlp",
}


class State:
    """The official parameters of one model, by name; sets stacked."""

    def __init__(self, official: dict[str, np.ndarray], entry: str) -> None:
        self.values = official
        self.prefix = f"{entry}/state/"

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.values[self.prefix + name])

    def sets(self, name: str) -> Tensor:
        """A parameter as `[M, ...]`; a name without a "{}" is that of a single set."""
        if "{}" not in name:
            return self[name].unsqueeze(0)
        return torch.stack([self[name.format(m)] for m in range(SETS)])

    def linear(self, name: str) -> dict[str, Tensor]:
        return {
            "weight": self.sets(name + ".weight").flatten(2)
            if "conv" in name
            else self.sets(name + ".weight"),
            "bias": self.sets(name + ".bias").unsqueeze(-1),
        }

    def norm(self, name: str) -> dict[str, Tensor]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return {part: self.sets(f"{name}.{part}").flatten() for part in parts}

    def projection(self, name: str, layer: int = 0) -> dict[str, Tensor]:
        """A linear layer of an official MLP and its batch norm, which comes next."""
        return under("linear", self.linear(f"{name}.{layer}")) | under(
            "norm", self.norm(f"{name}.{layer + 1}")
        )


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in state.items()}


def converted(official: dict[str, np.ndarray], entry: str) -> dict[str, Tensor]:
    """The official state of an entry, in our names and shapes."""
    state, (model, design) = State(official, entry), entry.split("-")[:2]
    several = design == "me"
    table = "embeddings.{}.embedding.weight" if several else "embedding.embedding.weight"
    if entry == "dnn-me":
        table = "embeddings.{}.0.embedding.weight"
    result = {"table": state.sets(table).transpose(0, 1)}
    if model == "finalmlp":
        for stream in range(2):
            name = f"inters.{{}}.mlps.{stream}.1.mlp" if several else f"inter.mlps.{stream}.1.mlp"
            for layer in range(2):
                result |= under(
                    f"interaction.streams.{stream}.{layer}", state.projection(name, 4 * layer)
                )
            for part in ("weight", "bias"):
                result[f"head.linear.{stream}.{part}"] = state[f"fusion.w_{'xy'[stream]}.{part}"]
        return result | {"head.bilinear": state["fusion.w_xy"]}
    shared = "interaction." if "shared" in entry else ""
    projection = state.projection(PROJECTIONS.get(entry, "mlp.mlp"))
    result |= under(f"interaction.{shared}project", projection)
    if model == "dcnv2":
        cross = "cn.0." if shared else "cns.{}.0." if several else "cn."
        layers = {
            part: torch.stack([state.sets(f"{cross}{name}.{i}") for i in range(CROSS_LAYERS)])
            for part, name in (("weight", "W"), ("bias", "b"), ("scale", "N"))
            if name != "N" or "regularized" in entry
        }
        layers["bias"] = layers["bias"].unsqueeze(2)
        result |= under(f"interaction.{shared}".rstrip("."), layers)
    if model == "nfwfm":
        fm = "fwfms.{}." if several else "fm."
        result["interaction.weight"] = state.sets(fm + "0.weight").squeeze(1)
        result |= under("interaction.norm", state.norm(fm + "1"))
    if model == "xdeepfm":
        cin = "cins.{}." if several else "cin."
        result |= under("interaction.first", state.linear(cin + "conv_layers.0"))
        result |= under("interaction.second", state.linear(cin + "conv_layers.1"))
        result |= {f"head.maps.{part}": state[f"cin_post.{part}"] for part in ("weight", "bias")}
    # SE's MLP holds the projection too, so its hidden layer is the second; DCNv2's ends elsewhere
    mlp = "mlp_post.mlp" if entry == "xdeepfm-me" else "mlp.mlp"
    output = f"{mlp}.4" if several else "linear" if model == "dcnv2" else f"{mlp}.8"
    head = "head.head" if model == "xdeepfm" else "head"
    result |= under(f"{head}.hidden", state.projection(mlp, 0 if several else 4))
    return result | {
        f"{head}.output.{part}": state[f"{output}.{part}"] for part in ("weight", "bias")
    }


def ours(official: dict[str, np.ndarray], entry: str) -> Recommender:
    sets, width = (SETS, WIDTH) if "-me" in entry else (1, WIDTH * SETS)
    cardinalities = official["field_dims"].tolist()
    size = Size(len(cardinalities), sets, width, HIDDEN, 0, CROSS_LAYERS, MAPS)
    recommender = build(ENTRIES[entry], cardinalities, size)
    missing, unexpected = recommender.load_state_dict(converted(official, entry), strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return recommender


@pytest.mark.parametrize("entry", ENTRIES)
def test_probabilities_equal_the_official_ones(official, entry):
    model = ours(official, entry).eval()
    expected = torch.from_numpy(official[f"{entry}/prob_eval"]).logit()
    assert_same_sums(model(torch.from_numpy(official["x"])), expected, TERMS)


@pytest.mark.rounding
@pytest.mark.parametrize("entry", ENTRIES)
def test_five_training_steps_equal_the_official_ones(official, entry):
    """In float64, which is the same everywhere: all that differs is what rounding did to the
    official run in float32, and that is on file."""
    model = ours(official, entry).double()
    ids, labels = torch.from_numpy(official["x"]), torch.from_numpy(official["y"])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6)
    losses, penalties = [], []
    for _ in range(5):
        loss, penalty = model.loss(ids, labels)
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        losses.append(loss.item())
        penalties.append(0 if penalty is None else penalty.item())
    np.testing.assert_allclose(losses, official[f"{entry}/train_bce"], atol=1e-6)
    np.testing.assert_allclose(penalties, official[f"{entry}/train_reg"], atol=1e-7, rtol=1e-5)
    probability = model.eval()(ids).sigmoid()
    # A bias before batch norm has gradient zero but for rounding, which Adam divides by its own
    # size: the bias drifts at random and, until the running means follow, so do predictions. Those
    # of the official ME models have drifted by up to 1.5e-4, of the SE models by up to 3e-7.
    tolerance = 3e-4 if "-me" in entry else 6e-7
    np.testing.assert_allclose(
        probability.detach().numpy(), official[f"{entry}/prob_after5"], atol=tolerance
    )


# IPNN has other inputs in SE than in ME, shared weights are not a set's own, FFM has none.
ALIKE = [name for name in MODELS if name not in ("ipnn", "dcnv2-shared", "ffm")]


def axis_of_sets(model: str, name: str) -> int:
    """Which axis of a tensor of an interaction counts the sets; cross layers come before sets."""
    own = name.removeprefix("interaction.")  # of the one that a lifted table meets
    return int(model.startswith("dcnv2") and own in ("weight", "bias", "scale"))


@pytest.mark.rounding
@pytest.mark.parametrize("model", ALIKE)
def test_one_set_of_me_is_se(model):
    """Stacking M equal sets changes nothing: each is the SE model, and their mean is it again."""
    cardinalities, hidden = [3, 7, 11], 8
    single = build(model, cardinalities, Size(3, 1, 4, hidden)).eval()
    stacked = build(model, cardinalities, Size(3, 5, 4, hidden)).eval()
    state = single.state_dict()
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == "table":
            state[name] = value.repeat(1, 5, 1)
        elif part == "interaction" and value.ndim:
            state[name] = torch.cat([value] * 5, dim=axis_of_sets(model, rest))
    stacked.load_state_dict(state)
    ids = torch.tensor([[0, 6, 10], [2, 0, 3]])
    assert_same_sums(stacked(ids), single(ids), TERMS)


@pytest.mark.rounding
@pytest.mark.parametrize("model", ALIKE)
def test_batched_sets_equal_a_loop_over_the_sets(model):
    """Outputs, gradients and running statistics: no set reads another's."""
    sets, cardinalities = 4, [3, 7, 11]
    whole = build(model, cardinalities, Size(3, sets, 2, 5, dropout=0))
    batched, generator = whole.interaction, torch.Generator().manual_seed(0)
    embeddings = torch.randn(sets, 16, 3, whole.table.shape[-1], generator=generator)
    before = copy.deepcopy(batched.state_dict())
    h = batched(embeddings)
    weights = torch.randn(h.shape, generator=generator)
    (h * weights).sum().backward()
    after = batched.state_dict()

    def of_set(state: dict[str, Tensor], m: int) -> dict[str, Tensor]:
        return {
            name: value.chunk(sets, axis_of_sets(model, name))[m] if value.ndim else value
            for name, value in state.items()
        }

    for m in range(sets):
        single = build(model, cardinalities, Size(3, 1, 2, 5, dropout=0)).interaction
        single.load_state_dict(of_set(before, m))
        (single(embeddings[m : m + 1]) * weights[m : m + 1]).sum().backward()
        gradients = of_set({n: p.grad for n, p in batched.named_parameters()}, m)
        expected = {n: p.grad for n, p in single.named_parameters()}
        assert gradients.keys() == expected.keys()
        assert_same_sums(list(gradients.values()), list(expected.values()), TERMS)
        state = [value for value in single.state_dict().values() if value.is_floating_point()]
        ours = [value for value in of_set(after, m).values() if value.is_floating_point()]
        assert_same_sums(ours, state, TERMS)


def test_official_ipnn_leaves_the_raw_embeddings_out_of_me():
    """So that SE and ME of the official code are not like for like; `ipnn-raw` is."""
    inputs = {
        (name, sets): build(name, [3, 4, 5], Size(3, sets, 2, 5)).interaction.project.linear.weight
        for name in ("ipnn", "ipnn-raw")
        for sets in (1, 2)
    }
    assert {key: weight.shape[-1] for key, weight in inputs.items()} == {
        ("ipnn", 1): 9,
        ("ipnn", 2): 3,
        ("ipnn-raw", 1): 9,
        ("ipnn-raw", 2): 9,
    }


@pytest.mark.rounding
@pytest.mark.parametrize("model", ["dnn-linear", "dcnv2-linear"])
def test_without_non_linearity_me_is_a_special_case_of_se(model):
    """The paper's appendix: SE of width M*K, given the sets' weights, predicts what ME does."""
    sets, width, fields, hidden = 3, 2, 4, 5
    me = build(model, [3, 7, 11, 2], Size(fields, sets, width, hidden), seed=1).double().eval()
    se = build(model, [3, 7, 11, 2], Size(fields, 1, sets * width, hidden)).double().eval()
    # Column (i, m, k) of SE is column (i, k) of set m.
    columns = torch.arange(fields * sets * width).view(fields, sets, width).transpose(0, 1)
    with torch.no_grad():
        se.table.copy_(me.table.flatten(1).unsqueeze(1))
        se.head.load_state_dict(me.head.state_dict())
        ours, theirs = se.interaction, me.interaction
        ours.project.linear.bias.copy_(theirs.project.linear.bias.mean(0, keepdim=True))
        for m, own in enumerate(columns.flatten(1)):
            ours.project.linear.weight[0, :, own] = theirs.project.linear.weight[m] / sets
        if model == "dcnv2-linear":  # cross layers of a set stay among its own columns
            ours.weight.zero_()
            for m, own in enumerate(columns.flatten(1)):
                ours.weight[:, 0, own[:, None], own] = theirs.weight[:, m]
                ours.bias[:, 0, 0, own] = theirs.bias[:, m, 0]
    ids = torch.tensor([[0, 6, 10, 1], [2, 0, 3, 0], [1, 1, 1, 1]])
    assert_same_sums(se(ids), me(ids), TERMS)


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


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_the_linear_layers_of_sets_start_as_torchs_do(part):
    """Uniform: the largest of so many comes within 3% of the bound."""
    largest = getattr(SetLinear(3, 40, 100), part).abs().max()
    assert 0.97 / 40**0.5 < largest <= 1 / 40**0.5


def test_cross_layers_start_xavier_uniform():
    weight = build("dcnv2", [9] * 4, Size(4, 2, 5, hidden=4)).interaction.weight
    bound = (6 / (20 + 20)) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound


def test_the_weights_of_pairs_start_from_a_standard_normal():
    weight = build("nfwfm", [9] * 30, Size(30, 4, 5, hidden=4)).interaction.weight
    assert weight.mean().item() == pytest.approx(0, abs=0.1)
    assert weight.std().item() == pytest.approx(1, abs=0.05)


def test_two_streams_are_multiplied_by_zeros_at_first():
    assert not build("finalmlp", [9] * 4, Size(4, 2, 5, hidden=8)).head.bilinear.any()


def test_parameter_counts_add_up():
    model = build("dcnv2", [5, 6], Size(2, 3, 4, hidden=7))
    counts = model.parameter_counts()
    assert counts["embedding"] == 11 * 3 * 4
    assert counts["interaction"] == 3 * (4 * (8 * 8 + 8) + 8 * 7 + 7 + 2 * 7)
    assert counts["head"] == 7 * 7 + 7 + 2 * 7 + 7 + 1
    assert sum(counts.values()) == sum(p.numel() for p in model.parameters())


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"model 'foo' is unknown; known: dnn, ipnn, nfwfm"):
        build("foo", [3], Size(1, 1, 2))


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_dropout_drops_the_rate_and_keeps_the_mean(rate):
    x = torch.ones(1000, 1001, requires_grad=True)
    torch.manual_seed(0)
    dropped = dropout(x, rate, relu=True)
    dropped.sum().backward()
    assert abs((dropped == 0).float().mean() - rate) < 0.002
    assert abs(dropped.mean() - 1) < 0.003
    assert torch.equal(x.grad, dropped)  # the same entries, scaled by the same factor
    assert not torch.equal(dropout(x, 0.5), dropout(x, 0.5))
    assert not dropout(-x, rate, relu=True).any()


def test_dropout_at_a_rate_close_to_one_still_drops():
    assert (dropout(torch.ones(100_000), 0.999995) == 0).float().mean() > 0.999


def test_a_projection_drops_the_rate_of_its_units_in_training_alone():
    """Of which half are zero without, below the mean of batch norm."""
    torch.manual_seed(0)
    projection, x = Projection(1, 20, 50, 0.5), torch.randn(1, 512, 20)
    assert (projection.train()(x) == 0).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert torch.equal(projection.eval()(x), projection(x))


def test_dropout_is_the_specs_in_interaction_and_head():
    model = build_model(Spec(dropout=0.45, hidden=8), [9] * 4)
    assert {layer.dropout for layer in (model.interaction.project, model.head.hidden)} == {0.45}
    assert Spec().dropout == Size(4, 1, 5).dropout


@pytest.mark.parametrize("layer", [0, 1])
def test_both_layers_of_finalmlps_streams_drop(layer):
    model = build("finalmlp", [9] * 4, Size(4, 1, 5, hidden=8, dropout=0.45))
    assert [stream[layer].dropout for stream in model.interaction.streams] == [0.45, 0.45]


def test_nfwfm_drops_the_rate_of_the_products():
    model = build("nfwfm", [9] * 4, Size(4, 1, 50, hidden=8, dropout=0.5)).train()
    seen = []
    model.interaction.project.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    model(torch.randint(9, (256, 4), generator=torch.Generator().manual_seed(0)))
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def penalty_of(model: str, size: Size, embeddings: Tensor) -> Tensor:
    recommender = build(model, [30] * size.fields, size)
    return recommender.penalty(recommender.interaction, embeddings)


def test_the_spectral_penalty_is_zero_for_flat_spectra_and_most_for_one_direction():
    q = torch.linalg.qr(torch.randn(64, 4, dtype=torch.float64)).Q
    flat, line = q.view(1, 64, 1, 4), (q[:, :1] @ torch.ones(1, 4).double()).view(1, 64, 1, 4)
    size = Size(1, 1, 4, hidden=2)
    assert penalty_of("dcnv2-flat", size, flat) == pytest.approx(0, abs=1e-12)
    assert penalty_of("dcnv2-flat", size, line) == pytest.approx(1e-3 * 3)


def test_the_overlap_penalty_is_one_for_equal_spans_and_zero_for_orthogonal_ones():
    q = torch.linalg.qr(torch.randn(64, 6, dtype=torch.float64)).Q
    one, other = q[:, :3], q[:, 3:]
    turned = one @ torch.tensor([[1.0, 2, 0], [0, 1, 3], [1, 0, 1]]).double()  # the same span
    size = Size(1, 2, 3, hidden=2)
    spans = {"equal": (one, turned), "orthogonal": (one, other)}
    overlap = {
        name: penalty_of("dcnv2-distinct", size, torch.stack(pair).unsqueeze(2)).item()
        for name, pair in spans.items()
    }
    assert overlap["equal"] == pytest.approx(1e-3, rel=0.05)
    assert overlap["orthogonal"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("model", [name for name in MODELS if MODELS[name].penalty])
def test_every_penalty_has_the_same_bits_each_time(model):
    """On two threads, which may not add up one number's gradients in the order they come in."""
    size, before = Size(12, 4, 10), torch.get_num_threads()
    embeddings = torch.randn(4, 512, 12, 10).requires_grad_()
    recommender = build(model, [5] * 12, size)
    torch.set_num_threads(2)
    try:
        found = [
            torch.autograd.grad(
                recommender.penalty(recommender.interaction, embeddings),
                [embeddings, *recommender.interaction.parameters()],
                materialize_grads=True,
            )
            for _ in range(10)
        ]
    finally:
        torch.set_num_threads(before)
    for again in found[1:]:
        assert all(map(torch.equal, found[0], again))


@pytest.mark.parametrize("model", [name for name in MODELS if MODELS[name].penalty])
def test_every_penalty_has_finite_gradients_at_the_start(model):
    """Also where a field has fewer features than K, so that its Gram matrix is singular."""
    recommender = build(model, [2, 30], Size(2, 3, 4, hidden=5))
    ids = torch.stack([torch.arange(30) % 2, torch.arange(30)], 1)
    loss, penalty = recommender.loss(ids, ids[:, 0])
    (loss + penalty).backward()
    assert penalty > 0
    for name, parameter in recommender.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_learned_scales_act_block_by_block():
    interaction = build("dcnv2-regularized", [3, 4], Size(2, 1, 3, hidden=2)).interaction
    before = interaction.scaled_weight.clone()
    with torch.no_grad():
        interaction.scale[0, 0, 1, 0] = 5
    change = interaction.scaled_weight / before
    assert (change[0, 0, 3:, :3] - 5).abs().max() < 1e-5
    change[0, 0, 3:, :3] = 1
    assert torch.equal(change, torch.ones_like(change))


def test_the_papers_models_come_first():
    assert list(MODELS)[: len(PAPER)] == PAPER


def test_inner_products_of_one_field_are_refused():
    with pytest.raises(ParameterError, match="IPNN on 1 field; fields meet only where there are 2"):
        build("ipnn", [5], Size(1, 2, 4))
