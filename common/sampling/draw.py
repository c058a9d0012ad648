"""Synthetic records from a published generator: free of charge, however many.

Conditions on any columns are met exactly, and the schema's constraints are kept in every record.
Records are drawn in units of a fixed size, each with its own seed, so the same seed gives the
same records whatever the number of threads, and memory does not grow with the number of records
where the caller consumes them chunk by chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.coders import encoding_of
from fedloom.common.models.mixture import Mixture
from fedloom.common.sampling.combined import ConditionedMixture
from fedloom.common.sampling.conditions import conditions_of, item_conditions
from fedloom.common.sampling.enforce import Enforcer
from fedloom.common.sampling.items import ItemFiller
from fedloom.common.sampling.rows import Rows
from fedloom.common.sampling.seeds import default_threads, seed_sequence
from fedloom.common.sampling.sources import source_of
from fedloom.common.sampling.tally import Tally
from fedloom.common.schema import Schema

__all__ = ["UNIT_ROWS", "Sampler", "sample", "sample_chunks", "sample_codes"]

Array = npt.NDArray[Any]

UNIT_ROWS = 1 << 16


class Sampler:
    """Draws records from a generator, under conditions and the schema's constraints."""

    def __init__(
        self,
        artifact: Artifact,
        schema: Schema,
        target: str | None,
        where: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes the generator, its schema and label, and conditions by column.

        Raises:
          ConfigError: a condition cannot be read or met.
        """
        self.encoding = encoding_of(artifact.kind, schema, target)
        self._allowed = conditions_of(where, self.encoding)
        shares = {name: allowed.shares for name, allowed in self._allowed.items()}
        self._of_items = item_conditions(where, self.encoding)
        shares |= self._of_items
        self._source = source_of(artifact, self.encoding, shares)
        self._filler = ItemFiller(self.encoding, artifact.arrays)
        self._exact = ConditionedMixture.of(self._source, self._allowed)
        self._enforcer = Enforcer(
            self.encoding, self._source, self._allowed, self._drawn, self._sketched
        )

    def rows(self, count: int, rng: np.random.Generator) -> tuple[Rows, Tally]:
        """Draws records that meet the conditions and keep the constraints."""
        return self._enforcer.kept(count, rng)

    def _drawn(self, count: int, rng: np.random.Generator) -> Rows:
        if self._exact is not None:
            return self._finished(*self._exact.draw(count, rng), rng)
        return self._finished(*self._source.draw(count, rng), {}, rng)

    def _sketched(self, count: int, rng: np.random.Generator) -> Rows | None:
        if self._sketch is None:
            return None
        codes, classes, numbers = self._sketch.draw(count, rng)
        return self._finished(self._filler.fill(codes, classes, rng), classes, numbers, rng)

    @cached_property
    def _sketch(self) -> ConditionedMixture | None:
        """What stands for a neural generator given the fixed combinations; or None."""
        # A mixture of rows would not keep what is asked of items.
        if isinstance(self._source, Mixture) or self._of_items:
            return None
        return ConditionedMixture.of(self._source.mixture(), self._allowed)

    def _finished(
        self,
        feature_codes: Array,
        classes: Array,
        numbers: Mapping[str, Array],
        rng: np.random.Generator,
    ) -> Rows:
        codes = self.encoding.column_codes(feature_codes, classes, rng)
        items = self.encoding.items_of(feature_codes)
        rows = Rows.drawn(self.encoding, codes, items, self._allowed, rng)
        rows.set_numbers(numbers)
        return rows


def sample(
    artifact: Artifact,
    schema: Schema,
    target: str | None,
    num_rows: int,
    *,
    where: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Draws synthetic records in the types and the column order of the schema.

    Args:
      artifact: The generator.
      schema: The public schema that it was made with.
      target: The study's label column, or None.
      num_rows: How many records, 0 or more.
      where: Conditions by column, all of which every record meets, such as
        `{"age": (40, 60), "sex": "1", "region": None}`; see `fedloom.common.sampling.conditions`.
      seed: Makes the draw repeatable; None draws afresh.

    Raises:
      ConfigError: `num_rows` or `seed` is negative, or a condition cannot be read or met.
    """
    chunks = list(sample_chunks(artifact, schema, target, num_rows, where=where, seed=seed))
    return pd.concat(chunks, ignore_index=True)


def sample_chunks(
    artifact: Artifact,
    schema: Schema,
    target: str | None,
    num_rows: int,
    *,
    where: Mapping[str, Any] | None = None,
    seed: int | None = None,
    threads: int | None = None,
    tally: Tally | None = None,
) -> Iterator[pd.DataFrame]:
    """Draws the records of `sample` in chunks of at most `UNIT_ROWS`, at least one chunk.

    Args:
      artifact: As for `sample`, like all arguments up to `seed`.
      schema: The public schema.
      target: The label column, or None.
      num_rows: How many records.
      where: Conditions by column.
      seed: Makes the draw repeatable.
      threads: How many units are drawn at a time; None takes all cores, up to 8. Records do not
        depend on it, memory does.
      tally: Is told what the constraints have cost.
    """
    if num_rows < 0:
        raise ConfigError(f"the number of rows must be 0 or more, got {num_rows}")
    sampler = schema.kind.make_sampler(artifact, schema, target, where)
    root = seed_sequence(seed)

    def unit(number: int, rows: int) -> tuple[pd.DataFrame, Tally]:
        own = np.random.SeedSequence(root.entropy, spawn_key=(number,))
        # An empty table is cut from one record, so that its columns have their types.
        found, cost = sampler.rows(max(rows, 1), np.random.default_rng(own))
        return found.frame().iloc[:rows], cost

    starts = range(0, max(num_rows, 1), UNIT_ROWS)
    work = [(number, min(UNIT_ROWS, num_rows - start)) for number, start in enumerate(starts)]
    for frame, cost in _in_order(unit, work, threads or default_threads()):
        if tally is not None:
            tally.add(cost)
        yield frame


def sample_codes(
    artifact: Artifact, encoding: Encoding, num_rows: int, *, seed: int
) -> tuple[Array, Array]:
    """Draws coded records (N, m + item_places) and classes (N,), as the generator has them.

    Constraints of the schema are not looked at.
    """
    return source_of(artifact, encoding).draw(num_rows, np.random.default_rng(seed))


def _in_order(
    unit: Any, work: list[tuple[int, int]], threads: int
) -> Iterator[tuple[pd.DataFrame, Tally]]:
    """Yields results in order; at most one unit more than `threads` is begun and not taken."""
    if threads == 1 or len(work) == 1:
        for arguments in work:
            yield unit(*arguments)
        return
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[tuple[pd.DataFrame, Tally]]] = deque()
        try:
            for arguments in work:
                begun.append(pool.submit(unit, *arguments))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
