"""The frozen records of one approved plan, as codes.

At approval the records are read once, encoded on the public schema and written to a file that
only the vault's user can read, so that they cannot change under a study. The ledger holds a
salted commitment to that file: the salt keeps the commitment from telling which table it was.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fedloom.client.home import Home, write_private
from fedloom.common.errors import LedgerError
from fedloom.privacy.plan import Plan

__all__ = ["Records", "freeze", "holds_same", "load_records"]

_SALT_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Private records, ready for queries.

    Attributes:
      feature_codes: (N, m) int32; code of each feature block.
      classes: (N,) int64; label class.
    """

    feature_codes: np.ndarray[Any, np.dtype[Any]]
    classes: np.ndarray[Any, np.dtype[Any]]


def freeze(home: Home, plan: Plan, private_frame: pd.DataFrame) -> str:
    """Writes the snapshot of a plan's records and returns the commitment to it.

    Counts of clamped, unknown and missing values go to the home's private log alone.

    Raises:
      DataError: the table lacks a column.
    """
    encoded = plan.encoding.encode(private_frame)
    for word, counts in (("clamped", encoded.clamped), ("unknown", encoded.unknown)):
        for column, count in counts.items():
            if count:
                home.log(f"plan {plan.digest()[:12]}: column {column}: {count} values {word}")
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(encoded.codes), allow_pickle=False)
    salt = secrets.token_bytes(_SALT_BYTES)
    commitment = hashlib.sha256(salt + buffer.getvalue()).hexdigest()
    write_private(home.snapshot_path(plan.digest()), buffer.getvalue())
    write_private(
        home.salt_path(plan.digest()),
        json.dumps({"salt": salt.hex()}).encode(),
    )
    return commitment


def load_records(home: Home, plan: Plan, commitment: str) -> Records:
    """Reads a plan's snapshot and holds it against the ledger's commitment.

    Raises:
      LedgerError: the snapshot is missing or is not the one that was approved.
    """
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
    codes = np.load(io.BytesIO(data), allow_pickle=False)
    encoding = plan.encoding
    return Records(
        feature_codes=encoding.feature_codes(codes),
        classes=encoding.classes(codes),
    )


def holds_same(home: Home, plan: Plan, commitment: str, private_frame: pd.DataFrame) -> bool:
    """Tells whether a table is the one that was frozen for a plan; for the steward alone.

    Raises:
      DataError: the table lacks a column.
      LedgerError: the snapshot is missing or is not the one that was approved.
    """
    frozen = load_records(home, plan, commitment)
    codes = plan.encoding.encode(private_frame).codes
    return np.array_equal(plan.encoding.feature_codes(codes), frozen.feature_codes) and (
        np.array_equal(plan.encoding.classes(codes), frozen.classes)
    )
