"""The toy experiment in the page is the library's, from the same seeds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from rounding import assert_same_sums, unit
from torch.nn.functional import binary_cross_entropy_with_logits

from embedding_collapse.decomposition import singular_values
from embedding_collapse.lab import gradient, toy
from embedding_collapse.spectrum import information_abundance

STEPS, ROW = 50, 7
SETTINGS = [
    {"third": third, "width": width, "seed": seed, "rate": rate}
    for third, width, seed, rate in [
        (2, 3, 0, 1),
        (100, 3, 0, 1),
        (3, 10, 1, 1),
        (100, 10, 2, 30),
        (5, 3, 9, 0.1),
        (1, 7, 3, 10),
    ]
]
NAMES = {
    "one": "first",
    "two": "second",
    "three": "third",
    "context": "context",
    "labels": "labels",
}


class Page:
    """What the page's script makes of a setting, and the library's draw of the same seed."""

    def __init__(self, setting: dict[str, Any], made: dict[str, Any]) -> None:
        self.setting, self.made = setting, made
        self.drawn = toy.draw(100, 100, setting["third"], setting["width"], setting["seed"], 1.0)

    def start(self, name: str) -> torch.Tensor:
        return torch.tensor(self.made["start"][name], dtype=torch.float64)

    @property
    def started(self) -> toy.Draw:
        """The page's own draw, which holds float32 numbers, in float64."""
        shapes = {name: getattr(self.drawn, field).shape for name, field in NAMES.items()}
        tables = {field: self.start(name).view(shapes[name]) for name, field in NAMES.items()}
        return toy.Draw(**tables | {"context": tables["context"].long()})


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def page(request: pytest.FixtureRequest, call: Callable) -> Page:
    setting = request.param
    return Page(setting, call("toy", setting | {"steps": STEPS, "row": ROW}))


def trained(page: Page) -> torch.Tensor:
    """E_1 before each step and after the last, by the library in float64: `[T, D_1, K]`."""
    steps = list(range(STEPS + 1))
    rate, slope = page.setting["rate"], toy.LOSSES["logistic"]
    return toy.descend(toy.stack([page.started]), steps, rate, slope)[0]


def test_a_seed_draws_the_same_labels_and_tables(page: Page) -> None:
    for name in ("context", "labels"):
        assert torch.equal(page.start(name), getattr(page.drawn, NAMES[name]).double().flatten())
    for name in ("one", "two", "three"):
        # a logarithm, a root, an angle, a cosine and a product in float32, of numbers below 6; an
        # angle up to 2 pi is itself off by its rounding
        atol = 6 * (5 + 2 * torch.pi) * unit(torch.float32)
        expected = getattr(page.drawn, NAMES[name]).double().flatten()
        torch.testing.assert_close(page.start(name), expected, rtol=0, atol=atol)


def test_fifty_steps_give_the_same_table_and_spectrum(page: Page) -> None:
    end = trained(page)[-1]
    found = torch.tensor(page.made["end"]["table"], dtype=torch.float64).view_as(end)
    # the page rounds E_1 at each step, and the constant part of a logit once
    assert_same_sums(found.float(), end.float(), STEPS + 1)
    spectrum = torch.tensor(page.made["end"]["singular"], dtype=torch.float64)
    torch.testing.assert_close(spectrum, singular_values(found), rtol=1e-10, atol=0)
    assert page.made["end"]["ia"] == pytest.approx(information_abundance(spectrum).item(), 1e-12)


@pytest.mark.rounding
def test_the_librarys_own_curve_is_the_pages(page: Page) -> None:
    s = page.setting
    curves = toy.run(
        s["third"], s["width"], [s["seed"]], STEPS, every=STEPS, learning_rate=s["rate"]
    )
    found = torch.tensor(page.made["end"]["singular"])
    assert_same_sums(found, curves.spectra[0, 0, -1].float(), STEPS * (s["width"] + 100))


def test_the_losses_are_the_same(page: Page) -> None:
    start = page.started
    losses = []
    for one in trained(page)[:-1]:
        parts = one[:, None], start.second[None], start.third[start.context]
        logits = (parts[0] * parts[1] + parts[0] * parts[2] + parts[1] * parts[2]).sum(-1)
        losses.append(binary_cross_entropy_with_logits(logits, start.labels))
    # a mean moves by no more than its logits, 3 K products of tables that rounding has moved as
    # above; the losses themselves are summed in float64
    reach = max(table.norm(dim=-1).max().item() for table in start[:3])
    atol = 2 * (STEPS + 1) * unit(torch.float32) * 2 * reach * start.first.abs().max().item()
    found = torch.tensor(page.made["losses"], dtype=torch.float64)
    torch.testing.assert_close(found, torch.stack(losses), rtol=0, atol=atol)


def test_the_pulls_are_those_of_the_identity(page: Page) -> None:
    start = page.started
    ids = torch.cartesian_prod(torch.arange(100), torch.arange(100))
    ids = torch.cat([ids, start.context.view(-1, 1)], 1)
    tables = list(start[:3])
    slopes = gradient.fm_logits(tables, ids).sigmoid() - start.labels.flatten()
    pulls = gradient.pulls(tables, ids, slopes)
    for found, other in zip(page.made["pulls"], (1, 2), strict=True):
        expected = pulls[other].theta[ROW]
        # only the constant part of a logit is rounded to float32: it is below 100; the slope moves
        # by a quarter of that; a row has 100 of 10,000 pairs
        atol = 100 * unit(torch.float32) / 4 * tables[other].abs().max().item() / 100
        torch.testing.assert_close(
            torch.tensor(found, dtype=torch.float64), expected, rtol=0, atol=atol
        )
