"""The study: what institutions agree on, as one TOML file.

A short file is complete; whatever it leaves out has a default that `study check --resolved`
shows. The study's digest is the SHA-256 of its canonical form, the schema's digest included, so
two files that say the same have the same digest whatever their layout.

    [study]       name, schema (path), target (optional label column)
    [privacy]     epsilon, delta, unit = "record" | "person" with id and rows_per_person,
                  trust = "local" | "secure-sum", colluding, overlap
    [model]       kind = "vae" | "gan" | "mixture" | "schema", and the model's own settings
    [statistics]  share of the budget, and settings of the statistics phase
    [training]    exchange = "weights" | "gradients", and settings of the rounds
    [evaluation]  share of the budget for scores on held-back units, and how many are held back
    [release]     rows, title, licence, contact
    [[site]]      name, key (Ed25519), exchange-key (X25519), records (a declared, public size)
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedloom.common.digest import digest
from fedloom.common.errors import StudyError
from fedloom.common.schema import Schema
from fedloom.common.study_sections import (
    EXCHANGES,
    SiteEntry,
    default_trust,
    line,
    privacy_section,
    release_section,
    site_entries,
    training_section,
)
from fedloom.common.text import as_text

__all__ = ["EXCHANGES", "MODEL_KINDS", "SiteEntry", "Study", "load_study", "parse_study"]

MODEL_KINDS = ("vae", "gan", "mixture", "schema")
_SECTIONS = {
    "study": {"name", "schema", "target"},
    "privacy": {
        "epsilon",
        "delta",
        "unit",
        "id",
        "rows_per_person",
        "overlap",
        "trust",
        "colluding",
    },
    "model": None,
    "statistics": None,
    "training": None,
    "evaluation": None,
    "release": {"rows", "title", "licence", "contact"},
    "site": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """An agreement between institutions; see the module's text for the fields' meaning.

    Attributes:
      epsilon: largest privacy loss per unit, above 0: in local trust towards everybody, with a
        secure sum towards a coordinator to whom `colluding` sites tell all they know.
      delta: failure probability in (0, 1); well below one over the number of people.
      unit: what one unit of privacy is: "record", or "person" with all rows of one `id`.
      id: the records' column that tells persons apart; not a column of the schema.
      rows_per_person: most rows of one person that are used at a site.
      overlap: most sites at which one and the same unit may have records.
      trust: "local": each site's answers alone are private against everybody; "secure-sum": the
        coordinator sees sums over sites alone. By default secure-sum from three sites on.
      colluding: how many sites may side with the coordinator; secure-sum alone, by default 1.
      model: `kind` and the model's own settings.
    """

    name: str
    schema_digest: str
    target: str | None
    epsilon: float
    delta: float
    unit: str = "record"
    id: str | None = None
    rows_per_person: int = 1
    overlap: int = 1
    trust: str = ""
    colluding: int = -1
    model: dict[str, Any]
    statistics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    release: dict[str, Any] = field(default_factory=dict)
    sites: tuple[SiteEntry, ...]

    def __post_init__(self) -> None:
        """Fills in what was left open: trust by the number of sites, one that may collude."""
        if not self.trust:
            object.__setattr__(self, "trust", default_trust(len(self.sites)))
        if self.colluding < 0:
            object.__setattr__(self, "colluding", int(self.trust == "secure-sum"))

    def to_dict(self) -> dict[str, Any]:
        """Returns the canonical form, as plain values."""
        plain = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        plain["sites"] = [site.to_dict() for site in self.sites]
        return plain

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form."""
        return digest(self.to_dict())

    def with_keys(self, keys: dict[str, tuple[str, str]]) -> Study:
        """Returns the study with the public keys of its sites filled in.

        Args:
          keys: by site, its signing key and its exchange key.

        Raises:
          StudyError: the study names another key for a site.
        """
        sites = []
        for site in self.sites:
            key, exchange_key = keys.get(site.name, (site.key, site.exchange_key))
            for named, held in ((site.key, key), (site.exchange_key, exchange_key)):
                if named is not None and named != held:
                    raise StudyError(
                        f"site {site.name!r}: the study names the key {named}, the site's home "
                        f"holds {held}; use the home that the study means, or correct the study"
                    )
            sites.append(dataclasses.replace(site, key=key, exchange_key=exchange_key))
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
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise StudyError(f"{path}: {reason}; give the path of a study.toml") from error
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
    name = line(head, "name", f"{where}: [study]")
    target = as_text(head.get("target"))
    if target is not None and target not in schema.names:
        raise StudyError(
            f"{where}: [study] target = {target!r} is not a column of the schema; "
            f"its columns are {', '.join(schema.names)}"
        )
    if model.get("kind") not in MODEL_KINDS:
        raise StudyError(
            f"{where}: [model] kind = {model.get('kind')!r}; choose one of {', '.join(MODEL_KINDS)}"
        )
    sites = site_entries(raw.get("site"), where)
    agreed = privacy_section(privacy, schema, len(sites), where)
    return Study(
        name=name,
        schema_digest=schema.digest(),
        target=target,
        model=model,
        statistics=dict(raw.get("statistics", {})),
        training=training_section(raw.get("training", {}), agreed.trust, where),
        evaluation=dict(raw.get("evaluation", {})),
        release=release_section(raw.get("release", {}), where),
        sites=sites,
        **dataclasses.asdict(agreed),
    )
