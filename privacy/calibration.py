"""Noise for the phases of a plan: fixed shares of one budget, one common scale.

Each phase's own noise at the full budget, divided by the square root of its share, gives the
proportion between the phases; one scale is calibrated so that all phases together meet epsilon
(PLD). The result is rounded up, priced again at the finer interval and never exceeds epsilon.

A search takes seconds for sampled phases, so its result is kept in the user's cache; what is
found there is priced again before it is trusted.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp_accounting import dp_event

from fedloom.common.digest import digest
from fedloom.common.errors import StudyError
from fedloom.common.files import write_whole
from fedloom.common.privacy_settings import PrivacySettings
from fedloom.privacy.accounting import calibrate, price_of
from fedloom.privacy.events import compose, event_to_json
from fedloom.privacy.phases import Draft, phase_event

__all__ = ["noise_multipliers"]

_SIGNIFICANT_DIGITS = 5
_SHARES_TOLERANCE = 1e-9
_CACHE_VERSION = 3


def noise_multipliers(
    drafts: Sequence[Draft], privacy: PrivacySettings, *, model: str
) -> dict[str, float]:
    """Returns the noise multiplier of each phase, by its name.

    Args:
      drafts: the phases of one plan, whose noise is still open.
      privacy: the study's budget, unit and trust.
      model: kind of the study's model, for messages.

    Raises:
      StudyError: the shares do not sum to 1, or no noise meets the budget.
    """
    total = math.fsum(draft.share for draft in drafts)
    if not math.isclose(total, 1.0, abs_tol=_SHARES_TOLERANCE):
        raise StudyError(
            f"the phases of a {model!r} study have {total:g} of the budget together, they must "
            "have all of it: the shares of a plan's phases sum to 1"
        )
    phases = [_Part.of(draft, privacy) for draft in drafts]
    epsilon, delta = privacy.epsilon, privacy.delta
    key = digest(
        {
            "v": _CACHE_VERSION,
            "privacy": [epsilon, delta],
            "phases": [[phase.name, phase.share, phase.identity] for phase in phases],
        }
    )
    found = _cached(key, phases)
    if found is None or not _affordable(phases, found, epsilon, delta):
        found = _search(phases, epsilon, delta)
        _remember(key, found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A phase as the search sees it: its share, and its event at a noise multiplier."""

    name: str
    share: float
    event_at: Callable[[float], dp_event.DpEvent]
    identity: Any

    @classmethod
    def of(cls, draft: Draft, privacy: PrivacySettings) -> _Part:
        def event_at(noise_multiplier: float) -> dp_event.DpEvent:
            return phase_event(draft.at(noise_multiplier), privacy)

        # At one noise multiplier, an event tells all on which others depend.
        return cls(
            name=draft.name,
            share=draft.share,
            event_at=event_at,
            identity=event_to_json(event_at(1.0)),
        )


def _composed(phases: Sequence[_Part], noise: Mapping[str, float]) -> dp_event.DpEvent:
    return compose(phase.event_at(noise[phase.name]) for phase in phases)


def _affordable(
    phases: Sequence[_Part], noise: Mapping[str, float], epsilon: float, delta: float
) -> bool:
    return price_of(_composed(phases, noise), delta).epsilon <= epsilon


def _search(phases: Sequence[_Part], epsilon: float, delta: float) -> dict[str, float]:
    ratios, alone = {}, {}
    for phase in phases:
        kind = json.dumps(phase.identity)
        if kind not in alone:
            alone[kind] = calibrate(phase.event_at, epsilon, delta)
        ratios[phase.name] = alone[kind] / math.sqrt(phase.share)
    scale = 1.0
    if len(phases) > 1:
        scale = calibrate(
            lambda scale: _composed(phases, {name: ratios[name] * scale for name in ratios}),
            epsilon,
            delta,
        )
    noise = {name: _round_up(ratio * scale) for name, ratio in ratios.items()}
    if not _affordable(phases, noise, epsilon, delta):
        raise StudyError(
            f"no noise was found that meets epsilon = {epsilon} at delta = {delta}; "
            "ask for fewer rounds or a larger epsilon"
        )
    return noise


def _round_up(value: float) -> float:
    """Rounds up to a few significant digits: more noise, never less."""
    unit = 10.0 ** (math.floor(math.log10(value)) - _SIGNIFICANT_DIGITS + 1)
    return float(f"{math.ceil(value / unit) * unit:.{_SIGNIFICANT_DIGITS}g}")


def _cache_path(key: str) -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache")
    return Path(root) / "fedloom" / "noise" / f"{key}.json"


def _cached(key: str, phases: Sequence[_Part]) -> dict[str, float] | None:
    """Returns noise found earlier; the caller prices it again before it trusts it."""
    try:
        kept = json.loads(_cache_path(key).read_text(encoding="utf-8"))
        noise = {phase.name: float(kept[phase.name]) for phase in phases}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return noise if all(math.isfinite(value) and value > 0 for value in noise.values()) else None


def _remember(key: str, noise: Mapping[str, float]) -> None:
    path = _cache_path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(dict(noise)), shared=True)
    except OSError:
        return  # a cache that cannot be written only costs the next search its time
