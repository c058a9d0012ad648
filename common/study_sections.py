"""The sections of a study's file, each read and held against what it may say."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import StudyError
from fedloom.common.schema import Schema
from fedloom.common.text import normal

__all__ = [
    "EXCHANGES",
    "LEAST_SECURE_SITES",
    "Privacy",
    "SiteEntry",
    "check_site_name",
    "default_exchange",
    "default_trust",
    "line",
    "privacy_section",
    "release_section",
    "site_entries",
    "training_section",
]

EXCHANGES = ("weights", "gradients")
LEAST_SECURE_SITES = 3
_UNITS = ("record", "person")
_TRUSTS = ("per-site", "secure-sum")
_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}\Z")
_MOST_CHARACTERS = 200
_MOST_RECORDS = 10**12
_MOST_ROWS_PER_PERSON = 100
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}\Z")
_OF_PERSONS = ("id", "rows_per_person", "overlap")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEntry:
    """One institution of a study.

    Attributes:
      name: letters, digits, `_`, `.` and `-`.
      key: Ed25519 public key, 64 hexadecimal digits; None until the steward gave it.
      exchange_key: X25519 public key, 64 hexadecimal digits; None until the steward gave it.
      records: a size that the institution declares to be public; None keeps it private.
    """

    name: str
    key: str | None = None
    exchange_key: str | None = None
    records: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What `[privacy]` says; see `fedloom.common.study.Study` for the fields."""

    epsilon: float
    delta: float
    unit: str
    id: str | None
    rows_per_person: int
    overlap: int
    trust: str
    colluding: int


def default_trust(num_sites: int) -> str:
    """Returns the trust of a study that names none."""
    return "secure-sum" if num_sites >= LEAST_SECURE_SITES else "per-site"


def default_exchange(trust: str) -> str:
    """Returns the exchange of a study that names none."""
    return "weights" if trust == "per-site" else "gradients"


def privacy_section(table: dict[str, Any], schema: Schema, num_sites: int, where: str) -> Privacy:
    """Reads `[privacy]`.

    Raises:
      StudyError: a key is missing, out of range, or does not fit the others.
    """
    place = f"{where}: [privacy]"
    unit = _choice(table, "unit", _UNITS, "record", place)
    trust = _choice(table, "trust", _TRUSTS, default_trust(num_sites), place)
    if unit == "record":
        for key in _OF_PERSONS:
            if table.get(key) is not None and table[key] != _RECORD_VALUES[key]:
                raise StudyError(f'{place} {key} is for unit = "person"; drop it, or say so')
        person = None
    else:
        person = _text(table, "id", place)
        if person in schema.names:
            raise StudyError(
                f"{place} id = {person!r} is a column of the schema: numbers of people are never "
                "synthesised; take it out of the schema"
            )
        if "rows_per_person" not in table:
            raise StudyError(
                f"{place} needs rows_per_person, the most rows of one person that are used: noise "
                "grows with it, rows beyond it are left out by lot"
            )
    return Privacy(
        epsilon=_number(table, "epsilon", place, above=0.0),
        delta=_number(table, "delta", place, above=0.0, below=1.0),
        unit=unit,
        id=person,
        rows_per_person=_whole(table, "rows_per_person", 1, place, most=_MOST_ROWS_PER_PERSON),
        overlap=_whole(table, "overlap", 1, place, most=num_sites),
        trust=trust,
        colluding=_colluding(table, trust, num_sites, place),
    )


_RECORD_VALUES: dict[str, Any] = {"id": None, "rows_per_person": 1, "overlap": 1}


def _colluding(table: dict[str, Any], trust: str, num_sites: int, place: str) -> int:
    if trust == "per-site":
        if table.get("colluding", 0) != 0:
            raise StudyError(
                f'{place} colluding is for trust = "secure-sum"; in local trust every answer is '
                "private whoever colludes: drop it"
            )
        return 0
    if num_sites < LEAST_SECURE_SITES:
        raise StudyError(
            f'{place} trust = "secure-sum" needs {LEAST_SECURE_SITES} sites or more: of two, each '
            'knows the other\'s part from the sum; say trust = "per-site"'
        )
    colluding = _whole(table, "colluding", 1, place, least=0, most=num_sites)
    if colluding > num_sites - 2:
        raise StudyError(
            f"{place} colluding = {colluding}: at least two of the {num_sites} sites must be "
            f"honest, so at most {num_sites - 2} may collude"
        )
    return colluding


