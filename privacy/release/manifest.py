"""The manifest: every file of a release with its hash, signed with Ed25519.

`manifest.json` holds canonical JSON bytes and `manifest.sig` the signature of a fixed prefix
with exactly these bytes, so there is one way to write both and a change of a single byte shows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedloom.common.digest import canonical_json, file_sha256
from fedloom.common.errors import ReleaseError
from fedloom.common.files import read_plain
from fedloom.common.strict_json import MAX_JSON_BYTES, parse_json
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign, verify

__all__ = [
    "MANIFEST",
    "MANIFEST_FORMAT",
    "SIGNATURE",
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
_KEY_FORM = re.compile(r"[0-9a-f]{64}\Z")
_KEYS = {
    "format",
    "name",
    "title",
    "version",
    "created",
    "plan",
    "run",
    "study",
    "schema",
    "rows",
    "seed",
    "ledgers",
    "versions",
    "signer",
    "files",
}
_TEXTS = ("name", "title", "version", "created", "plan", "run", "study", "schema")
_LEDGER = {"seq": int, "hash": str, "public_key": str}
_FILE = {"path": str, "sha256": str, "bytes": int, "media_type": str}
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
    ".toml": "application/toml",
}


def list_files(folder: Path) -> list[dict[str, Any]]:
    """Lists the files of a release with hash, size and media type, the manifest's own left out."""
    files = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink() or relative in (MANIFEST, SIGNATURE):
            continue
        files.append(
            {
                "path": relative,
                "sha256": file_sha256(path),
                "bytes": path.stat().st_size,
                "media_type": _MEDIA_TYPES.get(path.suffix, "text/plain"),
            }
        )
    return files


def write_manifest(folder: Path, body: Mapping[str, Any], key: PrivateKey) -> None:
    """Lists the folder's files, then writes and signs the manifest.

    Args:
      folder: a release that lacks nothing but its manifest.
      body: everything but `format`, `signer` and `files`.
      key: the coordinator's key.
    """
    manifest = {
        **body,
        "format": MANIFEST_FORMAT,
        "signer": {"algorithm": "Ed25519", "public_key": public_key_hex(key)},
        "files": list_files(folder),
    }
    data = canonical_json(manifest)
    (folder / MANIFEST).write_bytes(data)
    (folder / SIGNATURE).write_text(sign(key, _SIGNED_PREFIX + data) + "\n", encoding="ascii")


def read_manifest(folder: Path) -> dict[str, Any]:
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
    try:
        manifest = parse_json(data, MANIFEST)
        public_key = manifest["signer"]["public_key"]
        canonical = canonical_json(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise ReleaseError(f"{folder / MANIFEST} is damaged; fetch the release again") from error
    if not _is_well_formed(manifest):
        raise ReleaseError(
            f"{folder / MANIFEST} is not of the format {MANIFEST_FORMAT}; "
            "verify it with the version of fedloom that built it"
        )
    if (
        canonical != data
        or not isinstance(public_key, str)
        or not _KEY_FORM.match(public_key)
        or not _SIGNATURE_FORM.match(signature)
        or not verify(public_key, _SIGNED_PREFIX + data, signature.strip())
    ):
        raise ReleaseError(
            f"{folder / MANIFEST} does not match its signature: it was changed after signing; "
            "fetch the release again from its publisher"
        )
    paths = Counter(entry["path"] for entry in manifest["files"])
    twice = sorted(path for path, count in paths.items() if count > 1)
    if twice:
        raise ReleaseError(
            f"{folder / MANIFEST} lists {twice[0]} twice, so that it may be read in two ways; do "
            "not use this release"
        )
    return dict(manifest)


def _is_well_formed(manifest: dict[str, Any]) -> bool:
    return (
        set(manifest) == _KEYS
        and manifest["format"] == MANIFEST_FORMAT
        and all(isinstance(manifest[key], str) for key in _TEXTS)
        and type(manifest["rows"]) is type(manifest["seed"]) is int
        and manifest["rows"] >= 1
        and manifest["seed"] >= 0
        and set(manifest["signer"]) == {"algorithm", "public_key"}
        and isinstance(manifest["ledgers"], dict)
        and all(_has(head, _LEDGER) for head in manifest["ledgers"].values())
        and isinstance(manifest["files"], list)
        and all(_has(entry, _FILE) for entry in manifest["files"])
        and isinstance(manifest["versions"], dict)
    )


def _has(value: Any, fields: Mapping[str, type]) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(fields)
        and all(type(value[name]) is kind for name, kind in fields.items())
    )


def release_heads(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns the ledger head (sequence number, hash) that a release holds for each site.

    Raises:
      ReleaseError: the manifest is missing, damaged or not signed as it says.
    """
    ledgers = read_manifest(folder)["ledgers"]
    return {name: (head["seq"], head["hash"]) for name, head in ledgers.items()}
