"""Vectors of manifests: a release's list of files, as its coordinator signed it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from fedloom.common.digest import canonical_json
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign
from fedloom.privacy.release.manifest import (
    MANIFEST,
    SIGNATURE,
    LedgerEnd,
    ReleaseFacts,
    Versions,
    write_manifest,
)
from tests.vectors.actors import COORDINATOR, RUN, SITES, STRANGER, Vector, bad


def manifests() -> Vector:
    head = LedgerEnd(seq=5, hash="4" * 64, public_key=public_key_hex(SITES["east"]))
    versions = {"fedloom": "0.1.0"}
    facts = ReleaseFacts(
        name="vectors",
        title="Größen",
        version="0.1.0",
        created="2026-11-28",
        plan="1" * 64,
        run=RUN,
        study="2" * 64,
        schema="3" * 64,
        rows=3,
        seed=7,
        ledgers={"east": head},
        versions=Versions(coordinator=versions, sites={"east": versions}),
    )
    files = {"data.csv": "age,visited\n1,no\n2,yes\n3,no\n", "README.md": "# Größen\n"}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for path, text in files.items():
            (folder / path).write_text(text, encoding="utf-8")
        write_manifest(folder, facts, COORDINATOR)
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        signature = (folder / SIGNATURE).read_text(encoding="ascii")
    whole = {
        "name": "two files",
        "signer": public_key_hex(COORDINATOR),
        "manifest": text,
        "signature": signature,
        "files": files,
    }

    def resigned(changed: str, key: PrivateKey = COORDINATOR) -> dict[str, str]:
        data = b"fedloom release manifest\n" + changed.encode()
        return {"manifest": changed, "signature": sign(key, data) + "\n"}

    value = json.loads(text)
    twice = {**value, "files": value["files"] + value["files"][:1]}
    return {
        "good": [whole],
        "bad": [
            bad(
                whole,
                "a byte was changed",
                "signature",
                "ReleaseError",
                manifest=text.replace('"rows":3', '"rows":4'),
            ),
            bad(
                whole,
                "signed by a stranger in the signer's name",
                "signature",
                "ReleaseError",
                **resigned(text, STRANGER),
            ),
            bad(
                whole,
                "a file was changed",
                "digest",
                "files",
                files={**files, "data.csv": "age,visited\n1,no\n"},
            ),
            bad(
                whole,
                "laid out otherwise, rightly signed",
                "format",
                "ReleaseError",
                **resigned(json.dumps(value, indent=1)),
            ),
            bad(
                whole,
                "a key twice, rightly signed",
                "format",
                "ReleaseError",
                **resigned('{"rows":3,' + text[1:]),
            ),
            bad(
                whole,
                "a file listed twice, rightly signed",
                "format",
                "ReleaseError",
                **resigned(canonical_json(twice).decode()),
            ),
            bad(
                whole,
                "a signature without its end of line",
                "format",
                "ReleaseError",
                signature=signature[:-1],
            ),
        ],
    }
