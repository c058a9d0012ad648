"""What holds for every file of the repository: no machine's paths, size, names, `__all__`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ("common", "privacy", "client", "server", "fedloom")
MAX_LINES = 400
MAX_SCANNED_BYTES = 2_000_000
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")


def files() -> list[Path]:
    """Returns what is or may be committed: git's word in a clone, a walk elsewhere."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        found = [ROOT / name for name in listed.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"(^|/)(\.venv|\.git|__pycache__|\.\w+_cache|dist)(/|$)")
        found = [p for p in ROOT.rglob("*") if not hidden.search(p.relative_to(ROOT).as_posix())]
    return sorted(path for path in found if path.is_file())


def python_files() -> list[Path]:
    return [p for p in files() if p.suffix == ".py" and not GENERATED.search(p.name)]


def machine_paths(text: str, places: set[str]) -> list[str]:
    """Returns the absolute paths in a text that exist on one machine only."""
    quoted = "|".join(re.escape(place) for place in sorted(places, key=len, reverse=True))
    # No letter before it: `../shared/data` or `https://host/root/` is no such path.
    return re.findall(rf"(?<![\w./-])(?:{quoted})(?![\w-])[\w./-]*", text)


def places() -> set[str]:
    """Returns this machine's own folders: checkout, environment, home."""
    # Top folders that every machine has may be named (`/srv/data` in a sample configuration).
    own = {ROOT, Path(sys.prefix), Path(sys.base_prefix), Path.home()}
    return {str(path) for path in own if len(path.parts) > 2} | {"/" + "root", "/" + "Users"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_names_a_path_of_a_machine():
    problems = []
    for path in files():
        if path.stat().st_size > MAX_SCANNED_BYTES:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        problems += [f"{relative(path)}: {found}" for found in machine_paths(text, places())]
    assert problems == []


@pytest.mark.parametrize(
    "text, found",
    [
        ("see /srv/us/clone/data.csv", ["/srv/us/clone/data.csv"]),
        ("'/srv/us/clone'", ["/srv/us/clone"]),
        ("/srv/us/clones and ../srv/us/clone", []),
    ],
)
def test_a_planted_path_is_found(text, found):
    assert machine_paths(text, {"/srv/us/clone"}) == found


def test_no_file_is_longer_than_the_ceiling():
    lengths = {relative(path): len(path.read_text().splitlines()) for path in python_files()}
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_every_module_names_its_public_names_first():
    problems = []
    for path in python_files():
        name = relative(path)
        if name.split("/")[0] not in SOURCE or path.name in {"__init__.py", "__main__.py"}:
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                break
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                problems.append(f"{name}: __all__ does not come before line {node.lineno}")
                break
        else:
            problems.append(f"{name}: no __all__")
    assert problems == []


def test_every_module_says_what_it_is_for():
    problems = [
        relative(path)
        for path in python_files()
        if relative(path).split("/")[0] in SOURCE
        and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert problems == []


def test_no_drawer_modules():
    names = {"utils", "util", "helpers", "misc"}
    assert [relative(path) for path in python_files() if path.stem in names] == []


def test_test_folders_are_no_packages():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_source_folder_is_typed():
    assert [name for name in SOURCE if not (ROOT / name / "py.typed").exists()] == []
