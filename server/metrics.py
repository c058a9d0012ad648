"""What a run reports while it goes on: post-processing of noised answers, and the budget.

Nothing here is computed from records: no loss, gradient norm, batch size or time of a site. The
curve of quality is the distance between samples of the generator as it stands and the noisy
marginals. Drawing samples takes time, so with many rounds only some of them are looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np

from fedloom.common.artifact import Artifact
from fedloom.common.grid import DEFAULT_BINS
from fedloom.common.hierarchy import BRANCHING
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.parts import load_part
from fedloom.common.sampling import sample_codes
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.run_folder import RunFolder

__all__ = ["Reporter", "distance_to_noisy_marginals"]

_LOOKS = 10
_ROWS = 2000
_COARSE_INTERVAL = 1e-3
_MAX_CLOSE_S = 10.0


def distance_to_noisy_marginals(artifact: Artifact, statistics: NoisyMarginals) -> float:
    """Mean total variation between a sample's 1-way marginals and the noisy ones, in [0, 1].

    A fine axis is compared on cells of which it has 64 at the most.
    """
    encoding = statistics.encoding
    feature_codes, classes = sample_codes(artifact, encoding, _ROWS, seed=0)
    sizes = statistics.class_counts()
    distances = []
    measured = [np.zeros(block.size) for block in encoding.features]
    for label in range(encoding.num_classes):
        if sizes[label] > 0:
            for position, counts in enumerate(statistics.one_way(label)):
                measured[position] += np.maximum(counts, 0.0)
    distances.append(_total_variation(np.bincount(classes, minlength=encoding.num_classes), sizes))
    for position, block in enumerate(encoding.features):
        codes, counts = feature_codes[:, position], measured[position]
        for depth, level in enumerate(statistics.axis_levels(position)):
            if len(level) <= DEFAULT_BINS:  # finer cells hold less than their noise
                on_axis = codes < block.num_bins
                codes, counts = codes[on_axis] // BRANCHING**depth, np.maximum(level, 0.0)
                break
        sampled = np.bincount(codes, minlength=len(counts))
        distances.append(_total_variation(sampled, counts))
    return float(np.mean(distances))


def _total_variation(
    first: np.ndarray[Any, np.dtype[Any]], second: np.ndarray[Any, np.dtype[Any]]
) -> float:
    if first.sum() <= 0 or second.sum() <= 0:
        return 1.0
    return float(0.5 * np.abs(first / first.sum() - second / second.sum()).sum())


class Reporter:
    """Writes `metrics.jsonl` and TensorBoard events, and tells the progress display."""

    def __init__(
        self, folder: RunFolder, plan: Plan, on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        """Continues the metrics that the run folder holds."""
        self._folder = folder
        self._plan = plan
        self._distance = load_part(plan.schema.kind.distance)
        self._on_event = on_event
        self._answered: defaultdict[str, list[int]] = defaultdict(list)
        self._statistics: Any = None
        self._writer: Any = None
        self._epsilons: dict[tuple[tuple[str, int], ...], float] = {}
        for line in folder.metrics():
            self._count(line["round"], line["sites"])
        rounds = len(plan.rounds)
        self._every = max(1, rounds // _LOOKS)

    def round(
        self,
        asked: RoundQuery,
        answered: list[str],
        publish: Callable[[], Artifact] | None,
        meta: dict[str, Any],
    ) -> None:
        """Reports one finished round.

        Args:
          asked: the round.
          answered: sites whose answers were used.
          publish: makes the generator as it stands; None before there is one.
          meta: the learner's own post-processing values, under the key "report".
        """
        self._count(asked.round, answered)
        last = len(self._plan.rounds)
        first = len(self._plan.statistics)
        looked_at = asked.round in (first, last) or asked.round % self._every == 0
        values: dict[str, Any] = {
            "round": asked.round,
            "query": asked.query.value,
            "sites": answered,
            **meta.get("report", {}),
        }
        if looked_at and publish is not None:
            if self._statistics is None:
                self._statistics = self._folder.statistics()
            values["distance"] = self._distance(publish(), self._statistics)
            values["epsilon"] = {
                site: self._epsilon(rounds) for site, rounds in sorted(self._answered.items())
            }
        self._folder.append_metrics(values)
        self._tensorboard(values)
        self._on_event({"event": "round", "rounds": last, **values})

    def close(self) -> None:
        """Closes the TensorBoard file; waits a few seconds for it at the most.

        Ctrl-C inside of the writer's queue can leave its lock held: closing would never end.
        """
        if self._writer is not None:
            closing = Thread(target=self._writer.close, daemon=True)
            closing.start()
            closing.join(_MAX_CLOSE_S)

    def _count(self, round_number: int, sites: list[str]) -> None:
        for site in sites:
            self._answered[site].append(round_number)

    def _epsilon(self, rounds: list[int]) -> float:
        """Epsilon of the answers to some rounds, never shown above the plan's own price."""
        # Rounds of one phase cost the same.
        counts = Counter(self._plan.rounds[number - 1].phase.name for number in rounds)
        kind = tuple(sorted(counts.items()))
        if kind not in self._epsilons:
            events = [self._plan.rounds[number - 1].event for number in rounds]
            spent = epsilon_pld(events, self._plan.delta, interval=_COARSE_INTERVAL)
            self._epsilons[kind] = min(spent, self._plan.stated_price.epsilon)
        return self._epsilons[kind]

    def _tensorboard(self, values: dict[str, Any]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder.path / "tensorboard"))
        for key, value in values.items():
            if isinstance(value, float):
                self._writer.add_scalar(key, value, values["round"])
        for site, value in values.get("epsilon", {}).items():
            self._writer.add_scalar(f"epsilon/{site}", value, values["round"])
        self._writer.flush()
