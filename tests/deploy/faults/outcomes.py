"""What may have become of a run after a fault, and what a ledger may hold then.

The model is small. A run is done, and every site has spent for it what the plan says; or it is
incomplete (exit code 5) and can be resumed, and no site has spent more than the plan. In between
nothing is allowed: no answer may be given twice, no entry may be gone that was there before the
fault, and what a ledger says was spent must be the sum of what was answered.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.events import DpEvent, event_from_json
from fedloom.privacy.ledger import LedgerView, read_ledger, verify_extract
from fedloom.server.run_folder import RunFolder
from tests.deploy.faults.parties import Parties

__all__ = ["Ledgers", "answers_of", "check_done", "check_incomplete"]

Answered = tuple[str, str, int, int]
"""Plan, run, round and attempt of one answer."""


@dataclass
class Ledgers:
    """All ledgers of a federation, watched over many faults: entries only ever join them."""

    parties: Parties
    seen: dict[str, list[str]] = field(default_factory=dict)

    def check(self, *put_back: str) -> dict[str, LedgerView]:
        """Holds every ledger against itself and against how it was at the last check.

        Args:
          *put_back: sites whose disk was put back meanwhile, which may have lost entries.
        """
        views = {}
        for site in self.parties.sites:
            view = views[site] = read_ledger(self.parties.home(site))
            view.verify()
            hashes = [entry.hash for entry in view.entries]
            before = self.seen.get(site, [])
            if site not in put_back:
                assert hashes[: len(before)] == before, f"{site} lost entries"
            self.seen[site] = hashes
            answers = answers_of(view)
            assert len(set(answers)) == len(answers), f"{site}: an answer is charged twice"
            told = view.budget()["epsilon_spent"]
            if not view.lost:
                mine = epsilon_pld(list(answers.values()), view.delta_limit)
                assert told == pytest.approx(mine, rel=1e-9), site
        return views


class _Answers(dict[Answered, DpEvent]):
    """Answers with their events; `len` counts those that were committed, twice if twice."""

    committed = 0

    def __len__(self) -> int:
        return self.committed


def answers_of(view: LedgerView, plan: str | None = None) -> dict[Answered, DpEvent]:
    """Returns all answers of a ledger, of one plan or of all, with what each cost.

    Read from the entries themselves, by other code than the ledger's own state.
    """
    opened: dict[Answered, DpEvent] = {}
    found = _Answers()
    for entry in view.entries:
        body = entry.read()
        data = body.data
        if body.kind not in ("open", "commit") or plan not in (None, data["plan"]):
            continue
        key = (data["plan"], data["run"], data["round"], data["attempt"])
        if body.kind == "open":
            opened[key] = event_from_json(data["event"])
        else:
            found[key] = opened[key]
            found.committed += 1
    return found


def check_done(run: Path, views: dict[str, LedgerView], *, voids: int = 0) -> None:
    """Holds a run that is done against its plan and all ledgers.

    Args:
      run: its folder.
      views: ledgers by site.
      voids: attempts that may have been answered by some sites alone, from spare rounds.
    """
    folder = RunFolder.open(run)
    plan, name = folder.plan(), str(folder.state()["run"])
    assert folder.done()
    every = {asked.round for asked in plan.rounds}
    for site, view in views.items():
        answers = answers_of(view, plan.digest())
        assert {key[1] for key in answers} <= {name}, f"{site} answered another run"
        rounds = Counter(key[2] for key in answers)
        took_part = {line["round"] for line in folder.metrics() if site in line["sites"]}
        assert set(rounds) >= took_part, f"{site}: an answer was not charged"
        assert sum(rounds.values()) <= len(every) + voids, f"{site} was charged too often"
        if not voids and took_part == every:
            assert rounds == Counter(dict.fromkeys(every, 1)), site
            mine = epsilon_pld(list(answers.values()), plan.delta)
            assert mine == pytest.approx(plan.price().epsilon, rel=1e-6), site
        if folder.extract_path(site).exists():
            extract = json.loads(folder.extract_path(site).read_text())
            summary = verify_extract(extract["entries"], plan.site(site).key or "")
            assert summary.run(plan.digest(), name).finished, site
    assert not leftovers(run), leftovers(run)


def check_incomplete(run: Path, views: dict[str, LedgerView]) -> None:
    """Holds a run that did not come to its end against its plan: nobody spent more than it says."""
    folder = RunFolder.open(run)
    plan = folder.plan()
    for site, view in views.items():
        rounds = Counter(key[2] for key in answers_of(view, plan.digest()))
        assert max(rounds.values(), default=0) <= 1, site
        assert set(rounds) <= {asked.round for asked in plan.rounds}, site


def leftovers(folder: Path) -> list[str]:
    """Returns the names of half-written files below a folder."""
    return [path.name for path in folder.rglob("*") if "partial" in path.name]
