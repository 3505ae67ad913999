"""What a record holds of a trained model: spectra, and what its sub-embeddings are like."""

from typing import Any

import torch

from embedding_collapse.spectrum import (
    field_spectra,
    partner_abundance,
    projected_abundance,
    rounded,
    weighted_random_spectra,
)
from embedding_collapse.subspace import diversity

from .data import Dataset
from .models import Recommender
from .spec import Spec


@torch.no_grad()
def measured(spec: Spec, model: Recommender, dataset: Dataset) -> dict[str, Any]:
    """What a record holds of the trained tables and projections."""
    table, cardinalities = model.table, dataset.cardinalities
    counts = dataset.training_counts.to(table.device)
    spectra = joined = field_spectra(table, cardinalities)
    if spec.sets > 1:
        joined = field_spectra(table.flatten(1).unsqueeze(1), cardinalities)
    diverse = None
    if spec.scale > 1 and table.shape[-1] % spec.width == 0:  # as wide as its spec says
        # the sets of ME, or SE's table in blocks as wide as the base model's
        blocks = table.reshape(len(table), spec.scale, -1)
        diverse = rounded(diversity(blocks, cardinalities), 4)
    abundance = norms = None
    projections, parts = model.interaction.projections, model.interaction.sub_embeddings(table)
    if projections is not None:
        abundance = rounded(projected_abundance(table, cardinalities, projections), 4)
        norms = rounded(projections.square().sum((2, 4)).sqrt().mT, 4)  # [M, j, i] to [M, i, j]
    if parts is not None:
        abundance = rounded(partner_abundance(parts, cardinalities), 4)
    return {
        "spectra": rounded(spectra),
        "joined_spectra": rounded(joined.squeeze(1)),
        "centred_spectra": rounded(field_spectra(table, cardinalities, centred=True)),
        "weighted_spectra": rounded(field_spectra(table, cardinalities, weights=counts)),
        "weighted_random": rounded(
            weighted_random_spectra(counts, cardinalities, table.shape[-1]), 4
        ),
        "diversity": diverse,
        "projected_abundance": abundance,
        "projection_norms": norms,
    }
