"""A schema that was learned is held against the ledger of the home that should have paid for it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import fedloom
from fedloom.client.approval import approve
from fedloom.client.home import Home
from fedloom.client.learned_check import check_learned
from fedloom.common.errors import StudyError
from fedloom.common.study import load_study
from fedloom.privacy.accounting import price
from fedloom.privacy.events import gaussian, repeat
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan
from tests.federation import make, make_home, table
from tests.given import given

STUDY, PLAN = "a" * 64, "b" * 64
EVENT, DELTA = gaussian(8.0), 1e-6
ONE, BOTH = (price([repeat(EVENT, runs)], DELTA).epsilon for runs in (1, 2))
PRICE = {"epsilon": ONE, "delta": DELTA}


def plan_of(folder: Path, home: Home, **changes: Any) -> Plan:
    """A plan at one site whose schema says that `age` was learned, at PRICE or with changes."""
    keys = {"north": (home.public_key(), home.exchange_public_key())}
    federation = make(folder, sites=("north",), keys=keys)
    said = {"study": STUDY, "plan": PLAN, "runs": 1, **PRICE, **changes}
    lines = [
        f'{key} = "{v}"' if isinstance(v, str) else f"{key} = {v!r}" for key, v in said.items()
    ]
    with (folder / "schema.toml").open("a") as file:
        file.write("\n".join(["", "[[learned]]", 'columns = ["age"]', *lines, ""]))
    return resolve_plan(*load_study(federation.study), version=fedloom.__version__)


def learn(ledger: Ledger, *names: str, runs: int = 1, answered: bool = True) -> None:
    """Approves the learning study for so many runs, and answers those that are named."""
    ledger.approve(
        study=STUDY,
        plan=PLAN,
        name="learn",
        unit="record",
        id=None,
        coordinator="c0" * 32,
        event=EVENT,
        runs=runs,
        learned=(),
        snapshot_commitment="salted",
        summary=PRICE,
    )
    for name in names or ("r",):
        run = {"plan": PLAN, "run": name}
        ledger.reserve(**run, event=EVENT)
        if answered:
            attempt = {**run, "round": 1, "attempt": 1}
            ledger.open_attempt(
                **attempt, query="statistic", roster=["north"], request_digest="d", event=EVENT
            )
            ledger.commit(**attempt, arrays=given(b"noise"))
        ledger.finish(**run)


def test_a_home_that_answered_the_learning_study_approves(tmp_path: Path) -> None:
    """Also once that study is revoked: what was answered stays charged."""
    home = make_home(tmp_path / "north")
    plan = plan_of(tmp_path / "study", home)
    with Ledger.open(home.path, home.private_key()) as ledger:
        learn(ledger, runs=2)
        ledger.revoke(PLAN)
        approve(home, ledger, plan, table(50), policy=None)
        assert ledger.approval(plan.digest()) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 1e-9}, f"says runs = 1 and epsilon = 1e-09.*1 run.*{ONE!r}"),
        ({"epsilon": ONE * (1 - 1e-5)}, f"epsilon = {ONE!r} there"),
        ({"delta": 1e-9}, "says delta"),
        ({"study": "c" * 64}, "says study"),
        ({"plan": "c" * 64}, "never answered that plan"),
    ],
)
def test_a_table_that_the_ledger_does_not_bear_out_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    home = make_home(tmp_path / "north")
    plan = plan_of(tmp_path / "study", home, **changes)
    with Ledger.open(home.path, home.private_key()) as ledger:
        learn(ledger)
        with pytest.raises(StudyError, match=message):
            approve(home, ledger, plan, table(50), policy=None)
    kinds = [entry.read().kind for entry in read_ledger(home.path).entries]
    assert kinds.count("approve") == 1 and not [*home.snapshots.iterdir()]


@pytest.mark.parametrize(
    "history",
    [
        pytest.param([{"names": ("r", "s"), "runs": 2}], id="two runs under one approval"),
        pytest.param([{"names": ("r",)}, {"names": ("s",)}], id="two approvals"),
        pytest.param([{"names": ("r",), "runs": 2}], id="one of two that were granted"),
        pytest.param([{"names": ("r",)}, {"names": ("s",), "answered": False}], id="one may come"),
    ],
)
def test_a_schema_costs_all_runs_of_its_plan(tmp_path: Path, history: list[dict[str, Any]]) -> None:
    home = make_home(tmp_path / "north")
    cheap = plan_of(tmp_path / "cheap", home)
    honest = plan_of(tmp_path / "honest", home, epsilon=BOTH, runs=2)
    with Ledger.open(home.path, home.private_key()) as ledger:
        for one in history:
            learn(ledger, *one["names"], **{k: v for k, v in one.items() if k != "names"})
        head = ledger.head
        with pytest.raises(StudyError, match=f"runs = 2 and epsilon = {BOTH!r} there"):
            approve(home, ledger, cheap, table(50), policy=None)
        assert ledger.head == head and not [*home.snapshots.iterdir()]
        approve(home, ledger, honest, table(50), policy=None)


def test_approved_and_never_answered_is_not_enough(tmp_path: Path) -> None:
    home = make_home(tmp_path / "north")
    plan = plan_of(tmp_path / "study", home)
    with Ledger.open(home.path, home.private_key()) as ledger:
        learn(ledger, answered=False)
        with pytest.raises(StudyError, match="the homes that learned it"):
            check_learned(ledger, plan)


def test_a_rehearsal_without_a_past_is_warned_and_never_lets_a_false_price_pass(
    tmp_path: Path,
) -> None:
    home = Home.create(tmp_path / "north")
    plan, false = (
        plan_of(tmp_path / name, home, **changes)
        for name, changes in (("study", {}), ("false", {"epsilon": 0.1}))
    )
    with Ledger.create(
        home.path,
        private_key=home.private_key(),
        site="north",
        epsilon_limit=8.0,
        delta_limit=1e-3,
        rehearsal=True,
    ) as ledger:
        with pytest.warns(UserWarning, match="a rehearsal's, so the run goes on"):
            check_learned(ledger, plan)
        learn(ledger)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_learned(ledger, plan)
        with pytest.raises(StudyError, match="and epsilon = 0.1"):
            check_learned(ledger, false)
