"""Verification of a release, offline and without torch."""

from __future__ import annotations

from fedloom.privacy.release.verify.inspection import check_release, verify_release
from fedloom.privacy.release.verify.result import Check, Verification

__all__ = ["Check", "Verification", "check_release", "verify_release"]
