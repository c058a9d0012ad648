"""Vectors of manifests: a release's list of files, as its coordinator signed it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from fedloom.common.digest import canonical_json
from fedloom.common.typed import plain
from fedloom.privacy.handover import Handover
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
    day = "2026-11-28"
    handover = plain(Handover.signed(STRANGER, COORDINATOR, day=day))
    back = plain(Handover.signed(COORDINATOR, STRANGER, day=day))
    other = plain(Handover.signed(SITES["east"], SITES["north"], day=day))

    def led(*handovers: dict[str, str]) -> dict[str, str]:
        signer = {**value["signer"], "handovers": list(handovers)}
        return resigned(canonical_json({**value, "signer": signer}).decode())

    wrong = [
        ("the old key has not signed", "signature", [{**handover, "signature": "00" * 64}]),
        ("the new key has not signed", "signature", [{**handover, "countersignature": "00" * 64}]),
        ("another day than was signed", "signature", [{**handover, "day": "2026-11-27"}]),
        ("a gap between them", "chain", [other, handover]),
        ("a key that comes back", "chain", [handover, back]),
        ("of other keys than the signer's", "chain", [other]),
    ]
    return {
        "good": [whole, {**whole, "name": "an earlier key handed on", **led(handover)}],
        "bad": [
            *(
                bad(whole, f"keys that change: {name}", code, "ReleaseError", **led(*handovers))
                for name, code, handovers in wrong
            ),
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
