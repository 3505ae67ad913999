"""What data a run trains on, as one frozen value that can be hashed, stored and compared."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from embedding_collapse.parameters import ParameterError, check_choice, check_number, check_whole

DATASETS: dict[str, str] = {
    "synthetic": "39 fields with the cardinalities of Criteo, from a known law; 45,840,617 rows",
    "synthetic-mini": "12 fields from the same law, sized for two cores; 200,000 rows",
    "us-flights": "9 fields of US flights of 2001, late or not (real); 2,400,000 rows to train on",
    "us-flights-forecast": "the same without the minute: 7 fields, nearer to a forecast",
    "criteo": "Kaggle's train.txt at `path`, else the Hub's reczoo/Criteo_x4; 45,840,617 rows",
    "avazu": "Kaggle's train.csv at `path`, else the Hub's reczoo/Avazu_x4; 40.4 million rows",
    "movielens": "GroupLens' ml-100k or ml-1m at `path`, rated 4 or better or not",
    "table": "the text, Parquet or Hub table at `path`, with the label in column `label`",
}
READ = ("criteo", "avazu", "movielens", "table")  # from a path; the others need none
US_FLIGHTS = ("us-flights", "us-flights-forecast")
ONLY: dict[str, tuple[str, ...]] = {  # the datasets that a parameter is for, where it isn't for all
    **dict.fromkeys(("path", "content", "vocabulary", "min_count"), READ),
    "split": (*US_FLIGHTS, "criteo", "avazu", "table"),
    **dict.fromkeys(
        ("label", "positive", "threshold", "categorical", "numeric", "times", "drop", "split_by"),
        ("table",),
    ),
    "held_out": ("synthetic", "synthetic-mini", *US_FLIGHTS),
}


@dataclass(frozen=True)
class DataSpec:
    """All that determines ids, labels and split: two equal values give the same rows.

    Attributes:
        name: one of `DATASETS`.
        rows: how many, at least 10; None is all, or the number that `DATASETS` tells. Of a table
            these are its first rows; where the split is given, the first that train.
        label: of a table, the column that holds 0 or 1, true or false.
        positive: the label's values that are 1 in place of these; all others but a blank (NaN, NaT,
            <NA> and ``\\N`` are some) are 0, words such as none, NA or null too.
        threshold: the least number in the label's column that is 1, where it holds ratings.
        categorical, numeric: of a table, the columns to take as fields. By default all: those with
            fractions in the first rows as numeric, in bins of about equal size, the others as
            categorical; once any is named, those named alone.
        times: of a table, columns of timestamps, each of which becomes two fields: the hour and
            the weekday, both of UTC where a time says how far it is from it.
        drop: of a table, columns to leave out of those taken by default.
        split_by: of a table, a column of numbers or timestamps: the last tenth of the rows by it
            test, the tenth before these validates. By default rows are held out at random.
        min_count: of what is read, the fewest rows with which a value keeps an id of its own; by
            default the paper's, 4 for Avazu, else 10.
        vocabulary: of what is read, the rows that a value is counted on: "all", as in the paper,
            or "train", the training rows. None is "all", but becomes "train" of a table that is
            split by a column or as given: else a value that only later rows hold would have an id
            of its own, whose vector nothing trains; in use it falls into the rare bucket.
        held_out: of drawn data and of US flights, how many rows validate and how many test; `rows`
            are then the training rows. None cuts `rows` 8:1:1 (of US flights: 100,000 and 500,000).
        split: of US flights, whether rows are held out at "random" or are the last in "time". Of a
            table, Criteo and Avazu "given" takes the three parts that they come in.
        content: hash of what was read at `path`; None for data that need no path.
        path: where it lies on this machine; no part of the value.

    Raises:
        ParameterError: an unknown name, or a parameter that cannot be or is not for that dataset;
            the message says what is accepted.

    Example:
        >>> DataSpec("us-flights", rows=60_000).written()
        {'dataset': 'us-flights', 'rows': 60000}
    """

    name: str = "synthetic-mini"
    rows: int | None = None
    label: str | None = None
    positive: tuple[str, ...] = ()
    threshold: float | None = None
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    split_by: str | None = None
    min_count: int | None = None
    vocabulary: str | None = None
    held_out: tuple[int, int] | None = None
    split: str = "random"
    content: str | None = None
    path: str | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_choice("dataset", self.name, DATASETS)
        if self.rows is not None:
            least, most = (1_000, 2_400_000) if self.name in US_FLIGHTS else (10, 2**40)
            check_whole("rows", self.rows, least, most)
        self._settle_vocabulary()
        for field in dataclasses.fields(self):
            value, names = getattr(self, field.name), ONLY.get(field.name, DATASETS)
            if isinstance(value, list):  # JSON has lists
                object.__setattr__(self, field.name, value := tuple(value))
            if value != field.default and self.name not in names:
                raise ParameterError(
                    f"{field.name} is {value!r}; it is for {', '.join(names)}, not {self.name!r}"
                )
        other = "time" if self.name in US_FLIGHTS else "given"
        check_choice("split", self.split, ("random", other))
        if self.split_by and self.split != "random":
            raise ParameterError(
                f"split_by is {self.split_by!r} and split {self.split!r}; one of the two tells "
                "which rows are held out"
            )
        if self.threshold is not None:
            check_number("threshold", self.threshold, float("-inf"))
            object.__setattr__(self, "threshold", float(self.threshold))  # 4 and 4.0 have one key
            if self.positive:
                raise ParameterError(
                    f"positive is {self.positive!r} and threshold {self.threshold!r}; one of the "
                    "two tells what counts as 1"
                )
        if self.min_count is not None:
            check_whole("min_count", self.min_count, least=1)
        if self.name in READ and not self.content:
            raise ParameterError(
                f"the content of {self.name!r} is not known; data.describe(name, path=...) reads it"
            )
        self._check_held_out()

    @property
    def counted_on(self) -> str:
        """The rows that a value is counted on, "all" or "train"."""
        return self.vocabulary or "all"

    def _settle_vocabulary(self) -> None:
        """One value, one key: "all" is written None where it is the default, and "train" out, for
        where later rows are held out None was "all" in earlier versions."""
        later = self.name == "table" and (self.split_by or self.split == "given")
        if self.vocabulary is not None:
            check_choice("vocabulary", self.vocabulary, ("all", "train"))
        elif later:
            object.__setattr__(self, "vocabulary", "train")
        if self.vocabulary == "all" and not later:
            object.__setattr__(self, "vocabulary", None)

    def _check_held_out(self) -> None:
        if self.held_out is None:
            return
        try:
            valid, test = self.held_out
        except (TypeError, ValueError):
            raise ParameterError(
                f"held_out is {self.held_out!r}; two numbers of rows, validation and test, are "
                "accepted"
            ) from None
        check_whole("validation rows", valid, least=1, most=2**40)
        check_whole("test rows", test, least=1, most=2**40)

    def written(self) -> dict[str, Any]:
        """As records hold it, in JSON's types: dataset and rows, and whatever differs from its
        default."""
        rest = {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if field.compare
            and field.name not in ("name", "rows")
            and (value := getattr(self, field.name)) != field.default
        }
        return {"dataset": self.name, "rows": self.rows} | rest

    @classmethod
    def names(cls) -> list[str]:
        """The keys that `written` may have."""
        fields = [field.name for field in dataclasses.fields(cls) if field.compare]
        return ["dataset", *fields[1:]]
