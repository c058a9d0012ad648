"""What the site adds to the files in `docs/`, when MkDocs builds it.

- Pages of the repository that lie elsewhere (README files of benchmarks and examples, the change
  log, how to contribute) join the site; links to them are turned to where they lie there.
- Every file in `docs/` that `mkdocs.yml` does not name joins the navigation, decisions in a section
  of their own, so that a new page is reached without a second edit.
- `reference/modules/` is one page for each package of the source, made from docstrings.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = ["ELSEWHERE", "LINK", "on_config", "on_files", "on_page_markdown", "unlisted"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "privacy", "client", "server", "fedloom")
LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s#]*)(#[^)\s]*)?\)")

# Pages outside docs/, and where they lie in the site.
ELSEWHERE = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/README.md": "project/benchmarks.md",
} | {
    f"examples/{path.parent.name}/README.md": f"project/example-{path.parent.name}.md"
    for path in sorted(ROOT.glob("examples/*/README.md"))
}


def title(page: Path) -> str:
    """Returns a page's first heading."""
    found = re.search(r"^# (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else page.stem


def named(nav: Any) -> Iterator[str]:
    """Yields the files that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav or []:
            yield from named(part)


def unlisted(nav: Any) -> list[str]:
    """Returns the pages of `docs/` that a navigation does not name, in order."""
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    return sorted(pages - set(named(nav)))


def packages() -> dict[str, list[str]]:
    """Returns the modules of each package of the source, as they are imported."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        top = ROOT / package
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if path.stem.startswith("__") or path.stem.endswith(("_pb2", "_pb2_grpc")):
                continue
            name = ".".join(parts if parts[0] == "fedloom" else ("fedloom", *parts))
            room = ".".join(name.split(".")[: 3 if len(name.split(".")) > 3 else 2])
            found.setdefault(room, []).append(name)
    return found


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Completes the navigation."""
    rest = unlisted(config.nav)
    decisions = [page for page in rest if page.startswith("decisions/")]
    project: list[Any] = [page for page in rest if page not in decisions]
    project += ELSEWHERE.values()
    project += [{"Decisions": ["decisions/index.md", *decisions]}]
    project += [{"Modules": [f"reference/modules/{room}.md" for room in packages()]}]
    assert config.nav is not None
    config.nav[-1] = {"Project": project}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie elsewhere and those made from docstrings."""
    from mkdocs.structure.files import File

    for path, place in ELSEWHERE.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    listed = "\n".join(
        f"- [{title(path)}]({path.name})" for path in sorted((ROOT / "docs/decisions").glob("*.md"))
    )
    files.append(File.generated(config, "decisions/index.md", content=f"# Decisions\n\n{listed}\n"))
    for room, modules in packages().items():
        text = f"# {room}\n\n" + "\n\n".join(f"::: {name}" for name in modules) + "\n"
        files.append(File.generated(config, f"reference/modules/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between files of the repository into links between pages of the site."""
    here = page.file.src_uri
    homes = {place: path for path, place in ELSEWHERE.items()}
    source = homes.get(here, f"docs/{here}")

    def turned(match: re.Match[str]) -> str:
        text, target, anchor = match.group(1), match.group(2), match.group(3) or ""
        if not target or re.match(r"\w+:", target):
            return match.group(0)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = ELSEWHERE.get(path) or (path[5:] if path.startswith("docs/") else None)
        if (ROOT / path).is_dir() and place is not None:  # a folder shows the list of its pages
            place += "/index.md"
        if place is None:  # a file of the source, which is no page of the site
            return text.removeprefix("!").strip("[]")
        return f"{text}({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return LINK.sub(turned, markdown)
