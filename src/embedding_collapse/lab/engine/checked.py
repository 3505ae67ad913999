"""The engine, held against the plain loop at the start of every run; the loop where they differ.

See `agreement` for what is compared. Whatever goes wrong while the engine does something for the
first time, a disagreement or an error, the loop takes over from the state before it, with a
warning, and stays: in a resumed run too, so that it ends as one that was not interrupted.
"""

import warnings
from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor

from embedding_collapse.lab.device import reset_peak_memory
from embedding_collapse.lab.models import Recommender
from embedding_collapse.parameters import first_line

from .agreement import State, compare_replay, compare_steps
from .captured import Engine, windows
from .loop import StepByStep

FALLBACK = "loop (fallback: "
STEPS, REPLAYS = 3, 2  # that are compared, of each size of batch


class CheckedEngine:
    """Takes the steps of an epoch with the engine, or the loop from where it was caught; as both.

    Args:
        engine, loop: of one model and dataset, with the same settings.
    """

    def __init__(self, engine: Engine, loop: StepByStep) -> None:
        self.engine: Engine | None = engine
        self.loop = loop
        self._compared: Counter[tuple[int, bool]] = Counter()  # by batch size, and whether replayed
        self._fallback = ""

    @property
    def model(self) -> Recommender:
        """That both train."""
        return self.loop.model

    @property
    def optimizer(self) -> torch.optim.Adam:
        """Of whichever takes the steps."""
        return (self.engine or self.loop).optimizer

    @property
    def steps_between_checks(self) -> int:
        """As whichever takes the steps has it."""
        return (self.engine or self.loop).steps_between_checks

    @property
    def kind(self) -> str:
        """How steps are taken: "captured", "uncaptured" or "loop (fallback: why)"."""
        return self._fallback or (self.engine or self.loop).kind

    def epoch(self, order: Tensor, losses: Tensor, penalties: Tensor) -> Iterator[int]:
        """As `Engine.epoch`."""
        taken = row = 0
        if self.engine is not None:
            for window in windows(len(order), len(losses), self.engine.optimizer.block):
                results = self._take(self.engine, window.batches(order))
                if results is None:
                    break
                taken, row = window.step + window.steps, window.row + window.steps * window.batch
                losses[window.step : taken], penalties[window.step : taken] = results
                yield taken
        if taken < len(losses):  # the loop cuts what is left into the same batches
            for done in self.loop.epoch(order[row:], losses[taken:], penalties[taken:]):
                yield taken + done

    def fall_back(self, kind: str) -> None:
        """Leave the steps to the loop from here on, with the state as it is.

        Args:
            kind: what `kind` is to say, from `FALLBACK` on.
        """
        if self.engine is not None:
            self.loop.optimizer.state.update(self.engine.optimizer.state)
        for layer in self.loop.model.layers():
            layer.align = 1
        self.engine, self._fallback = None, kind

    def _take(self, engine: Engine, rows: Tensor) -> Tensor | None:
        """As `Engine.take`; None where the loop has to take these rows."""
        replays = engine.replays(rows)
        case = rows.shape[1], replays
        if self._compared[case] == (REPLAYS if replays else 1):
            return engine.take(rows)
        self._compared[case] += 1
        state, results = State(engine), None
        try:
            if replays:
                results, reason = compare_replay(engine, rows, state)
            else:
                reason = compare_steps(engine, self.loop, rows[:STEPS], state)
                results = None if reason else engine.take(rows)
        except Exception as error:  # whatever it is, the loop can do without
            reason = cause_of(error)
        reset_peak_memory(engine.device)  # what a run is said to take is what training takes
        if reason is None:
            return results
        renew_generator(engine.device)
        state.restore(engine)
        self.fall_back(f"{FALLBACK}{reason})")
        warnings.warn(
            f"the engine is left; from the same state training goes on step by step: {reason}",
            stacklevel=4,
        )
        return None


def renew_generator(device: torch.device) -> None:
    """Free torch's generator, which a capture that failed leaves in the belief that it goes on."""
    if device.type == "cuda":
        generator = torch.cuda.default_generators[device.index]
        generator.graphsafe_set_state(generator.clone_state())


def cause_of(error: BaseException) -> str:
    """An error in a line; where it came while another was handled, the first one."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {first_line(error)}"
