"""Train some models, in one process or, by `torchrun`, in several; the first saves what came of it.

python run_together.py OUTPUT
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from torch import Tensor

from embedding_collapse.lab.data import Dataset, Field
from embedding_collapse.lab.models import Size, build
from embedding_collapse.lab.training import Training, fit

# with a dropout of its own, a head of its own, and penalties of a batch's embeddings and of weights
NAMES = ["dnn", "nfwfm", "finalmlp", "dcnv2-flat", "dcnv2-regularized"]


def dataset() -> Dataset:
    """No two rows are alike; a process's part of a batch is 47 or 48 rows of 94 or 95."""
    generator = np.random.default_rng(0)
    ids = np.stack(np.divmod(generator.permutation(40 * 60)[:2003], 60), 1).astype(np.int32)
    labels = (generator.random(len(ids)) < 0.2 + 0.6 * (ids[:, 0] % 3 == 1)).astype(np.uint8)
    return Dataset("tiny", ids, labels, (Field("a", 40), Field("b", 60)), "tiny")


def trained(
    name: str, dtype: torch.dtype, epochs: int = 2, checkpoints: Path | None = None
) -> tuple[list[Tensor], dict]:
    """The validation losses and the state of a model trained with dropout; test metrics."""
    data = dataset()
    model = build(name, data.cardinalities, Size(2, 2, 3, hidden=8, dropout=0.2)).to(dtype)
    training = Training(epochs=epochs, batch_size=100, learning_rate=0.01, weight_decay=1e-3)
    run = fit(model, data, training, device="cpu", checkpoints=checkpoints)
    losses = torch.tensor([epoch["valid_log_loss"] for epoch in run.epochs], dtype=dtype)
    state = [value for value in model.state_dict().values() if value.is_floating_point()]
    return [losses, *state], run.test


if __name__ == "__main__":
    torch.distributed.init_process_group()
    torch.set_num_threads(1)
    output = Path(sys.argv[1])
    results = {name: trained(name, torch.float64) for name in NAMES}
    checkpoints = output.with_name("checkpoints")
    trained("dnn", torch.float64, 1, checkpoints)
    results["resumed"] = trained("dnn", torch.float64, 2, checkpoints)
    if torch.distributed.get_rank() == 0:
        torch.save(results, output)
    torch.distributed.destroy_process_group()
