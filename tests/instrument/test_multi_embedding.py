"""Several embedding sets around a user's own modules."""

import copy
import difflib
import math
import os
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rounding import assert_same_sums
from torch import Tensor, nn

from embedding_collapse import multi_embedding
from embedding_collapse.book.chapters.your_embeddings import example
from embedding_collapse.lab.models import build
from embedding_collapse.lab.models.recommender import Recommender, Size
from embedding_collapse.lab.records import in_repository
from embedding_collapse.multi_embedding import MultiEmbedding
from embedding_collapse.parameters import ParameterError

CARDINALITIES, WIDTH, HIDDEN = [7, 20, 3], 4, 5


# of a forward and a backward pass: three fields' vectors, a mean and a variance over 32 rows, and
# the units or the rows once more
TERMS = 2 * (3 * WIDTH + 2 * 32 + 32)


def pair(dropout: float = 0.0) -> tuple[nn.Module, nn.Module]:
    interaction = nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * WIDTH, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Dropout(dropout),
    )
    return nn.Embedding(30, WIDTH, padding_idx=0), interaction


def ids(rows: int = 32, seed: int = 0) -> Tensor:
    return torch.randint(0, 30, (rows, 3), generator=torch.Generator().manual_seed(seed))


class Loop(nn.Module):
    """What several sets are, as plainly as can be."""

    def __init__(self, factory: Callable, sets: int, seed: int) -> None:
        super().__init__()
        self.pairs = nn.ModuleList()
        for m in range(sets):
            torch.manual_seed(seed + m)
            self.pairs.append(nn.ModuleList(factory()))

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs = [interaction(embedding(*inputs)) for embedding, interaction in self.pairs]
        return sum(outputs) / len(outputs)


def same_gradients(model: MultiEmbedding, loop: Loop) -> None:
    stacked = dict(model.stacked.named_parameters())
    for m, (embedding, interaction) in enumerate(loop.pairs):
        theirs = {
            f"{part}.{name}": value.grad
            for part, module in (("embedding", embedding), ("interaction", interaction))
            for name, value in module.named_parameters()
        }
        assert_same_sums([stacked[name].grad[m] for name in theirs], list(theirs.values()), TERMS)


# --- equal to ---------------------------------------------------------------------------------


def test_one_set_is_the_users_own_model():
    torch.manual_seed(3)
    embedding, interaction = pair()
    own = nn.Sequential(embedding, interaction, nn.Linear(HIDDEN, 1))
    model = MultiEmbedding(pair, 1, nn.Linear(HIDDEN, 1), seed=3)
    model.head.load_state_dict(own[2].state_dict())
    for _ in range(3):  # batch norm's statistics move
        assert_same_sums(model(ids()), own(ids()), TERMS)
    model(ids()).sum().backward()
    own(ids()).sum().backward()
    assert_same_sums(model.stacked.embedding.weight.grad[0], embedding.weight.grad, TERMS)
    assert_same_sums(model.eval()(ids()), own.eval()(ids()), TERMS)


@pytest.mark.rounding
@pytest.mark.parametrize("sets", [2, 5])
def test_sets_equal_a_loop_over_them_with_their_gradients_and_statistics(sets):
    model, loop = MultiEmbedding(pair, sets, seed=8), Loop(pair, sets, seed=8)
    for step in range(3):
        assert_same_sums(model(ids(seed=step)), loop(ids(seed=step)), TERMS)
    assert model.loop_reason is None
    (model(ids()) ** 2).sum().backward()
    (loop(ids()) ** 2).sum().backward()
    same_gradients(model, loop)
    norms = [interaction[2] for _, interaction in loop.pairs]
    ours = model.stacked.interaction[2]
    assert_same_sums(ours.running_var, torch.stack([n.running_var for n in norms]), TERMS)
    assert ours.num_batches_tracked.tolist() == [4] * sets
    assert_same_sums(model.eval()(ids()), loop.eval()(ids()), TERMS)


