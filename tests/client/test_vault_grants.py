"""A vault answers as many runs as its steward approved, and no more."""

from __future__ import annotations

import pytest

from fedloom.client.vault import Vault
from fedloom.privacy.ledger import read_ledger
from tests.federation import approve_at, ask, make_home, make_plan, request, status, table


@pytest.fixture
def homes(tmp_path):
    return {name: make_home(tmp_path / name, name) for name in ("north", "south")}


@pytest.fixture
def plan(tmp_path, homes):
    """One statistic at the site `north`, which has approved one run of it."""
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(100))
    return plan


@pytest.fixture
def vault(homes, plan):
    with Vault(homes["north"]) as vault:
        yield vault


@pytest.mark.parametrize("after", ["while the first goes on", "after its end"])
def test_a_run_beyond_the_approval_is_refused_with_the_number_that_was_approved(
    homes, plan, vault, after
):
    assert status(vault, request(plan, "statistic", 1, run="one")) == "ok"
    if after == "after its end":
        assert status(vault, request(plan, "finish", run="one")) == "ok"
        assert status(vault, request(plan, run="one")) == "closed"
    entries = len(read_ledger(homes["north"].path).entries)
    for query, number in (("prepare", 0), ("statistic", 1)):
        header = ask(vault, request(plan, query, number, run="two")).header
        assert (header.status, header.runs) == ("used-up", 1)
    assert len(read_ledger(homes["north"].path).entries) == entries
    log = (homes["north"].path / "private.log").read_text()
    assert "was for one run" in log and "fedloom site approve" in log


def test_a_run_that_was_never_asked_anything_leaves_its_use_to_another(homes, plan, vault):
    assert status(vault, request(plan, run="one")) == "ok"
    assert status(vault, request(plan, "finish", run="one")) == "ok"
    assert status(vault, request(plan, "statistic", 1, run="two")) == "ok"
