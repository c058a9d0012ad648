"""`fedloom impute`: fills the missing values of a table from a run's or release's generator."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.csv_cells import CsvCells
from fedloom.cli.generator_folder import load_generator
from fedloom.cli.source_options import source_options
from fedloom.cli.table_file import not_written
from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from fedloom.client.sources import Source
    from fedloom.common.sampling import Imputation
    from fedloom.common.schema import Schema

__all__ = ["impute"]

_TEXT = (".csv", ".tsv", ".tab", ".txt")
_PARQUET = (".parquet", ".pq")


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("table", metavar="TABLE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The filled table, in the format of TABLE.",
)
@click.option("--column", multiple=True, help="Fill this column alone; repeat for more.")
@click.option("--seed", type=click.IntRange(min=0), help="Makes the draw repeatable.")
@source_options
def impute(
    source: Path,
    table: Path,
    out: Path,
    column: tuple[str, ...],
    seed: int | None,
    dialect: dict[str, Any],
) -> None:
    """Fill the missing values of TABLE (text or Parquet) from SOURCE, a run or a release.

    Each is drawn from the generator given what its record holds; draw several times with
    different seeds to see how sure that is. Only missing cells change, everything else stays
    byte for byte.

    What comes out holds the records of TABLE. If TABLE is private, so is the result: it stays with
    the owner of TABLE. Nothing is charged, since the generator is public and TABLE never leaves.
    """
    from fedloom.client.sources import Source, load_table
    from fedloom.common.sampling import impute as fill

    suffix = table.suffix.lower()
    if suffix not in (*_TEXT, *_PARQUET) or out.suffix.lower() != suffix:
        raise ConfigError(
            f"{table} to {out}: tables are {', '.join((*_TEXT, *_PARQUET))} (unpacked), and the "
            "filled one has the ending of the given one"
        )
    artifact, plan = load_generator(source)
    given = Source(path=table, **dialect)
    private_frame = load_table(given, plan.schema)
    found = fill(
        artifact, plan.schema, plan.target, private_frame, columns=column or None, seed=seed
    )
    if suffix in _TEXT:
        filled = _filled_text(given, plan.schema, found, len(private_frame))
    else:
        filled = _filled_parquet(table, found)
    try:
        write_whole(out, filled, private=True)
    except OSError as error:
        raise not_written(out, error) from error
    _tell(found, len(private_frame), out)


def _tell(found: Imputation, rows: int, out: Path) -> None:
    width = max((len(name) for name in found.values), default=0)
    for name, values in found.values.items():
        click.echo(f"{name:{width}}  {len(values):,} filled", err=True)
    for name, count in found.unused.items():
        if count:
            text = f"{count:,} values that the schema does not know were passed over"
            click.echo(f"{name}: {text}", err=True)
    if found.left:
        text = "values stay missing: none would keep the schema's constraints"
        click.echo(f"{found.left:,} {text}", err=True)
    total = sum(len(values) for values in found.values.values())
    click.echo(f"{total:,} missing values of {rows:,} records filled in {out}", err=True)
    click.echo(
        "The result is as private as the table and stays with its owner; no privacy was spent.",
        err=True,
    )


def _filled_text(given: Source, schema: Schema, found: Imputation, rows: int) -> bytes:
    from fedloom.client.sources.dialect import text_writer

    cells = CsvCells(given)
    if cells.num_rows != rows:
        raise ConfigError(
            f"{given.where}: {rows} records were read, but {cells.num_rows} lines hold some; quote "
            "cells that hold line ends"
        )
    texts: dict[int, dict[int, str]] = defaultdict(dict)
    for name, values in found.values.items():
        place = cells.names.index(name)
        write = text_writer(schema.column(name), given)
        for row, value in values.items():
            texts[row][place] = write(value)
    return cells.replaced(texts)


def _filled_parquet(table: Path, found: Imputation) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pq.ParquetFile(table).read()
    for name, values in found.values.items():
        if not len(values):
            continue
        place = whole.schema.get_field_index(name)
        field = whole.schema.field(place)
        try:
            column = _replaced(whole.column(place), values)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ConfigError(
                f"{table}: column '{name}' is of type {field.type}, which its drawn values are "
                "not; store it in the type of the schema's kind"
            ) from None
        whole = whole.set_column(place, field.with_nullable(True), column)
    sink = pa.BufferOutputStream()
    pq.write_table(whole, sink)
    return bytes(sink.getvalue())


def _replaced(column: pa.ChunkedArray, values: pd.Series) -> pa.Array:
    """Returns a column with some values replaced; the others are not touched."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    plain = column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column
    mask = np.zeros(len(column), dtype=bool)
    mask[values.index.to_numpy()] = True
    drawn = pa.Array.from_pandas(values.reset_index(drop=True)).cast(plain.type)
    replaced = pc.replace_with_mask(plain.combine_chunks(), mask, drawn)
    return replaced.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else replaced
