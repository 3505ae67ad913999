"""A file in the format of Criteo's train.txt, of any number of rows.

Ids and labels come from the synthetic law; they are written as the file writes them, 13 integers
and 26 tokens of eight hexadecimal digits, blanks included. On top, five of the token fields hold
in 15% of the rows a token drawn from all 2^32, as real logs hold many values that are seen once.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from tqdm import tqdm

from embedding_collapse.lab.data.synthetic import LAWS, draw_rows, make_tables

INTEGERS, TOKENS, LONG_TAILS, TAIL = 13, 26, 5, 0.15
HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), "S2")


def write_criteo(path: Path, rows: int, seed: int = 0) -> None:
    """Write the file; the smaller file is the beginning of the larger."""
    options = pa.csv.WriteOptions(
        include_header=False, delimiter="\t", quoting_style="none", batch_size=1 << 16
    )
    names = [f"{i:02}" for i in range(1 + INTEGERS + TOKENS)]
    schema = pa.schema(zip(names, [pa.int64()] * 14 + [pa.string()] * 26, strict=True))
    with pa.csv.CSVWriter(path, schema, write_options=options) as file:
        for columns in _blocks(rows, seed):
            file.write(pa.table(columns, schema=schema))


def _blocks(rows: int, seed: int) -> Iterator[list[pa.Array]]:
    law = LAWS["synthetic"]()
    by_size = np.argsort(law.sizes, kind="stable")  # the 13 smallest fields hold integers
    with ThreadPoolExecutor() as pool:
        tables = make_tables(law, seed, pool)
    for block in tqdm(range(-(-rows // law.block)), f"writing {rows:,} rows", unit="block"):
        count = min(law.block, rows - block * law.block)
        ids, labels, _ = draw_rows(law, tables, seed, block, count)
        random = np.random.default_rng([seed, block])
        columns = [pa.array(labels.astype(np.int64))]
        for i in by_size[:INTEGERS]:
            integers = ids[:, i].astype(np.int64)
            integers += integers * integers // 2 - 2
            columns.append(pa.array(integers, mask=ids[:, i] % 5 == 4))
        for place, i in enumerate(by_size[INTEGERS:]):
            tokens = ids[:, i].astype(np.uint32) * np.uint32(2654435761) + np.uint32(i)
            if place >= TOKENS - LONG_TAILS:
                drawn = random.integers(1 << 32, size=count, dtype=np.uint32)
                tokens = np.where(random.random(count) < TAIL, drawn, tokens)
            columns.append(_hexadecimal(tokens, blank=ids[:, i] % 11 == 10))
        yield columns


def _hexadecimal(tokens: np.ndarray, blank: np.ndarray) -> pa.Array:
    text = HEX[tokens.astype(">u4").view(np.uint8)]
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(8), len(tokens), [None, pa.py_buffer(text.tobytes())]
    )
    return pa.compute.if_else(pa.array(blank), None, fixed.cast(pa.binary()).cast(pa.string()))
