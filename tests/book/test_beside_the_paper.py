"""What the page beside the paper says of our runs, held against their records."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from embedding_collapse.book import paper
from embedding_collapse.book.analysis import measures
from embedding_collapse.book.analysis.influence import without
from embedding_collapse.book.analysis.ledger import by_spec, difference
from embedding_collapse.book.analysis.settings import Setting, first_question, settings
from embedding_collapse.lab import groups, records

PAGE = Path(__file__).parents[2] / "book" / "beside_the_paper.md"


@pytest.fixture(scope="module")
def runs() -> list[records.Record]:
    return records.load_all(records.folder_of("results/decide"))


@pytest.fixture(scope="module")
def asked(runs) -> list[Setting]:
    return settings(runs)


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join(PAGE.read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    "sentence, claims, verdict",
    [
        ("Tables collapse as they grow.", [1, 2], "holds"),
        ("each of them and all side by side.", [13, 14, 15], "holds"),
        (
            "On real flights an ensemble of base models is ahead of multi-embedding:",
            [22, 23],
            "fails",
        ),
        ("the pairs of fields rank alike from set to set", [18], "fails"),
        ("where their partner is emptier is undecided on real flights, 320,000", [6], "undecided"),
        ("where its interaction is regularised is undecided there, too, each at", [7], "undecided"),
    ],
)
def test_what_it_says_of_real_flights_is_in_the_ledger(sentence, claims, verdict, asked, page):
    assert sentence in page
    findings = asked[0].findings
    assert {findings[number - 1].verdict for number in claims} == {verdict}


def test_what_it_says_of_drawn_clicks_is_in_the_ledger(asked, page):
    assert "what a table of DCNv2 becomes for a partner is emptier where that partner is" in page
    of_rows = {one.name: one.findings[6 - 1].verdict for one in asked}
    assert "a million or all 2.4 million. On 100,000 they are, a rank correlation of" in page
    assert of_rows["us-flights, 1,000,000 rows"] == "undecided"
    assert of_rows["us-flights, 2,400,000 rows"] == "undecided"
    assert of_rows["us-flights, 100,000 rows"] == "holds"
    (few,) = [one.findings[6 - 1] for one in asked if one.name == "us-flights, 100,000 rows"]
    assert f"they are, a rank correlation of {few.effect:+.3f}.".replace("-", "−") in page
    assert "On a million synthetic clicks it gains less." in page
    assert "and on these clicks DNN, which multiplies no fields, is more collapsed than" in page
    assert asked[0].findings[8 - 1].verdict == "fails"
    assert asked[1].name == "synthetic-mini, 1,000,000 rows"
    verdicts = {number: asked[1].findings[number - 1].verdict for number in (6, 8, 12, 15, 18)}
    assert verdicts == {6: "holds", 8: "fails", 12: "holds", 15: "holds", 18: "fails"}
    assert "clicks they do too, on average over the models, and at ten times in each" in page
    ten = [effect.low for one, effect in asked[1].findings[12 - 1].parts if one.new.scale == 10]
    assert "and at ten times in each of the six, by intervals not corrected" in page
    assert len(ten) == 6 and min(ten) > 0
    gains = [
        effect
        for one in asked[:2]
        for pair, effect in one.findings[9 - 1].parts
        if pair.new.model == "dnn"
    ]
    assert 0 < gains[1].low < gains[1].high < gains[0].low


@pytest.mark.parametrize("place", [0, 1])
def test_sets_of_different_runs_are_as_alike_as_those_of_one(place, asked, page):
    assert "as much as in sets of different runs or, on the clicks, a little less;" in page
    assert "on fewer rows they are less alike." in page
    runs = groups.by_label(run for run in asked[place].runs if run.spec["model"] == "dcnv2")
    for of in (runs["ME 4x"], runs["ME 10x"]):
        found = measures.likeness(of)
        assert -0.05 < found.nearer.value < 0.01
        assert found.nearer.high < 0 if place else found.nearer.low < 0 < found.nearer.high
    fewer = ["us-flights, 100,000 rows", "synthetic-mini, 320,000 rows"][place]
    (few,) = [one for one in asked if one.name == fewer]
    assert few.findings[18 - 1].effect.high < asked[place].findings[18 - 1].effect.low


def test_more_than_half_of_what_partners_do_on_the_clicks_is_one_fields(asked, page):
    assert "one field of four features makes more than half of this." in page
    cells = groups.by_label(run for run in asked[1].runs if run.spec["model"] == "dcnv2")
    sizes = [cells[size] for size in ("base", "SE 4x", "SE 10x")]
    whole, left = (
        measures.PARTNER.mean_difference([(list(map(of, runs)), []) for runs in sizes])
        for of in (lambda run: run, lambda run: without(run, "field_22"))
    )
    assert 0 < left.low < left.value < whole.value / 2


@pytest.mark.parametrize("model", ["ipnn", "nfwfm"])
def test_in_our_runs_these_models_sets_lead_on_the_clicks_at_ten_times_alone(model, asked, page):
    said = "In IPNN and NFwFM we see several sets lead on the clicks at ten times alone,"
    assert said in page
    for one, ahead in zip(asked[:2], ([False, False], [False, True]), strict=True):
        cells = groups.by_label(run for run in one.runs if run.spec["model"] == model)
        pairs = [(cells[f"ME {n}x"], cells[f"SE {n}x"]) for n in (4, 10)]
        assert [difference(*pair).low > 0 for pair in pairs] == ahead


def test_in_the_paper_nfwfms_sets_lead_at_every_size(page):
    assert "In the paper NFwFM's do at every size," in page
    theirs = paper.aucs([], "nfwfm")
    assert all((theirs.loc[f"ME {n}x"] > theirs.loc[f"SE {n}x"]).all() for n in (2, 3, 4, 10))


def test_in_the_paper_ipnns_sets_lead_on_avazu_and_on_criteo_at_ten_times(page):
    assert "IPNN's on Avazu and, at ten times, on Criteo." in page
    theirs = paper.aucs([], "ipnn")
    leads = {n: theirs.loc[f"ME {n}x"] - theirs.loc[f"SE {n}x"] for n in (2, 3, 4, 10)}
    assert all(lead["Avazu, the paper"] > 0 for lead in leads.values())
    assert [n for n, lead in leads.items() if lead["Criteo, the paper"] > 5e-5] == [10]


def test_in_the_paper_ipnns_wide_set_stays_near_base_and_here_it_gains_most(asked, page):
    assert (
        "within 0.0002 of base there; on the flights no other model's wide set gains as much."
        in page
    )
    theirs = paper.aucs([], "ipnn")
    apart = [theirs.loc[f"SE {n}x"] - theirs.loc["base"] for n in (2, 3, 4, 10)]
    assert all(one.abs().max() < 0.0002 for one in apart)
    gains = {one.new.model: effect.value for one, effect in asked[0].findings[3 - 1].parts}
    assert max(gains, key=gains.__getitem__) == "ipnn"


def test_how_training_differs_from_the_papers(asked, page):
    assert "Batches have 512 rows, not 2,048," in page
    assert "At most 20 epochs, and two without a gain in validation AUC end training," in page
    trained = {(run.spec["batch_size"], run.spec["epochs"], run.spec["patience"],
                run.spec["precision"]) for one in asked[:2] for run in one.runs}  # fmt: skip
    assert trained == {(512, 20, 2, "bf16")}
    of_ours = [sum(one.runs[0].dataset["cardinalities"]) for one in asked[:2]]
    bounds = [math.sqrt(6 / (features + 10)) for features in (*of_ours, 1_080_000)]
    text = (
        "within ±{:.3f} on the flights and ±{:.3f} on the clicks at base, on Criteo within ±{:.4f}."
    )
    assert text.format(*bounds) in page


def test_four_averaged_models_are_ahead_of_ten_sets_with_fewer_parameters(runs, asked, page):
    assert (
        "four averaged are ahead of four sets, and of ten, though ten have more parameters" in page
    )
    made = by_spec(runs)
    for finding in asked[0].findings[22 - 1 : 23]:
        for pair, _ in finding.parts:
            ten = made[replace(pair.new, scale=10)]
            assert difference(made[pair.old], ten).low > 0
            (one, *_) = made[replace(pair.old, members=None, average=None)]
            assert 4 * sum(one.parameters.values()) < sum(ten[0].parameters.values())


def test_on_the_clicks_ten_sets_are_ahead_of_four_averaged_models(runs, asked, page):
    assert "and ten sets are ahead of four models (of five in DNN alone)." in page
    made = by_spec(runs)
    for finding in asked[1].findings[22 - 1 : 23]:
        assert finding.verdict == "undecided"
    for pair, _ in asked[1].findings[22 - 1].parts:
        ten = made[replace(pair.new, scale=10)]
        assert difference(ten, made[pair.old]).low > 0
        five = made[replace(pair.old, members=5)]
        assert (difference(ten, five).low > 0) == (pair.new.model == "dnn")


def test_the_readme_says_what_the_records_say(asked):
    readme = " ".join((PAGE.parents[1] / "README.md").read_text().split())
    flights, clicks, *others = asked
    (million,) = [one for one in others if one.name == "us-flights, 1,000,000 rows"]
    lead, at_million, drawn = (one.findings[12 - 1] for one in (flights, million, clicks))
    assert (
        "several sets gain a little more on average over six models, though not in each" in readme
    )
    assert lead.verdict == "holds" and len(lead.parts) == 12
    assert min(effect.high for _, effect in lead.parts) < 0
    assert "four small models averaged gain more still" in readme
    assert {one.verdict for one in flights.findings[22 - 1 : 23]} == {"fails"}
    assert (
        "On a million flights, where two of the models ran, one wide set is ahead in DCNv2, and in "
        "DNN the two can't be told apart."
    ) in readme
    leads = {pair.new.model: effect for pair, effect in at_million.parts}
    assert leads["dcnv2"].high < 0 and leads["dnn"].low < 0 < leads["dnn"].high and len(leads) == 2
    assert (
        "several sets are ahead on average over the six too, and ten sets in each of them, by "
        "intervals that are not corrected" in readme
    )
    of_ten = [effect.low for pair, effect in drawn.parts if pair.new.scale == 10]
    assert len(of_ten) == 6 and min(of_ten) > 0 and drawn.verdict == "holds"


def test_the_mark_for_sets_alike_would_not_be_passed_at_ten_times_on_the_clicks(asked, page):
    assert "on the clicks it would not be passed at ten times the size alone." in page
    cells = groups.by_label(run for run in asked[1].runs if run.spec["model"] == "dcnv2")
    four, ten = (measures.COMMON_PATTERN.mean(cells[f"ME {n}x"]) for n in (4, 10))
    assert ten < asked[1].findings[18 - 1].claim.level < four


def test_of_the_average_over_models_finalmlp_carries_most(asked, page):
    assert "FinalMLP carries most of that average." in page
    parts = asked[0].findings[12 - 1].parts
    of_finalmlp = sum(effect.value for one, effect in parts if one.new.model == "finalmlp")
    assert of_finalmlp > sum(effect.value for _, effect in parts) / 2


def test_what_it_says_of_size_is_in_the_first_question(asked, page):
    assert "on average over the models and for DNN most clearly;" in page
    finding = asked[0].findings[12 - 1]
    assert finding.verdict == "holds"
    least = {one.new.model: effect.low for one, effect in finding.parts if one.new.scale == 4}
    assert max(least, key=lambda model: least[model]) == "dnn"
    assert "On real flights DNN's single wide set gains from size, though it collapsed;" in page
    answers = {(one.model, one.pair): one for one in first_question(asked[:1])}
    assert answers["dnn", "ME 4x - SE 4x"].verdict == "holds"
    assert answers["dnn", "SE 4x - base"].verdict == "holds"
    theirs = paper.aucs([], "dnn")
    assert all(theirs.loc["SE 4x"] < theirs.loc["base"])


def test_what_it_says_of_a_million_flights_is_in_the_runs(asked, page):
    assert "On a million flights the lead of DNN's four sets over one set as large shrinks" in page
    answers = {(one.where, one.model, one.pair): one for one in first_question(asked)}
    few, many = (
        answers[f"us-flights, {rows} rows", "dnn", "ME 4x - SE 4x"]
        for rows in ("320,000", "1,000,000")
    )
    assert many.verdict == "undecided" and many.effect.high < few.effect.low
    assert "On all 2.4 million both are so again." in page
    whole = answers["us-flights, 2,400,000 rows", "dnn", "ME 4x - SE 4x"]
    assert whole.verdict == "undecided" and whole.effect.high < few.effect.low
    crossed = answers["us-flights, 2,400,000 rows", "dcnv2", "ME 4x - SE 4x"]
    assert crossed.verdict == "fails"
    assert "DCNv2's one wide set is ahead of its four sets, beyond chance." in page
    assert "(On the clicks more rows widen DNN's lead at first, and then narrow it.)" in page
    few, many, most = (
        answers[f"synthetic-mini, {rows} rows", "dnn", "ME 4x - SE 4x"].effect
        for rows in ("320,000", "1,000,000", "3,200,000")
    )
    assert most.high < many.low
    assert few.high < many.low
    assert answers["us-flights, 1,000,000 rows", "dcnv2", "ME 4x - SE 4x"].verdict == "fails"


def test_what_it_says_of_suppressed_models_is_in_the_ledger(runs, asked, page):
    assert "from size fails in our runs, on real flights and on synthetic clicks." in page
    assert [one.findings[9 - 1].verdict for one in asked[:2]] == ["fails", "fails"]
    less = asked[1].findings[7 - 1]
    assert less.verdict == "holds"
    after = [
        [run for run in runs if run.label == "SE 10x" and run.spec["model"] == model
         and run.spec["epochs"] == 3]
        for model in ("dcnv2-regularized", "dcnv2")
    ]  # fmt: skip
    fuller = difference(*after, measures.ABUNDANCE)
    assert fuller.low > 0
    assert (
        f"After three epochs each it is, by {fuller.value:.3f} of its directions; on synthetic "
        f"clicks it is, by {less.effect.value:.3f}." in page
    )


def test_what_it_says_of_the_widest_set_is_in_the_runs(asked, page):
    assert "With DCNv2 on real flights the set ten times as wide gains most, and ten" in page
    runs = groups.by_label(run for run in asked[0].runs if run.spec["model"] == "dcnv2")
    behind = [difference(runs["SE 10x"], of) for label, of in runs.items() if label != "SE 10x"]
    assert len(behind) == 4 and all(effect.low > 0 for effect in behind)
    assert "(on synthetic clicks they are ahead, as in the paper)" in page
    drawn = groups.by_label(run for run in asked[1].runs if run.spec["model"] == "dcnv2")
    assert difference(drawn["ME 10x"], drawn["SE 10x"]).low > 0
    theirs = paper.aucs([], "dcnv2")
    assert all(theirs.loc["ME 10x"] > theirs.loc["SE 10x"])
    assert "an interaction as wide as that of SE 4x gains nothing beyond chance." in page
    lifted = [run for run in asked[0].runs if run.spec["model"] == "dcnv2-lifted"]
    gained = {label: difference(of, runs["base"]) for label, of in groups.by_label(lifted).items()}
    assert gained["SE 4x"].low < 0 < gained["SE 4x"].high
    assert "that of SE 10x gains a third of what SE 10x does." in page
    whole = difference(runs["SE 10x"], runs["base"]).value
    assert gained["SE 10x"].low > 0 and abs(gained["SE 10x"].value / whole - 1 / 3) < 0.05


def test_the_example_of_how_to_read_a_result_is_one(asked):
    (lead,) = [
        one
        for one in first_question(asked[:1])
        if (one.model, one.pair) == ("dnn", "ME 4x - SE 4x")
    ]
    page = PAGE.with_name("intro.md").read_text(encoding="utf-8")
    assert f"A difference is written as {lead.effect:.4f}:" in page
