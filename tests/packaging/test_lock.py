"""The lock file fits `pyproject.toml`, and says nothing about where packages were fetched."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
# Large, and of use to nobody who runs fedloom.
UNLOCKED = {"helm"}


def asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked_extras = [words for name, words in extras.items() if name not in UNLOCKED]
    words = [*project["dependencies"], *(word for extra in locked_extras for word in extra)]
    return [found for found in map(Requirement, words) if found.name != project["name"]]


def locked() -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(Version(version))
    return found


def test_every_requirement_is_locked_at_a_version_that_it_admits():
    versions = locked()
    problems = [
        f"{asked_for}: {versions.get(canonicalize_name(asked_for.name))}"
        for asked_for in asked()
        if not all(
            asked_for.specifier.contains(version, prereleases=True)
            for version in versions.get(canonicalize_name(asked_for.name), [Version("0")])
        )
    ]
    assert problems == [], "run `make lock`"


def test_the_lock_names_no_host():
    assert re.findall(r"https?://|--(?:extra-)?index-url|--find-links|file:", LOCK) == []
