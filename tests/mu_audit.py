"""A white-box attack on answers: is the canary in the table? What it gains bounds mu from below.

The attacker knows everything but the canary's presence and the honest sites' noise: records,
weights, fakes, the parts of colluding sites. It takes off what the answers would be without the
canary, projects the rest on the direction in which the canary moves them (the likelihood ratio of
Gaussian noise), and guesses by which end is nearer. Direction and cut come from the same mechanism
without noise, not from the scores, so no score is used twice.

A mechanism that is mu-GDP leaves any test with errors of the two kinds that add up to at least
2 Phi(-mu / 2). So an upper bound p on their mean is a lower bound -2 Phi^-1(p) on mu, whatever the
law of the scores. p is Clopper's and Pearson's over both tables together: a sum of independent
coins of two chances has no heavier lower tail than one of their mean (Hoeffding 1956).

Sources: Nasr et al. 2023 (arXiv:2302.07956) for the attack; Dong, Roth & Su 2022
(arXiv:1905.02383) for mu; Hoeffding 1956, "On the distribution of the number of successes in
independent trials".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import scipy.stats
from dp_accounting import DpEvent

from fedloom.client import queries
from fedloom.client.records import Snapshot
from fedloom.common.messages import Request
from fedloom.privacy.events import steps_of
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.phases import Phase, TrainingPhase
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import replaced
from tests.audited import Neighbours

__all__ = ["FALSE_ALARM", "Audit", "Found", "Vector", "claimed_mu", "exactly", "mu_at_least"]

FALSE_ALARM = 1e-3
Vector = np.ndarray[Any, np.dtype[np.float64]]


def claimed_mu(*events: DpEvent) -> float:
    """Returns mu of a composition of Gaussian mechanisms, the root of the sum of their squares.

    Of one sampled Gaussian it is the mu at which two Gaussians are as far apart in total variation,
    the sampling rate times that of the Gaussian: errors of equal weight tell no more than that.

    >>> from fedloom.privacy.events import gaussian, repeat
    >>> claimed_mu(repeat(gaussian(0.5), 4))
    4.0
    """
    steps = steps_of(events)
    ((first, times), *others) = steps.items()
    if first.sample_rate < 1.0:
        assert not others and times == 1, "sampled Gaussians have no mu together"
        apart = 2.0 * scipy.stats.norm.cdf(0.5 / first.noise_multiplier) - 1.0
        return 2.0 * float(scipy.stats.norm.ppf((1.0 + first.sample_rate * apart) / 2.0))
    assert all(step.sample_rate == 1.0 for step in steps), "sampled Gaussians have no mu together"
    return math.sqrt(sum(count / step.noise_multiplier**2 for step, count in steps.items()))


def mu_at_least(wrong: int, trials: int, false_alarm: float = FALSE_ALARM) -> float:
    """Bounds mu from below by the number of wrong guesses, half of all trials on either table.

    The bound is above the true mu with probability at most `false_alarm`.
    """
    if wrong >= trials:
        return 0.0
    mean_error = scipy.stats.beta.ppf(1.0 - false_alarm, wrong + 1, trials - wrong)
    return max(0.0, -2.0 * float(scipy.stats.norm.ppf(mean_error)))


@dataclass(frozen=True, kw_only=True)
class Found:
    """What an audit found: mu as claimed, at the rate of wrong guesses, and its lower bound."""

    claim: float
    estimate: float
    bound: float

    @property
    def reached(self) -> float:
        """The bound as a part of the claim."""
        return self.bound / self.claim


def _half_way(scores: Vector) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return scores > 0.5


@dataclass(frozen=True, kw_only=True, repr=False)
class Audit:
    """One attack.

    Attributes:
      plan: The plan.
      requests: What is asked, one after another; of one `train` alone.
      tables: Of every honest site, with and without the canary; without a secure sum, of all.
      claim: The mu that is claimed for all requests together.
      coordinate: Where the attacker looks; None takes the whole direction.
      towards: Tables that show the direction, if the audited ones should not differ in it.
      guess: Tells from scores, 0 without the canary and 1 with it but for noise, where it is.
      same_seed: Whether the attacker bets that all sites have the noise of the colluding one.
    """

    plan: Plan
    requests: tuple[Request, ...]
    tables: Mapping[str, Neighbours]
    claim: float
    coordinate: int | None = None
    towards: Mapping[str, Neighbours] | None = None
    guess: Callable[[Vector], np.ndarray[Any, np.dtype[np.bool_]]] = _half_way
    same_seed: bool = False

    def run(self, trials: int, seed: int = 20_261_128) -> Found:
        """Attacks `trials` answers on either table; the noise comes from an insecure seed."""
        silent = exactly(self.plan)
        shown = self.towards or self.tables
        start = self._view(silent, shown, False, _sources(self, seed))
        direction = self._view(silent, shown, True, _sources(self, seed)) - start
        if self.coordinate is not None:
            direction *= np.arange(direction.size) == self.coordinate
        assert direction.any(), "the canary moves nothing: the audit would be blind"
        sources = _sources(self, seed + 1)
        scores = [
            np.array(
                [
                    (self._view(self.plan, self.tables, present, sources) - start) @ direction
                    for _ in range(trials)
                ]
            )
            / (direction @ direction)
            for present in (False, True)
        ]
        wrong = int(self.guess(scores[0]).sum() + (~self.guess(scores[1])).sum())
        return Found(
            claim=self.claim,
            estimate=-2.0 * float(scipy.stats.norm.ppf(wrong / (2 * trials))),
            bound=mu_at_least(wrong, 2 * trials),
        )

    def noise(self, count: int, seed: int = 20_261_128) -> Vector:
        """Returns at least so many coordinates of noise, (answers, length), in units of the plan's.

        They are what answers with the canary differ by from the same answers without noise.
        """
        silent = exactly(self.plan)
        exact = self._view(silent, self.tables, True, _sources(self, seed))
        sources = _sources(self, seed + 1)
        trials = math.ceil(count / exact.size)
        return np.stack(
            [self._view(self.plan, self.tables, True, sources) - exact for _ in range(trials)]
        )

    def _view(
        self,
        plan: Plan,
        tables: Mapping[str, Neighbours],
        present: bool,
        sources: Mapping[str, NoiseSource],
    ) -> Vector:
        snapshots = {
            site: pair.with_it if present else pair.without for site, pair in tables.items()
        }
        parts = [self._opened(plan, asked, snapshots, sources) for asked in self.requests]
        return np.concatenate(
            [
                part / _std(self.plan, asked)
                for part, asked in zip(parts, self.requests, strict=True)
            ]
        )

    def _opened(
        self,
        plan: Plan,
        asked: Request,
        snapshots: Mapping[str, Snapshot],
        sources: Mapping[str, NoiseSource],
    ) -> Vector:
        """Returns what the attacker holds of one round, in the sum's own scale.

        With per-site trust that is every site's answer, else the sum over the honest sites: the
        colluding ones, the last of the roster, have told their parts. Masks cancel: none is put on.
        """
        honest = asked.roster[: len(asked.roster) - (self.plan.colluding or 0)]
        assert set(snapshots) == set(honest)
        parts = [self._answer(plan, asked, snapshots[site], sources[site]) for site in honest]
        if self.plan.colluding is None:
            return np.concatenate(parts)
        total: Vector = np.sum(parts, axis=0)
        if self.same_seed:
            empty = _empty(snapshots[honest[0]])
            total -= len(honest) * self._answer(plan, asked, empty, sources[asked.roster[-1]])
        return total

    def _answer(self, plan: Plan, asked: Request, snapshot: Snapshot, noise: NoiseSource) -> Vector:
        arrays = queries.answer_arrays(
            plan, asked, snapshot, noise, device="cpu", mask_share=lambda part: part
        )
        if asked.query == "train":
            return np.concatenate([value.reshape(-1) for value in arrays.values()]).astype(float)
        return arrays["sum"] * _per_cell(plan, asked, "grid_step")


def _sources(audit: Audit, seed: int) -> dict[str, NoiseSource]:
    names = sorted({site for asked in audit.requests for site in asked.roster})
    return {
        site: NoiseSource.from_insecure_seed(1000 * seed + number)
        for number, site in enumerate(names)
    }


def exactly(plan: Plan) -> Plan:
    """Returns the plan without noise, with all units in every batch; no site would take it."""
    silent = (msgspec.structs.replace(phase, noise_multiplier=0.0) for phase in plan.phases)
    return replaced(plan, phases=tuple(_with_all_units(phase) for phase in silent))


def _with_all_units(phase: Phase) -> Phase:
    if not isinstance(phase, TrainingPhase):
        return phase
    settings = msgspec.structs.replace(phase.settings, sample_rate=1.0)
    return msgspec.structs.replace(phase, settings=settings)


def _std(plan: Plan, asked: Request) -> Vector | float:
    """Returns the standard deviation that the noise of a sum should have in each coordinate."""
    if asked.query == "train":
        return 1.0  # all coordinates alike, and no second request beside it
    phase = plan.rounds[asked.round - 1].phase
    return _per_cell(plan, asked, "l2_norm") * phase.noise_multiplier


def _per_cell(plan: Plan, asked: Request, name: str) -> Vector | float:
    parts = plan.rounds[asked.round - 1].phase.sum_parts(1)
    if len(parts) == 1:
        return float(getattr(parts[0], name))
    return np.concatenate([np.full(part.length, float(getattr(part, name))) for part in parts])


def _empty(snapshot: Snapshot) -> Snapshot:
    records = snapshot.training
    nobody = dataclasses.replace(
        records,
        features=records.features[:0],
        classes=records.classes[:0],
        persons=None if records.persons is None else records.persons[:0],
    )
    return Snapshot(training=nobody, held_back=nobody)
