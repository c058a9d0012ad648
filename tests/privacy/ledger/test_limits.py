"""The smaller of ledger and policy binds, over the whole life and from the next message on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.errors import BudgetExceededError
from fedloom.privacy.accounting import calibrate, epsilon_pld
from fedloom.privacy.events import DpEvent, gaussian
from fedloom.privacy.ledger import Limits
from tests.given import given as answer

if TYPE_CHECKING:
    from fedloom.privacy.ledger import Ledger
    from tests.privacy.ledger.conftest import SmallHome

DELTA = 1e-5
NewHome = Callable[[str, float], "SmallHome"]


def policy(epsilon: float, delta: float = DELTA) -> Limits:
    return Limits(
        epsilon=epsilon, delta=delta, epsilon_set_by="site.toml", delta_set_by="site.toml"
    )


def worth(epsilon: float) -> DpEvent:
    return gaussian(calibrate(gaussian, epsilon, DELTA))


def study(home: SmallHome, ledger: Ledger, plan: str, limits: Limits | None) -> None:
    """A whole study of epsilon 0.5: approved, reserved, answered, finished."""
    event = worth(0.5)
    home.approve(ledger, plan, event)
    ledger.reserve(plan=plan, run="r", event=event, policy=limits)
    key = {"plan": plan, "run": "r", "round": 1, "attempt": 1}
    ledger.open_attempt(**key, query="q", roster=["s"], request_digest="d", event=event)
    ledger.commit(**key, arrays=answer(b"x"))
    ledger.finish(plan, "r")


def test_a_policy_bounds_all_studies_together(new_home: NewHome) -> None:
    home = new_home("strict", 9.0)
    with home.open() as ledger:
        study(home, ledger, "first", policy(1.5))
        study(home, ledger, "second", policy(1.5))
        with pytest.raises(BudgetExceededError, match=r"epsilon 1.5 \(set by \[policy\]"):
            for number in range(10):
                study(home, ledger, f"more-{number}", policy(1.5))
        assert ledger.budget()["epsilon_spent"] < 1.5
        for number in range(5):  # the home itself has room for many
            study(home, ledger, f"without-{number}", None)
        assert ledger.budget()["epsilon_spent"] > 1.5


def test_a_smaller_delta_is_what_everything_is_priced_at(new_home: NewHome) -> None:
    home = new_home("delta", 1.0)
    event = worth(0.99)
    with home.open() as ledger:
        home.approve(ledger, "p", event)
        assert ledger.admission(event).fits
        assert ledger.admission(event, policy(1.0, 1e-9)).epsilon == pytest.approx(
            epsilon_pld([event], 1e-9, 1e-3), rel=1e-3
        )
        with pytest.raises(BudgetExceededError, match="at delta 1e-09"):
            ledger.reserve(plan="p", run="r", event=event, policy=policy(1.0, 1e-9))
        ledger.reserve(plan="p", run="r", event=event, policy=policy(5.0, 0.5))


@pytest.mark.parametrize("limits", [policy(0.4), policy(0.8, 1e-12)])
def test_what_is_reserved_already_must_fit_a_policy_that_has_become_smaller(
    new_home: NewHome, limits: Limits
) -> None:
    home = new_home("later", 9.0)
    event = worth(0.5)
    with home.open() as ledger:
        home.approve(ledger, "p", event)
        ledger.reserve(plan="p", run="r", event=event, policy=policy(1.0))
        ledger.reserve(plan="p", run="r", event=event, policy=policy(1.0))
        head = ledger.head
        with pytest.raises(BudgetExceededError):
            ledger.reserve(plan="p", run="r", event=event, policy=limits)
        assert ledger.head == head
        ledger.reserve(plan="p", run="r", event=event, policy=policy(1.0))


@given(
    own=st.tuples(st.floats(0.1, 9), st.floats(1e-9, 1e-2)),
    other=st.tuples(st.floats(0.1, 9), st.floats(1e-9, 1e-2)),
)
def test_the_smaller_of_each_binds_and_its_file_is_named(
    own: tuple[float, float], other: tuple[float, float]
) -> None:
    ledger = Limits(epsilon=own[0], delta=own[1], epsilon_set_by="ledger", delta_set_by="ledger")
    both = ledger.within(policy(*other))
    assert (both.epsilon, both.delta) == (min(own[0], other[0]), min(own[1], other[1]))
    assert (both.epsilon_set_by == "site.toml") == (other[0] < own[0])
    assert (both.delta_set_by == "site.toml") == (other[1] < own[1])
    assert ledger.within(None) == ledger
    named = {"the ledger": "ledger", "[policy] in site.toml": "site.toml"}
    said = {value for words, value in named.items() if words in both.in_words}
    assert said == {both.epsilon_set_by, both.delta_set_by}
