"""How the values of one column become the ids of a field, in whatever spelling they come."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .bins import Bins
from .columns import Kind, blanked
from .vocabulary import RARE

WHOLE = r"^(-?[0-9]+)(\.0+)?$"
TRUTHS = pa.array(["true", "false"])


class Entry(NamedTuple):
    """How the values of a column become the ids of a field.

    Attributes:
        field: its name.
        column: where its values are read.
        kind: see `columns.Source`.
        values: strings `[cardinality - 1]`, what the ids from 1 up stand for.
        bins: of a numeric field; None of others.
        rare: the share of the training rows that are in the rare bucket.
    """

    field: str
    column: str
    kind: Kind
    values: pa.StringArray
    bins: Bins | None
    rare: float

    def number(self, texts: pa.ChunkedArray) -> np.ndarray:
        """The ids, int32, of what `columns.meaning` made of values; what has none is `RARE`.

        A category may be spelled otherwise than in training, where that is clear: "3.0" is 3, and
        2139 is "02139" where all have five digits. "NA" and a blank are one where training knows
        only one of such spellings. What training had in the rare bucket may so become a value that
        it kept: of the former nothing is known here.
        """
        known = self._of(texts)
        if self.kind == "categorical":
            missed = np.flatnonzero(known == RARE)
            known[missed] = self._respelled(texts.take(pa.array(missed)))
        if self.bins is None:
            return known
        blank = pc.equal(texts, "")
        numbers = pc.if_else(blank, "nan", texts).cast(pa.float64()).to_numpy()
        return np.where(blank.to_numpy(), known, self.bins.number(numbers))

    def _of(self, texts: pa.ChunkedArray) -> np.ndarray:
        """The ids, int32, of what is spelled as the values are."""
        return pc.index_in(texts, value_set=self.values).fill_null(RARE - 1).to_numpy() + 1

    def _respelled(self, texts: pa.ChunkedArray) -> np.ndarray:
        """The ids of the same values in other spellings; `RARE` where there is none, or several."""
        ids = np.full(len(texts), RARE, np.int32)
        whole = pc.match_substring_regex(texts, WHOLE)
        truth = pc.is_in(pc.utf8_lower(texts), TRUTHS)
        several = pc.or_(whole, truth)
        # the values are looked through again only where need be
        if pc.any(blank := blanks(texts)).as_py():
            known = pc.indices_nonzero(blanks(self.values))
            ids[blank.to_numpy()] = known[0].as_py() + 1 if len(known) == 1 else RARE
        if pc.any(several).as_py():
            ways = spellings(texts.filter(several), self._digits())
            found = np.stack([self._of(one) for one in ways])
            most = found.max(0)
            clear = ((found == RARE) | (found == most)).all(0)
            ids[several.to_numpy()] = np.where(clear, most, RARE)
        return ids

    def _digits(self) -> int:
        """How many each value has, a blank left out; 0 where they differ, or are not digits alone.

        Codes such as 02139 lose their zeros where they are taken for numbers.
        """
        filled = self.values.filter(pc.not_equal(self.values, ""))
        widths = pc.unique(pc.binary_length(filled))
        digits = pc.all(pc.match_substring_regex(filled, "^[0-9]+$")).as_py()
        return widths[0].as_py() if digits and len(widths) == 1 else 0


def blanks(texts: pa.StringArray | pa.ChunkedArray) -> pa.BooleanArray | pa.ChunkedArray:
    """Which of the texts may stand for none."""
    return pc.equal(blanked(texts), "")


def spellings(texts: pa.ChunkedArray, digits: int) -> list[pa.ChunkedArray]:
    """Whole numbers and truth values `[V]` in each of the ways that tools write them: 3 and 3.0,
    as a column of numbers is written once it has a blank; true, True and TRUE; and whole numbers
    with zeros before them, of so many digits."""
    whole = pc.match_substring_regex(texts, WHOLE)
    bare = pc.replace_substring_regex(texts, r"\.0+$", "")
    return [
        pc.if_else(whole, bare, pc.utf8_lower(texts)),
        pc.if_else(whole, pc.binary_join_element_wise(bare, ".0", ""), pc.utf8_capitalize(texts)),
        pc.utf8_upper(texts),
        pc.if_else(whole, pc.utf8_lpad(bare, digits, "0"), texts),
    ]


def written_bins(bins: Bins | None) -> dict[str, list[Any]] | None:
    """Bins as JSON takes them, to the last bit."""
    if bins is None:
        return None
    return {"starts": [str(start) for start in bins.starts.tolist()], "ids": bins.ids.tolist()}


def read_bins(written: Mapping[str, Any] | None) -> Bins | None:
    """The bins that were written so."""
    if written is None:
        return None
    return Bins(np.array(written["starts"], np.float64), np.array(written["ids"], np.int32))
