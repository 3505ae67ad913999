"""What an epoch of all of Criteo's rows would take on other machines, from a measured one."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from embedding_collapse.lab.cost import Cost
from embedding_collapse.lab.models import MODELS

CRITEO_ROWS = 45_840_617
T4, H100 = (8.1e12, 3.2e11), (4.95e14, 3.35e12)  # data sheets: operations, bytes per second


def plan(
    criteo: Mapping[str, Any],
    rates: Mapping[str, Sequence[float]],
    costs: Mapping[str, Cost],
    touched: float,
    block: int,
) -> pd.DataFrame:
    """Memory in GB and hours of an epoch, a row per model and size, a column per machine.

    Args:
        criteo: the record of `benchmarks/criteo.py`; how many times its floor a base model took
            there is taken for all its sizes and all machines.
        rates: operations and bytes per second by the number of threads, from `benchmarks/cost.py`.
        costs: of the models, by name, with batches of 2048.
        touched: different rows of the table in a batch.
        block: as in `Cost.memory`.
    """
    machines = {"two cores": rates["2"], "T4": T4, "H100": H100}
    steps, table = 0.8 * CRITEO_ROWS / 2048, {}
    for model in ("dnn", "dcnv2"):
        base, record = costs[f"{MODELS[model].name} base"], criteo[model]
        took = record["training_cpu_seconds"] / record["training_rows"] * 2048
        over = took / _floor(base, rates["1"], touched, block)
        for name, cost in costs.items():
            if name.startswith(f"{MODELS[model].name} "):
                table[name] = {"GB": sum(cost.memory(block).values()) / 1e9} | {
                    f"hours, {machine}": over * steps / 3600 * _floor(cost, fast, touched, block)
                    for machine, fast in machines.items()
                }
    return pd.DataFrame.from_dict(table, orient="index")


def disk(criteo: Mapping[str, Any]) -> dict[str, float]:
    """GB of the file and of what it is encoded to, of all of Criteo's rows at the record's bytes a
    row."""
    return {
        name: size / criteo["rows"] * CRITEO_ROWS / 1e9 for name, size in criteo["bytes"].items()
    }


def _floor(cost: Cost, rates: Sequence[float], touched: float, block: int) -> float:
    """Seconds of a step: its products, then its bytes."""
    products, copies = rates
    return cost.flops / products + sum(cost.traffic(touched, block).values()) / copies
