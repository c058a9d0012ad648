"""The page of files names every format that the source has, and no module that it has not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
FOLDERS = ("common", "privacy", "client", "server", "fedloom")
FORMAT = re.compile(r'"(fedloom-[a-z-]+/[0-9]+|fedloom-(?:site-card|kit))"')


def formats(root: Path) -> set[str]:
    sources = (path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    return {name for path in sources for name in FORMAT.findall(path.read_text(encoding="utf-8"))}


def test_every_format_is_on_the_page():
    assert len(formats(ROOT)) >= 6
    assert {name for name in formats(ROOT) if f"`{name}`" not in PAGE} == set()


def test_every_module_on_the_page_exists():
    named = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w/]+(?:\.py|/))`", PAGE)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_format_that_the_page_does_not_name_is_found(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common/new.py").write_text('FORMAT = "fedloom-new/1"\n')
    assert formats(tmp_path) == {"fedloom-new/1"} and "fedloom-new/1" not in PAGE
