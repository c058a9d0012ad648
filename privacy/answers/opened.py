"""One round's noisy sum over sites, opened, with all that it depends on.

What is here is what the coordinator sees of a `statistic` or an `evaluate` round, and what a
release publishes of it: the sum in integers of the public grid, the arrays of the request, who was
asked, who answered, and the digest that each site's ledger committed to. In per-site trust each
site's own sum is private by itself and stands beside the total; with a secure sum the coordinator
never sees it, and neither does anybody else.

Guarantee: none of its own; it publishes a sum whose price is the round's event. Towards whoever
reads it the noise is that of the whole sum: see `fedloom.privacy.release.epsilon_by_party`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ReleaseError
from fedloom.common.messages import Answer, Request
from fedloom.common.signed_heads import SignedHead
from fedloom.common.typed import Section, plain, read_typed
from fedloom.common.vocabulary import Query
from fedloom.privacy.answers.files import Arrays, pack_arrays, read_arrays
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.privacy.secure_sum import from_grid, open_sum, sensitivity_on_grid

__all__ = [
    "ANSWER_FORMAT",
    "NoisySum",
    "OpenedRound",
    "answer_path",
    "lattice_values",
    "noisy_sums",
    "spread_of",
]

ANSWER_FORMAT = "fedloom-answer/3"
_SUM = "sum"
_OWN = "own/"
_REQUEST = "request/"


class NoisySum(Section, frozen=True):
    """One of the sums that lie one after another in an answer, each with noise of its own.

    Attributes:
      name: what is counted, such as "one-way", "pairwise", "scores".
      length: coordinates.
      grid_step: value of one unit of the grid.
      l2_norm: most that one unit of privacy changes, in the L2 norm.
      noise_multiplier: noise that the study's epsilon counts on, in units of `l2_norm`.
      std: standard deviation of all the noise in each coordinate of the opened sum.
      own_std: of that in one site's own sum; None with a secure sum.
    """

    name: str
    length: int
    grid_step: float
    l2_norm: float
    noise_multiplier: float
    std: float
    own_std: float | None


class _Header(Section, frozen=True):
    """Everything in the file of an opened sum but its arrays; see `OpenedRound`."""

    format: Literal["fedloom-answer/3"]
    plan: str
    run: str
    round: int
    query: Query
    void: tuple[tuple[str, ...], ...]
    roster: tuple[str, ...]
    request_digest: str
    params: dict[str, Any]
    sums: tuple[NoisySum, ...]
    answer_digests: dict[str, str]
    heads: dict[str, SignedHead]


def answer_path(round_number: int) -> str:
    """Returns where a release and a run folder hold a round's opened sum."""
    return f"answers/round-{round_number:04d}.safetensors"


def spread_of(plan: Plan, num_sites: int) -> float:
    """Returns the standard deviation of an opened sum's noise in units of what the plan states.

    Each of n sites adds the whole noise in per-site trust, and a share of variance s^2 / (n - t)
    in a secure sum against t colluding sites.
    """
    if plan.colluding is None:
        return math.sqrt(num_sites)
    return math.sqrt(num_sites / (num_sites - plan.colluding))


def noisy_sums(plan: Plan, asked: RoundQuery, length: int, num_sites: int) -> tuple[NoisySum, ...]:
    """Returns what the answers to a round hold, from public numbers alone.

    Args:
      plan: the plan.
      asked: a round whose answers are sums.
      length: coordinates of an answer.
      num_sites: sites in the sum.
    """
    spread, phase = spread_of(plan, num_sites), asked.phase
    sums = []
    for part in phase.sum_parts(length):
        norm = sensitivity_on_grid(part.l2_norm, part.grid_step, part.length, part.integer_valued)
        std = phase.noise_multiplier * norm
        sums.append(
            NoisySum(
                name=part.name,
                length=part.length,
                grid_step=part.grid_step,
                l2_norm=part.l2_norm,
                noise_multiplier=phase.noise_multiplier,
                std=std * spread,
                own_std=std if plan.colluding is None else None,
            )
        )
    return tuple(sums)


