"""Checks the vectors without fedloom: the standard library, and `cryptography` for Ed25519.

It is written from README.md beside it, as a reader in another language would be, and shares no
line with the package: where the two disagree, one of them is wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FIRST_PREV = "0" * 64
TYPES = {"F32": "<f4", "F64": "<f8", "I8": "|i1", "I32": "<i4", "I64": "<i8", "U8": "|u1"}
SIZES = {"F32": 4, "F64": 8, "I8": 1, "I32": 4, "I64": 8, "U8": 1}


class Bad(Exception):
    """A vector does not hold; the text is one of the codes of README.md."""


def need(holds: bool, code: str) -> None:
    if not holds:
        raise Bad(code)


def canonical(value: Any) -> bytes:
    """JSON Canonicalization Scheme, RFC 8785."""
    return written(value).encode()


def written(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        need(abs(value) < 2**53, "format")
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
    return "{" + ",".join(written(key) + ":" + written(part) for key, part in pairs) + "}"


def number(value: float) -> str:
    """ECMAScript's Number::toString."""
    need(math.isfinite(value), "format")
    if value < 0:
        return "-" + number(-value)
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.16e}".split("e")
    for places in range(17):  # the fewest digits that read back as the same number
        mantissa, exponent = f"{value:.{places}e}".split("e")
        if float(f"{mantissa}e{exponent}") == value:
            break
    digits, point = mantissa.replace(".", "").rstrip("0"), int(exponent) + 1
    if 0 < point <= 21:
        if len(digits) <= point:
            return digits + "0" * (point - len(digits))
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    rest = "." + digits[1:] if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def parsed(text: str | bytes) -> Any:
    """JSON that means one thing: no key twice, no NaN, nothing infinite."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        need(len(dict(pairs)) == len(pairs), "format")
        return dict(pairs)

    def none(word: str) -> None:
        raise Bad("format")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=none)
    except ValueError:
        raise Bad("format") from None


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def signed(key: str, data: bytes, signature: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature), data
        )
    except (InvalidSignature, ValueError):
        raise Bad("signature") from None


def check_plan(vector: dict[str, Any]) -> None:
    need(sha256(canonical(parsed(vector["text"]))) == vector["digest"], "digest")


def check_entries(vector: dict[str, Any]) -> None:
    """The chain of a ledger, as an extract publishes it, and the key that it ends under."""
    prev, key = FIRST_PREV, vector["public_key"]
    for seq, entry in enumerate(vector["entries"]):
        fields = {"seq", "prev", "body_sha256", "hash", "signature"}
        need(set(entry) - {"body"} == fields, "format")
        need(entry["seq"] == seq and entry["prev"] == prev, "chain")
        if "body" in entry:
            need(sha256(canonical(entry["body"])) == entry["body_sha256"], "digest")
        covered = {name: entry[name] for name in ("seq", "prev", "body_sha256")}
        need(sha256(canonical(covered)) == entry["hash"], "digest")
        signed(key, b"fedloom ledger entry " + entry["hash"].encode(), entry["signature"])
        if entry.get("body", {}).get("kind") == "key-rotated":
            key = handed_on(vector["entries"][0]["hash"], entry, key)
        prev = entry["hash"]
    need(key == vector["last_key"], "signature")


def handed_on(ledger: str, entry: dict[str, Any], key: str) -> str:
    """The new key that an entry names, which the key in force has signed."""
    data = entry["body"]["data"]
    need(data["ledger"] == ledger and data["old"]["key"] == key, "chain")
    covered = [data[name] for name in ("site", "ledger", "old", "new")]
    said = canonical([*covered, entry["seq"], entry["prev"]])
    signed(
        data["new"]["key"],
        b"fedloom rotation of a site's keys\n" + said,
        data["countersignature"],
    )
    return str(data["new"]["key"])


def opened(data: bytes) -> tuple[dict[str, Any], str]:
    """A message's header, and the digest of its arrays."""
    length = int.from_bytes(data[:8], "little")
    need(8 + length <= len(data), "format")
    layout, rest = parsed(data[8 : 8 + length]), data[8 + length :]
    header = parsed(layout.pop("__metadata__")["header"])
    hasher, end = hashlib.sha256(), 0
    for name in sorted(layout):
        kind, shape = layout[name]["dtype"], layout[name]["shape"]
        first, last = layout[name]["data_offsets"]
        need(last - first == SIZES[kind] * math.prod(shape) and last <= len(rest), "format")
        hasher.update(canonical([name, TYPES[kind], shape]) + rest[first:last])
        end = max(end, last)
    need(end == len(rest), "format")
    return header, hasher.hexdigest()


def check_request(vector: dict[str, Any]) -> None:
    header, arrays = opened(base64.b64decode(vector["bytes"]))
    need(header.get("version") == vector["version"], "format")
    rest = {"nonce", "signature", "heads", "links", "known"}
    covered = {name: value for name, value in header.items() if name not in rest}
    covered["heads"] = sha256(canonical(header["heads"])) if header["masked"] else ""
    digest = sha256(canonical(covered))
    ledgers = sha256(canonical([header["heads"], header["links"], header["known"]]))
    body = canonical({"ledgers": ledgers, "nonce": header["nonce"], "request": digest})
    signed(vector["coordinator_key"], b"fedloom request\n" + body, header["signature"])
    need(arrays == header["arrays"], "arrays")
    need(digest == vector["digest"], "digest")


def check_answer(vector: dict[str, Any]) -> None:
    header, arrays = opened(base64.b64decode(vector["bytes"]))
    need(header.get("version") == vector["version"], "format")
    answer = header["answer"]
    need(arrays == answer["arrays_digest"], "arrays")
    signed(vector["site_key"], b"fedloom answer\n" + canonical(answer), header["signature"])
    for name in ("site", "nonce", "request_digest"):
        need(answer[name] == vector[name], name)


def led_to(handovers: list[dict[str, str]]) -> list[str]:
    """The keys that handed on one to the next, in order."""
    keys: list[str] = []
    for handover in handovers:
        old, new = handover["old"], handover["new"]
        need(old == (keys[-1] if keys else old) and new not in [*keys, old], "chain")
        said = b"fedloom handover of a coordinator's key\n" + canonical([old, new, handover["day"]])
        signed(old, said, handover["signature"])
        signed(new, said, handover["countersignature"])
        keys = [*(keys or [old]), new]
    return keys


def check_manifest(vector: dict[str, Any]) -> None:
    data = vector["manifest"].encode()
    manifest = parsed(data)
    need(canonical(manifest) == data, "format")
    need(vector["signature"].endswith("\n"), "format")
    key, signature = manifest["signer"]["public_key"], vector["signature"][:-1]
    signed(key, b"fedloom release manifest\n" + data, signature)
    need(key == vector["signer"], "signature")
    chain = led_to(manifest["signer"].get("handovers", []))
    need(not chain or key in chain, "chain")
    listed = {entry["path"]: entry for entry in manifest["files"]}
    need(len(listed) == len(manifest["files"]), "format")
    need(set(listed) == set(vector["files"]), "digest")
    for path, text in vector["files"].items():
        held = text.encode()
        need(
            listed[path]["bytes"] == len(held) and listed[path]["sha256"] == sha256(held), "digest"
        )


CHECKS = {
    "plan": check_plan,
    "entry": check_entries,
    "request": check_request,
    "answer": check_answer,
    "manifest": check_manifest,
}
