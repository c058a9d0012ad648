"""fedloom from Python: the same work as the command line, for notebooks.

    south = fedloom.Source(path="south.csv", separator=";", decimal=",")
    run = fedloom.simulate("study.toml", {"north": "north.csv", "south": south, "west": frame})
    run.sample(1000, where={"visited": "yes"})
    run.release("release")
    fedloom.verify("release")

The shipped example, with three of its columns and the model that takes a second:

>>> import tempfile, tomllib
>>> from pathlib import Path
>>> import fedloom
>>> from fedloom.common.resources import resource_path
>>> from fedloom.common.schema import Schema
>>> from fedloom.common.study import parse_study
>>> example = resource_path("examples/rand")
>>> whole = Schema.load(example / "schema.toml")
>>> schema = Schema(tuple(whole.column(name) for name in ("age", "sex", "visited")))
>>> study = parse_study(tomllib.loads((example / "study-mixture.toml").read_text()), schema)
>>> folder = Path(tempfile.mkdtemp())
>>> tables = {site.name: example / f"{site.name}.csv.gz" for site in study.sites}
>>> run = fedloom.simulate(study, tables, schema=schema, out=folder / "run")
>>> run.epsilon <= 3.0
True
>>> run.sample(1000, where={"visited": "yes"})["visited"].unique().tolist()
['yes']
>>> fedloom.verify(run.release(folder / "release")).ok
True

Errors are those of `fedloom.common.errors`; the command line's exit code is their `exit_code`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from fedloom.common.schema import Schema
from fedloom.common.study import Study
from fedloom.privacy.plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedloom.client.sources import Source
    from fedloom.common.images.completion import Completed
    from fedloom.privacy.release.verify import Verification

__all__ = ["Run", "simulate", "verify"]


class Run:
    """A finished run: what it cost, samples, a release.

    Args:
      path: the run's folder.
    """

    def __init__(self, path: str | Path) -> None:
        from fedloom.server.run_folder import RunFolder

        self._folder = RunFolder.open(Path(path))

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._folder.path

    @property
    def plan(self) -> Plan:
        """The plan that was carried out."""
        return self._folder.plan()

    @property
    def epsilon(self) -> float:
        """What the plan costs one unit at one site, by PLD, at the study's delta.

        All runs together that the stewards approved or that were answered; usually that is one.
        """
        return self.plan.price(self._folder.priced_runs()).epsilon

    @property
    def metrics(self) -> pd.DataFrame:
        """One row a round: post-processing of noised answers."""
        return pd.DataFrame(self._folder.metrics())

    def sample(
        self, rows: int, *, where: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> pd.DataFrame:
        """Draws synthetic records; free of charge, however many.

        Args:
          rows: number of records.
          where: conditions by column that every record meets: a value, a pair `(lo, hi)` for a
            range, None for missing, or a list of these, such as
            `{"visited": "yes", "age": (40, 60)}`.
          seed: makes the draw repeatable; None draws afresh.

        Returns:
          A table with the schema's columns, types and order.

        Raises:
          ConfigError: the run has no generator yet, or the condition cannot be met.
        """
        from fedloom.common.sampling import sample

        plan = self.plan
        return sample(
            self._folder.generator(), plan.schema, plan.target, rows, where=where, seed=seed
        )

    def impute(self, table: pd.DataFrame, *, seed: int | None = None) -> pd.DataFrame:
        """Fills the missing values of a table, each drawn given what its own record holds.

        The result is as private as the table; nothing is charged, for the generator is public
        and the table stays where it is.

        Args:
          table: with the schema's columns; further ones pass through.
          seed: makes the draw repeatable; None draws afresh.

        Raises:
          ConfigError: the run has no generator yet.
          DataError: the table lacks a column.
        """
        from fedloom.common.sampling import impute

        plan = self.plan
        filled = impute(self._folder.generator(), plan.schema, plan.target, table, seed=seed)
        return filled.apply(table)

    def complete(
        self,
        images: NDArray[Any],
        *,
        known: NDArray[Any] | None = None,
        labels: Sequence[str | None] | None = None,
        seed: int | None = None,
    ) -> Completed:
        """Completes images seen in part or coarsely, from the generator; free of charge.

        The result is as private as the images. Arguments and errors are those of
        `fedloom.common.images.completion.Completion.complete`.
        """
        from fedloom.common.images.completion import Completion

        plan = self.plan
        made = Completion(self._folder.generator(), plan.schema, plan.target)
        return made.complete(images, known=known, labels=labels, seed=seed)

    def release(self, out: str | Path, *, evidence: str | Path | None = None) -> Path:
        """Builds the signed release of this run in the folder `out` and returns its path.

        Args:
          out: the folder to make.
          evidence: another folder to make, for each site's own signed part of every round, with
            which anyone checks that the published sums are those of the sites.

        Raises:
          ConfigError: the run is not done, or a folder exists.
        """
        from fedloom.privacy.release import build_release

        parts = None if evidence is None else Path(evidence)
        return build_release(self.path, Path(out), evidence=parts)


def simulate(
    study: str | Path | Study,
    sites: Mapping[str, str | Path | Source | pd.DataFrame],
    *,
    schema: Schema | None = None,
    out: str | Path | None = None,
    homes: Mapping[str, str | Path] | None = None,
    limit: float | None = None,
    resume: bool = False,
    device: str = "cpu",
    clamp: bool = False,
    clamp_columns: Collection[str] = (),
    coordinator_key: str | Path | None = None,
    insecure_seed: int | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Run:
    """Runs a study on this machine, in one process, with the real vaults and ledgers.

    Every site gets a home of its own that this function makes and approves in; such a ledger is
    a rehearsal and says so. A home that was made otherwise must hold its steward's approval.

    Guarantee: what `out` holds beside `sites/` is (epsilon, delta)-DP for the study's unit, under
    adding or removing one unit, provided that the homes stay private.

    Args:
      study: path of a `study.toml`, or of a `plan.json`, which is rehearsed with the same noise
        and keys of its own; or a study (then with `schema`).
      sites: private records by site: a table, the path of a CSV, Excel or Parquet file, or a
        `fedloom.Source`, which also says how the file is written.
      schema: the study's schema; only with a study that is not a path.
      out: the run's folder; by default a new one in the system's folder for temporary files.
      homes: homes that live on beyond this run, by site.
      limit: lifetime epsilon of the homes that are made; by default the study's epsilon.
      resume: go on with the run in `out`.
      device: where torch computes: "cpu", "cuda", "cuda:1" or "auto".
      clamp: accept the odd value outside the schema: numbers are clamped to the bounds, unknown
        categories and unreadable values are set aside as "other".
      clamp_columns: accept these columns though more of their values are outside the schema.
      coordinator_key: the file of the key that signs requests and the release, as `fedloom
        coordinator keygen` makes it; by default the run makes its own. Needed where the study
        names one.
      insecure_seed: makes noise repeatable for tests; voids privacy and is stamped into ledgers.
      on_event: told of progress.

    Returns:
      The finished run.

    Raises:
      ConfigError: study, schema or records cannot be used.
      RefusedError: a ledger or policy refuses.
      IncompleteError: the run stopped before its end and can be resumed.
    """
    from fedloom.simulation import SimulatedStudy, load_simulated, prepare, run_prepared

    if isinstance(study, Study):
        if schema is None:
            raise TypeError("a study that is not a path needs its schema")
        simulated = SimulatedStudy(study=study, schema=schema)
    else:
        simulated = load_simulated(Path(study))
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="fedloom-run-"))
    prepared = prepare(
        simulated.study,
        simulated.schema,
        sites,
        out=folder,
        homes={name: Path(path) for name, path in (homes or {}).items()},
        rehearsed=simulated.plan,
        where=study if isinstance(study, str | Path) else "study",
        limit=limit,
        resume=resume,
        clamp=clamp,
        clamp_columns=clamp_columns,
        coordinator_key=None if coordinator_key is None else Path(coordinator_key),
        insecure_seed=insecure_seed,
    )
    run_prepared(prepared, device=device, insecure_seed=insecure_seed, on_event=on_event)
    return Run(folder)


def verify(
    release: str | Path,
    *,
    key: str | None = None,
    evidence: str | Path | None = None,
    refit: bool = False,
) -> Verification:
    """Checks a release offline: hashes, signatures, ledger extracts, and epsilon from events.

    Args:
      release: the release's folder.
      key: the publisher's public key; without it the signer is not checked.
      evidence: the folder of the sites' own signed parts; without it they are not checked.
      refit: fit the generator again from the answers, which takes torch, and evidence if the
        generator was trained.

    Raises:
      ReleaseError: something is not what it claims to be.
    """
    from fedloom.privacy.release.verify import verify_release

    parts = None if evidence is None else Path(evidence)
    if not refit:
        return verify_release(Path(release), key, evidence=parts)
    from fedloom.server.refit import refit as fits

    return verify_release(Path(release), key, evidence=parts, refit=fits)
