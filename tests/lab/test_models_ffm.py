"""FFM: the formula, its gradient, ME and SE, and what a record holds of its sub-tables."""

from itertools import combinations

import pytest
import torch
from rounding import assert_same_sums

from embedding_collapse.decomposition import singular_values
from embedding_collapse.lab.data import DataSpec, load
from embedding_collapse.lab.experiment import run
from embedding_collapse.lab.models import Recommender, Size, build
from embedding_collapse.lab.spec import Spec
from embedding_collapse.parameters import ParameterError
from embedding_collapse.spectrum import information_abundance, partner_abundance

CARDINALITIES = [3, 7, 5, 11]
IDS = torch.tensor([[0, 6, 4, 10], [2, 0, 1, 3], [1, 1, 1, 1]])


def model_of(sets: int = 1, width: int = 2) -> Recommender:
    model = build("ffm", CARDINALITIES, Size(4, sets, width), seed=1).double()
    torch.nn.init.normal_(model.table, generator=torch.Generator().manual_seed(0))
    return model


def vector(table: torch.Tensor, field: int, feature: int, partner: int, m: int) -> torch.Tensor:
    """e_field^{->partner} of a feature, read off the table column by column."""
    row = table[sum(CARDINALITIES[:field]) + feature, m]
    slot = [other for other in range(4) if other != field].index(partner)
    return torch.stack([row[k * 3 + slot] for k in range(len(row) // 3)])


def naive(table: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    logits = []
    for ids in IDS.tolist():
        products = [
            vector(table, i, ids[i], j, m) @ vector(table, j, ids[j], i, m)
            for m in range(table.shape[1])
            for i, j in combinations(range(4), 2)
        ]
        logits.append(torch.stack(products).sum() / table.shape[1] + bias[0])
    return torch.stack(logits)


# of a logit: products of 6 pairs of fields, over 3 sets of vectors of 2; of a gradient: 3 rows
TERMS = 6 * 3 * 2 * 3


@pytest.mark.parametrize("sets", [1, 3])
def test_logits_and_gradients_equal_a_loop_over_pairs_of_fields(sets):
    model = model_of(sets)
    with torch.no_grad():
        model.head.bias += 0.3
    copies = [p.detach().clone().requires_grad_() for p in (model.table, model.head.bias)]
    expected = naive(*copies)
    assert_same_sums(model(IDS), expected, TERMS)
    weights = torch.tensor([0.3, -1.0, 2.0]).double()
    (model(IDS) * weights).sum().backward()
    (expected * weights).sum().backward()
    found = [model.table.grad, model.head.bias.grad]
    assert_same_sums(found, [copy.grad for copy in copies], TERMS)


def test_me_is_se_of_the_same_size_with_its_products_averaged():
    me, se = model_of(sets=3), model_of(width=6)
    with torch.no_grad():
        se.table.copy_(me.table.flatten(1).unsqueeze(1))
    assert_same_sums(se(IDS) / 3, me(IDS), TERMS)


def test_parameters_are_a_vector_for_every_other_field_and_a_bias():
    counts = model_of(sets=3, width=2).parameter_counts()
    assert counts == {"embedding": 26 * 3 * 3 * 2, "interaction": 0, "head": 1}


def test_a_single_field_is_refused():
    with pytest.raises(ParameterError, match="FFM on 1 field"):
        build("ffm", [3], Size(1, 1, 2))


def test_sub_embeddings_abundance_is_that_of_each_table_by_field_and_partner():
    model = model_of(sets=2)
    found = partner_abundance(model.interaction.sub_embeddings(model.table.detach()), CARDINALITIES)
    assert found.shape == (2, 4, 4)
    for m, i, j in ((0, 0, 1), (1, 2, 3), (1, 3, 0), (0, 1, 2)):
        rows = range(CARDINALITIES[i])
        table = torch.stack([vector(model.table.detach(), i, x, j, m) for x in rows])
        assert found[m, i, j] == pytest.approx(information_abundance(singular_values(table)).item())
    assert not found.diagonal(dim1=1, dim2=2).any()


@pytest.mark.parametrize("design", ["se", "me"])
def test_a_run_learns_and_records_its_sub_embeddings(design):
    data = load("synthetic-mini", 4_000, progress=False)
    spec = Spec(
        DataSpec(rows=4_000),
        model="ffm",
        design=design,
        scale=2,
        embedding_size=3,
        epochs=2,
        batch_size=64,
        learning_rate=0.01,
    )
    record = run(spec, data, device="cpu", progress=False)
    assert record.test["auc"] > 0.55
    fields = len(data.fields)
    abundance = torch.tensor(record.projected_abundance)
    assert abundance.shape == (spec.sets, fields, fields)
    others = ~torch.eye(fields, dtype=torch.bool)
    assert (abundance[:, others] >= 1).all()
    assert (abundance[:, others] <= spec.width).all()
    assert record.projection_norms is None
    assert len(record.spectra[0][0]) == spec.width * (fields - 1)
    assert len(record.diversity) == fields
