"""What a plan is made of: phases, each with its share of the budget and a noise of its own.

A phase says everything about itself: what a site is asked in each of its rounds, which arrays a
request may carry, what one round and the whole phase cost, and how people read it. Whoever
resolves, checks, approves, reserves, answers, reports or states a plan loops over its phases, and
knows no kind of phase by name.

The cost of a phase is the event of its mechanism (`fedloom.privacy.mechanisms`), for a unit with
records at as many sites as the study allows (`overlap`, m). With per-site trust such a unit takes
part in m answers, each with its own noise: m mechanisms. In a secure sum it takes part in one sum
at m places. The noise N(0, s^2) of that sum is distributed as the sum of m independent
N(0, s^2 / m), one for each place; the sum of the m noised parts is post-processing of the parts,
so its event is that of m mechanisms with the noise multiplier divided by the square root of m.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self

import numpy as np
from dp_accounting import DpEvent
from msgspec import Meta
from numpy.typing import NDArray

from fedloom.common.errors import StudyError
from fedloom.common.models.registry import ModelSettings
from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.typed import Section, plain, read_typed
from fedloom.common.vocabulary import MechanismKind, NoiseAt, Query, Stage, Trust
from fedloom.privacy.events import repeat

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

__all__ = [
    "Arrays",
    "Draft",
    "Mechanism",
    "Phase",
    "PhaseSettings",
    "SumPart",
    "array_bytes",
    "for_unit",
    "phase_event",
    "repeated",
]

Arrays = Mapping[str, NDArray[Any]]
NoiseMultiplier = Annotated[float, Meta(gt=0.0, le=1e12)]
PhaseShare = Annotated[float, Meta(gt=0.0, le=1.0)]


class Phase(Protocol):
    """One part of a plan; immutable, plain values inside, read back by its registry."""

    tag: ClassVar[str]
    """Name of the kind of phase in a plan."""

    @property
    def name(self) -> str:
        """Name of the phase in its plan, such as "one-way" or "training"."""
        ...

    stage: ClassVar[Stage]
    """What it is for."""

    @property
    def query(self) -> Query:
        """What its rounds ask."""
        ...

    @property
    def share(self) -> float:
        """Its share of the budget; the shares of a plan's phases sum to 1."""
        ...

    @property
    def noise_multiplier(self) -> float:
        """Its noise in units of the sensitivity."""
        ...

    @property
    def num_rounds(self) -> int:
        """Its rounds, spare ones not counted."""
        ...

    @property
    def spare_rounds(self) -> int:
        """Attempts that make good void ones of a secure sum; in the price."""
        ...

    def params(self) -> dict[str, Any]:
        """Returns exactly what a request's parameters must be, as plain values."""
        ...

    def check_arrays(self, plan: Plan, arrays: Arrays) -> None:
        """Checks the arrays of a request, before any record is read.

        Raises:
          ConfigError: a name, shape, type or value is not what the query takes.
        """
        ...

    def answer_length(self, plan: Plan, arrays: Arrays) -> int:
        """Returns the coordinates of the answer to a request with these arrays, checked."""
        ...

    def request_bytes(self, plan: Plan) -> int:
        """Returns a bound on the bytes of a request's arrays."""
        ...

    def round_event(self, privacy: PrivacySettings) -> DpEvent:
        """Returns what one attempt at one round costs one unit."""
        ...

    def sum_parts(self, length: int) -> tuple[SumPart, ...]:
        """Returns what an answer of so many coordinates holds; empty if it is no sum."""
        ...

    def in_words(self, privacy: PrivacySettings) -> str:
        """Says for a steward what leaves the site, how often, with how much noise."""
        ...

    def summary(self) -> str:
        """Says the same in a few words, for the coordinator's overview."""
        ...

    def mechanisms(self, where: NoiseAt) -> list[Mechanism]:
        """Lists its mechanisms for the privacy statement."""
        ...

    def to_plain(self) -> dict[str, Any]:
        """Returns plain values, the kind of phase under "phase"."""
        ...


