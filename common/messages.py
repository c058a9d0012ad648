"""What travels between coordinator and site: one request, one answer, as bytes.

A message is a canonical JSON header and named arrays (safetensors), never pickle. The request's
digest covers everything that the answer depends on, the roster included, and leaves out the
`nonce`, which proves freshness, and the signature. Each request also shows how far the ledgers have
come (`fedloom.common.signed_heads`): the answer to a secure sum depends on that, as its masks are
made for it, any other does not. A site keys its stored answers by (study, run,
round, attempt) and holds the digest against it, so the same request gets the same bytes and
another request under the same key is refused.

A request is signed by the coordinator over its digest, its nonce and what it shows of ledgers, with
the key that the plan names.
The header holds the digest of the arrays, so that the signature is checked before a single array is
read (`Unopened`), and nobody but the coordinator can make a site do anything.

An answer is signed by the site over its header, which names the site, echoes the request's nonce
and holds the digest of the arrays: every answer proves who gave it. An answer that refuses
carries its `Status`, with `used-up` the number of runs that were approved, with `turned-back` whose
ledger it is, and nothing else, for the text of an error may quote records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from fedloom.common.digest import canonical_json, digest, sha256_hex
from fedloom.common.errors import ConfigError
from fedloom.common.message_bytes import (
    VERSION,
    Arrays,
    arrays_digest,
    pack_message,
    read_arrays,
    read_header,
)
from fedloom.common.signed_heads import KnownHead, SeenHead, SignedHead, heads_digest
from fedloom.common.typed import Section, Sha256, plain, read_typed
from fedloom.common.vocabulary import Query, Status

if TYPE_CHECKING:
    from flwr.app import RecordDict

__all__ = [
    "MAX_HEADER_BYTES",
    "Answer",
    "AnswerHeader",
    "Arrays",
    "Finished",
    "Prepared",
    "Request",
    "RequestHeader",
    "Unopened",
    "arrays_digest",
    "from_record",
    "to_record",
]

# Of a request: names, parameters, rosters, and of each site its head: 500 KB for a thousand sites.
MAX_HEADER_BYTES = 1 << 20

_ANSWER = b"fedloom answer\n"
_REQUEST = b"fedloom request\n"
_RECORD_KEY = "fedloom"

Name = Annotated[str, Meta(max_length=256)]
Roster = tuple[str, ...]
Heads = dict[str, SignedHead]
Links = dict[str, tuple[Sha256, ...]]
Known = dict[str, KnownHead]


class RequestHeader(Section, frozen=True):
    """A request without its arrays; see `Request` for the fields."""

    query: Query
    study: Name
    plan: Name
    run: Name
    round: Annotated[int, Meta(ge=0, lt=2**31)]
    void: tuple[Roster, ...]
    params: dict[str, Any]
    roster: Roster
    arrays: Name
    """Digest of the arrays."""
    masked: bool
    heads: Heads
    links: Links
    known: Known
    nonce: Name
    signature: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One query of the coordinator to every site of a roster.

    Attributes:
      query: what is asked.
      study: digest of the study.
      plan: digest of the plan that the stewards approved.
      run: name of the run, chosen by the coordinator; a site ties it to one reservation.
      round: round of the plan, from 1; 0 for `prepare` and `finish`.
      void: the rosters of this round's earlier attempts, in order, none of which opened.
      params: what the answer depends on beside the arrays (noise, rates, steps: requests only,
        the site holds them against its approved plan).
      roster: names of the sites that are asked, sorted.
      arrays: weights at which to answer.
      masked: the answer is a part of a secure sum, and depends on `heads`.
      heads: of a round, by site of the roster, the head that promised this answer.
      links: by site, those of the entries before that head, as far back as a fellow needs them.
      known: of `prepare` and `finish`, by site, the newest head of it that the coordinator knows.
      nonce: fresh random text that the answer's signature must echo.
      signature: Ed25519 of `signed_bytes` by the coordinator, in hexadecimal digits.
    """

    query: Query
    study: str
    plan: str
    run: str
    round: int = 0
    void: tuple[Roster, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    roster: Roster = ()
    arrays: Arrays = field(default_factory=dict)
    masked: bool = False
    heads: Heads = field(default_factory=dict)
    links: Links = field(default_factory=dict)
    known: Known = field(default_factory=dict)
    nonce: str = ""
    signature: str = ""

    @property
    def attempt(self) -> int:
        """Number of this attempt at the round, from 1."""
        return len(self.void) + 1

    def _covered(self) -> dict[str, Any]:
        return {
            "query": str(self.query),
            "study": self.study,
            "plan": self.plan,
            "run": self.run,
            "round": self.round,
            "void": [list(roster) for roster in self.void],
            "params": self.params,
            "roster": list(self.roster),
            "arrays": arrays_digest(self.arrays),
            "masked": self.masked,
        }

    def digest(self) -> str:
        """Returns the SHA-256 of all that the answer depends on."""
        return _digest(self._covered(), self.heads)

    def signed_bytes(self) -> bytes:
        """Returns what the signature covers: a purpose, so that it signs nothing else, and all."""
        return _signed_bytes(self.digest(), self.nonce, self.heads, self.links, self.known)

    def pack(self) -> bytes:
        """Returns the request as bytes."""
        ledgers = {name: plain(getattr(self, name)) for name in _LEDGERS}
        rest = {**ledgers, "nonce": self.nonce, "signature": self.signature}
        return pack_message({**self._covered(), **rest}, self.arrays)

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
      header: all fields but arrays, signature included and unchecked.
      digest: the request's digest, if its arrays are those that the header names.
      data: the request's bytes.
    """

    header: RequestHeader
    digest: str
    data: bytes = field(repr=False)

    @classmethod
    def read(cls, data: bytes) -> Unopened:
        """Reads the header.

        Raises:
          ConfigError: it is not that of a request of this version.
        """
        raw = read_header(data, MAX_HEADER_BYTES)
        header = read_typed(raw, RequestHeader, where="a request")
        try:
            rest = {*_LEDGERS, "nonce", "signature"}
            covered = _digest({name: raw[name] for name in raw.keys() - rest}, header.heads)
            canonical_json([header.nonce])
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError("a request with a value that has no canonical form") from error
        return cls(header=header, digest=covered, data=data)

    def signed_bytes(self) -> bytes:
        """Returns what the signature has to cover."""
        header = self.header
        return _signed_bytes(self.digest, header.nonce, header.heads, header.links, header.known)

    def open(self) -> Request:
        """Reads the arrays too.

        Raises:
          ConfigError: they are damaged, or not those of which the header holds the digest.
        """
        arrays, header = read_arrays(self.data), self.header
        if arrays_digest(arrays) != header.arrays:
            raise ConfigError("a request whose arrays are not those that its header names")
        return Request(
            query=header.query,
            study=header.study,
            plan=header.plan,
            run=header.run,
            round=header.round,
            void=header.void,
            params=header.params,
            roster=header.roster,
            arrays=arrays,
            masked=header.masked,
            heads=header.heads,
            links=header.links,
            known=header.known,
            nonce=header.nonce,
            signature=header.signature,
        )


_LEDGERS = ("heads", "links", "known")


def _digest(covered: dict[str, Any], heads: Heads) -> str:
    bound = heads_digest(heads) if covered["masked"] else ""
    return digest({"version": VERSION, "heads": bound, **covered})


def _signed_bytes(
    request_digest: str, nonce: str, heads: Heads, links: Links, known: Known
) -> bytes:
    # Written by msgspec, as `heads_digest` is: a thousand sites make half a megabyte of it.
    ledgers = sha256_hex(msgspec.json.encode([heads, links, known], order="sorted"))
    signed = {"request": request_digest, "nonce": nonce, "ledgers": ledgers}
    return _REQUEST + canonical_json(signed)


class Prepared(Section, frozen=True):
    """What a site says once it has reserved the plan and read its records; nothing private."""

    plan_digest: str
    study_digest: str
    schema_digest: str
    runs: Annotated[int, Meta(ge=1)]
    """Runs of the plan that were answered or are granted, all priced together."""
    versions: dict[str, str]
    """Of the software that answers, by package."""
    seen: dict[str, SeenHead]
    """By fellow site, the head that a request of this run must go on from, if one was seen."""


class Finished(Section, frozen=True):
    """What a site says once a run is closed."""

    plan_digest: str
    extract: list[dict[str, Any]]
    """Of its ledger (`fedloom.privacy.ledger.extract`)."""


class AnswerHeader(Section, frozen=True, omit_defaults=True):
    """An answer without its arrays; all of it is signed.

    Attributes:
      site: name of the site; true only if the signature holds for that site's key.
      status: "ok" or why the site refuses.
      request_digest: of the request; empty if none could be read.
      nonce: the request's.
      head: of the site's ledger.
      arrays_digest: of the answer's arrays.
      stored: the answer was given before, and is sent once more.
      promise: if the site answers, a signed head with the nonce of its next answer in this run.
      links: from the head that the request knows or names of this site to the promised one.
      turned_back: with `turned-back`, whose ledgers went back.
      runs: with `used-up`, how many runs were approved.
      version: with `other-version`, the site's fedloom.
      prepared: the answer to `prepare`.
      finished: the answer to `finish`.
    """

    site: str
    status: Status
    request_digest: str
    nonce: str
    head: SeenHead
    arrays_digest: Sha256
    stored: bool = False
    promise: SignedHead | None = None
    links: tuple[Sha256, ...] = ()
    turned_back: Roster = ()
    runs: Annotated[int, Meta(ge=1)] | None = None
    version: Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+-]{0,40}\Z")] = ""
    prepared: Prepared | None = None
    finished: Finished | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A site's signed answer.

    Attributes:
      header: all but the arrays.
      arrays: the noised answer.
      signature: Ed25519 of `signed_bytes` by the site, in hexadecimal digits.
    """

    header: AnswerHeader
    arrays: Arrays = field(default_factory=dict)
    signature: str = ""

    @property
    def site(self) -> str:
        """Name that the answer claims; true only if the signature holds for that site's key."""
        return self.header.site

    @property
    def ok(self) -> bool:
        """Whether the site answered."""
        return self.header.status is Status.OK

    def signed_bytes(self) -> bytes:
        """Returns what the signature covers: a purpose, so that it signs nothing else, and all."""
        return _ANSWER + canonical_json(plain(self.header))

    def pack(self) -> bytes:
        """Returns the answer as bytes."""
        return pack_message(
            {"answer": plain(self.header), "signature": self.signature}, self.arrays
        )

    @classmethod
    def unpack(cls, data: bytes) -> Answer:
        """Reads an answer and holds its arrays against its header.

        Raises:
          ConfigError: the bytes are not an answer, or the arrays are not those of the header.
        """
        read = read_typed(read_header(data), _SignedHeader, where="an answer")
        arrays = read_arrays(data)
        if read.answer.arrays_digest != arrays_digest(arrays):
            raise ConfigError("an answer whose arrays are not those that the site signed")
        return cls(header=read.answer, arrays=arrays, signature=read.signature)


class _SignedHeader(Section, frozen=True):
    answer: AnswerHeader
    signature: str


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
