"""What a dishonest publisher does to a release, and how tests read the verifier's verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedloom.cli.main import main
from fedloom.privacy.release.manifest import read_manifest, write_manifest


def verify(folder: Path, *options: str) -> int:
    return main(["release", "verify", str(folder), *options])


def sign_again(folder: Path, key: Any, **changes: Any) -> None:
    """Does what a dishonest publisher would: lists the files anew and signs."""
    manifest = {**read_manifest(folder), **changes}
    for made in ("format", "signer", "files"):
        manifest.pop(made)
    write_manifest(folder, manifest, key)


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
