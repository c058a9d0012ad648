"""Every metric that fedloom has, and why it tells nothing of records.

A metric that does not stand here cannot be given out. There is no number of records or persons, no
loss, norm or batch size, and at a site no time that anything took: how long a site computes depends
on how many records it has. Seconds are the coordinator's, of all sites of a round together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from fedloom.common.vocabulary import Status

__all__ = ["COORDINATOR", "REFUSALS", "SITE", "Described", "Families"]

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Described:
    """A metric.

    Attributes:
      kind: as Prometheus has it; a counter's samples end in `_total`.
      help: what it is.
      why: why it tells nothing of records.
      labels: names of its labels.
    """

    kind: Kind
    help: str
    why: str
    labels: tuple[str, ...] = ()


_MESSAGES = "counts messages, whose number the coordinator chose"
_PRICE = "made of the prices in approved plans, which are public"
_STEWARD = "what the steward or the machine did"
_SEEN = "what the coordinator saw arrive or sent itself"
_OWN = "of the coordinator's own machine, which has no records"

REFUSALS = (*(str(code) for code in Status if code is not Status.OK), "silence")
"""What a message may end with that is not answered."""

SITE: Mapping[str, Described] = {
    "fedloom_site_info": Described("gauge", "Always 1.", _STEWARD, ("site", "version")),
    "fedloom_site_ready": Described("gauge", "1 if the site can answer.", _STEWARD),
    "fedloom_site_vault_up": Described("gauge", "1 while a vault holds the home.", _STEWARD),
    "fedloom_site_paused": Described("gauge", "1 while the steward has paused it.", _STEWARD),
    "fedloom_site_turned_back": Described(
        "gauge", "1 while the home is known to be an older copy of itself.", _STEWARD
    ),
    "fedloom_site_audit_log_whole": Described(
        "gauge", "0 if a line of the audit log was removed, changed or put in.", _STEWARD
    ),
    "fedloom_site_answers": Described(
        "counter", "Answers given for the first time.", _MESSAGES, ("query",)
    ),
    "fedloom_site_rounds": Described("counter", "Rounds answered, over all runs.", _MESSAGES),
    "fedloom_site_refusals": Described(
        "counter",
        "Messages that were refused, or met by silence.",
        "a refusal never depends on records; silence is seen by whoever asked",
        ("code",),
    ),
    "fedloom_site_open_runs": Described("gauge", "Runs begun and not finished.", _MESSAGES),
    "fedloom_site_last_answer_timestamp_seconds": Described(
        "gauge",
        "When an answer was last given, rounded down to the hour.",
        "an hour hides how long computing takes; the coordinator sees the moment itself",
    ),
    "fedloom_site_epsilon_limit": Described(
        "gauge", "Limit for the life of the records, at fedloom_site_delta.", _PRICE
    ),
    "fedloom_site_delta": Described("gauge", "Delta at which all is priced.", _PRICE),
    "fedloom_site_epsilon_spent": Described(
        "gauge", "What has been answered, as `budget show` states it.", _PRICE
    ),
    "fedloom_site_epsilon_reserved": Described(
        "gauge", "That, and what unfinished runs hold.", _PRICE
    ),
    "fedloom_site_epsilon_lifetime": Described(
        "gauge", "That, by the rule which decides whether a further plan fits.", _PRICE
    ),
    "fedloom_site_epsilon_left": Described(
        "gauge", "Limit less fedloom_site_epsilon_lifetime, at least 0.", _PRICE
    ),
    "fedloom_site_certificate_expiry_timestamp_seconds": Described(
        "gauge", "When a certificate ends.", _STEWARD, ("certificate",)
    ),
    "fedloom_site_disk_free_bytes": Described(
        "gauge",
        "Room on the home's disk, rounded down to a power of two.",
        "frozen records take room too; a power of two hides how much",
    ),
}

COORDINATOR: Mapping[str, Described] = {
    "fedloom_coordinator_info": Described("gauge", "Always 1.", _OWN, ("version",)),
    "fedloom_coordinator_ready": Described("gauge", "1 if runs can be begun.", _OWN),
    "fedloom_coordinator_superlink_up": Described("gauge", "1 if the SuperLink answers.", _OWN),
    "fedloom_coordinator_audit_log_whole": Described(
        "gauge", "0 if a line of the audit log was removed, changed or put in.", _OWN
    ),
    "fedloom_coordinator_sites_invited": Described("gauge", "Sites that were invited.", _OWN),
    "fedloom_coordinator_site_online": Described(
        "gauge", "1 while the site's node is connected; not there if unknown.", _SEEN, ("site",)
    ),
    "fedloom_coordinator_rounds": Described(
        "counter", "Rounds to which a site answered, over all runs.", _SEEN
    ),
    "fedloom_coordinator_attempts": Described("counter", "Attempts at rounds.", _SEEN, ("query",)),
    "fedloom_coordinator_void_attempts": Described(
        "counter", "Attempts that were asked again under the next number.", _SEEN
    ),
    "fedloom_coordinator_answers": Described(
        "counter", "Answers that were accepted.", _SEEN, ("site",)
    ),
    "fedloom_coordinator_refusals": Described(
        "counter",
        "Refusals, silence, and answers that were not accepted.",
        _SEEN,
        ("site", "code"),
    ),
    "fedloom_coordinator_exchange_seconds": Described(
        "histogram",
        "From a request to the last site's answer.",
        "of all sites together, as the coordinator saw it",
        ("phase",),
    ),
    "fedloom_coordinator_runs": Described("gauge", "Runs, by state.", _OWN, ("state",)),
    "fedloom_coordinator_run_active": Described(
        "gauge", "1 while a coordinator works in the run.", _OWN, ("run", "study")
    ),
    "fedloom_coordinator_run_round": Described(
        "gauge", "Last round of the run that was carried out.", _SEEN, ("run", "study")
    ),
    "fedloom_coordinator_run_rounds": Described(
        "gauge", "Rounds of the run's plan.", _PRICE, ("run", "study")
    ),
    "fedloom_coordinator_run_round_seconds": Described(
        "gauge",
        "Of the run's last exchange about a round, until the last site's answer.",
        "of all sites together, as the coordinator saw it",
        ("run", "study"),
    ),
    "fedloom_coordinator_run_epsilon": Described(
        "gauge", "Largest epsilon of the run's answers at a site.", _PRICE, ("run", "study")
    ),
    "fedloom_coordinator_run_last_message_timestamp_seconds": Described(
        "gauge", "When sites were last asked, or answered.", _SEEN, ("run", "study")
    ),
    "fedloom_coordinator_certificate_expiry_timestamp_seconds": Described(
        "gauge", "When a certificate ends.", _OWN, ("certificate",)
    ),
    "fedloom_coordinator_disk_free_bytes": Described(
        "gauge", "Room on the disk of the coordinator's home.", _OWN
    ),
}


class Families:
    """Samples of one look, checked against a catalogue.

    Args:
      catalogue: `SITE` or `COORDINATOR`.
    """

    def __init__(self, catalogue: Mapping[str, Described]) -> None:
        self._catalogue = catalogue
        self._found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}

    def add(self, name: str, value: float, **labels: str) -> None:
        """Adds a sample of a counter or gauge.

        Raises:
          KeyError: the catalogue does not have this metric with these labels.
        """
        described = self._described(name, labels)
        if name not in self._found:
            family = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
            self._found[name] = family(name, described.help, labels=described.labels)
        self._found[name].add_metric([labels[label] for label in described.labels], value)

    def add_histogram(
        self, name: str, buckets: Sequence[tuple[str, int]], total: float, **labels: str
    ) -> None:
        """Adds a histogram.

        Args:
          name: of the metric.
          buckets: upper bounds, the last one "+Inf", and how many are at most that.
          total: sum of all that was measured.
          **labels: of the sample.

        Raises:
          KeyError: the catalogue does not have this metric with these labels.
        """
        described = self._described(name, labels)
        if name not in self._histograms:
            family = HistogramMetricFamily(name, described.help, labels=described.labels)
            self._histograms[name] = family
        self._histograms[name].add_metric(
            [labels[label] for label in described.labels],
            [(bound, float(count)) for bound, count in buckets],
            total,
        )

    def all(self) -> list[Metric]:
        """Returns what was added."""
        return [*self._found.values(), *self._histograms.values()]

    def _described(self, name: str, labels: Mapping[str, str]) -> Described:
        described = self._catalogue[name]
        if set(labels) != set(described.labels):
            raise KeyError(f"{name} has the labels {described.labels}")
        return described
