"""Fills the missing values of a given table from a published generator.

For each record the generator is conditioned on what the record holds: components of the mixture
are weighed by the probability of the observed cells, one is drawn, and from it the missing
columns. That is exact for a mixture; of `vae` and `gan` several thousand latents of each class
stand for all of them (importance sampling). Nothing is said about why a value is missing: the
draw assumes that it is missing at random, given the rest of the record. Sets are not filled in; how
many items a record has is part of what it holds.

The generator is public and the table stays with its owner, so nothing is charged; but what comes
out holds the owner's records and is exactly as private as they are.

Source: multiple imputation by draws from a joint model, Rubin 1987.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.cells import read_categories, read_numbers
from fedloom.common.decoding import draw_values, typed_column
from fedloom.common.encoding import Block, Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.coders import encoding_of
from fedloom.common.models.mixture import Mixture
from fedloom.common.sampling.posterior import Posterior
from fedloom.common.sampling.repair import Repair
from fedloom.common.sampling.rows import Rows
from fedloom.common.sampling.seeds import default_threads, seed_sequence
from fedloom.common.sampling.sources import as_mixture
from fedloom.common.schema import Schema

__all__ = ["Imputation", "impute"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_CHUNK_ROWS = 1024
_ROUNDS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Imputation:
    """What stands for the missing values of a table. As private as the table.

    Attributes:
      values: By column, the values that fill its gaps, indexed by the record's position.
      unused: By column, how many observed values the schema does not know; they were passed over.
      left: How many gaps were left because no value would keep the schema's constraints.
    """

    values: dict[str, pd.Series]
    unused: dict[str, int]
    left: int

    def apply(self, private_frame: pd.DataFrame) -> pd.DataFrame:
        """Returns a table with its gaps filled; columns that had none are the very same.

        A column of texts is filled with texts, whatever its kind in the schema.
        """
        filled = private_frame.copy(deep=False)
        for name, values in self.values.items():
            if len(values):
                filled[name] = _filled(private_frame[name], values)
        return filled


def _filled(column: pd.Series, values: pd.Series) -> pd.Series:
    cells = column.astype(object).to_numpy(copy=True)
    present = cells[~pd.isna(cells)]
    drawn = values.astype(object).to_numpy()
    if len(present) and all(isinstance(cell, str) for cell in present):
        drawn = np.array([_text(value) for value in drawn], dtype=object)
    cells[values.index.to_numpy()] = drawn
    return pd.Series(cells, index=column.index).infer_objects()


def _text(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return str(value.date()) if value == value.normalize() else f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def impute(
    artifact: Artifact,
    schema: Schema,
    target: str | None,
    private_frame: pd.DataFrame,
    *,
    columns: Collection[str] | None = None,
    seed: int | None = None,
) -> Imputation:
    """Draws the missing values of a table, each record given what it holds.

    Args:
      artifact: The generator.
      schema: The public schema that it was made with.
      target: The study's label column, or None.
      private_frame: A table with the schema's columns; others are passed over.
      columns: Which columns are filled; None fills all.
      seed: Makes the draw repeatable; None draws afresh.

    Raises:
      ConfigError: a column to fill is not in the schema, or is a set, or the generator is of
        another schema.
      DataError: the table lacks a column of the schema.
    """
    for name in columns or ():
        if name not in schema.names:
            raise ConfigError(f"no column '{name}' in the schema; it has {', '.join(schema.names)}")
        if schema.column(name).kind == "set":
            raise ConfigError(f"column '{name}' is a set, and sets are not filled in; leave it out")
    encoding = encoding_of(artifact.kind, schema, target)
    fillable = [column.name for column in schema.columns if column.kind != "set"]
    wanted = set(fillable if columns is None else columns)
    table = _Table.read(encoding, private_frame)
    gaps = table.missing & np.array([name in wanted for name in schema.names])
    rng = np.random.default_rng(seed_sequence(seed))
    mixture = as_mixture(artifact, encoding)
    chosen = np.flatnonzero(gaps.any(axis=1))
    rows, filled = _fill(mixture, table.rows.take(chosen), table.known[chosen], gaps[chosen], rng)
    values = {}
    for index, column in enumerate(schema.columns):
        places = np.flatnonzero(filled[:, index])
        if len(places) or gaps[:, index].any():
            part = rows.take(places)
            series = typed_column(
                column, encoding.blocks[index], part.codes[:, index], part.values[index]
            )
            values[column.name] = series.set_axis(pd.Index(chosen[places]))
    left = int(gaps.sum() - filled.sum())
    return Imputation(values=values, unused=table.unused, left=left)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table as cells and numbers: where it is missing, and which cells are known."""

    rows: Rows
    missing: Mask
    known: Mask
    unused: dict[str, int]

    @classmethod
    def read(cls, encoding: Encoding, private_frame: pd.DataFrame) -> _Table:
        encoded = encoding.encode(private_frame)
        codes = encoded.codes
        missing = np.zeros(codes.shape, dtype=bool)
        known = np.zeros(codes.shape, dtype=bool)
        unused: dict[str, int] = {}
        values: list[Array | None] = []
        for index, (column, block) in enumerate(
            zip(encoding.schema.columns, encoding.blocks, strict=True)
        ):
            raw = private_frame[column.name]
            if column.kind == "set":
                known[:, index] = True
                unused[column.name] = encoded.unknown[column.name]
                values.append(codes[:, index].astype(np.float64))
                continue
            category = encoding.grids[index] is None
            cells = (read_categories if category else read_numbers)(column, raw)
            missing[:, index] = cells.missing
            known[:, index] = ~cells.missing & np.array(block.sampleable)[codes[:, index]]
            unused[column.name] = int((~cells.missing & ~known[:, index]).sum())
            values.append(None if category else cells.values.astype(np.float64))
        return cls(Rows(encoding, codes, values, {}), missing, known, unused)