class Mechanism(Section, frozen=True, kw_only=True, omit_defaults=True):
    """A mechanism as the privacy statement states it; what does not apply is left out.

    Attributes:
      query: whose answers it makes.
      mechanism: its kind.
      where: where its noise is complete.
      releases: what of the query's answers it noises.
      text: the same for people.
      noise_multiplier: noise in units of the sensitivity.
      rounds: how often it is used; `spare_rounds` come on top.
      spare_rounds: further attempts that the price holds.
      grid_step: of the grid on which answers live.
      l2_sensitivity: most that one unit changes, in the L2 norm; of a sum that is not clipped.
      noise_std: standard deviation of the noise in each coordinate; likewise.
      sampler: how batches are drawn.
      sample_rate: chance of each unit to be in a batch.
      max_grad_norm: clip of one unit's gradient.
      steps_per_round: batches in a round.
      steps: batches in all rounds.
    """

    query: Query
    mechanism: MechanismKind
    where: NoiseAt
    releases: str
    text: str
    noise_multiplier: float
    rounds: int
    spare_rounds: int
    grid_step: float | None = None
    l2_sensitivity: float | None = None
    noise_std: float | None = None
    sampler: str | None = None
    sample_rate: float | None = None
    max_grad_norm: float | None = None
    steps_per_round: int | None = None
    steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A phase whose noise is still open.

    Attributes:
      name: of the phase.
      share: of the budget.
      at: the phase at a noise multiplier.
    """

    name: str
    share: float
    at: Callable[[float], Phase]


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPart:
    """One of the sums that lie one after another in an answer, each with noise of its own.

    Attributes:
      name: what is summed.
      length: coordinates.
      l2_norm: most that one unit of privacy changes, in the L2 norm.
      grid_step: of its grid.
      integer_valued: whether every exact sum is a vector of integers.
    """

    name: str
    length: int
    l2_norm: float
    grid_step: float
    integer_valued: bool


class PhaseSettings(Section, frozen=True, kw_only=True):
    """What every phase holds, and how it becomes plain values and back."""

    tag: ClassVar[str]
    stage: ClassVar[Stage]

    share: PhaseShare
    noise_multiplier: NoiseMultiplier

    def to_plain(self) -> dict[str, Any]:
        """Returns plain values; `from_plain` reads them back."""
        return {"phase": self.tag, **plain(self)}

    @classmethod
    def from_plain(cls, table: dict[str, Any], model: ModelSettings) -> Self:
        """Reads plain values without their key "phase".

        Args:
          table: as `to_plain` returned it.
          model: the plan's, on whose kind the settings of training rounds depend.

        Raises:
          StudyError: a value is missing, unknown or out of range.
        """
        return read_typed(table, cls, where=f"the plan's phase {cls.tag}:", error=StudyError)


def for_unit(
    event_at: Callable[[float], DpEvent], noise_multiplier: float, privacy: PrivacySettings
) -> DpEvent:
    """Returns what one round costs a unit with records at `overlap` sites; see the module.

    Args:
      event_at: the mechanism's event at a noise multiplier.
      noise_multiplier: of the sum over sites, or of each answer with per-site trust.
      privacy: the study's overlap and trust.
    """
    overlap = privacy.overlap
    if overlap == 1:
        return event_at(noise_multiplier)
    own = noise_multiplier
    if privacy.trust is Trust.SECURE_SUM:
        own /= math.sqrt(overlap)
    return repeat(event_at(own), overlap)


def phase_event(phase: Phase, privacy: PrivacySettings) -> DpEvent:
    """Returns what a whole phase costs one unit, its spare rounds included."""
    return repeated(phase.round_event(privacy), phase.num_rounds + phase.spare_rounds)


def repeated(event: DpEvent, count: int) -> DpEvent:
    """Returns `count` times an event."""
    return event if count == 1 else repeat(event, count)


def array_bytes(shapes: Mapping[str, tuple[tuple[int, ...], str]]) -> int:
    """Returns the bytes of arrays of these shapes and types."""
    return sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in shapes.values())
