"""`[public]`: a table that is public already, used as the prior of a study's fit.

    table    a CSV file with the columns of the schema, or
    release  the folder of an earlier release of the same schema: its synthetic rows are used
    source   where a table is from, and under which licence
    same_records  whether the earlier release is of the very records that the study protects: its
             noisy answers are then combined with the new ones, instead of its rows

A path is relative to the study's file, and again to wherever the plan lies when it is run. The plan
names the file by its SHA-256, so stewards see what takes part. A public table costs nothing, on one
condition that no program can check: it holds none of the records that the study protects, and was
not chosen by looking at them. An earlier release of these records was paid for, and its price and
this study's add up for them.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedloom.common.digest import file_sha256
from fedloom.common.errors import ReleaseError, StudyError
from fedloom.common.strict_json import read_json
from fedloom.common.typed import Line, Section, Sha256

__all__ = ["PublicData", "located"]

_ROWS = "data/synthetic.csv"
_MANIFEST = "manifest.json"
_STATEMENT = "dp_statement.json"


class PublicData(Section, frozen=True, kw_only=True):
    """`[public]`.

    Attributes:
      table: path of a CSV file; of a release, that of its rows once it is located.
      release: path of a release's folder.
      source: provenance and licence, in words.
      sha256: of the file; filled in where the study is read.
      manifest: SHA-256 of the release's manifest; filled in likewise.
      same_records: whether the release is of the records that the study protects.
      epsilon: what the release states that it cost, if it is; filled in likewise.
      delta: likewise.
    """

    table: Line | None = None
    release: Line | None = None
    source: Line | None = None
    sha256: Sha256 | None = None
    manifest: Sha256 | None = None
    same_records: bool = False
    epsilon: float | None = None
    delta: float | None = None


def located(public: PublicData, folder: Path, *, where: str) -> PublicData:
    """Fills in what the files say.

    Args:
      public: as the study has it.
      folder: of the study's file.
      where: name of the study, for messages.

    Raises:
      StudyError: it names no file or two, says no source, or a file cannot be read.
    """
    place = f"{where}: [public]"
    if (public.table is None) == (public.release is None):
        raise StudyError(f"{place} needs one of table and release: a CSV file, or a release")
    if {public.sha256, public.manifest, public.epsilon, public.delta} != {None}:
        raise StudyError(
            f"{place} sha256, manifest, epsilon and delta are filled in by fedloom; remove them"
        )
    if public.release is None:
        if public.same_records:
            raise StudyError(
                f"{place} same_records is for an earlier release, whose noise is known; name it as "
                "release, and never a table of the records themselves"
            )
        if public.source is None:
            raise StudyError(
                f'{place} needs source = "...": where the table is from, and under which licence'
            )
        return msgspec.structs.replace(public, sha256=_digest(folder / str(public.table), place))
    release, manifest = public.release, folder / public.release / _MANIFEST
    try:
        stated = read_json(manifest)
        title = str(stated["title"])
        cost = _cost(folder / release) if public.same_records else (None, None)
    except (ReleaseError, KeyError, TypeError, ValueError) as error:
        raise StudyError(f"{place} release: {manifest} is not a release's manifest") from error
    return msgspec.structs.replace(
        public,
        table=f"{release}/{_ROWS}",
        source=public.source or f"the release {title!r}",
        sha256=_digest(folder / release / _ROWS, place),
        manifest=_digest(manifest, place),
        epsilon=cost[0],
        delta=cost[1],
    )


def _cost(release: Path) -> tuple[float, float]:
    """Returns what a release states that it cost, with what it built on itself."""
    stated = read_json(release / _STATEMENT)
    whole = stated.get("public_data", {}).get("together", stated)
    return float(whole["epsilon"]), float(whole["delta"])


def _digest(path: Path, place: str) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise StudyError(f"{place} names {path}: {reason}; give the path of the file") from error
