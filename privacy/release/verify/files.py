"""Are the files of a release those that were signed, and does a format know each of them?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fedloom.common.digest import file_sha256
from fedloom.privacy.release.data_files import sizes_of
from fedloom.privacy.release.layout import clutter, missing_files, most_bytes
from fedloom.privacy.release.manifest import MANIFEST, SIGNATURE, Manifest

__all__ = ["Problem", "problems_of_files"]

_FETCH = "fetch the release again from its publisher"
_DELETE = "delete it and verify again"
_UNKNOWN = "do not use this release; ask its publisher what it is"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a file.

    Attributes:
      file: its path in the release.
      what: what is wrong with it, as the rest of a sentence that begins with the path.
      remedy: what to do.
      unreadable: whether nothing in this release should be opened any further.
    """

    file: str
    what: str
    remedy: str
    unreadable: bool = False


def problems_of_files(folder: Path, manifest: Manifest) -> list[Problem]:
    """Names every file that is changed, missing, not listed or of no known format.

    Args:
      folder: the release.
      manifest: checked, as `read_manifest` returns it.

    Returns:
      What is wrong, the worst first: what is no plain file, what was changed or lacks, what no
      format knows, what was added, and at last the harmless clutter of file managers.
    """
    listed = {entry.path: entry for entry in manifest.files}
    strange, changed, unknown, added, harmless = [], [], [], [], []
    found = set()
    data = sizes_of(listed)
    for name, status in _walk(folder):
        found.add(name)
        if stat.S_ISLNK(status.st_mode) or not stat.S_ISREG(status.st_mode):
            what = "is a link" if stat.S_ISLNK(status.st_mode) else "is no plain file"
            strange.append(Problem(name, f"{what}; a release holds plain files only", _FETCH, True))
        elif name in (MANIFEST, SIGNATURE):
            continue
        elif name not in listed:
            whose = clutter(name)
            if whose is None:
                added.append(Problem(name, "was added after signing", _DELETE))
            else:
                what = f"was added after signing, and is harmless: {whose}"
                harmless.append(Problem(name, what, _DELETE))
        elif status.st_size != listed[name].bytes:
            changed.append(Problem(name, "was changed after signing", _FETCH))
    for name, entry in listed.items():
        most = most_bytes(name, data)
        if name not in found:
            changed.append(Problem(name, "is missing", _FETCH))
        elif most is None:
            what = "is signed, but is no part of a release: no format knows it"
            unknown.append(Problem(name, what, _UNKNOWN))
        elif entry.bytes > most:
            unknown.append(Problem(name, f"is larger than the {most:,} bytes it may have", _FETCH))
        elif not strange and file_sha256(folder / name) != entry.sha256:
            changed.append(Problem(name, "was changed after signing", _FETCH))
    unknown += [
        Problem(name, "is missing, and not in the manifest either", _FETCH)
        for name in missing_files(listed, data)
    ]
    once = {problem.file: problem for problem in reversed(changed)}
    return [*strange, *reversed(once.values()), *unknown, *added, *harmless]


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yields path and status of all that is no folder; links are not followed."""
    waiting = [folder]
    while waiting:
        for entry in sorted(os.scandir(waiting.pop()), key=lambda entry: entry.name):
            name = Path(entry.path).relative_to(folder).as_posix()
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                yield name, status
            else:
                waiting.append(Path(entry.path))
