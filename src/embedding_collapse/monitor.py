"""Collapse during training: a monitor for any PyTorch loop, for Lightning and for TensorBoard."""

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from .collapse import measure_sets
from .inspection.tables import find
from .parameters import ParameterError, check_number, check_whole

LIGHTNING = ("lightning.pytorch", "pytorch_lightning")  # one project under two names


class Writer(Protocol):
    """What a TensorBoard `SummaryWriter`, or anything like it, has."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


class CollapseMonitor:
    """Measures embedding tables while they are trained::

        monitor = CollapseMonitor(model)
        for batch in batches:
            ...
            optimizer.step()
            monitor.step()
        monitor.history  # a DataFrame

    Args:
        model_or_tables: a module, of which the embedding tables are found as in a checkpoint
            (`tables.find`); or tables by name, `[D, K]`, or `[D, M, K]` for M sets.
        every: measure after that many steps. By default the monitor sees to it that measuring takes
            no more than `budget` of the time since it was made: a small table is measured often, a
            huge one rarely.
        budget: that share, above 0.
        include, exclude: patterns of the module's parameters, see `tables.find`.
        field_dims: features per field, to cut joint tables with that many rows into fields.
        writer: takes every measurement too, such as a TensorBoard `SummaryWriter`.

    Attributes:
        steps: how many were counted.
        seconds: that measuring has taken since; the first measurement, at step 0, left out.

    Raises:
        ParameterError: no table found, or a parameter out of range.
    """

    def __init__(
        self,
        model_or_tables: nn.Module | Mapping[str, Tensor],
        every: int | None = None,
        *,
        budget: float = 0.005,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        field_dims: Mapping[str, int] | None = None,
        writer: Writer | None = None,
    ) -> None:
        if every is not None:
            check_whole("every", every, least=1)
        check_number("budget", budget, 0, 1)
        self.every, self.budget, self.writer = every, budget, writer
        self._source = model_or_tables
        if not isinstance(model_or_tables, nn.Module):
            include = include or ["*"]
        self._choice = {"include": include, "exclude": exclude, "field_dims": field_dims}
        self._rows: list[dict[str, Any]] = []
        self.steps, self.seconds, self._cost = 0, 0.0, 0.0
        self._look()  # finds what is wrong with the tables; draws the random ones, once
        self.measure()
        self.seconds, self._start = 0.0, time.perf_counter()

    @property
    def history(self) -> pd.DataFrame:
        """A row per measurement and table: `step`, `table`, and what `collapse.measure` returns.

        With several sets it is the mean over them. NaN where a table was not finite.
        """
        return pd.DataFrame(self._rows)

    @property
    def overhead(self) -> float:
        """The share of the time since the start that measuring took."""
        return self.seconds / (time.perf_counter() - self._start)

    def step(self) -> bool:
        """Count a training step, and measure if it is time; whether it was.

        Call it after `optimizer.step()`.
        """
        self.steps += 1
        if self.every is not None:
            due = self.steps % self.every == 0
        else:
            elapsed = time.perf_counter() - self._start
            due = self.seconds + self._cost <= self.budget * elapsed
        if due:
            self.measure()
        return due

    def measure(self) -> list[dict[str, Any]]:
        """Measure now, whatever the step; returns the new rows of `history`."""
        start = time.perf_counter()
        rows = self._look()
        self._rows += rows
        for row in rows if self.writer else ():
            for name in ("relative_abundance", "against_random"):
                tag = f"collapse/{row['table']}/{name}"
                self.writer.add_scalar(tag, row.get(name, float("nan")), self.steps)
        self._cost = time.perf_counter() - start
        self.seconds += self._cost
        return rows

    @torch.no_grad()
    def _look(self) -> list[dict[str, Any]]:
        rows = []
        for table in self._tables():
            try:
                per_set = measure_sets(table.values).per_set
                found = {k: sum(one[k] for one in per_set) / len(per_set) for k in per_set[0]}
            except ValueError:  # not finite: training has a problem, which is not for us to end
                found = {"abundance": float("nan")}
            rows.append({"step": self.steps, "table": table.name} | found)
        return rows

    def _tables(self) -> list:
        """Looked up anew each time, for a model may have moved to another device."""
        source = self._source
        tensors = dict(source.named_parameters() if isinstance(source, nn.Module) else source)
        return find({name: each.detach() for name, each in tensors.items()}, **self._choice)[0]


def lightning_callback(every: int | None = None, **options: Any) -> Any:
    """A Lightning `Callback` with a `CollapseMonitor` of the module that is trained.

    Every measurement goes to the trainer's loggers too, as `collapse/<table>/relative_abundance`
    and `.../against_random`. Its attribute `monitor` is the monitor, once training has begun.

    Args:
        every, options: see `CollapseMonitor`.

    Raises:
        ParameterError: Lightning is not installed.
    """
    callback = _lightning().Callback

    class CollapseCallback(callback):
        monitor: CollapseMonitor | None = None

        def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
            self.monitor = CollapseMonitor(pl_module, every, writer=_Loggers(trainer), **options)

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.monitor.step()

        def on_train_end(self, *_: Any) -> None:
            self.monitor.measure()

    return CollapseCallback()


class _Loggers:
    """A trainer's loggers as a writer."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        for logger in self.trainer.loggers:
            logger.log_metrics({tag: scalar_value}, step=global_step)


def _lightning() -> Any:
    """The Lightning that the program uses already, or else the one that is installed."""
    for name in sorted(LIGHTNING, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ParameterError("Lightning is not installed: pip install lightning")
