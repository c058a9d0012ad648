"""No module imports itself through others, not even inside its functions."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("common", "privacy", "client", "server", "fedloom")


def modules(root: Path) -> dict[str, Path]:
    """The file of each module, by the name that it is imported by."""
    found = {}
    for folder in FOLDERS:
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts if parts[0] == "fedloom" else ("fedloom", *parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules that a file imports when it runs; what only type checkers read does not count."""

    def walk(node: ast.AST) -> set[str]:
        names: set[str] = set()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                names.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                for alias in child.names:
                    inner = f"{child.module}.{alias.name}"
                    names.add(inner if inner in known else child.module)
            names |= walk(child)
        return names

    return walk(ast.parse(path.read_text(encoding="utf-8"))) & known


def in_circles(root: Path) -> list[str]:
    """The modules that are left when those which import none of the others are taken away."""
    files = modules(root)
    graph = {name: imported(path, set(files)) - {name} for name, path in files.items()}
    while free := [name for name, targets in graph.items() if not targets & set(graph)]:
        for name in free:
            del graph[name]
    return sorted(graph)


def test_no_module_imports_itself_through_others():
    assert in_circles(ROOT) == []


def test_a_planted_circle_is_found(tmp_path):
    for name, text in {
        "common/one.py": "def f():\n    from fedloom.common.two import g\n",
        "common/two.py": "from fedloom.common.one import f\n",
        "common/three.py": "import fedloom.common.four\n",
        "common/four.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert in_circles(tmp_path) == ["fedloom.common.one", "fedloom.common.two"]
