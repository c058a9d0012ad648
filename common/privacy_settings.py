"""What a study promises: budget, unit and trust, and what sites and coordinator are."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from fedloom.common.errors import StudyError
from fedloom.common.schema import Schema
from fedloom.common.text import normal
from fedloom.common.typed import Line, Section, read_typed
from fedloom.common.vocabulary import Exchange, Trust, Unit

__all__ = [
    "MIN_SECURE_SITES",
    "PrivacySettings",
    "default_exchange",
    "default_trust",
    "privacy_settings",
]

MIN_SECURE_SITES = 3
_MAX_ROWS_PER_PERSON = 100


class PrivacySettings(Section, frozen=True, kw_only=True):
    """Budget, unit and trust of a study.

    Attributes:
      epsilon: largest privacy loss of one unit, above 0: with per-site trust towards everybody,
        with a secure sum towards a coordinator to whom `colluding` sites tell all they know.
      delta: failure probability in (0, 1); well below one over the number of people.
      unit: what one unit of privacy is.
      id: the records' column that tells persons apart; not a column of the schema.
      rows_per_person: most rows of one person that are used at a site.
      overlap: most sites at which one and the same unit may have records.
      trust: by default a secure sum from three sites on.
      colluding: how many sites may side with the coordinator; 0 with per-site trust.
    """

    epsilon: float
    delta: float
    unit: Unit
    id: str | None
    rows_per_person: int
    overlap: int
    trust: Trust
    colluding: int

    @property
    def masked(self) -> bool:
        """Whether the coordinator sees sums over sites only."""
        return self.trust is Trust.SECURE_SUM


class _PrivacyTable(Section, frozen=True, kw_only=True):
    """`[privacy]` as a file says it."""

    epsilon: Annotated[float, Meta(gt=0.0, le=1e6)]
    delta: Annotated[float, Meta(gt=0.0, lt=1.0)]
    unit: Unit = Unit.RECORD
    id: Line | None = None
    rows_per_person: Annotated[int, Meta(ge=1, le=_MAX_ROWS_PER_PERSON)] | None = None
    overlap: Annotated[int, Meta(ge=1)] = 1
    trust: Trust | None = None
    colluding: Annotated[int, Meta(ge=0)] | None = None


def default_trust(num_sites: int) -> Trust:
    """Returns the trust of a study that names none."""
    return Trust.SECURE_SUM if num_sites >= MIN_SECURE_SITES else Trust.PER_SITE


def default_exchange(trust: Trust) -> Exchange:
    """Returns the exchange of a study that names none."""
    return Exchange.WEIGHTS if trust is Trust.PER_SITE else Exchange.GRADIENTS


def privacy_settings(
    table: dict[str, Any], schema: Schema, num_sites: int, *, where: str
) -> PrivacySettings:
    """Reads `[privacy]` and fills in its defaults.

    Raises:
      StudyError: a key is missing, out of range, or does not fit the others.
    """
    place = f"{where}: [privacy]"
    given = read_typed(table, _PrivacyTable, where=place, error=StudyError)
    if given.id is not None:
        given = msgspec.structs.replace(given, id=normal(given.id))
    if given.unit is Unit.RECORD:
        _check_records(given, place)
    else:
        _check_persons(given, schema, place)
    if given.overlap > num_sites:
        raise StudyError(f"{place} overlap = {given.overlap} must be at most {num_sites} sites")
    trust = given.trust or default_trust(num_sites)
    return PrivacySettings(
        epsilon=given.epsilon,
        delta=given.delta,
        unit=given.unit,
        id=given.id,
        rows_per_person=given.rows_per_person or 1,
        overlap=given.overlap,
        trust=trust,
        colluding=_colluding(given.colluding, trust, num_sites, place),
    )


def _check_records(given: _PrivacyTable, place: str) -> None:
    for key, only in (("id", None), ("rows_per_person", 1), ("overlap", 1)):
        if getattr(given, key) not in (None, only):
            raise StudyError(f'{place} {key} needs unit = "person": set it, or remove {key}')


def _check_persons(given: _PrivacyTable, schema: Schema, place: str) -> None:
    if given.id is None:
        raise StudyError(f'{place} unit = "person" needs id, the column that tells persons apart')
    if given.id in schema.names:
        raise StudyError(
            f"{place} id = {given.id!r} is a column of the schema: identifiers of people are never "
            "synthesised; take it out of the schema"
        )
    if given.rows_per_person is None:
        raise StudyError(
            f"{place} needs rows_per_person, the most rows of one person that are used: noise "
            "grows with it; further rows are dropped at random"
        )


def _colluding(given: int | None, trust: Trust, num_sites: int, place: str) -> int:
    if trust is Trust.PER_SITE:
        if given:
            raise StudyError(
                f'{place} colluding needs trust = "secure-sum"; with per-site trust every answer '
                "satisfies the guarantee whoever colludes: remove it"
            )
        return 0
    if num_sites < MIN_SECURE_SITES:
        raise StudyError(
            f'{place} trust = "secure-sum" needs {MIN_SECURE_SITES} sites or more: of two, each '
            'computes the other\'s part from the sum; set trust = "per-site"'
        )
    colluding = 1 if given is None else given
    if colluding > num_sites - 2:
        raise StudyError(
            f"{place} colluding = {colluding}: at least two of the {num_sites} sites must be "
            f"honest, so at most {num_sites - 2} may collude"
        )
    return colluding
