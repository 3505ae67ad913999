"""Makes the checkpoints in this folder, each with the library that is named in its file.

    pip install --no-deps fuxictr==2.3.10 deepctr-torch==0.3.0 keras==3.15.1 h5py==3.16.0 \\
        polars==2.1.0 polars-runtime-32==2.1.0 keras_preprocessing==1.1.2 optree==0.20.0 \\
        namex==0.1.0 ml-dtypes==0.6.0 rich==15.0.0 absl-py torch scikit-learn
    python tests/data/checkpoints/make.py

Made with torch 2.13.0 and numpy 2.4.6; those libraries' own saving is what wrote the files. Keras
ran on its torch backend, without TensorFlow. The models saw a few batches of random clicks, so that
tables and optimizer hold what trained ones do.
"""

import os
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent
FIELDS = {"user": 300, "item": 120, "device": 5}
ROWS, WIDTH = 2048, 8


def clicks() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    ids = np.stack([generator.integers(0, rows, ROWS) for rows in FIELDS.values()], 1)
    return ids, generator.integers(0, 2, ROWS)


def fuxictr() -> None:
    """Its `BaseModel` with its embedding, cross and MLP layers, through its `save_weights`."""
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.layers import CrossNetV2, FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import BaseModel

    class DCNv2(BaseModel):
        def __init__(self, features: FeatureMap, **options: object) -> None:
            super().__init__(features, **options)
            inputs = len(FIELDS) * WIDTH
            self.embedding_layer = FeatureEmbedding(features, WIDTH)
            self.crossnet = CrossNetV2(inputs, 2)
            self.mlp = MLP_Block(inputs, hidden_units=[16], output_dim=1)
            self.compile("adam", "binary_crossentropy", 0.01)
            self._max_gradient_norm = 10.0

        def forward(self, inputs: dict) -> dict:
            e = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
            return {"y_pred": self.output_activation(self.mlp(self.crossnet(e)))}

    ids, labels = clicks()
    features = FeatureMap("clicks", "")
    features.labels, features.num_fields = ["label"], len(FIELDS)
    for index, (name, rows) in enumerate(FIELDS.items()):
        features.features[name] = {
            "type": "categorical",
            "source": "",
            "vocab_size": rows,
            "padding_idx": 0,
        }
        features.column_index[name] = index
    features.column_index["label"] = len(FIELDS)
    with tempfile.TemporaryDirectory() as folder:
        model = DCNv2(features, model_root=folder, verbose=0, metrics=["AUC"])
        table = torch.tensor(np.column_stack([ids, labels]), dtype=torch.float32)
        for part in table.split(256):
            model.train_step({name: part[:, i] for name, i in features.column_index.items()})
        model.save_weights(FOLDER / "fuxictr.model")


def deepctr() -> None:
    """DeepFM, saved as its documentation says: `torch.save(model.state_dict(), ...)`."""
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DeepFM

    ids, labels = clicks()
    columns = [SparseFeat(name, rows, embedding_dim=WIDTH) for name, rows in FIELDS.items()]
    model = DeepFM(columns, columns, dnn_hidden_units=(16,), device="cpu")
    model.compile("adam", "binary_crossentropy")
    inputs = {name: ids[:, index] for index, name in enumerate(FIELDS)}
    model.fit(inputs, labels, batch_size=256, epochs=1, verbose=0)
    torch.save(model.state_dict(), FOLDER / "deepctr_torch.h5")  # the name that it uses


def embedding_bag() -> None:
    """torch's own, with the optimizer's state and the epoch, as training loops save."""
    ids, labels = clicks()
    model = nn.Sequential(nn.EmbeddingBag(300, WIDTH, mode="sum"), nn.Linear(WIDTH, 1))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    target = torch.tensor(labels, dtype=torch.float32)
    for _ in range(5):
        optimizer.zero_grad()
        scores = model(torch.from_numpy(ids)).squeeze(1)
        nn.functional.binary_cross_entropy_with_logits(scores, target).backward()
        optimizer.step()
    content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 5}
    torch.save(content, FOLDER / "embedding_bag.pt")


def keras() -> None:
    """Keras' own two formats, and the same weights as `.npz`, which needs no Keras to be read."""
    import keras

    ids, labels = clicks()
    inputs = keras.Input((len(FIELDS),), dtype="int32")
    looked_up = keras.layers.Embedding(300, WIDTH, name="embedding")(inputs)
    output = keras.layers.Dense(1, "sigmoid")(keras.layers.Flatten()(looked_up))
    model = keras.Model(inputs, output)
    model.compile("adam", "binary_crossentropy")
    model.fit(ids, labels, epochs=1, verbose=0)
    model.save(FOLDER / "keras.keras")
    model.save_weights(FOLDER / "keras.weights.h5")
    weights = {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    np.savez(FOLDER / "keras.npz", **weights)


if __name__ == "__main__":
    torch.manual_seed(0)
    for make in (fuxictr, deepctr, embedding_bag, keras):
        make()
