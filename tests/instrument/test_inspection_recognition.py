"""Which tensors are embedding tables, by name and shape."""

import pytest
import torch

from embedding_collapse.inspection.recognition import recognise


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("embedding_layer.embedding_layer.embedding_layers.user.weight", (3, 8), "fuxictr"),
        ("token_embedding_table.embedding.weight", (100, 8), "recbole"),
        ("token_seq_embedding_table.0.weight", (100, 8), "recbole"),
        ("item_embedding.weight", (100, 8), "recbole"),
        ("embedding_dict.C1.weight", (3, 8), "deepctr"),
        ("emb_l.25.weight", (3, 8), "dlrm"),
        ("ebc.embedding_bags.t1.weight", (3, 8), "torchrec"),
        ("ec.embeddings.t1.weight", (3, 8), "torchrec"),
        ("bert.embeddings.word_embeddings.weight", (30522, 384), "transformers"),
        ("model.embed_tokens.weight", (3, 8), "transformers"),
        ("transformer.wte.weight", (3, 8), "transformers"),
        ("shared.weight", (3, 8), "transformers"),
        ("embedding_1/embeddings", (3, 8), "keras"),
        ("layers/embedding/vars/0", (3, 8), "keras"),
        ("model_weights/embedding/embedding/embeddings:0", (3, 8), "keras"),
        ("user/embeddings/.ATTRIBUTES/VARIABLE_VALUE", (3, 8), "tensorflow"),
        ("input_layer/C1_embedding/embedding_weights/part_0", (3, 8), "tensorflow"),
        ("wv.vectors", (300, 8), "gensim"),
        ("vectors", (9, 8), "gensim"),
        ("wv.vectors_ngrams", (9, 8), "gensim"),
        ("algo.pu", (3, 8), "surprise"),
        ("u_factors", (3, 8), "cornac"),
        ("table", (3, 8), "this library"),
        ("stacked.embedding.tables.0.weight", (4, 100, 8), "this library"),
        ("fm.lookup", (100, 8), "name (guess)"),
        ("model.embeddings.0.weight", (3, 8), "name (guess)"),  # a list that anyone may have
        ("lookups.conversion_type.weight", (9, 8), "name (guess)"),
        ("lookups.headline.weight", (9, 8), "name (guess)"),
        ("lookups.gateway.weight", (9, 8), "name (guess)"),
        ("lookups.project_id.weight", (9, 8), "name (guess)"),
        ("item", (900, 32), "name (guess)"),
        ("model.user.weight", (90, 32), "name (guess)"),
        ("0.weight", (1000, 8), "shape (guess)"),
    ],
)
def test_a_table_is_known_by_a_librarys_convention_or_by_a_guess(name, shape, says):
    assert recognise(name, {name: torch.empty(shape)}) == (True, says)


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("0.weight", (90, 4), "neither name nor shape tells a table"),
        ("dnn.0.weight", (1024, 390), "a layer, by its name"),
        ("item", (32, 900), "neither name nor shape tells a table"),
        ("embedding_layer.proj.weight", (64, 32), "a layer, by its name"),
        ("embeddings.projection.weight", (64, 32), "a layer, by its name"),
        ("lm_head.weight", (30522, 384), "a layer, by its name"),
        ("decoder.project_in.weight", (3000, 8), "a layer, by its name"),
        ("linear_model.embedding_dict.C1.weight", (300, 1), "one column has nothing to measure"),
        ("optimizer.state.0.exp_avg", (30522, 8), "an optimizer keeps it"),
        ("item/embeddings/.OPTIMIZER_SLOT/adam/m", (300, 8), "an optimizer keeps it"),
        ("conv.weight", (2000, 3, 8), "a layer, by its name"),
        ("item_embedding_gradients", (300, 8), "an optimizer keeps it"),
        ("embed_tokens.lora_embedding_A", (4, 300), "a low-rank adapter"),
        ("stacked.embedding.proj.weight", (4, 100, 8), "a layer, by its name"),
        ("stacked.embedding.norm.weight", (4, 100), "a layer, by its name"),
    ],
)
def test_what_is_no_table_says_why(name, shape, says):
    assert recognise(name, {name: torch.empty(shape)}) == (False, says)


@pytest.mark.parametrize("shape", [(4, 100, 8), (4, 100)])  # as of Linear and LayerNorm
def test_what_has_a_bias_of_each_set_beside_it_is_a_layer_of_a_multi_embedding(shape):
    name = "stacked.embedding.1.weight"
    tensors = {name: torch.ones(shape), "stacked.embedding.1.bias": torch.ones(4, 100)}
    assert recognise(name, tensors) == (False, "a dense layer: its bias is beside it")


@pytest.mark.parametrize(
    ("name", "bias", "outputs"),
    [
        ("item_embedding.weight", "item_embedding.bias", 900),
        ("embedding/kernel", "embedding/bias", 8),
        ("layers/embedding/vars/0", "layers/embedding/vars/1", 8),
    ],
)
def test_what_has_a_bias_beside_it_is_a_dense_layer_whatever_its_name(name, bias, outputs):
    tensors = {name: torch.ones(900, 8), bias: torch.ones(outputs)}
    assert recognise(name, tensors) == (False, "a dense layer: its bias is beside it")
    tensors[bias] = torch.ones(outputs + 1)  # a bias of something else
    assert recognise(name, tensors).why != "a dense layer: its bias is beside it"


@pytest.mark.parametrize(
    "field",
    ["conv_type", "norm_price", "gate_id", "headset", "interaction_type", "classification", "user"],
)
@pytest.mark.parametrize("holder", ["module.emb", "ec.embeddings"])
def test_a_field_named_as_layers_are_is_a_table_where_tables_of_its_width_are_beside_it(
    holder, field
):
    name = f"{holder}.{field}.weight"
    tensors = {name: torch.ones(40, 8), f"{holder}.item.weight": torch.ones(300, 8)}
    assert recognise(name, tensors).is_table


@pytest.mark.parametrize(
    ("name", "shape", "beside"),
    [
        ("emb.conv_type.weight", (40, 8), ("emb.item.weight", (300, 16))),  # another width
        ("emb.conv_type.weight", (40, 8), ("other.emb.item.weight", (300, 8))),
        ("emb.conv_type.weight", (40, 8), ("emb.gate_id.weight", (300, 8))),  # as doubtful
        ("emb.conv.weight", (40, 3, 8), ("emb.item.weight", (300, 8))),
        ("emb.conv_proj.weight", (40, 8), ("emb.item.weight", (300, 8))),
        ("model.lm_head.weight", (300, 8), ("model.embed_tokens.weight", (300, 8))),
        ("head.weight", (300, 8), ("tok_emb.weight", (300, 8))),
    ],
)
def test_a_layer_stays_one_where_what_is_beside_it_tells_nothing(name, shape, beside):
    tensors = {name: torch.ones(shape), beside[0]: torch.ones(beside[1])}
    assert recognise(name, tensors) == (False, "a layer, by its name")
