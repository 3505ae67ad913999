import pytest

from embedding_collapse.book import paper
from embedding_collapse.book.findings.claims import READERS
from embedding_collapse.book.findings.comparisons import NOTABLE
from embedding_collapse.lab.metrics import welch
from embedding_collapse.lab.models import PAPER

SEEDS = range(3)
DESIGNS = (("se", 1), ("se", 4), ("se", 10), ("me", 4), ("me", 10))


def grid(make_record, auc=lambda *_: 0.7, abundance=lambda *_: 0.5, models=PAPER, **changes):
    """Three runs of every cell; `auc` and `abundance` are told model, design and scale."""
    return [
        make_record(design, scale, seed, model=model, auc=auc(model, design, scale) + seed / 1e5,
                    abundance=abundance(model, design, scale) + seed / 1e4, **changes)
        for model in models for design, scale in DESIGNS for seed in SEEDS
    ]  # fmt: skip


def verdicts(records) -> dict[str, str]:
    return {finding.claim.text: finding.verdict for finding in paper.ledger(records)}


def verdict(records, start: str) -> str:
    (found,) = [said for text, said in verdicts(records).items() if text.startswith(start)]
    return found


# --- the paper's own numbers ----------------------------------------------------------------------


def test_the_papers_table_has_its_108_cells():
    table = paper.published()
    assert len(table) == 108
    counts = table.groupby(["dataset", "model"]).size()
    assert set(counts) == {9} and set(counts.index.levels[1]) == set(PAPER)
    assert table["test_auc"].between(0.78, 0.82).all()
    bare = table[table["std"].isna()]
    assert bare[["dataset", "model", "design", "scale"]].values.tolist() == [
        ["avazu", "nfwfm", "se", 10],
        ["avazu", "nfwfm", "me", 10],
    ]


def test_beside_the_paper_alone_there_are_its_columns_alone():
    table = paper.beside([], "criteo")
    assert list(table.columns) == [
        "SE, paper",
        "ME, paper",
        "ME - SE, paper",
        "95% interval, paper",
    ]
    assert len(table) == 6 * 5
    row = table.loc["DCNv2", "10x"]
    assert row["SE, paper"] == "0.81357 ± 0.00004"
    change = welch([0.81385 - 5e-5, 0.81385, 0.81385 + 5e-5], [0.81357 - 4e-5, 0.81357, 0.81361])
    assert row["ME - SE, paper"] == "+0.0003↑"  # an arrow: outside the noise
    assert row["95% interval, paper"] == f"[{change.low:+.4f}, {change.high:+.4f}]"


def test_beside_the_paper_ours_stand_with_their_difference(make_record, monkeypatch):
    records = grid(make_record, auc=lambda m, d, s: 0.9 if d == "me" else 0.8)
    for record in records:  # as if there were real files
        record.spec["dataset"] = "criteo"
    table = paper.beside(records, "criteo")
    row = table.loc["DNN", "10x"]
    assert row["SE, ours"] == "0.80001 ± 0.00001"
    assert row["SE, ours - paper"] == f"{0.80001 - 0.81142:+.5f}"
    assert row["ME - SE, ours"] == "+0.1000↑"
    cost = paper.sizes(records, "criteo").loc["DNN", "10x"]
    assert cost["parameters, SE"] == f"{292 * 10 + 900 + 300:,}" and cost["seconds, ME"] == "4"
    assert table.loc["DNN", "2x"]["SE, ours"] == ""  # the paper ran it, we did not


def test_ours_alone_stand_without_the_papers_columns(make_record):
    table = paper.beside(grid(make_record), "synthetic-mini")
    assert not any("paper" in column for column in table.columns)
    assert table.index.tolist()[:4] == [
        ("DNN", "1x"),
        ("DNN", "4x"),
        ("DNN", "10x"),
        ("IPNN", "1x"),
    ]


def test_a_variant_stands_beside_what_it_varies(make_record):
    records = grid(make_record, models=["dcnv2"])
    records += [make_record("me", 4, seed, model="dcnv2-shared", auc=0.6) for seed in SEEDS]
    row = paper.variants(records, ["dcnv2-shared"]).loc["ME 4x"]
    assert row["test AUC"].startswith("0.6000")
    assert row["AUC - DCNv2"].startswith("-0.1000↓ [")
    assert paper.variants(records, ["dcnv2-sfg"]).index.tolist() == ["no runs"]


# --- the ledger -----------------------------------------------------------------------------------