def test_each_set_is_drawn_from_a_seed_of_its_own_and_leaves_the_generator_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model = MultiEmbedding(pair, 3, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    weights = model.stacked.embedding.weight
    assert len({weights[m].sum().item() for m in range(3)}) == 3
    torch.manual_seed(6)
    assert torch.equal(weights[1], pair()[0].weight)


def test_dropout_draws_anew_for_each_set():
    model = MultiEmbedding(lambda: pair(0.5), 2, seed=0)
    with torch.no_grad():
        for value in model.stacked.parameters():
            value[1] = value[0]
    model(ids())
    one, other = model.outputs(ids())
    assert not torch.equal(one == 0, other == 0)
    one, other = model.eval().outputs(ids())
    assert_same_sums(one, other, TERMS)


def test_the_state_is_saved_and_loaded_and_copied():
    model, other = MultiEmbedding(pair, 3, seed=1), MultiEmbedding(pair, 3, seed=10)
    model(ids())
    state = model.state_dict()
    assert state["stacked.embedding.weight"].shape == (3, 30, WIDTH)
    other.load_state_dict(state)
    assert torch.equal(other.eval()(ids()), model.eval()(ids()))
    assert torch.equal(copy.deepcopy(model)(ids()), model(ids()))


@pytest.mark.rounding
def test_it_is_exported_for_batches_of_any_size():
    model = MultiEmbedding(pair, 3, nn.Linear(HIDDEN, 1)).eval()
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(model, (ids(),), dynamic_shapes=((({0: rows},)),))
    assert_same_sums(program.module()(ids(50)), model(ids(50)), TERMS)
    assert model.loop_reason is None  # of the model itself


def test_tables_go_as_they_are_stacked(monkeypatch):
    """Or building a model would take twice its memory."""
    tables: list[weakref.ref] = []
    there: list[int] = []

    def one_set() -> tuple[nn.Module, nn.Module]:
        embedding = nn.ModuleList([nn.Embedding(30, WIDTH) for _ in range(3)])
        tables.extend(weakref.ref(one.weight) for one in embedding)
        return embedding, nn.Linear(WIDTH, HIDDEN)

    def stacked(*given) -> Tensor:
        there.append(sum(table() is not None for table in tables))
        return as_it_is(*given)

    as_it_is = multi_embedding._stacked
    monkeypatch.setattr(multi_embedding, "_stacked", stacked)
    MultiEmbedding(one_set, sets=4)
    assert there[:4] == [12, 8, 4, 0]  # the last is a layer's


def test_modules_that_somebody_else_holds_stay_as_they_were():
    made = [pair() for _ in range(3)]
    before = copy.deepcopy(made)
    given = iter(made)
    model = MultiEmbedding(lambda: next(given), sets=3)
    for m, (theirs, was) in enumerate(zip(made, before, strict=True)):
        for one, other in zip(theirs, was, strict=True):
            state = other.state_dict()
            assert one.state_dict().keys() == state.keys()
            assert all(torch.equal(one.state_dict()[name], state[name]) for name in state)
        assert torch.equal(model.stacked.embedding.weight[m], theirs[0].weight)


def test_it_trains():
    torch.manual_seed(0)
    model = MultiEmbedding(pair, 3, nn.Linear(HIDDEN, 1))
    labels = (ids(256)[:, 0] > 15).float()
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        scores = model(ids(256)).squeeze(1)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    weights = model.stacked.embedding.weight
    assert (weights[0] - weights[1]).norm() > 1  # they learned, and not the same


def test_this_librarys_own_base_model_becomes_its_multi_embedding_model():
    """Its interactions take sets themselves, so one set of them is vectorised here."""
    size = Size(fields=3, sets=2, width=WIDTH, hidden=HIDDEN, dropout=0.0)
    ours = build("dcnv2", CARDINALITIES, size)
    one = Size(fields=3, sets=1, width=WIDTH, hidden=HIDDEN, dropout=0.0)

    class Embed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            model = build("dcnv2", CARDINALITIES, one, seed=int(torch.randint(1000, ())))
            self.table, self.starts = model.table, model.starts

        embed, arrange = Recommender.embed, Recommender.arrange

        def forward(self, ids: Tensor) -> Tensor:
            return self.embed(ids)

    def factory() -> tuple[nn.Module, nn.Module]:
        seed = int(torch.randint(1000, ()))
        return Embed(), build("dcnv2", CARDINALITIES, one, seed=seed).interaction

    model = MultiEmbedding(factory, 2, seed=0)
    with torch.no_grad():
        model.stacked.embedding.table.copy_(ours.table.transpose(0, 1).unsqueeze(2))
        theirs = dict(ours.interaction.named_parameters())
        for name, value in model.stacked.interaction.named_parameters():
            if name in ("weight", "bias"):  # [L, M, ...] there
                value.copy_(theirs[name].transpose(0, 1).unsqueeze(2))
            else:
                value.copy_(theirs[name].reshape(value.shape))
    rows = torch.stack([torch.randint(0, rows, (16,)) for rows in CARDINALITIES], 1)
    expected = ours.head(ours.interaction(ours.embed(rows)).mean(0))
    assert_same_sums(ours.head(model(rows).squeeze(0)), expected, TERMS)


# --- what vmap can't ------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(WIDTH, HIDDEN, batch_first=True)

    def forward(self, e: Tensor) -> Tensor:
        return self.cell(e)[0][:, -1]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, e: Tensor) -> Tensor:
        h = self.norm(e.sum(1))
        return h.relu() if h.sum() > 0 else h.tanh()


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (lambda: (nn.Embedding(30, WIDTH), Recurrent()), "gru"),
        (lambda: (nn.Embedding(30, WIDTH), Branching()), "control flow"),
    ],
    ids=["recurrent", "branching"],
)
def test_what_cannot_be_vectorised_runs_in_a_loop_and_says_why(factory, reason):
    model, loop = MultiEmbedding(factory, 3, seed=8), Loop(factory, 3, seed=8)
    with pytest.warns(UserWarning, match="one after the other, since torch.func.vmap can't"):
        outputs = model(ids())
    assert reason in model.loop_reason
    assert reason in repr(model)
    assert_same_sums(outputs, loop(ids()), TERMS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once
        (model(ids()) ** 2).sum().backward()
    (loop(ids()) ** 2).sum().backward()
    same_gradients(model, loop)
    theirs = [dict(interaction.named_buffers()) for _, interaction in loop.pairs]
    for name, value in model.stacked.interaction.named_buffers():
        expected = torch.stack([one[name] for one in theirs])
        if value.is_floating_point():
            assert_same_sums(value, expected, TERMS)
        else:  # a count
            assert torch.equal(value, expected)


def test_what_raises_without_a_word_is_told_by_its_type():
    class Silent(nn.Module):
        def forward(self, e: Tensor) -> Tensor:
            if torch._C._functorch.is_batchedtensor(e):
                raise NotImplementedError
            return e.sum(1)

    model = MultiEmbedding(lambda: (nn.Embedding(30, WIDTH), Silent()), 3, seed=8)
    with pytest.warns(UserWarning, match="torch.func.vmap can't: NotImplementedError"):
        assert model(ids()).shape[-1] == WIDTH


@pytest.mark.parametrize(
    ("kind", "sparse", "reason"),
    [
        (nn.Embedding, True, "Embedding has sparse=True"),
        (nn.EmbeddingBag, False, "torch.func.vmap has no EmbeddingBag"),
        (nn.EmbeddingBag, True, "EmbeddingBag has sparse=True"),
    ],
)
def test_tables_that_cannot_be_stacked_are_separate_and_keep_their_gradients(kind, sparse, reason):
    inputs = WIDTH if kind is nn.EmbeddingBag else 3 * WIDTH

    def factory() -> tuple[nn.Module, nn.Module]:
        layers = nn.Flatten(), nn.Linear(inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()
        return kind(30, WIDTH, sparse=sparse), nn.Sequential(*layers)

    model, loop = MultiEmbedding(factory, 3, seed=8), Loop(factory, 3, seed=8)
    assert model.loop_reason == reason
    tables = [one.embedding.weight for one in model.separate]
    theirs = [embedding.weight for embedding, _ in loop.pairs]
    choose = torch.optim.SparseAdam if sparse else torch.optim.Adam
    for weights, which in ((tables, model), (theirs, loop)):
        optimizer = choose(weights, 0.01)
        for step in range(2):
            optimizer.zero_grad()
            which(ids(seed=step)).square().sum().backward()
            assert all(weight.grad.is_sparse == sparse for weight in weights)
            optimizer.step()
    assert_same_sums(tables, theirs, TERMS)
    other = MultiEmbedding(factory, 3, seed=20)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(ids()), model.eval()(ids()))


def test_torchrecs_collections_are_sets_and_can_be_sharded_over_processes():
    """Two, over gloo; what comes out is what the same sets give in one process."""
    pytest.importorskip("torchrec")
    tests = Path(__file__).parents[1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    path = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*launch, str(tests / "data" / "sharded_sets.py")],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")[:2]) == ["rank 0: equal", "rank 1: equal"]


def test_a_mistake_of_the_users_is_shown_as_it_is():
    model = MultiEmbedding(lambda: (nn.Embedding(30, WIDTH), nn.Linear(9, 2)), 2)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        model(ids())
    assert model.loop_reason is None


def test_tied_weights_stay_tied():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
            self.second.weight = self.first.weight

        def forward(self, e: Tensor) -> Tensor:
            return self.second(self.first(e.sum(1)).relu())

    def factory() -> tuple[nn.Module, nn.Module]:
        return nn.Embedding(30, WIDTH), Tied()

    model, loop = MultiEmbedding(factory, 2, seed=4), Loop(factory, 2, seed=4)
    assert model.stacked.interaction.first.weight is model.stacked.interaction.second.weight
    model(ids()).sum().backward()
    loop(ids()).sum().backward()
    same_gradients(model, loop)


class Ahead(nn.Module):
    """Reads its buffer, and then assigns a new one; the count in it is two submodules' own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Module(), nn.Module()
        self.first.register_buffer("calls", torch.zeros(1))
        self.second.register_buffer("calls", self.first.calls)
        self.register_buffer("mean", torch.ones(WIDTH))
        self.register_buffer("cleared", torch.ones(WIDTH))
        self.constant = torch.tensor([1.0, math.nan])  # alike in all sets

    def forward(self, e: Tensor) -> Tensor:
        self.cleared = None
        h = e.sum(1) * self.mean
        self.mean = 0.9 * self.mean + 0.1 * h.mean(0).detach()
        self.first.calls += 1
        return h + self.second.calls


class AheadInALoop(Ahead):
    def forward(self, e: Tensor) -> Tensor:
        return super().forward(e if e.sum() > 1e9 else e.relu())


@pytest.mark.parametrize("kind", [Ahead, AheadInALoop])
@pytest.mark.filterwarnings("ignore:the 3 sets run one after the other")
def test_buffers_that_are_assigned_are_kept_and_shared_ones_stay_shared(kind):
    def factory() -> tuple[nn.Module, nn.Module]:
        return nn.Embedding(30, WIDTH), kind()

    model, loop = MultiEmbedding(factory, 3, seed=8), Loop(factory, 3, seed=8)
    for step in range(3):
        outputs, expected = model(ids(seed=step)), loop(ids(seed=step))
        assert_same_sums(outputs, expected, TERMS)
    assert (model.loop_reason is None) == (kind is Ahead)
    outputs.sum().backward()  # through the buffer that was read
    expected.sum().backward()
    same_gradients(model, loop)
    theirs = torch.stack([interaction.mean for _, interaction in loop.pairs])
    assert_same_sums(model.stacked.interaction.mean, theirs, TERMS)
    assert model.state_dict()["stacked.interaction.second.calls"].tolist() == [[3]] * 3


@pytest.mark.parametrize("grad", [True, False])
def test_what_vmap_cannot_in_training_alone_loops_after_a_first_call_in_evaluation(grad):
    class InTraining(nn.Module):
        def forward(self, e: Tensor) -> Tensor:
            return e.amax(1) if self.training and e.sum() > 0 else e.sum(1)

    model = MultiEmbedding(lambda: (nn.Embedding(30, WIDTH), InTraining()), 3)
    with torch.set_grad_enabled(grad):  # such as Lightning's sanity check
        model.eval()(ids())
    assert model.loop_reason is None
    with pytest.warns(UserWarning, match="one after the other"):
        model.train()(ids())
    assert "control flow" in model.loop_reason


def test_several_outputs_are_averaged_each():
    class Two(nn.Module):
        def forward(self, e: Tensor) -> dict[str, Tensor]:
            return {"sum": e.sum(1), "max": e.amax(1)}

    model = MultiEmbedding(lambda: (nn.Embedding(30, WIDTH), Two()), 3)
    means = model(ids())
    e = model.stacked.embedding.weight[:, ids()]
    expected = {"sum": e.sum(2).mean(0), "max": e.amax(2).mean(0)}
    assert means.keys() == expected.keys()
    assert_same_sums(list(means.values()), list(expected.values()), TERMS)


# --- what is refused ------------------------------------------------------------------------------

SHARED = pair()


def seeded() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return pair()


def from_a_pool(*order: int) -> Callable[[], tuple[nn.Module, nn.Module]]:
    """A factory that hands out pairs of its own, the same one more than once."""
    pairs = [pair(), pair()]
    numbers = iter(order)
    return lambda: pairs[next(numbers)]


def of_one_table() -> Callable[[], tuple[nn.Module, nn.Module]]:
    """Parameters of their own, of one memory."""
    weights = torch.randn(30, WIDTH)
    kind = nn.EmbeddingBag.from_pretrained
    return lambda: (kind(weights, freeze=False), nn.Linear(WIDTH, HIDDEN))


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mask = torch.rand(WIDTH)


def each(**other) -> Callable:
    """Makes sets of which all but the first are of another kind."""
    kinds = iter([{}, other, other])
    return lambda: (nn.Embedding(3, 2, **next(kinds)), nn.Flatten())


def growing() -> tuple[nn.Module, nn.Module]:
    return nn.Embedding(10 + int(torch.randint(1000, ())), WIDTH), nn.Flatten()


@pytest.mark.parametrize(
    ("factory", "sets", "message"),
    [
        (pair, 0, "sets is 0; whole numbers from 1 up"),
        (nn.Embedding(3, 2), nn.Flatten(), "factory is Embedding; a function that makes a fresh"),
        (pair(), 2, "factory is tuple; a function that makes a fresh pair"),
        (lambda: nn.Embedding(3, 2), 2, "factory returned Embedding; an .embedding, interaction."),
        (lambda: SHARED, 2, "set 1 shares weights with set 0"),
        (from_a_pool(0, 1, 1), 3, "set 2 shares weights with set 1"),
        (of_one_table(), 2, "set 1 shares weights with set 0"),
        (lambda: (nn.Embedding(3, 2), Masked()), 2, "interaction.mask is a plain tensor, and not"),
        (seeded, 2, "sets 0 and 1 start equal, and would stay so"),
        (growing, 2, "set 1 has other parameters or shapes than set 0"),
        (
            each(dtype=torch.float64),
            2,
            "set 1 has embedding.weight as torch.float64 on cpu; torch.f",
        ),
        (
            each(device="meta"),
            2,
            "set 1 has embedding.weight as torch.float32 on meta; torch.float",
        ),
        (lambda: (nn.Embedding(3, 2), nn.LazyLinear(2)), 2, "a lazy module has no weights yet"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_accepted(factory, sets, message):
    with pytest.raises(ParameterError, match=message):
        MultiEmbedding(factory, sets)


def test_what_modules_keep_beside_their_tensors_is_let_by():
    class Extra(nn.Flatten):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.ones(1)  # the same in all sets

        def get_extra_state(self) -> str:
            return "a text"

        def set_extra_state(self, state: str) -> None:
            assert state == "a text"

    model = MultiEmbedding(lambda: (nn.Embedding(30, WIDTH), Extra()), 2)
    model.load_state_dict(model.state_dict())
    assert model(ids()).shape == (32, 3 * WIDTH)


@pytest.mark.parametrize(("kind", "freeze"), [(nn.EmbeddingBag, True), (nn.Embedding, False)])
def test_sets_of_one_table_that_is_not_trained_or_is_copied_are_let_by(kind, freeze):
    weights = torch.randn(30, WIDTH)

    def factory() -> tuple[nn.Module, nn.Module]:
        return kind.from_pretrained(weights, freeze=freeze), nn.Linear(WIDTH, HIDDEN)

    assert MultiEmbedding(factory, 2).sets == 2


# --- the worked example -----------------------------------------------------------------------


def lines(name: str) -> list[str]:
    text = (in_repository("examples") / f"{name}.py").read_text()
    return [line for line in text.splitlines() if line.strip()]


def test_a_deepfm_of_30_lines_becomes_multi_embedding_in_5_changed_lines():
    before, after = lines("deepfm"), lines("deepfm_me")
    assert len(before) <= 30
    changes = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert len([line for line in changes if line[0] == "+"]) <= 5
    assert len([line for line in changes if line[0] == "-"]) <= 5
    torch.manual_seed(0)
    se = example("deepfm")(CARDINALITIES, WIDTH, HIDDEN)
    torch.manual_seed(0)
    me = example("deepfm_me")(CARDINALITIES, WIDTH, 1, HIDDEN)
    me.head.load_state_dict(se.head.state_dict())
    rows = torch.stack([torch.randint(0, rows, (16,)) for rows in CARDINALITIES], 1)
    assert_same_sums(me.eval()(rows), se.eval()(rows), TERMS)
    assert example("deepfm_me")(CARDINALITIES, WIDTH, 4, HIDDEN)(rows).shape == (16,)
