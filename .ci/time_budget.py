"""A pytest plugin: tests that would begin after the deadline are skipped, visibly."""

from __future__ import annotations

import os
import time

import pytest

__all__ = ["pytest_runtest_setup"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips the test if `FEDLOOM_TEST_DEADLINE` (seconds since 1970) has passed."""
    if time.time() > float(os.environ.get("FEDLOOM_TEST_DEADLINE", "inf")):
        pytest.skip("NOT RUN: the time for tests (TEST_MINUTES) is used up")
