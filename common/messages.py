"""What travels between coordinator and site: one request, one answer, as bytes.

A message is a canonical JSON header and named arrays (safetensors), never pickle. The request's
digest covers everything that the answer depends on, the roster included, and leaves out what it
does not: the `nonce`, which proves freshness, and `finish`. A site keys its stored answers by
(study, run, round, attempt) and holds the digest against it, so the same request gets the same
bytes and another request under the same key is refused.

An answer is signed by the site over its header, which names the site, echoes the request's nonce
and holds the digest of the arrays: every answer proves who gave it. An answer that refuses
carries a code from `REFUSALS`, with `used-up` the number of runs that were approved, and nothing
else, for the text of an error may quote records.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from fedloom.common.digest import canonical_json, digest
from fedloom.common.errors import ConfigError

if TYPE_CHECKING:
    from flwr.app import RecordDict

__all__ = [
    "QUERIES",
    "REFUSALS",
    "Answer",
    "Request",
    "arrays_digest",
    "from_record",
    "to_record",
]

VERSION = 1
QUERIES = ("describe", "statistic", "gradient", "train", "evaluate")
REFUSALS = (
    "malformed",  # cannot be read as a request
    "not-approved",  # the steward has not approved this plan, or revoked or paused it
    "used-up",  # every run that the steward approved is used
    "outside-plan",  # asks for what the approved plan does not hold
    "conflict",  # another request was answered under the same key
    "budget",  # the ledger has no room
    "closed",  # the run is finished at this site
    "unavailable",  # the site cannot answer now; its steward can see why
)

_PURPOSE = b"fedloom answer\n"
_RECORD_KEY = "fedloom"
_HEADER_KEY = "header"


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes of `arrays`, in order of name."""
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(canonical_json([name, array.dtype.str, list(array.shape)]))
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def _pack(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(
        contiguous, metadata={_HEADER_KEY: canonical_json(header).decode()}
    )


def _unpack(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        arrays = safetensors.numpy.load(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[_HEADER_KEY])
    except Exception as error:
        raise ConfigError("a message that is not fedloom's, or was damaged on its way") from error
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise ConfigError(f"a message of another version; this fedloom speaks version {VERSION}")
    return header, arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One query of the coordinator to every site of a roster.

    Attributes:
      query: one of `QUERIES`.
      study: digest of the study.
      plan: digest of the plan that the stewards approved.
      run: name of the run, chosen by the coordinator; a site ties it to one reservation.
      round: round of the plan, from 1; 0 for `describe`.
      attempt: from 1; only grows.
      params: what the answer depends on beside the arrays (noise, rates, steps: requests only,
        the site holds them against its approved plan).
      roster: names of the sites that are asked, sorted.
      arrays: weights at which to answer.
      nonce: fresh random text that the answer's signature must echo.
      finish: `describe` alone: the run is over; the site closes it and drops its stored answers.
    """

    query: str
    study: str
    plan: str
    run: str
    round: int = 0
    attempt: int = 1
    params: dict[str, Any] = field(default_factory=dict)
    roster: tuple[str, ...] = ()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    nonce: str = ""
    finish: bool = False

    def _header(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "query": self.query,
            "study": self.study,
            "plan": self.plan,
            "run": self.run,
            "round": self.round,
            "attempt": self.attempt,
            "params": self.params,
            "roster": list(self.roster),
        }

    def digest(self) -> str:
        """Returns the SHA-256 of all that the answer depends on."""
        return digest({**self._header(), "arrays": arrays_digest(self.arrays)})

    def pack(self) -> bytes:
        """Returns the request as bytes."""
        header = {**self._header(), "nonce": self.nonce, "finish": self.finish}
        return _pack(header, self.arrays)

    @classmethod
    def unpack(cls, data: bytes) -> Request:
        """Reads a request.

        Raises:
          ConfigError: the bytes are not a request of this version.
        """
        header, arrays = _unpack(data)
        try:
            request = cls(
                query=header["query"],
                study=header["study"],
                plan=header["plan"],
                run=header["run"],
                round=header["round"],
                attempt=header["attempt"],
                params=header["params"],
                roster=tuple(header["roster"]),
                nonce=header["nonce"],
                finish=header["finish"],
                arrays=arrays,
            )
        except (KeyError, TypeError) as error:
            raise ConfigError("a request that lacks a field") from error
        texts = (request.query, request.study, request.plan, request.run, request.nonce)
        numbers = (request.round, request.attempt)
        well_formed = (
            request.query in QUERIES
            and all(isinstance(text, str) and len(text) <= 256 for text in texts)
            and all(type(number) is int and 0 <= number < 2**31 for number in numbers)
            and isinstance(request.params, dict)
            and all(isinstance(name, str) for name in request.roster)
            and isinstance(request.finish, bool)
        )
        if not well_formed:
            raise ConfigError("a request with a field of the wrong kind")
        try:
            canonical_json([request._header(), request.nonce])
        except (TypeError, ValueError) as error:
            raise ConfigError("a request with a value that has no canonical form") from error
        return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A site's signed answer.

    Attributes:
      header: site, status ("ok" or a code of `REFUSALS`), request_digest, nonce, arrays_digest,
        and for `describe` the schema's and the study's digest, the number of runs of the plan
        that were answered or may be, and the software's versions.
      arrays: the noised answer.
      signature: Ed25519 of the canonical header, in hexadecimal digits.
    """

    header: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    signature: str = ""

    @property
    def site(self) -> str:
        """Name that the answer claims; true only if the signature holds for that site's key."""
        return str(self.header.get("site", ""))

    @property
    def ok(self) -> bool:
        """Whether the site answered."""
        return self.header.get("status") == "ok"

    def signed_bytes(self) -> bytes:
        """Returns what the signature covers: a purpose, so that it signs nothing else, and all."""
        return _PURPOSE + canonical_json(self.header)

    def pack(self) -> bytes:
        """Returns the answer as bytes."""
        header = {"version": VERSION, "answer": self.header, "signature": self.signature}
        return _pack(header, self.arrays)

    @classmethod
    def unpack(cls, data: bytes) -> Answer:
        """Reads an answer and holds its arrays against its header.

        Raises:
          ConfigError: the bytes are not an answer, or the arrays are not those of the header.
        """
        header, arrays = _unpack(data)
        answer = header.get("answer")
        signature = header.get("signature")
        if not isinstance(answer, dict) or not isinstance(signature, str):
            raise ConfigError("an answer that lacks a field")
        if answer.get("arrays_digest") != arrays_digest(arrays):
            raise ConfigError("an answer whose arrays are not those that the site signed")
        return cls(header=answer, arrays=arrays, signature=signature)


def to_record(payload: bytes) -> RecordDict:
    """Wraps a message's bytes for Flower."""
    from flwr.app import ConfigRecord, RecordDict

    return RecordDict({_RECORD_KEY: ConfigRecord({"payload": payload})})


def from_record(record: RecordDict) -> bytes:
    """Takes a message's bytes out of what Flower delivered.

    Raises:
      ConfigError: the record is not fedloom's.
    """
    try:
        payload = record.config_records[_RECORD_KEY]["payload"]
    except KeyError as error:
        raise ConfigError("a Flower message that is not fedloom's") from error
    if not isinstance(payload, bytes):
        raise ConfigError("a Flower message whose payload is not bytes")
    return payload
