"""The import law, read from the source: who may import whom, and where each library may appear.

`violations` is tested below with a planted breach of every rule.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = {
    "common": {"common"},
    "privacy": {"common", "privacy"},
    "client": {"common", "privacy", "client"},
    "server": {"common", "privacy", "server"},
}
FACE = {
    "cli", "api", "consumer", "simulation", "deployment", "monitoring", "in_process", "web",
}  # fmt: skip
# In the last three inside functions alone; `client/node.py` starts Flower's node and guards it.
FLOWER_MODULES = (
    "client/app.py", "server/app.py", "server/grids*", "common/messages.py",
    "server/flower_control.py", "client/node.py",
)  # fmt: skip

# Where a library may be imported at all, as patterns of paths.
LIBRARIES = {
    "flwr": FLOWER_MODULES,
    "opacus": ("privacy/clipping/opacus_engine.py",),
    "dp_accounting": ("privacy/*",),
    "grpc": ("client/*", "common/protocol/*"),
    "pandas": (
        "common/cells.py", "common/coding.py", "common/constraints.py", "common/decoding.py",
        "common/discovery.py", "common/encoding.py", "common/images/coder.py",
        "common/images/sampler.py", "common/records/*", "common/sampling/*",
        "common/set_cells.py", "common/times.py",
        "privacy/inference/result.py", "privacy/release/*", "client/*", "fedloom/*",
    ),
    "sklearn": (),
    "sqlalchemy": ("client/sources/*",),
}  # fmt: skip

# Auditors and consumers run these without torch, flwr or opacus: neither they nor anything that
# they import may load one of those while being imported; and they never name them at all.
TORCH_FREE = (
    "common/errors.py", "common/digest.py", "common/resources.py", "common/column.py",
    "common/files.py", "common/strict_*.py", "common/artifact.py", "common/sampling/*",
    "common/models/mixture.py", "common/models/tree.py", "common/models/clique_tree.py",
    "common/models/cell_tables.py", "common/models/registry.py",
    "common/schema*.py", "common/category_codes.py", "common/number_axis.py", "common/discovery.py",
    "common/schema_origin.py", "common/blanks.py", "common/draft/*", "client/draft_table.py",
    "common/encoding.py", "common/images/*", "common/records/*", "common/study.py",
    "common/marginals.py", "privacy/noise.py",
    "privacy/accounting.py", "privacy/events.py", "privacy/plan*.py", "privacy/resolve.py",
    "privacy/keys.py", "privacy/secure_sum/*", "privacy/mechanisms/noisy_sum.py",
    "privacy/ledger*", "privacy/release/*", "privacy/inference/*", "privacy/drift/*",
    "client/sources/*", "client/data_check.py",
    "server/learners/tree*.py", "server/learners/tilt.py",
    "client/home.py", "client/approval.py", "client/*_in_words.py", "client/site_config.py",
)  # fmt: skip
# These may name torch inside functions, but importing them must not load it.
LAZY = (
    *TORCH_FREE, "fedloom/__*.py", "fedloom/api.py", "fedloom/consumer.py", "fedloom/cli/*",
    "fedloom/web/*", "common/messages.py", "client/app.py", "client/node.py",
)  # fmt: skip
HEAVY = {"torch", "flwr", "opacus"}
GENERATED = ("*_pb2.py", "*_pb2_grpc.py")


@dataclass(frozen=True)
class Import:
    """One imported module name in a file; `lazy` if it happens inside a function."""

    path: str
    line: int
    name: str
    lazy: bool
    relative: bool = False


def sources(root: Path) -> list[Path]:
    folders = [root / name for name in (*LAYERS, "fedloom")]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@cache
def imports(root: Path, file: Path) -> tuple[Import, ...]:
    path = file.relative_to(root).as_posix()

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(path, child.lineno, alias.name, lazy)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ""
                yield Import(path, child.lineno, module, lazy, child.level > 0)
                if module == "fedloom" or module.startswith("fedloom."):
                    for alias in child.names:
                        yield Import(path, child.lineno, f"{module}.{alias.name}", lazy)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for part in child.body:
                    yield from walk(ast.Module([part], []), True)
                for part in child.orelse:
                    yield from walk(ast.Module([part], []), lazy)
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, lazy or function)

    return tuple(walk(ast.parse(file.read_text(encoding="utf-8")), False))


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def module_file(root: Path, name: str) -> Path | None:
    """Returns the source file of a `fedloom.…` module, or None if it is no module."""
    parts = name.split(".")[1:]
    base = root / "fedloom" if not parts or parts[0] in FACE else root
    target = base.joinpath(*parts)
    for candidate in (target / "__init__.py", target.with_suffix(".py")):
        if candidate.is_file() and candidate.is_relative_to(root):
            return candidate
    return None


def breach(found: Import) -> str | None:
    """Returns why an import is against the law, or None."""
    top, _, rest = found.name.partition(".")
    layer = found.path.split("/")[0]
    if found.relative:
        return "relative import; write fedloom.…"
    if top in LAYERS or top == "cli":
        return f"bare import; write fedloom.{found.name}"
    if top == "fedloom" and rest and layer in LAYERS:
        target = rest.split(".")[0]
        if target not in LAYERS[layer] and target != "__version__":
            return f"{layer} may not import {target}"
    patterns = LIBRARIES.get(top)
    if patterns is not None and not matches(found.path, patterns):
        return f"{top} belongs in {', '.join(patterns) or 'benchmarks/ and tests/'}"
    if found.path in FLOWER_MODULES[-3:] and top == "flwr" and not found.lazy:
        return "flwr belongs inside functions here"
    if top in HEAVY and matches(found.path, TORCH_FREE):
        return f"{found.path} must do without {top}"
    return None


def heavy_chain(root: Path, start: Path) -> list[str] | None:
    """Returns how importing `start` loads torch, opacus or (but in client/app.py) flwr."""
    allowed = {"flwr"} if start.relative_to(root).as_posix() == "client/app.py" else set()
    chains: list[tuple[Path, list[str]]] = [(start, [start.relative_to(root).as_posix()])]
    seen = {start}
    while chains:
        file, chain = chains.pop()
        for found in imports(root, file):
            if found.lazy:
                continue
            if found.name.split(".")[0] in HEAVY - allowed:
                return [*chain, found.name]
            parts = found.name.split(".")
            if parts[0] != "fedloom":
                continue
            for length in range(1, len(parts) + 1):
                target = module_file(root, ".".join(parts[:length]))
                if target is not None and target not in seen:
                    seen.add(target)
                    chains.append((target, [*chain, target.relative_to(root).as_posix()]))
    return None


def violations(root: Path) -> list[str]:
    problems = []
    for file in sources(root):
        path = file.relative_to(root).as_posix()
        if matches(path, GENERATED):
            continue
        for found in imports(root, file):
            reason = breach(found)
            if reason is not None:
                problems.append(f"{path}:{found.line}: {found.name}: {reason}")
        if matches(path, LAZY):
            chain = heavy_chain(root, file)
            if chain is not None:
                problems.append(f"{path}: importing it loads {' -> '.join(chain[1:])}")
    return problems


def test_every_import_keeps_the_law():
    assert violations(ROOT) == []


def test_the_law_has_something_to_say():
    paths = {path.relative_to(ROOT).as_posix() for path in sources(ROOT)}
    assert {"common/schema.py", "privacy/plan.py", "fedloom/cli/main.py"} <= paths


def test_every_pattern_of_the_law_is_about_some_file():
    paths = [path.relative_to(ROOT).as_posix() for path in sources(ROOT)]
    patterns = {*LAZY, *(pattern for places in LIBRARIES.values() for pattern in places)}
    assert {p for p in patterns if not any(matches(path, (p,)) for path in paths)} == set()


PLANTED = {
    "bare": ("common/x.py", "from common.errors import FedloomError"),
    "relative": ("common/x.py", "from .errors import FedloomError"),
    "upward": ("common/x.py", "import fedloom.privacy.plan"),
    "from the root": ("privacy/x.py", "from fedloom import client"),
    "client to server": ("client/x.py", "from fedloom.server.coordinate import coordinate"),
    "server to client": ("server/x.py", "def f():\n    from fedloom.client import vault"),
    "to the face": ("server/x.py", "from fedloom.cli.main import main"),
    "the public interface": ("client/x.py", "from fedloom import simulate"),
    "flwr": ("server/coordinate.py", "import flwr"),
    "flwr at the top of messages": ("common/messages.py", "from flwr.app import RecordDict"),
    "opacus": ("privacy/mechanisms/x.py", "from opacus import GradSampleModule"),
    "dp_accounting": ("client/x.py", "import dp_accounting"),
    "pandas": ("server/x.py", "import pandas as pd"),
    "torch in the ledger": ("privacy/ledger/writer.py", "def f():\n    import torch"),
    "torch at the top of the face": ("fedloom/cli/x.py", "import torch"),
    "torch through another": ("fedloom/cli/x.py", "from fedloom.common.net import build"),
    "torch through a package": ("privacy/keys.py", "from fedloom.common.nets import build"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name, tmp_path):
    path, text = PLANTED[name]
    files = {
        "common/net.py": "import torch\n",
        "common/nets/__init__.py": "from fedloom.common.net import build\n",
        "common/errors.py": "import json\n",
        path: text + "\n",
    }
    for relative, content in files.items():
        target = tmp_path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    found = violations(tmp_path)
    assert found and all(problem.startswith(path) for problem in found)


@pytest.mark.parametrize(
    "path, text",
    [
        ("fedloom/cli/x.py", "def f():\n    import torch"),
        ("common/messages.py", "def f():\n    from flwr.app import RecordDict"),
        ("common/x.py", "def f():\n    import fedloom\n    return fedloom.__path__"),
        ("privacy/plan.py", "from fedloom import __version__"),
        ("common/x.py", "import torch"),
        (
            "privacy/ledger/writer.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fedloom.privacy.net",
        ),
    ],
)
def test_what_the_law_allows_is_not_reported(path, text, tmp_path):
    target = tmp_path / path
    target.parent.mkdir(parents=True)
    target.write_text(text + "\n")
    assert violations(tmp_path) == []