def test_there_are_twelve_claims_or_more_each_with_place_criterion_and_figure():
    assert len(paper.CLAIMS) >= 12
    for claim in paper.CLAIMS:
        assert claim.text.endswith(".") and claim.where and claim.criterion and claim.figure
    assert len({claim.text for claim in paper.CLAIMS}) == len(paper.CLAIMS)


def test_without_runs_every_claim_is_not_run(make_record):
    assert set(verdicts([make_record()]).values()) == {"not run"}


def as_the_paper_says(model, design, scale):
    if design == "me":
        return 0.7 + scale / 1000
    loses = model in ("dnn", "xdeepfm", "finalmlp")
    return 0.7 - (scale / 1000 if loses else 0)


def collapse_as_the_paper_says(model, design, scale):
    if design == "me":
        return 0.6
    return (0.6 if model in ("dnn", "dcnv2-regularized") else 0.5) / scale**0.3


@pytest.mark.parametrize(
    "start",
    [
        "Embeddings collapse", "Making embeddings wider", "DNN, xDeepFM and FinalMLP",
        "DNN, without explicit", "Multi-embedding gains", "Multi-embedding beats",
        "Multi-embedding is less collapsed, set by set",
    ],
)  # fmt: skip
def test_a_claim_follows_its_records_both_ways(make_record, start):
    claimed = grid(make_record, as_the_paper_says, collapse_as_the_paper_says)
    assert verdict(claimed, start) == "reproduced"
    contrary = grid(
        make_record,
        lambda *cell: 1.4 - as_the_paper_says(*cell) + (cell[2] > 1 and cell[1] == "se") * 0.02,
        lambda *cell: 1 - collapse_as_the_paper_says(*cell),
    )
    assert verdict(contrary, start) == "not reproduced"


def test_a_claim_that_holds_for_some_models_is_partly_reproduced(make_record):
    records = grid(make_record, lambda m, d, s: 0.7 + (m == "dnn" and d == "me") * s / 100)
    assert verdict(records, "Multi-embedding gains") == "partly"


def test_what_lies_inside_the_noise_alone_is_undecided_and_not_refuted(make_record):
    noisy = grid(make_record)  # no cell differs from another
    assert verdict(noisy, "Multi-embedding gains") == "undecided"
    assert verdict(noisy, "DNN, xDeepFM and FinalMLP") == "undecided"
    one_loses = grid(make_record, lambda m, d, s: 0.7 - (m == "dnn" and d == "me") * s / 100)
    assert verdict(one_loses, "Multi-embedding gains") == "not reproduced"
    assert verdict(grid(make_record, models=["dnn"]), "Multi-embedding gains") == "undecided"


def test_a_claim_of_no_gain_is_refuted_by_a_gain_alone(make_record):
    def gaining(by: float) -> list:
        return grid(make_record, lambda m, d, s: 0.7 + by * (s > 1) * (m == "dcnv2"))

    assert verdict(gaining(0.1), "Making embeddings wider") == "partly"  # the others gain nothing
    only = [r for r in gaining(0.1) if r.spec["model"] == "dcnv2"]
    assert verdict(only, "Making embeddings wider") == "not reproduced"


def test_a_claim_of_which_some_cells_are_missing_is_not_wholly_reproduced(make_record):
    records = grid(make_record, as_the_paper_says, collapse_as_the_paper_says, models=["dnn"])
    assert verdict(records, "Embeddings collapse") == "partly"


@pytest.mark.parametrize(
    ("start", "variant", "design"),
    [
        ("Held to equal patterns", "dcnv2-aligned", "me"),
        ("With one interaction shared", "dcnv2-shared", "me"),
        ("The interaction of a set needs", "dcnv2-linear", "me"),
    ],
)
def test_a_claim_on_a_variant_compares_it_with_dcnv2(make_record, start, variant, design):
    def runs(auc):
        return grid(make_record, lambda m, d, s: auc if m == variant else 0.7,
                    models=["dcnv2", variant])  # fmt: skip

    assert verdict(runs(0.69), start) == "reproduced"
    assert verdict(runs(0.71), start) == "not reproduced"
    assert verdict(grid(make_record, models=["dcnv2"]), start) == "not run"


def test_the_claims_on_regularised_dcnv2_follow_its_records(make_record):
    models = ["dcnv2", "dcnv2-regularized", "dnn"]
    records = grid(make_record, abundance=collapse_as_the_paper_says, models=models)
    assert verdict(records, "Regularised DCNv2") == "reproduced"
    assert verdict(records, "Less collapsed, these two gain") == "reproduced"
    gaining = grid(make_record, lambda m, d, s: 0.7 + s * NOTABLE, models=models)
    assert verdict(gaining, "Less collapsed, these two gain") == "not reproduced"
    assert verdict(gaining, "Regularised DCNv2") == "undecided"


