"""A training run of its own process: `python run_to_be_killed.py FOLDER`."""

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from embedding_collapse.lab.data import load
from embedding_collapse.lab.models import Size, build
from embedding_collapse.lab.training import Training, fit

folder = Path(sys.argv[1])
dataset = load("synthetic-mini", 3000)
model = build("dcnv2", dataset.cardinalities, Size(len(dataset.fields), 2, 4, hidden=32))
training = Training(epochs=6, batch_size=64)
run = fit(model, dataset, training, device="cpu", checkpoints=folder / "checkpoints")
(folder / "epochs.json").write_text(json.dumps(run.epochs))
save_file(
    {name: value.contiguous() for name, value in model.state_dict().items()},
    folder / "weights.safetensors",
)
