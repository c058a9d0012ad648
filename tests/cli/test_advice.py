"""No message and no document advises an option that its command lacks.

What commands print when they fail is looked at in every test that runs one
(`tests.federation.cli`); here are all texts in the source, and the documents.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.advice import unknown_advice

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("common", "privacy", "client", "server", "fedloom")
# They start programs of others, whose options are not ours.
# Of pip, and of benchmarks.
OF_OTHERS = {"--extra-index-url", "--look", "--quality", "--timeout"}
STARTERS = {
    "client/node.py", "fedloom/deployment/coordinator_programs.py",
}  # fmt: skip
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "examples").glob("*/README.md"))


def texts(path: Path) -> list[str]:
    """Returns the texts in a file of source, those with values in them as one."""
    found, inside = [], set()
    tree = ast.parse(path.read_text())
    if path.parent.name != "cli":  # there a docstring is a command's help
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inside |= {
                    id(first.value) for first in node.body[:1] if isinstance(first, ast.Expr)
                }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.Constant)]
            inside |= {id(part) for part in parts}
            found.append("X".join(str(part.value) for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [] if id(node) in inside else [node.value]
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_texts_in_the_source_name_options_that_exist(folder: str) -> None:
    problems = [
        f"{path.relative_to(ROOT)}: {unknown}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.relative_to(ROOT).as_posix() not in STARTERS
        for text in texts(path)
        for unknown in unknown_advice(text)
    ]
    assert problems == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_options_that_exist(path: Path) -> None:
    # A line that ends in a backslash goes on.
    unknown = unknown_advice(path.read_text().replace("\\\n", " "))
    assert [word for word in unknown if word not in OF_OTHERS] == []


@pytest.mark.parametrize(
    ("text", "words", "unknown"),
    [
        ("go on with --resume", ["simulate", "x"], []),
        ("go on with --resume", ["release", "build", "x"], ["--resume"]),
        ("go on by `fedloom simulate ... --resume`", ["release", "build"], []),
        ("see `fedloom demo --resumes`", None, ["fedloom demo --resumes"]),
        ("give --colour", None, ["--colour"]),
        ("pip install --upgrade x", None, []),
        ("the model--a mixture", None, []),
    ],
)
def test_planted_advice_is_found(text: str, words: list[str] | None, unknown: list[str]) -> None:
    assert unknown_advice(text, words) == unknown
