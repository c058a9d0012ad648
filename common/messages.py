"""What travels between coordinator and site: one request, one answer, as bytes.

A message is a canonical JSON header and named arrays (safetensors), never pickle. The request's
digest covers everything that the answer depends on, the roster included, and leaves out what it
does not: the `nonce`, which proves freshness, and `finish`. A site keys its stored answers by
(study, run, round, attempt) and holds the digest against it, so the same request gets the same
bytes and another request under the same key is refused.

A request is signed by the coordinator over its digest, nonce and `finish`, with the key that the
plan names. The header holds the digest of the arrays, so that the signature is checked before a
single array is read (`Unopened`), and nobody but the coordinator can make a site do anything.

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
    "MAX_HEADER_BYTES",
    "Answer",
    "Request",
    "Unopened",
    "arrays_digest",
    "from_record",
    "to_record",
]

VERSION = 2
# Of a request: its names, parameters and rosters; a thousand sites need a few tens of kilobytes.
MAX_HEADER_BYTES = 1 << 20
QUERIES = ("describe", "statistic", "gradient", "train", "evaluate")
REFUSALS = (
    "malformed",  # cannot be read as a request
    "unsigned",  # not signed by the coordinator of the approved plan that it names
    "not-approved",  # the steward has not approved this plan, or revoked or paused it
    "used-up",  # every run that the steward approved is used
    "outside-plan",  # asks for what the approved plan does not hold
    "conflict",  # another request was answered under the same key
    "budget",  # the ledger has no room
    "closed",  # the run is finished at this site
    "unavailable",  # the site cannot answer now; its steward can see why
)

_ANSWER = b"fedloom answer\n"
_REQUEST = b"fedloom request\n"
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


def _read_header(data: bytes, most: int | None = None) -> dict[str, Any]:
    """Reads a message's header, and no array."""
    try:
        length = int.from_bytes(data[:8], "little")
        if most is not None and length > most:
            raise ValueError("a header that is too long")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[_HEADER_KEY])
    except Exception as error:
        raise ConfigError("a message that is not fedloom's, or was damaged on its way") from error
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise ConfigError(f"a message of another version; this fedloom speaks version {VERSION}")
    return header


