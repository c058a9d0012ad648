"""The page on extending fedloom: its code is put into a copy of the tree, counted and run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
FOLDERS = ("client", "common", "deploy", "fedloom", "privacy", "server")
FILES = {
    "A model without training": 2,
    "A model with training": 3,
    "A statistic": 2,
    "A query": 5,
    "A kind of file": 2,
}
_BLOCK = re.compile(r'```(python|diff) title="([^"]+)"\n(.*?)```', re.DOTALL)


@dataclass(frozen=True)
class Change:
    """A block of the page: a whole new file, or changed lines of one."""

    path: str
    new: bool
    text: str

    def apply(self, root: Path) -> None:
        """Makes the change in a copy of the tree."""
        file = root / self.path
        if self.new:
            assert not file.exists(), f"{self.path} is there already"
            file.write_text(self.text)
            return
        lines = self.text.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
        after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
        text = file.read_text()
        assert text.count(before) == 1, f"{self.path} does not have these lines once:\n{before}"
        file.write_text(text.replace(before, after))


def changes() -> dict[str, list[Change]]:
    """The blocks of the page by the heading that they stand under."""
    sections = PAGE.read_text().split("\n## ")[1:]
    return {
        section.splitlines()[0]: [
            Change(path=path, new=kind == "python", text=text)
            for kind, path, text in _BLOCK.findall(section)
        ]
        for section in sections
    }


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with everything that the page adds."""
    root = tmp_path_factory.mktemp("extended")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "pyproject.toml", root / "pyproject.toml")
    for made in changes().values():
        for change in made:
            change.apply(root)
    shutil.copyfile(Path(__file__).with_name("extended_run.py"), root / "extended_run.py")
    return root


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "extended_run.py", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("heading", FILES)
def test_each_kind_takes_no_more_files_than_the_page_says(heading):
    paths = {change.path for change in changes()[heading]}
    assert len(paths) == FILES[heading]
    row = next(line for line in PAGE.read_text().splitlines() if f"[{heading.lower()}]" in line)
    assert f"| {FILES[heading]} |" in row
    assert all((ROOT / path).exists() != new for path, new in _files(heading))


def _files(heading: str) -> set[tuple[str, bool]]:
    return {(change.path, change.new) for change in changes()[heading]}


def test_what_the_page_adds_is_formatted_and_linted(extended):
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "."]
    found = subprocess.run(command, cwd=extended, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout
    shown = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "--quiet", "."],
        cwd=extended,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", ["independent", "logits", "statistic", "query", "feather"])
def test_a_study_runs_with_what_the_page_adds(extended, what):
    done = run(extended, what)
    assert done.returncode == 0, done.stderr[-3000:]
