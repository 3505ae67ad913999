"""Values of a table's batches become the ids of a field."""

import pyarrow as pa

from embedding_collapse.lab.data.numbering import told_apart


class Crowded:
    """Texts of 2 GiB and more, as Arrow meets them; in truth a few."""

    def __init__(self, texts: pa.ChunkedArray) -> None:
        self.texts = texts

    def dictionary_encode(self) -> pa.ChunkedArray:
        raise pa.ArrowCapacityError("array cannot contain more than 2147483646 bytes")

    def cast(self, kind: pa.DataType) -> pa.ChunkedArray:
        return self.texts.cast(kind)


def test_more_text_than_arrow_has_room_for_is_told_apart_alike():
    texts = pa.chunked_array([["b", "a", "b"], ["c", "a"]])
    few, many = told_apart(texts), told_apart(Crowded(texts))
    assert many.type.value_type == pa.large_string()
    for one, other in zip(few.chunks, many.chunks, strict=True):
        assert one.indices.equals(other.indices)
        assert one.dictionary.to_pylist() == other.dictionary.to_pylist() == ["b", "a", "c"]
