"""One noisy sum over sites, opened: in per-site trust from whoever answers, masked from a roster.

In per-site trust each answer is private alone and they are added up. With a secure sum the answers
are masked, and only the sum over a whole roster tells anything. The roster, which is made of the
sites that are there, and the attempt's number are written down before anything is sent, so that
a coordinator that crashed asks for the very same again, which costs the sites nothing. What was
opened is kept with every site's part and not asked for again.

An attempt at a secure sum to which a site of its roster stays silent is void: the round is asked
again under the next number, of those that are there, with fresh samples, noise and masks. The
request says of whom the earlier attempts were asked, so that a site that was not among them, or
never heard of one, misses no number. What was answered to a void attempt is charged all the same,
from the plan's spare rounds; where none is left the run stays incomplete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fedloom.common.errors import IncompleteError
from fedloom.common.messages import Answer, Request
from fedloom.common.typed import plain, read_typed
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.admission import Shapes
from fedloom.server.kept_answers import Attempts, KeptAnswers
from fedloom.server.run_folder import RunFolder
from fedloom.server.sites import Sites

__all__ = ["Sums"]

_TRIES = 2


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
        self._kept = KeptAnswers(folder.path, self._plan)

    def ask(self, asked: RoundQuery, arrays: dict[str, Any], length: int) -> OpenedRound:
        """Asks for one round until its sum opens, and keeps what opened.

        Args:
          asked: a round whose answers are sums.
          arrays: what the query takes.
          length: of the sum.

        Raises:
          QuorumError: too few sites answer; the run can be resumed.
          IncompleteError: a sum did not open, and no spare round is left.
        """
        request, answers = self.collect(asked, arrays, {"sum": ((length,), "int64")})
        opened = OpenedRound.open(self._plan, asked, request, answers)
        if asked.published:
            self._kept.keep_opened(opened)
        return opened

    def collect(
        self, asked: RoundQuery, arrays: dict[str, Any], expected: Shapes
    ) -> tuple[Request, dict[str, Answer]]:
        """Asks for one round, and keeps each site's signed answer.

        Args:
          asked: the round.
          arrays: what the query takes.
          expected: shapes and types of an answer's arrays.

        Returns:
          The request that was answered, and the answers by site.

        Raises:
          QuorumError: too few sites answer; the run can be resumed.
          IncompleteError: a secure sum did not open, and no spare round is left.
        """
        request = self._sites.request(asked, arrays, self._begin(asked))
        answers = self._kept.parts(asked.round, request.digest())
        if answers is not None:
            return request, answers
        if self._plan.colluding is None:
            answers = self._sites.ask(request, expected)
            self._sites.require_quorum(answers, f"round {asked.round}")
        else:
            request, answers = self._whole_roster(asked, request, expected)
        rosters = (*request.void, request.roster)
        attempts = Attempts(round=asked.round, rosters=rosters, heads=request.heads)
        self._kept.keep_parts(asked.round, attempts, answers)
        return request, answers

    def _whole_roster(
        self, asked: RoundQuery, request: Request, expected: Shapes
    ) -> tuple[Request, dict[str, Answer]]:
        """Asks until all sites of one roster have answered one attempt."""
        tries = 0
        while True:
            answers = self._sites.ask(request, expected)
            tries += 1
            roster = request.roster
            if len(answers) == len(roster):
                return request, answers
            silent, why = sorted(set(roster) - set(answers)), self._sites.dropout_reasons()
            forgotten = set(self._sites.stale)
            self._sites.refresh_ready()
            if tries < _TRIES and set(roster) <= self._sites.ready and not forgotten:
                continue  # what was answered is stored at the sites, and free
            self._give_up(asked, request.attempt, sorted(answers), why)
            # Who fell silent is set aside until the next look: a second time would cost a spare.
            # Who had lost its memory has promised anew.
            there = self._sites.ready = self._sites.ready - (set(silent) - forgotten)
            self._sites.require_quorum(there, f"round {asked.round}", why)
            if request.attempt > asked.phase.spare_rounds:
                raise self._no_spare(asked, why)
            attempts = self._note(asked, (*request.void, roster, tuple(sorted(there))))
            request, tries = self._sites.request(asked, request.arrays, attempts), 0

    def _begin(self, asked: RoundQuery) -> Attempts:
        """Returns the attempts that were made at this round, or a first one.

        With the heads that the last one named: of a secure sum the same request is sent again.
        """
        known = self._kept.attempts(asked.round)
        noted = self._folder.state().get("attempts")
        if known is None and noted is not None and noted["round"] == asked.round:
            known = read_typed(noted, Attempts, where="run.json: attempts")
        if known is not None:
            return known
        # Who restarted since its last answer has forgotten what it promised; where no spare round
        # makes that good, all are prepared anew before they are asked.
        single = self._plan.colluding is not None and not asked.phase.spare_rounds
        if not self._sites.ready or (single and not self._sites.prepared):
            self._sites.refresh_ready()
        roster = tuple(sorted(self._sites.ready))
        self._sites.require_quorum(roster, f"round {asked.round}")
        return self._note(asked, (roster,))

    def asked(self) -> set[str]:
        """Returns the names of all sites that were ever on a roster of this run."""
        return set(self._folder.state().get("asked", []))

    def _note(self, asked: RoundQuery, rosters: tuple[tuple[str, ...], ...]) -> Attempts:
        heads = self._sites.promises(rosters[-1])
        attempts = Attempts(round=asked.round, rosters=rosters, heads=heads)
        self._folder.update_state(
            attempts=plain(attempts), asked=sorted(self.asked() | set(rosters[-1]))
        )
        return attempts

    def _give_up(self, asked: RoundQuery, attempt: int, answered: list[str], why: str) -> None:
        """Notes a void attempt, if a spare round is left to make it good."""
        void = list(self._folder.state().get("void", []))
        # A phase's spare rounds make good the void attempts of all its rounds.
        of_phase = {other.round for other in self._plan.rounds if other.phase is asked.phase}
        alike = [line for line in void if line["round"] in of_phase and line["sites"]]
        if answered and len(alike) >= asked.phase.spare_rounds:
            raise self._no_spare(asked, why)
        line = {
            "round": asked.round,
            "query": asked.query.value,
            "attempt": attempt,
            "sites": answered,
        }
        self._folder.update_state(void=[*void, line])
        self._on_event({"event": "void", **line, "reason": why})

    def _no_spare(self, asked: RoundQuery, why: str) -> IncompleteError:
        price = self._plan.stated_price.epsilon
        return IncompleteError(
            f"round {asked.round}: its sum cannot be opened, because part of its roster did "
            f"not answer ({why}), and the plan has no spare round left; resume the run when "
            "they are back, which costs nothing more, or begin a new run with the stewards' "
            f"approval at epsilon {price:.4g} again"
        )