def _fill(
    mixture: Mixture, rows: Rows, known: Mask, gaps: Mask, rng: np.random.Generator
) -> tuple[Rows, Mask]:
    """Fills the gaps (N, columns) of records; returns them, and which gaps are filled."""
    encoding = mixture.encoding
    posterior = Posterior(mixture, _fillable(encoding))
    _draw(posterior, rows, known, gaps, np.arange(len(rows)), rng)
    if not encoding.schema.constraints or not len(rows):
        return rows, gaps
    bad = np.flatnonzero(rows.broken())
    for _ in range(_ROUNDS):
        if not len(bad):
            return rows, gaps
        _draw(posterior, rows, known, gaps, bad, rng)
        bad = bad[rows.take(bad).broken()]
    mended = rows.take(bad)
    Repair(encoding, mixture, {})(mended, rng, fixed=~gaps[bad])
    rows.put(bad, mended, np.arange(len(bad)))
    return rows, _without_contradictions(rows, bad[mended.broken()], gaps)


def _without_contradictions(rows: Rows, bad: Array, gaps: Mask) -> Mask:
    """Opens again the gaps that take part in a constraint that cannot be kept."""
    filled = gaps.copy()
    schema = rows.encoding.schema
    for constraint in schema.constraints:
        broken = bad[rows.take(bad).broken([constraint])]
        for name in constraint.columns:
            filled[broken, schema.names.index(name)] = False
    return filled


def _draw(
    posterior: Posterior,
    rows: Rows,
    known: Mask,
    gaps: Mask,
    chosen: Array,
    rng: np.random.Generator,
) -> None:
    """Draws the gaps of the chosen records, in place.

    Chunks have a source of randomness each, so threads change nothing but the time.
    """
    encoding = rows.encoding
    order = chosen[np.argsort(encoding.classes(rows.codes[chosen]), kind="stable")]
    parts = [order[start : start + _CHUNK_ROWS] for start in range(0, len(order), _CHUNK_ROWS)]

    def fill(part: Array, own: np.random.Generator) -> None:
        codes = posterior.draw(rows.codes[part], known[part], gaps[part], own)
        rows.codes[part] = codes
        for index, grid in enumerate(encoding.grids):
            values, open_ = rows.values[index], gaps[part, index]
            if grid is not None and values is not None and open_.any():
                values[part[open_]] = draw_values(grid, codes[open_, index], own)

    with ThreadPoolExecutor(default_threads()) as pool:
        list(pool.map(fill, parts, rng.spawn(len(parts))))


def _fillable(encoding: Encoding) -> Mapping[str, Array]:
    """Returns which cells of each column may fill a gap, as shares (size,)."""
    return {
        column.name: _shares(block, missing=block.size - 2 if column.nullable else None)
        for column, block in zip(encoding.schema.columns, encoding.blocks, strict=True)
    }


def _shares(block: Block, *, missing: int | None) -> Array:
    shares = np.array(block.sampleable, dtype=np.float64)
    if missing is not None:
        shares[missing] = 0.0
    return shares
