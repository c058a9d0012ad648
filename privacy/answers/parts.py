"""Each site's own signed answer to a round, as it left the site: the evidence for an opened sum.

With a secure sum a part is masked: its words look uniform to all who lack the keys that the
sites share in pairs (X25519, HKDF-SHA256, AES-256), and only all parts of a roster together tell
anything, their sum. In per-site trust a part is private by itself. A part is kept as the message
that the site signed, so its signature, its arrays and the request that it answers hold together.
"""

from __future__ import annotations

from pathlib import Path

from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.messages import Answer
from fedloom.common.plain_files import read_plain
from fedloom.privacy.keys import verify

__all__ = ["EVIDENCE", "EVIDENCE_FORMAT", "PARTS", "part_path", "read_part"]

EVIDENCE = "evidence.json"
EVIDENCE_FORMAT = "fedloom-evidence/1"
PARTS = "answers/parts"
"""Where a run folder holds them; in the same order as evidence does."""
_MAX_BYTES = 1 << 30


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
