"""What a record is: one entry for each kind, which a schema names."""

from __future__ import annotations

from fedloom.common.records.base import (
    Coded,
    Coder,
    RecordKind,
    RecordSettings,
    Sampler,
    Statistics,
)
from fedloom.common.records.registry import RECORDS, read_records, record_kind
from fedloom.common.records.table import TableSettings

__all__ = [
    "RECORDS",
    "Coded",
    "Coder",
    "RecordKind",
    "RecordSettings",
    "Sampler",
    "Statistics",
    "TableSettings",
    "read_records",
    "record_kind",
]
