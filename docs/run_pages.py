"""Runs the commands that pages show, and writes their real output into the pages.

    python docs/run_pages.py            # runs all pages in a temporary folder, reports differences
    python docs/run_pages.py --write    # the same, and writes the outputs into the pages

A `sh` block is a script that a reader can copy; the `text` block right after it is what it prints.
All pages run in one folder, in the order of `PAGES`, each block in a shell of its own. A block ends
with exit code 0, or with the one that a comment before it says: `<!-- exit code 3 -->`. After
`<!-- varies -->` only the number of lines is compared, for synthetic rows differ at every run.

Two outputs are the same if they agree once keys, numbers, dates and paths are left out: these
change from run to run, the words and the order of lines do not. A line `...` in a page stands for
any lines.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "Block", "alike", "blocks", "normal", "run", "run_page"]

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PAGES = (
    "tutorial.md",
    "walks/coordinator.md",
    "walks/steward.md",
    "walks/auditor.md",
    "walks/consumer.md",
)
_BLOCK = re.compile(
    r"(?:<!-- exit code (?P<code>\d+) -->\n+)?(?P<varies><!-- varies -->\n+)?"
    r"```sh\n(?P<script>.*?)^```\n(?:\n*```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
# What differs between two runs, most special first.
_VARIES = (
    (re.compile(r"\b\d{4}-\d\d-\d\d(T[\d:]+Z?)?"), "DATE"),
    (re.compile(r"\b(?:[0-9a-f]{4} ){3}[0-9a-f]{4}\b"), "FINGERPRINT"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,64}\b"), "HEX"),
    (re.compile(r"[\w./-]*/[\w./-]+"), "PATH"),
    (re.compile(r"\d+(?:[.,]\d+)*(?:e-?\d+)?"), "N"),
    (re.compile(r"[━╸╺─]+"), "BAR"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A script in a page and what the page says that it prints.

    Args:
      script: lines for a shell.
      output: what stands below it, or None if the page shows none.
      code: the exit code that the page promises.
      varies: the words of the output change from run to run.
      start: where the output begins in the page's text, -1 without one.
    """

    script: str
    output: str | None
    code: int
    varies: bool
    start: int


def blocks(text: str) -> list[Block]:
    """Returns the scripts of a page, in order."""
    return [
        Block(
            script=found["script"],
            output=found["output"],
            code=int(found["code"] or 0),
            varies=found["varies"] is not None,
            start=found.start("output"),
        )
        for found in _BLOCK.finditer(text)
    ]


def normal(line: str) -> str:
    """Returns a line of output without what differs from run to run.

    >>> normal("epsilon 0.999 of 3   key 3f260825c9fdebc071550a701dbef267")
    'epsilon N of N key HEX'
    """
    for pattern, word in _VARIES:
        line = pattern.sub(word, line)
    return line.strip()


def alike(shown: str, printed: str) -> bool:
    r"""Tells whether a page shows what was printed; `...` stands for any lines.

    >>> alike("made 3 rows\n...\nend", "made 4 rows\na\nb\nend\n")
    True
    >>> alike("made 3 rows", "made 3 columns")
    False
    """
    parts = [
        "(?:.*\\n)*" if line.strip() == "..." else re.escape(normal(line)) + "\\n"
        for line in shown.splitlines()
    ]
    whole = "".join(normal(line) + "\n" for line in printed.splitlines())
    return re.fullmatch("".join(parts), whole) is not None


def run(script: str, folder: Path) -> tuple[int, str]:
    """Runs a script as a reader would, with this installation's `fedloom` and `python`.

    Returns:
      Exit code, and standard output and error in the order in which they came.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PATH": path,
            "COLUMNS": "98",
            "OMP_NUM_THREADS": "1",
            "EXAMPLES": str(ROOT / "examples"),
            "PYTHONPATH": str(ROOT),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())


def run_page(page: Path, folder: Path, *, write: bool = False) -> list[str]:
    """Runs all scripts of a page in a folder.

    Args:
      page: the Markdown file.
      folder: where the scripts run; what earlier pages made is there.
      write: puts what was printed into the page, except below scripts whose output is abridged.

    Returns:
      What differs from the page, a text each; empty if the page is true.
    """
    text = page.read_text(encoding="utf-8")
    done = [(block, *run(block.script, folder)) for block in blocks(text)]
    problems = []
    for block, code, printed in done:
        where = f"{page.name}: {block.script.strip().splitlines()[0]}"
        if code != block.code:
            problems.append(f"{where}: exit code {code}, not {block.code}\n{printed}")
        elif block.output is not None and not (
            block.output.count("\n") == printed.count("\n")
            if block.varies
            else alike(block.output, printed)
        ):
            problems.append(f"{where}: the page shows\n{block.output}but it printed\n{printed}")
    if write:
        for block, _, printed in reversed(done):
            if block.output is not None and "..." not in block.output.splitlines():
                end = block.start + len(block.output)
                text = text[: block.start] + printed + text[end:]
        page.write_text(text, encoding="utf-8")
    return problems


def main(words: Sequence[str]) -> int:
    """Runs the pages; see above."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the outputs into the pages")
    arguments = parser.parse_args(words)
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for name in PAGES:
            problems += run_page(DOCS / name, Path(folder), write=arguments.write)
    print("\n".join(problems) or "all pages show what their commands print")
    return 1 if problems and not arguments.write else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
