"""The frozen records of one approved plan, coded.

At approval the records are read once, coded by the public schema and written to a file that
only the vault's user can read, so that they cannot change under a study. The ledger holds a
salted commitment to that file: the salt keeps the commitment from telling which table it was.

Where the unit is a person, rows are grouped by the id column and capped (`client.persons`); the
ids themselves are not kept. Where the plan evaluates, each unit is held back or not by a secret
coin of its own, tossed here once: a unit is in all training queries or in all evaluations, and
which one it is depends on nothing else, so the split costs no privacy.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.client.home import Home
from fedloom.client.persons import kept_rows, person_ids
from fedloom.common.errors import DataError, LedgerError
from fedloom.common.files import write_whole
from fedloom.common.npz import npz_bytes
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan

__all__ = ["Records", "Snapshot", "freeze", "holds_same", "id_column", "load_records"]

_SALT_BYTES = 32
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Private records, ready for queries.

    Attributes:
      features: (N, ...) as the plan's coder makes them.
      classes: (N,) int64; label class.
      persons: (N,) int64, sorted, 0..P-1 without a gap: the person of each row; None where the
        unit is a record.
    """

    features: npt.NDArray[Any]
    classes: npt.NDArray[np.int64]
    persons: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A plan's frozen records; no unit has rows in both parts.

    Attributes:
      training: What every query but `evaluate` is about.
      held_back: What `evaluate` is about; without records in a plan that does not evaluate.
    """

    training: Records
    held_back: Records


def id_column(plan: Plan) -> str | None:
    """Returns the column that names the person of a row, None where the unit is a record."""
    return plan.privacy.id


def freeze(home: Home, plan: Plan, private_frame: pd.DataFrame) -> str:
    """Writes the snapshot of a plan's records and returns the commitment to it.

    Counts of clamped, unknown and missing values, and of rows that were left out, go to the
    home's private log alone.

    Raises:
      DataError: the table lacks a column.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    records = _coded(plan, private_frame, key, home)
    persons = records.persons
    held_back = _held_back(plan, len(records.classes) if persons is None else _count(persons))
    arrays: dict[str, npt.NDArray[Any]] = {
        "features": records.features,
        "classes": records.classes,
        "held_back": held_back if persons is None else held_back[persons],
        "key": np.frombuffer(key, dtype=np.uint8),
    }
    if persons is not None:
        arrays["persons"] = persons
    data = npz_bytes(arrays, compressed=False)
    salt = secrets.token_bytes(_SALT_BYTES)
    commitment = hashlib.sha256(salt + data).hexdigest()
    write_whole(home.snapshot_path(plan.digest()), data, private=True)
    write_whole(
        home.salt_path(plan.digest()),
        json.dumps({"salt": salt.hex()}).encode(),
        private=True,
    )
    return commitment


def load_records(home: Home, plan: Plan, commitment: str) -> Snapshot:
    """Reads a plan's snapshot and holds it against the ledger's commitment.

    Raises:
      LedgerError: the snapshot is missing or is not the one that was approved.
    """
    arrays = _load(home, plan, commitment)
    held_back = arrays["held_back"]
    return Snapshot(training=_chosen(arrays, ~held_back), held_back=_chosen(arrays, held_back))


def holds_same(home: Home, plan: Plan, commitment: str, private_frame: pd.DataFrame) -> bool:
    """Tells whether a table gives the records frozen for a plan; for the steward alone.

    Raises:
      DataError: the table lacks a column.
      LedgerError: the snapshot is missing or is not the one that was approved.
    """
    frozen = _load(home, plan, commitment)
    records = _coded(plan, private_frame, frozen["key"].tobytes(), None)
    parts = {"features": records.features, "classes": records.classes, "persons": records.persons}
    return all(part is None or np.array_equal(part, frozen[name]) for name, part in parts.items())


def _coded(plan: Plan, private_frame: pd.DataFrame, key: bytes, log: Home | None) -> Records:
    coded = plan.coder.coded(private_frame)
    notes = [
        f"column {column}: {count} values {word}"
        for word, counts in (("clamped", coded.clamped), ("unknown", coded.unknown))
        for column, count in counts.items()
        if count
    ]
    features, classes, persons = np.ascontiguousarray(coded.features), coded.classes, None
    column = id_column(plan)
    if column is not None:
        if column not in private_frame.columns:
            raise DataError(
                f"the table has no column '{column}', the persons' ids; add it, or agree on a "
                "study with another id"
            )
        ids = person_ids(private_frame[column])
        rows, persons = kept_rows(ids, (features, classes), plan.privacy.rows_per_person, key)
        absent = int(pd.isna(ids).sum())
        if absent:
            notes.append(f"column {column}: {absent} rows without an id left out")
        if len(rows) + absent < len(classes):
            beyond = len(classes) - absent - len(rows)
            notes.append(f"column {column}: {beyond} rows beyond rows_per_person left out")
        features, classes = np.ascontiguousarray(features[rows]), classes[rows]
    if log is not None:
        for note in notes:
            log.log(f"plan {plan.digest()[:12]}: {note}")
    return Records(features=features, classes=classes, persons=persons)


def _held_back(plan: Plan, units: int) -> npt.NDArray[np.bool_]:
    flags = np.zeros(units, dtype=bool)
    if plan.evaluation is not None:
        flags[NoiseSource().poisson_sample(units, plan.evaluation.hold_back)] = True
    return flags


def _load(home: Home, plan: Plan, commitment: str) -> dict[str, npt.NDArray[Any]]:
    path = home.snapshot_path(plan.digest())
    remedy = "revoke the study, have it resolved anew and approve it again"
    try:
        data = path.read_bytes()
        salt = bytes.fromhex(json.loads(home.salt_path(plan.digest()).read_text())["salt"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LedgerError(
            f"{path}: the records frozen at approval are missing; {remedy}"
        ) from error
    if hashlib.sha256(salt + data).hexdigest() != commitment:
        raise LedgerError(f"{path}: the records changed after the steward approved; {remedy}")
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _chosen(arrays: dict[str, npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]) -> Records:
    persons = arrays.get("persons")
    if persons is not None:
        persons = np.unique(persons[chosen], return_inverse=True)[1].astype(np.int64)
    return Records(
        features=arrays["features"][chosen], classes=arrays["classes"][chosen], persons=persons
    )


def _count(persons: npt.NDArray[np.int64]) -> int:
    return int(persons[-1]) + 1 if len(persons) else 0
