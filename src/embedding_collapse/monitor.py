"""Collapse during training: a monitor for any PyTorch loop, for Lightning and for TensorBoard."""

import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .collapse import MEASURES, measure_sets
from .inspection.tables import Table, find
from .parameters import ParameterError, brought_by, check_number, check_whole

Row = dict[str, Any]  # a step, a table's name, and numbers
LIGHTNING = ("lightning.pytorch", "pytorch_lightning")  # one project under two names


class Writer(Protocol):
    """What a TensorBoard `SummaryWriter`, or anything like it, has."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


class CollapseMonitor:
    """Measures embedding tables while they are trained: call `step` after `optimizer.step()`.

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
        history: a row per measurement and table, which `pandas.DataFrame` takes as it is: `step`,
            `table`, and the measures of `collapse.measures_of`, with several sets their mean over
            them; NaN where a table was not finite.
        steps: how many were counted.
        seconds: that measuring has taken since; the first measurement, at step 0, left out.

    Raises:
        ParameterError: no table found, or a parameter out of range.

    Example:
        >>> import torch, embedding_collapse
        >>> model = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(200, 8)})
        >>> optimizer = torch.optim.SGD(model.parameters(), 0.1)
        >>> monitor = embedding_collapse.CollapseMonitor(model, every=2)
        >>> for _ in range(4):
        ...     model["embedding"](torch.arange(9)).square().sum().backward()
        ...     optimizer.step()
        ...     measured = monitor.step()
        >>> [(row["step"], row["table"]) for row in monitor.history]
        [(0, 'embedding.weight'), (2, 'embedding.weight'), (4, 'embedding.weight')]
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
        self._find = partial(find, include=include, exclude=exclude, field_dims=field_dims)
        self.history: list[Row] = []
        self.steps, self.seconds, self._cost = 0, 0.0, 0.0
        self._look()  # finds what is wrong with the tables; draws the random ones, once
        self.measure()
        self.seconds, self._start = 0.0, time.perf_counter()

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

    def measure(self) -> list[Row]:
        """Measure now, whatever the step; returns the new rows of `history`."""
        start = time.perf_counter()
        rows = self._look()
        self.history += rows
        if self.writer is not None:
            for row in rows:
                for name in ("relative_abundance", "against_random"):
                    self.writer.add_scalar(f"collapse/{row['table']}/{name}", row[name], self.steps)
        self._cost = time.perf_counter() - start
        self.seconds += self._cost
        return rows

    @torch.no_grad()
    def _look(self) -> list[Row]:
        rows = []
        for table in self._tables():
            try:
                per_set = measure_sets(table.values).per_set
                means = {k: sum(one[k] for one in per_set) / len(per_set) for k in MEASURES}
            except ValueError:  # not finite: training has a problem, which is not for us to end
                means = dict.fromkeys(MEASURES, float("nan"))
            rows.append({"step": self.steps, "table": table.name} | means)
        return rows

    def _tables(self) -> list[Table]:
        """Looked up anew each time, for a model may have moved to another device."""
        source = self._source
        tensors = dict(source.named_parameters() if isinstance(source, nn.Module) else source)
        return self._find({name: tensor.detach() for name, tensor in tensors.items()})[0]


def lightning_callback(every: int | None = None, **options: Any) -> Any:
    """A Lightning `Callback` with a `CollapseMonitor` of the module that is trained.

    Every measurement goes to the trainer's loggers too, as `collapse/<table>/relative_abundance`
    and `.../against_random`. Its attribute `monitor` is the monitor, once training has begun.

    Args:
        every, options: see `CollapseMonitor`.

    Raises:
        ParameterError: Lightning is not installed.
    """
    kind = type("CollapseCallback", (_Hooks, _lightning().Callback), {})
    return kind(every, options)


class _Hooks:
    """What Lightning calls; its base class is known only once a Lightning is."""

    def __init__(self, every: int | None, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.every, self.options = every, options

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        writer = _Loggers(trainer)
        self.monitor = CollapseMonitor(pl_module, self.every, writer=writer, **self.options)

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.monitor.step()

    def on_train_end(self, *_: Any) -> None:
        self.monitor.measure()


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
    raise ParameterError(f"Lightning is not installed; {brought_by('lightning')}")
