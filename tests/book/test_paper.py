"""The paper's own numbers."""

from embedding_collapse.book import paper
from embedding_collapse.lab.models import PAPER


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


def test_the_papers_aucs_stand_before_ours_by_size(make_record):
    ours = [make_record("me", 4, seed, model="dnn", auc=0.7 + seed / 100) for seed in range(2)]
    table = paper.aucs(ours, "dnn")
    assert list(table.columns[:2]) == ["Criteo, the paper", "Avazu, the paper"]
    assert table.loc["ME 4x"].tolist() == [0.81289, 0.78862, 0.705]
    assert table.iloc[0].notna().tolist() == [True, True, False]
