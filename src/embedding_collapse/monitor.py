"""Collapse during training: a monitor for any PyTorch loop, for Lightning and for transformers."""

import importlib
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from .collapse import MEASURES, as_tensor, check_weights, measure_sets
from .inspection.field_dims import FieldDims
from .inspection.row_weights import RowWeights, match, read_counts
from .inspection.tables import Table, find
from .inspection.weights import known_in
from .parameters import ParameterError, brought_by, check_number, check_whole
from .spectrum import weighted_random_abundances

Row = dict[str, Any]  # a step, a table's name, and numbers
Log = Callable[..., Any]  # called as `log({name: number}, step=step)`
LIGHTNING = ("lightning.pytorch", "pytorch_lightning")  # one project under two names
LOGGED = ("relative_abundance", "against_random", "centred", "weighted")


@runtime_checkable
class Writer(Protocol):
    """What a TensorBoard `SummaryWriter`, or anything like it, has."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


class CollapseMonitor:
    """Measures embedding tables while they are trained: call `step` after `optimizer.step()`.

    Args:
        model_or_tables: a module, of which every `Embedding` and `EmbeddingBag` is a table, and
            others are found as in a checkpoint (`tables.find`); or tables by name, tensors or
            arrays `[D, K]`, or for M sets `[D, M, K]` or `[M, D, K]`, of which the shorter of the
            two first dimensions is taken for M; a `MultiEmbedding`'s parameters have M first.
            Where `ExactBlockedAdam` is attached to an embedding, its rows are brought up to date
            before; of a tensor by name it does not know, so call the optimizer's `flush()`.
        every: measure after that many steps. By default the monitor sees to it that measuring takes
            no more than `budget` of the time since it was made: a small table is measured often, a
            huge one rarely.
        budget: that share, below 1; at 0 it measures at the start and when `measure` is called.
        include, exclude: patterns of the module's parameters, see `tables.find`.
        field_dims: features per field, to cut joint tables with that many rows into fields.
        row_weights: how often rows are looked up, as `inspect` takes it, to measure with rows
            weighted too; see `weighted` below.
        log: takes every measurement too: a function called as `log({name: number}, step=step)`,
            such as the `log` of a run of Weights & Biases, `mlflow.log_metrics` and the
            `log_metrics` of Lightning's loggers; or a TensorBoard `SummaryWriter`. The names are
            `collapse/<table>/relative_abundance`, `collapse/<table>/against_random`,
            `collapse/<table>/centred` and, with row weights, `collapse/<table>/weighted`.
        state: what `state_dict` gave when the run was interrupted, to go on from its step.

    Attributes:
        history: a row per measurement and table, which `pandas.DataFrame` takes as it is: `step`,
            `table`, the measures of `collapse.measures_of`, with several sets their mean over
            them, and `centred`, IA/random with the mean of the rows taken off, which the verdicts
            of a report go by, or `weighted`, the same with rows weighted, by which they go where
            weights are given; NaN where a table was not finite.
        steps: how many were counted.
        seconds: that measuring has taken since; the first measurement, at the start, left out.

    Raises:
        ParameterError: no table found, or one that is not of floating point; or a parameter out of
            range.

    Warns:
        UserWarning: row weights that fit no table, or that weigh several alike by their length.

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
        model_or_tables: nn.Module | Mapping[str, Tensor | np.ndarray],
        every: int | None = None,
        *,
        budget: float = 0.005,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        field_dims: FieldDims | None = None,
        row_weights: RowWeights | None = None,
        log: Log | Writer | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if every is not None:
            check_whole("every", every, least=1)
        check_number("budget", budget, 0, 1)
        self.every, self.budget = every, budget
        self._log = partial(_write, log) if isinstance(log, Writer) else log
        if self._log is not None and not callable(self._log):
            raise ParameterError(
                f"log is {log!r}; a function called as log({{name: number}}, step=step), or a "
                "TensorBoard SummaryWriter, is accepted"
            )
        self._source = model_or_tables
        if not isinstance(model_or_tables, nn.Module | Mapping):
            raise ParameterError(
                f"model_or_tables is {type(model_or_tables).__name__}; a module or tables by name, "
                'such as {"user": tensor}, are accepted'
            )
        if not isinstance(model_or_tables, nn.Module):
            include = include or ["*"]
        self._find = partial(find, include=include, exclude=exclude, field_dims=field_dims)
        self._counts = None if row_weights is None else read_counts(row_weights)
        self._random: dict[tuple, Tensor] = {}  # weighted as the tables are
        self._remark = ""  # on the weights
        self.steps: int = state["steps"] if state else 0
        self.history: list[Row] = list(state["history"]) if state else []
        self.seconds, start = 0.0, time.perf_counter()
        self._look()  # finds what is wrong with the tables; draws the random ones, once
        self._cost = time.perf_counter() - start
        if not self.history:
            self.measure()
        self.seconds, self._start = 0.0, time.perf_counter()

    @property
    def overhead(self) -> float:
        """The share of the time since the start that measuring took."""
        return self.seconds / (time.perf_counter() - self._start)

    def step(self, steps: int = 1) -> bool:
        """Count a training step, or so many, and measure if it is time; whether it was.

        Call it after `optimizer.step()`.
        """
        before = self.steps
        self.steps += steps
        if self.every is not None:
            due = self.steps // self.every > before // self.every
        else:
            elapsed = time.perf_counter() - self._start
            due = self.seconds + self._cost <= self.budget * elapsed
        if due:
            self.measure()
        return due

    def measure(self) -> list[Row]:
        """Measure now, whatever the step; returns the new rows of `history`."""
        self._wait()
        start = time.perf_counter()
        rows = self._look()
        self.history += rows
        if self._log is not None:
            numbers = {
                f"collapse/{row['table']}/{name}": row[name]
                for row in rows
                for name in LOGGED
                if name in row
            }
            self._log(numbers, step=self.steps)
        self._cost = time.perf_counter() - start
        self.seconds += self._cost
        return rows

    def state_dict(self) -> dict[str, Any]:
        """`steps` and `history`, as numbers and text, to be saved beside the model's state."""
        return {"steps": self.steps, "history": list(self.history)}

    def _wait(self) -> None:
        """What training has queued on a GPU is not measuring's time."""
        source = self._source
        given = source.parameters() if isinstance(source, nn.Module) else source.values()
        weights = [getattr(one, "weight", one) for one in given]
        for device in {one.device for one in weights if getattr(one, "is_cuda", False)}:
            torch.cuda.synchronize(device)

    @torch.no_grad()
    def _look(self) -> list[Row]:
        rows = []
        tables = self._tables()
        weights: list[Tensor | None] = [None] * len(tables)
        if self._counts is not None:
            weights, remark = match(self._counts, tables, "row_weights")
            if remark and remark != self._remark:  # told once, not at every look
                warnings.warn(remark, stacklevel=4)  # no_grad is one
                self._remark = remark
        for table, weight in zip(tables, weights, strict=True):
            random = None
            if weight is not None:
                check_weights(weight, table.values.shape[1], table.name)
                shaped = table.name, table.values.shape
                if shaped not in self._random:
                    drawn = weighted_random_abundances(weight, table.values.shape[-1])
                    self._random[shaped] = drawn
                random = self._random[shaped]
            try:
                means = measure_sets(table.values, weight, random)
            except ValueError:  # not finite: training has a problem, which is not for us to end
                names = [*MEASURES, "centred", *(["weighted"] if weight is not None else [])]
                means = dict.fromkeys(names, float("nan"))
            rows.append({"step": self.steps, "table": table.name} | means)
        return rows

    def _tables(self) -> list[Table]:
        """Looked up anew each time, for a model may have moved to another device."""
        source = self._source
        given: Mapping[str, Any]
        for one in source.modules() if isinstance(source, nn.Module) else source.values():
            if isinstance(one, nn.Embedding | nn.EmbeddingBag):
                one.state_dict()  # an optimizer whose rows may wait brings them up to date for it
        if isinstance(source, nn.Module):
            # under each of its names: a table may be tied to a layer that comes first
            given = dict(source.named_parameters(remove_duplicate=False))
            known = known_in(source)
        else:
            given, known = source, {}
        tensors = {name: as_tensor(name, table) for name, table in given.items()}
        tables, _ = self._find(tensors, known=known)
        for table in tables:
            if not table.values.is_floating_point():
                raise ParameterError(
                    f"{table.name} is of {str(table.values.dtype).removeprefix('torch.')}; tables "
                    "of floating point are measured, and exclude leaves others out"
                )
        return tables


