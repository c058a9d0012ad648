"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator

import pytest

import fedloom


def modules() -> Iterator[str]:
    for package in ("cli", "common", "privacy", "client", "server", "deployment"):
        for found in pkgutil.walk_packages(
            [f"{root}/{package}" for root in fedloom.__path__], f"fedloom.{package}."
        ):
            yield found.name
    for found in pkgutil.iter_modules([fedloom.__path__[0]], "fedloom."):
        if not found.ispkg and not found.name.endswith("__main__"):
            yield found.name


def with_examples() -> list[str]:
    """Returns the modules whose source holds a prompt; only these are imported."""
    found = []
    for name in sorted(set(modules())):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.loader is not None
        if ">>> " in (spec.loader.get_source(name) or ""):  # type: ignore[attr-defined]
            found.append(name)
    return found


@pytest.mark.parametrize("name", with_examples())
def test_examples_hold(name):
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0 and outcome.failed == 0


def test_there_are_examples_to_run():
    assert len(with_examples()) > 30
