"""Which files a release holds: a closed list, so that nothing can travel in it unnoticed.

Each file has a format that verification knows and a largest size. A file under another name is
refused, whoever signed it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fedloom.common.strict_json import MAX_JSON_BYTES

__all__ = ["REQUIRED", "TABLE_BYTES", "clutter", "missing_files", "most_bytes"]

_TEXT = 1 << 26
_ARRAYS = 1 << 30
TABLE_BYTES = 1 << 38
"""Most bytes of a file of synthetic records."""
_SITE = r"[A-Za-z0-9][A-Za-z0-9_.-]*"

REQUIRED = {
    "README.md": _TEXT,
    "DATASHEET.md": _TEXT,
    "LICENSE": _TEXT,
    "codebook.md": _TEXT,
    "codebook.json": MAX_JSON_BYTES,
    "report.html": _TEXT,
    "dp_statement.json": MAX_JSON_BYTES,
    "generator/config.json": MAX_JSON_BYTES,
    "generator/model.safetensors": _ARRAYS,
    "plan.json": MAX_JSON_BYTES,
    "schema.json": MAX_JSON_BYTES,
}
"""The files of every release, with their largest sizes, beside manifest, signature and data."""

_OTHERS = (
    (re.compile(r"answers/marginals\.parquet\Z"), _ARRAYS),
    (re.compile(rf"ledger/{_SITE}\.json\Z"), MAX_JSON_BYTES),
    (re.compile(r"evaluation\.json\Z"), MAX_JSON_BYTES),
    (re.compile(r"public\.safetensors\Z"), _ARRAYS),
    (re.compile(r"earlier/(manifest|plan|dp_statement)\.json\Z"), MAX_JSON_BYTES),
    (re.compile(r"earlier/manifest\.sig\Z"), _TEXT),
    (re.compile(r"earlier/answers/round-[0-9]{4,}\.safetensors\Z"), _ARRAYS),
    (re.compile(r"answers/round-[0-9]{4,}\.safetensors\Z"), _ARRAYS),
)

# What file managers and office programs leave in a folder that somebody looked at.
_CLUTTER = (
    (re.compile(r"(.*/)?\.DS_Store\Z|(.*/)?\._[^/]*\Z"), "macOS left it there"),
    (re.compile(r"__MACOSX/.*|(.*/)?\.(Spotlight-V100|Trashes|fseventsd)/.*"), "macOS left it"),
    (re.compile(r"(.*/)?(thumbs|ehthumbs)\.db\Z", re.IGNORECASE), "Windows left it there"),
    (re.compile(r"(.*/)?desktop\.ini\Z", re.IGNORECASE), "Windows left it there"),
    (re.compile(r"(.*/)?\.directory\Z|(.*/)?\.~lock\..*#\Z|(.*/)?~\$[^/]*\Z"), "a program left it"),
)


def most_bytes(path: str, data: Mapping[str, int]) -> int | None:
    """Returns how large a file of a release may be; None if no format knows its path.

    Args:
      path: of the file.
      data: the release's data files, with their largest sizes.

    >>> most_bytes("data/original_records.csv", {"data/synthetic.csv": 10}) is None
    True
    """
    if path in REQUIRED:
        return REQUIRED[path]
    if path in data:
        return data[path]
    return next((most for pattern, most in _OTHERS if pattern.match(path)), None)


def missing_files(paths: Iterable[str], data: Iterable[str]) -> list[str]:
    """Returns the files that every release has, data files among them, and these paths lack."""
    return sorted({*REQUIRED, *data} - set(paths))


def clutter(path: str) -> str | None:
    """Returns whose clutter a file is, or None if it is no harmless clutter.

    >>> clutter("data/.DS_Store"), clutter("data/more.csv")
    ('macOS left it there', None)
    """
    return next((whose for pattern, whose in _CLUTTER if pattern.match(path)), None)
