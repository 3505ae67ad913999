"""Makes src/embedding_collapse/data/us_flights.parquet from an npm package.

    npm pack vega-datasets@3.2.1
    python benchmarks/us_flights.py vega-datasets-3.2.1.tgz us_flights.parquet

The package's flights-3m.parquet is checked by its SHA-256. What is kept, and in which order, is
said in us_flights.md beside the file. The bytes depend on the versions of pyarrow and zstd (the
file in the repository was written by pyarrow 26.0.1), so what is compared with it is the table.
"""

import argparse
import hashlib
import io
import tarfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MEMBER = "package/data/flights-3m.parquet"
SHA256 = "dbeb920c90f59b6ccaff823dcc3d08f25a97fa1ce128d93f40be4e931f5900b0"
ROWS = 3_000_000
LATE = 15  # minutes after schedule beyond which an arrival is late
ORDER = ["origin", "destination", "minute", "date", "late"]  # the one that compresses best


def kept(package: str) -> pa.Table:
    """What the repository keeps of the npm package's file."""
    with tarfile.open(package) as archive:
        source = archive.extractfile(MEMBER).read()
    digest = hashlib.sha256(source).hexdigest()
    if digest != SHA256:
        raise ValueError(f"the SHA-256 of {MEMBER} in {package} is {digest}, not {SHA256}")
    flights = pd.read_parquet(io.BytesIO(source))
    routes = flights.groupby(["origin", "destination"])["distance"]
    if routes.nunique().max() > 1:
        raise ValueError("a route has two distances")
    when = flights["date"].dt
    flights["minute"] = (when.hour * 60 + when.minute).astype("int16")
    flights["late"] = flights["delay"] > LATE
    flights["date"] = when.date
    flights["distance"] = flights["distance"].astype("int16")
    flights = flights.sort_values(ORDER)
    columns = ["origin", "destination", "distance", "date", "minute", "late"]
    return pa.Table.from_pandas(flights[columns], preserve_index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", help="vega-datasets-3.2.1.tgz")
    parser.add_argument("file", help="the Parquet file to write, or to compare with")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    table = kept(args.package)
    if args.check:
        same = pq.read_table(args.file).cast(table.schema).equals(table)
        print(f"{args.file} {'holds' if same else 'does not hold'} what the package's file gives")
        raise SystemExit(not same)
    pq.write_table(
        table,
        args.file,
        compression="zstd",
        compression_level=22,
        row_group_size=ROWS,
        data_page_size=1 << 24,
        use_dictionary=["origin", "destination"],
        column_encoding={"date": "DELTA_BINARY_PACKED", "minute": "DELTA_BINARY_PACKED"},
        write_statistics=False,
        store_schema=False,
    )


if __name__ == "__main__":
    main()
