"""What a kind of record must say of itself; nobody else knows what a record is.

On its way through a site a record has two forms. As it was loaded it is one row of a data frame:
the schema's columns, the person's id if there is one, and in columns of its own whatever else the
kind has, such as an array in each cell for an image. Coded it is one row of `Coded.features`, a
NumPy array of N records whose shape and type follow from public values, and one class: what is
frozen at approval, summed by statistics and trained on. Features that are not of one type are
fields of a structured type, so that choosing, padding and freezing rows stays the same for all.

A synthetic record is one row of a data frame of the first form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.common.parts import load_part
from fedloom.common.typed import Section

if TYPE_CHECKING:
    import pandas as pd

    from fedloom.common.artifact import Artifact
    from fedloom.common.sampling.tally import Tally
    from fedloom.common.schema import Schema
    from fedloom.common.scores import EvaluationQueries

__all__ = ["Coded", "Coder", "RecordKind", "RecordSettings", "Sampler", "Statistics"]


class RecordSettings(Section, frozen=True, kw_only=True):
    """The section of a schema that says of what kind its records are, beside their columns."""

    kind: ClassVar[str]
    """Name of the kind, and of the section."""

    def in_words(self) -> list[str]:
        """Says for a steward what else than columns is read of each record, one line each."""
        return []


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """Coded records, and what did not fit; all of it private.

    Attributes:
      features: (N, ...) what models and statistics see of each record beside its class.
      classes: (N,) int64; label class of each record, 0 without a target.
      clamped: by column, how many values were moved into their bounds.
      unknown: by column, how many values were unreadable or not known.
    """

    features: NDArray[Any]
    classes: NDArray[np.int64]
    clamped: dict[str, int]
    unknown: dict[str, int]


class Coder(Protocol):
    """Turns loaded records into coded ones: a function of public values, record by record."""

    @property
    def record_shape(self) -> tuple[int, ...]:
        """Shape of the features of one record."""
        ...

    @property
    def record_type(self) -> str:
        """Type of the features, as NumPy writes it."""
        ...

    def coded(self, private_frame: pd.DataFrame) -> Coded:
        """Codes records; values that do not fit never raise, and no record depends on another.

        Raises:
          DataError: a column is missing.
        """
        ...


class Drawn(Protocol):
    """Synthetic records as a sampler draws them."""

    def frame(self) -> pd.DataFrame:
        """Returns them one a row, in the form in which records are loaded."""
        ...


class Sampler(Protocol):
    """Draws synthetic records; equal seeds give equal records on every machine."""

    def rows(self, count: int, rng: np.random.Generator) -> tuple[Drawn, Tally]:
        """Draws records that meet the conditions, and says what the constraints cost."""
        ...


class Statistics(Protocol):
    """What a coordinator knows of the records once their statistics are opened, noise included."""

    @property
    def site_totals(self) -> Mapping[str, float]:
        """Noisy or declared number of records of sites, at least 1; not every site's is known."""
        ...

    def total(self) -> float:
        """Returns the estimated number of records over all sites, at least 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordKind:
    """What fedloom knows of a kind of record. Parts are named as "module:name".

    Attributes:
      settings: type of the schema's section, with the kind's name.
      only_columns: whether a record is its columns and nothing else.
      default_model: `[model] kind` of a study that names none.
      coder: a `Coder`, from schema and target.
      loader: the records of a source as a data frame, from source, schema and `id_column`.
      check: a site's report on loaded records, from frame, schema, `where` and `id_column`.
      sampler: draws synthetic records, from generator, schema, target and conditions by column;
        see `Sampler`.
      distance: how far samples of a generator are from the noisy statistics, in [0, 1], from
        generator and statistics; the run's curve of quality.
      writers: by a file's ending, what writes drawn records into it, from chunks and path.
      data: the data files of a release; see `fedloom.privacy.release.data_files.DataFiles`.
      figures: the report's sections that compare synthetic records with the noisy statistics, as
        HTML, from frame, statistics and `secure`.
      evaluation: what `evaluate` counts on held-back records, from the coder; a
        `fedloom.common.scores.EvaluationQueries`. None if the kind cannot be evaluated.
      positions: where coded records lie, (N, D), from coder and `Coded`, so that distances say how
        alike they are. None if the kind has no distances.
    """

    settings: type[RecordSettings]
    only_columns: bool
    default_model: str
    coder: str
    loader: str
    check: str
    sampler: str
    distance: str
    writers: Mapping[str, str]
    data: str
    figures: str
    evaluation: str | None = None
    positions: str | None = None

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.settings.kind

    def make_coder(self, schema: Schema, target: str | None) -> Coder:
        """Returns the coder of a schema's records.

        Raises:
          SchemaError: there is no such column, or a column is open.
        """
        coder: Coder = load_part(self.coder)(schema, target)
        return coder

    def make_evaluation(self, coder: Coder) -> EvaluationQueries:
        """Returns what is counted on held-back records; only where `evaluation` is given."""
        assert self.evaluation is not None
        queries: EvaluationQueries = load_part(self.evaluation)(coder)
        return queries

    def positions_of(self, coder: Coder, coded: Coded) -> NDArray[np.float64]:
        """Returns where coded records lie, (N, D); only where `positions` is given."""
        assert self.positions is not None
        found: NDArray[np.float64] = load_part(self.positions)(coder, coded)
        return found

    def load(self, source: Any, schema: Schema, *, id_column: str | None = None) -> pd.DataFrame:
        """Loads a site's records; only at a site.

        Args:
          source: where they are, or the records in memory.
          schema: says what is read.
          id_column: read too, if given: says whose record it is.

        Raises:
          DataError: the source cannot be read; the message is for the steward.
        """
        frame: pd.DataFrame = load_part(self.loader)(source, schema, id_column=id_column)
        return frame

    def make_sampler(
        self,
        artifact: Artifact,
        schema: Schema,
        target: str | None,
        where: Mapping[str, Any] | None = None,
    ) -> Sampler:
        """Returns what draws synthetic records from a generator.

        Args:
          artifact: the generator.
          schema: the schema that it was made with.
          target: the label column, or None.
          where: conditions by column that every record meets.

        Raises:
          ConfigError: a condition cannot be read or met.
        """
        sampler: Sampler = load_part(self.sampler)(artifact, schema, target, where)
        return sampler

    def report(
        self,
        private_frame: pd.DataFrame,
        schema: Schema,
        *,
        where: str = "the table",
        id_column: str | None = None,
    ) -> Any:
        """Holds loaded records against the schema; only at a site, for the steward's eyes.

        Args:
          private_frame: as `load` returned it.
          schema: the public schema.
          where: name of the source, for messages.
          id_column: column of the persons' ids, if there is one.

        Returns:
          A `fedloom.client.data_check.Report`.
        """
        return load_part(self.check)(private_frame, schema, where=where, id_column=id_column)