def test_diversity_and_patterns_of_sets_follow_the_records(make_record):
    one, other = [[0.0, 1, 2], [3, 4, 5], [6, 7, 8]], [[0.0, 5, 1], [7, 2, 8], [3, 6, 4]]

    def runs(diverse: float, second) -> list:
        return [
            make_record(design, scale, seed, diversity=[d + seed / 1000] * 3,
                        projection_norms=[one, second])
            for design, scale, d in (("me", 4, diverse), ("se", 4, 0.5), ("me", 10, diverse),
                                     ("se", 10, 0.5))
            for seed in SEEDS
        ]  # fmt: skip

    assert verdict(runs(0.8, other), "The embedding sets are diverse") == "reproduced"
    assert verdict(runs(0.3, other), "The embedding sets are diverse") == "not reproduced"
    assert verdict(runs(0.8, other), "Each set lets other pairs") == "reproduced"
    assert verdict(runs(0.8, one), "Each set lets other pairs") == "not reproduced"


def test_every_dataset_has_its_own_verdicts(make_record):
    records = grid(make_record, as_the_paper_says, collapse_as_the_paper_says)
    records += grid(make_record, models=["dnn"], dataset="flights")
    table = paper.verdict_table(paper.ledger(records))
    assert list(table.columns) == ["flights", "synthetic-mini"]
    assert len(table) == len(paper.CLAIMS)
    (name,) = [name for name in table.index if "Multi-embedding gains" in name]
    row = table.loc[name]
    assert row["synthetic-mini"] == "✓ reproduced: 6 as claimed"
    assert row["flights"] == "○ undecided: 1 inside the noise, 5 not run"
    linked = paper.verdict_table(paper.ledger(records), linked=True)
    assert linked.index[10].startswith('<a href="#claim-11">11</a>. Multi-embedding gains')


def test_the_tally_counts_the_papers_claims_and_not_its_readers(make_record):
    findings = paper.ledger(grid(make_record, as_the_paper_says, collapse_as_the_paper_says))
    counts = paper.tally(findings)
    assert counts.index.tolist()[:4] == [
        "✓ reproduced", "◐ partly", "○ undecided", "✗ not reproduced",
    ]  # fmt: skip
    asked = sum(claim.where == READERS for claim in paper.CLAIMS)
    assert asked == 2
    assert counts["synthetic-mini"].sum() == len(paper.CLAIMS) - asked
    text = paper.tally_told(findings)
    assert f"{counts.iloc[0, 0]} reproduced" in text and "2 further rows" in text
    assert "further" not in paper.tally_told(findings[:1])


def test_a_claim_keeps_its_number_wherever_it_is_told(make_record):
    chosen = [f for f in paper.ledger(grid(make_record)) if f.claim.where == "section 5"]
    assert paper.verdict_table(chosen).index[0].startswith("11. Multi-embedding gains")
    assert "<summary>11. Multi-embedding gains" in paper.in_detail(chosen)


def test_the_detail_names_every_comparison_that_was_run_with_its_interval(make_record):
    records = grid(make_record, as_the_paper_says, collapse_as_the_paper_says)
    findings = paper.ledger(records)
    text = paper.in_detail(findings)
    for finding in findings:
        assert finding.claim.text in text and f'href="#{finding.claim.figure}"' in text
        for what, change, _, level in finding.comparisons:
            if change:
                low, high = (f"{value + level:+z.4f}".replace("-", "−") for value in change[1:])
                numbers = f"[{low},\u00a0{high}]"
                assert f"<th>{what}</th>" in text
                assert (numbers if level == 0 else numbers.replace("+", "")) in text
    assert "None" not in text and "inf]" not in text and "−0.0000" not in text
    assert text.count("<details") == len(paper.CLAIMS) == text.count(" open>")
    assert " open>" not in paper.in_detail(findings, folded=True)


def test_the_resolution_is_how_far_intervals_reach_beside_the_papers_differences(make_record):
    records = grid(make_record, as_the_paper_says, models=["dnn"])
    reach = welch([0, 1e-5, 2e-5], [0, 1e-5, 2e-5]).high
    text = paper.resolution(records)
    assert f"reach ±{reach:.4f} on synthetic-mini;" in text
    assert "on avazu and +0.0" in text  # the paper's own, from its table
    assert "no runs to compare" in paper.resolution(records[:1])
