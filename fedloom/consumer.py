"""A release for those who use it: rows, codebook, generator and privacy statement, in Python.

    release = fedloom.Release("release")
    release.verify(key="...")            # the publisher's key, from elsewhere
    release.data                         # the rows, typed
    release.marginals                    # the noisy counts, with their standard deviation
    release.sample(1000, where={"visited": "yes"})
    release.impute(table)
    release.infer("visited == yes ~ age + C(sex)")   # with honest intervals
    release.drift("release-of-last-year").drifted

Nothing here costs privacy: whatever is computed from a release is post-processing. A file is read
only if the signed manifest holds its hash, so a file that was changed, added or exchanged raises;
whether the release states its price rightly, and who signed it, is what `verify` tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.digest import file_sha256
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.run_files import RunFiles
from fedloom.common.schema import Schema
from fedloom.common.vocabulary import Stage
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.data_files import data_files
from fedloom.privacy.release.manifest import MANIFEST, read_manifest
from fedloom.privacy.release.marginals import MARGINALS
from fedloom.privacy.release.typed_rows import dtypes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedloom.common.images.completion import Completed
    from fedloom.common.marginals import NoisyMarginals
    from fedloom.privacy.drift.result import Drift
    from fedloom.privacy.inference.result import Inference
    from fedloom.privacy.release.verify import Verification

__all__ = ["Release", "read"]

_GENERATOR = ("generator/config.json", "generator/model.safetensors")


class Release:
    """A signed release.

    Args:
      path: The release's folder.

    Raises:
      ConfigError: the folder holds no release.
      ReleaseError: its manifest is damaged or was changed after signing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / MANIFEST).is_file():
            is_run = RunFiles(self.path).exists()
            remedy = (
                "it is a run; build its release, or open it with fedloom.Run"
                if is_run
                else "give the folder of a release"
            )
            raise ConfigError(f"{self.path} holds no release: no {MANIFEST}; {remedy}")
        self.manifest = read_manifest(self.path)
        self._hashes = {entry.path: entry.sha256 for entry in self.manifest.files}

    def __repr__(self) -> str:
        """Says what it is, how large and at what price."""
        columns = ", ".join(self.schema.names[:6])
        more = len(self.schema.names) - 6
        return (
            f"<fedloom.Release {self.title!r}: {len(self.data):,} rows, "
            f"{len(self.schema.names)} columns ({columns}{f' and {more} more' if more > 0 else ''})"
            f", model {self.plan.model.kind}, epsilon {self.epsilon:.4g} at delta "
            f"{self.delta:g} for one {self.plan.privacy.unit}>"
        )

    @property
    def title(self) -> str:
        """The release's title."""
        return self.manifest.title

    @cached_property
    def plan(self) -> Plan:
        """The plan that the sites signed."""
        return Plan.load(self._checked("plan.json"))

    @property
    def schema(self) -> Schema:
        """The public schema."""
        return self.plan.schema

    @property
    def dtypes(self) -> dict[str, Any]:
        """The type of each column of `data`, by name."""
        return dtypes(self.schema)

    @cached_property
    def data(self) -> pd.DataFrame:
        """The synthetic rows, typed; see `read`."""
        return self.read()

    def read(self, *, format: str = "parquet") -> pd.DataFrame:
        """Reads the synthetic rows anew.

        Args:
          format: Which of the two files is read, "parquet" or "csv"; the result is the same.

        Raises:
          ReleaseError: the file is not the one that was signed.
        """
        files = data_files(self.schema.kind)
        if format in files.formats:
            self._checked(files.formats[format])
        return files.read(self.path, self.schema, format)

    @cached_property
    def marginals(self) -> pd.DataFrame:
        """All noisy one-way counts of the study, as they were measured.

        One row a count: `column`, `kind`, `value`, `lower`, `upper`, `class`, the noisy `count`,
        and `std`, the exact standard deviation of its Gaussian noise. Counts are unbiased and may
        be negative; the codebook says what each column means.
        """
        path = self._checked(MARGINALS)
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise ReleaseError(f"{path} cannot be read: {error}; fetch it again") from None

    @cached_property
    def codebook(self) -> dict[str, Any]:
        """What each column means, and what holds in every row."""
        return self._json("codebook.json")

    @cached_property
    def statement(self) -> dict[str, Any]:
        """The privacy statement."""
        return self._json("dp_statement.json")

    @property
    def epsilon(self) -> float:
        """The stated price for one unit, with what learning the schema cost, at `delta`."""
        return float(self.statement["with_the_schema"]["epsilon"])

    @property
    def delta(self) -> float:
        """The delta of `epsilon`."""
        return float(self.statement["with_the_schema"]["delta"])

    def verify(
        self,
        *,
        key: str | None = None,
        evidence: str | Path | None = None,
        refit: bool = False,
    ) -> Verification:
        """Checks the whole release offline, and raises if anything is not what it claims to be.

        Args:
          key: The publisher's public key, from elsewhere than the release; without it the signer
            is not checked.
          evidence: The folder of the sites' own signed parts; without it they are not checked.
          refit: Fit the generator again from the answers, which takes torch, and evidence if the
            generator was trained.

        Raises:
          ReleaseError: names the check that failed, the file and what to do.
        """
        from fedloom.api import verify

        return verify(self.path, key=key, evidence=evidence, refit=refit)

    def sample(
        self, rows: int, *, where: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> pd.DataFrame:
        """Draws further synthetic rows, typed as `data`; free of charge, however many.

        Args:
          rows: Number of rows.
          where: Conditions by column that every row meets: a value, a pair `(lo, hi)` for a range,
            None for missing, or a list of these.
          seed: Makes the draw repeatable; None draws afresh.

        Raises:
          ConfigError: the condition cannot be met.
        """
        from fedloom.common.sampling import sample

        drawn = sample(self._generator, self.schema, self.plan.target, rows, where=where, seed=seed)
        return data_files(self.schema.kind).typed(drawn, self.schema)

    def impute(self, table: pd.DataFrame, *, seed: int | None = None) -> pd.DataFrame:
        """Fills the missing values of a table, each drawn given what its own record holds.

        The result is as private as the table, which stays where it is.

        Args:
          table: With the schema's columns; further ones pass through.
          seed: Makes the draw repeatable; None draws afresh.

        Raises:
          DataError: the table lacks a column.
        """
        from fedloom.common.sampling import impute

        found = impute(self._generator, self.schema, self.plan.target, table, seed=seed)
        return found.apply(table)

    def complete(
        self,
        images: NDArray[Any],
        *,
        known: NDArray[Any] | None = None,
        labels: Sequence[str | None] | None = None,
        seed: int | None = None,
    ) -> Completed:
        """Completes images seen in part or coarsely, from the generator; free of charge.

        The result is as private as the images, which stay where they are. Arguments and errors
        are those of `fedloom.common.images.completion.Completion.complete`.
        """
        from fedloom.common.images.completion import Completion

        made = Completion(self._generator, self.schema, self.plan.target)
        return made.complete(images, known=known, labels=labels, seed=seed)

    def infer(
        self,
        formula: str | None = None,
        *,
        family: str | None = None,
        mean: str | None = None,
        share: str | None = None,
        quantile: str | None = None,
        table: str | Sequence[str] = (),
        by: str | None = None,
        differences: bool = False,
        at: float = 0.5,
    ) -> Inference:
        """Returns estimates whose 95% intervals count sampling and privacy noise; free of charge.

        They come from the noisy answers that the study bought, not from the synthetic rows. Ask one
        thing: a formula, or one of `mean`, `share`, `quantile` and `table`.

        Args:
          formula: Of a regression, such as "visited == yes ~ age + C(sex)"; see
            `fedloom.privacy.inference.formula`.
          family: "linear", "logistic" or "poisson"; by default logistic for a response of two
            values, else linear.
          mean: Column, or summand of a formula such as "log(income)", whose mean is wanted.
          share: Column whose values' shares are wanted, or "column == value".
          quantile: Column of numbers whose quantile is wanted.
          table: One column or two whose numbers of records are wanted.
          by: Groups for a mean, share or quantile: a column, or "cut(age, 30, 50)".
          differences: Differences of means or shares to those of the first group.
          at: Share of records below the quantile.

        Raises:
          ConfigError: the question cannot be read, or names what does not exist.
          NotMeasuredError: the study did not buy what is needed, or noise hides it.
        """
        from fedloom.privacy.inference.ask import Question, ask

        question = Question(
            formula=formula,
            family=family,
            mean=mean,
            share=share,
            quantile=quantile,
            table=(table,) if isinstance(table, str) else tuple(table),
            by=by,
            differences=differences,
            at=at,
        )
        return ask(
            question,
            plan=self.plan,
            statistics=self._statistics,
            generator=self._generator,
            epsilon=self.epsilon,
        )

    def drift(self, old: str | Path | Release) -> Drift:
        """Tells which columns have moved away from an earlier release; free of charge.

        Only the first noisy counts of both are read, so the noise in them is known exactly. Another
        schema will do: columns that both have, with the same values, are compared.

        Args:
          old: The earlier release, or its folder.

        Raises:
          ConfigError: the folder holds no release, or one of them is not of tables.
        """
        from fedloom.privacy.drift.result import drift_between

        earlier = old if isinstance(old, Release) else Release(old)
        alike = [
            one.plan.privacy.rows_per_person * one.plan.privacy.overlap for one in (self, earlier)
        ]
        return drift_between(self._statistics, earlier._statistics, alike=(alike[0], alike[1]))

    @cached_property
    def _statistics(self) -> NoisyMarginals:
        from fedloom.privacy.answers.opened import OpenedRound, answer_path
        from fedloom.privacy.answers.opened_marginals import noisy_statistics

        if not isinstance(self.plan.coder, Encoding):
            raise ConfigError(
                f"{self.path} holds no table; this is told by the noisy counts of tables alone"
            )
        rounds = [
            OpenedRound.load(self._checked(answer_path(asked.round)))
            for asked in self.plan.rounds
            if asked.phase.stage is Stage.STATISTICS
        ]
        return noisy_statistics(self.plan, rounds)

    @cached_property
    def _generator(self) -> Artifact:
        for name in _GENERATOR:
            self._checked(name)
        return Artifact.load(self.path / "generator")

    def _json(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self._checked(name).read_bytes()))

    def _checked(self, name: str) -> Path:
        """Returns a file's path, if the file is the one that was signed."""
        path = self.path / name
        if name not in self._hashes or not path.is_file():
            raise ReleaseError(f"{self.path} lacks {name}; fetch the release again")
        if file_sha256(path) != self._hashes[name]:
            raise ReleaseError(
                f"{path} was changed after signing; fetch the release again from its publisher"
            )
        return path


def read(release: str | Path, *, format: str = "parquet") -> pd.DataFrame:
    """Reads the synthetic rows of a release as a typed table.

    Integers are `Int64`, reals `float64`, categories `category` with all of the schema's
    categories in its order, times `datetime64[s]`; missing values are missing.

    Args:
      release: The release's folder.
      format: Which of the two files is read, "parquet" or "csv"; the result is the same.

    Raises:
      ConfigError: the folder holds no release.
      ReleaseError: the file is not the one that was signed.
    """
    return Release(release).read(format=format)
