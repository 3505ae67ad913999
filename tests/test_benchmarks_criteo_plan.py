"""The projection to all of Criteo's rows."""

from pathlib import Path

import pytest

from embedding_collapse.lab.cost import step_cost
from embedding_collapse.lab.models import Size


def test_a_plan_takes_the_measured_models_distance_from_the_floor_everywhere(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    import criteo_plan

    costs = {
        f"{name} {label}": step_cost(model, [100] * 4, size, 2048)
        for model, name in (("dnn", "DNN"), ("dcnv2", "DCNv2"), ("ipnn", "IPNN"))
        for label, size in (("base", Size(4, 1, 8)), ("ME 2x", Size(4, 2, 8)))
    }
    rates = {"1": (1e9, 1e9), "2": (2e9, 2e9)}
    floor = costs["DNN base"].flops / 1e9 + sum(costs["DNN base"].traffic(50, 32).values()) / 1e9
    one = {"training_rows": 4096, "training_cpu_seconds": 2 * 3 * floor}
    record = {"rows": 10, "bytes": {"file": 2580}, "dnn": one, "dcnv2": one}
    table = criteo_plan.plan(record, rates, costs, 50, 32)
    assert list(table.index) == [name for name in costs if name.startswith(("DNN", "DCNv2"))]
    steps = 0.8 * criteo_plan.CRITEO_ROWS / 2048
    assert table.loc["DNN base", "hours, two cores"] == pytest.approx(steps * 3 * floor / 2 / 3600)
    assert (table["hours, H100"] < table["hours, T4"]).all()
    assert criteo_plan.disk(record)["file"] == pytest.approx(11.83, abs=0.01)
