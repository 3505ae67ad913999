"""Embedding sets of torchrec's collections, sharded over the processes that `torchrun` starts."""

import copy

import torch
import torch.distributed
from rounding import assert_same_sums
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor
from torchrec.distributed import DistributedModelParallel
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, Topology
from torchrec.distributed.planner.types import ParameterConstraints

from embedding_collapse import MultiEmbedding

ROWS, WIDTH = 40, 8


class Interaction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2 * WIDTH, 4)

    def forward(self, embedded: KeyedTensor) -> Tensor:
        return self.layer(embedded.values()).relu()


def one_set() -> tuple[nn.Module, nn.Module]:
    tables = [
        EmbeddingBagConfig(
            name=name, embedding_dim=WIDTH, num_embeddings=ROWS, feature_names=[name]
        )
        for name in ("user", "item")
    ]
    return EmbeddingBagCollection(tables=tables), Interaction()


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    model = MultiEmbedding(one_set, sets=3, head=nn.Linear(4, 1))
    whole = copy.deepcopy(model)

    sharders = [EmbeddingBagCollectionSharder()]
    by_table = ParameterConstraints(sharding_types=["table_wise"])  # by rows needs a GPU
    planner = EmbeddingShardingPlanner(
        topology=Topology(world_size=2, compute_device="cpu"),
        constraints={"user": by_table, "item": by_table},
    )
    plan = planner.collective_plan(model, sharders, torch.distributed.group.WORLD)
    sharded = DistributedModelParallel(
        model, device=torch.device("cpu"), plan=plan, sharders=sharders
    )
    weights = whole.state_dict()  # torchrec draws the tables anew
    for name, value in sharded.state_dict().items():
        for shard in value.local_shards() if isinstance(value, ShardedTensor) else ():
            first, column = shard.metadata.shard_offsets
            rows, columns = shard.metadata.shard_sizes
            part = weights[name][first : first + rows, column : column + columns]
            shard.tensor.copy_(part)

    torch.manual_seed(rank)
    batch = KeyedJaggedTensor.from_lengths_sync(
        keys=["user", "item"],
        values=torch.randint(0, ROWS, (12,)),
        lengths=torch.tensor([1, 2, 0, 3, 1, 1, 2, 2]),
    )
    ranks = [table.ranks for tables in plan.plan.values() for table in tables.values()]
    assert sorted(map(tuple, ranks)) == [(0,)] * 3 + [(1,)] * 3  # each has one process of two
    found = sharded(batch)
    assert_same_sums(found, whole(batch), 3 + 2 * WIDTH + 4 + 3)  # a bag, a layer, the head, sets
    found.sum().backward()
    print(f"rank {rank}: equal", flush=True)
    torch.distributed.destroy_process_group()
