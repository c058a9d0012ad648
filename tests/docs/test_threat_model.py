"""The table of attacks names tests; each of them exists, so the table cannot rot."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "threat-model.md"
NAMED = re.compile(r"`([\w/.-]+\.py)::(\w+)`")
HEADING = "what is still taken on trust"


def named(text: str) -> list[tuple[str, str]]:
    """Returns path and function of every test that a text names as `path::function`."""
    return NAMED.findall(text)


def missing(tests: list[tuple[str, str]], root: Path = ROOT) -> list[str]:
    """Returns those that are no test function at the top level of their file."""
    functions: dict[str, set[str]] = {}
    for path in {path for path, _ in tests}:
        file = root / path
        tree = ast.parse(file.read_text("utf-8") if file.is_file() else "")
        functions[path] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return [
        f"{path}::{name}"
        for path, name in tests
        if not name.startswith("test_") or name not in functions[path]
    ]


def rows(text: str) -> list[str]:
    """Returns the rows of all tables of attacks and bugs, without heads and rules."""
    before = text.lower().index(f"## {HEADING}")
    tables = text[:before].split("## How attacks end")[1]
    lines = [line for line in tables.splitlines() if line.startswith("|")]
    return [line for line in lines if not re.match(r"\|(-|.*\| test \|$)", line)]


def test_every_test_that_the_threat_model_names_exists() -> None:
    tests = named(PAGE.read_text("utf-8"))
    assert len(tests) > 80
    assert missing(tests) == []


def test_every_attack_has_one_test_in_its_last_cell() -> None:
    for row in rows(PAGE.read_text("utf-8")):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert len(cells) == 4 and all(cells), row
        assert NAMED.fullmatch(cells[-1]), row


@pytest.mark.parametrize("name", ["test_gone", "helper", "Class", "test_inside"])
def test_a_name_that_is_no_test_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / "test_a.py").write_text(
        "def test_here(): pass\ndef helper(): pass\nclass Class:\n    def test_inside(self): pass\n"
    )
    assert missing([("test_a.py", "test_here")], tmp_path) == []
    assert missing([("test_a.py", name)], tmp_path) == [f"test_a.py::{name}"]
    assert missing([("test_b.py", "test_here")], tmp_path) == ["test_b.py::test_here"]
