"""The study: what institutions agree on, as one TOML file.

A short file is complete; whatever it leaves out has a default that `study check --resolved`
shows. The study's digest is the SHA-256 of its canonical form, the schema's digest included, so
two files that say the same have the same digest whatever their layout.

    [study]       name, schema (path), target (optional label column)
    [privacy]     epsilon, delta, unit = "record", trust = "local"
    [model]       kind = "vae" | "gan" | "mixture", and the model's own settings
    [statistics]  share of the budget, and settings of the statistics phase
    [training]    exchange = "weights" | "gradients", and settings of the rounds
    [release]     rows, title, licence, contact
    [[site]]      name, key (Ed25519 public key), records (a declared, public size)
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedloom.common.digest import digest
from fedloom.common.errors import StudyError
from fedloom.common.schema import Schema

__all__ = ["EXCHANGES", "MODEL_KINDS", "SiteEntry", "Study", "load_study", "parse_study"]

MODEL_KINDS = ("vae", "gan", "mixture")
EXCHANGES = ("weights", "gradients")
_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}\Z")
_MOST_CHARACTERS = 200
_MOST_RECORDS = 10**12
_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}\Z")
_SECTIONS = {
    "study": {"name", "schema", "target"},
    "privacy": {"epsilon", "delta", "unit", "trust"},
    "model": None,
    "statistics": None,
    "training": None,
    "release": {"rows", "title", "licence", "contact"},
    "site": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEntry:
    """One institution of a study.

    Attributes:
      name: letters, digits, `_`, `.` and `-`.
      key: Ed25519 public key, 64 hexadecimal digits; None until the steward gave it.
      records: a size that the institution declares to be public; None keeps it private.
    """

    name: str
    key: str | None = None
    records: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry as plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An agreement between institutions; see the module's text for the fields' meaning.

    Attributes:
      epsilon: largest privacy loss per unit, towards everybody, above 0.
      delta: failure probability in (0, 1); well below one over the number of people.
      unit: what one unit of privacy is; "record".
      trust: "local": each site's answers alone are private against everybody.
      model: `kind` and the model's own settings.
    """

    name: str
    schema_digest: str
    target: str | None
    epsilon: float
    delta: float
    unit: str = "record"
    trust: str = "local"
    model: dict[str, Any]
    statistics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    release: dict[str, Any] = field(default_factory=dict)
    sites: tuple[SiteEntry, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the canonical form, as plain values."""
        plain = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        plain["sites"] = [site.to_dict() for site in self.sites]
        return plain

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form."""
        return digest(self.to_dict())

    def with_keys(self, keys: dict[str, str]) -> Study:
        """Returns the study with the public keys of its sites filled in.

        Raises:
          StudyError: the study names another key for a site.
        """
        sites = []
        for site in self.sites:
            key = keys.get(site.name, site.key)
            if site.key is not None and key != site.key:
                raise StudyError(
                    f"site {site.name!r}: the study names the key {site.key}, the site's home "
                    f"holds {key}; use the home that the study means, or correct the study"
                )
            sites.append(dataclasses.replace(site, key=key))
        return dataclasses.replace(self, sites=tuple(sites))


def load_study(path: Path) -> tuple[Study, Schema]:
    """Reads a study and the schema that it names.

    Args:
      path: a `study.toml`; the schema's path in it is relative to its folder.

    Raises:
      StudyError: the study cannot be used; the message names file, section and remedy.
      SchemaError: the schema cannot be used.
    """
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such study file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not a TOML file: {error}") from error
    schema_name = raw.get("study", {}).get("schema") if isinstance(raw.get("study"), dict) else None
    if not isinstance(schema_name, str):
        raise StudyError(f'{path}: [study] needs schema = "schema.toml", the path of the schema')
    schema_path = path.parent / schema_name
    if not schema_path.exists():
        raise StudyError(f"{path}: [study] schema names {schema_path}, which does not exist")
    schema = Schema.load(schema_path)
    return parse_study(raw, schema, where=str(path)), schema


def parse_study(raw: dict[str, Any], schema: Schema, *, where: str = "study") -> Study:
    """Builds a study from the plain values of its file.

    Args:
      raw: sections as TOML gives them.
      schema: the schema that the study is about.
      where: name of the source, for messages.

    Raises:
      StudyError: a section or key is missing, unknown, of the wrong kind or out of range.
    """
    for section, known in _SECTIONS.items():
        table = raw.get(section, {})
        if section == "site":
            continue
        if not isinstance(table, dict):
            raise StudyError(f"{where}: [{section}] must be a table")
        unknown = sorted(set(table) - known) if known is not None else []
        if unknown:
            raise StudyError(
                f"{where}: [{section}] has the unknown key {unknown[0]!r}; "
                f"known are {', '.join(sorted(known or ()))}"
            )
    unknown = sorted(set(raw) - set(_SECTIONS))
    if unknown:
        raise StudyError(
            f"{where}: unknown section [{unknown[0]}]; known are {', '.join(_SECTIONS)}"
        )
    head = raw.get("study", {})
    privacy = raw.get("privacy", {})
    model = dict(raw.get("model", {}))
    name = _line(head, "name", f"{where}: [study]")
    target = head.get("target")
    if target is not None and target not in schema.names:
        raise StudyError(
            f"{where}: [study] target = {target!r} is not a column of the schema; "
            f"its columns are {', '.join(schema.names)}"
        )
    if model.get("kind") not in MODEL_KINDS:
        raise StudyError(
            f"{where}: [model] kind = {model.get('kind')!r}; choose one of {', '.join(MODEL_KINDS)}"
        )
    return Study(
        name=name,
        schema_digest=schema.digest(),
        target=target,
        epsilon=_number(privacy, "epsilon", f"{where}: [privacy]", above=0.0),
        delta=_number(privacy, "delta", f"{where}: [privacy]", above=0.0, below=1.0),
        unit=_unit(privacy, where),
        trust=_trust(privacy, where),
        model=model,
        statistics=dict(raw.get("statistics", {})),
        training=_training(raw.get("training", {}), where),
        release=_release(raw.get("release", {}), where),
        sites=_sites(raw.get("site"), where),
    )


def _text(table: dict[str, Any], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"{where} needs {key}, a text")
    return value


def _line(table: dict[str, Any], key: str, where: str) -> str:
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


def _unit(privacy: dict[str, Any], where: str) -> str:
    unit = privacy.get("unit", "record")
    if unit == "record":
        return "record"
    if unit == "person":
        raise StudyError(
            f'{where}: [privacy] unit = "person" is not available yet; keep one row a person '
            'and say unit = "record"'
        )
    raise StudyError(f'{where}: [privacy] unit = {unit!r}; the one known is "record"')


def _trust(privacy: dict[str, Any], where: str) -> str:
    trust = privacy.get("trust", "local")
    if trust == "local":
        return "local"
    if trust == "secure-sum":
        raise StudyError(
            f'{where}: [privacy] trust = "secure-sum" is not available yet; say trust = "local"'
        )
    raise StudyError(f'{where}: [privacy] trust = {trust!r}; the one known is "local"')


def _training(table: dict[str, Any], where: str) -> dict[str, Any]:
    exchange = table.get("exchange", "weights")
    if exchange not in EXCHANGES:
        raise StudyError(
            f"{where}: [training] exchange = {exchange!r}; choose one of {', '.join(EXCHANGES)}"
        )
    return dict(table)


def _release(table: dict[str, Any], where: str) -> dict[str, Any]:
    rows = table.get("rows")
    if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int) or rows < 1):
        raise StudyError(f"{where}: [release] rows = {rows!r} must be a whole number above 0")
    for key in ("title", "licence", "contact"):
        if key in table:
            _line(table, key, f"{where}: [release]")
    return dict(table)