def _write(writer: Writer, numbers: Mapping[str, float], step: int) -> None:
    for name, number in numbers.items():
        writer.add_scalar(name, number, step)


# --- callbacks ------------------------------------------------------------------------------------


def lightning_callback(every: int | None = None, **options: Any) -> Any:
    """A Lightning `Callback` with a `CollapseMonitor` of the module that is trained.

    Every measurement goes to the trainer's loggers too. Its attribute `monitor` is the monitor,
    once training has begun; of several processes the first alone has one. It counts the
    optimizer's steps, goes on from a checkpoint's, and is kept in checkpoints.

    Args:
        every, options: see `CollapseMonitor`.

    Raises:
        ParameterError: Lightning is not installed.
    """
    kind = type("CollapseCallback", (_Lightning, _lightning().Callback), {})
    return kind(every, options)


def transformers_callback(trainer: Any, every: int | None = None, **options: Any) -> Any:
    """A `TrainerCallback` of transformers with a `CollapseMonitor` of the model that is trained.

    Add it with `trainer.add_callback(transformers_callback(trainer))`. Every measurement goes
    through `trainer.log`, and so to whatever the trainer reports to and into the `log_history` that
    its checkpoints hold. Its attribute `monitor` is the monitor, once training has begun; of
    several processes the first alone has one.

    Args:
        trainer: a `transformers.Trainer`.
        every, options: see `CollapseMonitor`.

    Raises:
        ParameterError: transformers is not installed.
    """
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        reason = f"transformers is not installed; {brought_by('transformers')}"
        raise ParameterError(reason) from None
    bases = (_Transformers, transformers.TrainerCallback)
    return type("CollapseCallback", bases, {"trainer": trainer})(every, options)


