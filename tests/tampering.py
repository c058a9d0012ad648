"""What a dishonest publisher does to a release, and how tests read the verifier's verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedloom.cli.main import main
from fedloom.common.typed import plain
from fedloom.privacy.handover import Handover
from fedloom.privacy.release.manifest import Manifest, ReleaseFacts, read_manifest, write_manifest


def verify(folder: Path, *options: str) -> int:
    return main(["release", "verify", str(folder), *options])


def sign_again(
    folder: Path, key: Any, handovers: tuple[Handover, ...] = (), **changes: Any
) -> None:
    """Does what a dishonest publisher would: lists the files anew and signs."""
    said = {**vars_of(read_manifest(folder)), **changes}
    facts = ReleaseFacts(**{name: said[name] for name in ReleaseFacts.__struct_fields__})
    write_manifest(folder, facts, key, handovers)


def vars_of(manifest: Manifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in manifest.__struct_fields__}


def manifest_of(folder: Path) -> dict[str, Any]:
    """A release's manifest as plain values, which a test may change."""
    return dict(plain(read_manifest(folder)))


def edit(path: Path, change: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value, indent=2, sort_keys=True), encoding="utf-8")


def failed(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> set[str]:
    """Verifies with --json and returns the names of the checks that failed."""
    capsys.readouterr()
    code = verify(folder, "--json", *options)
    result = json.loads(capsys.readouterr().out)
    assert (code, result["ok"]) in ((0, True), (4, False))
    return {check["name"] for check in result["checks"] if check["ok"] is False}
