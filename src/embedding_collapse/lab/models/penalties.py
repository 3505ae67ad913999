"""What regularised models add to the loss.

Each function takes the interaction and the embeddings `[M, B, N, K]` of a batch, like any
`recommender.Penalty`, and a weight.
"""

import torch
from torch import Tensor, nn

from .dcnv2 import DCNv2


def orthogonality(interaction: DCNv2, embeddings: Tensor, weight: float) -> Tensor:
    """`||W W^T - I||_F^2`, the sum over the K x K blocks of all cross layers and sets.

    At zero every block keeps singular values, so that a projected table is as collapsed as the
    table itself. Where the scale is learned, the block without its factor is meant (Guo et al.
    2024, regularised DCNv2).
    """
    blocks = interaction.blocks(interaction.weight).transpose(-3, -2)  # [L, M, N, N, K, K]
    identity = torch.eye(blocks.shape[-1], device=blocks.device)
    return weight * (blocks @ blocks.mT - identity).square().sum()


def norm_variance(interaction: DCNv2, embeddings: Tensor, weight: float) -> Tensor:
    """Variance over sets of a block's squared Frobenius norm, the mean over layers and blocks.

    Aligns how strongly each set lets two fields interact (Guo et al. 2024, variants of ME).
    """
    norms = interaction.blocks(interaction.weight).square().sum((-3, -1))  # [L, M, N, N]
    return weight * norms.var(1, correction=0).mean()


def spectral_spread(interaction: nn.Module, embeddings: Tensor, weight: float) -> Tensor:
    """Squared coefficient of variation of the squared singular values of a field's embeddings.

    The mean over sets and fields; zero where all directions of the batch's embeddings carry the
    same energy, K - 1 where one carries all. A direct regulariser of spectra, close to one in the
    official code, without a singular value decomposition: for the Gram matrix G of a field's B
    embeddings it is `K ||G||_F^2 / tr(G)^2 - 1`.
    """
    gram = _grams(embeddings, embeddings)  # [M, N, K, K]
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
    width = embeddings.shape[-1]
    return weight * (width * gram.square().sum((-2, -1)) / trace.square() - 1).mean()


def set_overlap(interaction: nn.Module, embeddings: Tensor, weight: float) -> Tensor:
    """Mean squared cosine of the principal angles between two sets' embeddings of a field.

    The mean over fields and pairs of sets of `||U^T U'||_F^2 / K`, U and U' orthonormal bases of
    what the two sets' B embeddings of the field span; in [0, 1], and 0 with a single set.
    """
    sets, width = len(embeddings), embeddings.shape[-1]
    if sets == 1:
        return embeddings.new_zeros(())
    gram = _grams(embeddings, embeddings)
    # A field with fewer features than K leaves directions empty; a thousandth of the mean energy
    # keeps the solution finite there and hardly moves it elsewhere.
    energy = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    regular = gram + 1e-3 * energy * torch.eye(width, device=gram.device)
    first, second = torch.triu_indices(sets, sets, offset=1, device=gram.device)
    # `index_select`, since threads add up the gradients of an index in no certain order
    cross = _grams(embeddings.index_select(0, first), embeddings.index_select(0, second))
    left = torch.linalg.solve_ex(regular.index_select(0, first), cross).result  # [pairs, N, K, K]
    right = torch.linalg.solve_ex(regular.index_select(0, second), cross.mT).result
    return weight * (left * right.mT).sum((-2, -1)).mean() / width


def _grams(first: Tensor, second: Tensor) -> Tensor:
    """`E_i^T E_i'` of every set and field: `[M, B, N, K]` twice to `[M, N, K, K]`."""
    return first.permute(0, 2, 3, 1) @ second.transpose(1, 2)
