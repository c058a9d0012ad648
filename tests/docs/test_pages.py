"""The documents: every page is reached, every link leads somewhere, and what pages show is true."""

from __future__ import annotations

import importlib.util
import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    """Imports a script of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


hooks, run_pages = script("hooks"), script("run_pages")


def pages() -> list[str]:
    """Returns the Markdown files of the repository, as git or a walk lists them."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    names = listed.stdout.split() if listed.returncode == 0 else []
    found = names or [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.md")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
    ]
    return sorted(name for name in found if not name.startswith(".") and (ROOT / name).exists())


def links(page: str) -> Iterator[tuple[str, str]]:
    """Yields the files, relative to the root, and the anchors that a page's links lead to."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "`code`", text)
    for found in hooks.LINK.finditer(text):
        target, anchor = found[2], (found[3] or "").removeprefix("#")
        if not re.match(r"\w+:", target):
            here = posixpath.dirname(page)
            yield posixpath.normpath(posixpath.join(here, target)) if target else page, anchor


def anchors(page: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub and the site make them."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_no_link_is_dead():
    dead = []
    for page in pages():
        for target, anchor in links(page):
            if not (ROOT / target).exists():
                dead.append(f"{page}: {target}")
            elif anchor and target.endswith(".md") and anchor not in anchors(target):
                dead.append(f"{page}: {target}#{anchor}")
    assert dead == []


@pytest.mark.parametrize("start", ["README.md", "docs/index.md"])
def test_every_page_is_reached_by_links(start):
    listed = set(pages())
    seen, waiting = set(), [start]
    while waiting:
        page = waiting.pop()
        if page in seen or page not in listed:
            continue
        seen.add(page)
        for target, _ in links(page):
            # A link to a folder shows the list of what is in it.
            inside = [name for name in listed if posixpath.dirname(name) == target]
            waiting += inside if (ROOT / target).is_dir() else [target]
    assert listed - seen - {"README.md"} == set()


def test_the_site_lists_every_page():
    yaml = pytest.importorskip("yaml")
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = set(hooks.named(nav))
    assert [page for page in named if not (DOCS / page).exists()] == []
    inside = {page.removeprefix("docs/") for page in pages() if page.startswith("docs/")}
    assert named | set(hooks.unlisted(nav)) == inside


def test_outputs_differ_by_words_and_order_and_not_by_numbers():
    shown = "done in 3 s: epsilon 1\nrelease: a/b\n"
    assert run_pages.alike(shown, "done in 12 s: epsilon 0.9999\nrelease: x/y\n")
    assert not run_pages.alike(shown, "ended in 12 s: epsilon 0.9999\nrelease: x/y\n")
    assert not run_pages.alike(shown, "release: a/b\ndone in 3 s: epsilon 1\n")
    assert not run_pages.alike(shown, shown + "more\n")
    assert run_pages.alike("...\nrelease: a/b\n", shown)


def test_what_the_pages_show_is_what_their_commands_print(tmp_path):
    """The tutorial, then the walks, in one folder: exit codes, words and order of lines."""
    problems = []
    for page in run_pages.PAGES:
        assert run_pages.blocks((DOCS / page).read_text()) != [], page
        problems += run_pages.run_page(DOCS / page, tmp_path)
    assert problems == [], "\n".join(problems) + "\n`make outputs` writes the pages anew"


def test_a_page_that_shows_another_output_or_exit_code_is_caught(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\necho one\n```\n\n```text\ntwo\n```\n\n```sh\nexit 3\n```\n")
    assert len(run_pages.run_page(page, tmp_path)) == 2
    page.write_text(
        "```sh\necho one\n```\n\n```text\n```\n\n<!-- exit code 3 -->\n```sh\nexit 3\n```\n"
    )
    run_pages.run_page(page, tmp_path, write=True)
    assert "```text\none\n```" in page.read_text()
    assert run_pages.run_page(page, tmp_path) == []
