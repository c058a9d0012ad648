"""The lifetime budget: whatever is reserved, in whatever order, stays below the limit."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fedloom.common.errors import BudgetExceededError, LedgerError, RefusedError, UsedUpError
from fedloom.privacy.accounting import calibrate, epsilon_pld, lifetime_renyi_order
from fedloom.privacy.events import DpEvent, event_to_json, gaussian, repeat, subsampled
from fedloom.privacy.keys import generate_key
from fedloom.privacy.ledger import Ledger, Limits, compose_homes, read_ledger
from fedloom.privacy.ledger.chain import verify_chain
from fedloom.privacy.ledger.entries import new_entry
from fedloom.privacy.ledger.seen_heads import SeenHeads
from fedloom.privacy.ledger.state import replay
from fedloom.privacy.ledger.view import LedgerView
from tests.given import given

if TYPE_CHECKING:
    from tests.privacy.ledger.conftest import SmallHome

DELTA = 1e-5
NewHome = Callable[[str, float], "SmallHome"]


def worth(epsilon: float) -> DpEvent:
    return gaussian(calibrate(gaussian, epsilon, DELTA))


def approve_and_reserve(ledger: Ledger, home: SmallHome, plan: str, event: DpEvent) -> None:
    home.approve(ledger, plan, event)
    ledger.reserve(plan=plan, run="run", event=event)


def answer_all(ledger: Ledger, plan: str, event: DpEvent) -> None:
    key = {"plan": plan, "run": "run", "round": 1, "attempt": 1}
    ledger.open_attempt(**key, query="statistic", roster=["s"], request_digest="d", event=event)
    ledger.commit(**key, arrays=given(b"x"))


def test_the_first_plan_may_use_the_whole_limit_by_pld(new_home: NewHome) -> None:
    event = subsampled(0.02, calibrate(lambda s: subsampled(0.02, s, 300), 1.0, DELTA), 300)
    home = new_home("exact", 1.0)
    with Ledger.open(home.path, home.key) as ledger:
        assert ledger.admission(event).fits
        approve_and_reserve(ledger, home, "p", event)
        head = ledger.head
        home.approve(ledger, "q", worth(0.1))
        with pytest.raises(BudgetExceededError, match="life of these records is epsilon 1 at"):
            ledger.reserve(plan="q", run="run", event=worth(0.1))
        assert ledger.head[0] == head[0] + 1


def test_a_plan_above_the_limit_is_refused_and_nothing_is_written(new_home: NewHome) -> None:
    home = new_home("tight", 1.0)
    with home.open() as ledger:
        home.approve(ledger, "p", worth(1.01))
        head = ledger.head
        with pytest.raises(BudgetExceededError, match="Nothing was spent") as caught:
            ledger.reserve(plan="p", run="run", event=worth(1.01))
        assert caught.value.exit_code == 3
        assert ledger.head == head


def test_a_plan_is_priced_at_the_delta_of_the_home(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key.pem")
    event = worth(1.0)
    with Ledger.create(
        tmp_path / "home", private_key=key, site="s", epsilon_limit=1.0, delta_limit=1e-7
    ) as ledger:
        assert ledger.admission(event).epsilon > 1.2
        assert not ledger.admission(event).fits


def test_two_studies_at_once_are_both_reserved_or_the_second_refused(new_home: NewHome) -> None:
    home = new_home("both", 3.0)
    with home.open() as ledger:
        approve_and_reserve(ledger, home, "p", worth(1.0))
        approve_and_reserve(ledger, home, "q", worth(1.0))
        assert ledger.budget()["epsilon_reserved"] < 3.0
        refused = 0
        for number in range(12):
            home.approve(ledger, f"r{number}", worth(1.0))
            try:
                ledger.reserve(plan=f"r{number}", run="run", event=worth(1.0))
            except BudgetExceededError:
                refused += 1
            spent = ledger.budget()
            assert max(spent["epsilon_reserved"], spent["epsilon_lifetime"]) <= 3.0
        assert refused >= 8


def test_two_threads_that_reserve_at_once_do_not_both_get_the_last_room(new_home: NewHome) -> None:
    home = new_home("race", 1.0)
    event = worth(0.9)
    outcomes: list[str] = []
    with home.open() as ledger:
        for name in ("p", "q"):
            home.approve(ledger, name, event)

        def reserve(name: str) -> None:
            try:
                ledger.reserve(plan=name, run="run", event=event)
                outcomes.append("reserved")
            except BudgetExceededError:
                outcomes.append("refused")

        threads = [threading.Thread(target=reserve, args=(name,)) for name in ("p", "q")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == ["refused", "reserved"]


def test_a_second_run_of_the_same_plan_needs_its_own_approval_and_room(new_home: NewHome) -> None:
    home = new_home("again", 1.0)
    event = worth(0.9)
    with home.open() as ledger:
        approve_and_reserve(ledger, home, "p", event)
        ledger.reserve(plan="p", run="run", event=event)
        with pytest.raises(UsedUpError):
            ledger.reserve(plan="p", run="another", event=event)
        answer_all(ledger, "p", event)
        ledger.finish("p", "run")
        home.approve(ledger, "p", event)
        with pytest.raises(BudgetExceededError):
            ledger.reserve(plan="p", run="another", event=event)


def test_a_run_that_answered_nothing_gives_its_room_back(new_home: NewHome) -> None:
    home = new_home("unused", 1.0)
    event = worth(0.99)
    with home.open() as ledger:
        approve_and_reserve(ledger, home, "p", event)
        ledger.finish("p", "run")
        approve_and_reserve(ledger, home, "q", event)
        assert ledger.admission(event).rule == "lifetime"


def test_a_first_plan_beyond_the_filter_closes_the_home_however_it_ends(new_home: NewHome) -> None:
    """Else the choice between two guarantees would hang on answers; see decision 0002."""
    home = new_home("closed", 1.0)
    part = worth(0.2)
    scale = calibrate(lambda s: repeat(gaussian(s), 20), 0.999, DELTA)
    first = repeat(gaussian(scale), 20)
    with home.open() as ledger:
        approve_and_reserve(ledger, home, "p", first)
        answer_all(ledger, "p", gaussian(scale))
        ledger.finish("p", "run")
        assert ledger.budget()["epsilon_lifetime"] < 0.9
        home.approve(ledger, "q", part)
        with pytest.raises(BudgetExceededError):
            ledger.reserve(plan="q", run="run", event=part)


def test_an_audit_prices_every_reservation_again(small: SmallHome) -> None:
    with small.open() as ledger:
        small.reserve(ledger)
    view = read_ledger(small.path)
    view.verify(1e-3)
    entries = list(view.entries)
    bold = {"plan": "bold", "run": "r", "event": event_to_json(gaussian(0.5))}
    approved = {
        "study": "s",
        "plan": "bold",
        "name": "n",
        "event": bold["event"],
        "runs": 1,
        "learned": [],
        "unit": "record",
        "id": None,
        "coordinator": "c0" * 32,
        "snapshot_commitment": "c",
        "summary": {},
    }
    for kind, data in (("approve", approved), ("reserve", bold)):
        entries.append(new_entry(small.key, len(entries), entries[-1].hash, kind, data))
    verify_chain(entries, view.public_key)
    with pytest.raises(LedgerError, match="entry 4 reserves more than the limit"):
        LedgerView(entries, replay(entries), SeenHeads({})).verify(1e-3)


def test_people_in_two_homes_lose_what_both_homes_spent(new_home: NewHome) -> None:
    homes = [new_home(name, 3.0) for name in ("a", "b")]
    for home in homes:
        with home.open() as ledger:
            approve_and_reserve(ledger, home, "p", gaussian(4.0))
            answer_all(ledger, "p", gaussian(4.0))
    views = [read_ledger(home.path) for home in homes]
    together = compose_homes(views, interval=1e-3)
    assert together == epsilon_pld([gaussian(4.0)] * 2, DELTA, 1e-3)
    assert compose_homes(views[:1], interval=1e-3) < together


class AnyOrder(RuleBasedStateMachine):
    """Reserves, opens, commits and finishes in any order on one home with limit 2."""

    limit = 2.0
    policy: Limits | None = None
    runs = st.sampled_from(["r", "s", "t", "u"])
    plans = st.integers(0, 5).map(lambda number: f"plan-{number}")
    events = {f"plan-{n}": repeat(gaussian(3.0 + n), 1 + n % 3) for n in range(6)}

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="fedloom-ledger-"))
        self.key = generate_key(self.folder / "key.pem")
        self.ledger = Ledger.create(
            self.folder / "home",
            private_key=self.key,
            site="s",
            epsilon_limit=self.limit,
            delta_limit=DELTA,
            interval=1e-3,
        )
        self.released: list[DpEvent] = []
        self.granted = dict.fromkeys(self.events, 0)
        self.answered: set[tuple[str, str]] = set()
        for plan in self.events:
            self.approve(plan, 1)

    @rule(plan=plans, runs=st.integers(1, 3))
    def approve(self, plan: str, runs: int) -> None:
        try:
            self.ledger.approve(
                study="s",
                plan=plan,
                name="n",
                event=self.events[plan],
                runs=runs,
                learned=(),
                unit="record",
                id=None,
                coordinator="c0" * 32,
                snapshot_commitment="c",
                summary={},
            )
            self.granted[plan] += runs
        except RefusedError:
            pass

    @rule(plan=plans, run=runs)
    def reserve(self, plan: str, run: str) -> None:
        try:
            self.ledger.reserve(plan=plan, run=run, event=self.events[plan], policy=self.policy)
        except RefusedError:
            pass

    @rule(
        plan=plans,
        run=runs,
        round_number=st.integers(0, 3),
        attempt=st.integers(1, 3),
        commits=st.booleans(),
    )
    def answer(self, plan: str, run: str, round_number: int, attempt: int, commits: bool) -> None:
        key = {"plan": plan, "run": run, "round": round_number, "attempt": attempt}
        event = gaussian(3.0 + int(plan[-1]))
        try:
            self.ledger.open_attempt(
                **key,
                query="q",
                roster=["s"],
                void=[["s"]] * (attempt - 1),
                request_digest="d",
                event=event,
            )
            if commits:
                self.ledger.commit(**key, arrays=given(b"x"))
                self.released.append(event)
                self.answered.add((plan, run))
        except RefusedError:
            pass

    @rule(plan=plans, run=runs)
    def finish(self, plan: str, run: str) -> None:
        try:
            self.ledger.finish(plan, run)
        except RefusedError:
            pass

    @precondition(lambda self: len(self.released) > 1)
    @rule()
    def reopen(self) -> None:
        head = self.ledger.head
        self.ledger.close()
        self.ledger = Ledger.open(self.folder / "home", self.key, interval=1e-3)
        assert self.ledger.head == head

    @invariant()
    def what_left_stays_below_the_limit(self) -> None:
        assert epsilon_pld(self.released, DELTA, 1e-3) <= self.limit
        spent = self.ledger.budget()
        assert spent["epsilon_spent"] == epsilon_pld(self.released, DELTA, 1e-3)
        assert spent["epsilon_spent"] <= spent["epsilon_reserved"] + 1e-9 <= self.limit + 1e-9

    @invariant()
    def what_left_stays_below_the_policy(self) -> None:
        if self.policy is not None:
            spent = epsilon_pld(self.released, self.policy.delta, 1e-3)
            assert spent <= self.policy.epsilon

    @invariant()
    def no_plan_answers_more_runs_than_were_granted(self) -> None:
        for plan, granted in self.granted.items():
            assert sum(name == plan for name, _ in self.answered) <= granted

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


AnyOrder.TestCase.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)
TestAnyOrder = AnyOrder.TestCase


class AnyOrderUnderAPolicy(AnyOrder):
    """The same where the steward's policy is stricter than the ledger from the start."""

    policy = Limits(
        epsilon=1.2, delta=DELTA / 10, epsilon_set_by="site.toml", delta_set_by="site.toml"
    )


AnyOrderUnderAPolicy.TestCase.settings = settings(
    max_examples=6, stateful_step_count=25, deadline=None
)
TestAnyOrderUnderAPolicy = AnyOrderUnderAPolicy.TestCase


def test_the_order_of_a_home_is_that_of_its_limits(small: SmallHome) -> None:
    assert read_ledger(small.path).budget()["renyi_order"] == lifetime_renyi_order(3.0, DELTA)