def lattice_values(vector: NDArray[np.int64], sums: Sequence[NoisySum]) -> NDArray[np.float64]:
    """Returns an opened vector as numbers, (length,).

    Args:
      vector: (length,) in units of each sum's grid.
      sums: what lies in it, in order.
    """
    ends = np.cumsum([part.length for part in sums])[:-1]
    return np.concatenate(
        [
            from_grid(part, noisy.grid_step)
            for part, noisy in zip(np.split(vector, ends), sums, strict=True)
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRound:
    """An opened sum.

    Attributes:
      plan: digest of the plan.
      run: name of the run.
      round: of the plan, from 1.
      query: what was asked; its answers are sums.
      void: rosters of the round's earlier attempts, none of which opened.
      roster: sites that were asked, sorted.
      request_digest: of the request that they answered.
      params: the request's parameters.
      sums: what lies in the vectors, in order.
      answer_digests: by site in the sum, `arrays_digest` of its answer as it left the site.
      heads: with a secure sum, by site, the signed head that promised its answer.
      total: (length,) int64 sum over the sites in units of the grid, modulo 2^64.
      own: by site, its own (length,) int64 sum; empty with a secure sum.
      request_arrays: what the request carried.
    """

    plan: str
    run: str
    round: int
    query: Query
    void: tuple[tuple[str, ...], ...]
    roster: tuple[str, ...]
    request_digest: str
    params: dict[str, Any]
    sums: tuple[NoisySum, ...]
    answer_digests: dict[str, str]
    heads: dict[str, SignedHead]
    total: NDArray[np.int64]
    own: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    request_arrays: Arrays = field(default_factory=dict)

    @classmethod
    def open(
        cls, plan: Plan, asked: RoundQuery, request: Request, answers: Mapping[str, Answer]
    ) -> OpenedRound:
        """Adds up the answers to a request.

        Args:
          plan: the plan.
          asked: the round.
          request: what was asked.
          answers: by site, checked: with a secure sum those of the whole roster.

        Raises:
          ConfigError: an answer is missing, or does not fit the others.
        """
        sites = sorted(answers)
        shares = {site: answers[site].arrays[_SUM] for site in sites}
        masked = plan.colluding is not None
        total = open_sum(shares, roster=request.roster if masked else sites)
        return cls(
            plan=request.plan,
            run=request.run,
            round=request.round,
            query=request.query,
            void=request.void,
            roster=request.roster,
            request_digest=request.digest(),
            params=dict(request.params),
            sums=noisy_sums(plan, asked, len(total), len(sites)),
            answer_digests={site: answers[site].header.arrays_digest for site in sites},
            heads=dict(request.heads) if masked else {},
            total=total,
            own={} if masked else shares,
            request_arrays=dict(request.arrays),
        )

    @property
    def attempt(self) -> int:
        """Number of the attempt whose answers these are, from 1."""
        return len(self.void) + 1

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites in the sum, sorted."""
        return tuple(sorted(self.answer_digests))

    @property
    def stds(self) -> tuple[float, ...]:
        """Standard deviation of the noise in each of `sums`."""
        return tuple(part.std for part in self.sums)

    def values(self, site: str | None = None) -> NDArray[np.float64]:
        """Returns the sum as numbers, (length,).

        Args:
          site: whose own sum; None for that over all sites.
        """
        vector = self.total if site is None else self.own[site]
        return lattice_values(vector, self.sums)

    def request(self, study: str) -> Request:
        """Returns the request that was answered, without what its digest leaves out.

        Args:
          study: the study's digest.
        """
        return Request(
            query=self.query,
            study=study,
            plan=self.plan,
            run=self.run,
            round=self.round,
            void=self.void,
            params=self.params,
            roster=self.roster,
            arrays=self.request_arrays,
            masked=bool(self.heads),
            heads=self.heads,
        )

    def header(self) -> dict[str, Any]:
        """Returns everything but the arrays, JSON-able."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        return {"format": ANSWER_FORMAT, **{name: plain(value) for name, value in fields.items()}}

    def pack(self) -> bytes:
        """Returns the bytes of a file."""
        arrays = {
            _SUM: self.total,
            **{_OWN + site: array for site, array in self.own.items()},
            **{_REQUEST + name: array for name, array in self.request_arrays.items()},
        }
        return pack_arrays(self.header(), arrays)

    @classmethod
    def load(cls, path: Path) -> OpenedRound:
        """Reads a file that `pack` made; what it claims is not checked.

        Raises:
          ReleaseError: it is missing, damaged or of another format.
        """
        raw, arrays = read_arrays(path)
        header = read_typed(raw, _Header, where=f"{path.name}:", error=ReleaseError)
        own, request_arrays = _named(arrays, _OWN), _named(arrays, _REQUEST)
        lengths = sum(part.length for part in header.sums)
        fit = _SUM in arrays and all(
            _is_sum(array, lengths) for array in (arrays[_SUM], *own.values())
        )
        if not fit or len(arrays) != 1 + len(own) + len(request_arrays):
            raise ReleaseError(f"the arrays of {path.name} are not those of its header")
        return cls(
            **{name: getattr(header, name) for name in _FIELDS},
            total=arrays[_SUM],
            own=own,
            request_arrays=request_arrays,
        )


_FIELDS = tuple(name for name in _Header.__struct_fields__ if name != "format")


def _named(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _is_sum(array: np.ndarray[Any, np.dtype[Any]], length: int) -> bool:
    return array.shape == (length,) and array.dtype == np.dtype(np.int64)
