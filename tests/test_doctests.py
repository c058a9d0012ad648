"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
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
    yield from ("fedloom.api", "fedloom.simulation", "fedloom.in_process")


@pytest.mark.parametrize("name", sorted(modules()))
def test_examples_hold(name):
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        example
        for name in modules()
        if name.startswith("fedloom.common.") or name == "fedloom.api"
        for test in finder.find(importlib.import_module(name))
        for example in test.examples
    ]
    assert len(examples) > 10