def _read_arrays(data: bytes) -> dict[str, np.ndarray]:
    try:
        return safetensors.numpy.load(data)
    except Exception as error:
        raise ConfigError("a message that is not fedloom's, or was damaged on its way") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One query of the coordinator to every site of a roster.

    Attributes:
      query: one of `QUERIES`.
      study: digest of the study.
      plan: digest of the plan that the stewards approved.
      run: name of the run, chosen by the coordinator; a site ties it to one reservation.
      round: round of the plan, from 1; 0 for `describe`.
      void: the rosters of this round's earlier attempts, in order, none of which opened.
      params: what the answer depends on beside the arrays (noise, rates, steps: requests only,
        the site holds them against its approved plan).
      roster: names of the sites that are asked, sorted.
      arrays: weights at which to answer.
      nonce: fresh random text that the answer's signature must echo.
      finish: `describe` alone: the run is over; the site closes it and drops its stored answers.
      signature: Ed25519 of `signed_bytes` by the coordinator, in hexadecimal digits.
    """

    query: str
    study: str
    plan: str
    run: str
    round: int = 0
    void: tuple[tuple[str, ...], ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    roster: tuple[str, ...] = ()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    nonce: str = ""
    finish: bool = False
    signature: str = ""

    @property
    def attempt(self) -> int:
        """Number of this attempt at the round, from 1."""
        return len(self.void) + 1

    def _header(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "query": self.query,
            "study": self.study,
            "plan": self.plan,
            "run": self.run,
            "round": self.round,
            "void": [list(roster) for roster in self.void],
            "params": self.params,
            "roster": list(self.roster),
            "arrays": arrays_digest(self.arrays),
        }

    def digest(self) -> str:
        """Returns the SHA-256 of all that the answer depends on."""
        return digest(self._header())

    def signed_bytes(self) -> bytes:
        """Returns what the signature covers: a purpose, so that it signs nothing else, and all."""
        return _signed_bytes(self.digest(), self.nonce, self.finish)

    def pack(self) -> bytes:
        """Returns the request as bytes."""
        rest = {"nonce": self.nonce, "finish": self.finish, "signature": self.signature}
        return _pack({**self._header(), **rest}, self.arrays)

    @classmethod
    def unpack(cls, data: bytes) -> Request:
        """Reads a request; whose it is, is not checked.

        Raises:
          ConfigError: the bytes are not a request of this version.
        """
        return Unopened.read(data).open()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unopened:
    """A request of which the header alone was read: enough to tell whose it is.

    Attributes:
      header: all fields but arrays, signature included, each of its kind.
      digest: the request's digest, if its arrays are those that the header names.
      data: the request's bytes.
    """

    header: dict[str, Any]
    digest: str
    data: bytes = field(repr=False)

    @classmethod
    def read(cls, data: bytes) -> Unopened:
        """Reads the header.

        Raises:
          ConfigError: it is not that of a request of this version.
        """
        header = _read_header(data, MAX_HEADER_BYTES)
        if set(header) != {*_FIELDS, *_REST}:
            raise ConfigError("a request that lacks a field, or has another")
        texts = [header[name] for name in _TEXTS]
        void: list[Any] = header["void"] if isinstance(header["void"], list) else [None]
        rosters = [header["roster"], *void]
        well_formed = (
            header["query"] in QUERIES
            and all(isinstance(text, str) and len(text) <= 256 for text in texts)
            and type(header["round"]) is int
            and 0 <= header["round"] < 2**31
            and isinstance(header["params"], dict)
            and all(isinstance(roster, list) for roster in rosters)
            and all(isinstance(name, str) for roster in rosters for name in roster)
            and isinstance(header["finish"], bool)
        )
        if not well_formed:
            raise ConfigError("a request with a field of the wrong kind")
        try:
            covered = digest({name: header[name] for name in _FIELDS})
            canonical_json([header["nonce"]])
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError("a request with a value that has no canonical form") from error
        return cls(header=header, digest=covered, data=data)

    @property
    def plan(self) -> str:
        """Digest of the plan that the request names."""
        return str(self.header["plan"])

    @property
    def query(self) -> str:
        """The query; one of `QUERIES`."""
        return str(self.header["query"])

    @property
    def nonce(self) -> str:
        """What an answer echoes."""
        return str(self.header["nonce"])

    @property
    def signature(self) -> str:
        """The signature that the request bears, unchecked."""
        return str(self.header["signature"])

    def signed_bytes(self) -> bytes:
        """Returns what the signature has to cover."""
        return _signed_bytes(self.digest, self.nonce, self.header["finish"])

    def open(self) -> Request:
        """Reads the arrays too.

        Raises:
          ConfigError: they are damaged, or not those of which the header holds the digest.
        """
        arrays = _read_arrays(self.data)
        if arrays_digest(arrays) != self.header["arrays"]:
            raise ConfigError("a request whose arrays are not those that its header names")
        fields = {name: self.header[name] for name in ("query", "study", "plan", "run", "round")}
        return Request(
            **fields,
            void=tuple(tuple(roster) for roster in self.header["void"]),
            params=self.header["params"],
            roster=tuple(self.header["roster"]),
            arrays=arrays,
            nonce=self.nonce,
            finish=self.header["finish"],
            signature=self.signature,
        )


_FIELDS = (
    "version",
    "query",
    "study",
    "plan",
    "run",
    "round",
    "void",
    "params",
    "roster",
    "arrays",
)
_REST = ("nonce", "finish", "signature")
_TEXTS = ("query", "study", "plan", "run", "arrays", "nonce", "signature")


def _signed_bytes(request_digest: str, nonce: str, finish: bool) -> bytes:
    return _REQUEST + canonical_json({"request": request_digest, "nonce": nonce, "finish": finish})


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
        return _ANSWER + canonical_json(self.header)

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
        header, arrays = _read_header(data), _read_arrays(data)
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
