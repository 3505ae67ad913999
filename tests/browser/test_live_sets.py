"""Base, SE and ME that train in the page are the library's, and so is what is said of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from rounding import assert_rounding_alone, unit

from embedding_collapse.book.analysis.ledger import verdict_of
from embedding_collapse.book.explorers import sets
from embedding_collapse.lab.contrast import Effect, Group, contrast, holm
from embedding_collapse.lab.engine.loop import StepByStep
from embedding_collapse.lab.metrics import Placements, auc, grouped, placements
from embedding_collapse.lab.models import Recommender, Size, build
from embedding_collapse.lab.training import predict
from embedding_collapse.spectrum import field_spectra

STEPS, BATCH, HIDDEN = 50, 64, 8
NAMES = {  # the page's, and the library's
    "table": "table",
    "cross": "interaction.weight",
    "crossBias": "interaction.bias",
    "weight": "interaction.project.linear.weight",
    "bias": "interaction.project.linear.bias",
    "gain": "interaction.project.norm.weight",
    "shift": "interaction.project.norm.bias",
    "headWeight": "head.hidden.linear.weight",
    "headBias": "head.hidden.linear.bias",
    "headGain": "head.hidden.norm.weight",
    "headShift": "head.hidden.norm.bias",
    "output": "head.output.weight",
    "outputBias": "head.output.bias",
}
TAKEN_OFF = ("bias", "headBias")  # by batch norm, so that only weight decay trains them
CASES = [
    {
        "name": name,
        "size": {"sets": sets, "width": width, "hidden": HIDDEN},
        "seed": 3,
        "table": 1,
        "rows": STEPS * BATCH,
        "batch": BATCH,
        "optimizer": optimizer,
        "rate": rate,
        "decay": 1e-3,
    }
    for name in ("dnn", "dcnv2")
    for sets, width in ((1, 9), (3, 4))
    for optimizer, rate in (("descent", 0.3), ("adam", 0.003))
]


class Pair:
    """A training in the page, and the library's from the page's weights in both precisions."""

    def __init__(self, case: dict[str, Any], page: dict[str, Any]) -> None:
        self.case, self.page = case, page
        starts = torch.tensor([0, *sets.SIZES[:-1]]).cumsum(0)
        clicks = self.page["clicks"]
        self.ids = torch.tensor(clicks["ids"], dtype=torch.int32).view(-1, len(sets.SIZES))
        self.ids -= starts.int()
        self.labels = torch.tensor(clicks["labels"], dtype=torch.uint8)
        self.single, self.losses = self.trained(torch.float32)
        self.double, self.double_losses = self.trained(torch.float64)

    def fresh(self) -> Recommender:
        size = self.case["size"] | {"dropout": 0, "cross_layers": 1}
        return build(
            self.case["name"], sets.SIZES, Size(len(sets.SIZES), **size), self.case["seed"]
        )

    def parts(self, model: Recommender) -> dict[str, torch.Tensor]:
        state = model.state_dict()
        return {ours: state[name].flatten() for ours, name in NAMES.items() if name in state}

    def numbers(self, which: str, part: str) -> torch.Tensor:
        return torch.tensor(self.page[which][part], dtype=torch.float32)

    def trained(self, precision: torch.dtype) -> tuple[Recommender, torch.Tensor]:
        model = self.fresh().to(precision)
        for part, values in self.parts(model).items():
            values.copy_(self.numbers("start", part))
        rate, decay = self.case["rate"], self.case["decay"]
        loop = StepByStep(
            model, self.ids, self.labels, learning_rate=rate, weight_decay=decay, precision=None
        )
        if self.case["optimizer"] == "descent":
            loop.optimizer = torch.optim.SGD(model.parameters(), lr=rate, weight_decay=decay)
        losses = torch.zeros(STEPS, dtype=precision)
        model.train()
        for _ in loop.epoch(torch.arange(STEPS * BATCH), losses, torch.zeros(STEPS)):
            pass
        return model, losses


@pytest.fixture(scope="module", params=CASES, ids=str)
def pair(request: pytest.FixtureRequest, call: Callable) -> Pair:
    return Pair(request.param, call("recommender", request.param))


def test_a_seed_has_the_librarys_weights(pair: Pair) -> None:
    library = pair.parts(pair.fresh())
    assert library.keys() == {part for part, values in pair.page["start"].items() if values}
    # drawn as low + (high - low) * u, which rounds as the bounds do; HIDDEN^-0.5 is the largest
    for part, expected in library.items():
        atol = 2 * unit(torch.float32) * max(expected.abs().max().item(), HIDDEN**-0.5)
        torch.testing.assert_close(pair.numbers("start", part), expected, rtol=0, atol=atol)


def test_fifty_steps_have_the_librarys_losses_and_weights(pair: Pair) -> None:
    found = torch.tensor(pair.page["losses"])
    assert_rounding_alone(found, pair.losses, pair.double_losses)
    single, double = pair.parts(pair.single), pair.parts(pair.double)
    trained = [part for part in single if part not in TAKEN_OFF]
    ours = [pair.numbers("end", part) for part in trained]
    assert_rounding_alone(ours, [single[p] for p in trained], [double[p] for p in trained])
    for part in TAKEN_OFF:
        # nothing but rounding is in the library's gradient; in float64 that is next to nothing
        expected = double[part].float()
        atol = 2 * STEPS * unit(torch.float32) * expected.abs().max().item()
        torch.testing.assert_close(pair.numbers("end", part), expected, rtol=0, atol=atol)


def test_what_is_predicted_and_measured_is_the_librarys(pair: Pair) -> None:
    rows = torch.arange(BATCH)
    logits = [predict(model, pair.ids, rows) for model in (pair.single, pair.double)]
    assert_rounding_alone(torch.tensor(pair.page["logits"]), *logits)
    table = pair.numbers("end", "table").view_as(pair.single.table)
    spectra = field_spectra(table, sets.SIZES)
    torch.testing.assert_close(
        torch.tensor(pair.page["spectra"], dtype=torch.float64), spectra, rtol=0, atol=1e-5
    )
    assert pair.page["share"] == pytest.approx(sets.Run([], spectra, None).share, abs=1e-5)


def test_a_seed_draws_the_librarys_rows(call: Callable) -> None:
    clicks = call("drawClicks", 2, 70_000)
    ids, labels = sets.clicks(2, 70_000)
    starts = torch.tensor([0, *sets.SIZES[:-1]]).cumsum(0)
    assert torch.equal(torch.tensor(clicks["ids"]).view_as(ids), ids + starts)
    # a logit of 90 float32 products is off by some 1e-6, and as many of a million labels hang on it
    assert (torch.tensor(clicks["labels"]) != labels).sum() <= 3


def test_epochs_have_the_librarys_order(call: Callable) -> None:
    _, second = sets.batches(4, 1_000, 1)
    permuted = torch.tensor(call("orderOf", 4, 0, 1_000))
    assert torch.equal(permuted[-len(second) :], second)


def test_the_whole_run_and_its_verdicts_are_the_librarys(
    call: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = sets.SETTING | {"train": 3_000, "test": 1_000, "epochs": 2}
    state = {"model": "dcnv2", "scale": 2, "seeds": 3, "table": 5, "rate": 0.01}
    answers = call("race", small | state | {"claims": sets.claims()})
    monkeypatch.setattr(sets, "SETTING", small)
    fresh = sets.model
    # in float64, since rounding alone moves the biases that batch norm takes off, and in float32 by
    # enough to be seen in what is predicted from running means
    monkeypatch.setattr(sets, "model", lambda *of: fresh(*of).double())
    runs = sets.trained(*state.values())
    for answer, seed in zip(answers, runs, strict=True):
        for ours, run in zip(answer["runs"], seed, strict=True):
            steps, aucs = zip(*run.points, strict=True)
            assert [step for step, _ in ours["points"]] == [0, *steps]
            # two of a million pairs of rows change places where logits differ by some 1e-6
            assert [value for _, value in ours["points"][1:]] == pytest.approx(aucs, abs=1e-4)
            assert ours["share"] == pytest.approx(run.share, abs=1e-4)
    assert answers[-1]["over"] and not answers[0]["over"]
    for ours, (effect, verdict) in zip(answers[-1]["effects"], sets.effects(runs), strict=True):
        assert ours["verdict"] == verdict
        found = [ours[name] for name in ("value", "low", "high")]
        assert found == pytest.approx(effect[:3], abs=5e-4)


def test_placements_are_those_of_delong_with_ties(call: Callable) -> None:
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 40, 1_203) / 8
    labels = (generator.random(1_203) < 0.3).astype(int)
    ours = call("placements", scores.tolist(), labels.tolist())
    expected = placements(torch.tensor(scores), torch.tensor(labels))
    for part in Placements._fields:
        assert ours[part] == pytest.approx(getattr(expected, part).tolist(), abs=1e-12)
    assert call("auc", ours) == pytest.approx(
        auc(torch.tensor(scores), torch.tensor(labels)), abs=1e-12
    )
    means = call("grouped", ours, 100)
    for part in Placements._fields:
        assert means[part] == pytest.approx(getattr(grouped(expected, 100), part), abs=1e-12)


@pytest.mark.parametrize("runs", [(1, 3), (2, 2), (3, 10)])
@pytest.mark.parametrize("tested", [False, True])
@pytest.mark.parametrize("spread", [0.01, 0.0])
def test_an_interval_is_that_of_the_analysis(
    call: Callable, runs: tuple[int, int], tested: bool, spread: float
) -> None:
    generator = np.random.default_rng(sum(runs))
    groups, asked = [], []
    for weight, count in zip((1.0, -1.0), runs, strict=True):
        values = generator.normal(0.75, spread, count).tolist()
        rows = [Placements(*generator.random((2, 500))) for _ in values] if tested else None
        groups.append(Group(weight, values, rows))
        asked.append({"weight": weight, "values": values})
        if rows:
            asked[-1]["placements"] = [
                {part: places.tolist() for part, places in run._asdict().items()} for run in rows
            ]
    ours, expected = call("contrast", asked), contrast(groups)
    if min(runs) < 2 or not (spread or tested):
        assert (ours["low"], ours["high"], ours["p"]) == (None, None, 1)  # JSON has no infinity
        assert not np.isfinite(expected.low)
    else:
        names = ("value", "low", "high", "p")
        for name in names:
            assert ours[name] == pytest.approx(getattr(expected, name), rel=1e-9)


def test_several_p_values_are_corrected_as_in_the_ledger(call: Callable) -> None:
    p = [0.03, 0.001, 0.5, 0.02, 0.02]
    assert call("holm", p) == pytest.approx(holm(p).tolist(), rel=1e-12)


@pytest.mark.parametrize("asked", sets.ASKED, ids=lambda asked: asked.claim.text)
@pytest.mark.parametrize(
    ("low", "high"), [(0.01, 0.02), (-0.0004, 0.0008), (-0.01, 0.02), (-0.02, -0.01)]
)
def test_a_verdict_is_that_of_the_ledger(
    call: Callable, asked: sets.Asked, low: float, high: float
) -> None:
    p = 0.001 if low * high > 0 else 0.4
    effect = Effect((low + high) / 2, low, high, p, smallest=0.01)
    measure, expected = asked.claim.measure, asked.claim.expected
    said = call("verdictOf", effect._asdict(), expected, measure.band, p)
    assert said == verdict_of(effect, expected, measure, p)