def _sites(entries: Any, where: str) -> tuple[SiteEntry, ...]:
    if not isinstance(entries, list) or not entries:
        raise StudyError(f"{where}: needs at least one [[site]] with a name")
    sites = []
    for position, entry in enumerate(entries, start=1):
        place = f"{where}: [[site]] number {position}"
        if not isinstance(entry, dict):
            raise StudyError(f"{place} must be a table")
        unknown = sorted(set(entry) - {"name", "key", "records"})
        if unknown:
            raise StudyError(f"{place} has the unknown key {unknown[0]!r}")
        name = _text(entry, "name", place)
        if not _SITE_NAME.match(name):
            raise StudyError(
                f"{place}: name = {name!r} must start with a letter or digit and hold at most 48 "
                "letters, digits, '_', '.', '-'"
            )
        key = entry.get("key")
        if key is not None and not (isinstance(key, str) and _PUBLIC_KEY.match(key)):
            raise StudyError(
                f"{place}: key must be an Ed25519 public key of 64 hexadecimal digits, "
                "as `fedloom site keygen` prints it"
            )
        records = entry.get("records")
        if records is not None and (
            isinstance(records, bool)
            or not isinstance(records, int)
            or not 1 <= records <= _MOST_RECORDS
        ):
            raise StudyError(
                f"{place}: records must be a whole number above 0 and at most {_MOST_RECORDS}"
            )
        sites.append(SiteEntry(name=name, key=key, records=records))
    names = [site.name for site in sites]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"{where}: two sites are called {name!r}; names must differ")
    keys = [site.key for site in sites if site.key is not None]
    if len(set(keys)) < len(keys):
        raise StudyError(f"{where}: two sites have the same key; each site needs its own")
    return tuple(sites)
