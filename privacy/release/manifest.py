"""The manifest: every file of a release with its hash, signed with Ed25519.

`manifest.json` holds canonical JSON bytes and `manifest.sig` the signature of a fixed prefix
with exactly these bytes, so there is one way to write both and a change of a single byte shows.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from fedloom.common.digest import canonical_json, file_sha256
from fedloom.common.errors import ReleaseError, VerificationError
from fedloom.common.files import read_plain
from fedloom.common.strict_json import MAX_JSON_BYTES, parse_json
from fedloom.common.typed import PublicKey, Section, plain, read_typed
from fedloom.privacy.handover import Handover, chained_keys, check_handovers
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign, verify

__all__ = [
    "MANIFEST",
    "MANIFEST_FORMAT",
    "SIGNATURE",
    "LedgerEnd",
    "ListedFile",
    "Manifest",
    "ReleaseFacts",
    "Signer",
    "Versions",
    "list_files",
    "read_manifest",
    "release_heads",
    "write_manifest",
]

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
MANIFEST_FORMAT = "fedloom-release/6"
_SIGNED_PREFIX = b"fedloom release manifest\n"
_SIGNATURE_FORM = re.compile(r"[0-9a-f]{128}\n\Z")
_SIGNATURE_BYTES = 129


class LedgerEnd(Section, frozen=True, kw_only=True):
    """Where a site's ledger ends in a release, and the key that signed it."""

    seq: Annotated[int, Meta(ge=0)]
    hash: str
    public_key: str


class ListedFile(Section, frozen=True, kw_only=True):
    """One file of a release."""

    path: str
    sha256: str
    bytes: int
    media_type: str


class Signer(Section, frozen=True, kw_only=True, omit_defaults=True):
    """Who signed.

    Attributes:
      algorithm: of the signature.
      public_key: that signed.
      handovers: how the publisher's keys have handed on one to the next, if they were changed; the
        key that signed is one of them.
    """

    algorithm: Literal["Ed25519"]
    public_key: PublicKey
    handovers: tuple[Handover, ...] = ()


class Versions(Section, frozen=True, kw_only=True):
    """Versions of software, by package: the coordinator's, and each site's."""

    coordinator: dict[str, str] = {}
    sites: dict[str, dict[str, str]] = {}


class ReleaseFacts(Section, frozen=True, kw_only=True):
    """What a manifest says of a release beside its files.

    Attributes:
      name: of the study.
      title: for people.
      version: of the release.
      created: when, as ISO 8601.
      plan: digest of the plan that was carried out.
      run: name of the run.
      study: digest of the study.
      schema: digest of the schema.
      rows: synthetic records.
      seed: from which they are drawn.
      ledgers: by site, where its ledger ends.
      versions: of the software that made it.
    """

    name: str
    title: str
    version: str
    created: str
    plan: str
    run: str
    study: str
    schema: str
    rows: Annotated[int, Meta(ge=1)]
    seed: Annotated[int, Meta(ge=0)]
    ledgers: dict[str, LedgerEnd]
    versions: Versions


class Manifest(ReleaseFacts, frozen=True, kw_only=True):
    """A whole manifest."""

    format: Literal["fedloom-release/6"]
    signer: Signer
    files: tuple[ListedFile, ...]


_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
    ".toml": "application/toml",
}


def list_files(folder: Path) -> list[ListedFile]:
    """Lists the files of a release with hash, size and media type, the manifest's own left out."""
    files = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink() or relative in (MANIFEST, SIGNATURE):
            continue
        files.append(
            ListedFile(
                path=relative,
                sha256=file_sha256(path),
                bytes=path.stat().st_size,
                media_type=_MEDIA_TYPES.get(path.suffix, "text/plain"),
            )
        )
    return files


def write_manifest(
    folder: Path, facts: ReleaseFacts, key: PrivateKey, handovers: tuple[Handover, ...] = ()
) -> None:
    """Lists the folder's files, then writes and signs the manifest.

    Args:
      folder: a release that lacks nothing but its manifest.
      facts: what it says of the release.
      key: the coordinator's key.
      handovers: how its keys have handed on one to the next.
    """
    signer = Signer(algorithm="Ed25519", public_key=public_key_hex(key), handovers=handovers)
    data = canonical_json(
        {
            **plain(facts),
            "format": MANIFEST_FORMAT,
            "signer": plain(signer),
            "files": plain(list_files(folder)),
        }
    )
    (folder / MANIFEST).write_bytes(data)
    (folder / SIGNATURE).write_text(sign(key, _SIGNED_PREFIX + data) + "\n", encoding="ascii")


def read_manifest(folder: Path) -> Manifest:
    """Reads a manifest and checks its signature against the key that it names.

    The signature shows that the manifest is unchanged since signing. Who signed it shows only a
    comparison of `signer.public_key` with a key known from elsewhere.

    Raises:
      ReleaseError: manifest or signature is missing, damaged or does not match.
    """
    try:
        data = read_plain(folder / MANIFEST, MAX_JSON_BYTES)
        signature = read_plain(folder / SIGNATURE, _SIGNATURE_BYTES).decode("ascii")
    except (ReleaseError, UnicodeDecodeError) as error:
        raise ReleaseError(
            f"{folder} holds no readable {MANIFEST} and {SIGNATURE} ({error}); give the folder of "
            "a release"
        ) from error
    raw = parse_json(data, MANIFEST)
    if not isinstance(raw, dict) or raw.get("format") != MANIFEST_FORMAT:
        raise ReleaseError(
            f"{folder / MANIFEST} is not of the format {MANIFEST_FORMAT}; "
            "verify it with the version of fedloom that built it"
        )
    manifest = read_typed(raw, Manifest, where=f"{folder / MANIFEST}:", error=ReleaseError)
    try:
        canonical = canonical_json(raw)
    except ValueError as error:
        raise ReleaseError(f"{folder / MANIFEST} is damaged; fetch the release again") from error
    if (
        canonical != data
        or not _SIGNATURE_FORM.match(signature)
        or not verify(manifest.signer.public_key, _SIGNED_PREFIX + data, signature.strip())
    ):
        raise ReleaseError(
            f"{folder / MANIFEST} does not match its signature: it was changed after signing; "
            "fetch the release again from its publisher"
        )
    handovers = manifest.signer.handovers
    try:
        check_handovers(handovers, where=MANIFEST)
    except VerificationError as error:
        raise ReleaseError(str(error)) from error
    if handovers and manifest.signer.public_key not in chained_keys(handovers):
        raise ReleaseError(f"{folder / MANIFEST} shows changes of another key than its signer's")
    paths = Counter(entry.path for entry in manifest.files)
    twice = sorted(path for path, count in paths.items() if count > 1)
    if twice:
        raise ReleaseError(
            f"{folder / MANIFEST} lists {twice[0]} twice, so that it may be read in two ways; do "
            "not use this release"
        )
    return manifest


def release_heads(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns the ledger head (sequence number, hash) that a release holds for each site.

    Raises:
      ReleaseError: the manifest is missing, damaged or not signed as it says.
    """
    ledgers = read_manifest(folder).ledgers
    return {name: (head.seq, head.hash) for name, head in ledgers.items()}
