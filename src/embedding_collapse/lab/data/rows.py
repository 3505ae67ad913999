"""Where the rows of delimited text end.

A row ends with a line feed, a carriage return or both, outside quotes. A quote opens where a value
begins, and the next one closes it unless it is doubled; any other quote is a character. This is how
pyarrow reads text, which has to get whole rows. Functions take the delimiters (each one byte) after
which a quote opens; without any, quotes are characters everywhere.
"""

from collections.abc import Iterator

import numpy as np

LINE_FEED, CARRIAGE_RETURN, QUOTE = b'\n\r"'


def quotes(text: bytes | bytearray, delimiters: bytes) -> np.ndarray:
    """Places of the quotes that open and close, in turns; an odd number leaves one open.

    The two halves of a doubled quote close and open.

    Args:
        text: from the beginning of a row on.
        delimiters: see the module.

    Returns:
        int64, ascending.
    """
    if not delimiters or b'"' not in text:
        return np.empty(0, np.int64)
    codes = np.frombuffer(text, np.uint8)
    places = np.flatnonzero(codes == QUOTE)
    before = codes[places - 1]
    begins = np.isin(before, np.frombuffer(delimiters + b"\r\n", np.uint8)) | (places == 0)
    if (begins | (before == QUOTE))[::2].all():  # every second one opens, as in tidy text
        return places
    kept, opened, closed = [], False, -2
    for place, begin in zip(places.tolist(), begins.tolist(), strict=True):
        if opened:
            opened, closed = False, place
            kept.append(place)
        elif begin or place == closed + 1:
            opened = True
            kept.append(place)
    return np.array(kept, np.int64)


def last_row_end(text: bytes | bytearray, delimiters: bytes) -> int:
    """Where the last row that surely ends in the text does; 0 if none does.

    A carriage return at the very end may be half of a line end.
    """
    places = quotes(text, delimiters)
    begins = np.append(0, places[1::2] + 1)  # of what is outside quotes
    stops = np.append(places[::2], len(text))[: len(begins)]
    for begin, stop in zip(begins[::-1].tolist(), stops[::-1].tolist(), strict=True):
        end = text.rfind(b"\n", begin, stop)
        if end < 0:
            end = text.rfind(b"\r", begin, min(stop, len(text) - 1))
        if end >= 0:
            return end + 1
    return 0


def row_ends(text: bytes | bytearray, delimiters: bytes) -> np.ndarray:
    """Where each row of the text ends, int64: the place after its line end."""
    ends = np.flatnonzero(_ends(np.frombuffer(text, np.uint8)))
    return ends[np.searchsorted(quotes(text, delimiters), ends) % 2 == 0] + 1


def _ends(codes: np.ndarray) -> np.ndarray:
    """Whether a line ends with each byte, bool."""
    follower = np.append(codes[1:], 0)
    return (codes == LINE_FEED) | ((codes == CARRIAGE_RETURN) & (follower != LINE_FEED))


def longest_quoted(text: bytes | memoryview, delimiters: bytes) -> tuple[int, int]:
    """Of the text between two quotes with the most line ends: how many, and the row it begins in,
    from 0 up; zeros where no value begins with a quote."""
    codes = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(_ends(codes))
    places = np.searchsorted(ends, quotes(bytes(text), delimiters))
    held = np.diff(places)[::2]  # between the quote that opens and the one that closes
    if len(held) == 0:
        return 0, 0
    longest = int(held.argmax())
    return int(held[longest]), int(places[2 * longest] - held[:longest].sum())


def pieces(rows: memoryview, delimiters: bytes, most: int) -> Iterator[memoryview]:
    """Whole rows, with which some bytes begin, cut into parts of about `most` rows; most often
    one part."""
    text = rows.obj
    assert isinstance(text, bytes | bytearray)
    if text.count(b"\n", 0, len(rows)) + text.count(b"\r", 0, len(rows)) <= most:
        yield rows
        return
    cuts = row_ends(bytes(rows), delimiters)[most - 1 :: most].tolist()
    for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        if begin < end:
            yield rows[begin:end]
