"""Verification of a release, offline and without torch."""

from __future__ import annotations

from fedloom.privacy.release.verify.inspection import (
    Check,
    Verification,
    check_release,
    verify_release,
)

__all__ = ["Check", "Verification", "check_release", "verify_release"]
