"""Single against multi: the base model, SE and ME, trained in the page on the same batches.

What the page computes is what the library computes: the models of `embedding_collapse.lab.models`
without dropout and with one cross layer, from the same seeds' weights, on the same rows in the same
order. Here it is done with the library; the record in `results/live` is for where no script runs.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from embedding_collapse.book.analysis.claims import CLAIMS, Entry
from embedding_collapse.book.analysis.ledger import Judged, Verdict, judge
from embedding_collapse.book.plots.style import COLOURS
from embedding_collapse.files import load_json, store_json
from embedding_collapse.lab.contrast import Effect, Group, contrast
from embedding_collapse.lab.engine.loop import StepByStep
from embedding_collapse.lab.environment import environment
from embedding_collapse.lab.metrics import Placements, auc, grouped, placements
from embedding_collapse.lab.models import Recommender, Size, build
from embedding_collapse.lab.records import folder_of
from embedding_collapse.lab.training import predict
from embedding_collapse.spectrum import field_spectra, normalised_abundance

from .explorer import signed
from .training import LiveFigure

FOLDER, NAME = "results/live", "sets.json"
SIZES = (3, 10, 30, 100, 100, 300)  # features per field
LATENT = 6  # numbers per feature in each of its pairs
SPREAD, MIDDLE = 2.5, -0.8  # of the logits
SETTING: dict[str, Any] = {
    "train": 50_000,
    "test": 20_000,
    "epochs": 4,
    "batch": 256,
    "decay": 1e-6,
    "width": 4,
    "hidden": 32,
}
START: dict[str, Any] = {"model": "dnn", "scale": 4, "seeds": 5, "table": 0, "rate": 0.003}
MODELS = {"dnn": "DNN", "dcnv2": "DCNv2 with one cross layer"}
DESIGNS = ("base", "SE", "ME")


class Asked(NamedTuple):
    """A claim of chapter 7's ledger, as it is asked of the designs here.

    Attributes:
        claim: its words, and the measure whose band says which difference counts as none.
        more, less: numbers of the designs whose difference is the effect.
    """

    claim: Entry
    more: int
    less: int

    @property
    def measure(self) -> str:
        """Of a `Run`: "auc" or "share"."""
        return "auc" if self.claim.measure.tested else "share"


def _asked(begins: str, more: int, less: int) -> Asked:
    return Asked(next(claim for claim in CLAIMS if claim.text.startswith(begins)), more, less)


ASKED = (
    _asked("Multi-embedding beats single-embedding of the same size", 2, 1),
    _asked("Multi-embedding is less collapsed, set by set", 2, 1),
    _asked("Embeddings collapse as they grow", 1, 0),
)


class Run(NamedTuple):
    """One design with one seed.

    Attributes:
        points: step and AUC on the held-out rows, at each half of an epoch.
        spectra: float64 `[N, M, K]`, at the end.
        rows: where the held-out rows stand.
    """

    points: list[tuple[int, float]]
    spectra: Tensor
    rows: Placements

    @property
    def auc(self) -> float:
        """On the held-out rows, at the end."""
        return self.points[-1][1]

    @property
    def share(self) -> float:
        """The mean of IA / K over fields and sets."""
        return normalised_abundance(self.spectra).mean().item()


def clicks(seed: int, rows: int) -> tuple[Tensor, Tensor]:
    """Rows of six fields and labels from pairwise interactions.

    A feature has `LATENT` normal numbers of its own in each pair of fields that it takes part in; a
    pair adds the inner product of its two features' to the logit. Ids are squares of uniform
    numbers, so small ones are frequent.

    Returns:
        ids int32 `[rows, N]`, from 0 in each field, and labels uint8 `[rows]`.
    """
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(rows, len(SIZES), generator=generator, dtype=torch.float64)
    ids = (uniform.square() * torch.tensor(SIZES)).long()
    logits = torch.zeros(rows, dtype=torch.float64)
    for i, j in combinations(range(len(SIZES)), 2):
        one, other = (torch.randn(SIZES[k], LATENT, generator=generator).double() for k in (i, j))
        logits += (one[ids[:, i]] * other[ids[:, j]]).sum(1)
    logits *= SPREAD / logits.std()
    chance = torch.rand(rows, generator=generator, dtype=torch.float64)
    return ids.int(), (chance < (logits + MIDDLE).sigmoid()).byte()


def model(name: str, scale: int, design: str, seed: int) -> Recommender:
    """The base model, SE or ME as the page trains it, freshly initialised."""
    sets, width = {"base": (1, 1), "SE": (1, scale), "ME": (scale, 1)}[design]
    size = Size(
        len(SIZES), sets, width * SETTING["width"], SETTING["hidden"], dropout=0, cross_layers=1
    )
    return build(name, SIZES, size, seed)


def batches(seed: int, train: int, epochs: int) -> Iterator[Tensor]:
    """The rows of each epoch in halves, the order that `training.fit` has from that seed."""
    for epoch in range(epochs):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 1_000_003 + epoch)
            order = torch.randperm(train)
        parts = order.tensor_split(-(-train // SETTING["batch"]))
        half = len(parts) // 2
        yield from (torch.cat(parts[:half]), torch.cat(parts[half:]))


def train(recommender: Recommender, ids: Tensor, labels: Tensor, seed: int, rate: float) -> Run:
    """Train on the first of the rows as `SETTING` has it; the rest are held out."""
    rows = SETTING["train"]
    held = torch.arange(rows, len(ids))
    loop = StepByStep(
        recommender, ids, labels, learning_rate=rate, weight_decay=SETTING["decay"], precision=None
    )
    points = []
    step = 0
    for half in batches(seed, rows, SETTING["epochs"]):
        recommender.train()
        steps = -(-len(half) // SETTING["batch"])
        losses = torch.zeros(steps)
        for _ in loop.epoch(half, losses, torch.zeros_like(losses)):
            step += 1
        scores = predict(recommender, ids, held)
        points.append((step, auc(scores, labels[held])))
    spectra = field_spectra(recommender.table.detach(), SIZES)
    return Run(points, spectra, grouped(placements(scores, labels[held])))


def effects(runs: Sequence[Sequence[Run]]) -> list[tuple[Effect, Verdict]]:
    """What runs `[seed][design]` say of each claim of `ASKED`."""
    contrasts = []
    for asked in ASKED:
        groups = []
        for design, weight in ((asked.more, 1.0), (asked.less, -1.0)):
            cell = [seed[design] for seed in runs]
            values = [getattr(run, asked.measure) for run in cell]
            rows = [run.rows for run in cell] if asked.claim.measure.tested else None
            groups.append(Group(weight, values, rows))
        contrasts.append(contrast(groups))
    judged = [
        Judged(effect, asked.claim.expected, asked.claim.measure)
        for effect, asked in zip(contrasts, ASKED, strict=True)
    ]
    return list(zip(contrasts, [verdict for verdict, _ in judge(judged)], strict=True))


def claims() -> list[dict[str, Any]]:
    """`ASKED` as the page has it."""
    return [
        {
            "text": asked.claim.text,
            "measure": asked.measure,
            "band": asked.claim.measure.band,
            "more": asked.more,
            "less": asked.less,
            "expected": asked.claim.expected,
        }
        for asked in ASKED
    ]


def trained(name: str, scale: int, seeds: int, table: int, rate: float) -> list[list[Run]]:
    """Runs `[seed][design]` of a state of the page; a few seconds each."""
    ids, labels = clicks(table, SETTING["train"] + SETTING["test"])
    return [
        [train(model(name, scale, design, seed), ids, labels, seed, rate) for design in DESIGNS]
        for seed in range(seeds)
    ]


def record() -> Path:
    """Train from `START` and keep what the page shows of it without a script; a minute."""
    runs = trained(*START.values())
    content = {  # spectra: of the largest field, [set][direction]
        "setting": SETTING | START,
        "steps": [step for step, _ in runs[0][0].points],
        "runs": [
            [
                {
                    "aucs": [round(value, 6) for _, value in run.points],
                    "spectra": [[round(v, 4) for v in one] for one in run.spectra[-1].tolist()],
                    "share": round(run.share, 6),
                }
                for run in seed
            ]
            for seed in runs
        ],
        "effects": [effect._asdict() | {"verdict": verdict} for effect, verdict in effects(runs)],
        "environment": environment(torch.device("cpu")),
    }
    path = Path(FOLDER) / NAME
    store_json(path, content)
    return path


def end() -> tuple[go.Figure, list[list[list[str]]]]:
    """AUC over the steps and the spectra of the largest field, means over seeds; two tables."""
    held = load_json(folder_of(FOLDER) / NAME)
    scale, seeds = held["setting"]["scale"], held["setting"]["seeds"]
    figure, rows = go.Figure(), []
    for number, design in enumerate(DESIGNS):
        name = design if design == "base" else f"{design} {scale}x"
        cell = [seed[number] for seed in held["runs"]]
        line = {"mode": "lines", "line": {"color": COLOURS[design]}}
        aucs = np.mean([run["aucs"] for run in cell], 0).round(4).tolist()
        figure.add_scatter(x=held["steps"], y=aucs, name=name, **line)
        spectra = np.array([one for run in cell for one in run["spectra"]])
        heights = (spectra / spectra[:, :1]).mean(0).round(3).tolist()
        places = [(k + 1) / len(heights) for k in range(len(heights))]
        figure.add_scatter(x=places, y=heights, showlegend=False, xaxis="x2", yaxis="y2", **line)
        share = np.mean([run["share"] for run in cell])
        rows.append([name, f"{aucs[-1]:.4f}", f"{share:.2f}"])
    figure.update_layout(
        xaxis={"domain": [0, 0.44], "title": {"text": "step"}},
        yaxis={"title": {"text": "AUC"}},
        xaxis2={"domain": [0.56, 1], "title": {"text": "direction, over K"}},
        yaxis2={"range": [0, 1.05]},
        annotations=[{"text": "singular values, 300 features", "x": 0.78, "y": 1}],
    )
    verdicts = [
        [
            asked.claim.text,
            effect["verdict"],
            signed(effect["value"], 4),
            f"{signed(effect['low'], 4)} to {signed(effect['high'], 4)}",
            str(seeds),
        ]
        for asked, effect in zip(ASKED, held["effects"], strict=True)
    ]
    head = ["Claim", "verdict", "effect", "95% interval", "seeds"]
    return figure, [[["", "AUC on held-out rows", "IA/K"], *rows], [head, *verdicts]]


FIGURE = LiveFigure(
    name="sets",
    title="Single against multi, live",
    hint="press Play: whose bars stay even, and whose AUC is highest in the end? Then take the "
    "model with a cross layer.",
    alt="AUC on held-out rows over the steps of training, and the singular values of the largest "
    "field, for the base model, SE and ME",
    sliders={
        "model": ("Model", MODELS),
        "scale": ("Scale", [2, 3, 4, 6]),
        "seeds": ("Seeds", list(range(3, 11))),
        "table": ("Seed of the rows", list(range(10))),
        "rate": ("Learning rate", [0.001, 0.003, 0.01, 0.03, 0.1]),
    },
    start=START,
    end=end,
    content={
        "setting": SETTING | {"claims": claims()},
        "designs": [
            {"name": name, "colour": COLOURS[name], "dash": dash}
            for name, dash in zip(DESIGNS, ([2, 3], [6, 4], []), strict=True)
        ],
    },
)
