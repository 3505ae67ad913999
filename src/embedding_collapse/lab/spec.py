"""What a run is determined by, and the model that follows from it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import torch

from embedding_collapse.parameters import ParameterError, check_choice, check_number, check_whole

from .data import DataSpec
from .device import memory
from .engine.products import PRECISIONS
from .models import MODELS, Recommender, Size, build
from .records import design_label, key_of

Design = Literal["se", "me"]
AVERAGES = ("logits", "probabilities")  # of an ensemble
MOST = 2**31 - 1  # that a size of a model may be; larger ones torch cannot even count


@dataclass(frozen=True)
class Spec:
    """The whole truth of a run; the defaults are the paper's.

    Attributes:
        data: what it trains on.
        model: one of `models.MODELS`.
        design: "se" scales the width of one embedding set, "me" the number of sets.
        scale: by how much; at 1 both designs are the same base model.
        embedding_size: K at scale 1; None is the paper's, 10, or 50 for NFwFM.
        hidden, cross_layers, dropout: see `models.Size`.
        epochs, batch_size, learning_rate, weight_decay, patience: see `training.Training`.
        seed: of the initial weights, the shuffling and dropout. Not of the data or its split.
        precision: of matrix products in training: "tf32", "bf16", or None for float32.
        members: M, for an ensemble: M runs that know nothing of each other, those of the seeds
            `seed * M` to `seed * M + M - 1`, whose predictions are averaged. None is one run.
        average: of an ensemble, whether "logits" or "probabilities" are averaged.

    Raises:
        ParameterError: a value of the wrong type or out of range; the message is one line that says
            what is accepted.

    Example:
        >>> import embedding_collapse
        >>> spec = embedding_collapse.Spec(model="dcnv2", design="me", scale=4)
        >>> spec.label, spec.sets, spec.width
        ('ME 4x', 4, 10)
    """

    data: DataSpec = dataclasses.field(default=DataSpec())
    model: str = "dcnv2"
    design: Design = "se"
    scale: int = 1
    embedding_size: int | None = None
    hidden: int = 400
    cross_layers: int = 4
    dropout: float = 0.2
    epochs: int = 10
    batch_size: int = 2048
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    patience: int = 3
    seed: int = 0
    precision: str | None = None
    members: int | None = None
    average: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.data, DataSpec):
            raise ParameterError(f"data is {self.data!r}; a DataSpec is accepted")
        check_choice("model", self.model, MODELS)
        check_choice("design", self.design, get_args(Design))
        if self.embedding_size is None:  # written out, for the key and for whoever reads a record
            object.__setattr__(self, "embedding_size", MODELS[self.model].embedding_size)
        for name in ("scale", "embedding_size", "hidden", "cross_layers"):
            check_whole(name, getattr(self, name), least=1, most=MOST)
        for name, least in (("epochs", 1), ("patience", 1), ("batch_size", 2)):
            check_whole(name, getattr(self, name), least)
        if self.precision is not None:
            check_choice("precision", self.precision, PRECISIONS)
        check_whole("seed", self.seed, least=0, most=2**32 - 1)
        if self.members is not None:
            check_whole("members", self.members, least=2)
            check_whole("seed", self.seed, least=0, most=(2**32 - self.members) // self.members)
            if self.average not in AVERAGES:
                raise ParameterError(
                    f"average is {self.average!r} beside members; {' or '.join(AVERAGES)} is needed"
                )
        elif self.average is not None:
            raise ParameterError(f"average is {self.average!r}; it is for ensembles, with members")
        check_number("dropout", self.dropout, 0, 1)
        check_number("learning_rate", self.learning_rate, 0)
        check_number("weight_decay", self.weight_decay, 0)
        for name in ("dropout", "learning_rate", "weight_decay"):  # 0 and 0.0 have one key
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def sets(self) -> int:
        """M, the number of embedding sets."""
        return self.scale if self.design == "me" else 1

    @property
    def width(self) -> int:
        """K of one set."""
        size = cast(int, self.embedding_size)  # `__post_init__` has written it out
        return size * (1 if self.design == "me" else self.scale)

    @property
    def label(self) -> str:
        return design_label(self.design, self.scale, self.members, self.average)

    @property
    def runs(self) -> list["Spec"]:
        """The runs whose predictions an ensemble averages; empty where this is one run."""
        members, alone = self.members or 0, replace(self, members=None, average=None)
        return [replace(alone, seed=self.seed * members + number) for number in range(members)]

    @property
    def key(self) -> str:
        """See `records.key_of`; the data's parameters are among the others."""
        return key_of(self.written())

    def written(self) -> dict[str, Any]:
        """The parameters as a record holds them, the data's beside the others."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "data"}
        return self.data.written() | own

    @classmethod
    def read(cls, written: Mapping[str, Any], path: str | None = None) -> "Spec":
        """The spec that a record was written of.

        Args:
            written: `Record.spec`.
            path: where its data lie, if they were read.

        Raises:
            ParameterError: what is no spec, or of a parameter that is not known here.
        """
        own = dict(written)
        data = {name: own.pop(name) for name in DataSpec.names() if name in own}
        data["name"] = data.pop("dataset", None)
        try:
            return cls(data=DataSpec(**data, path=path), **own)
        except TypeError as error:
            raise ParameterError(f"not the parameters of a run: {error}") from None


def build_model(spec: Spec, cardinalities: Sequence[int]) -> Recommender:
    """The spec's model, freshly initialised for fields with that many features."""
    size = Size(
        fields=len(cardinalities),
        sets=spec.sets,
        width=spec.width,
        hidden=spec.hidden,
        dropout=spec.dropout,
        cross_layers=spec.cross_layers,
    )
    return build(spec.model, cardinalities, size, spec.seed)


def parameter_counts(spec: Spec, cardinalities: Sequence[int]) -> dict[str, int]:
    """How many parameters embedding, interaction and head would hold; takes no memory."""
    with torch.device("meta"):
        return build_model(spec, cardinalities).parameter_counts()


def check_memory(spec: Spec, cardinalities: Sequence[int], device: torch.device) -> None:
    """Raise a `ParameterError` where not even the parameters of a run fit into the memory there is.

    Training keeps each four times: itself, Adam's two moments and the best epoch's, all in float32.
    To find out by asking for memory could take all of it from whatever else runs on the machine.
    """
    count, there = sum(parameter_counts(spec, cardinalities).values()), memory(device)
    if there is not None and 16 * count > there:
        raise ParameterError(
            f"{spec.model} {spec.label} with embedding_size {spec.embedding_size}, hidden "
            f"{spec.hidden} and cross_layers {spec.cross_layers} has {count:,} parameters, which "
            f"take {16 * count / 1e9:,.0f} GB to train; {device.type} has {there / 1e9:,.0f} GB"
        )
