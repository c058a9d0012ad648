"""One noisy sum over sites, opened: in local trust from whoever answers, masked from a roster.

In local trust each answer is private alone and they are added up. With a secure sum the answers
are masked, and only the sum over a whole roster tells anything: the roster and the attempt's
number are written down before anything is sent, so that a coordinator that crashed asks for the
very same again, which costs the sites nothing. An attempt to which a site of its roster stays
silent is void: the round is asked again under the next number, of those that are there, with
fresh samples, noise and masks. What was answered to a void attempt is charged all the same,
from the plan's spare rounds; where none is left the run stays incomplete.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import IncompleteError
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.privacy.secure_sum import from_lattice, open_sum
from fedloom.server.asking import Sites
from fedloom.server.run_folder import RunFolder

__all__ = ["Opened", "Sums"]

_TRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A noisy sum over sites.

    Attributes:
      values: (length,) the sum over the roster, float64.
      roster: names of the sites in it, sorted.
      spread: standard deviation of its noise in units of what the plan states.
      parts: each site's own noisy answer; in local trust alone.
    """

    values: NDArray[np.float64]
    roster: tuple[str, ...]
    spread: float
    parts: dict[str, NDArray[np.float64]] | None


class Sums:
    """Asks the sites of one run for sums."""

    def __init__(
        self, folder: RunFolder, sites: Sites, on_event: Callable[[dict[str, Any]], None]
    ) -> None:
        """Takes plan and earlier attempts from the run folder."""
        self._folder = folder
        self._plan: Plan = folder.plan()
        self._sites = sites
        self._on_event = on_event

    def ask(
        self, asked: RoundQuery, arrays: dict[str, Any], length: int, *, unit: float | None = None
    ) -> Opened:
        """Asks for one round until its sum opens.

        Args:
          asked: the round.
          arrays: what the query takes.
          length: of the sum.
          unit: of its lattice, if the round's parameters do not name it.

        Raises:
          QuorumError: too few sites answer; the run can be resumed.
          IncompleteError: a sum did not open, and no spare round is left.
        """
        unit = asked.params["lattice_unit"] if unit is None else unit
        expected = {"sum": ((length,), "int64")}
        if self._plan.colluding is None:
            return self._plain(asked, arrays, expected, unit)
        return self._masked(asked, arrays, expected, unit)

    def _plain(
        self, asked: RoundQuery, arrays: dict[str, Any], expected: Any, unit: float
    ) -> Opened:
        answers = self._sites.ask(asked, arrays, expected)
        self._sites.need(answers, f"round {asked.round}")
        parts = {site: from_lattice(answers[site].arrays["sum"], unit) for site in sorted(answers)}
        return Opened(
            values=np.sum(list(parts.values()), axis=0),
            roster=tuple(parts),
            spread=math.sqrt(len(parts)),
            parts=parts,
        )

    def _masked(
        self, asked: RoundQuery, arrays: dict[str, Any], expected: Any, unit: float
    ) -> Opened:
        attempt, roster = self._begin(asked)
        tries = 0
        while True:
            answers = self._sites.ask(asked, arrays, expected, roster=roster, attempt=attempt)
            tries += 1
            if len(answers) == len(roster):
                break
            silent, why = sorted(set(roster) - set(answers)), self._sites.why()
            self._sites.look_again()
            if tries < _TRIES and set(roster) <= self._sites.ready:
                continue  # what was answered is stored at the sites, and free
            self._give_up(asked, attempt, sorted(answers), why)
            # Who fell silent is set aside until the next look: a second time would cost a spare.
            there = self._sites.ready = self._sites.ready - set(silent)
            self._sites.need(there, f"round {asked.round}", why)
            attempt, roster, tries = attempt + 1, sorted(there), 0
            self._note(asked, attempt, roster)
        shares = {site: answers[site].arrays["sum"] for site in roster}
        honest = len(roster) - (self._plan.colluding or 0)
        return Opened(
            values=open_sum(shares, roster=roster, unit=unit),
            roster=tuple(roster),
            spread=math.sqrt(len(roster) / honest),
            parts=None,
        )

    def _begin(self, asked: RoundQuery) -> tuple[int, list[str]]:
        """Returns the attempt that was sent last for this round, or a first one."""
        known = self._folder.state().get("attempt")
        if known is not None and known["round"] == asked.round:
            return int(known["attempt"]), [str(name) for name in known["roster"]]
        roster = sorted(self._sites.ready)
        self._sites.need(roster, f"round {asked.round}")
        self._note(asked, 1, roster)
        return 1, roster

    def _note(self, asked: RoundQuery, attempt: int, roster: list[str]) -> None:
        self._folder.update_state(
            attempt={"round": asked.round, "attempt": attempt, "roster": roster}
        )

    def _give_up(self, asked: RoundQuery, attempt: int, answered: list[str], why: str) -> None:
        """Notes a void attempt, if a spare round is left to make it good."""
        void = list(self._folder.state().get("void", []))
        alike = [line for line in void if line["query"] == asked.query and line["sites"]]
        if asked.query == "statistic":
            alike = [line for line in alike if line["round"] == asked.round]
        if answered and len(alike) >= self._spares(asked):
            price = self._plan.body["price"]["epsilon"]
            raise IncompleteError(
                f"round {asked.round}: its sum cannot be opened, because part of its roster did "
                f"not answer ({why}), and the plan has no spare round left; resume the run when "
                "they are back, which costs nothing more, or begin a new run with the stewards' "
                f"approval at epsilon {price:.4g} again"
            )
        line = {
            "round": asked.round,
            "query": asked.query,
            "attempt": attempt,
            "sites": answered,
        }
        self._folder.update_state(void=[*void, line])
        self._on_event({"event": "void", **line, "reason": why})

    def _spares(self, asked: RoundQuery) -> int:
        training = self._plan.training
        if asked.query == "gradient" and training is not None:
            return int(training["spare_rounds"])
        if asked.query == "statistic":
            return int(self._plan.statistics["spare_rounds"])
        return 0
