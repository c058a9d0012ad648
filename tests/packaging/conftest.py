"""Virtual environments that hold chosen packages of this one, made without downloads.

`environment` makes an empty venv and links the declared dependencies of an extra, and theirs,
into it: what is not declared is not there.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
Environment = Callable[[Iterable[str]], Path]
Install = Callable[..., None]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Makes a venv with the given requirements (and theirs) and returns its Python."""

    def make(requirements: Iterable[str]) -> Path:
        folder = tmp_path / "venv"
        venv.create(folder, with_pip=False)
        python = folder / "bin" / "python"
        variables = {"base": str(folder), "platbase": str(folder)}
        site = Path(sysconfig.get_path("purelib", "venv", vars=variables))
        for distribution in closure(requirements):
            link(distribution, site)
        return python

    return make


@pytest.fixture(scope="session")
def install() -> Install:
    """Installs into another environment with this one's pip, from no index."""

    def run(python: Path, *what: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        command += ["--no-deps", "--no-index", "--no-build-isolation", *what]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return run


def closure(requirements: Iterable[str]) -> list[metadata.Distribution]:
    """Returns the installed distributions that the requirements name, and all that those need."""
    found: dict[str, metadata.Distribution] = {}
    wanted = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement, extra = wanted.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        distribution = metadata.distribution(name)
        found[name] = distribution
        for asked in {"", *requirement.extras}:
            if (name, asked) not in seen:
                seen.add((name, asked))
                wanted += [(Requirement(text), asked) for text in distribution.requires or ()]
    return list(found.values())


def link(distribution: metadata.Distribution, site: Path) -> None:
    """Links a distribution's top-level files and folders into another site-packages."""
    base = Path(str(distribution.locate_file("")))
    for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
        if not re.search(r"\.pth$", name) and not (site / name).exists():
            (site / name).symlink_to(base / name)
