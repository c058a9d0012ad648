"""The study: what institutions agree on, as one TOML file.

A short file is complete; whatever it leaves out has a default that `study check --resolved`
shows. The study's digest is the SHA-256 of its canonical form, the schema's digest included, so
two files that say the same have the same digest whatever their layout.

    [study]         name, schema (path), target (optional label column)
    [privacy]       epsilon, delta, unit = "record" | "person" with id and rows_per_person,
                    trust = "per-site" | "secure-sum", colluding, overlap
    [model]         kind, and the settings of that kind (fedloom.common.models.registry)
    [statistics]    share of the budget, and settings of the statistics
    [training]      exchange = "weights" | "gradients", and settings of the rounds
    [coordination]  min_sites, timeout_s
    [evaluation]    share of the budget for scores on held-back units, and how many are held back
    [public]        table or release that serves as prior, source (fedloom.common.public_data)
    [release]       rows, title, licence, contact
    [coordinator]   key (Ed25519) that signs every request to the sites
    [[site]]        name, key (Ed25519), exchange-key (X25519), records (a declared, public size)
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from fedloom.common.digest import digest
from fedloom.common.errors import StudyError
from fedloom.common.models.registry import ModelKind, ModelSettings, model_kind, read_model
from fedloom.common.models.settings import Training
from fedloom.common.parts import load_part
from fedloom.common.privacy_settings import PrivacySettings, default_exchange, privacy_settings
from fedloom.common.public_data import PublicData, located
from fedloom.common.schema import Schema
from fedloom.common.text import as_text, normal
from fedloom.common.typed import Line, PublicKey, Section, plain, read_typed
from fedloom.common.vocabulary import Exchange, Trust

__all__ = [
    "Coordination",
    "Coordinator",
    "EvaluationSettings",
    "MarginalKind",
    "ReleaseSettings",
    "SiteEntry",
    "SiteName",
    "StatisticsSettings",
    "Study",
    "check_site_name",
    "load_study",
    "parse_study",
]

# What is left of a share is for the other phases.
Share = Annotated[float, Meta(ge=1e-4, le=1.0 - 1e-4)]
_MAX_RECORDS = 10**12

MarginalKind = Literal["one-way", "pairwise", "three-way"]


SiteName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,47}\Z",
        extra={"what": "a letter or digit and then at most 47 letters, digits, '_', '.' or '-'"},
    ),
]


def check_site_name(name: str, where: str) -> None:
    """Refuses what cannot be the name of a site, in a study or in a home.

    Raises:
      StudyError: says what a name is made of.
    """
    read_typed(name, SiteName, where=where, error=StudyError)


class SiteEntry(Section, frozen=True, kw_only=True, rename={"exchange_key": "exchange-key"}):
    """One institution of a study.

    Attributes:
      name: letters, digits, `_`, `.` and `-`.
      key: Ed25519 public key; None until the steward gave it.
      exchange_key: X25519 public key; None until the steward gave it.
      records: a size that the institution declares to be public; None keeps it private.
    """

    name: SiteName
    key: PublicKey | None = None
    exchange_key: PublicKey | None = None
    records: Annotated[int, Meta(ge=1, le=_MAX_RECORDS)] | None = None


class StatisticsSettings(Section, frozen=True, kw_only=True):
    """`[statistics]`; None leaves a value to the study's resolution.

    Attributes:
      kind: which marginals within each class are counted, at the most.
      share: of the budget.
      one_way_share: of that, for the one-way counts, where pairs are counted too.
      class_share: of that, for the columns within classes of a model that looks at them apart; 0
        for none.
      three_way_share: of that, for coarse triples of columns, where they are counted.
      parity_share: of that, for parities of three to five columns; 0 for none.
      memory_mb: at a site, for the counts of pairs.
      spare_rounds: attempts of each statistics round that make good void ones, in the price.
    """

    kind: MarginalKind | None = None
    share: Annotated[float, Meta(ge=1e-4, le=1.0)] | None = None
    one_way_share: Share | None = None
    class_share: Annotated[float, Meta(ge=0.0, le=1.0 - 1e-4)] | None = None
    three_way_share: Share | None = None
    parity_share: Annotated[float, Meta(ge=0.0, le=1.0 - 1e-4)] | None = None
    memory_mb: Annotated[int, Meta(ge=1, le=16_384)] = 200
    spare_rounds: Annotated[int, Meta(ge=0, le=1_000)] = 0


class EvaluationSettings(Section, frozen=True, kw_only=True):
    """`[evaluation]`.

    Attributes:
      share: of the budget; 0 for no evaluation.
      hold_back: chance of each unit to be held back from everything else.
    """

    share: Annotated[float, Meta(ge=0.0, le=1.0 - 1e-4)] = 0.0
    hold_back: Annotated[float, Meta(ge=1e-3, le=0.5)] = 0.1


class ReleaseSettings(Section, frozen=True, kw_only=True):
    """`[release]`; None leaves the number of rows to the noisy total."""

    rows: Annotated[int, Meta(ge=1)] | None = None
    title: Line | None = None
    licence: Line | None = None
    contact: Line | None = None


class Coordination(Section, frozen=True, kw_only=True):
    """`[coordination]`; None takes two thirds of the sites, or what the trust asks for.

    Attributes:
      min_sites: fewest sites that an answer is made of.
      timeout_s: longest wait for the sites' answers to one request.
    """

    min_sites: Annotated[int, Meta(ge=1)] | None = None
    timeout_s: Annotated[float, Meta(gt=0.0, le=30 * 86_400)] = 3_600.0


class Coordinator(Section, frozen=True, kw_only=True):
    """`[coordinator]`: the key that signs requests; None until it gave it."""

    key: PublicKey | None = None


class _Head(Section, frozen=True, kw_only=True):
    name: Line
    schema: str
    target: str | None = None


class _File(Section, frozen=True, kw_only=True):
    """The whole file; sections that depend on others are read one by one."""

    study: _Head
    privacy: dict[str, Any]
    model: dict[str, Any] = {}
    statistics: StatisticsSettings = StatisticsSettings()
    training: dict[str, Any] = {}
    coordination: Coordination = Coordination()
    evaluation: EvaluationSettings = EvaluationSettings()
    public: PublicData | None = None
    release: ReleaseSettings = ReleaseSettings()
    coordinator: Coordinator = Coordinator()
    site: Annotated[list[SiteEntry], Meta(min_length=1)]


class Study(Section, frozen=True, kw_only=True):
    """An agreement between institutions.

    Attributes:
      name: for people.
      schema_digest: of the schema that it is about.
      target: the label column, or None.
      privacy: budget, unit and trust.
      model: kind and settings of the generator.
      training: settings of the training rounds; None for a kind that is not trained.
      public: a public table that is the prior of the fit, or None.
    """

    name: Line
    schema_digest: str
    target: str | None = None
    privacy: PrivacySettings
    model: ModelSettings
    statistics: StatisticsSettings = StatisticsSettings()
    training: Training | None = None
    coordination: Coordination = Coordination()
    evaluation: EvaluationSettings = EvaluationSettings()
    release: ReleaseSettings = ReleaseSettings()
    coordinator: Coordinator = Coordinator()
    sites: tuple[SiteEntry, ...]
    public: PublicData | None = None

    def digest(self) -> str:
        """Returns the SHA-256 of the canonical form."""
        form = plain(self)
        if self.public is None:
            del form["public"]
        return digest(form)

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
            sites.append(msgspec.structs.replace(site, key=key, exchange_key=exchange_key))
        return msgspec.structs.replace(self, sites=tuple(sites))

    def without_keys(self) -> Study:
        """Returns the study as it is before anybody gave a key."""
        sites = tuple(
            msgspec.structs.replace(site, key=None, exchange_key=None) for site in self.sites
        )
        return msgspec.structs.replace(self, coordinator=Coordinator(), sites=sites)

    def with_coordinator(self, key: str) -> Study:
        """Returns the study with the public key that signs its requests filled in.

        Raises:
          StudyError: the study names another.
        """
        if self.coordinator.key not in (None, key):
            raise StudyError(
                f"[coordinator] key is {self.coordinator.key}, the key file's is {key}; use the "
                "key file that the study means, or correct the study"
            )
        return msgspec.structs.replace(self, coordinator=Coordinator(key=key))


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
    return parse_study(raw, schema, where=str(path), folder=path.parent), schema


def parse_study(
    raw: dict[str, Any], schema: Schema, *, where: str = "study", folder: Path | None = None
) -> Study:
    """Builds a study from the plain values of its file.

    Args:
      raw: sections as TOML gives them.
      schema: the schema that the study is about.
      where: name of the source, for messages.
      folder: where the paths in `[public]` begin; None where its digests are filled in already.

    Raises:
      StudyError: a section or key is missing, unknown, of the wrong kind or out of range.
    """
    file = read_typed(raw, _File, where=f"{where}:", error=StudyError)
    target = as_text(file.study.target)
    if target is not None and target not in schema.names:
        raise StudyError(
            f"{where}: [study] target = {target!r} must be a column of the schema; "
            f"its columns are {', '.join(schema.names)}"
        )
    _check_sites(file.site, where)
    privacy = privacy_settings(file.privacy, schema, len(file.site), where=where)
    usual = "schema" if schema.open_columns else schema.kind.default_model
    model = read_model({"kind": usual, **file.model}, where=where)
    fill = model_kind(model.kind).located
    if fill is not None and folder is not None:
        model = load_part(fill)(model, where)
    public = file.public
    if public is not None:
        if model.kind != "tree":
            raise StudyError(
                f'{where}: [public] is the prior of a "tree", and the model is a "{model.kind}"; '
                'remove it, or set [model] kind = "tree"'
            )
        public = public if folder is None else located(public, folder, where=where)
        if public.sha256 is None:
            raise StudyError(f"{where}: [public] names a file; give the study as a file too")
    return Study(
        name=normal(file.study.name),
        schema_digest=schema.digest(),
        target=target,
        privacy=privacy,
        model=model,
        statistics=file.statistics,
        training=_training(file.training, model, privacy, where),
        coordination=file.coordination,
        evaluation=file.evaluation,
        release=file.release,
        coordinator=file.coordinator,
        sites=tuple(file.site),
        public=public,
    )


def _check_sites(sites: list[SiteEntry], where: str) -> None:
    names = [site.name for site in sites]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"{where}: two sites are called {name!r}; names must differ")
    for given in ([site.key for site in sites], [site.exchange_key for site in sites]):
        known = [key for key in given if key is not None]
        if len(set(known)) < len(known):
            raise StudyError(f"{where}: two sites have the same key; each site needs its own")


def _training(
    table: dict[str, Any], model: ModelSettings, privacy: PrivacySettings, where: str
) -> Training | None:
    """Reads `[training]` by the kind of model and by what sites send."""
    kind, place = model_kind(model.kind), f"{where}: [training]"
    given = dict(table)
    if not kind.trains:
        if given:
            raise StudyError(
                f'{place} must be left out: kind = "{kind.name}" has no training rounds'
            )
        return None
    exchange = read_typed(
        given.pop("exchange", _default_exchange(kind, privacy)),
        Exchange,
        where=f"{place} exchange",
        error=StudyError,
    )
    if privacy.trust is Trust.SECURE_SUM and exchange is Exchange.WEIGHTS:
        raise StudyError(
            f'{place} exchange = "weights" shows the coordinator each site\'s own weights, which '
            'a secure sum is there to hide; set exchange = "gradients", or [privacy] trust = '
            '"per-site"'
        )
    if exchange not in kind.training:
        offered = " or ".join(f'"{one.value}"' for one in kind.training)
        raise StudyError(
            f'{place} exchange = "{exchange.value}" is not offered by kind = "{kind.name}"; set '
            f"exchange = {offered}"
        )
    given = {**model.usual_training, **given}
    return read_typed(given, kind.training[exchange], where=place, error=StudyError)


def _default_exchange(kind: ModelKind, privacy: PrivacySettings) -> Exchange:
    usual = default_exchange(privacy.trust)
    return usual if usual in kind.training else next(iter(kind.training))
