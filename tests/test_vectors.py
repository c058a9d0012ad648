"""The golden vectors hold, to fedloom and to a reader that knows nothing of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, FedloomError
from fedloom.common.messages import Unopened
from fedloom.privacy.keys import verify
from fedloom.privacy.ledger.chain import verify_chain
from fedloom.privacy.ledger.entries import Entry
from fedloom.privacy.ledger.state import replay
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.manifest import MANIFEST, SIGNATURE, list_files, read_manifest
from fedloom.server.admission import Rejected, admit
from tests.vectors import check, generate

KINDS = sorted(check.CHECKS)
VECTORS = {
    kind: json.loads((generate.FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    for kind in KINDS
}


def cases(which: str) -> list[Any]:
    return [
        pytest.param(kind, vector, id=f"{kind}: {vector['name']}")
        for kind in KINDS
        for vector in VECTORS[kind][which]
    ]


def fedloom_says(kind: str, vector: dict[str, Any], folder: Path) -> str:
    """Returns "ok", or what fedloom answers: a status, or the class of its error."""
    try:
        match kind:
            case "plan":
                (folder / "plan.json").write_text(vector["text"], encoding="utf-8")
                plan = Plan.load(folder / "plan.json")
                return "ok" if plan.digest() == vector["digest"] else "digest"
            case "entry":
                entries = [Entry.from_dict(value) for value in vector["entries"]]
                last = verify_chain(entries, vector["public_key"])
                replay(entries)
                assert last == vector["last_key"]
            case "request":
                return request_status(vector)
            case "answer":
                found = admit(
                    base64.b64decode(vector["bytes"]),
                    site=vector["site"],
                    key=vector["site_key"],
                    nonce=vector["nonce"],
                    request_digest=vector["request_digest"],
                )
                assert found.header.status == vector["status"]
            case "manifest":
                for path, text in vector["files"].items():
                    (folder / path).write_text(text, encoding="utf-8")
                (folder / MANIFEST).write_text(vector["manifest"], encoding="utf-8")
                (folder / SIGNATURE).write_text(vector["signature"], encoding="ascii")
                manifest = read_manifest(folder)
                assert manifest.signer.public_key == vector["signer"]
                return "ok" if manifest.files == tuple(list_files(folder)) else "files"
    except (FedloomError, Rejected) as error:
        return type(error).__name__
    return "ok"


def request_status(vector: dict[str, Any]) -> str:
    """In the order of a vault's gate: header, signature, arrays."""
    try:
        unopened = Unopened.read(base64.b64decode(vector["bytes"]))
        signature = unopened.header.signature
        if not verify(vector["coordinator_key"], unopened.signed_bytes(), signature):
            return "unsigned"
        return "ok" if unopened.open().digest() == vector["digest"] else "digest"
    except ConfigError:
        return "malformed"


@pytest.mark.parametrize(("kind", "vector"), cases("good"))
def test_a_good_vector_holds(kind, vector, tmp_path):
    check.CHECKS[kind](vector)
    assert fedloom_says(kind, vector, tmp_path) == "ok"


@pytest.mark.parametrize(("kind", "vector"), cases("bad"))
def test_a_bad_vector_is_refused_by_its_code(kind, vector, tmp_path):
    """Rules of a ledger are fedloom's alone: they take more than hashes and signatures."""
    if vector["code"] == "rules":
        check.CHECKS[kind](vector)
    else:
        with pytest.raises(check.Bad, match=rf"\A{vector['code']}\Z"):
            check.CHECKS[kind](vector)
    assert fedloom_says(kind, vector, tmp_path) == vector["fedloom"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_generator_writes_the_same_bytes(kind):
    """If a format changed on purpose: python -m tests.vectors.generate."""
    written = (generate.FOLDER / f"{kind}.json").read_text(encoding="utf-8")
    assert generate.text_of(kind) == written


def test_the_reader_without_fedloom_imports_none_of_it():
    text = Path(check.__file__).read_text()
    imported = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert not any("fedloom" in line or "rfc8785" in line for line in imported)


@pytest.mark.parametrize(
    "value",
    [0.0, -0.0, 1.0, -1.5, 0.1, 1e-5, 1e-6, 1e-7, 1.5e-7, 1e20, 1e21, 1.25e21, 5e-324, 2.0**53 - 1]
    + [1.7976931348623157e308, 333333333.33333329, 4.35, 0.000001, 123456789012345680000.0],
)
def test_both_write_a_number_alike(value):
    assert check.canonical([value]) == canonical_json([value])


def test_both_sort_keys_alike():
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": "\x1f\n"}
    assert check.canonical(value) == canonical_json(value)
