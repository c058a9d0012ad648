"""A plan runs on the minor version that resolved it; every refusal names both versions."""

from __future__ import annotations

import json

import pytest

from fedloom.client.vault import Vault
from fedloom.common import version
from fedloom.common.errors import OtherVersionError
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from tests.federation import approve_at, ask, make_home, make_plan, request, table


@pytest.fixture
def approved(tmp_path):
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    plan = make_plan(tmp_path / "study", homes)
    approve_at(homes["north"], plan, table(30))
    return homes["north"], plan


def raised(monkeypatch, part: int) -> str:
    """Has this be a fedloom whose version is raised in one part."""
    numbers = [int(number) for number in version.VERSION.split(".")]
    numbers[part] += 1
    monkeypatch.setattr(version, "VERSION", ".".join(map(str, numbers)))
    return version.VERSION


def test_a_vault_after_a_minor_upgrade_refuses_an_approved_plan_and_says_both_versions(
    approved, monkeypatch
):
    home, plan = approved
    newer = raised(monkeypatch, 1)
    with Vault(home) as vault:
        header = ask(vault, request(plan)).header
    assert (header.status.value, header.version) == ("other-version", newer)
    log = (home.path / "private.log").read_text()
    assert newer in log and f"fedloom {plan.fedloom}" in log and "resolve the study again" in log
    view = read_ledger(home.path)
    assert view.held == [] and plan.digest() in view.open_plans


def test_the_approval_holds_when_the_version_that_resolved_it_is_back(approved, monkeypatch):
    home, plan = approved
    with monkeypatch.context() as upgraded:
        raised(upgraded, 1)
        with Vault(home) as vault:
            assert not ask(vault, request(plan)).ok
    with Vault(home) as vault:
        assert ask(vault, request(plan)).ok


def test_a_patch_runs_what_was_approved(approved, monkeypatch):
    home, plan = approved
    raised(monkeypatch, 2)
    with Vault(home) as vault:
        assert ask(vault, request(plan)).ok


def test_a_plan_of_another_version_is_told_by_its_version_also_in_another_format(
    approved, monkeypatch, tmp_path
):
    _, plan = approved
    newer = raised(monkeypatch, 1)
    with pytest.raises(OtherVersionError, match=newer):
        check_plan(plan)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**plan.to_dict(), "format": 1}))
    with pytest.raises(OtherVersionError, match=newer):
        Plan.load(path)
