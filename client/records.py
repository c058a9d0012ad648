"""The frozen records of one approved plan, as codes.

At approval the records are read once, encoded on the public schema and written to a file that
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

from fedloom.client.home import Home, write_private
from fedloom.client.persons import kept_rows, person_ids
from fedloom.common.errors import DataError, LedgerError
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan

__all__ = ["Records", "Snapshot", "freeze", "holds_same", "id_column", "load_records"]

_SALT_BYTES = 32
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Private records, ready for queries.

    Attributes:
      feature_codes: (N, m) int32; code of each feature block.
      classes: (N,) int64; label class.
      persons: (N,) int64, sorted, 0..P-1 without a gap: the person of each row; None where the
        unit is a record.
    """

    feature_codes: npt.NDArray[np.int32]
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
    codes, persons = _encode(plan, private_frame, key, home)
    held_back = _held_back(plan, len(codes) if persons is None else _count(persons))
    arrays: dict[str, npt.NDArray[Any]] = {
        "codes": codes,
        "held_back": held_back if persons is None else held_back[persons],
        "key": np.frombuffer(key, dtype=np.uint8),
    }
    if persons is not None:
        arrays["persons"] = persons
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    data = buffer.getvalue()
    salt = secrets.token_bytes(_SALT_BYTES)
    commitment = hashlib.sha256(salt + data).hexdigest()
    write_private(home.snapshot_path(plan.digest()), data)
    write_private(
        home.salt_path(plan.digest()),
        json.dumps({"salt": salt.hex()}).encode(),
    )
    return commitment


def load_records(home: Home, plan: Plan, commitment: str) -> Snapshot:
    """Reads a plan's snapshot and holds it against the ledger's commitment.

    Raises:
      LedgerError: the snapshot is missing or is not the one that was approved.
    """
    arrays = _load(home, plan, commitment)
    held_back = arrays["held_back"]
    return Snapshot(
        training=_records(plan, arrays, ~held_back), held_back=_records(plan, arrays, held_back)
    )


def holds_same(home: Home, plan: Plan, commitment: str, private_frame: pd.DataFrame) -> bool:
    """Tells whether a table gives the records frozen for a plan; for the steward alone.

    Raises:
      DataError: the table lacks a column.
      LedgerError: the snapshot is missing or is not the one that was approved.
    """
    frozen = _load(home, plan, commitment)
    codes, persons = _encode(plan, private_frame, frozen["key"].tobytes(), None)
    same = np.array_equal(codes, frozen["codes"])
    return same and (persons is None or np.array_equal(persons, frozen["persons"]))


def _encode(
    plan: Plan, private_frame: pd.DataFrame, key: bytes, log: Home | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64] | None]:
    coder = plan.discovery if plan.learns_schema else plan.encoding
    encoded = coder.encode(private_frame)
    notes = [
        f"column {column}: {count} values {word}"
        for word, counts in (("clamped", encoded.clamped), ("unknown", encoded.unknown))
        for column, count in counts.items()
        if count
    ]
    codes, persons = np.ascontiguousarray(encoded.codes), None
    column = id_column(plan)
    if column is not None:
        if column not in private_frame.columns:
            raise DataError(
                f"the table has no column '{column}', the persons' ids; add it, or agree on a "
                "study with another id"
            )
        ids = person_ids(private_frame[column])
        rows, persons = kept_rows(ids, codes, plan.privacy.rows_per_person, key)
        absent = int(pd.isna(ids).sum())
        if absent:
            notes.append(f"column {column}: {absent} rows without an id left out")
        if len(rows) + absent < len(codes):
            beyond = len(codes) - absent - len(rows)
            notes.append(f"column {column}: {beyond} rows beyond rows_per_person left out")
        codes = np.ascontiguousarray(codes[rows])
    if log is not None:
        for note in notes:
            log.log(f"plan {plan.digest()[:12]}: {note}")
    return codes, persons


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


def _records(
    plan: Plan, arrays: dict[str, npt.NDArray[Any]], chosen: npt.NDArray[np.bool_]
) -> Records:
    codes, persons = arrays["codes"][chosen], arrays.get("persons")
    if persons is not None:
        persons = np.unique(persons[chosen], return_inverse=True)[1].astype(np.int64)
    if plan.learns_schema:
        classes = np.zeros(len(codes), dtype=np.int64)
        return Records(feature_codes=codes, classes=classes, persons=persons)
    return Records(
        feature_codes=plan.encoding.feature_codes(codes),
        classes=plan.encoding.classes(codes),
        persons=persons,
    )


def _count(persons: npt.NDArray[np.int64]) -> int:
    return int(persons[-1]) + 1 if len(persons) else 0
