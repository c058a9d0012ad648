"""Files that hold answers: arrays with one canonical JSON header of ours, and sites' signed parts.

Both are read as hostile input. A part is a site's own signed answer to a round, as it left the
site: the evidence for an opened sum. With a secure sum it is masked: its words look uniform to all
who lack the keys that the sites share in pairs (X25519, HKDF-SHA256, AES-256), and only all parts
of a roster together tell anything, their sum. In per-site trust a part is private by itself. A part
is kept as the message that the site signed, so its signature, its arrays and the request that it
answers hold together.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from fedloom.common.arrays import Arrays, read_header_and_arrays
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.files import read_plain
from fedloom.common.messages import Answer
from fedloom.common.strict_json import parse_json
from fedloom.privacy.keys import verify

__all__ = [
    "Arrays",
    "EVIDENCE",
    "EVIDENCE_FORMAT",
    "PARTS",
    "pack_arrays",
    "part_path",
    "read_arrays",
    "read_part",
]

EVIDENCE = "evidence.json"
EVIDENCE_FORMAT = "fedloom-evidence/1"
PARTS = "answers/parts"
"""Where a run folder holds them; in the same order as evidence does."""
_KEY = "fedloom"
_MAX_BYTES = 1 << 30


def pack_arrays(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
    """Returns the bytes of a file.

    Args:
      header: plain values with a canonical JSON form.
      arrays: by name.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(
        contiguous, metadata={_KEY: canonical_json(dict(header)).decode()}
    )


def read_arrays(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Reads what `pack_arrays` wrote; it runs no code.

    Returns:
      The header and the arrays.

    Raises:
      ReleaseError: the file is missing, damaged, or holds anything else beside.
    """
    metadata, arrays = read_header_and_arrays(path, _MAX_BYTES)
    if set(metadata) != {_KEY}:
        raise ReleaseError(f"{path.name} holds something else than fedloom's header and arrays")
    header = parse_json(metadata[_KEY].encode(), path.name)
    if not isinstance(header, dict) or canonical_json(header).decode() != metadata[_KEY]:
        raise ReleaseError(f"the header of {path.name} is not as fedloom writes it")
    return header, arrays


def part_path(folder: Path, round_number: int, site: str) -> Path:
    """Returns where a folder of parts holds a site's part of a round."""
    return folder / f"round-{round_number:04d}" / f"{site}.safetensors"


def read_part(path: Path, *, site: str, key: str | None) -> Answer:
    """Reads a site's part and checks who signed it.

    Args:
      path: its file.
      site: the site whose part it should be.
      key: that site's public key in the plan.

    Raises:
      ReleaseError: it is missing, damaged, a refusal, or not signed by that site.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        part = Answer.unpack(read_plain(path, _MAX_BYTES))
    except ConfigError as error:
        raise ReleaseError(f"{where} is no answer of a site: {error}") from error
    if part.site != site:
        raise ReleaseError(f"{where} is a part of {part.site!r}, not of {site!r}")
    if key is None or not verify(key, part.signed_bytes(), part.signature):
        raise ReleaseError(f"{where} is not signed by the key that the plan names for {site}")
    if not part.ok:
        raise ReleaseError(f"{where} is a refusal, no answer")
    return part
