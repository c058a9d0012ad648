"""What was asked of a site's records, and what it cost: the ledger of one home."""

from __future__ import annotations

from fedloom.privacy.ledger.budget import Admission
from fedloom.privacy.ledger.copy import copy_ledger
from fedloom.privacy.ledger.extract import ExtractSummary, RunSummary, verify_extract
from fedloom.privacy.ledger.grants import Grant
from fedloom.privacy.ledger.limits import Limits
from fedloom.privacy.ledger.rotation import RotationEntry, SiteKeys
from fedloom.privacy.ledger.seen_heads import SeenHeads, goes_on
from fedloom.privacy.ledger.view import LedgerView, compose_homes, read_ledger
from fedloom.privacy.ledger.writer import Ledger

__all__ = [
    "Admission",
    "ExtractSummary",
    "Grant",
    "Ledger",
    "LedgerView",
    "Limits",
    "RotationEntry",
    "RunSummary",
    "SeenHeads",
    "SiteKeys",
    "compose_homes",
    "copy_ledger",
    "goes_on",
    "read_ledger",
    "verify_extract",
]