def training_section(table: dict[str, Any], trust: str, where: str) -> dict[str, Any]:
    """Reads `[training]` as far as it is the same for all models."""
    exchange = table.get("exchange", default_exchange(trust))
    if exchange not in EXCHANGES:
        raise StudyError(
            f"{where}: [training] exchange = {exchange!r}; choose one of {', '.join(EXCHANGES)}"
        )
    if trust == "secure-sum" and exchange == "weights":
        raise StudyError(
            f'{where}: [training] exchange = "weights" shows the coordinator each site\'s own '
            'weights, which a secure sum is there to hide; say exchange = "gradients", or '
            '[privacy] trust = "per-site"'
        )
    return dict(table)


def release_section(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Reads `[release]`.

    Raises:
      StudyError: a key is of the wrong kind.
    """
    rows = table.get("rows")
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise StudyError(f"{where}: [release] rows = {rows!r} must be a whole number above 0")
    for key in ("title", "licence", "contact"):
        if key in table:
            line(table, key, f"{where}: [release]")
    return dict(table)


def check_site_name(name: str, where: str) -> None:
    """Refuses what cannot be the name of a site, in a study or in a home.

    Raises:
      StudyError: says what a name is made of.
    """
    if not _SITE_NAME.match(name):
        raise StudyError(
            f"{where} = {name!r} must start with a letter or digit and hold at most 48 letters, "
            "digits, '_', '.', '-'"
        )


def site_entries(entries: Any, where: str) -> tuple[SiteEntry, ...]:
    """Reads all `[[site]]`.

    Raises:
      StudyError: none is there, or one cannot be used.
    """
    if not isinstance(entries, list) or not entries:
        raise StudyError(f"{where}: needs at least one [[site]] with a name")
    sites = []
    for position, entry in enumerate(entries, start=1):
        place = f"{where}: [[site]] number {position}"
        if not isinstance(entry, dict):
            raise StudyError(f"{place} must be a table")
        unknown = sorted(set(entry) - {"name", "key", "exchange-key", "records"})
        if unknown:
            raise StudyError(f"{place} has the unknown key {unknown[0]!r}")
        name = _text(entry, "name", place)
        check_site_name(name, f"{place}: name")
        keys = {
            "key": _key(entry, "key", "an Ed25519", place),
            "exchange_key": _key(entry, "exchange-key", "an X25519", place),
        }
        records = entry.get("records")
        if records is not None and (
            isinstance(records, bool)
            or not isinstance(records, int)
            or not 1 <= records <= _MOST_RECORDS
        ):
            raise StudyError(
                f"{place}: records must be a whole number above 0 and at most {_MOST_RECORDS}"
            )
        sites.append(SiteEntry(name=name, records=records, **keys))
    names = [site.name for site in sites]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"{where}: two sites are called {name!r}; names must differ")
    for given in ([site.key for site in sites], [site.exchange_key for site in sites]):
        known = [key for key in given if key is not None]
        if len(set(known)) < len(known):
            raise StudyError(f"{where}: two sites have the same key; each site needs its own")
    return tuple(sites)


def _key(entry: dict[str, Any], name: str, kind: str, place: str) -> str | None:
    key = entry.get(name)
    if key is not None and not (isinstance(key, str) and _PUBLIC_KEY.match(key)):
        raise StudyError(
            f"{place}: {name} must be {kind} public key of 64 hexadecimal digits, "
            "as `fedloom site keygen` prints it"
        )
    return key


def _text(table: dict[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"{where} needs {key}, a text")
    return normal(value)


def line(table: dict[str, Any], key: str, where: str) -> str:
    """Returns a text that is shown to people in documents: one line, nothing invisible in it."""
    value = _text(table, key, where)
    if not value.isprintable() or len(value) > _MOST_CHARACTERS:
        raise StudyError(
            f"{where} {key} must be one printable line of at most {_MOST_CHARACTERS} characters"
        )
    return value


def _number(
    table: dict[str, Any], key: str, where: str, *, above: float, below: float = float("inf")
) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StudyError(f"{where} needs {key}, a number")
    if not above < value < below:
        limit = f"above {above:g}" + (f" and below {below:g}" if below != float("inf") else "")
        raise StudyError(f"{where} {key} = {value} must be {limit}")
    return float(value)


def _choice(
    table: dict[str, Any], key: str, known: tuple[str, ...], default: str, where: str
) -> str:
    value = table.get(key, default)
    if value not in known:
        raise StudyError(f"{where} {key} = {value!r}; choose one of {', '.join(known)}")
    return str(value)


def _whole(
    table: dict[str, Any], key: str, default: int, where: str, *, most: int, least: int = 1
) -> int:
    value = table.get(key, default)
    if type(value) is not int or not least <= value <= most:
        raise StudyError(f"{where} {key} = {value!r} must be a whole number from {least} to {most}")
    return value