class _Callback:
    """What both have in common; the base class that their library asks for is known only there."""

    monitor: CollapseMonitor | None = None  # until training begins, and but in the first process

    def __init__(self, every: int | None, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.every, self.options = every, options

    def on_train_end(self, *_: Any, **__: Any) -> None:
        monitor = self.monitor
        if monitor is not None and monitor.history[-1]["step"] < monitor.steps:
            monitor.measure()


class _Lightning(_Callback):
    """What Lightning calls."""

    state: Mapping[str, Any] | None = None  # of a checkpoint, which is read before training begins

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        def log(numbers: Mapping[str, float], step: int) -> None:
            for logger in trainer.loggers:
                logger.log_metrics(numbers, step=step)

        if trainer.is_global_zero:
            state = self.state or {"steps": trainer.global_step, "history": []}
            self.state = None  # of the trainer that read it alone
            if self.monitor is not None and self.monitor.steps <= trainer.global_step:
                state = self.monitor.state_dict()  # of a trainer that goes on
            self.monitor = CollapseMonitor(
                pl_module, self.every, log=log, state=state, **self.options
            )

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        # a batch may leave its gradients to the next one's step
        if self.monitor is not None and trainer.global_step > self.monitor.steps:
            self.monitor.step(trainer.global_step - self.monitor.steps)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.monitor is None else self.monitor.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state = state_dict


class _Transformers(_Callback):
    """What transformers calls."""

    trainer: Any

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self.monitor = CollapseMonitor(
                self.trainer.model,
                self.every,
                log=lambda numbers, step: self.trainer.log(numbers),  # which knows its step
                state={"steps": state.global_step, "history": []},
                **self.options,
            )

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if self.monitor is not None:
            self.monitor.step()


def _lightning() -> Any:
    """The Lightning that the program uses already, or else the one that is installed."""
    for name in sorted(LIGHTNING, key=lambda name: name not in sys.modules):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ParameterError(f"Lightning is not installed; {brought_by('lightning')}")
