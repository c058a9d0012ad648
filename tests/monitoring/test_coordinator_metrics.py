"""A coordinator's metrics, of a run over real vaults."""

from __future__ import annotations

import contextlib
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fedloom.client.vault import Vault
from fedloom.common.audit_log import AuditLog
from fedloom.common.study import load_study
from fedloom.monitoring import coordinator_metrics
from fedloom.monitoring.catalogue import COORDINATOR
from fedloom.monitoring.coordinator_metrics import CoordinatorCollector
from fedloom.monitoring.exporter import exposition
from fedloom.server.coordinate import coordinate
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.simulation import prepare
from tests.federation import cli, make

SITES = ("east", "north", "south")


class Link:
    """Calls the vaults; `east` is silent where `away` says so."""

    def __init__(self, vaults, away):
        self.vaults, self.away = vaults, away

    def ask(self, requests, timeout_s, progress=None):
        replies = {site: self.vaults[site].handle(data) for site, data in requests.items()}
        return {**replies, "east": b""} if self.away() else replies


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A coordinator with one site's card and two runs, one of which was begun alone."""
    folder = tmp_path_factory.mktemp("coordinator")
    assert cli("coordinator", "init", folder / "fed", "--host", "localhost").code == 0
    home = CoordinatorHome.open(folder / "fed")
    federation = make(folder / "study", sites=SITES)
    study, schema = load_study(federation.study)
    tables = {name: federation.data(name) for name in SITES}
    run = prepare(study, schema, tables, out=folder / "run", homes={})
    asked = []

    def away():
        asked.append(1)
        return len(asked) == 2  # the round itself, after `prepare`

    with contextlib.ExitStack() as stack:
        vaults = {
            name: stack.enter_context(Vault.open(run.path / "sites" / name)) for name in SITES
        }
        coordinate(run.path, Link(vaults, away), audit=AuditLog(home.path))
    home.note_run(run.path)
    other = prepare(study, schema, tables, out=folder / "other", homes={})
    home.note_run(other.path)
    return home


def values(home) -> dict[str, float]:
    text = exposition(CoordinatorCollector(home)).decode()
    return {
        sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_is_in_the_catalogue_and_the_catalogue_has_no_other(home, monkeypatch):
    monkeypatch.setattr(coordinator_metrics, "online_institutions", lambda home: {"north"})
    monkeypatch.setattr(CoordinatorHome, "cards", lambda self: [Card("north"), Card("west")])
    seen = {metric.name for metric in CoordinatorCollector(home).collect()}
    assert seen == set(COORDINATOR)
    found = values(home)
    assert found['fedloom_coordinator_site_online{"site": "north"}'] == 1
    assert found['fedloom_coordinator_site_online{"site": "west"}'] == 0


class Card:
    def __init__(self, name):
        self.name = name


def test_no_seconds_are_those_of_one_site():
    for name, described in COORDINATOR.items():
        if "seconds" in name and "timestamp" not in name:
            assert "site" not in described.labels, name


def test_answers_refusals_and_rounds_are_those_of_the_run(home):
    found = values(home)
    assert found['fedloom_coordinator_refusals_total{"code": "silence", "site": "east"}'] == 1
    east = found['fedloom_coordinator_answers_total{"site": "east"}']
    assert found['fedloom_coordinator_answers_total{"site": "north"}'] == east + 1
    assert found["fedloom_coordinator_rounds_total{}"] >= 1
    assert found['fedloom_coordinator_runs{"state": "begun"}'] == 1
    assert found["fedloom_coordinator_superlink_up{}"] == 0
    assert found["fedloom_coordinator_ready{}"] == 0
    inf = [
        v for k, v in found.items() if k.startswith("fedloom_coordinator_exchange") and "Inf" in k
    ]
    assert sum(inf) >= 3


def test_a_second_attempt_counts_the_first_as_void(tmp_path):
    from fedloom.common.audit_entries import Asked

    assert cli("coordinator", "init", tmp_path / "fed", "--host", "localhost").code == 0
    log = AuditLog(tmp_path / "fed")
    for attempt in (1, 1, 2, 3):  # the first was sent again after a crash
        key = {"query": "gradient", "plan": "p", "run": "r", "round": 2, "attempt": attempt}
        log.append(Asked(sites=("north",), **key))
    found = values(CoordinatorHome.open(tmp_path / "fed"))
    assert found['fedloom_coordinator_attempts_total{"query": "gradient"}'] == 3
    assert found["fedloom_coordinator_void_attempts_total{}"] == 2


def test_health_of_a_coordinator_that_is_not_up(home):
    assert cli("coordinator", "health", "--coordinator", home.path).code == 5
    shown = cli("coordinator", "health", "--coordinator", home.path, "--json")
    assert shown.code == 5 and shown.json["ready"] is False
